"""One face, several or none: told by real detectors on real photographs, by the rule of the feature."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builder.checks.face import FaceCheck, ReadFaceCheck
from builder.checks.loading import build, resolve
from builder.common.errors import UserError
from builder.models import landmarks
from builder.models.boxes import Box, distinct
from builder.models.face_detectors import SECOND, SIDE, Haar, YuNet, _mirrored
from builder.models.source import resolve_detector
from builder.spec import table
from builder.spec.criteria import YUNET, Face
from drawn_faces.drawing.draw import Labels, draw
from tests.fixtures import yunet
from tests.fixtures.photos import FACE, crowd, landscape, portrait, sample

RULES = ("one", "covered", "profile")
HAAR = Haar()


def verdict(image, smallest=0.25, detector=HAAR, **check):
    return FaceCheck(Face(smallest=smallest), detector).judge([sample(**check)], [image])[0]


def profile():
    """A drawn face that looks to the left, which OpenCV's cascade for profiles knows."""
    return draw(Labels("left_right", "male", "asian", 35, "side view, facing left"), 2, 256)


# Haar cascades.


@pytest.mark.parametrize("rule", RULES)
def test_one_face_is_found_where_it_is(rule):
    """On a photograph of one person the box lies on the face, and every rule is content."""
    found = verdict(portrait(), face=rule)
    assert found.passed is True and found.observed["faces"] == 1 and found.observed["face_score"] is None
    left, top, width, height = found.observed["face_box"]
    np.testing.assert_allclose((left, top, left + width, top + height), FACE, atol=24)


@pytest.mark.parametrize("rule", RULES)
def test_several_faces_are_rejected_by_every_rule(rule):
    found = verdict(crowd(), face=rule)
    assert (found.passed, found.reason, found.detail) == (False, "several faces", "2 found")
    assert found.observed["faces"] == 2 and len(found.observed["face_box"]) == 4


@pytest.mark.parametrize(
    ("rule", "passed", "reason"), [("one", False, "no face"), ("covered", None, ""), ("profile", None, "")]
)
def test_no_face_is_rejected_only_where_one_must_be_seen(rule, passed, reason):
    """A mask or a side view can hide a face from a detector: where none is found, nobody can tell."""
    found = verdict(landscape(), face=rule)
    assert (found.passed, found.reason, found.observed) == (passed, reason, {"faces": 0})


@pytest.mark.parametrize("image", [portrait(), crowd(), landscape()])
def test_any_looks_for_no_face(image):
    found = verdict(image, face="any")
    assert (found.passed, found.observed) == (None, {})


@pytest.mark.parametrize(
    ("smallest", "own", "reason"),
    [(0.25, None, ""), (0.6, None, "no face"), (0.6, 0.25, ""), (0.6, 0.0, ""), (0.1, 0.6, "no face")],
)
def test_a_face_must_be_large_enough(smallest, own, reason):
    """The least height is the table's unless the feature has its own, be it 0."""
    assert verdict(portrait(), smallest, smallest_face=own).reason == reason


def test_a_profile_is_found_from_both_sides_at_its_mirror_place():
    """The cascade knows profiles of one side; for the other the picture is mirrored, and the box mirrored back."""
    image = profile()
    left, right = (
        verdict(image, face="profile"),
        verdict(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), face="profile"),
    )
    assert left.passed and right.passed
    x, y, width, height = left.observed["face_box"]
    assert right.observed["face_box"] == [256 - x - width, y, width, height]
    assert verdict(image, face="one").reason == "no face"


def test_several_threads_find_the_same():
    """A cascade keeps state while it looks, so every thread has its own, also when threads come and go."""
    images = [np.asarray(image) for image in (portrait(), crowd(), landscape())] * 4
    alone = [HAAR.find(image, "one", 0.25) for image in images]
    for _ in range(2):
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda image: HAAR.find(image, "one", 0.25), images)) == alone
    assert len(HAAR.cascades["frontalface_alt2"].free) <= 4


# YuNet.


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("yunet") / "squares.onnx"
    yunet.save(path)
    return path


def squares(*faces):
    """A grey picture, 320×320, with red squares: (column, row, how red)."""
    image = Image.new("RGB", (320, 320), (90, 90, 90))
    for column, row, red in faces:
        colour = (round(255 * red), 0, 0)
        image.paste(Image.new("RGB", (yunet.CELL, yunet.CELL), colour), (column * yunet.CELL, row * yunet.CELL))
    return image


def test_yunet_says_where_and_how_certain(model):
    found = verdict(squares((4, 5, 0.95)), detector=YuNet(model))
    assert found.passed is True and found.observed["faces"] == 1
    np.testing.assert_allclose(found.observed["face_box"], [80, 96, 128, 160], atol=0.1)
    assert found.observed["face_score"] == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("rule", "red", "passed"),
    [
        *[("one", 0.93, True), ("one", 0.75, False), ("profile", 0.75, True), ("profile", 0.55, None)],
        *[("covered", 0.55, True), ("covered", 0.45, None)],
    ],
)
def test_yunets_bar_is_lower_for_faces_that_are_hard_to_see(model, rule, red, passed):
    assert verdict(squares((4, 5, red)), detector=YuNet(model), face=rule).passed is passed


def test_yunet_counts_faces_that_are_apart_and_large_enough(model):
    """Boxes that overlap are one face, the most certain; small ones do not count; the size may change from picture to
    picture.
    """
    detector = YuNet(model)
    assert verdict(squares((2, 2, 0.95), (7, 7, 0.95)), detector=detector).reason == "several faces"
    (box,) = detector.find(np.asarray(squares((4, 5, 0.93), (5, 5, 0.97))), "one", 0.25)
    assert box.score == pytest.approx(0.97, abs=0.01)
    assert verdict(squares((4, 5, 0.95)), 0.6, detector).reason == "no face"
    wide = squares((4, 5, 0.95)).crop((0, 0, 300, 310))
    assert verdict(wide, detector=detector).observed["face_box"] == pytest.approx([80, 96, 128, 160], abs=0.1)


@pytest.fixture(scope="module")
def shipped():
    """YuNet as it comes along, by the table's own words."""
    source = resolve_detector(YUNET, "main")
    assert source.revision == "sha256:8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
    return YuNet(Path(source.location))


@pytest.mark.parametrize("side", [256, 512, 1024])
def test_yunet_finds_the_face_of_a_photograph_where_it_is_at_any_size(shipped, side):
    """It looks at a smaller copy; box and points are those of the picture itself, the eyes above nose and mouth."""
    (box,) = shipped.find(np.asarray(portrait().resize((side, side))), "one", 0.25)
    centre = np.array([box.left + box.width / 2, box.top + box.height / 2]) * 512 / side
    assert np.all((centre > FACE[:2]) & (centre < FACE[2:])) and 0.3 < box.height / side < 0.7
    points = np.reshape(box.points, (5, 2))
    assert points[0, 0] < points[2, 0] < points[1, 0] and points[:2, 1].max() < points[2, 1] < points[3:, 1].min()


def test_yunet_sees_two_faces_none_and_one_that_is_tilted(shipped):
    """Of two neither is left out, and a tilt that Haar is blind to is no hindrance."""
    assert verdict(crowd(), 0.1, shipped).reason == "several faces"
    assert verdict(landscape(), 0.1, shipped).reason == "no face"
    tilted = portrait().rotate(25, Image.Resampling.BICUBIC, fillcolor=(120, 120, 120))
    assert verdict(tilted, detector=shipped).passed is True and verdict(tilted).passed is False


def test_the_only_face_must_have_plausible_points(shipped, monkeypatch):
    """Where there are two, none is left out for its points: one would pass then."""
    monkeypatch.setattr(landmarks, "plausible", lambda points, box: False)
    assert verdict(portrait(), detector=shipped).reason == "no face"
    assert verdict(crowd(), 0.1, shipped).reason == "several faces"


def test_rows_hold_points_and_pose(shipped):
    """Yaw is positive to the picture's right: the mirrored picture's is the opposite. Five points say no pitch."""
    here = verdict(portrait(), detector=shipped).observed
    there = verdict(portrait().transpose(Image.Transpose.FLIP_LEFT_RIGHT), detector=shipped).observed
    points = np.reshape(here["points"], (5, 2))
    assert np.all((points > FACE[:2]) & (points < FACE[2:])) and here["pitch"] is None
    assert all(value * 4 == round(value * 4) for value in (*here["face_box"], *here["points"], here["yaw"]))
    assert here["yaw"] == pytest.approx(-there["yaw"], abs=6) and here["roll"] == pytest.approx(-there["roll"], abs=6)
    clockwise = portrait().rotate(-20, Image.Resampling.BICUBIC, fillcolor=(120, 120, 120))
    assert 8 < verdict(clockwise, detector=shipped).observed["roll"] - here["roll"] < 25


class Unsure(YuNet):
    """Sees the same face as YuNet, with another certainty in its first look and in its second."""

    first, second = 0.85, 0.95

    def _look(self, pixels, side, least):
        score = self.first if side == SIDE else self.second
        return [replace(box, score=score) for box in super()._look(pixels, side, 0.5) if score >= least]


@pytest.mark.parametrize(
    ("rule", "first", "second", "kept"),
    [
        *[("one", 0.85, 0.95, True), ("one", 0.85, 0.85, False), ("one", 0.95, 0.5, True)],
        *[("covered", 0.85, 0.5, True), ("profile", 0.85, 0.5, True)],
    ],
)
def test_a_whole_face_that_is_not_certain_must_be_seen_again_in_the_mirror(shipped, rule, first, second, kept):
    """Shuffled pieces often look like a face at one size only; who is certain needs no second look."""
    unsure = Unsure(Path(resolve_detector(YUNET, "main").location))
    unsure.first, unsure.second = first, second
    assert verdict(portrait(), detector=unsure, face=rule).passed is kept


def test_the_second_look_finds_the_points_where_they_were(shipped):
    """They are mirrored back: a look that took the mirrored picture's for the picture's would lose every face."""
    pixels = np.asarray(portrait())
    (first,) = shipped._look(pixels, SIDE, 0.8)
    (second,) = shipped._look(np.ascontiguousarray(pixels[:, ::-1]), SECOND, 0.8)
    assert np.abs(_mirrored(second, 512) - np.reshape(first.points, (5, 2))).max() < 0.1 * first.height


def test_several_threads_share_yunet(model):
    detector, image = YuNet(model), np.asarray(squares((4, 5, 0.95)))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: detector.find(image, "one", 0.25), range(12)))
    assert all(boxes == found[0] and len(boxes) == 1 for boxes in found)


def test_a_file_that_is_no_network_ends_in_one_line(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    spec = sample_spec(str(tmp_path / "broken.onnx"))
    with pytest.raises(UserError, match=r"face check: .*broken.onnx: OpenCV cannot read this model") as caught:
        build(spec, resolve(spec), None)
    assert "\n" not in str(caught.value)


def sample_spec(detector):
    """A table with a face check alone."""
    spec = table.load()
    return spec.changed(checks=spec.checks.without(["attribute"]).changed(face=Face(detector=detector)))


def test_the_table_chooses_the_detector(model):
    """A .onnx file as the table's detector is loaded and looks at pictures."""
    spec = sample_spec(str(model))
    checks = build(spec, resolve(spec), None)
    assert any(isinstance(getattr(check, "detector", None), YuNet) for check in checks.single)


# A classifier that reads one_face.


class Reads:
    """Says 0.9 for bright pictures and 0.1 for dark ones."""

    labels = ("smile", "one_face")

    def read(self, images):
        return np.array([[0.5, 0.9 if np.asarray(image).mean() > 128 else 0.1] for image in images])


def test_a_classifier_tells_a_whole_face_and_yunet_where(shipped):
    """The classifier decides; a place is noted where YuNet sees one."""
    check = ReadFaceCheck(Reads(), shipped)
    bright = portrait().point(lambda value: min(255, value + 60))
    found = check.judge([sample()], [bright])[0]
    assert found.passed is True and (found.observed["faces"], found.observed["face_score"]) == (1, 0.9)
    assert len(found.observed["face_box"]) == 4 and len(found.observed["points"]) == 10
    white, dark = Image.new("RGB", (64, 64), "white"), Image.new("RGB", (64, 64))
    first, second = check.judge([sample()] * 2, [white, dark])
    assert first.passed is True and first.observed == {"faces": 1, "face_score": 0.9}
    assert (second.passed, second.reason, second.detail) == (False, "no single face", "0.10, at least 0.5")
    assert check.judge([sample(face="any")], [dark])[0].passed is None


def test_a_classifier_without_the_label_is_one_line():
    with pytest.raises(UserError, match="has no label one_face; use another detector"):
        ReadFaceCheck(type("Other", (Reads,), {"labels": ("smile",)})(), None)


def test_boxes_of_one_face_are_one():
    """A box inside another one is the same face, however small."""
    outer, inner, other = Box(0, 0, 100, 100), Box(40, 40, 20, 20), Box(150, 0, 50, 50)
    assert distinct([inner, other, outer]) == [outer, other]
