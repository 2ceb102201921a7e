"""The verifier's scores beside people's judgements, feature by feature: what calibration.json and the terminal show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.common.errors import UserError
from builder.common.files import sha256
from builder.judging import judgements, metrics, votes
from builder.judging import pictures as judging_pictures
from builder.judging.metrics import At, Judged, Proposal, Share
from builder.spec.spec import Spec

THRESHOLDS = tuple(step / 10 for step in range(1, 10))


def calibrate(folder: Path, path: Path, target: float, reader: str = "") -> Calibration:
    """Hold a file of judgements against the scores of a folder's pictures. Raises UserError for a wrong line."""
    pictures, standing = judging_pictures.load(folder), judgements.standing(path)
    if not standing:
        raise UserError(f"{path}: no judgement in it")
    rows, valid = votes.held(pictures, path, standing)
    judged = votes.judged(pictures, rows, valid, reader)
    return Calibration(
        judged={
            name: some for name in _thresholds(pictures.spec) if (some := [j for j in judged if j.feature == name])
        },
        thresholds=_thresholds(pictures.spec),
        target=target,
        answers=votes.by_judge(valid),
        disputed=len({(judgement.id, judgement.feature) for _, judgement in valid.values()}) - len(judged),
        elsewhere=len(standing) - len(valid),
        rejects=pictures.spec.checks.attribute is not None and pictures.spec.checks.attribute.on_fail == "reject",
        sources={"sha256": sha256(path), "recipe": pictures.fingerprint},
    )


def _thresholds(spec: Spec) -> dict[str, float]:
    """Return the table's threshold for each feature, in the table's order; 0.5 where it checks none."""
    usual = spec.checks.attribute.threshold if spec.checks.attribute else 0.5
    own = {feature.name: feature.check.threshold for feature in spec.features}
    return {name: usual if threshold is None else threshold for name, threshold in own.items()}


@dataclass(frozen=True)
class Calibration:
    """People's judgements beside the verifier's scores, by feature.

    `disputed` pictures have as many yes as no; `elsewhere` counts the judgements of pictures that are not there now.
    """

    judged: dict[str, list[Judged]]
    thresholds: dict[str, float]
    target: float
    answers: dict[str, dict[votes.About, bool]]
    disputed: int
    elsewhere: int
    rejects: bool
    sources: dict[str, str]

    @property
    def all(self) -> list[Judged]:
        """The judged pictures of every feature."""
        return [one for some in self.judged.values() for one in some]

    def document(self) -> dict[str, Any]:
        """Return what calibration.json holds; judges have no names in it, since it is published."""
        return {
            "judgements": sum(map(len, self.answers.values())),
            "judges": len(self.answers),
            "disputed": self.disputed,
            "target": self.target,
            **self.sources,
            "features": [
                metrics.row(name, some, self.thresholds[name], self.target) for name, some in self.judged.items()
            ],
            "groups": [
                {"column": column, "label": label, "yes": share.total, "passed": share.hits}
                | {"rate": share.value, "interval": list(share.interval)}
                for column, label, share in self._groups()
            ],
            "agreement": [{"both": both, "kappa": kappa} for _, _, both, kappa in metrics.pairs(self.answers)],
        }

    def lines(self) -> Iterator[str]:
        """Yield what was found, as text."""
        for name, some in self.judged.items():
            yield from _feature_lines(name, some, self.thresholds[name], self.target)
        yield "what people say is shown, and passes; shares with Wilson's 95% interval:"
        yield from (f"  {column} {label:<20}{share.total:>7,}  {share}" for column, label, share in self._groups())
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

    def _groups(self) -> Iterator[tuple[str, str, Share]]:
        return metrics.groups(self.all, self.thresholds)


def _feature_lines(name: str, judged: list[Judged], threshold: float, target: float) -> Iterator[str]:
    """Yield a feature's table: a line for each threshold, the table's own marked with a star, and what is proposed."""
    unscored = sum(one.score is None for one in judged)
    left_out = f", {unscored:,} of them without a score" if unscored else ""
    yield f"{name}: {len(judged):,} judged, {sum(one.shown for one in judged):,} yes{left_out}"
    if unscored < len(judged):
        yield f"  {'threshold':<11}{'precision':<23}{'recall':<23}false positives"
        for limit in sorted({*THRESHOLDS, threshold}):
            at = At.of(judged, limit)
            mark = f"{limit:.2f}{' *' if limit == threshold else ''}"
            yield f"  {mark:<11}{at.precision!s:<23}{at.recall!s:<23}{at.false_positives}"
    yield f"  {_proposed(Proposal.of(judged, target), target)}"
    yield ""


def _proposed(proposal: Proposal, target: float) -> str:
    """Return the line about a proposed threshold: which one, with how many false positives, and how sure that is."""
    share = proposal.false_positives
    if proposal.threshold is None:
        return "no threshold can be proposed: " + (
            f"more than {target:.0%} pass even the highest"
            if share.total
            else "nothing with a score was judged not to show it"
        )
    said = f"proposed: {proposal.threshold:.2f}, false positives {share}, at most {target:.0%} wanted"
    if proposal.sure:
        return said
    return f"{said}; too few judgements to be sure"
