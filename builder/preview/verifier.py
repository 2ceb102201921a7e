"""Reads from a picture which features it shows: the classifier that was trained on drawn faces, for drawn faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import ResNetForImageClassification

from builder.preview import VERIFIER

SIZE = 128


class Verifier:
    """`read` says for every picture and label how likely it is shown; `labels` names the columns."""

    def __init__(self, folder: Path = VERIFIER, device: torch.device | str = "cpu"):
        self.model = ResNetForImageClassification.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        self.model = self.model.eval().to(device, memory_format=torch.channels_last)
        self.labels = [self.model.config.id2label[n] for n in range(self.model.config.num_labels)]

    @torch.inference_mode()
    def read(self, images: list[Image.Image]) -> np.ndarray:
        """Scores from 0 to 1, (images, labels); 0.5 and more means that the label is shown."""
        return self.model(self._pixels(images)).logits.sigmoid().cpu().numpy()

    @torch.inference_mode()
    def features(self, images: list[Image.Image]) -> np.ndarray:
        """What the last layer sees of each picture, (images, width), of length 1: near for pictures alike to it."""
        pooled = self.model.resnet(self._pixels(images)).pooler_output.flatten(1)
        return torch.nn.functional.normalize(pooled).cpu().numpy()

    def _pixels(self, images: list[Image.Image]) -> torch.Tensor:
        small = [image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX) for image in images]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in small])).permute(0, 3, 1, 2)
        weights = next(self.model.parameters())
        return pixels.to(weights.device).to(weights.dtype, memory_format=torch.channels_last) / 127.5 - 1
