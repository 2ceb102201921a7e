"""All commands as one: `agfd30k generate`, or `python -m builder generate`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from builder.common import cli

VERBS = (
    "convert",
    "generate",
    "release",
    "verify",
    "lint",
    "report",
    "annotate",
    "export",
    "parity",
    "judge",
    "calibrate",
    "balance",
    "evaluate",
    "upload",
    "jobs",
    "lookup",
)
"""In the order of the data's way."""
COMMANDS = [importlib.import_module(f"builder.{verb}").COMMAND for verb in VERBS]

app = typer.Typer(
    name=cli.NAME,
    add_completion=False,
    rich_markup_mode=None,
    context_settings=cli.SETTINGS,
    epilog=f"example: {cli.NAME} generate --model preview --raw preview-raw --limit 8",
)
for command in COMMANDS:
    command.add_to(app)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(cli.NAME, version(cli.NAME))
        except PackageNotFoundError:
            print(cli.NAME, "(not installed)")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _agfd30k(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Make, check, judge and publish labelled faces. `agfd30k COMMAND --help` explains a command."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """The console command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    chosen = {command.name: command for command in COMMANDS}.get(argv[0] if argv else "")
    return chosen.run(argv[1:]) if chosen else cli.run(app, cli.NAME, argv)


if __name__ == "__main__":
    sys.exit(main())
