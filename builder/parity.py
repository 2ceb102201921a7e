"""Generated pictures of a release and real photographs of yours → a folder in which both are encoded alike.

A detector of fakes that is trained or tested on it does not learn the format of files instead of the fake.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.common import cli
from builder.common.errors import UserError


def parity(
    real: Annotated[
        Path, typer.Option(metavar="FOLDER", help="your photographs: a folder of any shape, links are left")
    ],
    release: Annotated[Path, typer.Argument(help="the release folder")] = Path("agfd30k"),
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="a new folder", show_default="RELEASE-parity beside the release"),
    ] = None,
    size: Annotated[
        int,
        typer.Option(
            metavar="PIXELS",
            parser=cli.whole(32, 2048),
            help="side of every picture; sources need half as much again, since nothing is enlarged",
        ),
    ] = 256,
    qualities: Annotated[
        str, typer.Option(metavar="LIST", help="JPEG qualities, of which each picture gets one by its hash")
    ] = "75,85,95",
    bytes_within: Annotated[
        float,
        typer.Option(metavar="SHARE", parser=cli.scale, help="by how much the files of a pair may differ in bytes"),
    ] = 0.02,
    everything: Annotated[
        bool, typer.Option("--all", help="keep every picture: neither balanced nor paired by bytes")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", parser=cli.whole(0), help="what draws and choices depend on")] = 0,
) -> None:
    """Encode a release's pictures and real photographs alike, in pairs, for training and testing detectors of fakes.

    Both are cut, reduced, compressed twice and stripped of metadata in one way. A pair has the same split, the same
    quality and about as many bytes; pictures without a partner are left out and counted, as are small, grey and
    unreadable ones. `load_dataset("imagefolder", data_dir=OUT)` reads the result, with labels `generated` and `real`.
    """
    from builder.evaluation.parity import Settings, make

    settings = Settings(size, _qualities(qualities), bytes_within, everything, seed)
    with cli.terminable():
        print(make(release, real, out, settings))


def _qualities(text: str) -> tuple[int, ...]:
    """Return the qualities that a list names."""
    try:
        qualities = tuple(int(word) for word in text.split(","))
    except ValueError:
        qualities = ()
    if not qualities or not all(1 <= quality <= 100 for quality in qualities):
        raise UserError(f"--qualities: must be whole numbers from 1 to 100 with commas between them, got {text!r}")
    return qualities


COMMAND = cli.Command(
    parity,
    [
        "agfd30k parity agfd30k --real photographs --out pack",
        "agfd30k parity agfd30k --real photographs --size 224 --qualities 80,90",
    ],
    stopped="stopped, nothing was written",
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
