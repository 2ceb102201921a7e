"""The lines of a shard, as values: what a row and a rejected try hold, and what they must say in their shard."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from builder.common.documents import Document, Malformed, require_sealed, sealed
from builder.common.errors import shortened
from builder.plan.plan import Plan
from builder.plan.sample import Attempt, Sample
from builder.raw.layout import IMAGES, is_file

TAKEN_BACK = DUPLICATE, NEAR_DUPLICATE, NO_TWIN = "duplicate", "near duplicate", "no twin any more"
"""Why a committed picture is taken back: it is another one again, or the one that it is the twin of was taken back."""
NOTHING_TO_TWIN = "nothing to twin"
"""Why a twin is given up untried: the picture that it would be the twin of was given up."""

Count = Annotated[int, Field(ge=0, lt=2**31)]
Size = Annotated[float, Field(ge=-3e38, le=3e38)]
Share = Annotated[float, Field(ge=-0.001, le=1.001)]
"""From 0 to 1, as far as a sum of float32 is exact."""
Sha256 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]


class Measured(Document):
    """The column `checks`: what `agfd30k.CHECKS` says."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]
    faces: Count | None
    face_box: tuple[Size, Size, Size, Size] | None
    face_score: Size | None
    points: Annotated[tuple[Size, ...], Field(min_length=10, max_length=10)] | None = None
    roll: Size | None = None
    yaw: Size | None = None
    pitch: Size | None = None
    jaw_open: Share | None = None
    eye_blink: Share | None = None
    smile: Share | None = None
    attribute_score: Share | None
    sex_score: Share | None
    age_score: Share | None
    minor_score: Share | None
    luminance: Share | None
    highlights: Share | None
    sharpness: Size | None
    noise: Size | None
    hash: Annotated[str, Field(pattern=r"\A[0-9a-f]{16}\z")] | None


class Row(Document):
    """A line of metadata.jsonl: a committed picture."""

    file_name: str
    id: str
    twin_of: str | None = None
    attribute: str
    feature: str
    sex: str
    ethnicity: str
    age: int
    age_group: str
    phrase: str
    split: str
    prompt: str
    negative_prompt: str
    guidance_scale: float
    attempt: Count
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    model: str
    model_revision: str
    safety_checker: str
    verified: bool | None
    checks: Measured
    sha256: Sha256
    digest: str


class Rejection(Document):
    """A line of rejected.jsonl: a try that gave no picture, and why."""

    id: str
    attempt: Count
    seed: int
    reason: Annotated[str, Field(min_length=1)]
    detail: str
    checks: Measured | None
    digest: str


KEYS = list(Row.model_fields)
PLANNED = KEYS[KEYS.index("id") : KEYS.index("model")]
"""What follows from the table alone."""


def planned(attempt: Attempt) -> dict[str, Any]:
    """Return the part of a row that follows from the table alone."""
    sample = attempt.sample
    original = {"twin_of": sample.twin_of and sample.twin_of.id}
    values = {**vars(sample), **original, "attempt": attempt.number, "seed": attempt.seed}
    return {key: values[key] for key in PLANNED}


def next_tries(rejected: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Return the number of the next try at each sample that has rejected ones."""
    numbers: dict[str, int] = {}
    for row in rejected:
        numbers[row["id"]] = max(numbers.get(row["id"], 0), row["attempt"] + 1)
    return numbers


def rejection(attempt: Attempt, reason: str, detail: str = "", checks: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the line of rejected.jsonl for a try that is not kept."""
    values = (attempt.sample.id, attempt.number, attempt.seed, reason, detail, checks and measured(checks))
    return sealed(dict(zip(Rejection.model_fields, values)))


def measured(checks: dict[str, Any]) -> dict[str, Any]:
    """Return what checks measured as a line holds it: a number that is none, a model's NaN, was not measured."""
    no_number = {key for key, value in checks.items() if isinstance(value, float) and not math.isfinite(value)}
    return {**checks, **dict.fromkeys(no_number)}


@dataclass(frozen=True)
class Rules:
    """What the lines of one shard must say: `whole` is every sample that can lie in it, `ending` that of its pictures,
    `made_by` what rows say of the models. `is_hashed`: every picture's hash was noted. `of_twins`: they are twins,
    whose tries begin with that of the picture that they are the twins of.
    """

    whole: dict[str, Sample]
    plan: Plan
    ending: str
    made_by: dict[str, str]
    is_hashed: bool = False
    of_twins: bool = False

    @property
    def most(self) -> int:
        """Tries at a sample before it is given up."""
        return self.plan.spec.recipe.max_attempts

    def file_name(self, id: str) -> str:
        """Return where a picture lies in its shard."""
        return f"{IMAGES}/{id}.{self.ending}"

    def rejected_name(self, id: str, attempt: int) -> str:
        """Return what the picture of a rejected try is called where it is kept for a look."""
        return f"{id}-{attempt}.{self.ending}"

    def row(self, line: bytes) -> dict[str, Any]:
        """Return a committed row. Raises Malformed for a line that says anything but what the plan and recipe say."""
        row = self._line(line, Row, "a row")
        attempt = self.plan.attempt(self.whole[row["id"]], row["attempt"])
        right = {"file_name": self.file_name(row["id"]), **planned(attempt), **self.made_by}
        for key, value in right.items():
            if row.get(key) != value:  # rows of older versions have no `twin_of`
                raise Malformed(f"{row['id']}: `{key}` is {_said(row.get(key))}, the plan says {_said(value)}")
        if self.is_hashed and row["checks"]["hash"] is None:
            raise Malformed(f"{row['id']}: has no hash, by which duplicates are found")
        require_sealed(row)
        return row

    def rejection(self, line: bytes) -> dict[str, Any]:
        """Return a rejected try. Raises Malformed for a line that says anything else."""
        row = self._line(line, Rejection, "a rejected try")
        right = self.plan.attempt(self.whole[row["id"]], row["attempt"]).seed
        if row["seed"] != right:
            raise Malformed(f"{row['id']}: `seed` is {_said(row['seed'])}, the plan says {right}")
        require_sealed(row)
        return row

    def _line(self, line: bytes, kind: type[Document], noun: str) -> dict[str, Any]:
        """Return a line whose keys and types are right, and which is a try at a sample of this shard."""
        try:
            _, row = kind.with_values(line)
        except Malformed as error:
            raise Malformed(f"not {noun} ({error})") from None
        if row["id"] not in self.whole:
            raise Malformed(f"{_said(row['id'])} does not belong to this shard")
        if row["attempt"] >= self.most:
            raise Malformed(f"{row['id']}: `attempt` is {row['attempt']}, and {self.most} tries are the most")
        return row


def _said(value: object) -> str:
    return shortened(repr(value), 50)


def picture_fault(folder: Path, row: dict[str, Any]) -> str | None:
    """Return what is wrong with where a row's picture should be, or None."""
    if is_file(folder / row["file_name"]):
        return None
    return f"{row['id']}: its picture {row['file_name']} is not there"
