"""What is wrong with a table: a line for each fault, with place, rule, value, and the name that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from builder.common.errors import UserError

Place = tuple[str | int, ...]
LONGEST = 100
"""Characters that a line shows of a value."""
ROWS = ("feature", "features")
KINDS = {
    "model_type": "<key> must be a table",
    "model_attributes_type": "<key> must be a table",
    "dict_type": "<key> must be a table",
    "tuple_type": "<key> must be a list",
    "string_type": "<key> must be a string",
}
"""What pydantic finds wrong with a value's kind, in our words."""


class SpecError(UserError, ValueError):
    """A table, or a value of one, that breaks rules: one line for each of its faults."""

    def __init__(self, text: str, faults: Iterable[Fault] = ()):
        super().__init__(text)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, *faults: Fault) -> SpecError:
        """Return the error of these faults."""
        return cls("\n".join(lines(faults)), faults)


@dataclass(frozen=True)
class Fault:
    """A broken rule. In `rule`, <key> stands for the key at `place`, <table> for the table around it.

    `meant` is the known name that is nearest to the value, where one is near.
    """

    rule: str
    value: Any
    place: Place = ()
    meant: str | None = None

    def below(self, *place: str | int) -> Fault:
        """Return the same fault, seen from the table in which its own lies at `place`."""
        return Fault(self.rule, self.value, (*place, *self.place), self.meant)

    def line(self, names: Mapping[int, str] | None = None) -> str:
        """One line; `names` are those of the feature rows, by their number from 0."""
        row, keys = _split(self.place)
        rule = self.rule.replace("<key>", _key(row, keys)).replace("<table>", _table(row, keys[:-1]))
        name = (names or {}).get(row, "") if row is not None else ""
        where = "" if row is None else f"feature row {row + 1}{name and f' ({name})'}: "
        return f"{where}{rule}, got {shown(self.value)}{f': did you mean `{self.meant}`?' if self.meant else ''}"

    def details(self) -> InitErrorDetails:
        """Return the fault as pydantic keeps it; `faults_of` gives it back."""
        told = PydanticCustomError("fault", "{rule}", {"rule": self.rule, "meant": self.meant})
        return InitErrorDetails(type=told, loc=self.place, input=self.value)


def faults_of(error: ValidationError, known: Iterable[str] = ()) -> list[Fault]:
    """Return the faults that pydantic found; `known` are the keys of the model that was asked.

    A key that is missing only because it was misspelt is told once, as the misspelt one.
    """
    known = list(known)
    errors = error.errors(include_url=False)
    misspelt = {nearest(each["loc"][-1], known) for each in errors if each["type"] == "extra_forbidden"}
    return [_fault(each, known) for each in errors if each["type"] != "missing" or each["loc"][-1] not in misspelt]


def nearest(name: Any, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a name, if one is nearly it."""
    by_letters = {word.casefold(): word for word in known}
    near = difflib.get_close_matches(name.casefold(), by_letters, n=1) if isinstance(name, str) else []
    return by_letters[near[0]] if near else None


def shown(value: Any) -> str:
    """Return a value as Python writes it, cut to a length that a line can hold."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _fault(error: ErrorDetails, known: list[str]) -> Fault:
    place, kind = error["loc"], error["type"]
    if kind == "fault":
        return Fault(error["ctx"]["rule"], error["input"], place, error["ctx"]["meant"])
    if kind == "missing":
        return Fault(f"<table> needs the key `{place[-1]}`", sorted(error["input"]), place)
    if kind == "extra_forbidden":
        meant = nearest(place[-1], known)
        return Fault(f"unknown key in <table>{'' if meant else _listed(known)}", place[-1], place, meant)
    return Fault(KINDS.get(kind, f"<key>: {error['msg']}"), error["input"], place)


def _listed(known: list[str]) -> str:
    return f" (known: {', '.join(sorted(known))})"


def _split(place: Place) -> tuple[int | None, list[str]]:
    """The number of a feature row, and the keys from there on; places in lists, and marks in brackets, are left out."""
    row = place[1] if len(place) > 1 and place[0] in ROWS and isinstance(place[1], int) else None
    place = place if row is None else place[2:]
    if place[-1:] == ("[key]",):  # the label itself is what is wrong
        place = place[:-2]
    keys = [key for key in place if isinstance(key, str) and not key.startswith("[")]
    return row, [key if key.isprintable() and 0 < len(key) <= LONGEST else shown(key) for key in keys]


def _key(row: int | None, keys: list[str]) -> str:
    return f"`{'.'.join(keys)}`" if keys else _table(row, keys)


def _table(row: int | None, keys: list[str]) -> str:
    if row is not None:
        return f"`{'.'.join(keys)}`" if keys else "the row"
    return f"[{'.'.join(keys)}]" if keys else "the table"


def lines(faults: Iterable[Fault], names: Mapping[int, str] | None = None) -> Iterator[str]:
    """Each fault's line, once."""
    yield from dict.fromkeys(fault.line(names) for fault in faults)
