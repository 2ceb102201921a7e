"""Pipelines of transformers on pictures: objects are found, pictures are labelled, by a classifier or by words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
    AutoModelForZeroShotImageClassification,
    AutoTokenizer,
    pipeline,
)

from builder.common.files import sha256
from builder.models.weights import whole

LEAST = 0.05
"""Boxes that a detector is less sure of are not listed: there may be hundreds."""
Boxes = list[list[float]]
Look = Callable[[Sequence[Image.Image]], list[Any]]
FAKE = {
    *("fake", "fakes", "deepfake", "deepfakes", "ai", "aigc", "artificial", "generated", "synthetic", "gan"),
    *("diffusion", "forged", "forgery", "manipulated", "spoof"),
}
REAL = {
    *("real", "realism", "human", "hum", "authentic", "genuine", "natural", "original", "pristine", "photo"),
    *("photograph", "camera", "live"),
}
NOT = {"not", "non", "no"}
"""Words of labels."""
SAFE = {"trust_remote_code": False}


def detector(location: str, revision: str | None) -> tuple[Look, str]:
    """Return a function that finds faces, and the digest of the model: a folder, or one on the Hub.

    Boxes are left, top, width, height and score; of a model with several labels those called face. Safetensors only, no
    code of the repository is run. Raises ValueError for a model without such a label, and whatever transformers raises
    for one that cannot be read.
    """
    pipe, digest = _pipe("object-detection", AutoModelForObjectDetection, location, revision)
    labels = [*pipe.model.config.id2label.values()]
    faces = [label for label in labels if "face" in label.lower()] or labels
    if len(faces) > 1:
        raise ValueError(f"finds {', '.join(faces[:5])}: none, or more than one, of its labels is a face")

    def find(images: Sequence[Image.Image]) -> list[Boxes]:
        found = pipe([*images], threshold=LEAST, batch_size=1)  # pictures of several sizes do not stack
        return [[_box(one) for one in each if one["label"] == faces[0]] for each in found]

    return find, digest


def _box(one: dict[str, Any]) -> list[float]:
    left, top, right, bottom = (float(one["box"][edge]) for edge in ("xmin", "ymin", "xmax", "ymax"))
    return [left, top, max(0.0, right - left), max(0.0, bottom - top), float(one["score"])]


def labeller(location: str, revision: str | None, labels: Sequence[str]) -> tuple[Look, str]:
    """As `detector`, for a function that scores labels: an image classifier's own, or those given, with a CLIP or
    SigLIP model, which reads them as words.
    """
    config = AutoConfig.from_pretrained(location, **SAFE, **_at(revision))
    if hasattr(config, "text_config") and hasattr(config, "vision_config"):
        kind = AutoModelForZeroShotImageClassification
        pipe, digest = _pipe("zero-shot-image-classification", kind, location, revision)
        words = {label.replace("_", " "): label for label in labels}
        options: dict[str, Any] = {"candidate_labels": [*words]}
    else:
        pipe, digest = _pipe("image-classification", AutoModelForImageClassification, location, revision)
        words, options = {}, {"top_k": config.num_labels}

    def look(images: Sequence[Image.Image]) -> list[dict[str, float]]:
        return [
            {words.get(one["label"], one["label"]): one["score"] for one in each} for each in pipe([*images], **options)
        ]

    return look, digest


def fake_scorer(location: str, revision: str | None, named: Sequence[str] = ()) -> tuple[Look, str, list[str]]:
    """As `detector`, for a function that scores how fake a picture is: the sum of what an image classifier says for its
    labels that mean fake, and these labels: those `named`, or those that `fakes` tells.
    """
    pipe, digest = _pipe("image-classification", AutoModelForImageClassification, location, revision)
    labels = [*pipe.model.config.id2label.values()]
    if lost := {*named} - {*labels}:
        raise ValueError(f"has no label {min(lost)}: {', '.join(labels[:5])}")
    chosen = [*named] or fakes(labels)

    def look(images: Sequence[Image.Image]) -> list[float]:
        return [
            sum(one["score"] for one in each if one["label"] in chosen) for each in pipe([*images], top_k=len(labels))
        ]

    return look, digest, chosen


def fakes(labels: Sequence[str]) -> list[str]:
    """Return those of a classifier's labels that mean fake. Raises ValueError unless words tell it of every label.

    >>> fakes(["Realism", "Deepfake"]), fakes(["ai_generated", "not-ai"]), fakes(["artificial", "human"])
    (['Deepfake'], ['ai_generated'], ['artificial'])
    """
    sides = {label: _is_fake(label) for label in labels}
    if {*sides.values()} != {True, False}:
        unclear = [label for label, side in sides.items() if side is None] or labels
        raise ValueError(f"which label means fake cannot be told from {', '.join(unclear[:5])}: say --fake-label NAME")
    return [label for label, side in sides.items() if side]


def _is_fake(label: str) -> bool | None:
    """Return what a label's words say, None where they say nothing, or both."""
    words = {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", label)}
    fake, real = bool(words & FAKE), bool(words & REAL)
    return None if fake == real else fake != bool(words & NOT)


def _pipe(task: str, kind: Any, location: str, revision: str | None) -> tuple[Any, str]:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    where = {**SAFE, **_at(revision)}
    model = whole(kind, location, use_safetensors=True, **where).eval()
    parts = {"image_processor": AutoImageProcessor.from_pretrained(location, **where)}
    if task.startswith("zero-shot"):
        parts["tokenizer"] = AutoTokenizer.from_pretrained(location, **where)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    make: Any = pipeline  # its signature knows every task by itself alone
    return make(task, model=model, device=device, **parts), _digest(location, model)


def _at(revision: str | None) -> dict[str, str]:
    return {"revision": revision} if revision else {}


def _digest(location: str, model: Any) -> str:
    """Return the commit of a model on the Hub, or what a folder's files of weights are."""
    files = sorted(Path(location).glob("*.safetensors"))
    if not files:
        return str(model.config._commit_hash)
    return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()
