"""A tiny model trained on drawn faces, which needs no download and no GPU: it proves the tool, never the dataset."""

from __future__ import annotations

import dataclasses
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


def fitted(spec: Spec) -> Spec:
    """The table as the preview needs it: its guidance scale in every row, and checks by its own verifier."""
    plain = {"darker_than": None, "highlights_over": None, "threshold": None}
    features = tuple(
        dataclasses.replace(feature, guidance_scale=GUIDANCE, check=dataclasses.replace(feature.check, **plain))
        for feature in spec.features
    )
    checks = spec.checks
    if checks.attribute:
        face = checks.face and dataclasses.replace(checks.face, detector=CLASSIFIER)
        checks = dataclasses.replace(checks, attribute=dataclasses.replace(checks.attribute, model=NAME), face=face)
    recipe = dataclasses.replace(spec.recipe, guidance_scale=GUIDANCE)
    return dataclasses.replace(spec, recipe=recipe, features=features, checks=checks)
