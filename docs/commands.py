"""Write commands.md, the reference of the command line, from the commands themselves: `python docs/commands.py`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from builder.__main__ import COMMANDS
from builder.common.cli import Command

FILE = Path(__file__).with_suffix(".md")
HEAD = """# Commands

`agfd30k COMMAND`, or `python -m builder COMMAND` in a checkout without installing. This page is made from the code by
`make docs`; `agfd30k COMMAND --help` says the same in a terminal.

Exit status 0: what was asked for is done. 1: `lint` or `verify` found faults, `lookup` no picture. 2: an error, told in
one line, which says what to do. 130: stopped by Ctrl-C. `generate` on several processes, with the same flags:
`accelerate launch --multi_gpu --num_processes 8 builder/generate.py`."""


def reference() -> str:
    """The page."""
    summaries = "\n".join(f"- [`{command.name}`](#{command.name}): {command.summary}" for command in COMMANDS)
    return "\n\n".join([HEAD, summaries, *(_section(command) for command in COMMANDS)]) + "\n"


def _section(command: Command) -> str:
    app = typer.Typer(add_completion=False)
    command.add_to(app)
    parameters = typer.main.get_command(app).params
    examples = "\n".join(["```bash", *command.examples, "```"])
    table = "\n".join(["| | meaning | default |", "| --- | --- | --- |", *map(_row, parameters)])
    return "\n\n".join([f"## {command.name}", *_paragraphs(command), examples, table])


def _paragraphs(command: Command) -> Iterator[str]:
    for paragraph in inspect.getdoc(command.work).split("\n\n"):
        yield " ".join(paragraph.split())


def _row(parameter: Any) -> str:
    name = parameter.opts[-1]
    if parameter.param_type_name == "argument":
        name = parameter.name.upper()
    elif not parameter.is_flag:
        choices = parameter.type_descriptor.choices
        name += f" {parameter.metavar or ('|'.join(choices) if choices else parameter.name.upper())}"
    cells = [f"`{name}`", parameter.help, _default(parameter)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    return "" if parameter.default is None or parameter.default is False else f"`{parameter.default}`"


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
