"""What the commands have in common: help that shows defaults and ends in an example; errors in one line; the status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from builder.common.errors import UserError


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=32, width=100)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def parser(prog: str, description: str, example: str) -> argparse.ArgumentParser:
    """An argument parser whose --help ends in an example."""
    return argparse.ArgumentParser(
        prog=prog, description=description, epilog=f"example: {example}", formatter_class=_Help, allow_abbrev=False
    )


def status(name: str, work: Callable[[], int | None], stopped: str = "stopped") -> int:
    """Do a command's work; returns its exit status: the work's own or 0, 2 after an error in one line, 130 after ^C."""
    try:
        return work() or 0
    except (UserError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: {stopped}", file=sys.stderr)
        return 130


def scale(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number above 0 and at most 1, got {text}")
    return value


def positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, got {text}")
    return value
