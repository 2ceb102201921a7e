"""How far the verifier's labels agree with people's judgements: `python -m builder.calibrate agfd30k-raw FILE`.

What it finds is written to calibration.json, which the next release takes in and its card shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import agfd30k
from builder.common import cli, validation
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.judging.calibration import calibrate
from builder.raw import calibration_file


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    args = _parser().parse_args(argv)
    return cli.status("calibrate", lambda: _calibrate(args), stopped="stopped, nothing was written")


def _calibrate(args: argparse.Namespace) -> None:
    validation.number("--target", args.target, 0, 1)
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
    option(
        "--out", metavar="FILE", type=Path, help=f"else {calibration_file.NAME} in the raw build, or beside the release"
    )
    option("--reader", metavar="FOLDER", help="where the attribute check's model lies, if it is a local one")
    return made


def _out(folder: Path) -> Path:
    if agfd30k.is_raw(folder):
        return folder / calibration_file.NAME
    return folder.absolute().with_name(f"{folder.absolute().name}-{calibration_file.NAME}")


def _require_free(out: Path, path: Path) -> None:
    """Raises UserError where a calibration may not be written: over anything else, or into a release."""
    if out.resolve() == path.resolve():
        raise UserError(f"{out}: these are the judgements; give another --out")
    if release := next(filter(agfd30k.is_release, out.resolve().parents), None):
        raise UserError(f"{out}: lies in the release {release}, which stays as it is; give another --out")
    if out.exists() and (not out.is_file() or calibration_file.parsed(out.read_bytes()) is None):
        raise UserError(f"{out}: there already, and not a calibration; move it away, or give another --out")


if __name__ == "__main__":
    sys.exit(main())
