"""A build on a cluster is the build that one machine makes, whatever dies. In an environment with the extra `ray`."""

import contextlib
import os
import threading
from dataclasses import replace

import pytest

from builder.common.errors import UserError
from builder.engine.choice import Kind, chosen
from builder.engine.engine import LostTask
from builder.engine.here import Here
from builder.generation import cluster
from builder.generation.config import GenerateConfig
from builder.generation.worker import Ended, Run
from tests.experiments import kill
from tests.fixtures import inside, standin

pytestmark = pytest.mark.process
BUILD = ["--model", "preview", "--only", "occlusion", "--scale", "0.04", "--shard-size", "16", "--batch-size", "4"]
STAND_INS = {"load": standin.StandIn, "build_checks": standin.checks}


def config(folder, **values):
    """A small build's."""
    return GenerateConfig(
        raw=folder / "raw",
        table=standin.small_table(),
        model="preview",
        only=("base",),
        limit=12,
        shard_size=4,
        batch_size=2,
        cpu=True,
        **values,
    )


class Dying:
    """An engine whose tasks are lost: all but the last `makes` times after one of them has been done."""

    def __init__(self, losses, makes):
        self.losses = losses
        self.makes = makes

    def map(self, step, tasks):
        if not self.losses:
            yield from map(step, tasks)
            return
        self.losses -= 1
        if self.makes:
            part = tasks[0]
            limited = replace(part, config=replace(part.config, limit=12 - 4 * self.losses))
            yield step(limited)
        raise LostTask("process 0: died")


def test_a_build_goes_on_while_tasks_are_lost_that_have_made_something(tmp_path):
    run = Run(config(tmp_path), standin.StandIn, standin.checks)
    cluster.make(run, Dying(losses=2, makes=True), 2, tmp_path / "out", STAND_INS)
    assert run.is_finished


def test_the_machine_that_only_waits_for_the_cluster_loads_no_model(tmp_path):
    """It may have no GPU, and too little memory."""
    run = Run(config(tmp_path), lambda *_, **options: pytest.fail("loaded"), standin.checks)
    cluster.make(run, Here(1), 1, tmp_path / "out", STAND_INS)
    assert run.run() == Ended(None, worked=False)


def test_a_build_ends_where_tasks_are_lost_and_nothing_was_made(tmp_path):
    run = Run(config(tmp_path), standin.StandIn, standin.checks)
    with pytest.raises(LostTask):
        cluster.make(run, Dying(losses=5, makes=False), 2, tmp_path / "out", STAND_INS)


def test_a_folder_that_the_cluster_does_not_share_is_told(tmp_path):
    run = Run(config(tmp_path), standin.StandIn, standin.checks)
    with pytest.raises(UserError, match="Is this folder the same"):
        cluster.make(run, Here(1), 0, tmp_path / "out", STAND_INS)


def test_which_process_it_is_holds_for_a_part_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "7")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert cluster.make_part(cluster.Part(config(tmp_path), tmp_path / "out", 1, 2, STAND_INS)) == 1
    assert os.environ["RANK"] == "7" and "WORLD_SIZE" not in os.environ


def test_one_of_a_launchers_processes_is_no_driver_of_a_cluster(tmp_path, monkeypatch):
    """Each of them would start all over the cluster."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "RAY_ADDRESS": "127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    with contextlib.chdir(tmp_path):
        arguments = standin.small(["--model", "preview", "--only", "base", "--limit", "2"])
        refused = inside.run(*arguments, "--engine", "ray", load=standin.StandIn, checks=standin.checks)
        assert refused.returncode == 2 and "without a launcher and RANK" in refused.stderr
        built = inside.run(*arguments, load=standin.StandIn, checks=standin.checks)
        assert built.returncode == 0, built.stderr


def test_a_private_key_does_not_leave_the_machine(tmp_path):
    with pytest.raises(UserError, match="a private key is not sent to other machines"):
        cluster.require_sendable(config(tmp_path, signer=object()))
    cluster.require_sendable(config(tmp_path))


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """Where a cluster makes a build, and notes its tries."""
    return tmp_path_factory.mktemp("spread")


@pytest.fixture(scope="module")
def nodes(spread):
    """Two nodes without a GPU, where Ray is installed; pictures that are made there take a while."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from tests.fixtures import clusters

    with pytest.MonkeyPatch.context() as patch:  # what the nodes are started with, their workers have too
        patch.setenv("STANDIN_LOG", str(spread / "tries.log"))
        patch.setenv("STANDIN_DELAY", "0.05")
        with clusters.two_nodes() as nodes:
            patch.delenv("STANDIN_LOG")
            yield nodes


def test_a_build_and_its_release_on_two_nodes_are_those_of_one_process(tmp_path, spread, nodes):
    """Also when one of the nodes is killed meanwhile."""
    alone = tmp_path / "alone"
    assert kill.run_here(alone, *BUILD, "--engine", "here").returncode == 0
    with pytest.raises(UserError, match="this cluster has no GPU; --cpu"):
        chosen(Kind.RAY, gpus=True).places()

    def remove():
        while len(kill.tries(spread)) < 20 and not ended.wait(0.05):
            pass
        killed.append(not ended.is_set())
        nodes.kill()

    killed: list[bool] = []
    ended = threading.Event()
    removing = threading.Thread(target=remove)
    removing.start()
    try:
        with contextlib.chdir(spread):
            arguments = standin.small([*BUILD, "--cpu"])
            built = inside.run(*arguments, load=standin.StandIn, checks=standin.checks)
    finally:
        ended.set()
        removing.join()
    assert built.returncode == 0, built.stderr
    assert "2 tasks, a core each" in built.stdout and killed == [True]
    assert kill.is_undisturbed(spread, kill.content(alone))
    assert sum(kill.tries(spread).values()) - sum(kill.tries(alone).values()) <= 2 * 2 * 4


def test_each_task_has_a_gpu_of_its_own(nodes):
    nodes.add(num_cpus=2, num_gpus=2)
    engine = chosen(None, gpus=True)
    assert engine.places() == 2
    assert sorted(engine.map(visible, [0, 1])) == ["0", "1"]


def visible(number):
    """The GPU that a task may see; it holds it until the other has one, too."""
    import time

    time.sleep(1)
    return os.environ["CUDA_VISIBLE_DEVICES"]
