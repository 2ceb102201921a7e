"""The classifier that was trained on drawn faces, for drawn faces: reads which features, which sex and what age."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from builder.models.classifiers import Classifier
from builder.preview import VERIFIER


class Verifier(Classifier):
    """`read` says for every picture and label how likely it is shown, 0.5 and more meaning yes."""

    def __init__(self, folder: Path = VERIFIER, device: torch.device | str = "cpu"):
        super().__init__(str(folder), {}, torch.device(device))

    @torch.inference_mode()
    def features(self, images: list[Image.Image]) -> np.ndarray:
        """What the last layer sees of each picture, (images, width), of length 1: near for pictures alike to it."""
        pooled = self.model.resnet(self.pixels(images)).pooler_output.flatten(1)
        return torch.nn.functional.normalize(pooled.float()).cpu().numpy()
