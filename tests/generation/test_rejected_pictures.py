"""`generate --keep-rejected N`: a few rejected pictures of each reason for a look, none that must not be seen."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from filelock import FileLock
from PIL import Image

import agfd30k
from builder import RawBuild, release, verify
from builder.checks.duplicates import HashCheck
from builder.checks.integrity import IntegrityCheck
from builder.checks.suite import Checks
from builder.checks.verdict import Verdict
from builder.common import files
from builder.common.errors import UserError
from builder.generation.config import GenerateConfig
from builder.models import pipeline
from builder.models.safety import Safety
from builder.plan.sample import Result
from builder.raw import provenance, rejected_pictures
from builder.raw.rejected_pictures import RejectedPictures
from builder.spec.spec import Recipe
from tests.experiments.kill import SMALL, content, finish, lines, run_here, start, wait_for_tries
from tests.fixtures import builds, checkers, inside, random_weights, standin

RAW = "agfd30k-raw"
ALONE = [*SMALL, "--spec", str(builds.small_table())]


def kept(folder):
    """The pictures that were kept for a look, by the folder of their reason."""
    places = (folder / RAW / "rejected").glob("*/*")
    return {f"{path.parent.name}/{path.name}" for path in places if not path.name.startswith(".")}


def without(files):
    """The files of a build and its release, but for what was kept for a look."""
    return {name: data for name, data in files.items() if not name.startswith(f"{RAW}/rejected/")}


def counts(folder):
    return Counter(name.split("/")[0] for name in kept(folder))


def expected(folder, most):
    """So many pictures of each reason for which there was a picture."""
    reasons = Counter(row["reason"] for row in lines(folder, "rejected.jsonl"))
    assert reasons.pop("refused") > most  # a try without a picture, as a flagged one is
    return {rejected_pictures.slug(reason): min(most, number) for reason, number in reasons.items()}


def build(folder, *arguments, load=standin.StandIn, checks=standin.checks):
    """Run a build in this process; returns what it said."""
    places = ["--raw", str(folder / RAW), "--out", str(folder / "agfd30k")]
    done = inside.run(*ALONE, *places, *arguments, load=load, checks=checks)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A build that keeps none."""
    folder = tmp_path_factory.mktemp("none")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def two_each(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    build(folder, "--keep-rejected", "2")
    return folder


def test_the_first_of_each_reason_are_kept_and_bear_the_mark(two_each):
    """Duplicates too, which are found in the end; each is the picture of a rejected try of that reason."""
    assert counts(two_each) == expected(two_each, 2) and {"black", "duplicate"} <= counts(two_each).keys()
    tries = {(row["id"], row["attempt"]): row for row in lines(two_each, "rejected.jsonl")}
    for name in kept(two_each):
        place, _, file = name.partition("/")
        id, _, attempt = file.removesuffix(".png").rpartition("-")
        row = tries[id, int(attempt)]
        assert rejected_pictures.slug(row["reason"]) == place
        with Image.open(two_each / RAW / "rejected" / name) as image:
            assert provenance.marked_model(image)
            shown = standin.shown(type("Attempt", (), {"seed": row["seed"]}))
            assert image.convert("RGB").tobytes() == shown.tobytes()


def test_the_build_and_its_release_are_those_of_a_build_that_keeps_none(calm, two_each, capsys):
    """To the byte, recipe and fingerprint too; verify finds nothing to say, a release made again neither."""
    assert without(content(two_each)) == content(calm) and not (calm / RAW / "rejected").exists()
    assert verify.main([str(two_each / RAW)]) == 0 and verify.main([str(two_each / RAW), "--repair"]) == 0
    assert release.main(["--raw", str(two_each / RAW), "--out", str(two_each / "agfd30k")]) == 0
    assert "rejected" not in capsys.readouterr().err and counts(two_each) == expected(two_each, 2)
    assert without(content(two_each)) == content(calm)
    names = {name.split("/")[1] for name in kept(two_each)}
    assert not [path for path in (two_each / "agfd30k").rglob("*") if path.name in names]


def test_a_raw_build_loads_without_them(two_each, tmp_path):
    rows = agfd30k.load_dataset("all", data_dir=two_each / RAW, cache_dir=tmp_path)
    assert sum(map(len, rows.values())) == 72


@pytest.mark.process
def test_two_workers_and_a_resumed_run_share_the_number(calm, tmp_path):
    """Killed in the middle, gone on by two processes, then once more with a part made again."""
    process = start(tmp_path, 0, delay=0.05, arguments=[*ALONE, "--keep-rejected", "3"])
    wait_for_tries(process, tmp_path, 30)
    process.kill()
    process.wait()
    finish(tmp_path, 2, arguments=[*ALONE, "--keep-rejected", "3"])
    before = kept(tmp_path)
    assert counts(tmp_path).keys() == expected(tmp_path, 3).keys() and max(counts(tmp_path).values()) == 3
    shutil.rmtree(tmp_path / RAW / "shards/occlusion-00001")
    assert run_here(tmp_path, *ALONE, "--keep-rejected", "3").returncode == 0
    assert max(counts(tmp_path).values()) == 3 and before <= kept(tmp_path)
    assert without(content(tmp_path)) == content(calm)


KEEP = """
import sys, time
from pathlib import Path
from builder.raw.rejected_pictures import RejectedPictures
rejects = RejectedPictures(Path("."), 7)
Path(f"{sys.argv[1]}.ready").touch()
while len(list(Path(".").glob("*.ready"))) < 3:
    time.sleep(0.001)
for number in range(20):
    rejects.keep("no face", f"{sys.argv[1]}-{number}.png", lambda: time.sleep(0.02) or b"x")
"""


@pytest.mark.process
def test_processes_that_keep_at_the_same_moment_do_not_exceed_the_number(tmp_path):
    """And none of them takes away what another is writing."""
    line, pipes = [sys.executable, "-c", KEEP], {"cwd": tmp_path, "stderr": subprocess.PIPE}
    workers = [subprocess.Popen([*line, str(number)], **pipes) for number in range(3)]
    assert [worker.communicate(timeout=240)[1] for worker in workers] == [b""] * 3
    assert len(list((tmp_path / "rejected/no-face").glob("*.png"))) == 7


# What is never kept.


def test_what_the_safety_checker_flags_is_never_kept(tmp_path):
    """The real pipeline's class, with a checker that flags every picture: all tries are rejected, nothing is there."""
    checker = Safety("checker", *checkers.build(flags=True))
    recipe = Recipe(model="preview", steps=1, width=64, height=64)
    model = pipeline.Pipeline(random_weights.build(), recipe, torch.device("cpu"), checker)
    arguments = ["--limit", "4", "--keep-rejected", "9", "--raw", str(tmp_path / RAW), "--out", str(tmp_path / "out")]
    inside.run(*ALONE, *arguments, load=lambda *args, **options: model, checks=standin.checks)
    reasons = {row["reason"] for row in lines(tmp_path, "rejected.jsonl")}
    assert reasons == {"flagged by the safety checker"} and not (tmp_path / RAW / "rejected").exists()


class Flagging(standin.StandIn):
    """A pipeline that hands over a flagged picture beside its reason, which it must not."""

    def make(self, attempt):
        if attempt.number == 0:
            return Result(attempt, Image.new("RGB", (builds.SIDE, builds.SIDE)), "flagged by the safety checker")
        return super().make(attempt)


def test_a_picture_with_a_reason_of_its_own_is_never_kept(tmp_path):
    """Even where it comes with its reason, and a check rejects it for another one."""
    build(tmp_path, "--keep-rejected", "99", load=Flagging)
    assert "black" in {row["reason"] for row in lines(tmp_path, "rejected.jsonl") if row["attempt"] == 0}
    assert kept(tmp_path) and not [name for name in kept(tmp_path) if name.endswith("-0.png")]


class Barring:
    """Bars every picture of a man, as the attribute check bars who looks like a minor."""

    name, version, rejects = "attribute", 2, True

    def judge(self, samples, images, seen=()):
        men = (sample.sex == "male" and not sample.minor for sample in samples)
        return [Verdict(False, {}, "looks like a minor", "", barred=True) if man else Verdict(True) for man in men]


def test_who_looks_like_a_minor_is_never_kept_not_even_where_an_earlier_check_rejects(tmp_path):
    """A black picture is not shown to the attribute check, unless it would be kept for a look."""
    checks = Checks([IntegrityCheck(None), HashCheck()], [Barring()])
    build(tmp_path, "--keep-rejected", "99", checks=lambda *args: checks)
    rejected = {(row["reason"], row["id"].split("-")[2]) for row in lines(tmp_path, "rejected.jsonl")}
    assert {("black", "male"), ("black", "female"), ("looks like a minor", "male")} <= rejected
    assert counts(tmp_path)["black"] > 0 and "looks-like-a-minor" not in counts(tmp_path)
    assert not [name for name in kept(tmp_path) if "-male-" in name]


# What goes wrong.


def test_a_disk_that_is_full_is_told_once_and_the_build_goes_on(calm, tmp_path, monkeypatch):
    """Half a file is not left."""

    @contextmanager
    def full(path):
        with files.atomic(path) as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield file

    monkeypatch.setattr(rejected_pictures, "atomic", full)
    said = build(tmp_path, "--keep-rejected", "3")
    told = [line for line in said.splitlines() if "no more rejected pictures are kept" in line]
    assert len(told) == 1 and "No space left on device" in told[0] and "the build goes on" in told[0]
    assert not list((tmp_path / RAW / "rejected").rglob("*.tmp"))
    assert kept(tmp_path) == set() and without(content(tmp_path)) == content(calm)


@pytest.mark.parametrize("kind", ["link", "file", "a reason's link"])
def test_nothing_is_written_to_where_a_link_leads(calm, tmp_path, kind):
    raw, outside = tmp_path / RAW, tmp_path / "outside"
    build(tmp_path, "--limit", "4")
    outside.mkdir()
    if kind == "file":
        (raw / "rejected").write_text("")
    elif kind == "link":
        (raw / "rejected").symlink_to(outside)
    else:
        (raw / "rejected").mkdir()
        for reason in ("black", "duplicate"):
            (raw / "rejected" / reason).symlink_to(outside)
    assert build(tmp_path, "--keep-rejected", "3").count("no more rejected pictures are kept") == 1
    assert list(outside.iterdir()) == [] and kept(tmp_path) <= {"black/", "duplicate/"}


def test_who_holds_a_lock_for_long_is_not_waited_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rejected_pictures, "PATIENCE", 0.1)
    rejects = RejectedPictures(tmp_path, 3)
    (tmp_path / "rejected/noise").mkdir(parents=True)
    with FileLock(tmp_path / "rejected/noise/.lock"):
        rejects.keep("noise", "a-0.png", lambda: b"x")
    rejects.keep("noise", "b-0.png", lambda: b"x")
    assert not list((tmp_path / "rejected/noise").glob("*.png")) and not rejects.wants("noise")
    assert capsys.readouterr().err.count("\n") == 1


def test_what_a_killed_process_left_half_written_goes(tmp_path):
    place = tmp_path / "rejected/noise"
    place.mkdir(parents=True)
    (place / ".a-0.png.00112233.tmp").write_bytes(b"half")
    rejects = RejectedPictures(tmp_path, 1)
    rejects.keep("noise", "b-0.png", lambda: b"whole")
    assert sorted(path.name for path in place.iterdir() if path.name != ".lock") == ["b-0.png"]
    assert not rejects.wants("noise") and rejects.wants("flat")


def test_a_picture_that_is_there_stays_as_it_is(tmp_path):
    """A try that is made again, after a crash, does not count twice."""
    rejects = RejectedPictures(tmp_path, 2)
    for data in (b"one", b"two"):
        rejects.keep("noise", "a-0.png", lambda data=data: data)
    assert (tmp_path / "rejected/noise/a-0.png").read_bytes() == b"one" and rejects.wants("noise")


@pytest.mark.parametrize("reason", ["../../outside", "/etc/x", "", ".", "..", "a\0b", "é" * 300, "no face\n" * 90])
def test_a_reason_leads_nowhere_else(tmp_path, reason):
    RejectedPictures(tmp_path / "raw", 1).keep(reason, "a-0.png", lambda: b"x")
    (file,) = (path for path in tmp_path.rglob("*.png"))
    assert file.parent.parent == tmp_path / "raw/rejected" and len(file.parent.name) <= 60


def test_none_are_kept_unless_asked_for(tmp_path):
    RejectedPictures(tmp_path, 0).keep("noise", "a-0.png", lambda: b"x")
    assert list(tmp_path.iterdir()) == []
    assert GenerateConfig().keep_rejected == 0
    with pytest.raises(UserError, match="keep_rejected must be a whole number, 0 or more, got -1"):
        GenerateConfig(keep_rejected=-1)
    done = inside.run("--keep-rejected", "some", load=None, checks=None)
    assert done.stderr == "generate: --keep-rejected: must be a whole number, 0 or more, got 'some'\n"


def test_it_is_no_part_of_the_fingerprint(calm, two_each):
    assert RawBuild.open(calm / RAW).fingerprint == RawBuild.open(two_each / RAW).fingerprint
    assert "keep_rejected" not in json.dumps(json.loads((two_each / RAW / "recipe.json").read_text()))
