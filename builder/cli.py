"""What the commands have in common: help that shows defaults and keeps its example on one line."""

from __future__ import annotations

import argparse


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=32, width=100)

    def _get_help_string(self, action: argparse.Action) -> str:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def parser(prog: str, description: str, example: str) -> argparse.ArgumentParser:
    """An argument parser whose --help ends in an example."""
    return argparse.ArgumentParser(
        prog=prog, description=description, epilog=f"example: {example}", formatter_class=_Help, allow_abbrev=False
    )
