"""The cells of a report: how often pictures of a slice fail, and how much more often than the baseline's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from builder.common.documents import Document
from builder.evaluation import statistics
from builder.evaluation.slices import Slicing
from builder.evaluation.statistics import Interval, Numbers
from builder.evaluation.tasks import Outcomes

FEW = 30
"""Pictures of a cell below which it is grey."""
EXAMPLES = 12
ROWS_A_BLOCK = 1024
Pair = tuple[float, float]


class Measure(Document):
    """The mean of a further number over those of n pictures that have it, and its interval."""

    n: int
    mean: float | None
    interval: Pair | None


class Against(Document):
    """What a cell is compared with: the baseline's cell, or, with no key, all other pictures (of the same sex), or all
    pairs of them.
    """

    key: dict[str, str]
    trials: int
    failures: int
    rate: float


class Cell(Document):
    """A slice: `failures` of `trials` (pictures, or pairs of them). `grey` where too few pictures say much.

    `difference` is the rate less that of `against`; `p` is that of no difference, `holm` the same for all cells of the
    report together. `bounds` are of the rate among the pictures that show what was asked for, where people judged how
    many do. `examples` are ids of pictures that fail.
    """

    key: dict[str, str]
    pictures: int
    trials: int
    failures: int
    rate: float | None
    interval: Pair
    bounds: Pair | None
    grey: bool
    against: Against | None
    difference: float | None
    difference_interval: Pair | None
    p: float | None
    holm: float | None
    examples: tuple[str, ...]
    measures: dict[str, Measure]

    @property
    def name(self) -> str:
        return " ".join(self.key.values()) or "all"

    @property
    def loss(self) -> float:
        """The least loss that the data do not contradict: the lower limit of the difference."""
        return self.difference_interval[0] if self.difference_interval else -np.inf


class Slices(Document):
    """All cells by some columns."""

    by: tuple[str, ...]
    cells: tuple[Cell, ...]


class Counts(NamedTuple):
    """Failures of trials, and how many of how many independent ones tell as much: the same, but for pairs."""

    failures: Numbers
    trials: Numbers
    effective_failures: Numbers
    effective_trials: Numbers

    @property
    def rate(self) -> Numbers:
        with np.errstate(invalid="ignore"):
            return np.where(self.trials > 0, self.failures / np.maximum(self.trials, 1), np.nan)

    @property
    def interval(self) -> Interval:
        """The interval of the rate."""
        return statistics.exact(self.effective_failures, self.effective_trials)


class Losses(NamedTuple):
    """How much more often some fail than others."""

    difference: Numbers
    interval: Interval
    p: Numbers


def losses(counts: Counts, others: Counts, of_pairs: bool) -> Losses:
    """Return the differences of rates, their intervals, and the p of there being none."""
    interval = statistics.difference(counts.rate, counts.interval, others.rate, others.interval)
    test = statistics.poisson_ratio if of_pairs else statistics.fisher
    p = test(*counts[2:], *others[2:])
    lost = np.isnan(counts.rate - others.rate)
    return Losses(counts.rate - others.rate, interval, np.where(lost, np.nan, p))


@dataclass(frozen=True)
class Counter:
    """Counts the failures of some pictures, given by their places; what takes long, it does once."""

    outcomes: Outcomes
    known: dict[bytes, np.ndarray] = field(default_factory=dict)
    sliced: dict[bytes, np.ndarray] = field(default_factory=dict)

    @property
    def of_pairs(self) -> bool:
        return self.outcomes.vectors is not None

    def count(self, places: np.ndarray) -> Counts:
        """Return the failures of the trials among some pictures."""
        if self.of_pairs:
            return of_matches(self.matches(places))
        failed = self.outcomes.failed[places]
        failures, trials = np.nansum(failed), np.count_nonzero(~np.isnan(failed))
        return Counts(*map(np.float64, (failures, trials, failures, trials)))

    def matches(self, places: np.ndarray) -> np.ndarray:
        """Return how many of the others each picture matches."""
        key = places.tobytes()
        if key not in self.known:
            self.known[key] = self._matches(places)
        return self.known[key]

    def _matches(self, places: np.ndarray) -> np.ndarray:
        matches = np.zeros(len(places), dtype=np.int64)
        for start, hits in self._blocks(places):
            matches[start : start + len(hits)] += hits.sum(axis=1)
            matches[start:] += hits.sum(axis=0)
        return matches

    def _blocks(self, places: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield of a block of pictures which of those from its start on they match, each pair once, none with itself:
        memory does not grow with the pairs.
        """
        assert self.outcomes.vectors is not None
        vectors = self.outcomes.vectors[places]
        for start in range(0, len(vectors), ROWS_A_BLOCK):
            block = vectors[start : start + ROWS_A_BLOCK]
            hits = block @ vectors[start:].T >= self.outcomes.threshold
            hits[:, : len(block)] &= ~np.tri(len(block), dtype=bool)
            yield start, hits

    def by_slice(self, codes: np.ndarray) -> np.ndarray:
        """Return how many of each slice every picture matches, (pictures, slices); `codes` are the pictures' slices."""
        key = codes.tobytes()
        if key not in self.sliced:
            self.sliced[key] = self._by_slice(codes)
        return self.sliced[key]

    def _by_slice(self, codes: np.ndarray) -> np.ndarray:
        """Compare all pairs once, in the order of the slices, so that a slice's matches are sums over neighbours."""
        order = np.argsort(codes, kind="stable")
        codes = codes[order]
        begins = np.flatnonzero(np.diff(codes, prepend=-1))
        ends = np.append(begins[1:], len(codes))
        matches = np.zeros((len(codes), len(begins)), dtype=np.int32)
        for start, hits in self._blocks(order):
            rows = slice(start, start + len(hits))
            later = np.flatnonzero(ends > start)
            edges = np.maximum(begins[later] - start, 0)
            matches[rows, later] += np.add.reduceat(hits, edges, axis=1, dtype=np.int32)
            own = codes[rows]
            for code in np.unique(own):
                matches[start:, code] += hits[own == code].sum(axis=0)
        unsorted = np.empty_like(matches)
        unsorted[order] = matches
        return unsorted

    def rest(self, codes: np.ndarray, group: Sequence[int], code: int) -> np.ndarray:
        """Return how many of each other the pictures of a group of slices match, without those of one slice of it.

        All pairs of the group, less those with the slice: no pair is compared twice, however many slices there are.
        """
        by_slice = self.by_slice(codes)
        key = codes.tobytes() + bytes(str(group), "ascii")
        if key not in self.known:
            self.known[key] = by_slice[:, group].sum(axis=1, dtype=np.int64)
        others = np.isin(codes, group) & (codes != code)
        return (self.known[key] - by_slice[:, code])[others]

    def measures(self, places: np.ndarray) -> dict[str, Measure]:
        return {name: measure(values[places]) for name, values in self.outcomes.values.items()}


def of_matches(matches: np.ndarray) -> Counts:
    """Return the counts of pairs, from how many of the others each picture matches."""
    n = len(matches)
    _, failures, trials = statistics.effective_pairs(matches)
    return Counts(*map(np.float64, (matches.sum() / 2, n * (n - 1) / 2, failures, trials)))


def measure(values: np.ndarray) -> Measure:
    """Return the mean of those values that are there, and its interval."""
    values = values[~np.isnan(values)]
    center, interval = statistics.mean(values)
    is_known = not np.isnan(interval.low)
    return Measure(n=len(values), mean=_none(center), interval=_pair(interval) if is_known else None)


def overall(counter: Counter, ids: Sequence[str]) -> Cell:
    """Return the cell of all pictures, which is compared with nothing."""
    everything = np.arange(len(ids))
    return _cell(counter, ids, {}, everything, counter.count(everything), None, None)


def slices(counter: Counter, ids: Sequence[str], slicings: Sequence[Slicing], baseline: str) -> tuple[Slices, ...]:
    """Return the cells of all slicings, with p-values adjusted for all of them together."""
    all_cells = [[*_cells(counter, ids, slicing, baseline)] for slicing in slicings]
    p = np.array([np.nan if cell.p is None else cell.p for cells in all_cells for cell in cells])
    adjusted = iter(statistics.holm(p))
    return tuple(
        Slices(by=slicing.by, cells=tuple(cell.model_copy(update={"holm": _none(next(adjusted))}) for cell in cells))
        for slicing, cells in zip(slicings, all_cells)
    )


def with_bounds(cell: Cell, shown: Mapping[str, float]) -> Cell:
    """Return a cell with the bounds of its rate among those pictures that show the feature, of which at least a share
    of `shown`, by feature, does: all of the others may fail, or none.

    >>> bounds(0.3, 0.4, 0.8)
    (0.125, 0.5)
    """
    share = shown.get(cell.key.get("feature", ""))
    return cell.model_copy(update={"bounds": bounds(*cell.interval, share)}) if share else cell


def bounds(low: float, high: float, share: float) -> Pair:
    """Return between which limits the rate of a share of the pictures is, from the limits of the rate of all."""
    return max(0.0, round((low - (1 - share)) / share, 12)), min(1.0, high / share)


def _cells(counter: Counter, ids: Sequence[str], slicing: Slicing, baseline: str) -> Iterator[Cell]:
    places = [np.flatnonzero(slicing.codes == code) for code in range(len(slicing.keys))]
    counts = [counter.count(own) for own in places]
    for code, key in enumerate(slicing.keys):
        named = dict(zip(slicing.by, key))
        against = _against(counter, slicing, code, baseline, counts)
        loss = losses(counts[code], against[1], counter.of_pairs) if against else None
        yield _cell(counter, ids, named, places[code], counts[code], against, loss)


def _against(
    counter: Counter, slicing: Slicing, code: int, baseline: str, counts: Sequence[Counts]
) -> tuple[dict[str, str], Counts] | None:
    """Return what a cell is compared with; None for the baseline itself, and where there is nothing."""
    key = dict(zip(slicing.by, slicing.keys[code]))
    if any(dict(zip(slicing.by, other)).get("feature") == baseline for other in slicing.keys):
        if key["feature"] == baseline:
            return None
        other = tuple({**key, "feature": baseline}.values())
        return ({**key, "feature": baseline}, counts[slicing.keys.index(other)]) if other in slicing.keys else None
    rest = [n for n, other in enumerate(slicing.keys) if n != code and _same_sex(slicing, code, n)]
    if not rest:
        return None
    if counter.of_pairs:
        return {}, of_matches(counter.rest(slicing.codes, sorted([code, *rest]), code))
    return {}, Counts(*(sum(column) for column in zip(*(counts[n] for n in rest))))


def _same_sex(slicing: Slicing, one: int, other: int) -> bool:
    if "sex" not in slicing.by or len(slicing.by) == 1:
        return True
    place = slicing.by.index("sex")
    return slicing.keys[one][place] == slicing.keys[other][place]


def _cell(
    counter: Counter,
    ids: Sequence[str],
    key: dict[str, str],
    places: np.ndarray,
    counts: Counts,
    against: tuple[dict[str, str], Counts] | None,
    loss: Losses | None,
) -> Cell:
    compared = against and not np.isnan(against[1].rate)
    return Cell(
        key=key,
        pictures=len(places),
        trials=int(counts.trials),
        failures=int(counts.failures),
        rate=_none(counts.rate),
        interval=_pair(counts.interval),
        bounds=None,
        grey=len(places) < FEW,
        against=_described(*against) if against and compared else None,
        difference=_none(loss.difference) if loss else None,
        difference_interval=_pair(loss.interval) if loss and not np.isnan(loss.difference) else None,
        p=_none(loss.p) if loss else None,
        holm=None,
        examples=_examples(counter, ids, places),
        measures=counter.measures(places),
    )


def _described(key: dict[str, str], counts: Counts) -> Against:
    return Against(key=key, trials=int(counts.trials), failures=int(counts.failures), rate=float(counts.rate))


def _examples(counter: Counter, ids: Sequence[str], places: np.ndarray) -> tuple[str, ...]:
    if counter.of_pairs:
        return ()
    failing = places[counter.outcomes.failed[places] == 1]
    return tuple(ids[place] for place in failing[:EXAMPLES])


def _pair(interval: Interval) -> Pair:
    return float(interval.low), float(interval.high)


def _none(value: Numbers) -> float | None:
    return None if np.isnan(value) else float(value)
