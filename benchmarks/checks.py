"""What each check costs: milliseconds for a picture of 512×512 on one CPU thread, and the near pairs of many hashes.

    python benchmarks/checks.py                     # --without-clip needs no gigabyte of memory
    python benchmarks/checks.py --pictures FOLDER   # on pictures of your own, else on drawn faces

Models have random weights in the shapes of real ones, the preview's verifier and CLIP ViT-B/32; loading does not count.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from hundred_thousand import ROOT
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, ConvNextImageProcessor
from transformers.utils import logging

from builder import table
from builder.checks.attribute import AttributeCheck, descriptions
from builder.checks.duplicates import HashCheck, pairs
from builder.checks.face import FaceCheck, Haar
from builder.checks.integrity import IntegrityCheck
from builder.checks.readers import load
from builder.plan import Plan
from builder.preview.draw import draw, labels_of
from builder.preview.nets import verifier
from builder.preview.truth import LABELS

SPEC = table.load()
CPU = torch.device("cpu")
BATCH = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="folder of pictures to check")
    parser.add_argument("--repeats", type=int, default=5, help="times each batch of pictures is checked (default: 5)")
    parser.add_argument("--without-clip", action="store_true", help="leave the largest model out")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    plan = Plan(SPEC, limit=BATCH)
    samples = [sample for shard in plan.shards for sample in plan.asked(shard)]
    images = own(arguments.pictures) if arguments.pictures else [draw(labels_of(s), n) for n, s in enumerate(samples)]
    print(f"{'check':<36}{'ms a picture':>13}{'pictures/s':>12}")
    for name, make in checks(arguments.without_clip).items():
        check = make()
        check.judge(samples, images)
        spent = min(timed(lambda check=check: check.judge(samples, images)) for _ in range(arguments.repeats))
        print(f"{name:<36}{1000 * spent / BATCH:>13.1f}{BATCH / spent:>12.1f}", flush=True)
    print(f"\n{'random hashes':<18}" + "".join(f"{f'radius {radius}':>12}" for radius in radii()))
    for count in (10_000, 30_000, 100_000):
        hashes = np.random.default_rng(0).integers(0, 2**64, count, dtype=np.uint64)
        spent = [statistics.median(timed(lambda r=r, h=hashes: pairs(h, r)) for _ in range(3)) for r in radii()]
        print(f"{count:<18,}" + "".join(f"{seconds:>10.2f} s" for seconds in spent), flush=True)


def own(folder):
    """The first pictures of a folder, as often as it takes to fill a batch."""
    found = [Image.open(path).convert("RGB").resize((512, 512)) for path in sorted(folder.glob("*.*"))[:BATCH]]
    return [found[n % len(found)] for n in range(BATCH)]


def checks(without_clip):
    """Every check by name, with its model when it is called for."""
    criteria = SPEC.checks
    found = {
        "integrity": lambda: IntegrityCheck(criteria.integrity, (512, 512)),
        "face, Haar": lambda: FaceCheck(criteria.face, Haar()),
        "hash": HashCheck,
        "attribute, the preview's ResNet": lambda: AttributeCheck(criteria.attribute, resnet()),
    }
    if not without_clip:
        found["attribute, CLIP ViT-B/32"] = lambda: AttributeCheck(criteria.attribute, clip())
    return found


def radii():
    """The default radii: with the larger one pairs are looked for."""
    return SPEC.checks.duplicates.radius, SPEC.checks.duplicates.radius_in_cell


def resnet():
    return saved(verifier(LABELS), ConvNextImageProcessor(size={"shortest_edge": 128}, crop_pct=1.0))


def clip():
    sys.path.append(str(ROOT / "tests"))
    from random_weights import _tokenizer

    words = _tokenizer()
    text = {"eos_token_id": words.eos_token_id}
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "patch_size": 32}
    return saved(CLIPModel(CLIPConfig(text_config=text, vision_config=vision)), CLIPImageProcessor(), words)


def saved(*parts):
    """The reader that a folder with a model, its processor and its tokenizer is."""
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            part.save_pretrained(folder)
        return load(folder, None, descriptions(SPEC), CPU)


def timed(work):
    """Seconds of CPU time, which other processes do not lengthen."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
