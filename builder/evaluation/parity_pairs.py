"""Which pictures go into a parity pack: splits for real ones, and pairs of one real and one generated picture.

How many bytes a JPEG file has depends on what it shows. Drawn or smooth pictures make smaller files than photographs,
so that of two sets of pictures, however alike they are encoded, the length of the files would tell which is which.
Therefore a pair has the same split, the same quality and, within a tolerance, the same number of bytes.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from builder.checks import duplicates

RADIUS = 6
"""Bits of 64 by which the hashes of one picture differ after it was resized, encoded again or cut a little."""


@dataclass(frozen=True)
class Encoded:
    """A picture that is encoded, and lies in the pool under its name."""

    kind: str
    source: str
    source_sha256: str
    name: str
    bytes: int
    quality: int
    first_quality: int
    face: bool
    side: int
    split: str = ""
    hash: str = ""
    pair: int | None = None


CALIPER = 0.1
"""By how much the logarithms of a pair's bytes may differ at most, in standard deviations of the more varied kind.

Where one kind has the larger files, the partners that are left at the edge have as well: with 2% of the bytes of
small files, which differ little, a classifier of bytes still reached an area of 0.53.
"""


def rank(seed: int, text: str) -> bytes:
    """Return a text's place in an order that a seed gives."""
    return hashlib.sha256(f"{seed} {text}".encode(errors="surrogateescape")).digest()


def sample(keys: Iterable[str], most: int, seed: int) -> set[str]:
    """Return at most so many of some keys, chosen by a hash."""
    return {*sorted(keys, key=lambda key: rank(seed, key))[:most]}


def splits(digests: Sequence[str], hashes: Sequence[str], shares: dict[str, float], seed: int) -> list[str]:
    """Return the split of every real picture, by a hash; pictures that look the same are in one split.

    `digests` are those of the files, `hashes` the perceptual ones; `shares` of the splits sum to 1.
    """
    i, j, _ = duplicates.pairs(duplicates.numbers(list(hashes)), RADIUS)
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(len(hashes), len(hashes)))
    _, groups = connected_components(graph, directed=False)
    first: dict[int, str] = {}
    for group, digest in zip(groups.tolist(), digests):
        first[group] = min(digest, first.get(group, digest))
    return [_split(first[group], shares, seed) for group in groups.tolist()]


def _split(digest: str, shares: dict[str, float], seed: int) -> str:
    place = int.from_bytes(rank(seed, digest)[:8], "big") / 2**64
    for split, share in shares.items():
        place -= share
        if place < 0:
            return split
    return next(iter(shares))


def paired(one: Sequence[Encoded], other: Sequence[Encoded], within: float, seed: int) -> list[tuple[Encoded, Encoded]]:
    """Return pairs of the same split and quality whose files differ in at most `within` of their bytes, and little.

    Each of the fewer, in an order that the seed gives, takes the nearest of the others that is free: a tolerance that
    is small, also when measured by how much files differ at all (CALIPER), leaves neither kind with the larger files.
    With `within` 1 any two are near enough.
    """
    cells: dict[tuple[str, int], tuple[list[Encoded], list[Encoded]]] = defaultdict(lambda: ([], []))
    for side, pictures in enumerate((one, other)):
        for picture in pictures:
            cells[picture.split, picture.quality][side].append(picture)
    return [pair for cell in sorted(cells) for pair in _nearest(*cells[cell], within, seed)]


def _nearest(one: list[Encoded], other: list[Encoded], within: float, seed: int) -> list[tuple[Encoded, Encoded]]:
    one, other = (sorted(pictures, key=lambda picture: rank(seed, picture.name)) for pictures in (one, other))
    if within >= 1:
        return list(zip(one, other))
    few, many = sorted((one, other), key=len)
    spread = max(float(np.std(np.log([picture.bytes for picture in pictures] or [1]))) for pictures in (one, other))
    most = min(-math.log1p(-within), CALIPER * spread)
    pool = sorted(many, key=lambda picture: picture.bytes)
    places = [math.log(picture.bytes) for picture in pool]
    pairs = []
    for picture in few:
        place = _place(places, math.log(picture.bytes), most)
        if place is not None:
            del places[place]
            partner = pool.pop(place)
            pairs.append((picture, partner) if few is one else (partner, picture))
    return pairs


def _place(places: list[float], wanted: float, most: float) -> int | None:
    """Return the place of the number nearest to the wanted one among sorted ones, unless it is too far."""
    right = bisect.bisect_left(places, wanted)
    near = [place for place in (right - 1, right) if 0 <= place < len(places)]
    best = min(near, key=lambda place: abs(places[place] - wanted), default=None)
    return best if best is not None and abs(places[best] - wanted) <= most else None
