"""Pictures that cost what photographs cost: 512×512, a photo's spectrum and grain, and builds made of them."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from builder.checks.suite import Outcome
from builder.models.identity import Source
from builder.plan.plan import Plan
from builder.raw.build import RawBuild
from builder.raw.recipe import BuildRecipe, Settings
from builder.raw.shard_writer import ShardWriter
from builder.spec import table

SIDE = 512
SOURCE = Source("preview", "stand-in", "preview", "none")
SHARD = 64


def photo(seed: int, side: int = SIDE) -> Image.Image:
    """Noise with a photo's spectrum (amplitude 1/f^1.5, mostly grey), and a little grain."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(4, side, side))) / frequency**1.5)
    light, colour = noise[:1], noise[1:]
    pixels = 128 + 50 * light / light.std() + 15 * colour / colour.std() + rng.normal(size=(3, side, side))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


@functools.cache
def some_photos(count: int = 16) -> list[np.ndarray]:
    """The pixels of a few photos."""
    return [np.asarray(photo(seed)) for seed in range(count)]


def shifted_photo(seed: int) -> Image.Image:
    """One of a few photos, moved around its edges by the seed: cheap, and no two alike."""
    down, right = seed // 16 % SIDE, seed // 16 // SIDE % SIDE
    return Image.fromarray(np.roll(some_photos()[seed % 16], (down, right), axis=(0, 1)))


def raw_build(folder: Path, pictures: int) -> Plan:
    """A raw build of photo-like pictures, by the real plan and shards; only the model is left out."""
    spec, toml = table.load(), table.DEFAULT.read_text(encoding="utf-8")
    plan = Plan(spec, limit=pictures, shard_size=SHARD)
    raw = RawBuild.begin(folder, BuildRecipe.of(spec, SOURCE, toml, Settings("png", SHARD)))
    raw.note_asked(plan)
    for shard in plan.shards:
        with raw.writer(plan, shard) as writer:
            with ThreadPoolExecutor() as pool:
                rows = list(pool.map(partial(_write, writer), writer.pending(plan.asked(shard))))
            writer.commit(rows, [])
            writer.finish(fingerprint=raw.fingerprint, versions={}, finished="")
    raw.note_searched(raw.finished())
    return plan


def _write(writer: ShardWriter, attempt) -> dict:
    return writer.write_picture(attempt, shifted_photo(attempt.seed), None, Outcome().checks)
