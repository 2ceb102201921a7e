"""Raw build → release folder: script-free Parquet per attribute, metadata and card.

The same rows give the same bytes. The old release is replaced only by a complete new one, and memory does not grow with
the number of pictures.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from builder.common import cli
from builder.engine.choice import Kind, chosen


def release(
    raw: cli.RawPlace = cli.RAW,
    out: cli.ReleasePlace = cli.OUT,
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
    engine: Annotated[
        Kind | None,
        typer.Option(
            help="who writes the files: this machine's cores, or a cluster by Ray, at RAY_ADDRESS",
            show_default="here, or ray where RAY_ADDRESS is set and --raw and --out are folders",
        ),
    ] = None,
) -> None:
    """Make the release folder from a raw build."""
    from builder.dataset import packing
    from builder.dataset.folder import sweep
    from builder.raw.build import RawBuild

    if raw.address:
        from builder.storage.build import fetch

        fetch(raw.address)
    folder = out.folder
    if out.address:
        from builder.storage import releases

        folder = releases.place_for(out.address)
        folder.parent.mkdir(parents=True, exist_ok=True)
    with raw.naming():
        build = RawBuild.open(raw.folder)
        sweep(folder)
        if not partial:
            build.require_complete()
        plan = None if partial else build.asked
        own = Kind.HERE if raw.address or out.address else None  # which lies on this machine alone
        writers = chosen(engine or own)
        statistics, _ = packing.pack(build, folder, anew=True, plan=plan, aligned=aligned, engine=writers)
    print(packing.summary(statistics, build.recipe, folder))
    if out.address:
        print(f"all {releases.put(folder, out.address):,} files are in {out}")


COMMAND = cli.Command(
    release,
    [
        "agfd30k release --raw agfd30k-raw --out agfd30k",
        "agfd30k release --aligned 256",
        "agfd30k release --raw s3://bucket/faces --out agfd30k",
    ],
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
