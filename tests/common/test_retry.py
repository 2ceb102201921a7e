"""Calls are tried again as often and as late as promised, and work whose answer was lost is found."""

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError
from tenacity import nap

from builder.common import retry


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that were waited, which pass at once."""
    pauses = []
    monkeypatch.setattr(nap.time, "sleep", pauses.append)
    return pauses


def answer(status, **headers):
    """The Hub's answer to a call, as its client raises it."""
    request = httpx2.Request("GET", "http://hub/api")
    response = httpx2.Response(status, headers={k.replace("_", "-"): v for k, v in headers.items()}, request=request)
    return HfHubHTTPError(f"{status}", response=response)


def failing(*errors, result="done"):
    """A call that fails with each of the errors, then succeeds."""
    left = list(errors)

    def call():
        if left:
            raise left.pop(0)
        return result

    return call


def test_six_tries_with_doubled_pauses(pauses, capsys):
    """The last error is the one that is raised, as it was."""
    last = ConnectionError("the sixth")
    with pytest.raises(ConnectionError) as raised:
        retry.with_retries("send", failing(*[ConnectionError("no")] * 5, last))
    assert raised.value is last and pauses == [1, 2, 4, 8, 16]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "send: no answer (ConnectionError: no); trying again in 1 s" and len(lines) == 5


@pytest.mark.parametrize(
    ("asked", "pause"), [("7", 7), ("0", 1), ("299", 299), ("3600", 300), ("Wed, 21 Oct 2026 07:28:00 GMT", 1)]
)
def test_what_the_server_asks_to_wait_is_waited_up_to_five_minutes(pauses, capsys, asked, pause):
    assert retry.with_retries("read", failing(answer(429, Retry_After=asked))) == "done"
    assert pauses == [pause]
    assert capsys.readouterr().err == f"read: the Hub answers 429: 429; trying again in {pause} s\n"


def test_a_longer_pause_of_our_own_is_kept(pauses):
    retry.with_retries("read", failing(*[answer(503, Retry_After="3")] * 4))
    assert pauses == [3, 3, 4, 8]


@pytest.mark.parametrize("error", [answer(403), answer(412), ValueError("no"), KeyboardInterrupt()])
def test_what_does_not_pass_is_raised_at_once(pauses, error):
    with pytest.raises(type(error)) as raised:
        retry.with_retries("send", failing(error))
    assert raised.value is error and pauses == []


def test_work_whose_answer_was_lost_is_not_done_twice(pauses):
    """It is looked for after the pause, not before: it may take a while to be seen."""
    looked = []

    def find(error):
        looked.append((str(error), list(pauses)))
        return "found" if len(looked) == 2 else None

    call = failing(ConnectionError("one"), ConnectionError("two"), ConnectionError("three"))
    assert retry.with_retries("merge", call, find) == "found"
    assert looked == [("one", [1]), ("two", [1, 2])]


def test_it_is_looked_for_after_the_last_try_too(pauses):
    errors = [ConnectionError(str(number)) for number in range(6)]
    find = {str(error): None for error in errors} | {"5": "found"}
    assert retry.with_retries("merge", failing(*errors), lambda error: find[str(error)]) == "found"
    assert len(pauses) == 5


def test_an_error_while_looking_is_not_tried_again(pauses):
    def find(error):
        raise ConnectionError("while looking")

    with pytest.raises(ConnectionError, match="while looking"):
        retry.with_retries("merge", failing(ConnectionError("one")), find)
    assert pauses == [1]
