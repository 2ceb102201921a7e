"""Errors that a user can put right, and how a foreign error becomes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

MOST = 299
"""Characters of a line that says what is wrong."""
WORD, GAP = 40, "..."
"""Characters that are left of a long word, and what stands where its middle was."""


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

    Of a longer one the longest words, which are paths and values, lose their middles; if that is not enough, the line
    does: where something is, and what to do about it, are said at its beginning and end.

    >>> shortened("recipe.json: " + "x" * 100 + " is none; remove it", most=75)
    'recipe.json: xxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxx is none; remove it'
    """
    return "\n".join(_short(line, most) for line in text.split("\n"))


def printable(text: str) -> str:
    """Return a foreign text as one line in which nothing steers a terminal.

    >>> printable("a \\x1b[31mman\\n")
    'a ?[31mman?'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _short(line: str, most: int) -> str:
    words = line.split(" ")
    for place in sorted(range(len(words)), key=lambda place: -len(words[place])):
        excess = len(" ".join(words)) - most
        if excess <= 0 or len(words[place]) <= WORD:
            break
        words[place] = _cut(words[place], max(WORD, len(words[place]) - excess))
    return _cut(" ".join(words), most)


def _cut(text: str, most: int) -> str:
    """Return a text without so much of its middle that the rest is short enough."""
    end = (most - len(GAP)) // 2
    return text if len(text) <= most else f"{text[: most - len(GAP) - end]}{GAP}{text[-end:]}"
