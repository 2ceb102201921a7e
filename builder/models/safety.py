"""The safety checker: which pictures must not be kept, and whether a checker can be trusted to tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPImageProcessorPil

from builder.common.errors import UserError, one_line
from builder.common.files import sha256
from builder.models.weights import whole

CONFIG, WEIGHTS, PROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
KNOWN = "08902f19b1cfebd7c989f152fc0507bef6898c706a91d666509383122324b511"
"""SHA-256 of the Stable Diffusion safety checker's weights, float16, as CompVis/stable-diffusion-safety-checker has
them at refs/pr/41."""
GREY, DARK = Image.new("RGB", (64, 64), (128, 128, 128)), Image.new("RGB", (64, 64), (20, 20, 60))


@dataclass(frozen=True)
class Safety:
    """A safety checker; `sha256` is the digest of its weights file."""

    name: str
    checker: StableDiffusionSafetyChecker
    processor: CLIPImageProcessorPil
    sha256: str = ""

    def __call__(self, images: list[Image.Image]) -> list[bool]:
        """Return True for every picture that must not be kept, also where the checker could not tell."""
        inputs = self._inputs(images)
        embeddings: list[torch.Tensor] = []
        with self.checker.visual_projection.register_forward_hook(lambda *call: embeddings.append(call[-1])):
            # The checker paints what it flags black; it is given something else to paint on, and its flags are used.
            flags = self.checker(images=np.zeros((len(images), 1)), clip_input=inputs)[1]
        seen = embeddings[0].isfinite().all(1) & embeddings[0].any(1)  # neither NaN nor 0 is like any concept
        return [flag or not told for flag, told in zip(flags, seen.tolist(), strict=True)]

    def embeddings(self, images: list[Image.Image]) -> torch.Tensor:
        """Return what the checker sees in pictures, (pictures, width)."""
        return self.checker.visual_projection(self.checker.vision_model(self._inputs(images))[1])

    def _inputs(self, images: list[Image.Image]) -> torch.Tensor:
        weights = self.checker.visual_projection.weight
        return self.processor(images, return_tensors="pt").pixel_values.to(weights)


def load(weights: Path, processor: Path, device: torch.device, dtype: torch.dtype, name: str = "") -> Safety:
    """Load a safety checker, which proves itself unless its weights are the known ones.

    `weights` is a folder with config.json and model.safetensors, `processor` one with preprocessor_config.json; `name`
    is what errors call it. Raises UserError, in one line, for one that cannot be loaded, or that can flag nothing.
    """
    name = name or str(weights)
    with one_line(f"safety checker {name}"):
        for path in (weights / CONFIG, weights / WEIGHTS, processor / PROCESSOR):
            if not path.is_file():
                raise FileNotFoundError(f"it has no {path.name}")
        options = {"use_safetensors": True, "local_files_only": True}
        checker = whole(StableDiffusionSafetyChecker, str(weights), dtype=dtype, **options)
        # Pillow's way, whatever else is installed: torchvision resizes to other numbers.
        prepare = CLIPImageProcessorPil.from_pretrained(str(processor), local_files_only=True)
        digest = sha256(weights / WEIGHTS)
        safety = Safety(name, placed(checker, device), prepare, digest)
        fault = None if digest == KNOWN else _fault(safety)
    if fault:
        raise UserError(f"safety checker {name}: is not to be trusted: {fault}; use another one (--safety-checker)")
    return safety


def placed(checker: StableDiffusionSafetyChecker, device: torch.device) -> StableDiffusionSafetyChecker:
    """Return a checker on its device, but for its thresholds: it reads them one by one, and would wait each time."""
    thresholds = {name: value.data for name, value in checker.named_parameters() if name.endswith("_embeds_weights")}
    checker.requires_grad_(False).eval().to(device)
    for name, values in thresholds.items():
        setattr(checker, name, torch.nn.Parameter(values, requires_grad=False))
    return checker


@torch.inference_mode()
def _fault(safety: Safety) -> str | None:
    """Return why a checker may let through what it is there to find, or None.

    It must see pictures, and flag a picture whose embedding is that of one of its own concepts. (What calls for
    special care only lowers the threshold of these.) What the concepts are, nobody can tell from numbers.
    """
    checker = safety.checker
    if not all(value.isfinite().all() for value in checker.state_dict().values() if value.is_floating_point()):
        return "it has weights that are not finite"
    for thresholds in (checker.concept_embeds_weights, checker.special_care_embeds_weights):
        if not ((thresholds >= 0) & (thresholds <= 1)).all():
            return "it has thresholds that are not between 0 and 1"
    grey, dark = safety.embeddings([GREY, DARK])
    if not grey.any() or not dark.any() or grey.equal(dark):
        return "it does not see pictures"
    concepts = checker.concept_embeds
    missed = _flags_at(safety, concepts).count(False)
    if missed or not concepts.any(1).all():
        return f"it would not flag a picture of {missed or 'some'} of its {len(concepts)} concepts"
    if not checker.special_care_embeds.any(1).all():
        return "it cares for nothing in particular"
    return None


def _flags_at(safety: Safety, embeddings: torch.Tensor) -> list[bool]:
    """Return the flags of pictures that have these embeddings, (pictures, width)."""
    projection = safety.checker.visual_projection
    with projection.register_forward_hook(lambda *call: embeddings.to(call[-1])):
        return safety([GREY] * len(embeddings))
