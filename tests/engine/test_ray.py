"""A cluster by Ray: what is found is what one process finds, whatever dies. In an environment with the extra `ray`."""

import os
import shutil
import time
from pathlib import Path

import pytest

from builder import verify
from builder.common.errors import UserError
from builder.dataset import packing
from builder.engine.engine import LostTask
from builder.engine.here import Here
from builder.engine.ray import AHEAD, Ray
from builder.raw import verification
from builder.raw.build import RawBuild
from tests.engine.test_here import faulty, mortal, picky, squared, where, who
from tests.fixtures.builds import write_raw

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def local():
    """A cluster of this machine, for the tests that need no other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        yield Ray(2)
        ray.shutdown()


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A build of several shards, three of them faulty."""
    folder = tmp_path_factory.mktemp("spoilt") / "raw"
    write_raw(folder, only=["base", "age"], scale=0.02, shard_size=8)
    for number, shard in enumerate(sorted((folder / "shards").iterdir())[:3]):
        sorted((shard / "images").iterdir())[number].write_bytes(b"torn")
    return folder


def verified(folder, engine, repair):
    """What is found, what is said, and what lies there afterwards, but for locks."""
    said = []
    found = verification.verify(folder, repair, said.append, engine=engine)
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return found, said, {path: data for path, data in files.items() if path.suffix != ".lock"}


@pytest.mark.parametrize("count", [0, 1, 20])
def test_every_task_has_one_result(local, count):
    assert sorted(local.map(squared, range(count))) == [n * n for n in range(count)]
    if count == 20:
        assert os.getpid() not in {*local.map(who, range(4))}


@pytest.mark.parametrize("repair", [False, True])
def test_verification_is_the_same_here_and_there(local, spoilt, tmp_path, monkeypatch, repair):
    results = []
    for name, engine in (("alone", Here(1)), ("two", Here(2)), ("ray", local)):
        shutil.copytree(spoilt, tmp_path / name / "raw")
        monkeypatch.chdir(tmp_path / name)
        results.append(verified(Path("raw"), engine, repair))
    assert results[0] == results[1] == results[2] and results[0][0].faults >= 3


def test_an_error_of_a_step_ends_it_all(local):
    with pytest.raises(UserError, match="three is none"):
        list(local.map(faulty, range(50)))
    with pytest.raises(UserError, match=r"\A7 apples are too many\Z"):
        list(local.map(picky, [7, 7]))


def test_a_worker_that_dies_is_replaced_and_its_task_is_run_again(local, tmp_path):
    tasks = [(str(tmp_path), n, {2: 1, 5: 2}.get(n, 0)) for n in range(8)]
    assert sorted(local.map(mortal, tasks)) == [*range(8)]
    assert len([*tmp_path.iterdir()]) == 3


def test_a_task_that_always_kills_is_named(local, tmp_path):
    with pytest.raises(LostTask, match=r", 1, 99\): 3 processes died of it"):
        list(local.map(mortal, [(str(tmp_path), n, 99 if n == 1 else 0) for n in range(3)]))
    assert len([*tmp_path.glob("1-*")]) == 3


def test_steps_work_in_the_folder_that_the_driver_is_in_now(local, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {*local.map(where, range(3))} == {str(tmp_path)}


def test_no_more_tasks_are_taken_than_are_soon_run(local):
    taken = []
    results = local.map(squared, (taken.append(n) or n for n in range(100)))
    next(results)
    results.close()
    assert len(taken) <= AHEAD * 2


def placed(number):
    """On which node a task is run; it takes a while."""
    time.sleep(0.2)
    return number, ray.get_runtime_context().get_node_id()


def released(folder, name, engine):
    """The files of the release of a build that an engine makes."""
    out = folder / name / "out"
    packing.pack(RawBuild.open(folder / "raw"), out, engine=engine)
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_machine_that_is_lost_takes_no_task_with_it(local, spoilt, tmp_path):
    """Two nodes, each with a folder of its own: what is verified and released is the same there, also when one node is
    left.
    """
    from tests.fixtures.clusters import two_nodes

    write_raw(tmp_path / "raw", only=["base", "age"], scale=0.02, shard_size=8)
    alone, release = verified(spoilt, Here(1), False), released(tmp_path, "alone", None)
    assert len(release) > 10 and released(tmp_path, "two", Here(2)) == release
    with two_nodes() as nodes:
        assert verified(spoilt, Ray(), False) == alone
        assert released(tmp_path, "ray", Ray()) == release
        results = []
        for result in Ray().map(placed, range(24)):
            results.append(result)
            if len(results) == 6:
                nodes.kill()
        assert sorted(number for number, _ in results) == [*range(24)] and len({node for _, node in results}) == 2
        assert verified(spoilt, Ray(), False) == alone


def test_where_no_cluster_answers_it_is_one_line(tmp_path, monkeypatch, capsys):
    write_raw(tmp_path / "raw", only=["base"], limit=4)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert verify.main([str(tmp_path / "raw")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("verify: RAY_ADDRESS=127.0.0.1:1: no Ray cluster answers (") and said.count("\n") == 1
