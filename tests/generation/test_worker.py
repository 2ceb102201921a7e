"""The rank loop, as a user runs it: real processes, real files, only the model is left out."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

import agfd30k
from builder import release, verify
from builder.generate import main as generate
from builder.generation.worker import Run
from builder.spec import table
from tests.experiments.kill import (
    MARK,
    SMALL,
    STANDIN,
    content,
    end,
    finish,
    lines,
    run_here,
    start,
    tries,
    wait_for_tries,
)
from tests.fixtures import builds, standin
from tests.fixtures.inside import build
from tests.fixtures.shared import shared

pytestmark = pytest.mark.process
PLAIN = [sys.executable, str(STANDIN)]


def run(folder, *arguments, command=PLAIN, **options):
    folder.mkdir(exist_ok=True)
    return subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, **options)


def finish_here(folder):
    """Run the build to its end, in this process."""
    done = run_here(folder, *SMALL)
    assert done.returncode == 0, done.stderr


def one_line(done):
    """The line that an error ended in: exit status 2, no traceback."""
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("generate: ")]
    assert len(said) == 1, done.stderr
    return said[0]


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A build that nobody disturbed, by plain `python`."""

    def make(folder):
        assert run(folder, *SMALL).returncode == 0

    return shutil.copytree(shared(tmp_path_factory, "calm", make), tmp_path_factory.mktemp("calm") / "build")


def test_a_build_makes_exactly_what_was_asked_and_releases_it(calm):
    rows = lines(calm, "metadata.jsonl")
    assert len(rows) == len({row["id"] for row in rows}) == 72
    assert verify.main([str(calm / "agfd30k-raw")]) == 0
    assert (calm / "agfd30k" / "README.md").exists()


@pytest.mark.parametrize("ranks", [1, 2])
def test_launched_by_accelerate_the_rows_are_the_same(calm, tmp_path, ranks):
    """One rank or two that share the work: the files of build and release are the same to the byte, times aside."""
    finish(tmp_path, ranks, arguments=SMALL)
    assert content(tmp_path) == content(calm)
    assert all(count == 1 for count in tries(tmp_path).values()) and len(tries(tmp_path)) >= 72


def test_a_rank_that_dies_is_started_again_by_max_restarts(calm, tmp_path):
    """accelerate restarts all ranks: the build goes on and ends as if nothing had happened."""
    command = ["accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--max_restarts", "1", str(STANDIN)]
    environment = {**os.environ, "STANDIN_CRASH": str(tmp_path / "crashed"), "STANDIN_DELAY": "0.01"}
    environment["PATH"] = f"{os.path.dirname(sys.executable)}{os.pathsep}{environment['PATH']}"
    done = run(tmp_path, *SMALL, command=command, env=environment)
    assert done.returncode == 0 and (tmp_path / "crashed").exists(), done.stderr
    assert content(tmp_path) == content(calm)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_batch_with_everything_durable(calm, tmp_path, number):
    process = start(tmp_path, 0, delay=0.02, arguments=SMALL)
    wait_for_tries(process, tmp_path, 10)
    process.send_signal(number)
    assert process.wait() == 128 + number
    said = (tmp_path / "errors.log").read_text()
    assert "run the same command again to go on" in said and "Traceback" not in said
    settled = len(lines(tmp_path, "metadata.jsonl")) + len(lines(tmp_path, "rejected.jsonl"))
    assert settled == sum(tries(tmp_path).values()) < 80
    finish_here(tmp_path)
    assert content(tmp_path) == content(calm)


@pytest.mark.parametrize(
    ("ranks", "number"),
    [
        (1, signal.SIGTERM),
        (2, signal.SIGKILL),
        pytest.param(1, signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param(2, signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_the_launchers_death_ends_the_run_too(calm, tmp_path, ranks, number):
    """Whatever the launcher alone is killed with: 10 s later nobody is at work, and what was begun is committed."""
    mark = str(tmp_path)
    process = start(tmp_path, ranks, delay=0.1, arguments=SMALL, **{MARK: mark})
    wait_for_tries(process, tmp_path, 8)
    assert end(process, mark, number) == []
    assert len(lines(tmp_path, "metadata.jsonl")) < 72
    finish_here(tmp_path)
    assert content(tmp_path) == content(calm)
    assert all(count == 1 for count in tries(tmp_path).values())


def test_a_finished_build_loads_no_model(calm):
    made = tries(calm)
    done = run_here(calm, *SMALL)
    assert done.returncode == 0 and "agfd30k is ready" in done.stdout and tries(calm) == made


def test_more_of_the_same_table_goes_into_the_same_folder(tmp_path):
    """A first look at a few pictures, then all of it: nothing is made twice."""
    some = run_here(tmp_path, *SMALL, "--limit", "10")
    assert some.returncode == 0
    assert re.search(
        r"this run kept [\d.]+ pictures/s: 62 pictures more, without --limit, would take 0:0\d:\d\d\n", some.stdout
    )
    first = {row["id"]: row for row in lines(tmp_path, "metadata.jsonl")}
    assert len(first) == 10
    assert run_here(tmp_path, *SMALL).returncode == 0
    rows = {row["id"]: row for row in lines(tmp_path, "metadata.jsonl")}
    assert len(rows) == 72 and all(rows[id] == row for id, row in first.items())


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        (["--image-format", "jpg"], 'settings.image_format: "png" there, "jpg" here'),
        (["--shard-size", "8"], "settings.shard_size: 16 there, 8 here"),
        (["--spec", "other.toml"], "spec.recipe.steps: 12 there, 5 here"),
    ],
)
def test_a_folder_of_another_recipe_is_refused_telling_what_differs(calm, arguments, difference):
    text = table.DEFAULT.read_text().replace("steps = 20", "steps = 5")
    (calm / "other.toml").write_text(text)
    assert difference in one_line(run_here(calm, *SMALL, *arguments))


def test_a_disk_that_is_full_ends_in_one_line_and_the_build_goes_on_later(calm, tmp_path):
    """A real file system runs full in the middle of the work, since somebody else fills it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    saved = tmp_path / "saved"
    script = f"""mount -t tmpfs -o size=40m none {disk} && {{ "$@" & }}; pid=$!
        until ls {disk}/agfd30k-raw/shards/*/images/*.png >/dev/null 2>&1; do sleep 0.05; done
        dd if=/dev/zero of={disk}/others bs=64k 2>/dev/null; wait $pid; status=$?
        rm {disk}/others; cp -r {disk} {saved}; exit $status"""
    command = ["unshare", "-rm", "sh", "-c", script, "sh", *PLAIN]
    slow = {**os.environ, "STANDIN_DELAY": "0.05"}
    done = run(tmp_path, *SMALL, "--raw", str(disk / "agfd30k-raw"), command=command, env=slow)
    said = one_line(done)
    assert "No space left on device" in said and "is safe: put that right and run again" in said
    (saved / "agfd30k-raw").rename(tmp_path / "agfd30k-raw")
    assert 0 < len(lines(tmp_path, "metadata.jsonl")) < 72
    finish_here(tmp_path)
    assert content(tmp_path) == content(calm)


def test_a_folder_that_cannot_be_written_ends_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "raw", "/proc/agfd30k-raw"):
        assert str(place).split("/")[-1] in one_line(run_here(tmp_path, *SMALL, "--raw", str(place)))


def test_a_release_folder_that_is_taken_is_refused_before_any_work(tmp_path):
    (tmp_path / "agfd30k").mkdir()
    (tmp_path / "agfd30k" / "thesis.tex").write_text("")
    assert "holds thesis.tex" in one_line(run_here(tmp_path, *SMALL))
    assert not tries(tmp_path)


def test_a_lost_picture_ends_in_one_line_and_can_be_repaired(calm, tmp_path):
    assert run_here(tmp_path, *SMALL).returncode == 0
    (tmp_path / "agfd30k-raw/shards/occlusion-00000/receipt.json").unlink()
    lost = sorted(tmp_path.glob("agfd30k-raw/shards/occlusion-00000/images/*.png"))[0]
    lost.unlink()
    assert f"{lost.stem}: its picture images/{lost.name} is not there" in one_line(run_here(tmp_path, *SMALL))
    assert verify.main([str(tmp_path / "agfd30k-raw"), "--repair"]) == 0
    assert run_here(tmp_path, *SMALL).returncode == 0
    aside = tmp_path / "agfd30k-raw/shards/occlusion-00000/faulty"
    assert json.loads((aside / "metadata.jsonl").read_text())["id"] == lost.stem
    shutil.rmtree(aside)
    assert content(tmp_path) == content(calm)


SINGLE = [*SMALL, "--shard-size", "100"]
"""One shard, so that a second run finds nothing but its lock."""


def test_a_run_whose_work_another_has_waits_for_it(tmp_path):
    """It makes nothing that the other makes, and status 0 means that all is there."""
    first = start(tmp_path, 0, delay=0.1, arguments=SINGLE)
    wait_for_tries(first, tmp_path, 5)
    second = start(tmp_path, 0, arguments=SINGLE)
    assert second.wait() == 0
    assert len(lines(tmp_path, "metadata.jsonl")) == 72 and (tmp_path / "agfd30k" / "README.md").exists()
    assert first.wait() == 0
    assert all(count == 1 for count in tries(tmp_path).values())


def test_a_run_that_waits_finishes_what_the_other_leaves(tmp_path):
    first = start(tmp_path, 0, delay=0.2, arguments=SINGLE)
    wait_for_tries(first, tmp_path, 5)
    second = start(tmp_path, 0, arguments=SINGLE)
    time.sleep(6)
    before = len(lines(tmp_path, "metadata.jsonl"))
    first.kill()
    first.wait()
    assert second.wait() == 0
    assert before < len(lines(tmp_path, "metadata.jsonl")) == 72


def test_what_a_stopped_process_holds_is_waited_for_until_ctrl_c(tmp_path):
    """It may go on, so its work is not taken from it; ^C while waiting ends at once."""
    first = start(tmp_path, 0, delay=0.1, arguments=SINGLE)
    wait_for_tries(first, tmp_path, 5)
    first.send_signal(signal.SIGSTOP)
    second = start(tmp_path, 0, arguments=SINGLE)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=8)
    second.send_signal(signal.SIGINT)
    assert second.wait(timeout=4) == 128 + signal.SIGINT
    assert "Traceback" not in (tmp_path / "errors.log").read_text()
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0 and len(lines(tmp_path, "metadata.jsonl")) == 72


def test_runs_whose_choices_overlap_share_a_folder(calm, tmp_path):
    """Each ends well when its own choice is there; the release holds both."""
    part = [*SMALL, "--only", "occlusion/only_mask"]
    part.remove("occlusion")
    part.remove("--only")
    runs = [start(tmp_path, 0, delay=0.05, arguments=choice) for choice in (SMALL, part, SMALL)]
    assert [process.wait() for process in runs] == [0, 0, 0], (tmp_path / "errors.log").read_text()
    assert all(count == 1 for count in tries(tmp_path).values())
    finish_here(tmp_path)
    assert len(lines(tmp_path, "metadata.jsonl")) == 72 and verify.main([str(tmp_path / "agfd30k-raw")]) == 0


def test_two_runs_in_one_folder_share_it_and_whoever_ends_last_releases(calm, tmp_path):
    """Neither makes what the other has; both end well, and the release is there."""
    runs = [start(tmp_path, 0, delay=0.15, arguments=SMALL) for _ in range(2)]
    assert [process.wait() for process in runs] == [0, 0]
    assert all(count == 1 for count in tries(tmp_path).values())
    assert content(tmp_path) == content(calm)


def test_sigterm_at_the_start_ends_in_a_line(tmp_path):
    """While models are looked for and downloaded nothing can be lost, and a job's log tells why it ended."""
    code = (
        "import os, signal, sys; import builder.generate\n"
        "from builder.generation import build_models, worker\n"
        "worker.Run.fetch = lambda run: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"sys.exit(sys.modules['builder.generate'].main({SMALL}))"
    )
    done = run(tmp_path, command=[sys.executable, "-c", code])
    assert done.returncode == 128 + signal.SIGTERM
    last = "generate: stopped; what was made is safe: run the same command again to go on"
    assert done.stderr.splitlines()[-1] == last


def test_a_finished_shard_without_its_pictures_is_not_done(calm, tmp_path):
    """Neither a run nor a release takes it for complete; --repair and the next run make it again."""
    shutil.copytree(calm, tmp_path, dirs_exist_ok=True)
    shard = tmp_path / "agfd30k-raw/shards/occlusion-00001"
    shutil.rmtree(shard / "images")
    assert "its picture" in one_line(run_here(tmp_path, *SMALL))
    raw, out = str(tmp_path / "agfd30k-raw"), str(tmp_path / "agfd30k")
    assert release.main(["--raw", raw, "--out", out]) == 2
    assert verify.main([raw]) == 1
    assert verify.main([raw, "--repair"]) == 0
    assert run_here(tmp_path, *SMALL).returncode == 0
    shutil.rmtree(shard / "faulty")
    assert content(tmp_path) == content(calm)


def test_a_shard_that_others_have_opened_again_is_waited_for(tmp_path, monkeypatch, capsys):
    """Status 0 means that what was asked is in the release: not that it was there a moment ago."""
    command = sys.modules["builder.generate"]
    own, opened = Run.run, []

    def run_and_reopen(run):
        """Another process opens a finished shard for choices of its own just after this one is done."""
        ended = own(run)
        if not opened:
            opened.append(run.raw.writer(run.plan, run.plan.shards[0]).__enter__())
            threading.Timer(1, lambda: (opened[0].finish(run.raw.fingerprint, {}, ""), opened[0].__exit__())).start()
        return ended

    monkeypatch.setattr(Run, "run", run_and_reopen)
    monkeypatch.setattr(command, "RETRY", 0.2)

    build(tmp_path, *SMALL, "--spec", str(builds.small_table()), load=standin.StandIn, checks=standin.checks)
    with open(tmp_path / "agfd30k/README.md") as card:
        assert "72" in card.read()
    rows = agfd30k.load_dataset("metadata", data_dir=tmp_path / "agfd30k", cache_dir=tmp_path / "cache")
    assert sum(map(len, rows.values())) == 72


def test_a_second_ctrl_c_ends_the_run_at_once(calm, tmp_path):
    """The first says that it waits for the batch; the second does not wait, and only that batch is lost."""
    process = start(tmp_path, 0, delay=3, arguments=SMALL)
    wait_for_tries(process, tmp_path, 1)
    process.send_signal(signal.SIGINT)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=2) == -signal.SIGINT
    assert "stopping after this batch" in (tmp_path / "errors.log").read_text()
    finish_here(tmp_path)
    (tmp_path / "tries.log").unlink()
    assert content(tmp_path) == content(calm)


def test_raw_and_release_cannot_be_one_folder(tmp_path):
    assert "--raw and --out are the same folder" in one_line(run_here(tmp_path, *SMALL, "--raw", "x", "--out", "x"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "hats"], "--only hats: no such attribute or attribute/feature (attributes: age, emotion"),
        (["--spec", "nowhere.toml"], "nowhere.toml: cannot be read: No such file or directory"),
        (["--model", "nothing/at/all"], "model nothing/at/all: "),
        (["--model", "weights.ckpt"], "is a pickle, which can run code and is not loaded"),
    ],
)
def test_a_users_mistake_ends_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert generate(arguments) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


@pytest.mark.parametrize("option", ["--scale", "--limit", "--batch-size", "--shard-size"])
@pytest.mark.parametrize("value", ["abc", "0", "-1"])
def test_what_is_no_number_is_told_in_words(capsys, option, value):
    assert generate([f"{option}={value}"]) == 2
    rule = "a number above 0 and at most 1" if option == "--scale" else "a whole number, 1 or more"
    assert capsys.readouterr().err == f"generate: {option}: must be {rule}, got {value!r}\n"


def test_progress_is_a_line_a_shard_where_there_is_no_terminal(tmp_path):
    said = run_here(tmp_path, *SMALL).stderr
    assert "occlusion-00000: 16 pictures, " in said and "pictures/s | 72/72 in all; in this run 72, " in said


def test_the_first_line_comes_before_anything_heavy(tmp_path):
    """It says what is made, by what, where, and how much is left; the last ones what to do with it."""
    assert run_here(tmp_path, *SMALL, "--limit", "1").stdout.startswith(
        "making 1 picture by preview in agfd30k-raw, 1 left"
    )
    code = (
        "import sys, builder.generate; command = sys.modules['builder.generate']\n"
        "command._say_start = lambda config: sys.exit(' '.join(sys.modules))\n"
        f"command.main({SMALL})"
    )
    done = run(tmp_path, command=[sys.executable, "-c", code])
    assert "builder.plan.plan" in done.stderr.split() and not {"torch", "cv2", "diffusers"} & {*done.stderr.split()}
    said = run_here(tmp_path, *SMALL).stdout
    assert said.startswith("making 72 pictures by preview in agfd30k-raw, 71 left\n")
    assert said.splitlines()[-2:] == [
        "look at it: agfd30k report agfd30k",
        "publish it: agfd30k upload agfd30k --repo-id you/AGFD-30K --allow-preview --allow-incomplete --dry-run",
    ]


def test_progress_is_one_bar_on_a_terminal(tmp_path):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = subprocess.Popen([*PLAIN, *SMALL], cwd=tmp_path, stderr=follower, stdout=subprocess.DEVNULL)
    os.close(follower)
    said = b""
    try:
        while block := os.read(leader, 4096):
            said += block
    except OSError:
        pass
    assert process.wait() == 0
    assert b"72/72" in said and b"picture/s" in said and b"rejected=" in said and b"occlusion-00000:" not in said
