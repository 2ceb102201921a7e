"""What drivers of stores raise, sorted: what passes, and what to do about the rest, in one line without a secret."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from builder.common.errors import UserError, printable

PASSING = {
    *["ConnectionError", "TimeoutError", "FSTimeoutError", "HTTPClientError", "IncompleteRead", "ResponseParserError"],
    *["ClientConnectionError", "ClientPayloadError", "ServerDisconnectedError", "ServiceRequestError"],
    *["ServiceResponseError", "ConnectTimeout", "ReadTimeout", "TransportError", "ChecksumError"],
}
"""Names of the errors, of any driver, that mean that no whole answer came."""
CODES = {"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestLimitExceeded", "InternalError"}
"""Answers of S3 that pass whatever their number is."""
BUSY = {errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO), errno.EIO, errno.EAGAIN}
"""What s3fs makes of answers that pass."""
NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "TokenRetrievalError"}
REFUSED = {"PermissionError", "ClientAuthenticationError"}
SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|CONNECTION_STRING|SAS", re.IGNORECASE)
"""Variables whose values must not be told."""
QUERY = re.compile(r"(https?://)(?:[^\s/'\"@]*@)?([^\s'\"?]+)\?[^\s'\"]*")
USER = re.compile(r"(https?://)[^\s/'\"@]*@")
HIDDEN = "***"


class Absent(Exception):
    """Nothing lies under a name."""


class Unsound(UserError):
    """What a receipt names is not in the store, or is damaged."""


def is_passing(error: BaseException) -> bool:
    """Return True for an error that may be gone on another try: no answer, trouble in the store, too many requests."""
    links = list(_chain(error))
    if any(_names(link) & (NO_CREDENTIALS | REFUSED) for link in links):
        return False
    if any(_names(link) & PASSING for link in links):
        return True
    numbers = [number for link in links if (number := _status(link)) is not None]
    if any(number in (408, 409, 429) or number >= 500 for number in numbers) or any(map(_code, links)):
        return True
    if numbers:
        return False
    return any(isinstance(link, OSError) and link.errno in BUSY for link in links)


def is_absent(error: BaseException) -> bool:
    """Return True where there is nothing under a name."""
    return isinstance(error, FileNotFoundError)


def has_no_bucket(error: BaseException) -> bool:
    """Return True where there is not even a bucket."""
    return any("NoSuchBucket" in str(link) or "NoSuchBucket" in _names(link) for link in _chain(error))


def one_line(error: BaseException) -> str:
    """Return what a driver says, short, on one line, without the value of any variable that may be a secret."""
    links = list(_chain(error))
    if any(_names(link) & NO_CREDENTIALS for link in links):
        return "no credentials: give the driver its own (environment variables, its files, or the machine's role)"
    said = " ".join(printable(str(error)).split()) or type(error).__name__
    if any(_names(link) & REFUSED for link in links):
        return f"the store refuses: {without_secrets(said)[:200]}"
    if has_no_bucket(error):
        return "there is no such bucket; make it first"
    name = type(error).__name__
    return f"{name}: {without_secrets(said)[:200]}" if name not in said else without_secrets(said)[:200]


def without_secrets(text: str) -> str:
    """Return a text without the values of variables that may be secrets, and without what addresses may hold."""
    for name, value in os.environ.items():
        if len(value) >= 8 and SECRET.search(name):
            text = text.replace(value, HIDDEN)
    return USER.sub(r"\1", QUERY.sub(r"\1\2", text))


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that a driver's error carries, None where it carries none."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        number = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        number = getattr(answer, "status_code", None) or getattr(error, "code", None) or getattr(error, "status", None)
    return int(number) if isinstance(number, int) or (isinstance(number, str) and number.isdecimal()) else None


def _code(error: BaseException) -> bool:
    answer = getattr(error, "response", None)
    return isinstance(answer, dict) and answer.get("Error", {}).get("Code") in CODES
