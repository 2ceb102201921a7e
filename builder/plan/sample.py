"""One picture that is asked for, the tries at it, and their seeds."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from builder.spec.criteria import Shown

if TYPE_CHECKING:
    from PIL.Image import Image

SPLITS = ("train", "validation", "test")
SEEDS = 2**32
"""How many seeds there are. Source: torch's CPU generator, a Mersenne Twister that is seeded with 32 bits."""
MULTIPLIER = 0x85EBCA6B
"""An odd number. Source: MurmurHash3, fmix32."""


@dataclass(frozen=True)
class Sample:
    """What one picture is asked to be. `index` counts within (feature, sex); `phrase` is the special prompt; `check` is
    how it is checked for its feature. Of a twin, `twin_of` is the sample that it is the same person as.
    """

    id: str
    attribute: str
    feature: str
    sex: str
    ethnicity: str
    age: int
    age_group: str
    subject: str
    phrase: str
    index: int
    split: str
    prompt: str
    negative_prompt: str
    guidance_scale: float
    minor: bool
    check: Shown
    twin_of: Sample | None = None


@dataclass(frozen=True)
class Attempt:
    """One try at a sample: try `number`, from 0, has its own seed."""

    sample: Sample
    number: int
    seed: int


def seed(release: str, number: int) -> int:
    """Return the seed of the number-th try of a table, from 0 to 2^32 - 1: what `torch.manual_seed` is given.

    torch's CPU generator takes 32 bits and no more, so seeds are not drawn, which would make some equal, but dealt: for
    every `release` word this is a permutation of the 32-bit numbers, and any 2^32 tries in a row have seeds of their
    own. A larger number has the seed of `number % 2**32`. `Plan.seed` says which try has which number.

    The word's SHA-256 gives four keys, one for each of four rounds. A round mixes by steps that can each be undone, so
    that no two numbers meet: exclusive or with the key, multiplication by an odd number, exclusive or of the lower half
    with the upper one. With the word `agfd30k-1`, of which the first key is 0x5d23ad14, try 0 goes

        0x00000000 -> 0x5d23ad14 (key) -> 0x59d71f5c (times 0x85ebca6b) -> 0x59d7468b (upper half)
        -> 0x19d6b925 (second key) -> ... -> 0x3c688069 = 1,013,481,577, its seed
    """
    bits = number % SEEDS
    for key in _keys(release):
        bits ^= key
        bits = bits * MULTIPLIER % SEEDS
        bits ^= bits >> 16
    return bits


@cache
def _keys(release: str) -> tuple[int, ...]:
    """Return the four keys of a release word, 32 bits each."""
    return struct.unpack(">4I", hashlib.sha256(release.encode()).digest()[:16])


@dataclass(frozen=True)
class Result:
    """One try's outcome: a picture, or the reason why there is none."""

    attempt: Attempt
    image: Image | None
    reason: str | None = None
