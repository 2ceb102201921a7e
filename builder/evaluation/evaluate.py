"""Evaluate a model on a release: from what it says of pictures to a report."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import agfd30k
from builder.common.errors import UserError
from builder.common.progress import counted
from builder.evaluation import cells, predictions, predictors, statistics, twins
from builder.evaluation.pictures import Pictures, of_folder, of_release
from builder.evaluation.predictions import Identity, Predictions, Store
from builder.evaluation.predictors import Predict, Predictor
from builder.evaluation.report import Document, ModelName, Real, ReleaseName, Report, parquet
from builder.evaluation.slices import Slicing, column
from builder.evaluation.tasks import TASKS, Outcomes, Question
from builder.evaluation.truth import Truth
from builder.evaluation.twins import Effects
from builder.reporting.data import calibration


@dataclass(frozen=True)
class EvaluateConfig:
    """What is evaluated, and how.

    `model` is opencv:yunet, opencv:haar, a transformers model, module:function, or a function on a list of pictures;
    instead of it `predictions` names a file. `by` are the columns that slices are made by, crossed: "feature,sex" or
    ("feature", "sex"); a sequence of such tuples gives several tables. `verified` leaves out pictures that no check
    confirmed. `real` are real pictures of one's own, a folder, or a file of a fake detector's scores of them;
    `fake_label` are a classifier's labels that mean fake. `out` is where predictions are kept, and an interrupted run
    goes on.
    """

    task: str
    model: str | Predict | None = None
    predictions: Path | None = None
    by: str | Sequence[str] | Sequence[Sequence[str]] = ("feature", "sex")
    baseline: str = "base"
    threshold: float | None = None
    label: str | None = None
    split: str | None = None
    verified: bool = True
    real: Path | None = None
    fake_label: str | Sequence[str] = ()
    batch_size: int = 32
    out: Path | None = None
    name: str | None = None

    @property
    def fake_labels(self) -> list[str]:
        labels = self.fake_label.split(",") if isinstance(self.fake_label, str) else self.fake_label
        return [label.strip() for label in labels]

    @property
    def slicings(self) -> list[tuple[str, ...]]:
        """The columns of each table."""
        columns = self.by.split(",") if isinstance(self.by, str) else self.by
        tables = [columns] if all(isinstance(name, str) for name in columns) else columns
        return [*dict.fromkeys(tuple(str(name).strip() for name in table) for table in tables)]


def evaluate(folder: Path, config: EvaluateConfig, name: str = "") -> Report:
    """Return the report of a model on a release folder. Raises UserError for what has to be put right first."""
    question = Question.of(config.task, config.label, config.threshold)
    if (config.model is None) == (config.predictions is None):
        raise UserError("say what is evaluated: either --model or --predictions")
    if config.real and config.task != "fake":
        raise UserError("--real: goes with --task fake")
    release = Truth.of(folder, name)
    chosen = release.chosen(config.split, config.verified)
    TASKS[question.task].require(chosen)
    pictures = chosen.without_twins()
    slicings = [Slicing.of(pictures, by) for by in config.slicings]
    has_twins = twins.applies(question) and len(pictures) < len(chosen)
    found, scores = _predictions(config, release, chosen if has_twins else pictures)
    assert found.identity
    said = [found.values[id] for id in pictures.ids]
    outcomes = TASKS[question.task].outcomes(question, pictures, said)
    real = None if scores is None else _real(scores, question)
    evaluation = _Evaluation(config, question, pictures, said, outcomes, found.identity, slicings)
    return evaluation.report(real, evaluation.effects(chosen, found.values) if has_twins else ())


def _predictions(config: EvaluateConfig, release: Truth, chosen: Truth) -> tuple[Predictions, list[float] | None]:
    """Return what the model says of the chosen pictures, and its scores of real ones where there are some."""
    if config.predictions:
        if config.fake_labels:
            raise UserError("--fake-label: goes with --model")
        scores = _scores(config.real) if config.real else None
        return _read(config.predictions, config.task, release, chosen), scores
    return _looked(config, release, chosen)


def _read(path: Path, task: str, release: Truth, chosen: Truth) -> Predictions:
    """Return what a file says of the chosen pictures, and of which model."""
    twin_ids = [id for id, original in zip(chosen.ids, chosen.strings("twin_of")) if original]
    found = predictions.read(path, task, release.ids, chosen.without_twins().ids, twin_ids)
    ours = Identity(task, path.name, None, release.name, release.digest)
    if found.identity:
        ours = replace(ours, model=found.identity.model, model_digest=found.identity.model_digest)
        if differs := ours.difference(found.identity):
            raise UserError(f"{path}: is of {differs}")
    return Predictions(found.values, ours)


def _scores(path: Path) -> list[float]:
    """Return the scores of real pictures. Raises UserError for a file without scores."""
    if path.is_dir():
        raise UserError(f"--real {path}: a folder of pictures goes with --model; name a file of their scores")
    if not (scores := [*predictions.scores(path)]):
        raise UserError(f"{path}: has no scores")
    return scores


def _looked(config: EvaluateConfig, release: Truth, chosen: Truth) -> tuple[Predictions, list[float] | None]:
    """As _predictions, of a model that looks at them."""
    assert config.model is not None
    is_folder = config.real is not None and config.real.is_dir()
    photographs = of_folder(config.real) if config.real and is_folder else None
    scores = _scores(config.real) if config.real and not is_folder else None
    labels = [name for name in release.labels.get(config.label or "feature", []) if name != agfd30k.TWIN]
    predictor = predictors.load(config.model, config.task, labels, config.fake_labels)
    with contextlib.closing(predictor), _kept(config.out) as out:
        known = _look(predictor, config, out / predictions.FILE, of_release(chosen), release.ids)
        if photographs:
            said = _look(predictor, config, out / predictions.REAL, photographs, photographs.ids).values
            scores = [said[name] for name in photographs.ids]
    return known, scores


@contextlib.contextmanager
def _kept(out: Path | None) -> Iterator[Path]:
    """Give the folder in which predictions are kept, one that goes away where none is named."""
    if out:
        yield out
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def _look(
    predictor: Predictor, config: EvaluateConfig, file: Path, looked_at: Pictures, known: Sequence[str]
) -> Predictions:
    """Return what a model says of pictures; `known` are the ids that the file may hold already."""
    identity = Identity(config.task, predictor.name, predictor.digest, looked_at.place, looked_at.digest)
    store = Store(file, identity, known)
    predictors.run(predictor, config.task, looked_at, store, config.batch_size, is_kept=config.out is not None)
    return Predictions(store.done, identity)


def _real(scores: Sequence[float], question: Question) -> Real:
    """Return how many of the user's real pictures are taken for fake."""
    failures = sum(score >= (question.threshold or 0) for score in scores)
    low, high = statistics.exact(np.float64(failures), np.float64(len(scores)))
    return Real(
        pictures=len(scores), failures=failures, rate=failures / len(scores), interval=(float(low), float(high))
    )


@dataclass(frozen=True)
class _Evaluation:
    """Everything that a report is made of: what was asked of which pictures, what was `said`, and what became of it."""

    config: EvaluateConfig
    question: Question
    truth: Truth
    said: list[Any]
    outcomes: Outcomes
    identity: Identity
    slicings: list[Slicing]

    @cached_property
    def counter(self) -> cells.Counter:
        return cells.Counter(self.outcomes)

    @cached_property
    def shown(self) -> dict[str, float]:
        """How many of a feature's verified pictures show it at least, as people judged; nothing for another label."""
        if self.question.label != "feature" or not self.config.verified:
            return {}
        return {name: row["interval"][0] for name, row in calibration(self.truth.folder).items()}

    def effects(self, chosen: Truth, values: dict[str, Any]) -> tuple[Effects, ...]:
        """The effects of features, from what the model said of the `chosen` pictures' twins among others."""
        ids = chosen.ids
        there = (place if place >= 0 and ids[place] in values else -1 for place in chosen.twins_of(self.truth))
        places = np.fromiter(there, np.int64)
        own = places[places >= 0]
        if not len(own):
            return ()
        pairs = replace(chosen, table=chosen.table.take(pa.array(own)))
        try:
            outcomes = TASKS[self.question.task].outcomes(self.question, pairs, [values[id] for id in pairs.ids])
        except UserError:  # of these few nothing can be told, such as where none has the points to compare with
            return ()
        failed, same_seed = np.full(len(places), np.nan), np.zeros(len(places), bool)
        failed[places >= 0] = outcomes.failed
        seeds = self.truth.table["seed"].to_numpy()[places >= 0]
        same_seed[places >= 0] = seeds == pairs.table["seed"].to_numpy()
        return twins.effects(self.slicings, self.outcomes.failed, failed, same_seed)

    def report(self, real: Real | None, effects: tuple[Effects, ...] = ()) -> Report:
        task, config, table = TASKS[self.question.task], self.config, self.table()
        document = Document(
            task=self.question.task,
            label=self.question.label,
            threshold=self.question.threshold,
            failure=task.failure,
            unit=task.unit,
            measures={name: words for name, words in task.values.items() if name in self.outcomes.values},
            model=ModelName(name=config.name or self.identity.model, digest=self.identity.model_digest),
            release=self.release(),
            baseline=config.baseline,
            confidence=statistics.CONFIDENCE,
            limits=(*task.limits(self.question, self.truth, self.outcomes, self.identity), *self.limits(bool(effects))),
            real=real,
            overall=cells.overall(self.counter, self.truth.ids),
            slices=self.slices(),
            effects=effects,
            outcomes=hashlib.sha256(parquet(table)).hexdigest(),
        )
        return Report(document, table)

    def release(self) -> ReleaseName:
        return ReleaseName(
            name=self.truth.name,
            digest=self.truth.digest,
            pictures=len(self.truth),
            split=self.config.split,
            verified_only=self.config.verified,
            preview=self.truth.is_preview,
        )

    def slices(self) -> tuple[cells.Slices, ...]:
        """The cells of every slicing, with bounds where people judged."""
        made = cells.slices(self.counter, self.truth.ids, self.slicings, self.config.baseline)
        bounded = ((part, tuple(cells.with_bounds(cell, self.shown) for cell in part.cells)) for part in made)
        return tuple(part.model_copy(update={"cells": own}) for part, own in bounded)

    def limits(self, has_twins: bool) -> Iterator[str]:
        """What limits every task."""
        if self.truth.is_preview:
            yield "The pictures are drawings of the preview model: they prove the tool, and say nothing of a model."
        if self.shown:
            yield (
                f"People judged pictures of {counted(len(self.shown), 'feature')}: `bounds` are those of the rate "
                "among pictures that show what was asked for, whether the model fails on all of the others or on none."
            )
        if self.config.verified:
            yield "Pictures that no check confirmed are left out."
        else:
            yield "Pictures that no check confirmed are among them: the generator's failures count as the model's."
        if has_twins:
            yield (
                "Twins are of the same person, seed and settings, asked for without the feature: what differs is what "
                "the generator made of the feature's words, which may be more than the feature."
            )
        has_base = self.config.baseline in self.truth.strings("feature")
        if not has_base:
            yield f"There is no picture of {self.config.baseline}: slices are compared with all the others."
        if self.counter.of_pairs and not (has_base and all("feature" in slicing.by for slicing in self.slicings)):
            yield (
                "Where a slice is compared with all the others, it is with all pairs of them, most of which are of two "
                "slices: what the pictures of one slice have in common may make them match more often."
            )
        yield "All pictures are generated, by one way of generating: real ones may be harder or easier."

    def table(self) -> pa.Table:
        """What became of every picture, what was said of it unless that is an embedding, and the slices' columns."""
        columns: dict[str, pa.Array] = {"id": pa.array(self.truth.ids)}
        if self.counter.of_pairs:
            columns["matches"] = pa.array(self.counter.matches(np.arange(len(self.truth))))
            for slicing in self.slicings:
                columns[f"matches by {','.join(slicing.by)}"] = pa.array(self.matches(slicing))
        else:
            plain = [predictions.plain(self.question.task, value) for value in self.said]
            columns |= {"failed": pa.array(self.outcomes.failed, from_pandas=True), "said": pa.array(plain)}
        columns |= {name: pa.array(values, from_pandas=True) for name, values in self.outcomes.values.items()}
        for name in dict.fromkeys(name for slicing in self.slicings for name in slicing.by):
            columns[name] = pa.array(column(self.truth, name).tolist(), pa.string())
        return pa.table(columns)

    def matches(self, slicing: Slicing) -> np.ndarray:
        """How many of the others of its slice each picture matches."""
        matches = np.zeros(len(slicing.codes), dtype=np.int64)
        for code in range(len(slicing.keys)):
            places = np.flatnonzero(slicing.codes == code)
            matches[places] = self.counter.matches(places)
        return matches
