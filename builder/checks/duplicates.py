"""Which pictures are the same, exactly or nearly? A perceptual hash for each, and all pairs of hashes that are near.

The pairs come from sorting, not from comparing all with all: hashes are cut into radius + 1 bands of bits, and two that
differ in at most `radius` bits agree in one band at least. 30,000 pictures take about a second. With n pictures a band
of b bits holds n / 2^b of them, so time grows with n squared: beyond some millions use a smaller radius, whose bands
are longer, or sort each band on disk and compare within its groups, which needs no more memory than the largest group.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import imagehash
import numpy as np
from PIL import Image

from builder.checks.verdict import Seen, Verdict
from builder.plan.sample import Sample
from builder.spec.criteria import Duplicates

BITS = 64
AT_ONCE = 1_000_000
"""Pairs that are compared at once."""


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
    near_pairs = [np.zeros((3, 0), dtype=np.int64)]
    for shift, width in _bands(radius + 1):
        band = (hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        order = np.argsort(band, kind="stable")
        for first, second in _together(band[order]):
            i, j = np.minimum(order[first], order[second]), np.maximum(order[first], order[second])
            distance = np.bitwise_count(hashes[i] ^ hashes[j])
            near = distance <= radius
            near_pairs.append(np.stack([i[near], j[near], distance[near].astype(np.int64)]))
    i, j, distance = np.unique(np.concatenate(near_pairs, axis=1), axis=1)
    return i, j, distance


def _bands(count: int) -> list[tuple[int, int]]:
    """(shift, width) of so many bands that together are all bits."""
    edges = [BITS * n // count for n in range(count + 1)]
    return [(start, stop - start) for start, stop in itertools.pairwise(edges)]


def _together(band: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of places that hold the same value in a sorted array, some millions at a time."""
    ends = np.searchsorted(band, band, side="right")
    later = ends - np.arange(len(band)) - 1  # how many partners come after each place
    start = 0
    sums = np.cumsum(later)
    while start < len(band):
        before = sums[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(sums, before + AT_ONCE, side="right")))
        counts = later[start:stop]
        first = np.repeat(np.arange(start, stop), counts)
        step = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield first, first + step + 1
        start = stop


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
    twin_of: Mapping[int, int] = MappingProxyType({}),
) -> list[Copy]:
    """Return the pictures to be taken out so that no two are the same, sorted by place: the first of any two stays.

    `hashes` is uint64 (n,), `cells` int (n,), one number a (feature, sex). Only a picture that stays can make another
    one a duplicate of it. The first `settled` pictures stay, whatever they show. `twin_of` has the places of twins,
    with those of the pictures that each may be like.

    Thousands of pictures with one hash cost no more than one: in a cell, all but the first of them share its fate.
    """
    kinds = np.stack([hashes, cells.astype(np.uint64)])
    _, first, kind = np.unique(kinds, axis=1, return_index=True, return_inverse=True)
    firsts, places = np.sort(first), np.arange(len(hashes))
    copy_of: dict[int, Copy] = {}
    for i, j, distance in zip(*map(np.ndarray.tolist, pairs(hashes[firsts], criteria.radius_in_cell))):
        i, j = int(firsts[i]), int(firsts[j])
        if twin_of.get(i) == j or twin_of.get(j) == i:
            continue
        if j < settled or (distance > criteria.radius and cells[i] != cells[j]):
            continue
        if i not in copy_of and (j not in copy_of or distance < copy_of[j].distance):
            copy_of[j] = Copy(j, i, distance)
    for place in places[(first[kind.ravel()] != places) & (places >= settled)].tolist():
        same = int(first[kind.ravel()[place]])
        copy_of[place] = (
            Copy(place, copy_of[same].of, copy_of[same].distance) if same in copy_of else Copy(place, same, 0)
        )
    return [copy_of[place] for place in sorted(copy_of)]


class HashCheck:
    """Notes every picture's hash. Whether it is a duplicate is known only once all pictures are there."""

    name = "duplicates"
    version = 1
    rejects = False

    def judge(self, samples: list[Sample], images: list[Image.Image], seen: Sequence[Seen] = ()) -> list[Verdict]:
        """For each picture its hash, and no verdict."""
        return [Verdict(None, {"hash": perceptual_hash(image)}) for image in images]
