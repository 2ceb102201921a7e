"""Is a picture what it was asked to be? Checks of its content, its face, its feature and its hash, put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from agfd30k import CHECKS
from builder.checks.verdict import Check, Verdict
from builder.plan.sample import Sample


@dataclass
class Outcome:
    """What all checks say of one picture. `reason` and `detail` are "" for a picture to keep."""

    reason: str = ""
    detail: str = ""
    checks: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(CHECKS) | {"passed": [], "failed": []})

    @property
    def verified(self) -> bool | None:
        """True when the feature was seen and no check failed, False when one failed, None when nobody could tell."""
        if self.checks["failed"]:
            return False
        return True if "attribute" in self.checks["passed"] else None

    def add(self, check: Check, verdict: Verdict) -> None:
        """Take in a verdict; the first check that rejects gives the reason."""
        self.checks.update(verdict.observed)
        if verdict.passed is not None:
            self.checks["passed" if verdict.passed else "failed"].append(check.name)
        if verdict.passed is False and (check.rejects or verdict.barred):
            self.reason, self.detail = verdict.reason, verdict.detail


class Checks:
    """The checks of a table in their order: `look` runs those that take pictures one by one, `read` the others.

    A picture that is rejected is not shown to the checks that come after.
    """

    def __init__(self, single: list[Check], batched: list[Check]):
        self.single = single
        self.batched = batched

    def look(self, sample: Sample, image: Image.Image) -> Outcome:
        """Check one picture, RGB, by itself; may be called from several threads."""
        outcome = Outcome()
        for check in self.single:
            if not outcome.reason:
                outcome.add(check, check.judge([sample], [image], [outcome.checks])[0])
        return outcome

    def read(self, samples: list[Sample], images: list[Image.Image], outcomes: list[Outcome]) -> None:
        """Add to the outcomes of a batch of pictures what the checks say that look at many pictures at once."""
        for check in self.batched:
            standing = [n for n, outcome in enumerate(outcomes) if not outcome.reason]
            if standing:
                seen = [outcomes[n].checks for n in standing]
                verdicts = check.judge([samples[n] for n in standing], [images[n] for n in standing], seen)
                for n, verdict in zip(standing, verdicts):
                    outcomes[n].add(check, verdict)
