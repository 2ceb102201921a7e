"""Landmarks on changed copies: a model that moves with the picture is consistent; every other is found out."""

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

import builder
from agfd30k import POINTS
from builder import __main__ as commands
from builder.common.errors import UserError
from builder.evaluation import predictions
from builder.evaluation.perturbations import CHANGES, MEASURES
from builder.evaluation.truth import Truth
from tests.fixtures import evaluations
from tests.fixtures.builds import picture_of
from tests.fixtures.evaluations import dots, five_dots, write

MODEL = "tests.fixtures.evaluations:five_dots"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return evaluations.make_dotted(tmp_path_factory.mktemp("perturbations") / "release")


def means(report):
    """The measures of all pictures."""
    return {name: measure.mean for name, measure in report.document.overall.measures.items()}


def tilt(points):
    """The angle of the line between the eyes, in degrees."""
    return np.degrees(np.arctan2(*(points[1] - points[0])[::-1]))


# The copies.


def test_a_mirrored_copy_is_the_mirrored_picture():
    image = picture_of(1, 32)
    assert np.array_equal(CHANGES["flip"].copy(image), ImageOps.mirror(image))


def test_where_the_corners_of_a_copy_come_from_by_hand():
    """On a picture of 100 by 50, turned to the left: what is at its right is up on the copy."""
    right, size = np.array([[90, 25]] * 5), (100, 50)
    cos, sin = np.cos(np.radians(10)), np.sin(np.radians(10))
    assert CHANGES["turn_left"].back(np.array([[50 + 40 * cos, 25 - 40 * sin]] * 5), size) == pytest.approx(right)
    assert CHANGES["turn_right"].back(np.array([[50 + 40 * cos, 25 + 40 * sin]] * 5), size) == pytest.approx(right)
    assert CHANGES["jitter"].back(np.array([[50 + 38 + 2, 25 + 1]] * 5), size) == pytest.approx(right)
    own = np.array([[30, 10], [70, 11], [50, 20], [40, 30], [60, 31]])
    mirrored = np.array([[100 - 70, 11], [100 - 30, 10], [50, 20], [100 - 60, 31], [100 - 40, 30]])
    assert CHANGES["flip"].back(mirrored, size).tolist() == own.tolist()


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_seen_on_a_copy_comes_back_to_where_it_is(name):
    image, points = dots(3)
    (found,) = five_dots([CHANGES[name].copy(image)])
    assert np.abs(found - points).max() > 1  # it has moved
    assert CHANGES[name].back(found, image.size) == pytest.approx(points, abs=0.05)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("size", [(40, 20), (20, 40), (33, 33)])
def test_edges_are_repeated_whatever_the_shape(name, size):
    copy = CHANGES[name].copy(Image.new("RGB", size, (200, 100, 50)))
    assert copy.size == size and np.unique(np.asarray(copy).reshape(-1, 3), axis=0).tolist() == [[200, 100, 50]]


# Planted models.


def test_a_model_that_moves_with_the_picture_is_consistent(release):
    report = builder.evaluate(five_dots, release, task="landmark")
    assert report.document.overall.failures == 0 and set(means(report)) == {"distance", *MEASURES}
    assert max(means(report).values()) < 0.005
    for cell in report.document.cells:
        assert all(measure.n == cell.trials and measure.interval for measure in cell.measures.values())
    assert {*MEASURES} <= {*report.document.measures} and "| flip | turn | jitter |" in report.table()


def mixes_up_sides(images):
    """It takes the brighter corner of the mouth for the right one, which in a mirror it is not."""
    found = zip(five_dots(images), (np.asarray(image)[..., 2].astype(float) for image in images))
    return [
        points if light[:, : int(points[2, 0])].sum() > light.sum() / 2 else points[[1, 0, 2, 4, 3]]
        for points, light in found
    ]


def looks_upright(images):
    """Where the face is turned, all its points are 2 pixels too low."""
    return [points + np.array([0, 2]) * (abs(tilt(points)) > 5) for points in five_dots(images)]


def only_leftwards(images):
    """As looks_upright, for faces that are turned to the left by more than 5 degrees."""
    return [points + np.array([0, 2]) * (tilt(points) < -5) for points in five_dots(images)]


def knows_one_size(images):
    """Where the dots are smaller than on every picture, all points are 2 pixels too low."""
    whole = np.asarray(dots(1)[0], dtype=float).sum()
    small = [np.asarray(image, dtype=float).sum() < 0.95 * whole for image in images]
    return [points + np.array([0, 2]) * is_small for points, is_small in zip(five_dots(images), small)]


@pytest.mark.parametrize(
    ("model", "measure", "least"),
    [(mixes_up_sides, "flip", 0.5), (looks_upright, "turn", 0.08), (knows_one_size, "jitter", 0.08)],
)
def test_a_planted_weakness_is_in_its_own_measure_alone(release, model, measure, least):
    found = means(builder.evaluate(model, release, task="landmark"))
    assert found.pop(measure) > least
    assert all(found[name] < 0.005 for name in {*MEASURES} - {measure}), found


def test_a_turn_is_the_mean_of_both(release):
    both, one = (means(builder.evaluate(model, release, task="landmark")) for model in (looks_upright, only_leftwards))
    assert one["turn"] == pytest.approx(both["turn"] / 2, rel=0.05)


# Files.


def test_a_file_with_the_points_of_the_copies_gives_the_same_report(release, tmp_path):
    named = builder.evaluate(MODEL, release, task="landmark", out=tmp_path / "named")
    kept = tmp_path / "named" / "predictions.jsonl"
    filed = builder.evaluate(kept, release, task="landmark")
    assert filed.document == named.document and filed.outcomes == named.outcomes
    rows = [json.loads(line) for line in kept.read_text().splitlines()[1:]]
    assert {*rows[0]} == {"id", "points", *CHANGES}
    other = builder.evaluate(write(tmp_path / "mine.jsonl", rows), release, task="landmark", by="sex")
    assert other.document.overall.measures == named.document.overall.measures
    assert np.array(named.outcomes["said"].to_pylist()).shape == (len(rows), 5, 2)


def test_a_run_that_was_stopped_asks_for_no_copy_twice(release, tmp_path):
    whole = builder.evaluate(five_dots, release, task="landmark", out=tmp_path / "out", batch_size=10)
    kept = tmp_path / "out" / "predictions.jsonl"
    kept.write_bytes(b"".join(kept.read_bytes().splitlines(keepends=True)[:21]))
    seen = []

    def five_dots_(images):
        seen.append(len(images))
        return five_dots(images)

    five_dots_.__qualname__ = five_dots.__qualname__
    again = builder.evaluate(five_dots_, release, task="landmark", out=tmp_path / "out", batch_size=10)
    assert again.document == whole.document
    assert sum(seen) == (len(whole.outcomes) - 20) * (1 + len(CHANGES))


def test_without_copies_nothing_is_said_of_them(release, tmp_path):
    truth = Truth.of(release).chosen()
    rows = [
        {"id": id, "points": five.tolist()} for id, five in zip(truth.ids, truth.numbers(*POINTS).reshape(-1, 5, 2))
    ]
    report = builder.evaluate(write(tmp_path / "mine.jsonl", rows), release, task="landmark")
    assert [*means(report)] == ["distance"] == [*report.document.measures] and report.document.overall.failures == 0
    assert f"flip is known on 0 of {len(rows)} pictures" in report.table()
    for row in rows[:3]:
        row |= {"turn_left": row["points"], "flip": []}
    report = builder.evaluate(write(tmp_path / "mine.jsonl", rows), release, task="landmark")
    assert report.document.overall.measures["turn"].n == 3 and "flip" not in means(report)
    assert f"turn is known on 3 of {len(rows)} pictures" in report.table()


def test_a_model_may_find_no_points_and_that_is_too_far(release, tmp_path):
    """On a copy it is no measure."""

    def sees_upright_faces(images):
        return [points if abs(tilt(points)) < 5 and points[2, 0] < 50 else [] for points in five_dots(images)]

    report = builder.evaluate(sees_upright_faces, release, task="landmark", out=tmp_path / "out")
    overall = report.document.overall
    assert 0 < overall.failures < overall.trials == len(report.outcomes)
    assert "turn" not in means(report) and overall.measures["distance"].n == overall.trials - overall.failures
    said = [bool(points) for points in report.outcomes["said"].to_pylist()]
    assert said == [failed == 0 for failed in report.outcomes["failed"].to_pylist()]
    again = builder.evaluate(tmp_path / "out" / "predictions.jsonl", release, task="landmark")
    assert again.document == report.document


def test_what_a_copy_may_not_have_is_told(release, tmp_path):
    ids = Truth.of(release).ids
    rows = [{"id": id, "points": [[1, 2]] * 5, "flip": [[1, 2]] * 4} for id in ids]
    with pytest.raises(UserError, match=r"not like \{id, points: \[\[x, y\], \.\.\.\], five or none\}"):
        predictions.read(write(tmp_path / "mine.jsonl", rows), "landmark", ids, ids)


def test_a_model_that_fails_on_a_copy_is_told_with_it(release):
    def upright_only(images):
        return [points if abs(tilt(points)) < 5 else "turned" for points in five_dots(images)]

    with pytest.raises(UserError, match=r"returns for .* \(turn_left\) what is not points"):
        builder.evaluate(upright_only, release, task="landmark")


def test_the_command_says_how_many_copies_it_looks_at(release, tmp_path, capsys):
    assert commands.main(["evaluate", str(release), "--task", "landmark", "--model", MODEL]) == 0
    written = capsys.readouterr()
    assert (
        f"looks at {len(Truth.of(release).chosen())} pictures of {release}, each with 4 changed copies" in written.err
    )
    assert "Measured, and no failures: how far the points move" in written.out
