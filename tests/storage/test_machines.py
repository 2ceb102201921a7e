"""Whole builds in a store, by processes that are killed and suspended for real; the model alone is left out."""

import contextlib
import hashlib
import io
import os
import signal

import pytest

from builder import release
from builder.common.address import Address
from builder.storage.build import fetch
from tests.experiments.kill import SMALL, content, run_here, tries
from tests.experiments.store_faults import Machine, judged, seen, until
from tests.fixtures import inside, standin
from tests.fixtures.shared import shared
from tests.fixtures.stores import KEY, SECRET, Proxy, machine

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A build on a disk, and its release, that nobody disturbed."""

    def make(folder):
        done = run_here(folder, *SMALL)
        assert done.returncode == 0, done.stderr

    folder = shared(tmp_path_factory, "on-a-disk", make)
    return content(folder)


@pytest.fixture
def address(bucket):
    return Address("s3", f"{bucket}/faces")


def build_here(folder, server, address):
    """Run the build to its end in this process, on a machine of its own; returns what `subprocess.run` does."""
    log = {"STANDIN_LOG": str(folder / "tries.log")}
    with machine(folder, server), pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setenv(*next(iter(log.items())))
        return inside.run(*standin.small([*SMALL, "--raw", str(address)]), load=standin.StandIn, checks=standin.checks)


def require_undisturbed(folder, server, address, undisturbed):
    with contextlib.redirect_stdout(io.StringIO()):
        found = judged(folder, server, address, undisturbed)
    assert found["as undisturbed"] and found["lost"] == found["doubled"] == found["torn"] == 0
    assert found["taken back"] >= 3  # duplicates were looked for, and made again


def released(folder):
    """The digest of every file of a release but its card, which names the folder."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if name != "README.md"}


def secrets_in(folder):
    """The files that hold a credential."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if any(word.encode() in path.read_bytes() for word in (KEY, SECRET))]


def test_two_machines_make_what_one_disk_holds_and_its_release(s3, bucket, address, undisturbed, tmp_path):
    """Lines, pictures and receipts to the byte, times aside; nobody's credentials are anywhere."""
    machines = [Machine(tmp_path / name, s3, address, n, arguments=SMALL) for n, name in enumerate("ab")]
    with machines[0].proxy, machines[1].proxy:
        for each in machines:
            each.start(delay=0.02)
        for each in machines:
            each.finish()
    require_undisturbed(tmp_path, s3, address, undisturbed)
    assert all(tries(each.folder) for each in machines)
    with machine(tmp_path / "third", s3), contextlib.redirect_stdout(io.StringIO()):
        assert release.main(["--raw", str(address), "--out", str(tmp_path / "agfd30k")]) == 0
    right = {name.removeprefix("agfd30k/"): data for name, data in undisturbed.items() if name.startswith("agfd30k/")}
    right.pop("README.md")
    assert released(tmp_path / "agfd30k") == {n: hashlib.sha256(data).hexdigest() for n, data in right.items()}
    assert secrets_in(tmp_path) == []
    assert not any(SECRET.encode() in s3.read(bucket, name) for name in s3.objects(bucket))


def test_killed_before_a_receipt_another_machine_finishes_and_a_zombie_is_refused(
    s3, bucket, address, undisturbed, tmp_path, hasty
):
    """One dies between a part and its receipt, one is suspended there; the third makes all; then the zombie goes on."""
    dead, zombie = (Machine(tmp_path / name, s3, address, 0, arguments=SMALL) for name in ("dead", "zombie"))

    def before_a_receipt(each, number, fault):
        def armed(method, path):
            if method != "PUT" or "/receipts/" not in path:
                return None
            each.armed = None
            each.signal(number)
            until(lambda: each.is_suspended or not each.is_running, "the signal")
            return fault

        each.armed = armed

    held = zombie.proxy.fault

    def hold(method, path):
        """A zombie's request is on its way, and comes to the store once its rival is done."""
        fault = held(method, path)
        until(lambda: not zombie.is_suspended, "that it goes on")
        return fault

    zombie.proxy.fault = hold
    with dead.proxy, zombie.proxy:
        before_a_receipt(dead, signal.SIGKILL, "lost")
        before_a_receipt(zombie, signal.SIGSTOP, None)
        dead.start()
        zombie.start()
        until(lambda: not dead.is_running and (zombie.is_suspended or not zombie.is_running), "both to stop")
        assert dead.process.returncode == -signal.SIGKILL and zombie.is_suspended
        assert not any("/receipts/" in name for name in seen(s3, bucket))
        third = tmp_path / "rival"
        third.mkdir()
        done = build_here(third, s3, address)
        assert done.returncode == 0, done.stderr
        assert f"agfd30k release --raw {address} --out agfd30k" in done.stdout
        before = {name: tag for name, tag in seen(s3, bucket).items() if "/parts/" not in name}
        zombie.signal(signal.SIGCONT)
        zombie.finish()
    after = {name: tag for name, tag in seen(s3, bucket).items() if "/parts/" not in name}
    assert after == before
    require_undisturbed(tmp_path, s3, address, undisturbed)


def test_a_finished_build_makes_nothing_and_takes_few_requests(s3, address, tmp_path):
    """The second run lists, and reads what it does not know; the third reads nothing but the recipe and the choice."""
    folder = tmp_path / "one"
    folder.mkdir()
    with Proxy(s3.port) as proxy:
        assert build_here(folder, proxy, address).returncode == 0
        made = sum(tries(folder).values())
        shards = proxy.requests["PUT", "receipts"]
        assert shards == proxy.requests["PUT", "parts"] > 5 and proxy.requests["GET", "receipts"] == 0
        proxy.requests.clear()
        done = build_here(folder, proxy, address)
        assert done.returncode == 0 and sum(tries(folder).values()) == made
        assert proxy.requests["GET", "receipts"] == proxy.requests["GET", "parts"] == 0
        assert {method for method, _ in proxy.requests} <= {"GET", "PUT"} and proxy.requests.total() < 25
        proxy.requests.clear()
        with machine(tmp_path / "two", proxy):
            newest = fetch(address).catalog.newest
        assert proxy.requests["GET", "parts"] == proxy.requests["GET", "receipts"] == len(newest) == 5
        assert proxy.requests.total() <= 2 * len(newest) + 7


@pytest.mark.parametrize(("fault", "says"), [("refused", "the store refuses: Access Denied"), ("busy", "request rate")])
def test_a_store_that_refuses_or_stays_busy_ends_it_in_one_line(s3, address, tmp_path, hasty, fault, says):
    folder = tmp_path / "one"
    folder.mkdir()
    with Proxy(s3.port, lambda method, path: fault if method == "PUT" else None) as proxy:
        done = build_here(folder, proxy, address)
    lines = [line for line in done.stderr.splitlines() if line.startswith("generate: ")]
    assert done.returncode == 2 and len(lines) == 1 and says in lines[0] and "Traceback" not in done.stderr
    assert SECRET not in done.stderr + done.stdout and KEY not in done.stderr + done.stdout


def test_another_table_at_the_address_is_refused_before_a_model_is_looked_for(s3, address, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    assert build_here(folder, s3, address).returncode == 0
    with machine(tmp_path / "two", s3):
        done = inside.run(
            *standin.small([*SMALL, "--image-format", "jpg", "--raw", str(address)]), load=None, checks=None
        )
    assert done.returncode == 2 and f"generate: {address} was made by another recipe" in done.stderr
    assert not any(word in done.stdout for word in ("download", "disk"))


def test_no_network_is_told_in_one_line(address, tmp_path, hasty, monkeypatch):
    pytest.importorskip("s3fs")
    from tests.fixtures.stores import environment

    for name, value in {**environment(9), "XDG_CACHE_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    done = inside.run(*SMALL, "--raw", str(address), load=None, checks=None)
    assert done.returncode == 2 and f"generate: {address}: " in done.stderr and "Traceback" not in done.stderr
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in done.stderr
