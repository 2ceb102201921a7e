"""One picture that is asked for, the tries at it, and their seeds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.spec.criteria import Shown

if TYPE_CHECKING:
    from PIL.Image import Image

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Sample:
    """What one picture is asked to be. `index` counts within (feature, sex); `phrase` is the special prompt; `check` is
    how it is checked for its feature.
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


@dataclass(frozen=True)
class Attempt:
    """One try at a sample: try `number`, from 0, has its own seed."""

    sample: Sample
    number: int
    seed: int


def seed(release: str, id: str, attempt: int) -> int:
    """Return the seed of one try at one picture: 53 bits of sha256, so that it is exact in JSON and JavaScript too.

    torch's CPU generator uses the low 32 bits alone; `agfd30k balance` counts both.
    """
    digest = hashlib.sha256(f"{release}/{id}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 11


@dataclass(frozen=True)
class Result:
    """One try's outcome: a picture, or the reason why there is none."""

    attempt: Attempt
    image: Image | None
    reason: str | None = None
