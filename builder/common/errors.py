"""Errors that a user can put right, and how a foreign error becomes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

MOST = 300
"""Characters of a line that says what is wrong."""
WORDS = (100, 60, 40)
"""Characters that are left of a word in a line that is too long, the first of them that is enough."""


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
    """Return a text whose lines have at most so many characters.

    Of a longer line, long words lose their middle, such as paths, and then the line does: where something is, and what
    to do about it, are said at a line's beginning and end.

    >>> shortened("recipe.json: " + "x" * 100 + " is wrong; remove it", most=40)
    'recipe.json: xxxxx ...  wrong; remove it'
    """
    return "\n".join(line if len(line) <= most else _short(line, most) for line in text.split("\n"))


def _short(line: str, most: int) -> str:
    for left in WORDS:
        short = " ".join(_cut(word, left) for word in line.split(" "))
        if len(short) <= most:
            return short
    return _cut(short, most)


def _cut(text: str, most: int) -> str:
    """Return a text without so much of its middle that it has at most so many characters."""
    if len(text) <= most:
        return text
    end = (most - 5) // 2
    return f"{text[: most - 5 - end]} ... {text[-end:]}"
