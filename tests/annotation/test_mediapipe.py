"""MediaPipe's annotator: its columns, and what it takes from the library, which a stand-in answers for here."""

import sys

import pytest
from PIL import Image

from builder import __main__ as commands
from builder.annotation import mediapipe as ours
from builder.annotation.annotator import load
from tests.fixtures.mediapipe_library import face, stand_in


@pytest.fixture
def library(monkeypatch):
    return stand_in(monkeypatch)


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
