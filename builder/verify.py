"""Check a raw build against its plan, picture by picture.

Every row must say what the plan and the recipe say, every picture must be the one that was committed and decode, every
receipt must fit its shard.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.common import cli


def verify(
    raw: Annotated[Path, typer.Argument(help="the raw build")] = Path("agfd30k-raw"),
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="move what is faulty into faulty/ of its shard, so that the next run makes it again"
        ),
    ] = False,
) -> int:
    """Check every row, picture and digest of a raw build, and list every fault.

    Exit status 0 for a sound build, 1 where there are faults that --repair has not set aside, 2 where nothing could be
    checked.
    """
    from builder.raw import verification

    found = verification.verify(raw, repair, say=print)
    print(f"{found.rows} rows, {found.faults} faults" + (", set aside" if repair and found.faults else ""))
    if found.strangers:
        print(f"folders that are not shards of this plan: {found.strangers}; they must be moved away by hand")
    if found.unfinished:
        print(f"shards of the latest run that are not done: {found.unfinished}; run the builder again to go on")
    return 1 if found.strangers or (found.faults and not repair) else 0


COMMAND = cli.Command(verify, ["agfd30k verify agfd30k-raw --repair"])


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
