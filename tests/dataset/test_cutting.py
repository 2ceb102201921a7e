"""One task an output file: where rows go is planned, so that nobody sees by how many processes a release was made."""

import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.common.errors import UserError
from builder.dataset import cutting, packing, parquet
from builder.dataset.contents import Contents
from builder.dataset.cutting import Cutter, Kind, Lines
from builder.dataset.parquet import Written
from builder.engine import here
from builder.engine.here import Here
from builder.raw.build import RawBuild
from tests.fixtures import faces
from tests.fixtures.builds import write_raw

SIDE = 48


@pytest.fixture(scope="module")
def faces_raw(tmp_path_factory):
    """A raw build with first pages, and faces of which some have no points."""
    folder = tmp_path_factory.mktemp("cut") / "raw"
    faces.write_raw(folder, scale=0.02)
    return RawBuild.open(folder)


@pytest.fixture(scope="module")
def small_raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "raw"
    write_raw(folder, scale=0.01, only=["occlusion", "base"])
    return RawBuild.open(folder)


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Backwards:
    """An engine that takes the last task first."""

    def map(self, step, tasks):
        yield from map(step, reversed(list(tasks)))


def test_a_release_is_the_same_bytes_whoever_makes_it(faces_raw, tmp_path):
    """One process, threads and two processes; whichever file comes first."""
    engines = {"one": Here(1), "threads": Here(1, threads=4), "two": Here(2), "backwards": Backwards()}
    for name, engine in engines.items():
        packing.pack(faces_raw, tmp_path / name / "faces", aligned=SIDE, engine=engine)
    alone = content(tmp_path / "one" / "faces")
    assert {"first_page/train.parquet", "assets/all.webp", "annotations/yunet/test-00000-of-00001.parquet"} < set(alone)
    for name in engines:
        assert content(tmp_path / name / "faces") == alone, name


@pytest.mark.parametrize(("locked", "workers"), [(1e-6, 1), (1.0, 2)])
def test_a_release_is_in_one_process_unless_it_is_large(small_raw, tmp_path, monkeypatch, locked, workers):
    """Small ones are done, by threads, before a process has started."""
    engines = []

    def noted(self, step, tasks):
        engines.append(self)
        yield from map(step, tasks)

    monkeypatch.setattr(packing, "LOCKED", locked)
    monkeypatch.setattr(here, "cores", lambda: 2)
    monkeypatch.setattr(Here, "map", noted)
    packing.pack(small_raw, tmp_path / "out")
    assert (engines[-1].workers, engines[-1].threads) == (workers, packing.THREADS) and (tmp_path / "out").exists()


def test_a_damaged_picture_is_the_same_line_from_another_process(small_raw, tmp_path):
    """And nothing is left of the release."""
    picture = next(small_raw.folder.glob("shards/*/images/*.png"))
    whole, lines = picture.read_bytes(), []
    picture.write_bytes(whole[:-1])
    try:
        for engine in (Here(1), Here(2)):
            with pytest.raises(UserError, match="not the picture that was committed") as error:
                packing.pack(small_raw, tmp_path / "out", engine=engine)
            lines.append(str(error.value))
    finally:
        picture.write_bytes(whole)
    assert lines[0] == lines[1] and "--repair mends" in lines[0] and not list(tmp_path.iterdir())


def die_once(died, step, task):
    """Do a task; the first one to write occlusion's labels leaves a part of its file behind, and one of an older
    plan, and is gone."""
    if str(task) == "metadata/train-00000-of-00001.parquet" and not died.exists():
        died.touch()
        folder = step.args[0].folder / "metadata"
        folder.mkdir(exist_ok=True)
        for name in (".train-00000-of-00001.parquet.0a1b2c3d.tmp", "train-00001-of-00002.parquet"):
            (folder / name).write_bytes(b"PAR1")
        os.kill(os.getpid(), signal.SIGKILL)
    return step(task)


class Mortal(Here):
    """An engine of two processes, of which one dies."""

    def __init__(self, died):
        super().__init__(2)
        self.died = died

    def map(self, step, tasks):
        yield from super().map(partial(die_once, self.died, step), tasks)


def test_of_a_process_that_died_nothing_is_left_in_the_release(small_raw, tmp_path):
    packing.pack(small_raw, tmp_path / "one" / "faces", engine=Here(1))
    packing.pack(small_raw, tmp_path / "two" / "faces", engine=Mortal(tmp_path / "died"))
    assert (tmp_path / "died").exists()
    assert content(tmp_path / "two" / "faces") == content(tmp_path / "one" / "faces")


@given(st.lists(st.lists(st.integers(1, 7), min_size=1, max_size=3), max_size=5), st.integers(1, 9))
def test_rows_are_cut_into_equal_parts_in_their_order(sizes, most):
    """Every row once; only the last part has fewer."""
    numbers = iter(range(1000))
    batches = [
        tuple(Lines(Path("shard"), "", np.array([next(numbers) for _ in range(size)])) for size in batch)
        for batch in sizes
    ]
    parts = [
        [number for batch in part for lines in batch for number in lines.numbers]
        for part in cutting._cut(batches, most)
    ]
    rows = list(range(sum(map(sum, sizes))))
    assert parts == [rows[start : start + most] for start in range(0, len(rows), most)]
    assert all(batch and all(map(len, batch)) for part in cutting._cut(batches, most) for batch in part)


def test_files_are_cut_by_the_bytes_that_the_receipts_say(small_raw, monkeypatch):
    """In whole row groups, as many as take up FILE_BYTES by the mean of the pictures; labels by their rows."""
    contents = Contents.of(small_raw)
    facts = contents.shards.values()
    mean = sum(one.bytes for one in facts) // sum(one.rows for one in facts)
    monkeypatch.setattr(parquet, "ROWS_A_GROUP", 4)
    monkeypatch.setattr(parquet, "FILE_BYTES", 7 * mean)
    monkeypatch.setattr(parquet, "LABEL_ROWS_A_FILE", 10)
    files = list(Cutter(contents.shards, contents.statistics).files())
    for place, most in (("data/occlusion", 8), ("metadata", 10)):
        counts = [cutting._rows(file.batches) for file in files if (file.place, file.split) == (place, "train")]
        assert len(counts) > 1 and set(counts[:-1]) == {most} and 0 < counts[-1] <= most


def test_files_of_faces_have_no_gap_in_their_numbers(tmp_path):
    """No face of the middle one could be aligned."""
    (tmp_path / "aligned").mkdir()
    written = []
    for number, rows in enumerate((3, 0, 2)):
        name = cutting.numbered("train", number, 3)
        written.append(Written("aligned", name, "train", False, rows, 0, 0))
        if rows:
            (tmp_path / "aligned" / name).write_text(str(rows))
    packing._number(tmp_path, written)
    assert {path.name: path.read_text() for path in (tmp_path / "aligned").iterdir()} == {
        "train-00000-of-00002.parquet": "3",
        "train-00001-of-00002.parquet": "2",
    }


def test_the_plan_has_every_row_of_every_kind_once(faces_raw):
    """Pictures by attribute or on the first page; labels, and what was seen, of all."""
    contents = Contents.of(faces_raw)
    files = list(Cutter(contents.shards, contents.statistics).files(True, SIDE))
    rows = sorted((shard, number) for shard, facts in contents.shards.items() for number in range(facts.rows))
    for kind in Kind:
        own = [file for file in files if file.kind is kind and file.place != parquet.FIRST_PAGE]
        every = [(lines.shard, n) for file in own for batch in file.batches for lines in batch for n in lines.numbers]
        assert sorted(every) == rows, kind
