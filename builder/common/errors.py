"""Errors that a user can put right, and how a foreign error becomes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

MOST = 300
"""Characters of a line that says what is wrong."""


class UserError(Exception):
    """Something the user can put right: shown as one line, exit status 2, no traceback."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came while nothing was under way that could be finished first."""


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Whatever a library says of a model that cannot be loaded becomes one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{what}: cannot be loaded: {reason}") from error


def shortened(text: str, most: int = MOST) -> str:
    """Return a text whose lines have at most so many characters: of a longer one the middle is left out.

    Where something is, and what to do about it, are said at a line's beginning and end.

    >>> shortened("recipe.json: " + "x" * 100 + "; remove it", most=30)
    'recipe.json: x ... ; remove it'
    """
    return "\n".join(_short(line, most) for line in text.split("\n"))


def _short(line: str, most: int) -> str:
    if len(line) <= most:
        return line
    end = (most - 5) // 2
    return f"{line[: most - 5 - end]} ... {line[-end:]}"
