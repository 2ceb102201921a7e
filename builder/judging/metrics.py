"""How far a verifier's scores agree with people: precision, recall and false positives at a threshold; kappa.

What `agfd30k calibrate` found is kept beside a raw build's recipe, and goes into its release and its card.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from builder.common.intervals import wilson

STEPS = 100
"""A proposed threshold is a whole number of hundredths."""


@dataclass(frozen=True)
class Share:
    """`hits` of `total`, and Wilson's 95% interval."""

    hits: int
    total: int

    @classmethod
    def of(cls, each: Iterable[bool]) -> Share:
        """Count how many of the values are true."""
        found = list(each)
        return cls(sum(found), len(found))

    @property
    def value(self) -> float | None:
        """The share itself; None of nothing."""
        return self.hits / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies with 95% confidence."""
        return wilson(self.hits, self.total)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.2f} ({low:.2f} to {high:.2f})" if self.total else "-"


@dataclass(frozen=True)
class Judged:
    """A picture, whether people say that it is `shown`, and the verifier's score, None where it could not tell.

    `own` is true where the picture was asked to show just this feature.
    """

    feature: str
    shown: bool
    score: float | None
    own: bool
    verified: bool | None = None
    sex: str = ""
    ethnicity: str = ""


@dataclass(frozen=True)
class At:
    """What passes at a threshold. `precision` is that of the pictures that were asked to show the feature: how often
    others show it says nothing about its label. `recall` and `false_positives` are of all that people judged.
    """

    threshold: float
    precision: Share
    recall: Share
    false_positives: Share

    @classmethod
    def of(cls, judged: Sequence[Judged], threshold: float) -> At:
        """Count; pictures without a score are left out."""
        scored = [(one, one.score) for one in judged if one.score is not None]
        return cls(
            threshold,
            Share.of(one.shown for one, score in scored if one.own and score >= threshold),
            Share.of(score >= threshold for one, score in scored if one.shown),
            Share.of(score >= threshold for one, score in scored if not one.shown),
        )


@dataclass(frozen=True)
class Proposal:
    """The smallest threshold, in hundredths, at which at most `target` of what does not show the feature passes.

    None where even 1 is not enough, or there is nothing to count. `sure` says that the interval's upper end keeps the
    target too.
    """

    threshold: float | None
    false_positives: Share
    sure: bool

    @classmethod
    def of(cls, judged: Sequence[Judged], target: float) -> Proposal:
        """Look through all hundredths."""
        for step in range(STEPS + 1):
            passed = At.of(judged, step / STEPS).false_positives
            if passed.value is not None and passed.value <= target:
                return cls(step / STEPS, passed, passed.interval[1] <= target)
        return cls(None, passed, False)


def kappa(one: dict[Any, bool], other: dict[Any, bool]) -> tuple[int, float | None]:
    """Return how many questions two judges have both answered, and Cohen's kappa; None where chance alone would agree.

    Source: Cohen, A coefficient of agreement for nominal scales, 1960.
    """
    both = [(one[about], other[about]) for about in one.keys() & other.keys()]
    if not both:
        return 0, None
    agreed = sum(a == b for a, b in both) / len(both)
    yes, also = (sum(pair[n] for pair in both) / len(both) for n in (0, 1))
    chance = yes * also + (1 - yes) * (1 - also)
    return len(both), (agreed - chance) / (1 - chance) if chance < 1 else None


def pairs(answers: dict[str, dict[Any, bool]]) -> Iterator[tuple[str, str, int, float | None]]:
    """Yield every two judges with questions in common, how many these are, and their kappa."""
    for one, other in itertools.combinations(sorted(answers), 2):
        both, agreed = kappa(answers[one], answers[other])
        if both:
            yield one, other, both, agreed


def row(feature: str, judged: Sequence[Judged], threshold: float, target: float) -> dict[str, Any]:
    """Return what is kept of a feature, as plain JSON values."""
    now, proposal = At.of(judged, threshold), Proposal.of(judged, target)
    verified = Share.of(one.shown for one in judged if one.own and one.verified)
    return {
        "feature": feature,
        "judged": len(judged),
        "yes": sum(one.shown for one in judged),
        "not_scored": sum(one.score is None for one in judged),
        "threshold": threshold,
        **_kept("precision", now.precision),
        **_kept("recall", now.recall),
        **_kept("false_positive_rate", now.false_positives),
        "verified_judged": verified.total,
        **_kept("verified_precision", verified),
        "proposed_threshold": proposal.threshold,
        "proposed_is_sure": proposal.sure,
    }


def _kept(name: str, share: Share) -> dict[str, Any]:
    return {name: share.value, f"{name}_interval": list(share.interval)}


def groups(judged: Sequence[Judged], thresholds: dict[str, float]) -> Iterator[tuple[str, str, Share]]:
    """By sex and by ethnicity: the share that passes its feature's threshold of what people say is shown.

    A verifier with a bias shows here. It makes more tries for some people than for others.
    """
    shown = [(one, one.score) for one in judged if one.shown and one.score is not None]
    for column in ("sex", "ethnicity"):
        for label in sorted({getattr(one, column) for one, _ in shown}):
            those = [(one, score) for one, score in shown if getattr(one, column) == label]
            yield column, label, Share.of(score >= thresholds[one.feature] for one, score in those)
