"""A tiny model trained on drawn faces, which needs no download and no GPU: it proves the tool, never the dataset."""

from __future__ import annotations

from pathlib import Path

from builder.spec.criteria import CLASSIFIER
from builder.spec.spec import Spec

NAME = "preview"
"""What it is called where a model is named."""
WEIGHTS = Path(__file__).with_name("weights")
MODEL = WEIGHTS / "model"
"""A diffusers folder."""
VERIFIER = WEIGHTS / "verifier"
"""A transformers folder: an image classifier that was trained apart from the model and reads every feature."""
GUIDANCE = 3.5
"""The guidance scale that suits the model; those of a table are meant for Stable Diffusion."""
STEPS = 12
"""Steps of the sampler that are enough for drawings; a table with fewer keeps its own."""
SHARPNESS = 6.0
"""Least sharpness of a drawing, which has soft edges: in the rows of `agfd30k generate --model preview --limit 64`
those that were asked to be blurry had 4, others 9 or more.
"""
CHUNKS = 2
"""Chunks that a prompt is filled up to: the model has learnt from captions as long as the table's negative prompt, and
obeys less where a prompt has but one."""


def fitted(spec: Spec) -> Spec:
    """Return the table as the preview needs it: its own guidance scale in every row, few steps, its own verifier."""
    features = tuple(
        feature.changed(guidance_scale=GUIDANCE, check=feature.check.unmeasured().changed(threshold=None))
        for feature in spec.features
    )
    checks = spec.checks
    if checks.integrity:
        least = min(SHARPNESS, checks.integrity.sharpness)
        checks = checks.changed(integrity=checks.integrity.changed(sharpness=least))
    if checks.attribute:
        face = checks.face and checks.face.changed(detector=CLASSIFIER)
        checks = checks.changed(attribute=checks.attribute.changed(model=NAME), face=face)
    recipe = spec.recipe.changed(guidance_scale=GUIDANCE, steps=min(STEPS, spec.recipe.steps))
    return spec.changed(recipe=recipe, features=features, checks=checks)
