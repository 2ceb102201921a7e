"""MediaPipe's FaceLandmarker as an annotator: 478 points, 52 blendshapes, and which way the face looks.

Its model is a file, face_landmarker.task. mediapipe brings an OpenCV of its own, which overwrites the one that the
checks need: it belongs into an environment of its own, and is imported only when it is used.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Features, Value
from datasets import Sequence as ListOf
from PIL import Image

from agfd30k import FACE_BOX, POINTS
from builder.common.errors import UserError
from builder.common.files import sha256

INSTALL = "pip install 'mediapipe>=1.2,<2' in an environment of its own, since it overwrites the checks' OpenCV"
LANDMARKS = 478
FIVE = (468, 473, 1, 61, 291)
"""The right and left iris, the tip of the nose, the right and left corner of the mouth. Source: MediaPipe,
face_landmarks_connections.py; the person's own right and left."""
POSE = ("roll", "yaw", "pitch")
BLENDSHAPES = (
    *["_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff"],
    *["cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight"],
    *["eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight"],
    *["eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen"],
    *["jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight"],
    *["mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight"],
    *["mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"],
    *["mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft"],
    *["mouthUpperUpRight", "noseSneerLeft", "noseSneerRight"],
)
"""MediaPipe's names; the columns are called jaw_open and so on."""


def column(blendshape: str) -> str:
    """Return what the column of a blendshape is called.

    >>> column("mouthSmileLeft"), column("_neutral")
    ('mouth_smile_left', 'neutral')
    """
    return re.sub(r"(?=[A-Z])", "_", blendshape).lower().lstrip("_")


class FaceLandmarker:
    """The largest face of a picture. Pixels go from the picture's left and top edges, angles are degrees.

    Raises UserError where mediapipe is not installed, or the model's file is none.
    """

    name = "mediapipe"
    columns = Features(
        {name: Value("float32") for name in (*FACE_BOX, *POINTS, *POSE, *map(column, BLENDSHAPES))}
        | {"landmarks": ListOf(Value("float32"))}
    )

    def __init__(self, model: Path | None = None):
        if model is None or not model.is_file():
            where = "which file is its model" if model is None else f"there is no file {model}"
            raise UserError(f"{where}: --model face_landmarker.task, from MediaPipe's page of the Face Landmarker")
        self.digest = sha256(model)
        with _errors(model):
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            self.mediapipe = mediapipe
            options = vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(model)),
                num_faces=4,
                output_face_blendshapes=True,
                output_facial_transformation_matrixes=True,
            )
            self.landmarker = vision.FaceLandmarker.create_from_options(options)

    def annotate(self, images: Sequence[Image.Image]) -> list[dict[str, Any] | None]:
        """Return what it sees on each picture, RGB; None where it finds no face."""
        return [self._of(image) for image in images]

    def close(self) -> None:
        """Let the model go: it cannot do so itself once Python ends."""
        self.landmarker.close()

    def _of(self, image: Image.Image) -> dict[str, Any] | None:
        pixels = np.ascontiguousarray(image)
        result = self.landmarker.detect(self.mediapipe.Image(image_format=self.mediapipe.ImageFormat.SRGB, data=pixels))
        scale = np.array([image.width, image.height, image.width])  # depth is on the scale of the width
        faces = [np.array([(p.x, p.y, p.z) for p in face]) * scale for face in result.face_landmarks]
        if not faces:
            return None
        largest = max(range(len(faces)), key=lambda number: np.prod(np.ptp(faces[number][:, :2], axis=0)))
        shapes = {column(shape.category_name): shape.score for shape in result.face_blendshapes[largest]}
        turn = np.asarray(result.facial_transformation_matrixes[largest])[:3, :3]
        return {**geometry(faces[largest]), **dict(zip(POSE, angles(turn))), **shapes}


def geometry(landmarks: np.ndarray) -> dict[str, Any]:
    """Return box, five points and all points of a face, of landmarks (478, 3) in pixels: x, y, and depth."""
    left_top = landmarks[:, :2].min(axis=0)
    box = (*left_top, *np.ptp(landmarks[:, :2], axis=0))
    five = landmarks[list(FIVE), :2].ravel()
    return {**dict(zip(FACE_BOX, box)), **dict(zip(POINTS, five)), "landmarks": landmarks.ravel().round(2)}


def angles(turn: np.ndarray) -> tuple[float, float, float]:
    """Return roll, yaw and pitch in degrees of a rotation (3, 3) from the face to the camera: x right, y up, z back.

    Roll is positive where the head is turned clockwise in the picture, yaw where it looks to the picture's right, pitch
    where it looks down.

    >>> [round(float(angle)) for angle in angles(np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]))]
    [0, 90, 0]
    """
    right, ahead = turn[:, 0] / np.linalg.norm(turn[:, 0]), turn[:, 2] / np.linalg.norm(turn[:, 2])
    yaw = np.arctan2(ahead[0], ahead[2])
    pitch = -np.arcsin(np.clip(ahead[1], -1, 1))
    roll = np.arctan2(-right[1], np.hypot(right[0], right[2]))
    return np.degrees(roll), np.degrees(yaw), np.degrees(pitch)


@contextlib.contextmanager
def _errors(model: Path) -> Iterator[None]:
    """What goes wrong while mediapipe is loaded becomes one line."""
    try:
        yield
    except ImportError as error:
        raise UserError(f"mediapipe is not installed ({error}): {INSTALL}") from error
    except Exception as error:  # the library raises anything
        raise UserError(f"{model}: mediapipe cannot read this model: {' '.join(str(error).split())[:160]}") from error
