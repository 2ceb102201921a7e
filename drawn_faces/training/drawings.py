"""Endless drawings with their captions, made by worker processes; and latents of many drawings, kept in a file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from builder.spec.spec import Spec
from drawn_faces.drawing.draw import Labels, look_of, render
from drawn_faces.drawing.person import Look
from drawn_faces.drawing.truth import LABELS, ONE_FACE, truth
from drawn_faces.training.captions import Caption, random_caption

SEEDS = {
    name: number
    for number, name in enumerate(
        ("verifier", "tiny", "low", "latents", "encoder", "decoder", "held out", "faces"), start=1
    )
}
"""Each use draws its own pictures: no stage sees another's."""

NO_FACE = np.array([0 if label == ONE_FACE else np.nan for label in LABELS], dtype=np.float32)
"""What is known of a spoiled picture."""


class Drawings(IterableDataset):
    """(picture, uint8 (3, size, size); caption; truth; the face's centre as shares of width and height) without end.

    The share `disobedience` does not show what its caption asks for, and the share `spoiled` not one whole face.
    """

    def __init__(
        self, spec: Spec, size: int, use: str, disobedience: float = 0.0, start: int = 0, spoiled: float = 0.0
    ):
        self.spec = spec
        self.size = size
        self.use = use
        self.disobedience = disobedience
        self.start = start
        self.spoiled = spoiled

    def __iter__(self) -> Iterator[tuple[torch.Tensor, Caption, np.ndarray, tuple[float, float]]]:
        worker = get_worker_info()
        rng = np.random.default_rng([SEEDS[self.use], self.start, worker.id if worker else 0])
        while True:
            look, caption = random_look(self.spec, rng, self.disobedience)
            picture, known = render(look, self.size), truth(look)
            if self.spoiled and rng.random() < self.spoiled:
                picture, known = spoil(self.spec, picture, rng), NO_FACE
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
            yield pixels, caption, known, (look.x, look.y + 0.15 * look.scale)


def random_look(spec: Spec, rng: np.random.Generator, disobedience: float) -> tuple[Look, Caption]:
    """Someone to draw, and what was asked for; with the chance `disobedience` the feature is not shown."""
    caption = random_caption(spec, rng)
    labels = Labels(caption.feature, caption.sex, caption.ethnicity, caption.age, caption.phrase)
    return look_of(labels, int(rng.integers(2**31)), obey=bool(rng.random() >= disobedience)), caption


def spoil(spec: Spec, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A picture without exactly one whole face: two faces, the parts of one in disorder, or none."""
    return (_doubled, _shuffled, _emptied)[rng.integers(3)](spec, picture, rng)


def _doubled(spec: Spec, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    half = picture.width // 2
    other = render(random_look(spec, rng, 0)[0], picture.width)
    both = picture.copy()
    for place, face in enumerate((picture, other)):
        both.paste(face.resize((half, picture.height)), (place * half, 0))
    return both


def _shuffled(spec: Spec, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    cells = int(rng.integers(3, 7))
    side = picture.width // cells
    places = [(x * side, y * side, (x + 1) * side, (y + 1) * side) for y in range(cells) for x in range(cells)]
    mixed = picture.copy()
    for place, part in zip(places, rng.permutation(len(places))):
        mixed.paste(picture.crop(places[part]), place)
    return mixed


def _emptied(spec: Spec, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    corner = picture.width // 5
    return picture.crop((0, 0, corner, corner)).resize(picture.size, Image.Resampling.BICUBIC)


def batches(
    drawings: Drawings, batch_size: int, workers: int
) -> Iterator[tuple[torch.Tensor, list[Caption], torch.Tensor, torch.Tensor]]:
    """Batches: pictures as floats from -1 to 1, (batch, 3, size, size); captions; truths, (batch, labels); centres,
    (batch, 2).
    """
    loader = DataLoader(
        drawings,
        batch_size,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_polite,
        persistent_workers=workers > 0,
    )
    for pictures, *others in loader:
        yield pictures.float() / 127.5 - 1, *others


def _polite(worker: int) -> None:
    """Drawing gives way to training: threads that compute together wait for the one that is kept from its core."""
    os.nice(10)


def _collate(items: list) -> tuple[torch.Tensor, list[Caption], torch.Tensor, torch.Tensor]:
    pictures, captions, truths, centres = zip(*items)
    return torch.stack(pictures), list(captions), torch.from_numpy(np.stack(truths)), torch.tensor(centres)


class LatentFile:
    """Latents as float16, their captions and faces' centres, appended to while they are made.

    Where the writing was stopped, the first rows that are whole in both files are kept, and what follows is cut off.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int]):
        self.shape = shape
        folder.mkdir(parents=True, exist_ok=True)
        self.values, self.captions = folder / "latents.f16", folder / "captions.jsonl"
        size = 2 * math.prod(shape)
        lines = self.captions.read_bytes().splitlines(keepends=True) if self.captions.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        values = self.values.stat().st_size // size if self.values.exists() else 0
        self.count = min(len(whole), values)
        for path, kept in ((self.values, self.count * size), (self.captions, sum(map(len, whole[: self.count])))):
            with open(path, "ab") as file:
                file.truncate(kept)

    def append(self, latents: torch.Tensor, captions: list[Caption], centres: torch.Tensor) -> None:
        """Add a batch, (batch, *shape); centres are shares of the pictures' width and height, (batch, 2)."""
        with open(self.values, "ab") as file:
            file.write(latents.half().cpu().numpy().tobytes())
        with open(self.captions, "a", encoding="utf-8") as file:
            for caption, centre in zip(captions, centres.tolist(), strict=True):
                file.write(json.dumps({**asdict(caption), "centre": centre}) + "\n")
        self.count += len(captions)

    def read(self) -> tuple[torch.Tensor, list[Caption], torch.Tensor]:
        """All latents, float16 (count, *shape), their captions, and the faces' centres, (count, 2)."""
        rows = [json.loads(line) for line in self.captions.read_text(encoding="utf-8").splitlines()]
        latents = torch.from_numpy(np.fromfile(self.values, dtype=np.float16)).view(-1, *self.shape)
        centres = torch.tensor([row.pop("centre") for row in rows])
        return latents, [Caption(**row) for row in rows], centres
