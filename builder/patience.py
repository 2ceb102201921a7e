"""Calls to the Hub that are tried again when the network or the server fails, and errors told in one line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from huggingface_hub import get_token
from huggingface_hub.errors import HfHubHTTPError

PAUSES = (1, 2, 4, 8, 16)
"""Seconds between tries; where the server names a time (Retry-After) that is waited for instead."""
LONGEST = 300
T = TypeVar("T")


def patient(what: str, call: Callable[[], T], done: Callable[[], T | None] = lambda: None) -> T:
    """The answer of `call`, tried up to six times while what fails is the connection or the server.

    `done` looks, before another try, whether the work was done although its answer was lost; what it returns then is
    the answer.
    """
    for pause in (*PAUSES, None):
        try:
            return call()
        except Exception as error:
            if pause is None or not is_passing(error):
                raise
            pause = min(max(pause, _asked_pause(error)), LONGEST)
            print(f"{what}: {one_line(error)}; trying again in {pause} s", file=sys.stderr, flush=True)
            time.sleep(pause)
        found = done()
        if found is not None:
            return found
    raise AssertionError("unreachable")


def is_passing(error: BaseException) -> bool:
    """True for what may go well on another try: a lost connection, a server in trouble, too many requests."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    return any(kind.__name__ in ("TransportError", "ConnectionError") for kind in type(error).__mro__)


def status(error: BaseException) -> int | None:
    """The HTTP status that an error stands for, if it does."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def one_line(error: BaseException) -> str:
    """What an error says, short, on one line, and without the token."""
    said: Any = getattr(error, "server_message", None) or str(error) or type(error).__name__
    text = " ".join(str(said).split())
    token = get_token()
    text = text.replace(token, "***") if token else text
    number = status(error)
    return f"the Hub answers {number}: {text[:200]}" if number else f"no answer ({type(error).__name__}: {text[:120]})"


def _asked_pause(error: BaseException) -> int:
    try:
        return int(error.response.headers["Retry-After"]) if isinstance(error, HfHubHTTPError) else 0
    except (KeyError, ValueError):
        return 0
