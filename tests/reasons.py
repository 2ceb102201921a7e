"""Pictures that must not be kept, each planted as a sample's first try: what the build says of them."""

import contextlib

import numpy as np
import random_weights
import torch
from inside import build, nominal_model
from kill import lines
from photos import crowd, landscape, portrait
from PIL import Image, ImageFilter

from builder import pipeline
from builder.checks import loading
from builder.plan import Result
from builder.spec import Recipe

SIZE = (512, 512)


def static():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))


PLANTED = {
    "black": ("black", lambda: Image.new("RGB", SIZE)),
    "flat": ("flat", lambda: Image.new("RGB", SIZE, (120, 90, 60))),
    "noise": ("noise", static),
    "NaN": ("not finite", None),
    "blurred": ("not sharp", lambda: portrait().filter(ImageFilter.GaussianBlur(6))),
    "two faces": ("several faces", crowd),
    "no face": ("no face", landscape),
    "too small": ("wrong size", lambda: portrait().resize((256, 256))),
    "good": ("", portrait),
}
"""What a first try shows → the reason why it is rejected ("" where it is not), and how it is made."""


class Gallery:
    """Shows what was planted at a sample's first try, a good portrait at the next; NaN comes from a real pipeline."""

    def __init__(self):
        self.pipeline = pipeline.Pipeline(
            random_weights.build(), Recipe(model="preview", steps=1, width=64, height=64), torch.device("cpu")
        )
        forward = self.pipeline.unet.forward
        self.pipeline.unet.forward = lambda *args, **options: _spoiled(forward(*args, **options))
        self.shown = {}

    def generate(self, attempts):
        for attempt in attempts:
            kind = self.shown.setdefault(attempt.sample.id, list(PLANTED)[len(self.shown) % len(PLANTED)])
            kind = kind if attempt.number == 0 else "good"
            if kind == "NaN":
                yield from self.pipeline.generate([attempt])
            else:
                yield Result(attempt, PLANTED[kind][1]())

    def checker_of(self, sample):
        return ""


def _spoiled(output):
    output.sample[:] = float("nan")
    return output


def run(folder, each=1):
    """Build with every kind planted `each` times; returns (kind, reason that was given) for every first try."""
    gallery = Gallery()
    without = ["--model", str(nominal_model(folder)), "--without", "attribute", "--without", "duplicates"]
    few = ["--only", "base", "--limit", str(each * len(PLANTED))]
    with contextlib.chdir(folder):
        build(folder, *few, *without, load=lambda *a, **k: gallery, checks=loading.build)
    first = {row["id"]: "" for row in lines(folder, "metadata.jsonl")}
    first |= {row["id"]: row["reason"] for row in lines(folder, "rejected.jsonl") if row["attempt"] == 0}
    return [(kind, first[id]) for id, kind in gallery.shown.items()]


def table_lines(found):
    """A row for every kind."""
    yield f"{'planted':<12}{'reason':<16}{'times':>6}  given"
    for kind, (reason, _) in PLANTED.items():
        given = [said for of, said in found if of == kind]
        names = ", ".join(sorted({said or "kept" for said in given}))
        yield f"{kind:<12}{reason or 'kept':<16}{len(given):>6}  {names}"


def faults(found):
    """Every picture that was rejected for another reason, or for none."""
    for kind, said in found:
        if said != PLANTED[kind][0]:
            yield f"{kind}: {said or 'kept'}, not {PLANTED[kind][0] or 'kept'}"
