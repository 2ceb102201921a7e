"""MediaPipe's Face Landmarker as an annotator: 478 points, 52 blendshapes, and which way the face looks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Features, Value
from datasets import Sequence as ListOf
from PIL import Image

from agfd30k import FACE_BOX, POINTS, POSE
from builder.common.errors import UserError
from builder.common.files import sha256
from builder.models.face_mesh import Face, FaceMesh, angles

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
        try:
            self.mesh = FaceMesh(model)
        except ValueError as error:
            raise UserError(str(error)) from error

    def annotate(self, images: Sequence[Image.Image]) -> list[dict[str, Any] | None]:
        """Return what it sees on each picture, RGB; None where it finds no face."""
        faces = (self.mesh.faces(np.asarray(image)) for image in images)
        return [seen(max(some, key=_area)) if some else None for some in faces]

    def close(self) -> None:
        """Let the model go: it cannot do so itself once Python ends."""
        self.mesh.close()


def seen(face: Face) -> dict[str, Any]:
    """Return the columns of a face."""
    return {
        **dict(zip(FACE_BOX, face.box())),
        **dict(zip(POINTS, face.points())),
        **dict(zip(POSE, angles(face.turn))),
        **{column(shape): score for shape, score in face.shapes.items()},
        "landmarks": face.landmarks.ravel().round(2),
    }


def _area(face: Face) -> float:
    _, _, width, height = face.box()
    return width * height
