"""Models that read labels from pictures: image classifiers, and CLIP or SigLIP told by descriptions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification, AutoTokenizer

from builder.common.errors import UserError
from builder.models.acceleration import accelerator, one_by_one
from builder.models.weights import whole


class Reader(Protocol):
    """`read` gives for every picture and label a score from 0 to 1, (pictures, labels); `labels` names the columns."""

    labels: list[str]

    def read(self, images: list[Image.Image]) -> np.ndarray: ...


Descriptions = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
"""Label → descriptions of pictures with it, and of pictures without it."""


def load(location: str, revision: str | None, descriptions: Descriptions, device: torch.device) -> Reader:
    """The reader that a model folder or Hub model is: a classifier with its own labels, or one told by descriptions.

    Safetensors only, no code of the repository is run. Raises ValueError for a model that is neither, and whatever
    transformers raises for one that cannot be read.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    where = {"trust_remote_code": False, **({"revision": revision} if revision else {})}
    config = AutoConfig.from_pretrained(location, **where)
    kinds = config.architectures or []
    if any(kind.endswith("ForImageClassification") for kind in kinds):
        return Classifier(location, where, device)
    if hasattr(config, "text_config") and hasattr(config, "vision_config"):
        return ZeroShot(location, where, descriptions, device)
    raise ValueError(f"neither a CLIP or SigLIP model nor an image classifier: {', '.join(kinds) or config.model_type}")


class _Model(ABC):
    """A model on its device, with the processor that came with it."""

    def __init__(self, kind: Any, location: str, where: dict, device: torch.device):
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        options = {"dtype": dtype, "use_safetensors": True, **where}
        self.model = whole(kind, location, **options).eval().requires_grad_(False).to(device)
        # Pillow's way, whatever else is installed: torchvision resizes to other numbers.
        self.processor = AutoImageProcessor.from_pretrained(location, backend="pil", **where)
        self.device, self.dtype, self.accelerator = device, dtype, accelerator(device)

    def read(self, images: list[Image.Image]) -> np.ndarray:
        """Scores, (pictures, labels), of at least one picture. Raises UserError where the memory does not suffice."""
        return np.stack(one_by_one(self.accelerator, "the attribute check", self._read, images))

    @abstractmethod
    def _read(self, images: list[Image.Image]) -> np.ndarray:
        """Return the scores of pictures that are shown to the model all at once."""

    def pixels(self, images: list[Image.Image]) -> torch.Tensor:
        """Return the pictures as the model wants them."""
        prepared = self.processor([image.convert("RGB") for image in images], return_tensors="pt").pixel_values
        return prepared.to(self.device, self.dtype)


class Classifier(_Model):
    """A multi-label image classifier; labels and their order are its own."""

    def __init__(self, location: str, where: dict, device: torch.device):
        super().__init__(AutoModelForImageClassification, location, where, device)
        config = self.model.config
        self.labels = [config.id2label[n] for n in range(config.num_labels)]

    @torch.inference_mode()
    def _read(self, images: list[Image.Image]) -> np.ndarray:
        return _scores(self.model(self.pixels(images)).logits.float())


class ZeroShot(_Model):
    """CLIP or SigLIP: how much nearer a picture is to a label's descriptions than to the opposite ones.

    The score is the sigmoid of the mean cosine similarity to the former less that to the latter, times the model's own
    scale: for CLIP the probability that it gives to the first of two classes.
    Source: Radford et al., Learning transferable visual models from natural language supervision, 2021.
    """

    def __init__(self, location: str, where: dict, descriptions: Descriptions, device: torch.device):
        super().__init__(AutoModel, location, where, device)
        self.tokenizer = AutoTokenizer.from_pretrained(location, **where)
        self.labels = list(descriptions)
        self.directions = torch.stack([self._mean(yes) - self._mean(no) for yes, no in descriptions.values()])

    @torch.inference_mode()
    def _read(self, images: list[Image.Image]) -> np.ndarray:
        seen = _embedding(self.model.get_image_features(pixel_values=self.pixels(images)))
        return _scores(self.model.logit_scale.float().exp() * seen @ self.directions.T)

    @torch.inference_mode()
    def _mean(self, texts: tuple[str, ...]) -> torch.Tensor:
        """Return the mean of some texts' embeddings, each of length 1."""
        most = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            list(texts), padding="max_length", max_length=most, truncation=True, return_tensors="pt"
        )
        given = {key: tokens[key].to(self.device) for key in ("input_ids", "attention_mask") if key in tokens}
        return _embedding(self.model.get_text_features(**given)).mean(dim=0)


def _scores(logits: torch.Tensor) -> np.ndarray:
    """Logits as scores from 0 to 1. Raises UserError for numbers that are none: nothing must pass by them."""
    if not logits.isfinite().all():
        raise UserError("attribute check: its model gives numbers that are not finite; is it meant for half precision?")
    return logits.sigmoid().cpu().numpy()


def _embedding(output: Any) -> torch.Tensor:
    """What a model returns for features, by length 1, float32: (batch, width)."""
    features = getattr(output, "pooler_output", output)
    return torch.nn.functional.normalize(features.float(), dim=-1)
