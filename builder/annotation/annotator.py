"""What annotates pictures: one interface, and how one is found by its name."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from datasets import Features
from PIL import Image

from agfd30k import DETECTOR, LABELS
from builder.common.errors import UserError
from builder.dataset.croissant import column_field
from builder.dataset.parquet import KEYS

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
BUILT_IN = {"mediapipe": "builder.annotation.mediapipe:FaceLandmarker"}
PARTS = ("name", "digest", "columns", "annotate")


class Annotator(Protocol):
    """A model that sees something on pictures.

    `name` (lower case, digits and underscores) names the config, the folder and the model; `digest` says which exact
    model it is, such as the SHA-256 of its file; `columns` are what it tells of a picture.
    """

    name: str
    digest: str
    columns: Features

    def annotate(self, images: Sequence[Image.Image]) -> Sequence[dict[str, Any] | None]:
        """Return for every picture, RGB, a value for each column, or None where nothing was found."""
        ...


@contextmanager
def load(name: str, model: Path | None = None) -> Iterator[Annotator]:
    """Give the annotator of a name: a built-in one, or what `module:function` returns; at the end it is closed, where
    it has a method `close`.

    The function is called with the path of the `model` where one is given, else without arguments. A module is found
    in this folder too. Raises UserError where there is none, or where it is no annotator.
    """
    function = find_function("--with", BUILT_IN.get(name, name), BUILT_IN, name)
    annotator = _call(name, function, model)
    if fault := _fault(annotator):
        raise UserError(f"--with {name}: {fault}")
    try:
        yield annotator
    finally:
        getattr(annotator, "close", bool)()


def find_function(flag: str, place: str, built_in: Iterable[str] = (), name: str = "") -> Callable[..., Any]:
    """Return what `module:function` names; a module is found in this folder too.

    Raises UserError where there is none, which names the flag, its value and what else may be given.
    """
    module, colon, attribute = place.partition(":")
    name = name or place
    if not (colon and module and attribute.isidentifier()):
        raise UserError(f"{flag} {name}: choose {', '.join(built_in)}, or name module:function")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # a module that is not ours raises anything
        raise UserError(f"{flag} {name}: {module} cannot be imported: {_reason(error)}") from error
    if not callable(function):
        raise UserError(f"{flag} {name}: {module} has no function {attribute}")
    return function


def _call(name: str, function: Callable[..., Any], model: Path | None) -> Any:
    arguments = [model] if model else []
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        wanted = f"with the path of --model alone ({error})" if model else f"without arguments ({error}); see --model"
        raise UserError(f"--with {name}: cannot be called {wanted}") from None
    try:
        return function(*arguments)
    except UserError as error:
        raise UserError(f"--with {name}: {error}") from error
    except Exception as error:  # nor does a function
        raise UserError(f"--with {name}: {_reason(error)}") from error


def _fault(annotator: Any) -> str | None:
    """Return why something is no annotator, None for one."""
    if lost := [part for part in PARTS if not hasattr(annotator, part)]:
        return f"returns a {type(annotator).__name__}, which is no annotator: it has no `{lost[0]}`"
    if not (isinstance(annotator.name, str) and NAME.fullmatch(annotator.name)):
        return f"its name must be lower-case letters, digits and underscores, got {annotator.name!r}"
    if annotator.name == DETECTOR:
        return f"it cannot be called {DETECTOR}, like the checks' own face detector"
    if not (isinstance(annotator.digest, str) and annotator.digest):
        return f"its digest must be a string that is not empty, got {annotator.digest!r}"
    if not (isinstance(annotator.columns, Features) and annotator.columns):
        return f"its columns must be datasets.Features, got {type(annotator.columns).__name__}"
    for column, kind in annotator.columns.items():
        if not NAME.fullmatch(column) or column in ("id", "image", *KEYS, *LABELS):
            return f"a column cannot be called {column!r}"
        try:
            column_field(annotator.name, column, kind, "")
        except ValueError as error:
            return f"column {column}: {error}"
    return None


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(": ")
