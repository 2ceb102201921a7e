"""The report's faces: where they are and which way they look, by feature, over all rows; and who is not found."""

import shutil

import numpy as np
import pytest

from builder.checks.face import FaceCheck
from builder.common.intervals import wilson
from builder.dataset.statistics import ChecksReport
from builder.reporting import geometry
from builder.reporting import page as reporting_page
from builder.reporting.data import Labels
from builder.reporting.geometry import BINS, MEASURES, Faces
from tests.fixtures import builds, reports


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """A release in which nobody looked for faces."""
    return reports.make(tmp_path_factory.mktemp("faces") / "plain")


@pytest.fixture(scope="session")
def made(plain, tmp_path_factory):
    return reports.detect(shutil.copytree(plain, tmp_path_factory.mktemp("faces") / "fruit"))


@pytest.fixture(scope="session")
def page(made, tmp_path_factory):
    """A page that shows few of the pictures."""
    out = tmp_path_factory.mktemp("page") / "page.html"
    reporting_page.make(made, out, thumbnails=4)
    return reports.Html(out)


def cells(labels, feature):
    """What the detector said of every picture of a feature."""
    own = labels.column("feature") == labels.names["feature"].index(feature)
    return [reports.face_of(id) for id, is_own in zip(labels.ids.to_pylist(), own) if is_own]


def rows_of(page, first):
    """The rows of the page's tables that begin with these words."""
    return [row[1:] for row in page.rows if row and row[0] == first]


@pytest.mark.parametrize("feature", ["banana", "tea"])
def test_every_row_is_measured_shown_or_not(made, page, feature):
    """Median and 90% of the faces of all pictures, in the order of the columns."""
    faces = [face for face in cells(Labels.of(made), feature) if face["faces"]]
    (told,) = rows_of(page, f"{feature} 20 pictures")
    values = [[face[name] for face in faces] for name in ("yaw", "pitch", "roll")]
    values.append([100 * face["face_height"] / builds.SIDE for face in faces])
    assert len(told) == len(values) == 4
    for text, kind, own in zip(told, MEASURES, values):
        low, middle, high = (str(round(value)).replace("-", "−") for value in np.quantile(own, (0.05, 0.5, 0.95)))
        assert text.endswith(f"{middle}{kind.unit}, {low} to {high}")
        assert f"{feature}: {kind.name} of {len(own)} faces" in page.text


def test_bars_stand_for_all_values_those_beyond_the_range_too():
    yaw = MEASURES[0]
    assert yaw.counts(np.array([-90, -200, -89.9, 0, 0.1, 90, 500])) == [3, *[0] * 11, 2, *[0] * 10, 2]
    counts = [0] * BINS
    counts[1], counts[23] = 10_000, 1
    assert geometry.bars(counts) == "M5 26v-26h4v26zM115 26v-0.8h4v0.8z"  # one of many is still seen
    assert yaw.chart(np.full(3, np.nan)) is None


def test_who_is_not_found_stands_first_with_its_interval(made, page):
    labels = Labels.of(made)
    found = {feature: [face["faces"] for face in cells(labels, feature)] for feature in ("banana", "tea")}
    expected = sorted(found, key=lambda feature: -found[feature].count(0) / len(found[feature]))
    order = [row[0] for row in page.rows if row and row[0] in found]
    assert order == expected and found[expected[0]].count(0) > found[expected[1]].count(0) > 0
    for feature, faces in found.items():
        none, total = faces.count(0), len(faces)
        low, high = (100 * end for end in wilson(none, total))
        share = f"{100 * none / total:.1f}%"
        assert rows_of(page, feature) == [[str(total), str(none), share, f"{low:.1f} to {high:.1f}%", "0"]]


def test_tries_in_which_no_face_was_found_are_counted_beside(made):
    labels, report = Labels.of(made), ChecksReport.read(made)
    reasons = {"no face": 7, "no single face": 2, "noise": 1}
    features = [row.model_copy(update={"reasons": reasons if row.feature == "tea" else {}}) for row in report.features]
    rows = {row["feature"]: row["rejected"] for row in Faces.of(made).unfound(labels, features)}
    assert rows == {"banana": 0, "tea": 9}


def test_the_reasons_are_those_that_the_check_gives():
    """What counts as not found is in the face check's own words."""
    from inspect import getsource

    from builder.checks.face import ReadFaceCheck

    for check, reason in zip((FaceCheck, ReadFaceCheck), geometry.UNFOUND):
        assert f'"{reason}"' in getsource(check)


def test_a_release_without_faces_says_so(plain, tmp_path):
    out = tmp_path / "page.html"
    reporting_page.make(plain, out)
    text = reports.Html(out).text
    assert "No picture has a face box" in text and "No face was looked for in any picture" in text
    assert not any(reports.Html(out).data["face"])


def test_an_older_release_has_boxes_alone(plain, tmp_path):
    """Without the columns of points and turns: face sizes are shown, and boxes without points."""
    folder = reports.detect(shutil.copytree(plain, tmp_path / "fruit"), reports.DETECTED[:6])
    reporting_page.make(folder, tmp_path / "page.html")
    page = reports.Html(tmp_path / "page.html")
    assert [kind.name for kind in Faces.of(folder).measured] == ["size"]
    assert len(rows_of(page, "tea 20 pictures")[0]) == 1
    assert {len(face) for face in page.data["face"] if face} == {4}
    turns = [page.data["measures"].index(name) for name in ("yaw", "pitch", "roll")]
    assert all(measured[turn] is None for measured in page.data["measured"] for turn in turns)


def test_a_feature_that_is_not_looked_at_is_named(made):
    labels, faces = Labels.of(made), Faces.of(made)
    faces.found[labels.column("feature") == labels.names["feature"].index("tea")] = np.nan
    assert faces.unseen(labels) == ["tea"]
    assert [row["feature"] for row in faces.unfound(labels, [])] == ["banana"]


def test_a_picture_shown_has_its_box_and_points_in_pixels(made, page):
    """Of the picture itself, however small its copy is; none where no face was found."""
    reporting_page.make(made, made.parent / "all.html", side=32)
    data = reports.Html(made.parent / "all.html").data
    assert [data["sizes"][size] for size in data["size"]] == [[builds.SIDE, builds.SIDE]] * 40
    for id, face, measured in zip(data["id"], data["face"], data["measured"]):
        said = reports.face_of(id)
        assert bool(face) == bool(said["faces"])
        if face:
            assert face == pytest.approx(
                [said[name] for name in reports.DETECTED[1:5] + reports.DETECTED[6:16]], rel=0.01
            )
            turns = dict(zip(data["measures"], measured))
            assert turns["yaw"] == pytest.approx(said["yaw"], rel=0.01)
    assert any(data["face"]) and not all(data["face"])
