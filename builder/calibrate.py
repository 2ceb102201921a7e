"""How far the verifier's labels agree with people's judgements, as estimates for the whole build.

What it finds is written to calibration.json, which the next release takes in and its card shows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.common import cli
from builder.common.errors import UserError
from builder.common.files import atomic


def calibrate(
    folder: Annotated[Path, typer.Argument(help="the raw build or release folder that was judged")],
    judgements: Annotated[
        Path, typer.Argument(help="what `agfd30k judge` wrote, or lines with id, feature and answer")
    ],
    target: Annotated[
        float,
        typer.Option(metavar="SHARE", parser=cli.share, help="how much may pass of what people say is not shown"),
    ] = 0.05,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="where to write what is found",
            show_default="calibration.json in the raw build, or beside the release",
        ),
    ] = None,
    reader: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="where the attribute check's model lies, if it is a local one")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="print a table of thresholds for every feature, and sexes and ethnicities")
    ] = False,
) -> None:
    """Hold the verifier's scores against people's judgements, estimate how good it is, and propose thresholds."""
    from builder.judging import calibration

    out = out or _out(folder)
    _require_free(out, judgements)
    found = calibration.calibrate(folder, judgements, target, reader or "")
    with atomic(out) as file:
        file.write(json.dumps(found.document(), indent=1).encode())
    print("\n".join(found.lines() if everything else found.summary()))
    print(f"written to {out}" + ("" if everything else "; --all prints more"))


def _out(folder: Path) -> Path:
    import agfd30k
    from builder.raw import calibration_file

    if agfd30k.is_raw(folder):
        return folder / calibration_file.NAME
    return folder.absolute().with_name(f"{folder.absolute().name}-{calibration_file.NAME}")


def _require_free(out: Path, path: Path) -> None:
    """Raises UserError where a calibration may not be written: over anything else, or into a release."""
    import agfd30k
    from builder.raw import calibration_file

    if out.resolve() == path.resolve():
        raise UserError(f"{out}: these are the judgements; give another --out")
    if release := next(filter(agfd30k.is_release, out.resolve().parents), None):
        raise UserError(f"{out}: lies in the release {release}, which stays as it is; give another --out")
    if out.exists() and (not out.is_file() or calibration_file.parsed(out.read_bytes()) is None):
        raise UserError(f"{out}: there already, and not a calibration; move it away, or give another --out")


COMMAND = cli.Command(
    calibrate, ["agfd30k calibrate agfd30k-raw judgements.jsonl --target 0.05"], stopped="stopped, nothing was written"
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
