"""MediaPipe as a face detector: its geometry, what it takes from the library, and how the table chooses it."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agfd30k import POSE
from builder.checks.attribute import feature_score
from builder.checks.loading import build, resolve, versions
from builder.common.errors import UserError
from builder.models.face_mesh import Face, FaceMesh, angles
from builder.models.identity import ModelId
from builder.raw.rows import Measured, measured
from builder.spec import table
from builder.spec.criteria import Face as Criteria
from tests.fixtures.mediapipe_library import LANDMARKS, face, rotation, stand_in
from tests.fixtures.photos import sample


@pytest.fixture
def library(monkeypatch):
    return stand_in(monkeypatch)


@given(st.sampled_from(POSE), st.floats(-80, 80))
def test_a_turn_about_one_axis_is_that_angle_and_no_other(name, degrees):
    """Roll is clockwise, yaw to the picture's right, pitch down."""
    asked = dict.fromkeys(POSE, 0) | {name: degrees}
    assert angles(rotation(**asked)) == pytest.approx(tuple(asked.values()), abs=1e-6)
    assert angles(rotation(**asked) * 3.7) == pytest.approx(tuple(asked.values()), abs=1e-6)


def test_box_and_points_are_in_pixels_from_the_landmarks():
    landmarks = np.random.default_rng(1).uniform(100, 200, (LANDMARKS, 3))
    landmarks[0, :2], landmarks[9, :2] = (50, 60), (250, 280)
    seen = Face(landmarks, {}, np.eye(3))
    assert seen.box() == (50, 60, 200, 220)
    points = np.reshape(seen.points(), (5, 2))
    np.testing.assert_array_equal(points, landmarks[[468, 473, 1, 61, 291], :2])


def spec_with(model):
    """The table with MediaPipe as its face detector, and no check but integrity and face."""
    spec = table.load()
    checks = spec.checks.without(["attribute", "duplicates"])
    return spec.changed(checks=checks.changed(face=Criteria(detector=str(model))))


def test_the_table_chooses_it_and_rows_hold_what_a_face_does(library, tmp_path):
    """A .task file as the detector: pose and shapes get into the row, by which features are judged without a model."""
    model = tmp_path / "face_landmarker.task"
    model.write_bytes(b"model")
    spec = spec_with(model)
    sources = resolve(spec)
    (version,) = (check for check in versions(spec, sources) if check.name == "face")
    assert version.model == ModelId("file", "face_landmarker.task", sources["face"].revision)
    check = build(spec, sources, None).single[-1]
    image = Image.new("RGB", (512, 512))
    library.pictures += [[face(0.2, 0.5, 0.7, yaw=0, pitch=-20)], [], [face(0.1, 0.3, 0), face(0.6, 0.3, 0)]]
    found, nothing, two = (check.judge([sample()], [image])[0] for _ in range(3))
    assert found.passed is True and (nothing.reason, two.reason) == ("no face", "several faces")
    seen = found.observed
    assert seen["face_box"] == pytest.approx([102.4, 102.4, 256, 256], abs=0.1) and len(seen["points"]) == 10
    assert seen["pitch"] == pytest.approx(-20) and seen["yaw"] == pytest.approx(0, abs=1e-6)
    assert (seen["smile"], seen["jaw_open"], seen["eye_blink"]) == (pytest.approx(0.7), 0, 0)
    Measured.parse(measured_line(seen))
    features = {feature.name: feature.check for feature in spec.features}
    scores = {name: feature_score(name, features[name], image, seen, {}) for name in ("smile", "up", "open_mouth")}
    assert scores["smile"] > 0.5 and scores["up"] > 0.5 and scores["open_mouth"] < 0.5


def measured_line(seen):
    import json

    from builder.checks.suite import Outcome

    outcome = Outcome()
    outcome.checks.update(seen)
    return json.dumps(measured(outcome.checks)).encode()


def test_what_is_lacking_is_one_line(library, tmp_path, monkeypatch):
    """No file, a file that is no model, and no library."""
    with pytest.raises(UserError, match="there is no such file"):
        resolve(spec_with(tmp_path / "none.task"))
    (tmp_path / "torn.task").write_bytes(b"model")
    spec = spec_with(tmp_path / "torn.task")
    with pytest.raises(UserError, match=r"\Aface check: .*cannot read this model: Unable to open zip archive\.\Z"):
        build(spec, resolve(spec), None)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(UserError, match=r"\Aface check: mediapipe is not installed .*: pip install [^\n]*\Z"):
        build(spec, resolve(spec), None)


def test_threads_take_turns(library):
    """The library's landmarker is for one caller at a time."""
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    mesh = FaceMesh(Path("m.task"))
    library.pictures += [[face(0.2, 0.5, 0.7)]] * 8
    pixels = np.zeros((64, 64, 3), np.uint8)
    with ThreadPoolExecutor(4) as pool:
        assert [len(boxes) for boxes in pool.map(lambda _: mesh.find(pixels, "one", 0.1), range(8))] == [1] * 8
