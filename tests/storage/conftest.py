"""A server for all tests of a worker; each has a bucket of its own."""

import pytest

from builder.common import retry


@pytest.fixture(scope="session")
def s3():
    """An S3 server on loopback."""
    pytest.importorskip("moto", reason="moto and s3fs, of the extra `dev`, are not installed")
    from tests.fixtures.stores import serving

    with serving() as server:
        yield server


@pytest.fixture
def bucket(s3):
    """The name of an empty bucket."""
    return s3.bucket()


@pytest.fixture
def hasty(monkeypatch):
    """Pauses between tries that are short enough for a test."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
