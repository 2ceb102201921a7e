"""Calls to the Hub that are tried again when the network or the server fails, and errors told in one line."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from json import JSONDecodeError
from typing import Any, TypeVar

from huggingface_hub import get_token
from huggingface_hub.errors import HfHubHTTPError

PAUSES = (1, 2, 4, 8, 16)
"""Seconds between tries; where the server names a time (Retry-After) that is waited for instead."""
LONGEST = 300
QUERY = re.compile(r"(https?://[^\s'?]+)\?[^\s']*")
"""What may come after the path of an address: that of an upload lets anyone send it."""
REFUSAL = re.compile(r"HTTP status (?:client|server) error \((\d{3})")
"""An HTTP status in what `hf_xet` says: it raises a ConnectionError for every answer that it did not want."""
LOST = ("TransportError", "ConnectionError", "JSONDecodeError")
"""Errors by which no answer of the Hub's came: the last one is that of a gateway's page in its place."""
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
            rest(what, error, pause)
        found = done()
        if found is not None:
            return found
    raise AssertionError("unreachable")


def rest(what: str, error: BaseException, pause: float) -> None:
    """Wait before another try, `pause` seconds or as long as the server asks for, and say so."""
    pause = min(max(pause, _asked_pause(error)), LONGEST)
    print(f"{what}: {one_line(error)}; trying again in {pause} s", file=sys.stderr, flush=True)
    time.sleep(pause)


def is_passing(error: BaseException) -> bool:
    """True for what may go well on another try: no connection, a server or gateway in trouble, too many requests."""
    number = status(error)
    return _is_lost(source(error)) if number is None else number in (408, 429) or number >= 500


def status(error: BaseException) -> int | None:
    """The HTTP status that an error stands for, if it does."""
    found = source(error)
    if isinstance(found, HfHubHTTPError):
        return found.response.status_code
    refusal = REFUSAL.search(str(found)) if _is_lost(found) else None
    return int(refusal[1]) if refusal else None


def source(error: BaseException) -> BaseException:
    """What went wrong on the way to the Hub, where the client raises another error because of it; else the error."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, HfHubHTTPError) or _is_lost(link):
            return link
        link = link.__cause__
    return error


def _is_lost(error: BaseException) -> bool:
    return any(kind.__name__ in LOST for kind in type(error).__mro__)


def one_line(error: BaseException) -> str:
    """What an error says, short, on one line, and without the token."""
    error = source(error)
    page = error.doc if isinstance(error, JSONDecodeError) else None
    said: Any = getattr(error, "server_message", None) or page or str(error) or type(error).__name__
    text = " ".join(str(said).split()).partition(" For more information check:")[0]
    text = QUERY.sub(r"\1", text)
    token = get_token()
    text = text.replace(token, "***") if token else text
    number = status(error)
    if page:
        return f"what answers is not the Hub: {text[:120]}"
    if number:
        return f"the Hub answers {number}: {text[:200]}"
    name = type(error).__name__
    return f"no answer ({name}: {text[:120]})" if _is_lost(error) else f"{name}: {text[:200]}"


def _asked_pause(error: BaseException) -> int:
    error = source(error)
    try:
        return int(error.response.headers["Retry-After"]) if isinstance(error, HfHubHTTPError) else 0
    except (KeyError, ValueError):
        return 0
