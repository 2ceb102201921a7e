"""What the value of a flag must be; each broken rule is a line that says the rule and the value."""

from __future__ import annotations

from typing import Any

from builder.common.errors import UserError


def rule(holds: bool, says: str, got: Any) -> None:
    if not holds:
        raise UserError(f"{says}, got {got!r}")


def text(key: str, value: Any) -> None:
    rule(isinstance(value, str) and value.strip() != "", f"`{key}` must be a non-empty string", value)


def whole(key: str, value: Any, least: int, most: int = 10**9) -> None:
    good = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    rule(good, f"`{key}` must be a whole number from {least:,} to {most:,}", value)


def number(key: str, value: Any, least: float, most: float) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
    rule(good, f"`{key}` must be a number from {least:,} to {most:,}", value)


def one_of(key: str, value: Any, known: tuple[str, ...]) -> None:
    rule(isinstance(value, str) and value in known, f"`{key}` must be one of {', '.join(known)}", value)
