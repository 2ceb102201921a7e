"""Raw build → release folder: script-free Parquet per attribute, metadata and card.

The same rows give the same bytes. The old release is replaced only by a complete new one, and memory does not grow with
the number of pictures.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.common import cli


def release(
    raw: cli.RawFolder = Path("agfd30k-raw"),
    out: cli.ReleaseFolder = Path("agfd30k"),
    partial: Annotated[
        bool, typer.Option("--partial", help="release what is done of a build that is not complete")
    ] = False,
    aligned: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            parser=cli.whole(32, 1024),
            help="also a config `aligned`: faces upright and centred, of that size; those without five points are not",
        ),
    ] = None,
) -> None:
    """Make the release folder from a raw build."""
    from builder.dataset import packing
    from builder.dataset.folder import sweep
    from builder.raw.build import RawBuild

    build = RawBuild.open(raw)
    sweep(out)
    if not partial:
        build.require_complete()
    plan = None if partial else build.asked
    statistics, _ = packing.pack(build, out, anew=True, plan=plan, aligned=aligned)
    print(packing.summary(statistics, build.recipe, out))


COMMAND = cli.Command(release, ["agfd30k release --raw agfd30k-raw --out agfd30k", "agfd30k release --aligned 256"])


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
