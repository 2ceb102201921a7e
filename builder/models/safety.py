"""The safety checker: which pictures must not be kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPImageProcessor


@dataclass(frozen=True)
class Safety:
    """A safety checker."""

    name: str
    checker: StableDiffusionSafetyChecker
    processor: CLIPImageProcessor

    def __call__(self, images: list[Image.Image]) -> list[bool]:
        """Return True for every picture that must not be kept, also where the checker could not tell."""
        weights = next(self.checker.parameters())
        inputs = self.processor(images, return_tensors="pt").pixel_values.to(weights)
        seen: list[torch.Tensor] = []
        with self.checker.visual_projection.register_forward_hook(lambda *call: seen.append(call[-1])):
            # The checker paints what it flags black; it is given something else to paint on, and its flags are used.
            flags = self.checker(images=np.zeros((len(images), 1)), clip_input=inputs)[1]
        finite = seen[0].isfinite().flatten(1).all(1).tolist()  # a comparison with NaN flags nothing
        return [flag or not fine for flag, fine in zip(flags, finite, strict=True)]
