"""What a value in the table must be; each broken rule is a line that says the rule and the value."""

from __future__ import annotations

import re
from typing import Any

from builder.common.errors import UserError

RESERVED = {"all", "metadata", "default", "train", "validation", "test"}
WINDOWS = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
"""What no folder and no file may be called there."""
NAME = re.compile(r"[a-z][a-z0-9_]*")


class SpecError(UserError, ValueError):
    """A broken rule of the table."""


def rule(holds: bool, says: str, got: Any) -> None:
    if not holds:
        raise SpecError(f"{says}, got {_shown(got)}")


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return shown if len(shown) <= 300 else f"{shown[:300]} …"


def text(key: str, value: Any) -> None:
    rule(isinstance(value, str) and value.strip() != "", f"`{key}` must be a non-empty string", value)


def name(key: str, value: Any) -> None:
    good = isinstance(value, str) and NAME.fullmatch(value) is not None and len(value) <= 64
    rule(good, f"`{key}` must be lower-case letters, digits and _ (64 at most, a letter first)", value)
    rule(value not in RESERVED, f"`{key}` must not be a reserved word", value)


def file_name(key: str, value: Any) -> None:
    """A name that folders and files are called by, on every system."""
    name(key, value)
    rule(value not in WINDOWS, f"`{key}` must not be a name that Windows keeps for its devices", value)


def whole(key: str, value: Any, least: int, most: int = 10**9) -> None:
    good = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    rule(good, f"`{key}` must be a whole number from {least:,} to {most:,}", value)


def guidance(key: str, value: Any) -> None:
    number(key, value, 1, 100)


def number(key: str, value: Any, least: float, most: float) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
    rule(good, f"`{key}` must be a number from {least:,} to {most:,}", value)


def one_of(key: str, value: Any, known: tuple[str, ...]) -> None:
    rule(isinstance(value, str) and value in known, f"`{key}` must be one of {', '.join(known)}", value)


def listed(key: str, value: Any) -> tuple:
    rule(isinstance(value, (list, tuple)), f"`{key}` must be a list", value)
    return tuple(value)


def distinct(key: str, values: tuple) -> None:
    rule(len(values) > 0, f"`{key}` must not be empty", list(values))
    rule(
        len({_shown(value).casefold() for value in values}) == len(values),
        f"`{key}` must not repeat a value",
        list(values),
    )


def words(key: str, values: Any, empty: bool = False, fields: tuple[str, ...] = ()) -> None:
    """A list of prompt texts: one line each, brackets balanced, no {field} but those of `fields`."""
    values = listed(key, values)
    if not (empty and not values):
        distinct(key, values)
    for item in values:
        text(key, item)
        rule("\n" not in item, f"`{key}` must be one line each", item)
        rule(balanced(item), f"`{key}` must have balanced brackets", item)
        rest = re.sub("|".join("{" + name + "}" for name in fields) or "$^", "", item)
        allowed = f"only the fields {', '.join(fields)}" if fields else "no fields"
        rule("{" not in rest and "}" not in rest, f"`{key}` may use {allowed}", item)


def balanced(value: str) -> bool:
    opened = []
    for bracket in re.sub(r"\\.", "", value):
        if bracket in "([":
            opened.append(bracket)
        elif bracket in ")]" and (not opened or opened.pop() != {")": "(", "]": "["}[bracket]):
            return False
    return not opened


def plain_parts(piece: str) -> list[str]:
    """The comma-separated parts of a piece in lower case, without brackets and weights."""
    plain = re.sub(r":\s*[\d.]+\s*\)", ")", piece)
    parts = (" ".join(re.findall(r"[\w'-]+", part.lower())) for part in plain.split(","))
    return [part for part in parts if part]


def keys(where: str, table: Any, required: str, optional: str = "") -> dict:
    rule(isinstance(table, dict), f"{where} must be a table", table)
    for key in table:
        allowed = required.split() + optional.split()
        rule(key in allowed, f"unknown key in {where} (known: {', '.join(sorted(set(allowed)))})", key)
    for key in required.split():
        rule(key in table, f"{where} needs the key `{key}`", sorted(table))
    return table
