"""Release folder → another format: a config's pictures and labels as tar files for WebDataset.

The export appears when it is complete, and never takes the place of anything.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.common import cli
from builder.common.errors import UserError


def export(
    release: Annotated[Path, typer.Argument(help="the release folder")] = Path("agfd30k"),
    webdataset: Annotated[
        bool, typer.Option("--webdataset", help="as tar files for WebDataset, which is the only format so far")
    ] = False,
    config: Annotated[
        str | None, typer.Option(metavar="NAME", help="what to export", show_default="the release's default config")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="a new folder", show_default="RELEASE-CONFIG-webdataset beside the release"
        ),
    ] = None,
    shard_rows: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=cli.whole(1),
            help="pictures of a tar file, at most; fewer where a split would have less than 8 files",
        ),
    ] = 1000,
) -> None:
    """Write a config of a release as tar files for WebDataset, with labels as names and numbers.

    A tar file holds for every picture its very bytes, its labels as JSON, and the number of its feature in this config.
    """
    from builder.dataset import webdataset as tar_files
    from builder.dataset.folder import Release, sweep

    if not webdataset:
        raise UserError("say in which format: --webdataset")
    folder = release.resolve()
    sweep(folder)
    source = Release(folder)
    tar_files.require_configs(source)
    config = config or source.default_config
    with cli.terminable():
        print(tar_files.export(source, config, out or folder.parent / f"{folder.name}-{config}-webdataset", shard_rows))


COMMAND = cli.Command(
    export,
    ["agfd30k export agfd30k --webdataset --config occlusion --out occlusion-tars"],
    stopped="stopped, nothing was written",
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
