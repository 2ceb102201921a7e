"""Train the preview model: `python -m drawn_faces.training.train`. It can be stopped and goes on where it was.

Stages, each with its checkpoint and log in the output folder: the text tower; an autoencoder for 64, then for 128
pixels, then mostly for faces, and latents from it; the verifier; an encoder and a decoder for 512 pixels with the same
latents; the UNet. Runs on a GPU where there is one, else on the CPU.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from transformers import CLIPTokenizer

from builder import preview
from builder.common import cli
from builder.common.errors import UserError
from builder.dataset import contact_sheets
from builder.models import loading
from builder.models import source as models_source
from builder.plan.plan import Plan
from builder.spec import table
from builder.spec.spec import Spec
from drawn_faces.training import autoencoder, denoiser, networks, readers
from drawn_faces.training.captions import random_caption
from drawn_faces.training.loop import Stage

STAGES = {
    "text": Stage("text", samples=200_000, batch_size=256, rate=2e-3, average=0.99),
    "tiny": Stage("tiny", samples=16_000, batch_size=16, rate=2e-3, average=0.995),
    "low": Stage("low", samples=40_000, batch_size=8, rate=1.5e-3, average=0.995),
    "faces": Stage("faces", samples=120_000, batch_size=8, rate=1.2e-3, average=0.995),
    "latents": Stage("latents", samples=40_000, batch_size=64, rate=0),
    "verifier": Stage("verifier", samples=120_000, batch_size=64, rate=2e-3, average=0.995),
    "encoder": Stage("encoder", samples=1_600, batch_size=8, rate=1e-3, average=0.98),
    "decoder": Stage("decoder", samples=16_000, batch_size=4, rate=1e-3, average=0.99),
    "unet": Stage("unet", samples=360_000, batch_size=16, rate=1e-3, average=0.999),
}
UNDRAWN = ("text", "unet")
"""Stages that need no pictures, and so have all cores; the others leave one to every process that draws."""


def train(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="checkpoints, logs and the model")] = Path(
        "preview-training"
    ),
    share: Annotated[float, typer.Option(metavar="N", help="share of every stage's samples")] = 1.0,
    workers: Annotated[int, typer.Option(metavar="N", parser=cli.whole(0, 1000), help="processes that draw")] = max(
        1, (os.cpu_count() or 2) - 1
    ),
    last: Annotated[str, typer.Option(metavar="STAGE", help="stage after which to stop")] = "unet",
) -> None:
    """Train the preview model and its verifier on drawn faces, and save them in the form that diffusers reads."""
    if not 0 < share <= 100:
        raise UserError(f"--share must be a number above 0 and at most 100, got {share}")
    if last not in STAGES:
        raise UserError(f"--last must be one of {', '.join(STAGES)}, got {last}")
    Training(out, share, workers).run(last)


PROGRAM = "python -m drawn_faces.training.train"
COMMAND = cli.Command(
    train,
    [f"{PROGRAM} --out preview-training --share 0.01"],
    stopped="stopped; run it again to go on",
    program=PROGRAM,
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


class Training:
    """All stages in order; each is loaded from its checkpoint where it is done."""

    def __init__(self, out: Path, share: float, workers: int):
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.share, self.workers = out, share, workers
        self.spec: Spec = table.load()
        self.done: dict[str, object] = {}
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(0)

    def stage(self, name: str) -> Stage:
        stage = STAGES[name]
        return dataclasses.replace(stage, samples=max(int(stage.samples * self.share), 2 * stage.batch_size))

    def run(self, last: str) -> None:
        """Run all stages up to the last wanted one; those that are done are only loaded."""
        cores = os.cpu_count() or 1
        for name in STAGES:
            torch.set_num_threads(cores if name in UNDRAWN else max(cores - self.workers, 1))
            self.done[name] = getattr(self, name)(self.stage(name))
            if name == last:
                return

    def text(self, stage: Stage):
        self.tokenizer = self.words()
        return readers.read_words(self.spec, self.out, stage, self.tokenizer, self.device)

    def tiny(self, stage: Stage):
        return autoencoder.compress(self.spec, self.out, stage, networks.TINY_CHANNELS, None, self.device, self.workers)

    def low(self, stage: Stage):
        tiny = self.done["tiny"]
        return autoencoder.compress(self.spec, self.out, stage, networks.LOW_CHANNELS, tiny, self.device, self.workers)

    def faces(self, stage: Stage):
        low = self.done["low"]
        return autoencoder.compress(
            self.spec, self.out, stage, networks.LOW_CHANNELS, low, self.device, self.workers, autoencoder.FOCUS
        )

    def latents(self, stage: Stage):
        return autoencoder.keep_latents(self.spec, self.out, stage, self.done["faces"], self.device, self.workers)

    def verifier(self, stage: Stage):
        model = readers.read_faces(self.spec, self.out, stage, self.device, self.workers)
        networks.save_verifier(model, self.out / "weights" / "verifier")

    def encoder(self, stage: Stage):
        small = self.done["faces"]
        vae = autoencoder.enlarged(small, self.device)
        return autoencoder.learn_encoder(self.spec, self.out, stage, vae, small, self.device, self.workers)

    def decoder(self, stage: Stage):
        vae, small = self.done["encoder"], self.done["faces"]
        return autoencoder.learn_decoder(self.spec, self.out, stage, vae, small, self.device, self.workers)

    def unet(self, stage: Stage):
        words, encoder, vae = self.tokenizer, self.done["text"], self.done["decoder"]
        place = self.out / "weights" / "model"

        def save(net) -> None:
            halves = [copy.deepcopy(part).half() for part in (encoder, vae, net)]
            networks.assemble(words, *halves).save_pretrained(place, safe_serialization=True)

        denoiser.denoise(self.out, stage, self.done["latents"], vae, words, encoder, self.device, save)
        pictures(place, self.device).save(self.out / "unet.png")

    def words(self) -> CLIPTokenizer:
        """The tokenizer, made once from many captions and kept."""
        place = self.out / "tokenizer"
        if not place.exists():
            texts = [text for feature in self.spec.features for text in (*feature.positive, *feature.negative)]
            rows = [random_caption(self.spec, np.random.default_rng(n)) for n in range(2000)]
            networks.tokenizer(
                [*texts, *(text for row in rows for text in (row.prompt, row.negative_prompt))]
            ).save_pretrained(place)
        return CLIPTokenizer.from_pretrained(place)


def pictures(model: Path, device: torch.device, each: int = 3) -> Image.Image:
    """A contact sheet of what a saved model makes, a row for every feature, by the builder's own plan and pipeline."""
    plan = Plan(preview.fitted(table.load()))
    source = dataclasses.replace(models_source.resolve(str(model), "main"), kind="preview")  # drawings need no checker
    made = loading.load(source, plan.spec.recipe, device)
    rows = {}
    for cell in plan.cells:
        if cell.feature.name not in rows:
            samples = [plan.at(cell, n) for n in range(each)]
            results = made.generate([plan.attempt(sample, 0) for sample in samples])
            rows[cell.feature.name] = [result.image for result in results if result.image]
    return contact_sheets.contact_sheet(rows, columns=4)


if __name__ == "__main__":
    sys.exit(main())
