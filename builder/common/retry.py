"""Calls to the Hub that are tried again when the network or the server fails, and the Hub's errors in one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from json import JSONDecodeError
from typing import Any, TypeVar

from huggingface_hub import get_token
from huggingface_hub.errors import HfHubHTTPError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

TRIES = 6
FIRST_PAUSE = 1.0
"""Seconds before the second try, doubled before each further one; a longer Retry-After of the server is honoured."""
LONGEST_PAUSE = 300
QUERY = re.compile(r"(https?://[^\s'?]+)\?[^\s']*")
"""What may come after the path of an address: that of an upload lets anyone send it."""
REFUSAL = re.compile(r"HTTP status (?:client|server) error \((\d{3})")
"""An HTTP status in the message of `hf_xet`, which raises a ConnectionError for every unexpected answer."""
NO_ANSWER = ("TransportError", "ConnectionError", "JSONDecodeError")
"""Errors that mean that the Hub did not answer; JSONDecodeError is raised for a gateway's page in its place."""
T = TypeVar("T")


def is_passing(error: BaseException) -> bool:
    """Return True for an error that may be gone on another try: no connection, server trouble, too many requests."""
    number = status(error)
    return _is_no_answer(_hub_error(error)) if number is None else number in (408, 429) or number >= 500


def with_retries(
    action: str,
    call: Callable[[], T],
    find_result: Callable[[BaseException], T | None] = lambda error: None,
    is_retryable: Callable[[BaseException], bool] = is_passing,
    describe: Callable[[BaseException], str] | None = None,
) -> T:
    """Return the result of `call`, which is tried up to six times while it fails with a retryable error.

    A call can be done although its answer was lost: after each failure `find_result` looks, given the error, and what
    it returns, if not None, is the result. `action` names the call in the line that is printed before each pause, and
    `describe` says there what failed, in the words for the Hub unless given.
    """
    failure: BaseException | None = None
    for attempt in Retrying(
        stop=stop_after_attempt(TRIES),
        wait=_pause,
        retry=retry_if_exception(is_retryable),
        before_sleep=lambda state: _announce(action, state, describe or one_line),
        retry_error_callback=lambda state: None,  # after the last try the loop ends
    ):
        if failure and (result := find_result(failure)) is not None:
            return result
        with attempt:
            return call()
        failure = _failure(attempt.retry_state)
    if (result := find_result(_failure(attempt.retry_state))) is None:
        raise _failure(attempt.retry_state)
    return result


def _failure(state: RetryCallState) -> BaseException:
    error = state.outcome and state.outcome.exception()
    assert error
    return error


def _pause(state: RetryCallState) -> float:
    error = _hub_error(_failure(state))
    headers = error.response.headers if isinstance(error, HfHubHTTPError) else {}
    retry_after = headers.get("Retry-After", "").strip()
    seconds = int(retry_after) if retry_after.isdecimal() else 0
    return min(max(seconds, wait_exponential(multiplier=FIRST_PAUSE)(state)), LONGEST_PAUSE)


def _announce(action: str, state: RetryCallState, describe: Callable[[BaseException], str]) -> None:
    line = f"{action}: {describe(_failure(state))}; trying again in {state.upcoming_sleep:g} s"
    print(line, file=sys.stderr, flush=True)


def status(error: BaseException) -> int | None:
    """Return the HTTP status behind an error, None where there is none."""
    origin = _hub_error(error)
    if isinstance(origin, HfHubHTTPError):
        return origin.response.status_code
    refusal = REFUSAL.search(str(origin)) if _is_no_answer(origin) else None
    return int(refusal[1]) if refusal else None


def one_line(error: BaseException) -> str:
    """Return an error's message, short, on one line, and without the token."""
    error = _hub_error(error)
    page = error.doc if isinstance(error, JSONDecodeError) else None
    message: Any = getattr(error, "server_message", None) or page or str(error) or type(error).__name__
    text = " ".join(str(message).split()).partition(" For more information check:")[0]
    text = QUERY.sub(r"\1", text)
    token = get_token()
    text = text.replace(token, "***") if token else text
    number = status(error)
    if page:
        return f"what answers is not the Hub: {text[:120]}"
    if number:
        return f"the Hub answers {number}: {text[:200]}"
    name = type(error).__name__
    return f"no answer ({name}: {text[:120]})" if _is_no_answer(error) else f"{name}: {text[:200]}"


def _hub_error(error: BaseException) -> BaseException:
    """Return the error of the Hub, or of the way to it, that caused this one; else the error itself."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, HfHubHTTPError) or _is_no_answer(link):
            return link
        link = link.__cause__
    return error


def _is_no_answer(error: BaseException) -> bool:
    return any(kind.__name__ in NO_ANSWER for kind in type(error).__mro__)
