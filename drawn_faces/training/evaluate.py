"""How far the preview model obeys: `python -m drawn_faces.training.evaluate`, a table with a row for every feature.

A picture agrees when the verifier, which was trained apart from the model, reads the feature that was asked for. Beside
it stands how well the verifier itself reads drawings it has never seen, whose labels are known for certain; and how
different the pictures of one prompt are, compared with drawings of the same person.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from tqdm import tqdm

from builder import preview
from builder.common import cli
from builder.common.intervals import wilson
from builder.models import loading
from builder.models import source as models_source
from builder.plan.plan import Plan
from builder.plan.sample import Attempt, Sample
from builder.spec import table
from builder.spec.spec import Spec
from drawn_faces.drawing.draw import draw, labels_of, render
from drawn_faces.drawing.truth import AGES, FEATURES, NATURAL, ONE_FACE, truth
from drawn_faces.training.drawings import NO_FACE, random_look, spoil
from drawn_faces.training.drawings import SEEDS as USES
from drawn_faces.training.readers import SPOILED
from drawn_faces.training.verifier import Verifier

BATCH = 4
DISOBEDIENT = 0.25
"""Share of held-out drawings that do not show what was asked for."""
SEEDS = 6
"""Pictures of one prompt."""
OFTEN_THERE = {*AGES, *NATURAL}
"""Labels that a picture may bear without having been asked for them."""


def agreement(
    model: Annotated[str, typer.Option(metavar="FOLDER", help="diffusers folder, or preview")] = preview.NAME,
    verifier: Annotated[Path, typer.Option(metavar="FOLDER", help="transformers folder")] = preview.VERIFIER,
    each: Annotated[int, typer.Option(metavar="N", parser=cli.whole(1), help="generated pictures a feature")] = 40,
    drawings: Annotated[
        int, typer.Option("--drawn", metavar="N", parser=cli.whole(1), help="held-out drawings")
    ] = 1000,
) -> None:
    """Read the preview model's pictures with the verifier: how often a feature is there that was asked for."""
    models_source.resolve_reader(str(verifier), "main")
    reader = Verifier(verifier)
    generated = Generated(model)
    readings = drawn(generated.spec, reader, drawings)
    lines = table_lines(reader.labels, readings, generated.features(reader, each))
    for line in itertools.chain(lines, generated.spread(reader)):
        print(line)


PROGRAM = "python -m drawn_faces.training.evaluate"
COMMAND = cli.Command(agreement, [f"{PROGRAM} --each 8 --drawn 200"], program=PROGRAM)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


@dataclass(frozen=True)
class Reading:
    """Per label: how many pictures show it and how many of these the verifier found; the same for those without."""

    shown: np.ndarray
    found: np.ndarray
    absent: np.ndarray
    wrong: np.ndarray

    @classmethod
    def of(cls, truths: np.ndarray, scores: np.ndarray) -> Reading:
        """Count; what is NaN in `truths` (pictures, labels) is not known and not counted."""
        yes = scores >= 0.5
        return cls(*(part.sum(axis=0) for part in (truths == 1, yes & (truths == 1), truths == 0, yes & (truths == 0))))

    @property
    def accuracy(self) -> np.ndarray:
        """Balanced: the mean of the share found where shown, and the share not found where absent; NaN if none is."""
        with np.errstate(invalid="ignore"):
            return (self.found / self.shown + 1 - self.wrong / self.absent) / 2


def drawn(spec: Spec, verifier: Verifier, count: int) -> Reading:
    """The verifier on drawings that no training has seen, drawn large and read as generated pictures are."""
    rng = np.random.default_rng(USES["held out"])
    truths, scores = [], []
    for _ in tqdm(range(count), desc="drawings", unit="picture"):
        look, _ = random_look(spec, rng, DISOBEDIENT)
        picture, known = render(look, 512), truth(look)
        if rng.random() < SPOILED:
            picture, known = spoil(spec, picture, rng), NO_FACE
        truths.append(known)
        scores.append(verifier.read([picture])[0])
    return Reading.of(np.array(truths), np.array(scores))


class Generated:
    """Pictures by the model, through the builder's own plan and pipeline."""

    def __init__(self, model: str):
        self.spec = preview.fitted(table.load())
        self.plan = Plan(self.spec)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        source = dataclasses.replace(models_source.resolve(model, "main"), kind="preview")  # drawings need no checker
        self.pipe = loading.load(source, self.spec.recipe, device)

    def features(self, verifier: Verifier, each: int) -> Reading:
        """The verifier on `each` pictures a feature: what was asked for counts as shown, what was not as absent."""
        attempts = [self.plan.attempt(sample, 0) for name in FEATURES for sample in self._samples(name, each)]
        scores = np.concatenate(list(self._make(attempts, verifier.read)))
        return Reading.of(np.array([asked(a.sample, verifier.labels) for a in attempts]), scores)

    def spread(self, verifier: Verifier) -> Iterator[str]:
        """How far apart the seeds of one prompt are, as a share of how far apart drawings of the same labels are."""
        samples = [self._samples(name, 1)[0] for name in FEATURES]
        attempts = [self.plan.attempt(sample, number) for sample in samples for number in range(SEEDS)]
        images = [image for batch in self._make(attempts, list) for image in batch]
        drawings = [draw(labels_of(attempt.sample), attempt.seed % 2**31) for attempt in attempts]
        for what, view in (("pixels", _pixels), ("the verifier's features", verifier.features)):
            own, other = _distance(view(images)), _distance(view(drawings))
            yield f"seeds of one prompt differ by {own / other:.2f} of what drawings of its labels do ({what})"

    def _samples(self, feature: str, count: int) -> list:
        cells = [cell for cell in self.plan.cells if cell.feature.name == feature]
        return [self.plan.at(cells[n % len(cells)], n // len(cells)) for n in range(count)]

    def _make(self, attempts: list[Attempt], then: Callable) -> Iterator:
        with tqdm(total=len(attempts), desc="pictures", unit="picture") as bar:
            for start in range(0, len(attempts), BATCH):
                results = list(self.pipe.generate(attempts[start : start + BATCH]))
                yield then([result.image for result in results])
                bar.update(len(results))


def asked(sample: Sample, labels: list[str]) -> list[float]:
    """For every label 1 where it was asked for, NaN where it may be there or not, else 0."""
    wanted = {sample.feature, sample.sex, ONE_FACE}
    free = OFTEN_THERE | ({"base"} if sample.feature in OFTEN_THERE else set())
    return [1.0 if label in wanted else np.nan if label in free else 0.0 for label in labels]


def _pixels(images: list[Image.Image]) -> np.ndarray:
    small = [image.resize((32, 32), Image.Resampling.BOX) for image in images]
    return np.stack([np.asarray(image, dtype=np.float32).ravel() for image in small])


def _distance(points: np.ndarray) -> float:
    """Mean Euclidean distance between the pictures of a prompt, over all prompts; SEEDS rows each."""
    groups = points.reshape(-1, SEEDS, points.shape[1])
    pairs = itertools.combinations(range(SEEDS), 2)
    return float(np.mean([np.linalg.norm(groups[:, a] - groups[:, b], axis=1).mean() for a, b in pairs]))


def table_lines(labels: list[str], drawings: Reading, pictures: Reading) -> Iterator[str]:
    """The table, in Markdown."""
    yield "| feature | verifier on drawings | pictures | agreed | 95% interval | seen unasked |"
    yield "|---|---:|---:|---:|---:|---:|"
    shares = pictures.found / pictures.shown
    for n, label in enumerate(labels):
        low, high = wilson(int(pictures.found[n]), int(pictures.shown[n]))
        unasked = f"{pictures.wrong[n] / pictures.absent[n]:.2f}" if pictures.absent[n] else "-"
        yield (
            f"| {label} | {drawings.accuracy[n]:.2f} | {pictures.shown[n]} | {shares[n]:.2f} | {low:.2f} to {high:.2f} "
            f"| {unasked} |"
        )
    of = [n for n, label in enumerate(labels) if label in FEATURES]
    accuracy, agreed = np.nanmean(drawings.accuracy[of]), shares[of].mean()
    yield f"| mean of the features | {accuracy:.2f} | {pictures.shown[of].sum()} | {agreed:.2f} | | |"


if __name__ == "__main__":
    sys.exit(main())
