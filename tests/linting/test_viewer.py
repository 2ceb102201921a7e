"""The viewer's statistics: lint knows what makes it drop them, and a release of real values keeps them."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.dataset.folder import Release
from builder.linting import viewer as rules
from tests.fixtures import viewer

LOST = {
    "two neighbouring whole numbers": ("int32", [0, 1, 1, 0], "has two neighbouring values, 0 and 1"),
    "whole numbers further apart": ("int32", [0, 2, 2, 0], None),
    "one whole number": ("int64", [7, 7, None], None),
    "a single number": ("float32", [None, 0.5, None], "has a single value"),
    "numbers that are none": ("float32", [math.nan, 0.5, 0.25], None),
    "a single number beside none": ("float32", [math.nan, 0.5, None], "has a single value"),
    "no number": ("float32", [None, None], None),
    "neighbouring floats": ("float32", [0.0, 1.0, 1.0], None),
    "lengths of longer texts": ("string", [f"{n:02d}" for n in range(99)] + ["100"], "lengths, 2 and 3"),
    "few texts": ("string", ["a", "bb", None], None),
    "lengths of lists": (List(Value("int32")), [[], [1], None], "has two neighbouring values, 0 and 1"),
    "lists of one length": (List(Value("int32")), [[3], [1]], None),
}


def written(folder, columns):
    """A release of one config and split with these columns: name → (feature, values)."""
    features = Features(
        {name: kind if not isinstance(kind, str) else Value(kind) for name, (kind, _) in columns.items()}
    )
    table = pa.table({name: values for name, (_, values) in columns.items()}, schema=features.arrow_schema)
    (folder / "data/a").mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "data/a/train-00000-of-00001.parquet")
    files = {"split": "train", "path": "data/a/train-*.parquet"}
    head = {"configs": [{"config_name": "a", "data_files": [files]}]}
    (folder / "README.md").write_text(f"---\n{json.dumps(head)}\n---\n")
    return Release(folder)


@pytest.mark.parametrize("case", LOST)
def test_what_makes_the_viewer_drop_a_splits_statistics(tmp_path, case):
    """Lint names split and column, and the viewer's arithmetic agrees."""
    kind, values, says = LOST[case]
    release = written(tmp_path, {"x": (kind, values)})
    found = list(rules.statistics(release))
    assert bool(found) == bool(viewer.lost(release)) == bool(says)
    if says:
        assert found[0].startswith("a/train: the viewer shows no statistics, since `x` ") and says in found[0]


def test_labels_and_yes_or_no_are_no_numbers(tmp_path):
    columns = {"label": (ClassLabel(names=["0", "1"]), [0, 1, 1]), "yes": ("bool", [True, False, None])}
    release = written(tmp_path, columns)
    assert not list(rules.statistics(release)) and not viewer.lost(release)


NUMBERS = st.lists(st.none() | st.integers(-3, 3), min_size=1, max_size=12)
FLOATS = st.lists(st.none() | st.sampled_from([0.0, 1.0, 2.5, math.nan]), min_size=1, max_size=6)
TEXTS = st.lists(st.none() | st.text("ab", max_size=4), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([("int64", NUMBERS), ("float32", FLOATS), ("string", TEXTS)]), st.data(), st.integers(0, 40))
def test_lint_and_the_viewers_arithmetic_agree_on_any_column(tmp_path_factory, column, data, cut):
    """Also where the rows lie in several files."""
    kind, values = column[0], data.draw(column[1])
    arrays = [
        pa.array(some, {"int64": pa.int64(), "float32": pa.float32(), "string": pa.string()}[kind])
        for some in (values[:cut], values[cut:])
    ]
    summary = rules._summary(arrays[0]).with_(rules._summary(arrays[1]))
    try:
        viewer.of_column(Value(kind), values)
        is_lost = False
    except viewer.Lost:
        is_lost = True
    assert bool(summary.fault()) == is_lost


def test_texts_without_end_take_no_memory_without_end():
    texts = pa.array([f"{n:05d}" for n in range(5000)])
    summary = rules._summary(texts).with_(rules._summary(texts))
    assert len(summary.distinct) == rules.MOST_CATEGORIES + 1 and (summary.least, summary.most) == (5, 5)


def test_what_lies_behind_the_first_bytes_is_in_no_statistics(tmp_path, monkeypatch):
    release = written(tmp_path, {"x": ("int32", [0, 2, 4])})
    pq.write_table(pa.table({"x": pa.array([0, 1], pa.int32())}), tmp_path / "data/a/train-00001-of-00001.parquet")
    pq.write_table(pa.table({"x": pa.array([1, 0], pa.int32())}), tmp_path / "data/a/train-00000-of-00001.parquet")
    assert len(list(rules.statistics(release))) == 1
    pq.write_table(
        pa.table({"x": pa.array([0, 2, 1, 2], pa.int32())}), tmp_path / "data/a/train-00001-of-00001.parquet"
    )
    assert not list(rules.statistics(release))
    monkeypatch.setattr(rules, "STATISTICS_BYTES", 1)
    assert len(list(rules.statistics(release))) == 1


@pytest.mark.process
def test_a_release_of_real_values_keeps_its_statistics():
    """A small one here; tests/experiments/viewer.py makes the full size."""
    script = Path(__file__).parents[1] / "experiments" / "viewer.py"
    run = subprocess.run(
        [sys.executable, script, "--scale", "0.03", "--rates", "0.03"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "statistics: 30 of 30 splits keep theirs" in run.stdout
