"""What each check costs a CPU thread for a picture of 512×512, and how long it takes to find near pairs of hashes.

Models, in the shapes of the preview's verifier and the table's CLIP, have random weights, and are loaded before.
Seconds are those of computing, which other processes do not lengthen.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from harness import Table
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from builder.checks.attribute import AttributeCheck, descriptions
from builder.checks.duplicates import HashCheck, pairs
from builder.checks.face import FaceCheck
from builder.checks.integrity import IntegrityCheck
from builder.models.classifiers import Reader, load
from builder.models.face_detectors import Haar, YuNet
from builder.models.source import resolve_detector
from builder.plan.plan import Plan
from builder.spec import table
from builder.spec.criteria import YUNET
from drawn_faces.drawing.draw import draw, labels_of
from drawn_faces.drawing.truth import LABELS
from drawn_faces.training.networks import save_verifier, verifier
from tests.fixtures import random_weights

SPEC = table.load()
CPU = torch.device("cpu")
BATCH = 4
RADII = (2, 4, 8)
HASHES = (10_000, 30_000, 100_000)
CLIP = "attribute, CLIP ViT-L/14"
CLIP_LAYERS = 24
"""Those of ViT-L/14's picture part."""


def run(scale: float = 1.0) -> Iterator[Table]:
    """Two tables: a row for each check, and one for each number of hashes."""
    torch.set_num_threads(1)
    yield _checks(max(1, round(3 * scale)))
    yield _pairs()


def _checks(repeats: int) -> Table:
    plan = Plan(SPEC, limit=BATCH)
    samples = [sample for shard in plan.shards for sample in plan.asked(shard)]
    images = [draw(labels_of(sample), number) for number, sample in enumerate(samples)]
    criteria = SPEC.checks
    checks = {
        "integrity": IntegrityCheck(criteria.integrity, (512, 512)),
        "face, YuNet": FaceCheck(criteria.face, YuNet(Path(resolve_detector(YUNET, "main").location))),
        "face, Haar": FaceCheck(criteria.face, Haar()),
        "duplicates: the hash": HashCheck(),
        "attribute, the preview's ResNet": AttributeCheck(criteria.attribute, _resnet()),
        CLIP: AttributeCheck(criteria.attribute, _clip()),
    }
    found = Table("Checks: drawn faces of 512×512, one thread", ["check", "ms a picture", "pictures/s"])
    for name, check in checks.items():
        count = 1 if name == CLIP else BATCH  # it takes seconds
        work = partial(check.judge, samples[:count], images[:count])
        work()
        spent = min(_computing(work) for _ in range(repeats))
        found.add(name, 1000 * spent / count, count / spent)
    return found


def _pairs() -> Table:
    columns = ["hashes", *(f"radius {radius}" for radius in RADII)]
    found = Table("Duplicates: all near pairs of random hashes, seconds", columns)
    for count in HASHES:
        hashes = np.random.default_rng(0).integers(0, 2**64, count, dtype=np.uint64)
        found.add(count, *(_computing(lambda h=hashes, r=radius: pairs(h, r)) for radius in RADII))
    return found


def _resnet() -> Reader:
    with tempfile.TemporaryDirectory() as folder:
        save_verifier(verifier(LABELS), folder)
        return load(folder, None, descriptions(SPEC), CPU)


def _clip() -> Reader:
    words = random_weights._tokenizer()
    text = {"eos_token_id": words.eos_token_id, "num_hidden_layers": 1}  # it reads only while loading
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "patch_size": 14}
    vision["num_hidden_layers"] = CLIP_LAYERS
    with tempfile.TemporaryDirectory() as folder:
        for part in (CLIPModel(CLIPConfig(text_config=text, vision_config=vision)), CLIPImageProcessor(), words):
            part.save_pretrained(folder)
        return load(folder, None, descriptions(SPEC), CPU)


def _computing(work: Callable[[], object]) -> float:
    """Seconds of CPU time."""
    started = time.process_time()
    work()
    return time.process_time() - started
