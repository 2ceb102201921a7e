"""From the table to samples and shards: deterministic, balanced, and addressable by number.

A sample is a pure function of (spec, id, attempt): it does not depend on how many workers there are, on the order they
work in, or on which part of the table was chosen. `agfd30k balance` prints how well a plan is balanced.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

from builder.plan.cells import Cell, cells_of, choose
from builder.plan.factorial import design
from builder.plan.order import Order
from builder.plan.sample import Attempt, Sample, seed
from builder.spec import minors as spec_minors
from builder.spec import prompts as spec_prompts
from builder.spec.field_types import TWIN, TWINS
from builder.spec.spec import Spec

SHARD_SIZE = 256
MOST_KNOWN = 8_192
"""Prompts that are remembered: the default table has some three thousand in all, however many pictures."""


@dataclass(frozen=True)
class Shard:
    """A fixed run of one attribute's samples: the places `start` to before `stop` of its plan order.

    `of` is None, or the shard of whose samples this one holds the twins.
    """

    name: str
    attribute: str
    start: int
    stop: int
    of: Shard | None = None

    @property
    def twins(self) -> Shard:
        """The shard of this one's twins."""
        return Shard(f"{TWINS}-{self.name}", self.attribute, self.start, self.stop, of=self)


class Plan:
    """Every sample and every shard of a table, and which of them are chosen.

    `only` holds "attribute" or "attribute/feature" words, `scale` multiplies every quota (at least 1 picture a cell is
    kept), `limit` caps the whole, spread evenly. Choosing takes the first pictures of every (feature, sex), so ids,
    prompts, seeds and shards stay what they are in the whole table. Memory does not grow with the quotas.

    `twins` adds to every chosen picture its twin, where it has one: in shards of their own, behind all the others, so
    that whether they are made changes nothing else.
    """

    def __init__(
        self,
        spec: Spec,
        only: Sequence[str] = (),
        scale: float = 1.0,
        limit: int | None = None,
        shard_size: int = SHARD_SIZE,
        twins: bool = False,
    ):
        self.spec = spec
        self.only = only
        self.scale = scale
        self.limit = limit
        self.shard_size = shard_size
        self.twins = twins
        self.cells = cells_of(spec, choose(spec, only, scale, limit))
        self.orders = {
            attribute: Order([cell for cell in self.cells if cell.feature.attribute == attribute])
            for attribute in spec.attributes
        }
        self._size = sum(cell.quota for cell in self.cells)
        self._known: dict[tuple[int, bool, int, str, str, str], tuple[str, str]] = {}

    def __len__(self) -> int:
        """Pictures of the whole table, chosen or not, without twins."""
        return self._size

    @property
    def chosen(self) -> int:
        """Pictures chosen for this run, twins included."""
        return sum(cell.chosen for cell in self.cells) + self.chosen_twins

    @property
    def chosen_twins(self) -> int:
        """Twins chosen for this run."""
        return sum(cell.chosen for cell in self.cells if cell.plain) if self.twins else 0

    @cached_property
    def minors(self) -> bool:
        """True when anything chosen shows a minor."""
        kinds = ((cell, index) for cell in self.cells for index in range(min(cell.chosen, len(design(cell.sizes)))))
        return any(sample.minor for cell, index in kinds for sample in self._samples(cell, index))

    def sample(self, number: int) -> Sample:
        """Return the number-th sample of the whole table, in plan order, built without its neighbours."""
        place = number
        for order in self.orders.values():
            if 0 <= place < len(order):
                return self._sample(*next(order.walk(place, place + 1)))
            place -= len(order)
        raise IndexError(f"the table has samples 0 to {len(self) - 1}, not {number}")

    @cached_property
    def shards(self) -> Shards:
        """The shards up to the last that holds something chosen, attribute by attribute, then those of the twins."""
        places = {attribute: (order.reach(), len(order)) for attribute, order in self.orders.items()}
        twinned = [name for name, order in self.orders.items() if any(cell.plain for cell in order.cells)]
        return Shards(places, self.shard_size, twinned if self.twins else ())

    def ids(self, shard: Shard) -> list[str]:
        """Return the ids of the chosen samples of a shard: what `asked` gives, without the prompts."""
        return [cell.id(index, shard.of is not None) for cell, index in self._chosen(shard)]

    def asked(self, shard: Shard) -> list[Sample]:
        """Return the chosen samples of a shard, in plan order."""
        return [self._in(shard, cell, index) for cell, index in self._chosen(shard)]

    def whole(self, shard: Shard) -> dict[str, Sample]:
        """Return every sample that can ever lie in a shard, chosen or not, by id, in plan order."""
        samples = (self._in(shard, cell, index) for cell, index in self._all(shard))
        return {sample.id: sample for sample in samples}

    def attempt(self, sample: Sample, number: int) -> Attempt:
        """Return the number-th try at a sample."""
        return Attempt(sample, number, self.seed(sample.id, number))

    def seed(self, id: str, attempt: int) -> int:
        """Return the seed of a try at a sample, from 0 to 2^32 - 1.

        The tries of the whole table are numbered, all first ones cell by cell, then all second ones, and so on; `seed`
        of builder.plan.sample gives every number a seed of its own. So no two tries have the same seed while there are
        at most 2^32 of them, samples times tries; in a larger table the seeds begin again from there on. With 30,000
        samples, of which the 300 of `age-child-male` come first, the third try, 2, at `age-child-female-00007` has the
        number 2 * 30,000 + 300 + 7. A try at a twin has the seed of the same try at the picture that it is the twin of.
        """
        cell, _, index = id.rpartition("-")
        return seed(self.spec.release, attempt * len(self) + self._first[cell] + int(index))

    @cached_property
    def _first(self) -> dict[str, int]:
        """Return how many samples of the whole table come before each cell, by the beginning of its ids."""
        before = itertools.accumulate((cell.quota for cell in self.cells), initial=0)
        cells = [(cell, first, twin) for cell, first in zip(self.cells, before) for twin in (False, True)]
        return {cell.id(0, twin).rpartition("-")[0]: first for cell, first, twin in cells}

    def at(self, cell: Cell, index: int) -> Sample:
        """Return a cell's index-th sample."""
        return self._sample(cell, index)

    def prompts(self, cell: Cell) -> Iterator[tuple[str, str]]:
        """Yield every (positive, negative) prompt that a cell can give."""
        for ethnicity, age, (subject, phrase) in itertools.product(*cell.levels):
            yield spec_prompts.render(self.spec, cell.feature, age, subject, ethnicity, phrase)

    def _all(self, shard: Shard) -> Iterator[tuple[Cell, int]]:
        order = self.orders[shard.attribute].walk(shard.start, shard.stop)
        return ((cell, index) for cell, index in order if shard.of is None or cell.plain)

    def _chosen(self, shard: Shard) -> Iterator[tuple[Cell, int]]:
        if shard.of and not self.twins:
            return iter(())
        return ((cell, index) for cell, index in self._all(shard) if index < cell.chosen)

    def _in(self, shard: Shard, cell: Cell, index: int) -> Sample:
        """Return a cell's index-th sample, or its twin in a shard of twins."""
        return self._sample(cell, index) if shard.of is None else self.twin(cell, index)

    def _samples(self, cell: Cell, index: int) -> Iterator[Sample]:
        """Yield a cell's index-th sample, and its twin where twins are made."""
        yield self._sample(cell, index)
        if self.twins and cell.plain:
            yield self.twin(cell, index)

    def twin(self, cell: Cell, index: int) -> Sample:
        """Return the twin of a cell's index-th sample. Raises ValueError for a cell that has none."""
        if cell.plain is None:
            raise ValueError(f"{cell.feature.name} has no twins")
        sample = self._sample(cell, index)
        who = (sample.age, sample.subject, sample.ethnicity)
        prompt, negative_prompt = self._prompts(cell, True, *who, phrase="")
        return replace(
            sample,
            id=cell.id(index, twin=True),
            attribute=TWINS,
            feature=TWIN,
            phrase="",
            prompt=prompt,
            negative_prompt=negative_prompt,
            minor=sample.minor or spec_minors.is_minor(sample.age, prompt),
            check=cell.plain.check,
            twin_of=sample,
        )

    def _sample(self, cell: Cell, index: int) -> Sample:
        feature = cell.feature
        ethnicity, age, (subject, phrase) = cell.draw(index)
        prompt, negative_prompt = self._prompts(cell, False, age, subject, ethnicity, phrase)
        return Sample(
            id=cell.id(index),
            attribute=feature.attribute,
            feature=feature.name,
            sex=cell.sex,
            ethnicity=ethnicity,
            age=age,
            age_group=self.spec.age_group(age),
            subject=subject,
            phrase=phrase,
            index=index,
            split=cell.split(index),
            prompt=prompt,
            negative_prompt=negative_prompt,
            guidance_scale=float(feature.guidance_scale),
            minor=spec_minors.is_minor(age, prompt),
            check=feature.check,
        )

    def _prompts(self, cell: Cell, twin: bool, age: int, subject: str, ethnicity: str, phrase: str) -> tuple[str, str]:
        """Return both prompts of a cell's person or their twin; those of the last few thousand are remembered."""
        key = (cell.number, twin, age, subject, ethnicity, phrase)
        if key not in self._known:
            feature = cell.plain if twin and cell.plain else cell.feature
            if len(self._known) == MOST_KNOWN:
                self._known.clear()
            self._known[key] = spec_prompts.render(self.spec, feature, age, subject, ethnicity, phrase)
        return self._known[key]


class Shards(Sequence[Shard]):
    """Shards cut from each attribute's places; made when they are asked for.

    `places` maps an attribute to (how far shards are wanted, how many places there are). Behind them come those of the
    twins of some attributes.
    """

    def __init__(self, places: dict[str, tuple[int, int]], size: int, twinned: Sequence[str] = ()):
        self.places = places
        self.size = size
        self.twinned = twinned

    def __len__(self) -> int:
        return sum(self._of(attribute) for attribute in (*self.places, *self.twinned))

    @overload
    def __getitem__(self, number: int) -> Shard: ...

    @overload
    def __getitem__(self, number: slice) -> list[Shard]: ...

    def __getitem__(self, number: int | slice) -> Shard | list[Shard]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        number += len(self) if number < 0 else 0
        for attribute, of_twins in self._runs():
            if 0 <= number < self._of(attribute):
                return self._shard(attribute, number, of_twins)
            number -= self._of(attribute)
        raise IndexError(number)

    def __iter__(self) -> Iterator[Shard]:
        for attribute, of_twins in self._runs():
            for number in range(self._of(attribute)):
                yield self._shard(attribute, number, of_twins)

    def named(self, name: str) -> Shard | None:
        """Return the shard of a name, None where none has it."""
        attribute, _, digits = name.removeprefix(f"{TWINS}-").rpartition("-")
        of_twins = name.startswith(f"{TWINS}-")
        number = int(digits) if digits.isdecimal() and len(digits) < 20 else sys.maxsize
        if attribute not in (self.twinned if of_twins else self.places) or number >= self._of(attribute):
            return None
        shard = self._shard(attribute, number, of_twins)
        return shard if shard.name == name else None

    def _runs(self) -> Iterator[tuple[str, bool]]:
        """Yield the attributes whose shards follow each other, and whether these are of twins."""
        yield from ((name, False) for name in self.places)
        yield from ((name, True) for name in self.twinned)

    def _of(self, attribute: str) -> int:
        return -(-self.places[attribute][0] // self.size)

    def _shard(self, attribute: str, number: int, of_twins: bool) -> Shard:
        stop = min((number + 1) * self.size, self.places[attribute][1])
        shard = Shard(f"{attribute}-{number:05d}", attribute, number * self.size, stop)
        return shard.twins if of_twins else shard


class ShardsByName(Mapping[str, Shard]):
    """Shards by their names; made when they are asked for, too."""

    def __init__(self, shards: Shards):
        self.shards = shards

    def __getitem__(self, name: str) -> Shard:
        shard = self.shards.named(name)
        if shard is None:
            raise KeyError(name)
        return shard

    def __iter__(self) -> Iterator[str]:
        return (shard.name for shard in self.shards)

    def __len__(self) -> int:
        return len(self.shards)
