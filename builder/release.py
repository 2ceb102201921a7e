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
from builder.common.errors import UserError


def release(
    raw: cli.RawFolder = Path("agfd30k-raw"),
    out: cli.ReleaseFolder = Path("agfd30k"),
    partial: Annotated[
        bool, typer.Option("--partial", help="release what is done of a build that is not complete")
    ] = False,
) -> None:
    """Make the release folder from a raw build."""
    from builder.dataset import packing
    from builder.raw import recipe as raw_recipe

    if not partial:
        _require_complete(raw)
    statistics, _ = packing.make(raw, out, anew=True)
    print(packing.summary(statistics, raw_recipe.require(raw), out))


def _require_complete(raw: Path) -> None:
    """Raises UserError where shards are not done, or duplicates not looked for."""
    from builder.raw import build
    from builder.raw import recipe as raw_recipe

    if left := build.unfinished(raw):
        raise UserError(
            f"{raw}: {len(left)} shards are not done ({left[0]} first); run the builder again to finish them, "
            "or release what is done with --partial"
        )
    limits = raw_recipe.require(raw)["spec"]["checks"]["duplicates"]
    if not build.is_searched(raw, limits, build.finished(raw)):
        raise UserError(
            f"{raw}: duplicates have not been looked for since the last picture was made; run the builder "
            "again, or release what is there with --partial"
        )


COMMAND = cli.Command(release, ["agfd30k release --raw agfd30k-raw --out agfd30k"])


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
