"""How far the verifier's labels agree with people's judgements: `python -m builder.calibrate agfd30k-raw FILE`.

What it finds is written to calibration.json, which the next release takes in and its card shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agfd30k
from builder import UserError, album, calibration, cli, judgements, rules, votes
from builder.calibration import At, Judged, Proposal, Share
from builder.files import atomic, sha256
from builder.spec import Spec

THRESHOLDS = tuple(step / 10 for step in range(1, 10))


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    args = _parser().parse_args(argv)
    return cli.status("calibrate", lambda: _calibrate(args), stopped="stopped, nothing was written")


def _calibrate(args: argparse.Namespace) -> None:
    rules.number("--target", args.target, 0, 1)
    out = args.out or _out(args.folder)
    _require_free(out, args.judgements)
    found = calibrate(args.folder, args.judgements, args.target, args.reader or "")
    with atomic(out) as file:
        file.write(json.dumps(found.document(), indent=1).encode())
    print("\n".join(found.lines()))
    print(f"\nwritten to {out}")


def _parser() -> argparse.ArgumentParser:
    made = cli.parser(
        "python -m builder.calibrate",
        "Hold the verifier's scores against people's judgements, and propose thresholds.",
        "python -m builder.calibrate agfd30k-raw judgements.jsonl --target 0.05",
    )
    option = made.add_argument
    option("folder", type=Path, help="the raw build or release folder that was judged")
    option("judgements", type=Path, help="what builder.judge wrote, or lines with id, feature and answer")
    option(
        "--target", metavar="SHARE", type=float, default=0.05, help="how much may pass of what people say is not shown"
    )
    option("--out", metavar="FILE", type=Path, help=f"else {calibration.NAME} in the raw build, or beside the release")
    option("--reader", metavar="FOLDER", help="where the attribute check's model lies, if it is a local one")
    return made


def _out(folder: Path) -> Path:
    if agfd30k.is_raw(folder):
        return folder / calibration.NAME
    return folder.absolute().with_name(f"{folder.absolute().name}-{calibration.NAME}")


def _require_free(out: Path, path: Path) -> None:
    """Raises UserError where a calibration may not be written: over anything else, or into a release."""
    if out.resolve() == path.resolve():
        raise UserError(f"{out}: these are the judgements; give another --out")
    if release := next(filter(agfd30k.is_release, out.resolve().parents), None):
        raise UserError(f"{out}: lies in the release {release}, which stays as it is; give another --out")
    if out.exists() and (not out.is_file() or calibration.parsed(out.read_bytes()) is None):
        raise UserError(f"{out}: there already, and not a calibration; move it away, or give another --out")


def calibrate(folder: Path, path: Path, target: float, reader: str = "") -> Calibration:
    """Hold a file of judgements against the scores of a folder's pictures. Raises UserError for a wrong line."""
    pictures, standing = album.load(folder), judgements.standing(path)
    if not standing:
        raise UserError(f"{path}: no judgement in it")
    rows, there = votes.held(pictures, path, standing)
    held = votes.judged(pictures, rows, there, reader)
    return Calibration(
        judged={name: some for name in _thresholds(pictures.spec) if (some := [j for j in held if j.feature == name])},
        thresholds=_thresholds(pictures.spec),
        target=target,
        answers=votes.by_judge(there),
        disputed=len({(told.id, told.feature) for _, told in there.values()}) - len(held),
        elsewhere=len(standing) - len(there),
        rejects=pictures.spec.checks.attribute is not None and pictures.spec.checks.attribute.on_fail == "reject",
        sources={"sha256": sha256(path), "recipe": pictures.fingerprint},
    )


def _thresholds(spec: Spec) -> dict[str, float]:
    """The table's threshold for each feature, in the table's order; 0.5 where it checks none."""
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
        """Of every feature."""
        return [one for some in self.judged.values() for one in some]

    def document(self) -> dict[str, Any]:
        """What calibration.json holds; judges have no names in it, since it is published."""
        return {
            "judgements": sum(map(len, self.answers.values())),
            "judges": len(self.answers),
            "disputed": self.disputed,
            "target": self.target,
            **self.sources,
            "features": [
                calibration.row(name, some, self.thresholds[name], self.target) for name, some in self.judged.items()
            ],
            "groups": [
                {"column": column, "label": label, "yes": share.total, "passed": share.hits}
                | {"rate": share.value, "interval": list(share.interval)}
                for column, label, share in self._groups()
            ],
            "agreement": [{"both": both, "kappa": kappa} for _, _, both, kappa in calibration.pairs(self.answers)],
        }

    def lines(self) -> Iterator[str]:
        """What was found, as text."""
        for name, some in self.judged.items():
            yield from _feature_lines(name, some, self.thresholds[name], self.target)
        yield "what people say is shown, and passes; shares with Wilson's 95% interval:"
        yield from (f"  {column} {label:<20}{share.total:>7,}  {share}" for column, label, share in self._groups())
        for one, other, both, kappa in calibration.pairs(self.answers):
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
        return calibration.groups(self.all, self.thresholds)


def _feature_lines(name: str, judged: list[Judged], threshold: float, target: float) -> Iterator[str]:
    """A feature's table: a line for each threshold, the table's own marked with a star, and what is proposed."""
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
    """What is said of a proposal."""
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


if __name__ == "__main__":
    sys.exit(main())
