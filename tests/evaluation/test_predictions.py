"""Predictions of a file: read whole or told in one line what is wrong; kept so that a stopped run goes on."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder.common.errors import UserError
from builder.evaluation import predictions
from builder.evaluation.predictions import FORMATS, Identity, Store
from tests.fixtures.evaluations import write

IDS = ["a", "b", "c"]
ROWS = {
    "detect": [{"boxes": [[1, 2, 3, 4, 0.5]]}, {"boxes": []}, {"boxes": [[1, 2, 3, 4, 0.5], [0, 0, 1, 1, 0.1]]}],
    "attribute": [{"scores": {"x": 0.2, "y": 0.7}}, {"label": "x"}, {"scores": {"x": 0.5, "z": 0.1}}],
    "landmark": [{"points": [[1, 1.5]] * 5}, {"points": [[2, 2]] * 5, "flip": [[3, 3]] * 5}, {"points": []}],
    "recognise": [{"embedding": [3, 4]}, {"embedding": [0, 1]}, {"embedding": [1, 1]}],
    "fake": [{"score": 1}, {"score": 0.25}, {"score": -3.5}],
}
IDENTITY = Identity("fake", "mine", "abc", "release", "123")


def rows_of(task):
    return [{"id": id, **row} for id, row in zip(IDS, ROWS[task])]


def same(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[id], other[id], equal_nan=np.ndim(one[id]) > 2) for id in one
    )


@pytest.mark.parametrize("task", FORMATS)
def test_json_lines_and_parquet_say_the_same(tmp_path, task):
    lines = write(tmp_path / "p.jsonl", rows_of(task))
    columns = dict.fromkeys(key for row in rows_of(task) for key in row)
    table = pa.table({key: [row.get(key) for row in rows_of(task)] for key in columns})
    pq.write_table(table, tmp_path / "p.parquet")
    one, other = (predictions.read(path, task, IDS, IDS).values for path in (lines, tmp_path / "p.parquet"))
    assert same(one, other) and [*one] == IDS


def test_what_they_say(tmp_path):
    read = {task: predictions.read(write(tmp_path / task, rows_of(task)), task, IDS, IDS).values for task in FORMATS}
    assert read["attribute"] == {"a": "y", "b": "x", "c": "x"}
    assert read["detect"]["b"].shape == (0, 5) and read["detect"]["c"][1].tolist() == [0, 0, 1, 1, 0.1]
    assert read["landmark"]["b"][:, 0, 0] == pytest.approx([2, 3, np.nan, np.nan, np.nan], nan_ok=True)
    assert np.isnan(read["landmark"]["c"]).all()
    assert read["recognise"]["a"] == pytest.approx([0.6, 0.8])  # of length 1
    assert read["fake"] == {"a": 1, "b": 0.25, "c": -3.5}


@pytest.mark.parametrize(
    ("task", "rows", "says"),
    [
        ("fake", [{"id": "a", "score": 1}], "2 pictures without a prediction: b first"),
        (
            "fake",
            [{"id": id, "score": 1} for id in "abcac"],
            "2 predictions of a picture that has one already: a first",
        ),
        ("fake", [{"id": id, "score": 1} for id in "abcxy"], "2 predictions of no picture of the release: x first"),
        (
            "fake",
            [{"id": "b", "score": float("nan")}],
            "1 prediction not like {id, score: number}, every number finite",
        ),
        ("fake", [{"id": "b", "score": True}], "not like {id, score: number}, every number finite: b first"),
        ("fake", [{"score": 1}], "every number finite: line 1, which has no `id` first"),
        ("fake", [[1]], "every number finite: line 1, which has no `id` first"),
        ("detect", [{"id": "b", "boxes": [[1, 2, 3, 4]]}], "not like {id, boxes: [[x, y, width, height, score], ...]}"),
        ("detect", [{"id": "b", "boxes": [[1, 2, -3, 4, 1]]}], "not like {id, boxes"),
        ("detect", [{"id": "b", "boxes": None}], "not like {id, boxes"),
        ("attribute", [{"id": "b", "label": 3}], 'not like {id, label: "name", or scores'),
        ("attribute", [{"id": "b", "scores": {}}], "not like {id, label"),
        ("attribute", [{"id": "b", "scores": {"x": float("inf")}}], "not like {id, label"),
        ("landmark", [{"id": "b", "points": [[1, 2]] * 4}], "not like {id, points: [[x, y], ...], five or none}"),
        ("recognise", [{"id": "b", "embedding": [0, 0]}], "not like {id, embedding"),
        (
            "recognise",
            [{"id": "a", "embedding": [1]}, {"id": "b", "embedding": [1, 2]}],
            "b, whose embedding is longer",
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_the_first_id_and_how_many(tmp_path, task, rows, says):
    path = write(tmp_path / "p.jsonl", rows)
    with pytest.raises(UserError) as error:
        predictions.read(path, task, IDS, IDS)
    assert says in str(error.value) and "\n" not in str(error.value) and str(error.value).startswith(str(path))


def test_what_is_said_of_other_pictures_of_the_release_is_left_out(tmp_path):
    path = write(tmp_path / "p.jsonl", rows_of("fake"))
    assert predictions.read(path, "fake", IDS, ["c"]).values == {"c": -3.5}


@pytest.mark.parametrize("name", ["p.jsonl", "p.parquet"])
def test_a_file_of_another_kind_is_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe no\n")
    for path in (tmp_path / name, tmp_path / "none"):
        with pytest.raises(UserError, match=str(path)):
            predictions.read(path, "fake", IDS, IDS)


def test_a_store_goes_on_where_it_ended_and_a_torn_line_is_made_again(tmp_path):
    path = tmp_path / "out" / predictions.FILE
    store = Store(path, IDENTITY, IDS)
    store.add({"a": {"score": 0.1}, "b": {"score": 0.2}})
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    again = Store(path, IDENTITY, IDS)
    assert again.done == {"a": 0.1}
    again.add({"b": {"score": 0.2}})
    assert path.read_bytes() == whole
    assert predictions.read(path, "fake", IDS, ["a", "b"]) == predictions.Predictions({"a": 0.1, "b": 0.2}, IDENTITY)


@pytest.mark.parametrize("kept", [0, 5])
def test_a_store_that_was_killed_before_its_first_line_begins_anew(tmp_path, kept):
    path = tmp_path / predictions.FILE
    Store(path, IDENTITY, IDS)
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    assert Store(path, IDENTITY, IDS).done == {} and path.read_bytes() == whole


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"task": "detect"}, "is of task fake, not detect"),
        ({"model": "yours"}, "is of model mine, not yours"),
        ({"model_digest": "def"}, "is of model digest abc, not def"),
        ({"release_digest": "9"}, "is of release digest 123, not 9"),
    ],
)
def test_another_models_or_releases_predictions_are_not_mixed(tmp_path, changed, says):
    path = tmp_path / predictions.FILE
    Store(path, IDENTITY, IDS).add({"a": {"score": 0.1}})
    before = path.read_bytes()
    with pytest.raises(UserError, match=says):
        Store(path, Identity(**{**IDENTITY.__dict__, **changed}), IDS)
    assert path.read_bytes() == before


def test_a_file_of_the_users_own_is_not_appended_to(tmp_path):
    path = write(tmp_path / predictions.FILE, rows_of("fake"))
    before = path.read_bytes()
    with pytest.raises(UserError, match="does not say whose predictions it holds"):
        Store(path, IDENTITY, IDS)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("task", "value", "row"),
    [
        ("detect", np.array([[1, 2, 3, 4, 0.5]]), {"boxes": [[1, 2, 3, 4, 0.5]]}),
        ("detect", [(np.float32(1), 2, 3, 4, 0.5)], {"boxes": [[1, 2, 3, 4, 0.5]]}),
        ("detect", [], {"boxes": []}),
        ("attribute", "x", {"label": "x"}),
        ("attribute", {"x": np.float32(0.5)}, {"scores": {"x": 0.5}}),
        ("fake", np.float64(0.5), {"score": 0.5}),
    ],
)
def test_what_a_function_returns_becomes_a_row(task, value, row):
    assert json.loads(json.dumps(FORMATS[task].row(value))) == row
