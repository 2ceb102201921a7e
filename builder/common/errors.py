"""Errors that a user can put right, and how a foreign error becomes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something the user can put right: shown as one line, exit status 2, no traceback."""


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
