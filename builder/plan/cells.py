"""Cells: all pictures of one feature and sex, and the design that spreads ethnicity, age and phrase over them."""

from __future__ import annotations

import difflib
import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from builder.common.errors import UserError
from builder.plan.factorial import design, held_out
from builder.spec.field_types import SEXES, TWINS, Sex
from builder.spec.spec import Feature, Spec
from builder.spec.twins import twin

Level = TypeVar("Level")


@dataclass(frozen=True)
class Cell:
    """All pictures of one (feature, sex): `quota` of them in the table, the first `chosen` of them in this run.

    `levels` names, factor by factor, the value that stands for each level of the design. `plain` is the feature as its
    twins have it, None where there are none.
    """

    number: int
    feature: Feature
    sex: Sex
    quota: int
    chosen: int
    levels: tuple[tuple[str, ...], tuple[int, ...], tuple[tuple[str, str], ...]]
    plain: Feature | None = None

    def id(self, index: int, twin: bool = False) -> str:
        return f"{TWINS if twin else self.feature.attribute}-{self.feature.name}-{self.sex}-{index:05d}"

    def draw(self, index: int) -> tuple[str, int, tuple[str, str]]:
        """(ethnicity, age, (subject, phrase)) of the cell's index-th picture."""
        rows = design(self.sizes)
        ethnicities, ages, variants = self.levels
        ethnicity, age, variant = rows[index % len(rows)]
        return ethnicities[ethnicity], ages[age], variants[variant]

    def split(self, index: int) -> str:
        """80 / 10 / 10 within every ten pictures of the cell, each part as balanced as the whole."""
        ten, place = divmod(index, 10)
        tens = held_out(self.sizes, 3 * self.number % 10)
        validation, test = tens[ten % len(tens)]
        return {validation: "validation", test: "test"}.get(place, "train")

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(map(len, self.levels))


def choose(spec: Spec, only: Sequence[str], scale: float, limit: int | None) -> dict[tuple[str, str], int]:
    """(feature, sex) → how many pictures are chosen."""
    _require_known(spec, only)
    counts: dict[tuple[str, str], int] = {}
    for feature in spec.features:
        is_chosen = not only or {feature.attribute, f"{feature.attribute}/{feature.name}"} & set(only)
        for sex in SEXES:
            quota = feature.quota(sex)
            counts[feature.name, sex] = min(quota, max(1, round(quota * scale))) if is_chosen else 0
    return counts if limit is None else _first(spec, counts, limit)


def _require_known(spec: Spec, only: Sequence[str]) -> None:
    """Raise UserError for a word that is neither an attribute nor attribute/feature, with those that there are."""
    known = [*spec.attributes, *(f"{feature.attribute}/{feature.name}" for feature in spec.features)]
    for word in only:
        attribute, _, name = word.partition("/")
        if word in known:
            continue
        if attribute in spec.attributes:
            own = [feature.name for feature in spec.features if feature.attribute == attribute]
            nearest = _meant(f"{attribute}/{close}" for close in difflib.get_close_matches(name, own, n=1))
            raise UserError(f"--only {word}: no such feature{nearest} ({attribute} has: {', '.join(own)})")
        ends = [path for path in known if path.endswith(f"/{word}")]
        nearest = _meant(ends or difflib.get_close_matches(word, known, n=1))
        names = ", ".join(spec.attributes)
        raise UserError(f"--only {word}: no such attribute or attribute/feature{nearest} (attributes: {names})")


def _meant(names: Iterable[str]) -> str:
    """Return a question for what was meant, or nothing."""
    text = " or ".join(names)
    return f"; did you mean {text}?" if text else ""


def _first(spec: Spec, counts: dict[tuple[str, str], int], limit: int) -> dict[tuple[str, str], int]:
    """The first `limit` of the chosen pictures, in rounds to which every cell adds its share: more keep what fewer had.

    Within a round the first cell of every attribute comes first, then the second of every one, and so on.
    """
    if limit >= sum(counts.values()):
        return counts
    seen: Counter[str] = Counter()
    place: dict[tuple[str, str], tuple[int, int]] = {}
    for feature, sex in itertools.product(spec.features, SEXES):
        place[feature.name, sex] = (seen[feature.attribute], len(place))
        seen[feature.attribute] += 1
    rounds = max(counts.values())

    def before(turn: int) -> dict[tuple[str, str], int]:
        return {cell: -(-turn * count // rounds) for cell, count in counts.items()}

    turn = bisect_right(range(rounds), limit, key=lambda n: sum(before(n).values())) - 1
    first, after = before(turn), before(turn + 1)
    for cell in sorted(counts, key=place.__getitem__):
        if sum(first.values()) < limit:
            first[cell] = after[cell]
    return first


def cells_of(spec: Spec, chosen: dict[tuple[str, str], int]) -> list[Cell]:
    """Return the cells of a table, each given the levels that even out what the cells before it left uneven."""
    cells: list[Cell] = []
    counts: dict[object, int] = {}
    plain = {feature.name: twin(spec, feature) for feature in spec.features}
    for feature, sex in itertools.product(spec.features, SEXES):
        quota = feature.quota(sex)
        if quota == 0:
            continue
        factors: tuple[tuple[Any, ...], ...] = (tuple(spec.ethnicities), feature.ages, tuple(feature.variants(sex)))
        rows = design(tuple(map(len, factors)))
        rest = rows[: quota % len(rows)]
        levels: list[tuple[Any, ...]] = []
        for column, values in enumerate(factors):
            extra = np.bincount(rest[:, column], minlength=len(values))
            levels.append(_relabel(values, extra, len(cells), counts))
            for level, value in enumerate(levels[-1]):
                counts[value] = (
                    counts.get(value, 0) + quota // len(rows) * (len(rows) // len(values)) + int(extra[level])
                )
        ethnicities, ages, variants = levels
        some = chosen[feature.name, sex]
        cells.append(Cell(len(cells), feature, sex, quota, some, (ethnicities, ages, variants), plain[feature.name]))
    return cells


def _relabel(values: tuple[Level, ...], extra: np.ndarray, turn: int, made: dict[object, int]) -> tuple[Level, ...]:
    """Return the values in level order: the rarest so far take the levels with most extra pictures; ties take turns."""
    size = len(values)
    rarest = sorted(range(size), key=lambda n: (made.get(values[n], 0), (n - turn) % size))
    fullest = sorted(range(size), key=lambda level: -extra[level])
    named = dict(zip(fullest, rarest))
    return tuple(values[named[level]] for level in range(size))
