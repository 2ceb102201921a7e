"""The verifier's scores beside people's judgements, feature by feature: what calibration.json and the terminal show."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from builder.common.errors import UserError
from builder.common.files import sha256
from builder.judging import judgements, metrics, votes
from builder.judging import pictures as judging_pictures
from builder.judging.judgements import Standing
from builder.judging.metrics import At, Group, Judged, Proposal, Sample
from builder.judging.pictures import Album
from builder.judging.population import Population
from builder.judging.questions import EACH, OTHERS_PER_OWN
from builder.judging.votes import Reading
from builder.raw import calibration_file
from builder.spec.spec import Spec

THRESHOLDS = tuple(step / 10 for step in range(1, 10))
WORST = 3
"""Features that a line of the summary names."""


def calibrate(folder: Path, path: Path, target: float, reader: str = "") -> Calibration:
    """Hold a file of judgements against the scores of a folder's pictures. Raises UserError for a wrong line."""
    pictures, standing = judging_pictures.load(folder), judgements.standing(path)
    if not standing:
        raise UserError(f"{path}: no judgement in it")
    return compare(pictures, standing, path, target, functools.partial(votes.scores, pictures, reader), sha256(path))


def compare(
    pictures: Album, standing: Standing, path: Path, target: float, reading: Reading, digest: str = ""
) -> Calibration:
    """Hold a file's judgements against the scores of pictures; `reading` reads those that do not stand in rows.

    `path` and `digest` are the file's, for messages and to say what was compared.
    """
    rows, valid, population = votes.held(pictures, path, standing)
    judged = votes.judged(rows, valid, reading)
    return Calibration(
        judged={
            name: some for name in _thresholds(pictures.spec) if (some := [j for j in judged if j.feature == name])
        },
        thresholds=_thresholds(pictures.spec),
        population=population,
        target=target,
        answers=votes.by_judge(valid),
        disputed=len({(judgement.id, judgement.feature) for _, judgement in valid.values()}) - len(judged),
        elsewhere=len(standing) - len(valid),
        rejects=pictures.spec.checks.attribute is not None and pictures.spec.checks.attribute.on_fail == "reject",
        sources={"sha256": digest, "recipe": pictures.fingerprint},
    )


def _thresholds(spec: Spec) -> dict[str, float]:
    """Return the table's threshold for each feature, in the table's order; 0.5 where it checks none."""
    usual = spec.checks.attribute.threshold if spec.checks.attribute else 0.5
    own = {feature.name: feature.check.threshold for feature in spec.features}
    return {name: usual if threshold is None else threshold for name, threshold in own.items()}


@dataclass(frozen=True)
class Calibration:
    """People's judgements beside the verifier's scores, by feature: estimates for the build that `population` counts.

    `disputed` pictures have as many yes as no; `elsewhere` counts the judgements of pictures that are not there now.
    """

    judged: dict[str, list[Judged]]
    thresholds: dict[str, float]
    population: Population
    target: float
    answers: dict[str, dict[votes.About, bool]]
    disputed: int
    elsewhere: int
    rejects: bool
    sources: dict[str, str]

    @cached_property
    def samples(self) -> dict[str, Sample]:
        """What was judged of every feature, beside what the build has."""
        return {name: Sample.of(name, some, self.population) for name, some in self.judged.items()}

    def document(self) -> dict[str, Any]:
        """Return what calibration.json holds; judges have no names in it, since it is published."""
        return {
            "version": calibration_file.VERSION,
            "pictures": self.population.total,
            "judgements": sum(map(len, self.answers.values())),
            "judges": len(self.answers),
            "disputed": self.disputed,
            "target": self.target,
            **self.sources,
            "features": [
                metrics.row(name, sample, self.thresholds[name], self.target) for name, sample in self.samples.items()
            ],
            "groups": [_group_row(group) for group in self.groups],
            "agreement": [{"both": both, "kappa": kappa} for _, _, both, kappa in metrics.pairs(self.answers)],
        }

    @cached_property
    def groups(self) -> list[Group]:
        """By sex and ethnicity, what passes of what is shown."""
        return list(metrics.groups(self.judged, self.thresholds, self.population))

    def lines(self) -> Iterator[str]:
        """Yield all that was found, as text: a table of thresholds for every feature, and the groups."""
        for name, sample in self.samples.items():
            yield from _feature_lines(name, sample, self.thresholds[name], self.target)
        yield "what people say is shown, and passes, by sex and ethnicity:"
        for group in self.groups:
            said = f"{group.passed}, over {group.features:,} features" if group.features else LACKING
            yield f"  {group.column} {group.label:<20}{group.passed.total:>7,} seen  {said}"
        yield ""
        yield from self._notes()

    def summary(self) -> Iterator[str]:
        """Yield a line for every feature at its threshold, the worst few, and what to do next."""
        width = max(len("feature"), *map(len, self.samples))
        columns = f"{'precision':<21} {'recall':<21} {'false positives':<21} threshold"
        yield f"{'feature':<{width}} {'judged':>6} {columns}"
        proposals = {name: Proposal.of(sample, self.target) for name, sample in self.samples.items()}
        for name, sample in self.samples.items():
            at, proposal = At.of(sample, self.thresholds[name]), proposals[name]
            shares = f"{at.precision!s:<21} {at.recall!s:<21} {at.false_positives!s:<21}"
            yield f"{name:<{width}} {len(sample.judged):>6,} {shares} {at.threshold:.2f}{_short(proposal)}"
        yield ""
        yield from self._worst()
        yield from self._next(proposals)
        yield from self._notes()

    def _worst(self) -> Iterator[str]:
        """Yield which features are least precise, and of which most passes that does not show them."""
        found = {name: At.of(sample, self.thresholds[name]) for name, sample in self.samples.items()}
        precision = {name: at.precision.value for name, at in found.items()}
        passed = {name: at.false_positives.value for name, at in found.items()}
        for title, shares, most in (("least precise", precision, False), ("most false positives", passed, True)):
            known = sorted(((share, name) for name, share in shares.items() if share is not None), reverse=most)
            if known:
                yield f"{title}: {', '.join(f'{name} {share:.2f}' for share, name in known[:WORST])}"

    def _next(self, proposals: dict[str, Proposal]) -> Iterator[str]:
        """Yield what to do: judge more where something is unknown or unsure, or set what is proposed."""
        unscored = [name for name, sample in self.samples.items() if not sample.is_scored]
        if unscored:
            yield f"next: a build with [checks.attribute] in its table: no score is known of {_some(unscored)}"
        unseen = [name for name, sample in self.samples.items() if not sample.is_whole and name not in unscored]
        if unseen:
            yield f"next: `agfd30k judge`: asked for and others must both be judged of {_some(unseen)}"
        few = {name: one for name, one in proposals.items() if one.absent < one.needed}
        few = {name: one for name, one in few.items() if name not in (*unseen, *unscored)}
        if few:
            each = max(_each(one, self.samples[name]) for name, one in few.items())
            yield f"next: `agfd30k judge --each {each}`: too few judged to propose thresholds of {_some(few)}"
        sure = [name for name, one in proposals.items() if one.sure and one.threshold != self.thresholds[name]]
        if sure:
            share = f"{self.target:.0%} of what is not shown"
            yield f"next: the `check.threshold` behind -> surely lets at most {share} pass ({len(sure):,} features);"
            yield "a higher one costs recall and tries: --all shows how much"

    def _notes(self) -> Iterator[str]:
        """Yield what the figures are of, and what is left out."""
        yield f"Estimates for the {self.population.total:,} pictures of this build, with 95% intervals; - is not known."
        for one, other, both, kappa in metrics.pairs(self.answers):
            told = "not defined" if kappa is None else f"{kappa:.2f}"
            yield f"judges {one!r} and {other!r} answered {both:,} questions both: Cohen's kappa {told}"
        if self.disputed:
            yield f"{self.disputed:,} pictures with as many yes as no are left out"
        if self.elsewhere:
            yield f"{self.elsewhere:,} judgements are left out: they are of other pictures than those there are now"
        if self.rejects:
            yield "Rejected tries have no picture: recall and false positives are those of the pictures there are, and"
            yield "below the table's threshold those of pictures that were asked for something else."


LACKING = "-: no feature has judgements of all its kinds of pictures"


def _group_row(group: Group) -> dict[str, Any]:
    share = group.passed
    counted = {"yes": share.total, "passed": share.hits, "features": group.features}
    return {"column": group.column, "label": group.label, **counted} | {
        "rate": share.value,
        "interval": list(share.interval),
    }


def _some(names: Iterable[str]) -> str:
    """Return names in a sentence, at most WORST of them."""
    names = list(names)
    return ", ".join(names[:WORST]) + (f" and {len(names) - WORST} more" if len(names) > WORST else "")


def _short(proposal: Proposal) -> str:
    """Return a proposal as a summary's line ends: the threshold, with a question mark where it is not sure."""
    return "" if proposal.threshold is None else f" -> {proposal.threshold:.2f}{'' if proposal.sure else '?'}"


def _feature_lines(name: str, sample: Sample, threshold: float, target: float) -> Iterator[str]:
    """Yield a feature's table: a line for each threshold, the table's own marked with a star, and what is proposed."""
    unscored = sum(one.score is None for one in sample.judged)
    left_out = f"; {unscored:,} have no score, of the build {sample.unscored}" if unscored else ""
    yield f"{name}: {len(sample.judged):,} judged, {sum(one.shown for one in sample.judged):,} yes{left_out}"
    for own, kind in ((True, "asked for it"), (False, "others")):
        one = sample.stratum(own, lambda _: True, lambda judged: judged.shown)
        yield f"  {one.judged:,} of {one.size:,} {kind}, {one.hits:,} yes"
    if unscored < len(sample.judged):
        yield f"  {'threshold':<11}{'precision':<23}{'recall':<23}false positives"
        for limit in sorted({*THRESHOLDS, threshold}):
            at = At.of(sample, limit)
            mark = f"{limit:.2f}{' *' if limit == threshold else ''}"
            yield f"  {mark:<11}{at.precision!s:<23}{at.recall!s:<23}{at.false_positives}"
    yield f"  {_proposed(Proposal.of(sample, target), sample, target)}"
    yield ""


def _proposed(proposal: Proposal, sample: Sample, target: float) -> str:
    """Return the line about a proposed threshold: which one, with how many false positives, and how sure that is."""
    share = proposal.false_positives
    if proposal.threshold is not None:
        said = f"proposed: {proposal.threshold:.2f}, false positives {share}, at most {target:.0%} wanted"
        return said if proposal.sure else f"{said}; too few judgements to be sure"
    if not sample.is_scored:
        why = "the verifier has scored none of them"
    elif not sample.is_whole:
        why = "pictures that were asked for it and others must both be judged"
    elif proposal.absent < proposal.needed:
        why = f"{proposal.needed:,} others that do not show it must be judged, {proposal.absent:,} are"
    else:
        why = f"more than {target:.0%} pass even the highest"
    return f"no threshold can be proposed: {why}"


def _each(proposal: Proposal, sample: Sample) -> int:
    """Return the --each that asks about enough others, if as many of them show the feature as of those judged."""
    others = sample.stratum(False, lambda _: True, lambda one: one.shown).judged
    asked = proposal.needed * others / proposal.absent if proposal.absent else proposal.needed
    return max(EACH, math.ceil(asked / OTHERS_PER_OWN))
