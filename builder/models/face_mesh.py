"""MediaPipe's Face Landmarker: 478 points of a face, which way it looks and what it does.

Its model is a file, face_landmarker.task. mediapipe brings an OpenCV of its own, which overwrites the headless one: it
belongs into an environment of its own, and is imported only when it is used.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from builder.models.boxes import Box
from builder.spec.criteria import SHAPES

INSTALL = "pip install 'mediapipe>=1.2,<2' in an environment of its own, since it overwrites the headless OpenCV"
FIVE = (468, 473, 1, 61, 291)
"""The right and left iris, the tip of the nose, the right and left corner of the mouth. Source: MediaPipe,
face_landmarks_connections.py; the person's own right and left."""
FACES = 4
"""Most that are looked for."""
SHAPE_OF: dict[str, Callable[[dict[str, float]], float]] = {
    "jaw_open": lambda shapes: shapes["jawOpen"],
    "eye_blink": lambda shapes: max(shapes["eyeBlinkLeft"], shapes["eyeBlinkRight"]),
    "smile": lambda shapes: min(shapes["mouthSmileLeft"], shapes["mouthSmileRight"]),
}
"""What MediaPipe's blendshapes say of each of SHAPES: both corners of the mouth are drawn up; the more closed eye is
told, since it often misses that the other one is closed as well.
"""


@dataclass(frozen=True)
class Face:
    """A face: `landmarks` (478, 3) are x, y and depth in pixels, `shapes` blendshapes by MediaPipe's names, and `turn`
    (3, 3) is the rotation from the face to the camera.
    """

    landmarks: np.ndarray
    shapes: dict[str, float]
    turn: np.ndarray

    def box(self) -> tuple[float, float, float, float]:
        """Return left, top, width and height."""
        left, top = self.landmarks[:, :2].min(axis=0)
        width, height = np.ptp(self.landmarks[:, :2], axis=0)
        return float(left), float(top), float(width), float(height)

    def points(self) -> tuple[float, ...]:
        """Return x and y of right eye, left eye, nose, right and left corner of the mouth."""
        return tuple(map(float, self.landmarks[list(FIVE), :2].ravel()))


class FaceMesh:
    """A face detector. Raises ValueError, in one line, where mediapipe is not installed or its model cannot be read."""

    def __init__(self, model: Path):
        with _errors(model):
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            self.mediapipe = mediapipe
            options = vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(model)),
                num_faces=FACES,
                output_face_blendshapes=True,
                output_facial_transformation_matrixes=True,
            )
            self.landmarker = vision.FaceLandmarker.create_from_options(options)
        self.alone = threading.Lock()

    def faces(self, pixels: np.ndarray) -> list[Face]:
        """Return the faces of a picture, uint8 (height, width, 3), RGB."""
        image = self.mediapipe.Image(image_format=self.mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
        with self.alone:
            result = self.landmarker.detect(image)
        height, width = pixels.shape[:2]
        scale = np.array([width, height, width])  # depth is on the scale of the width
        return [
            Face(
                np.array([(point.x, point.y, point.z) for point in points]) * scale,
                {shape.category_name: float(shape.score) for shape in shapes},
                np.asarray(turn)[:3, :3],
            )
            for points, shapes, turn in zip(
                result.face_landmarks, result.face_blendshapes, result.facial_transformation_matrixes
            )
        ]

    def find(self, pixels: np.ndarray, rule: str, smallest: float) -> list[Box]:
        """Faces in a picture, uint8 (height, width, 3), RGB, at least `smallest` of its height; `rule` is of no
        influence. The boxes hold the face from the brows to the chin, MediaPipe's own certainty is not told.
        """
        boxes = [_box(face) for face in self.faces(pixels)]
        return [box for box in boxes if box.height >= smallest * pixels.shape[0]]

    def close(self) -> None:
        """Let the model go: it cannot do so itself once Python ends."""
        self.landmarker.close()


def _box(face: Face) -> Box:
    shapes = {shape: SHAPE_OF[shape](face.shapes) for shape in SHAPES}
    return Box(*face.box(), None, face.points(), angles(face.turn), shapes)


def angles(turn: np.ndarray) -> tuple[float, float, float]:
    """Return roll, yaw and pitch in degrees of a rotation (3, 3) from the face to the camera: x right, y up, z back.

    Roll is positive where the head is turned clockwise in the picture, yaw where it looks to the picture's right, pitch
    where it looks down.

    >>> [round(angle) for angle in angles(np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]))]
    [0, 90, 0]
    """
    right, ahead = turn[:, 0] / np.linalg.norm(turn[:, 0]), turn[:, 2] / np.linalg.norm(turn[:, 2])
    yaw = np.arctan2(ahead[0], ahead[2])
    pitch = -np.arcsin(np.clip(ahead[1], -1, 1))
    roll = np.arctan2(-right[1], np.hypot(right[0], right[2]))
    return float(np.degrees(roll)), float(np.degrees(yaw)), float(np.degrees(pitch))


@contextlib.contextmanager
def _errors(model: Path) -> Iterator[None]:
    """What goes wrong while mediapipe is loaded becomes one line."""
    try:
        yield
    except ImportError as error:
        raise ValueError(f"mediapipe is not installed ({error}): {INSTALL}") from error
    except Exception as error:  # the library raises anything
        raise ValueError(f"{model}: mediapipe cannot read this model: {' '.join(str(error).split())[:160]}") from error
