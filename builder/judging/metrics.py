"""How far a verifier's scores agree with people: precision, recall and false positives at a threshold; kappa.

Every share is an estimate for the build, from samples of the pictures that were asked to show a feature and of the
others. What `agfd30k calibrate` found is kept beside a raw build's recipe, and goes into its release and its card.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from builder.judging.estimates import Estimate, Stratum, needed
from builder.judging.population import Population

STEPS = 100
"""A proposed threshold is a whole number of hundredths."""
COLUMNS = ("sex", "ethnicity")


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
class Sample:
    """The judged pictures of one feature, and how many the build has: asked to show it (`own`), verified among these,
    and others.
    """

    judged: tuple[Judged, ...]
    own: int
    others: int
    verified: int = 0

    @classmethod
    def of(cls, feature: str, judged: Sequence[Judged], population: Population, **labels: str) -> Sample:
        """Return the sample of a feature, or of its pictures with a label, such as `sex="male"`."""
        return cls(
            tuple(one for one in judged if all(getattr(one, key) == value for key, value in labels.items())),
            population.size(feature, True, **labels),
            population.size(feature, False, **labels),
            population.size(feature, True, verified=True, **labels),
        )

    def stratum(self, own: bool, counts: Callable[[Judged], bool], hit: Callable[[Judged], bool]) -> Stratum:
        """Return one of the two strata: of the pictures that count, those that are hits and those that are not."""
        those = [one for one in self.judged if one.own == own]
        hits = [hit(one) for one in those if counts(one)]
        return Stratum(self.own if own else self.others, sum(hits), len(hits) - sum(hits), len(those) - len(hits))

    def strata(self, counts: Callable[[Judged], bool], hit: Callable[[Judged], bool]) -> tuple[Stratum, Stratum]:
        """Return both, those that were asked to show the feature first."""
        return self.stratum(True, counts, hit), self.stratum(False, counts, hit)

    @property
    def is_scored(self) -> bool:
        """True where the verifier could tell of one picture that was judged."""
        return any(one.score is not None for one in self.judged)

    @property
    def is_whole(self) -> bool:
        """True where no stratum that has pictures has none judged."""
        return all(one.judged or not one.size for one in self.strata(_shown, _shown))

    @property
    def verified_precision(self) -> Estimate:
        """How many show the feature of the build's verified pictures that were asked to."""
        shown = [one.shown for one in self.judged if one.own and one.verified]
        return Estimate((Stratum(self.verified, sum(shown), len(shown) - sum(shown)),))

    @property
    def unscored(self) -> Estimate:
        """How many of all pictures have no score."""
        return Estimate(self.strata(lambda one: True, lambda one: one.score is None))


def _shown(one: Judged) -> bool:
    return one.shown


def _scored(one: Judged) -> bool:
    return one.score is not None


def _passes(threshold: float) -> Callable[[Judged], bool]:
    return lambda one: one.score is not None and one.score >= threshold


@dataclass(frozen=True)
class At:
    """What passes at a threshold, of the build's pictures that have a score.

    `precision` is that of the pictures that were asked to show the feature: how often others show it says nothing about
    its label. `recall` and `false_positives` are of all pictures.
    """

    threshold: float
    precision: Estimate
    recall: Estimate
    false_positives: Estimate

    @classmethod
    def of(cls, sample: Sample, threshold: float) -> At:
        """Estimate them."""
        passes = _passes(threshold)
        return cls(
            threshold,
            Estimate((sample.stratum(True, passes, _shown),)),
            Estimate(sample.strata(lambda one: _scored(one) and one.shown, passes)),
            Estimate(sample.strata(lambda one: _scored(one) and not one.shown, passes)),
        )


@dataclass(frozen=True)
class Proposal:
    """The smallest threshold, in hundredths, at which at most `target` of what does not show the feature passes for
    `sure`: the interval's upper end keeps the target. Where none does, the smallest one that is estimated to.

    Shares fall as the threshold rises, so that looking for the first one that is sure makes it no less sure. None where
    even 1 is not enough, where a share cannot be given, and where fewer than `needed` others are judged not to show the
    feature: `absent` are, too few to be sure even if not one passes.
    """

    threshold: float | None
    false_positives: Estimate
    sure: bool
    needed: int
    absent: int

    @classmethod
    def of(cls, sample: Sample, target: float) -> Proposal:
        """Look through all hundredths."""
        own = not sample.others  # a table of one feature has no others
        absent = sum(one.own == own and _scored(one) and not one.shown for one in sample.judged)
        least = needed(sample.own if own else sample.others, target)
        shares = [(step / STEPS, At.of(sample, step / STEPS).false_positives) for step in range(STEPS + 1)]
        kept = [(limit, share) for limit, share in shares if share.value is not None and share.value <= target]
        if not kept or absent < least:
            return cls(None, shares[-1][1], False, least, absent)
        sure = next((each for each in kept if each[1].interval[1] <= target), None)
        return cls(*(sure or kept[0]), sure is not None, least, absent)


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


def row(feature: str, sample: Sample, threshold: float, target: float) -> dict[str, Any]:
    """Return what is kept of a feature, as plain JSON values; shares are estimates for the build, the others counts."""
    now, proposal, verified = At.of(sample, threshold), Proposal.of(sample, target), sample.verified_precision
    own, others = sample.strata(_shown, _shown)
    return {
        "feature": feature,
        "judged": len(sample.judged),
        "yes": own.hits + others.hits,
        "own": {"pictures": own.size, "judged": own.judged, "yes": own.hits},
        "others": {"pictures": others.size, "judged": others.judged, "yes": others.hits},
        "not_scored": sum(one.score is None for one in sample.judged),
        **_kept("not_scored_rate", sample.unscored),
        "threshold": threshold,
        **_kept("precision", now.precision),
        **_kept("recall", now.recall),
        **_kept("false_positive_rate", now.false_positives),
        "verified_judged": verified.total,
        **_kept("verified_precision", verified),
        "proposed_threshold": proposal.threshold,
        "proposed_is_sure": proposal.sure,
        "proposal_needs": proposal.needed,
    }


def _kept(name: str, share: Estimate) -> dict[str, Any]:
    return {name: share.value, f"{name}_interval": list(share.interval)}


@dataclass(frozen=True)
class Group:
    """The build's pictures of one sex or ethnicity: the share that passes its feature's threshold of what is shown.

    `features` are those that it is of: of every label of the column the same, each with judgements of all its strata.
    """

    column: str
    label: str
    features: int
    passed: Estimate


def groups(judged: dict[str, list[Judged]], thresholds: dict[str, float], population: Population) -> Iterator[Group]:
    """Yield them by sex and by ethnicity. A verifier with a bias shows here: it makes more tries for some people.

    The judged pictures are given by feature. Those of one label are a sample of the build's pictures of that label.
    """
    for column in COLUMNS:
        labels = sorted({getattr(one, column) for some in judged.values() for one in some})
        samples = {
            name: {label: Sample.of(name, some, population, **{column: label}) for label in labels}
            for name, some in judged.items()
        }
        whole = {name: some for name, some in samples.items() if all(one.is_whole for one in some.values())}
        for label in labels:
            strata = [
                stratum
                for name, some in whole.items()
                for stratum in some[label].strata(lambda one: _scored(one) and one.shown, _passes(thresholds[name]))
            ]
            yield Group(column, label, len(whole), Estimate(tuple(strata), max(1, len(whole))))
