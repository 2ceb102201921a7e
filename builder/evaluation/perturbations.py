"""Changed copies of a picture, mirrored, turned and shifted, and how points on them come back to the picture.

Points are in pixels from the left and upper edge of a picture, so that the middle of the first pixel is (0.5, 0.5).
Sources: Yang and Patras, Mirror, mirror on the wall, tell me, is the error small?, 2015, whose mirror error `flip` is;
Honari et al., Improving landmark localization with semi-supervised learning, 2018, who ask the same of turned, shifted
and scaled copies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

MIRRORED = (1, 0, 2, 4, 3)
"""Which of the five points each one is in a mirror: right and left change places."""


@dataclass(frozen=True)
class Change:
    """How a copy differs: mirrored or not, turned by `degrees` counterclockwise about its middle, `scale` as large, and
    shifted to the right and down by a share of its sides.
    """

    mirrored: bool = False
    degrees: float = 0.0
    scale: float = 1.0
    shift: float = 0.0

    def copy(self, image: Image.Image) -> Image.Image:
        """Return the changed picture, of the same size; what comes in over the edges repeats the pixels there."""
        margin = max(image.size) // 8 + 2
        padded = Image.fromarray(np.pad(np.asarray(image), [(margin, margin), (margin, margin), (0, 0)], "edge"))
        turn, shift = self._inverse(image.size)
        rows = np.concatenate([turn, (shift + margin)[:, None]], axis=1).reshape(-1).tolist()
        return padded.transform(image.size, Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR)

    def back(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return where five points on a copy, (5, 2), are on the picture of this size."""
        turn, shift = self._inverse(size)
        found = points @ turn.T + shift
        return found[[*MIRRORED]] if self.mirrored else found

    def _inverse(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the matrix and the shift that take a place on the copy to its place on the picture."""
        middle, angle = np.array(size) / 2, np.radians(self.degrees)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # y points downward
        inverse = np.linalg.inv(turn @ np.diag([-1.0 if self.mirrored else 1.0, 1.0]) * self.scale)
        return inverse, middle - inverse @ (middle + self.shift * np.array(size))


CHANGES = {
    "flip": Change(mirrored=True),
    "turn_left": Change(degrees=10),
    "turn_right": Change(degrees=-10),
    "jitter": Change(scale=0.95, shift=0.02),
}
"""By the name under which a row of predictions has what a model says of that copy."""
MEASURES = {
    "flip": (("flip",), "mirrored"),
    "turn": (("turn_left", "turn_right"), "turned by 10° to either side"),
    "jitter": (("jitter",), "shrunk by 5% and shifted by 2%"),
}
"""What is measured on which copies, whose mean it is; and what they are, in words."""
