"""An object store through everything that stores and networks do: busy, slow, cut, refused, not there."""

import threading
from unittest import mock

import pytest

from builder.common import retry
from builder.common.address import Address
from builder.common.errors import UserError
from builder.storage.store import Store
from tests.fixtures.stores import KEY, SECRET, Proxy


@pytest.fixture(scope="module")
def connected(s3):
    """A proxy, and a driver that goes through it: to make one takes longer than most tests."""
    with Proxy(s3.port) as proxy, mock.patch.dict("os.environ", proxy.environment):
        files = opened("s3://bucket/x").files
        files.exists("bucket")
        yield proxy, files


@pytest.fixture
def store(bucket, connected, monkeypatch, hasty):
    """A store behind a proxy; `store.proxy.fault` says what fails."""
    proxy, files = connected
    for name, value in proxy.environment.items():
        monkeypatch.setenv(name, value)
    store = Store(Address.parse(f"s3://{bucket}/faces"), files)
    store.proxy = proxy
    proxy.fault = lambda method, path: None
    proxy.requests.clear()
    yield store
    proxy.fault = lambda method, path: None


def opened(address):
    return Store(Address.parse(address))


def once(*faults):
    """Fails so often, each in turn, then no more."""
    left, lock = list(faults), threading.Lock()

    def fault(method, path):
        with lock:
            return left.pop(0) if left else None

    return fault


def test_what_is_created_lies_there_and_nothing_is_overwritten(store):
    assert store.read("a/x") is None and store.list("a") == {}
    assert store.create("a/x", b"one") and store.create("a/x", b"one") and not store.create("a/x", b"two")
    assert store.read("a/x") == b"one" and list(store.list("a")) == ["x"]
    before = store.list("a")["x"]
    store.replace("a/x", b"two")
    assert store.read("a/x") == b"two" and store.list("a")["x"] != before


@pytest.mark.parametrize("fault", ["busy", "cut", "half"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_call_that_fails_for_a_while_is_tried_again(store, fault, times, tmp_path):
    store.create("x", b"data" * 1000)
    for call, right in (
        (lambda: store.read("x"), b"data" * 1000),
        (lambda: list(store.list()), ["x"]),
        (lambda: store.read_part("x", 4000, lambda file: file.read(8)), b"datadata"),
        (lambda: store.read("nothing"), None),
    ):
        store.proxy.fault = once(*[fault] * times)
        assert call() == right
    store.proxy.fault = once(*[fault] * times)
    assert len(store.fetch("x", tmp_path / "x")) == 64 and (tmp_path / "x").read_bytes() == b"data" * 1000


@pytest.mark.parametrize("faults", [["cut"], ["busy", "cut"], ["cut", "busy"], ["half", "cut"]])
def test_a_creation_whose_answer_was_lost_has_happened(store, faults, tmp_path):
    """It is done once, and told as done; with other bytes there, it is told as lost."""
    store.proxy.fault = once(*faults)
    assert store.create("x", b"one") and store.read("x") == b"one"
    store.proxy.fault = once(*faults)
    assert not store.create("x", b"two") and store.read("x") == b"one"
    (tmp_path / "file").write_bytes(b"a file")
    store.proxy.fault = once(*faults)
    store.create_file("parts/x", tmp_path / "file")
    assert store.read("parts/x") == b"a file"


def test_of_many_that_create_at_once_one_has_created(store):
    won = []

    def create(number):
        if store.create("x", f"{number}".encode()):
            won.append(f"{number}".encode())

    threads = [threading.Thread(target=create, args=[number]) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [store.read("x")]


def test_a_large_file_is_sent_in_pieces_and_created_once(store, tmp_path, monkeypatch):
    """In pieces, the last step says which of two has created it."""
    (tmp_path / "large").write_bytes(b"x" * (11 << 20))
    put = store.files.put_file
    monkeypatch.setattr(store.files, "put_file", lambda *names, **options: put(*names, chunksize=5 << 20, **options))
    store.create_file("parts/x", tmp_path / "large")
    store.create_file("parts/x", tmp_path / "large")
    assert store.proxy.requests["PUT", "parts"] >= 4
    (tmp_path / "large").write_bytes(b"x")
    with pytest.raises(UserError, match="something else lies there, or it is damaged: remove it"):
        store.create_file("parts/x", tmp_path / "large")


def test_a_store_that_stays_busy_is_told_in_a_line_after_six_tries(store, capsys):
    store.proxy.fault = lambda method, path: "busy"
    with pytest.raises(UserError, match="reduce your request rate"):
        store.create("x", b"one")
    assert capsys.readouterr().err.count("trying again") == retry.TRIES - 1


def test_a_store_that_refuses_is_asked_once(store, capsys):
    store.proxy.fault = lambda method, path: "refused"
    store.proxy.requests.clear()
    with pytest.raises(UserError, match="refuses") as error:
        store.create("x", b"one")
    assert store.proxy.requests.total() == 1 and not capsys.readouterr().err
    assert error.value.__cause__ is None and error.value.__suppress_context__


def test_no_bucket_no_server_and_no_driver_are_one_line_each(store, monkeypatch):
    with pytest.raises(UserError, match=r"s3://nobody-has-this/x: there is no such bucket") as error:
        opened("s3://nobody-has-this/x").require_bucket()
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="there is no such bucket"):
        opened("s3://nobody-has-this/x").create("a", b"")
    with pytest.raises(UserError, match=r'gs:// is not installed: pip install "agfd30k\[gcs\]"'):
        opened("gs://bucket/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError) as error:
        opened("s3://bucket/x").require_bucket()
    assert "\n" not in str(error.value) and "http://127.0.0.1:9" in str(error.value)


def test_no_credentials_are_told_in_a_line(store, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="no credentials: give the driver its own"):
        opened("s3://bucket/x").read("x")


@pytest.mark.parametrize("fault", ["busy", "refused", "cut", None])
def test_credentials_are_in_no_line_and_no_error(store, capsys, fault):
    store.proxy.fault = lambda method, path: fault
    lines = []
    for call in (lambda: store.create("x", b"one"), lambda: store.read("x"), store.list, store.require_bucket):
        try:
            call()
        except UserError as error:
            lines += [str(error), repr(error), repr(error.__context__)]
    said = "".join([*lines, *capsys.readouterr()])
    assert (fault is None) == (not said) and SECRET not in said and KEY not in said


def test_what_a_driver_says_loses_its_secrets(monkeypatch):
    from builder.storage.faults import one_line

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountKey=abcdefgh")
    error = OSError(f"no way {SECRET} to http://me:word@host/x?sig=abc or 'AccountKey=abcdefgh' \n at once")
    assert one_line(error) == "OSError: no way *** to http://host/x or '***' ? at once"


def test_a_store_that_cannot_create_if_absent_tells_what_lies_there(tmp_path):
    """As the Hub's buckets: names that hold digests, and what lies there counts."""
    store = Store(Address("memory", "bucket/faces"))
    store.can_create = False
    assert store.create("a", b"one") and store.create("a", b"one") and not store.create("a", b"two")
    (tmp_path / "file").write_bytes(b"part")
    store.create_file("parts/x", tmp_path / "file")
    store.create_file("parts/x", tmp_path / "file")
    assert store.read("parts/x") == b"part" and list(store.list("parts")) == ["x"]
