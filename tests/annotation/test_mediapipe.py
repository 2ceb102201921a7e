"""MediaPipe's annotator: its geometry, and what it takes from the library, which a stand-in answers for here."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from builder import __main__ as commands
from builder.annotation import mediapipe as ours
from builder.annotation.annotator import load


def rotation(roll, yaw, pitch):
    """The face's rotation to a camera with y up, of a head that is nodded, turned, then tilted, in degrees."""
    roll, yaw, pitch = np.radians((-roll, yaw, pitch))
    nod = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    turn = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    tilt = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    return np.array(tilt) @ np.array(turn) @ np.array(nod)


@given(st.sampled_from(ours.POSE), st.floats(-80, 80))
def test_a_turn_about_one_axis_is_that_angle_and_no_other(name, degrees):
    """Roll is clockwise, yaw to the picture's right, pitch down."""
    asked = dict.fromkeys(ours.POSE, 0) | {name: degrees}
    assert ours.angles(rotation(**asked)) == pytest.approx(tuple(asked.values()), abs=1e-6)
    assert ours.angles(rotation(**asked) * 3.7) == pytest.approx(tuple(asked.values()), abs=1e-6)


def test_geometry_is_in_pixels_from_the_landmarks():
    landmarks = np.random.default_rng(1).uniform(100, 200, (ours.LANDMARKS, 3))
    landmarks[0, :2], landmarks[9, :2] = (50, 60), (250, 280)
    values = ours.geometry(landmarks)
    assert [values[name] for name in ours.FACE_BOX] == [50, 60, 200, 220]
    assert [values["nose_x"], values["nose_y"]] == list(landmarks[1, :2])
    assert [values["right_eye_x"], values["mouth_left_y"]] == [landmarks[468, 0], landmarks[291, 1]]
    assert len(values["landmarks"]) == 3 * ours.LANDMARKS


def face(left, side, smile):
    """What the library says of a face that is a square with all its points on the edges."""
    places = np.linspace(left, left + side, ours.LANDMARKS)
    shapes = [SimpleNamespace(category_name=name, score=0.0) for name in ours.BLENDSHAPES]
    shapes[ours.BLENDSHAPES.index("mouthSmileLeft")].score = smile
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(0, 30, 0)
    return [SimpleNamespace(x=place, y=place, z=0.0) for place in places], shapes, matrix


@pytest.fixture
def library(monkeypatch):
    """The library with the faces that it finds on the next pictures."""
    pictures, closed = [], []

    class Landmarker:
        @classmethod
        def create_from_options(cls, options):
            if options.base_options.model_asset_path.endswith("torn.task"):
                raise RuntimeError("Unable to open\nzip archive.")
            return cls()

        def detect(self, image):
            assert image.data.shape == (64, 128, 3) and image.data.flags.c_contiguous
            landmarks, shapes, matrices = zip(*pictures.pop(0)) if pictures[0] else (pictures.pop(0), [], [])
            return SimpleNamespace(
                face_landmarks=landmarks, face_blendshapes=shapes, facial_transformation_matrixes=matrices
            )

        def close(self):
            closed.append(True)

    root, tasks, python = ModuleType("mediapipe"), ModuleType("mediapipe.tasks"), ModuleType("mediapipe.tasks.python")
    root.Image, root.ImageFormat = SimpleNamespace, SimpleNamespace(SRGB=1)
    python.BaseOptions = SimpleNamespace
    python.vision = SimpleNamespace(FaceLandmarker=Landmarker, FaceLandmarkerOptions=SimpleNamespace)
    for module in (root, tasks, python):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return SimpleNamespace(pictures=pictures, closed=closed)


def test_the_largest_face_is_told_with_every_column_and_none_as_none(library, tmp_path):
    (tmp_path / "m.task").write_bytes(b"model")
    library.pictures += [[face(0.1, 0.2, 0.1), face(0.5, 0.4, 0.9)], []]
    with load("mediapipe", tmp_path / "m.task") as annotator:
        seen, nothing = annotator.annotate([Image.new("RGB", (128, 64))] * 2)
    assert library.closed and nothing is None and seen.keys() == annotator.columns.keys()
    assert (seen["face_x"], seen["face_y"], seen["mouth_smile_left"]) == (64, 32, 0.9)
    assert (seen["face_width"], seen["face_height"]) == pytest.approx((51.2, 25.6))
    assert seen["yaw"] == pytest.approx(30)
    assert len(annotator.digest) == 64


def test_what_is_lacking_is_one_line(tmp_path, capsys, monkeypatch, library):
    (tmp_path / "torn.task").write_bytes(b"model")
    mistakes = [([], "which file is its model"), (["--model", "none.task"], "there is no file none.task")]
    mistakes += [(["--model", str(tmp_path / "torn.task")], "cannot read this model: Unable to open zip archive.")]
    for flags, says in mistakes:
        assert commands.main(["annotate", str(tmp_path), "--with", "mediapipe", *flags]) == 2
        written = capsys.readouterr()
        assert written.out == "" and written.err.count("\n") == 1 and says in written.err
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    assert commands.main(["annotate", str(tmp_path), "--with", "mediapipe", *flags]) == 2
    written = capsys.readouterr()
    assert written.err.count("\n") == 1 and "mediapipe is not installed" in written.err


def test_columns_are_called_as_the_blendshapes():
    names = [*ours.FaceLandmarker.columns]
    assert len(ours.BLENDSHAPES) == 52 and {"jaw_open", "eye_blink_left", "neutral"} <= {*names}
    assert names[-1] == "landmarks" and len(names) == 4 + 10 + 3 + 52 + 1
