"""Which pictures are the same, exactly or nearly? A hash for each, and of any two that are near the first stays.

Near pairs are found by `builder.checks.near_pairs`. What is kept for each picture is its hash and its cell, a dozen
bytes; only pairs are looked at one by one, and those few at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

from builder.checks.near_pairs import BITS, Search, repeated
from builder.checks.verdict import Seen, Verdict
from builder.plan.sample import Sample
from builder.spec.criteria import Duplicates

__all__ = ["BITS", "Copy", "HashCheck", "copies", "numbers", "pairs", "perceptual_hash"]
MOST_PAIRS = 10_000_000
"""Pairs that are decided on at once, 8 bytes each: where there are more, the first pictures are decided on first."""
CROWDED = 100_000
"""Hashes that agree in many bits of which a line tells."""
HALF = np.uint64(32)


def perceptual_hash(image: Image.Image) -> str:
    """Return the picture's pHash, 64 bits as 16 hexadecimal digits: alike for pictures that look alike.

    Source: Zauner, Implementation and benchmarking of perceptual image hash functions, 2010.
    """
    return str(imagehash.phash(image))


def numbers(hashes: list[str]) -> np.ndarray:
    """Hashes as uint64, (n,)."""
    return np.array([int(text, 16) for text in hashes], dtype=np.uint64)


def pairs(hashes: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs i < j of hashes, uint64 (n,), that differ in at most `radius` bits: i, j and the distances, sorted."""
    packed = np.concatenate([np.zeros(0, np.uint64), *(_packed(i, j) for i, j, _ in Search(hashes, radius))])
    packed.sort()
    i, j = _unpacked(packed)
    return i, j, np.bitwise_count(hashes[i] ^ hashes[j]).astype(np.int64)


def _packed(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return pairs of places as numbers that sort by i, then by j."""
    return i.astype(np.uint64) << HALF | j.astype(np.uint64)


def _unpacked(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (packed >> HALF).astype(np.int64), (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)


@dataclass(frozen=True)
class Copy:
    """A picture that is another one again: its place, the place of the one that stays, and how many bits differ."""

    place: int
    of: int
    distance: int


def copies(
    hashes: np.ndarray,
    cells: np.ndarray,
    criteria: Duplicates,
    settled: int = 0,
    twin_of: np.ndarray | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Copy]:
    """Return the pictures to be taken out so that no two are the same, sorted by place: the first of any two stays.

    `hashes` is uint64 (n,), `cells` int (n,), one number a (feature, sex). Only a picture that stays can make another
    one a duplicate of it. The first `settled` pictures stay, whatever they show. `twin_of`, int (n,), has for a twin
    the place of the picture that it may be like, -1 for others. `say` is told of crowds of pictures that are nearly
    alike: they take longer, and none of them is left out.

    Thousands of pictures with one hash cost no more than one: in a cell, all but the first of them share its fate.
    """
    again, firsts = repeated(hashes, cells)
    decision = _Decision(hashes, cells.astype(np.uint32, copy=False), criteria, settled, twin_of, say)
    decision.stays[again] = False
    decision.decide()
    found = decision.copy_of
    for place, first in zip(again.tolist(), firsts.tolist()):
        if place >= settled:
            of, distance = found.get(first, (first, 0))
            if twin_of is None or twin_of[place] != of:
                found[place] = of, distance
    return [Copy(place, *found[place]) for place in sorted(found)]


class _Decision:
    """Which pictures stay, of the first one of each hash and cell.

    Pictures are decided on in the order of their places. Usually that is once for all. Where there are more pairs than
    MOST_PAIRS, the first pictures are decided on alone, then the next ones beside those that stay: what comes later
    changes nothing about what came first.
    """

    def __init__(
        self,
        hashes: np.ndarray,
        cells: np.ndarray,
        criteria: Duplicates,
        settled: int,
        twin_of: np.ndarray | None,
        say: Callable[[str], None],
    ):
        self.hashes = hashes
        self.cells = cells
        self.criteria = criteria
        self.settled = settled
        self.twin_of = twin_of
        self.say = say
        self.stays = np.ones(len(hashes), dtype=bool)
        self.copy_of: dict[int, tuple[int, int]] = {}
        """Of what a picture that goes is a copy, and the bits that differ."""
        self.crowd = 0
        """The largest one that was told of."""

    def decide(self) -> None:
        """Decide on all pictures."""
        start, stop = 0, len(self.hashes)
        while start < stop:
            packed = self._pairs(stop, MOST_PAIRS if stop - start > 1 else None)
            if packed is None:
                if (start, stop) == (0, len(self.hashes)):
                    self.say(f"more than {MOST_PAIRS:,} pairs of pictures are alike; they are decided on in parts")
                stop = start + (stop - start) // 2
                continue
            self._settle(packed)
            start, stop = stop, min(len(self.hashes), 3 * stop - 2 * start)

    def _pairs(self, stop: int, most: int | None) -> np.ndarray | None:
        """Return the packed pairs of pictures before `stop` that cannot both stay, sorted; None where there are more
        than `most`. Those that were decided on and stay are in no pair with each other.
        """
        kept = [np.zeros(0, np.uint64)]
        count = 0
        for i, j in self._near(stop):
            may_go = j >= self.settled
            if self.twin_of is not None:
                may_go &= (self.twin_of[i] != j) & (self.twin_of[j] != i)
            kept.append(_packed(i[may_go], j[may_go]))
            count += len(kept[-1])
            if most is not None and count > most:
                return None
        packed = np.concatenate(kept)
        packed.sort()
        return packed

    def _near(self, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield all pairs of pictures before `stop` that are one by the criteria, each once."""
        hashes, stays, cells = self.hashes[:stop], self.stays[:stop], self.cells[:stop]
        anywhere = Search(hashes, self.criteria.radius, stays)
        yield from ((i, j) for i, j, _ in anywhere)
        crowd = anywhere.largest
        if self.criteria.radius_in_cell > self.criteria.radius:
            within = Search(hashes, self.criteria.radius_in_cell, stays, cells)
            for i, j, distance in within:
                further = distance > self.criteria.radius
                yield i[further], j[further]
            crowd = max(crowd, within.largest)
        if crowd > max(CROWDED, self.crowd):
            self.crowd = crowd
            self.say(
                f"the hashes of {crowd:,} pictures are alike in many bits, as those of flat pictures are; they were "
                "compared by the other bits, none was left out"
            )

    def _settle(self, packed: np.ndarray) -> None:
        """Decide by pairs whose first picture is decided on, or is the second of pairs before."""
        for part in range(0, len(packed), 1_000_000):
            i, j = _unpacked(packed[part : part + 1_000_000])
            distances = np.bitwise_count(self.hashes[i] ^ self.hashes[j]).tolist()
            for first, second, distance in zip(i.tolist(), j.tolist(), distances):
                there = self.copy_of.get(second)
                if first not in self.copy_of and (there is None or distance < there[1]):
                    self.copy_of[second] = first, distance
                    self.stays[second] = False


class HashCheck:
    """Notes every picture's hash. Whether it is a duplicate is known only once all pictures are there."""

    name = "duplicates"
    version = 1
    rejects = False

    def judge(self, samples: list[Sample], images: list[Image.Image], seen: Sequence[Seen] = ()) -> list[Verdict]:
        """For each picture its hash, and no verdict."""
        return [Verdict(None, {"hash": perceptual_hash(image)}) for image in images]
