"""Check a release folder for whatever the Hub, its viewer or a user would trip over; `agfd30k upload` does it too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.common import cli
from builder.common.errors import UserError


def lint(
    folder: Annotated[Path, typer.Argument(help="the release folder")] = Path("agfd30k"),
    thorough: cli.Thorough = False,
    allow_preview: Annotated[
        bool, typer.Option("--allow-preview", help="pictures of the preview model are no fault")
    ] = False,
    allow_incomplete: Annotated[
        bool, typer.Option("--allow-incomplete", help="features that lack pictures are no fault")
    ] = False,
) -> int:
    """Check a release folder as `upload` does before it sends, and list every fault. No network.

    Exit status 0 for a release without faults, 1 where there are some, 2 where nothing could be checked.
    """
    from builder.dataset.folder import Release, sweep
    from builder.linting import lint as rules

    sweep(folder)
    _require_release(folder)
    release, faults = Release(folder), 0
    for fault in rules.check(release, thorough, allow_preview, allow_incomplete):
        print(fault)
        faults += 1
    if faults:
        print(f"{folder}: {faults} faults" if faults > 1 else f"{folder}: a fault")
        return 1
    for note in rules.notes(release):
        print(f"note: {note}")
    print(f"{folder}: no faults")
    return 0


def _require_release(folder: Path) -> None:
    """Raises UserError where there is nothing that could be checked."""
    import agfd30k

    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; make a release with `agfd30k generate`, or name another")
    if agfd30k.is_raw(folder):
        raise UserError(
            f"{folder}: a raw build, not a release; check it with `agfd30k verify {folder}`, or run "
            f"`agfd30k release --raw {folder}` first"
        )


COMMAND = cli.Command(lint, ["agfd30k lint agfd30k --thorough"])


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
