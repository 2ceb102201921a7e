"""What the training learns of labels: to read them in words, and, apart from that, in faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from builder.spec.spec import Spec
from drawn_faces.drawing.truth import LABELS, truth
from drawn_faces.training import networks
from drawn_faces.training.captions import Caption, random_caption
from drawn_faces.training.drawings import Drawings, batches, random_look
from drawn_faces.training.loop import Stage, fit

SPOILED = 0.08
"""Share of the verifier's pictures that do not show one whole face."""


class Reader(torch.nn.Module):
    """The text tower with heads that must read every label from its last hidden states; the heads are thrown away."""

    def __init__(self, encoder: CLIPTextModel, kinds: dict[str, int]):
        super().__init__()
        self.encoder = encoder
        self.heads = torch.nn.ModuleDict({name: torch.nn.Linear(networks.WIDTH, size) for name, size in kinds.items()})

    def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        pooled = self.encoder(ids).last_hidden_state.mean(dim=1)
        return {name: head(pooled) for name, head in self.heads.items()}


def read_words(spec: Spec, folder: Path, stage: Stage, words: CLIPTokenizer, device: torch.device) -> CLIPTextModel:
    """Train the text tower on captions, to tell feature, sex, ethnicity, age group and phrase; then it is frozen."""
    phrases = sorted(
        {phrase for feature in spec.features for sex in feature.phrases for phrase in feature.phrases[sex]}
    )
    names = {
        "feature": [feature.name for feature in spec.features],
        "sex": spec.labels["sex"],
        "ethnicity": list(spec.ethnicities),
        "age_group": list(spec.age_groups),
        "phrase": phrases,
    }
    model = Reader(networks.text_encoder(words), {name: len(values) for name, values in names.items()}).to(device)

    def endless(step: int) -> Iterator[tuple[torch.Tensor, list[Caption]]]:
        rng = np.random.default_rng([0, step])
        while True:
            captions = [random_caption(spec, rng) for _ in range(stage.batch_size)]
            texts = [caption.prompt for caption in captions]
            ids = words(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
            yield ids.to(device), captions

    def loss_of(model: Reader, batch) -> torch.Tensor:
        ids, captions = batch
        found, loss = model(ids), 0
        for name, values in names.items():
            wanted = [spec.age_group(c.age) if name == "age_group" else getattr(c, name) for c in captions]
            target = torch.tensor([values.index(value) for value in wanted], device=device)
            loss = loss + F.cross_entropy(found[name], target)
        return loss

    trained = fit(stage, folder, model, endless, loss_of)
    return trained.encoder.requires_grad_(False).eval()


def read_faces(spec: Spec, folder: Path, stage: Stage, device: torch.device, workers: int):
    """Train the verifier: for each picture every label that is known to be there or not, rare ones weighted up."""
    rarity = _rarity(spec).to(device)
    model = networks.verifier(LABELS).to(device, memory_format=torch.channels_last)

    def endless(step: int) -> Iterator:
        return batches(Drawings(spec, 128, "verifier", 0.25, step, SPOILED), stage.batch_size, workers)

    def loss_of(model, batch) -> torch.Tensor:
        pictures, answers = batch[0], batch[2].to(device)
        known = ~answers.isnan()
        pictures = _disturbed(pictures).to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            found = model(pictures).logits.float()
        weight = torch.where(answers == 1, rarity, 1.0) * known
        loss = F.binary_cross_entropy_with_logits(found, answers.nan_to_num(), reduction="none")
        return (loss * weight).sum() / weight.sum()

    return fit(stage, folder, model, endless, loss_of).eval()


def _rarity(spec: Spec) -> torch.Tensor:
    """How many times as many pictures are without a label as with it, at most 6: weights of those with it."""
    rng = np.random.default_rng(0)
    answers = torch.from_numpy(np.stack([truth(random_look(spec, rng, 0.25)[0]) for _ in range(2000)]))
    return ((answers == 0).sum(0) / (answers == 1).sum(0)).clamp(1, 6)


def _disturbed(pictures: torch.Tensor) -> torch.Tensor:
    """A little noise, softness and brightness, so that the verifier does not lean on how cleanly a face is drawn."""
    count = len(pictures)
    soft = F.interpolate(F.avg_pool2d(pictures, 2), scale_factor=2, mode="bilinear")
    mix = torch.rand(count, 1, 1, 1) * (torch.rand(count, 1, 1, 1) < 0.5)
    pictures = pictures + mix * (soft - pictures)
    return pictures * (0.9 + 0.2 * torch.rand(count, 1, 1, 1)) + 0.06 * torch.rand(count, 1, 1, 1) * torch.randn_like(
        pictures
    )
