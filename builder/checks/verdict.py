"""What every check has in common: a picture and its sample in, a verdict and what was measured out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from builder.plan.sample import Sample

Seen = Mapping[str, Any]
"""What the checks before have measured on a picture, by the keys of the column `checks`."""


@dataclass(frozen=True)
class Verdict:
    """What a check says of a picture. `passed` is None where the check cannot judge it; that never counts as passed.

    `observed` holds what was measured, by the names of the column `checks`; `reason` says in few words, the same for
    all pictures alike, why a picture failed, and `detail` with which numbers. `barred` says that one that failed must
    not be kept, whatever the table says of this check.
    """

    passed: bool | None
    observed: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""
    barred: bool = False


class Check(Protocol):
    """A check. A new `version` says that the same picture may get another verdict than before."""

    name: str
    version: int
    rejects: bool
    """False where a picture that fails is kept, and said to be not verified."""

    def judge(self, samples: list[Sample], images: list[Image.Image], seen: Sequence[Seen] = ()) -> list[Verdict]:
        """Return a verdict for each picture, RGB, in order, of which `seen` says what was seen already."""
