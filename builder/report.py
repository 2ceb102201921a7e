"""A release as one page to look at: `python -m builder.report agfd30k` writes agfd30k-report.html beside the folder.

The page has pictures, filters, balance, what the checks found and near pairs. It is one static file that loads nothing,
runs no script but its own, and needs no network.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from builder.common import cli
from builder.reporting.page import make

SIDES = (32, 512)
MOST_THUMBNAILS = 20_000


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = cli.parser(
        "python -m builder.report",
        "Write a page to look at a release: one HTML file that works without network.",
        "python -m builder.report agfd30k --thumbnails 1000",
    )
    parser.add_argument("release", type=Path, nargs="?", default=Path("agfd30k"), help="the release folder")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="the page; <release>-report.html beside the release unless given"
    )
    parser.add_argument(
        "--thumbnails", metavar="N", type=_number(0, MOST_THUMBNAILS), default=3000, help="pictures shown, at most"
    )
    parser.add_argument("--side", metavar="PIXELS", type=_number(*SIDES), default=96, help="their width and height")
    args = parser.parse_args(argv)
    folder = args.release.resolve()
    out = args.out or folder.parent / f"{folder.name}-report.html"
    return cli.status("report", lambda: print(make(folder, out, args.thumbnails, args.side)))


def _number(least: int, most: int):
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most:,}, got {text!r}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
