"""What the commands have in common: help that ends in examples, errors in one line, the exit status, common flags.

A command's function takes flags as typer reads them and returns its exit status, or None for 0. Command files import
nothing heavy before they work, so that `--help` comes at once.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.exceptions import TyperException

from builder.common.address import Place
from builder.common.errors import Terminated, UserError, shortened

NAME = "agfd30k"
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@([\w./-]+))?")
"""A dataset on the Hub, and its revision."""


def place(text: object) -> Place:
    """A folder, or an address in a store."""
    try:
        return Place.parse(text)
    except UserError as error:
        raise typer.BadParameter(str(error)) from None


RawPlace = Annotated[
    Place,
    typer.Option(
        "--raw",
        metavar="FOLDER",
        parser=place,
        help="folder of the raw build, pictures and rows; or an address: s3://, gs://, az:// or hf://buckets/",
    ),
]
RAW = Place(Path("agfd30k-raw"))
ReleaseFolder = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="the release folder, replaced as a whole")]
ReleasePlace = Annotated[
    Place,
    typer.Option(
        "--out",
        metavar="FOLDER",
        parser=place,
        help="the release folder, replaced as a whole; or an address, where nothing is replaced",
    ),
]
OUT = Place(Path("agfd30k"))
Table = Annotated[
    Path | None,
    typer.Option("--spec", metavar="FILE", help="the table, TOML", show_default="the one that is shipped"),
]

Thorough = Annotated[bool, typer.Option("--thorough", help="decode every picture, not a sample")]


@dataclass(frozen=True)
class Command:
    """A command, named like its function; `examples` end its help, `stopped` is said after ^C.

    `program` is how it is started where that is not `agfd30k NAME`.
    """

    work: Callable[..., int | None]
    examples: Sequence[str]
    stopped: str = "stopped"
    program: str = ""

    @property
    def name(self) -> str:
        return self.work.__name__

    @property
    def summary(self) -> str:
        """What it does, in a sentence."""
        return " ".join((self.work.__doc__ or "").partition("\n\n")[0].split())

    def add_to(self, app: typer.Typer) -> None:
        """Make this a command of an app."""
        lines = [f"example: {example}" for example in self.examples]
        epilog = "\n".join(["\b", *lines])  # \b: lines stay as they are
        app.command(self.name, short_help=self.summary, epilog=epilog, context_settings=SETTINGS)(self._guarded())

    def run(self, argv: Sequence[str] | None = None, obj: Any = None) -> int:
        """Run it alone, with the process's arguments unless given; returns the exit status."""
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        self.add_to(app)
        return run(app, self.program or f"{NAME} {self.name}", argv, obj)

    def _guarded(self) -> Callable[..., int]:
        @functools.wraps(self.work)
        def guarded(**flags: Any) -> int:
            return status(self.name, lambda: self.work(**flags), self.stopped)

        return guarded


def run(app: typer.Typer, program: str, argv: Sequence[str] | None = None, obj: Any = None) -> int:
    """Run an app; returns the exit status. What is wrong with the arguments is one line, and status 2."""
    command = typer.main.get_command(app)
    try:
        return command.main(argv, prog_name=program, standalone_mode=False, obj=obj) or 0
    except TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else program
        print(shortened(f"{path.split()[-1]}: {_usage(error, path)}"), file=sys.stderr)
        return 2


def status(name: str, work: Callable[[], int | None], stopped: str = "stopped") -> int:
    """Do a command's work; returns its exit status: the work's own or 0, 2 after an error in one line, 130 after ^C,
    143 after SIGTERM where that is `terminable`.
    """
    try:
        return work() or 0
    except (UserError, OSError) as error:
        print(shortened(f"{name}: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"{name}: {stopped}", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


@contextmanager
def terminable() -> Iterator[None]:
    """Within, SIGTERM ends a command as ^C does. In a thread of its own, which no signal reaches, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def require_command(line: Sequence[str]) -> None:
    """Exit with a line where `python -m` names a library module: it would do nothing, and that would look like success.

    A module that may be started says so itself, by `if __name__ == "__main__"`.
    """
    name = line[line.index("-m") + 1] if "-m" in line else ""
    found = importlib.util.find_spec(name) if name.startswith("builder.") else None
    text = Path(found.origin).read_text(encoding="utf-8") if found and found.origin else ""
    if found and '\nif __name__ == "__main__"' not in text:
        print(f"{name}: part of the library, not a command; `{NAME} --help` lists the commands", file=sys.stderr)
        sys.exit(2)


def words(values: Sequence[str] | None) -> tuple[str, ...]:
    """The words of a flag that may be repeated and may hold several with commas between them."""
    return tuple(word.strip() for value in values or () for word in value.split(","))


def scale(text: object) -> float:
    """A share that is not nothing."""
    return _number(text, float, lambda value: 0 < value <= 1, "a number above 0 and at most 1")


def share(text: object) -> float:
    """A share from nothing to all."""
    return _number(text, float, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def whole(least: float = float("-inf"), most: float = float("inf")) -> Callable[[object], int]:
    """Reads whole numbers in a range."""
    bounds = f", {least:,} or more" if most == float("inf") else f" from {least:,} to {most:,}"
    rule = "a whole number" + (bounds if least > float("-inf") else "")
    return lambda text: _number(text, int, lambda value: least <= value <= most, rule)


def _number(text: object, kind: type, holds: Callable[[Any], bool], rule: str) -> Any:
    try:
        value = kind(str(text))
    except ValueError:
        value = None
    if value is None or not holds(value):
        raise typer.BadParameter(f"must be {rule}, got {text!r}")
    return value


Only = Annotated[
    list[str] | None,
    typer.Option(metavar="ATTRIBUTE[/FEATURE]", help="make only this; may be repeated, or hold several with commas"),
]
Scale = Annotated[
    float, typer.Option(metavar="N", parser=scale, help="share of every quota to make, at least 1 a feature and sex")
]
Limit = Annotated[
    int | None, typer.Option(metavar="N", parser=whole(1), help="at most so many pictures, spread evenly")
]
ImageFormat = Annotated[Literal["png", "webp", "jpg"], typer.Option(help="png and webp are lossless")]


def _usage(error: TyperException, path: str) -> str:
    """What is wrong with the arguments, and what to do."""
    parameter, text = getattr(error, "param", None), " ".join(error.message.split()).rstrip(".")
    if parameter is not None and text:
        name = parameter.opts[-1] if parameter.param_type_name == "option" else parameter.display_name_raw
        return f"{name}: {text.removeprefix('Value error, ')}"
    if near := getattr(error, "possibilities", None):
        return f"no such option: {getattr(error, 'option_name', '')}; did you mean {' or '.join(near)}?"
    text = " ".join(error.format_message().split()).rstrip(".")
    text = text[:1].lower() + text[1:]
    return text if text.endswith("?") else f"{text}; `{path} --help` says what there is"
