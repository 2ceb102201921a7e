"""A release as one page to look at, with pictures, filters, balance, what the checks found and near pairs.

The page is one static file that loads nothing, runs no script but its own, and needs no network.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.common import cli


def report(
    release: Annotated[Path, typer.Argument(help="the release folder")] = Path("agfd30k"),
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="the page", show_default="RELEASE-report.html beside the release"),
    ] = None,
    thumbnails: Annotated[
        int, typer.Option(metavar="N", parser=cli.whole(0, 20_000), help="pictures shown, at most")
    ] = 3000,
    side: Annotated[int, typer.Option(metavar="PIXELS", parser=cli.whole(32, 512), help="their width and height")] = 96,
) -> None:
    """Write a page to look at a release: one HTML file that works without network."""
    from builder.dataset.folder import sweep
    from builder.reporting import page

    folder = release.resolve()
    sweep(folder)
    print(page.make(folder, out or folder.parent / f"{folder.name}-report.html", thumbnails, side))


COMMAND = cli.Command(report, ["agfd30k report agfd30k --thumbnails 1000"])


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
