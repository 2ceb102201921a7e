"""The five tasks: how what a model says becomes a failure or none, and what each truth is worth, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agfd30k import FACE_BOX, POINTS
from builder.common.errors import UserError
from builder.common.progress import counted
from builder.evaluation.perturbations import CHANGES, MEASURES
from builder.evaluation.predictions import Identity
from builder.evaluation.truth import Truth

OVERLAP = 0.5
"""Least intersection over union of a box with the face's own."""
LABELS = ("feature", "sex", "age_group")


@dataclass(frozen=True)
class Question:
    """What is asked: the task; of `attribute` which label is meant; where the bar is."""

    task: str
    label: str | None
    threshold: float | None

    @classmethod
    def of(cls, task: str, label: str | None = None, threshold: float | None = None) -> Question:
        """Fill in the task's defaults. Raises UserError for a task or label that is none, or a bar that is lacking."""
        if task not in TASKS:
            raise UserError(f"--task {task}: choose {', '.join(TASKS)}")
        if label is not None and (task != "attribute" or label not in LABELS):
            raise UserError(f"--label {label}: goes with --task attribute, and is {', '.join(LABELS)}")
        if threshold is not None and task == "attribute":
            raise UserError("--threshold: --task attribute has none, the label with the highest score counts")
        threshold = TASKS[task].threshold if threshold is None else threshold
        if task == "recognise" and threshold is None:
            raise UserError("--threshold: say at which cosine your model takes two faces for one person")
        if threshold is not None and not np.isfinite(threshold):
            raise UserError(f"--threshold: must be a finite number, got {threshold}")
        return cls(task, (label or "feature") if task == "attribute" else None, threshold)


@dataclass(frozen=True)
class Outcomes:
    """What became of n pictures: `failed` 1, 0, or NaN where nothing could be tried; further `values`, NaN for none.

    Of `recognise` it is the pairs that fail: `vectors` (n, d) are the embeddings, of length 1, and `threshold` the
    cosine from which on two match.
    """

    failed: np.ndarray
    values: dict[str, np.ndarray] = field(default_factory=dict)
    vectors: np.ndarray | None = None
    threshold: float = 0.0


@dataclass(frozen=True)
class Task:
    """`failure` is what a failure is called, `unit` what fails; `values` says what the further numbers are. `require`
    raises UserError for pictures of which the task cannot be asked.
    """

    failure: str
    unit: str
    threshold: float | None
    outcomes: Callable[[Question, Truth, list[Any]], Outcomes]
    limits: Callable[[Question, Truth, Outcomes, Identity], Iterator[str]]
    values: dict[str, str] = field(default_factory=dict)
    require: Callable[[Truth], object] = bool


def _detect(question: Question, truth: Truth, predictions: list[Any]) -> Outcomes:
    """A face is missed where no box overlaps the annotation's enough; where there is none, any box will do."""
    faces = truth.numbers(*FACE_BOX)
    failed, further, shared = np.zeros(len(truth)), np.zeros(len(truth)), np.full(len(truth), np.nan)
    for place, (face, boxes) in enumerate(zip(faces, predictions)):
        sure = boxes[boxes[:, 4] >= question.threshold]
        if np.isnan(face).any():
            is_found = len(sure) > 0
        else:
            best = overlaps(face, sure).max(initial=0.0)
            is_found = best >= OVERLAP
            shared[place] = best if is_found else np.nan
        failed[place], further[place] = not is_found, len(sure) > is_found
    return Outcomes(failed, {"further_boxes": further, "iou": shared})


def overlaps(face: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box with others; boxes are left, top, width, height."""
    left, top = np.maximum(face[:2], boxes[:, :2]).T
    right, bottom = np.minimum(face[:2] + face[2:4], boxes[:, :2] + boxes[:, 2:4]).T
    shared = np.clip(right - left, 0, None) * np.clip(bottom - top, 0, None)
    union = face[2] * face[3] + boxes[:, 2] * boxes[:, 3] - shared
    return shared / np.where(union > 0, union, 1)


def _detect_limits(question: Question, truth: Truth, outcomes: Outcomes, identity: Identity) -> Iterator[str]:
    detector = truth.detector
    if detector is None:
        yield "One face was asked for on every picture; the release does not say that a detector checked it."
    elif not detector.filtered:
        yield (
            f"One face was asked for on every picture, and a classifier found one; {detector.name} says where, as far "
            "as it sees it."
        )
    elif _is_same(truth, identity):
        yield (
            f"The pictures were filtered by this very detector ({detector.name}): those on which it saw no face, or "
            "two, were made again, so its misses here say little of it. Compare it with another detector's release."
        )
    else:
        yield (
            f"One face was asked for on every picture, and {detector.name} found one: what that detector cannot see is "
            "not here, and a model like it looks better than it is."
        )
    boxed = int((~np.isnan(truth.numbers(*FACE_BOX)).any(axis=1)).sum())
    yield (
        f"Found means a box of score {question.threshold:g} or more that overlaps the detector's by an IoU of "
        f"{OVERLAP:g}; on {counted(len(truth) - boxed, 'picture')} without its box any box counts."
    )


def _is_same(truth: Truth, identity: Identity) -> bool:
    """Return True where the model is the one that filtered the pictures."""
    detector = truth.detector
    if detector is None:
        return False
    digest = (detector.digest or "").removeprefix("sha256:")
    return digest == identity.model_digest if digest else identity.model == f"opencv:{detector.name}"


def _attribute(question: Question, truth: Truth, predictions: list[Any]) -> Outcomes:
    asked = truth.strings(str(question.label))
    known, said = {*truth.labels[str(question.label)]}, {*predictions}
    if not known & said:
        raise UserError(
            f"none of the labels that the model gives, such as {min(said)!r}, is a {question.label} of the release: "
            f"{', '.join(sorted(known))}"
        )
    return Outcomes(np.array([right != given for right, given in zip(asked, predictions)], dtype=float))


def _attribute_limits(question: Question, truth: Truth, outcomes: Outcomes, identity: Identity) -> Iterator[str]:
    yield (
        f"The truth is the {question.label} that was asked for, not what people saw: where a picture does not show it, "
        "a model that is right is counted as wrong."
    )


def _landmark(question: Question, truth: Truth, predictions: list[Any]) -> Outcomes:
    points, between = _five_points(truth)
    said = np.array(predictions)
    own, copies = said[:, 0], said[:, 1:]
    distance = _apart(own, points) / between
    is_near = distance <= question.threshold  # false where the model found no points
    moved = dict(zip(CHANGES, (_apart(copies, own[:, None]) / between[:, None]).T))
    values = {name: _mean([moved[copy] for copy in names]) for name, (names, _) in MEASURES.items()}
    known = {name: numbers for name, numbers in values.items() if not np.isnan(numbers).all()}
    return Outcomes(np.where(np.isnan(between), np.nan, ~is_near), {"distance": distance, **known})


def _five_points(truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of every picture, (n, 5, 2), and the distance between its eyes, NaN where they are not known.

    Raises UserError where none are.
    """
    points = truth.numbers(*POINTS).reshape(-1, 5, 2)
    between = np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
    if not (between > 0).any():
        raise UserError(f"{truth.name}: no picture has a face's five points, which --task landmark compares with")
    return points, np.where(between > 0, between, np.nan)


def _apart(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the mean distance of five points, (..., 5, 2), from others."""
    return np.linalg.norm(points - others, axis=-1).mean(axis=-1)


def _mean(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of those numbers that are there, row by row; NaN where there is none."""
    numbers = np.stack(columns)
    known = ~np.isnan(numbers)
    return np.where(known, numbers, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)


def _landmark_limits(question: Question, truth: Truth, outcomes: Outcomes, identity: Identity) -> Iterator[str]:
    name = truth.detector.name if truth.detector else "a detector that the release does not name"
    yield (
        "Consistency, not accuracy: nobody marked the true points. Too far means no points, or a mean distance from "
        f"those of {name} of more than {question.threshold:g} of that between its eyes."
    )
    if _is_same(truth, identity):
        yield "That is the very model that is measured here: it is compared with itself."
    if lost := int(np.isnan(outcomes.failed).sum()):
        yield f"Left out: {counted(lost, 'picture')} on which it has no points."
    yield from _copies_limits(outcomes)


def _copies_limits(outcomes: Outcomes) -> Iterator[str]:
    """What the consistency of a landmark model with itself is, and where it is not known."""
    known = [name for name in MEASURES if name in outcomes.values]
    if known:
        changes = ", ".join(f"{MEASURES[name][1]} ({name})" for name in known)
        yield (
            f"Measured, and no failures: how far the points move, as the same share, on a copy that is {changes}. A "
            "model that is wrong in the same way on every copy is consistent."
        )
    tried = int((~np.isnan(outcomes.failed)).sum())
    for name in MEASURES:
        number = int((~np.isnan(outcomes.values[name])).sum()) if name in known else 0
        if number < tried:
            yield f"{name} is known on {number:,} of {counted(tried, 'picture')}; the others have no points on a copy."


def _recognise(question: Question, truth: Truth, predictions: list[Any]) -> Outcomes:
    return Outcomes(np.zeros(len(truth)), {}, np.array(predictions), float(question.threshold or 0))


def _recognise_limits(question: Question, truth: Truth, outcomes: Outcomes, identity: Identity) -> Iterator[str]:
    yield (
        "Every picture is taken for another person, so every pair within a slice is an impostor's. Nobody asked the "
        "generator for different people: faces that it draws alike count as false matches. No pair is genuine, so "
        "nothing is said of false non-matches."
    )


def _fake(question: Question, truth: Truth, predictions: list[Any]) -> Outcomes:
    scores = np.array(predictions, dtype=float)
    return Outcomes((scores < question.threshold).astype(float), {"score": scores})


def _fake_limits(question: Question, truth: Truth, outcomes: Outcomes, identity: Identity) -> Iterator[str]:
    yield (
        "Every picture is generated, by the models that the release names: nothing is said of other generators. "
        "A model that calls everything fake has no failure here; real pictures of your own (--real) tell."
    )


TASKS = {
    "detect": Task(
        *("missed", "picture", 0.5, _detect, _detect_limits),
        {
            "further_boxes": "share of the pictures with a box beside the face's",
            "iou": "IoU of the box, where the face was found",
        },
    ),
    "attribute": Task("wrong", "picture", None, _attribute, _attribute_limits),
    "landmark": Task(
        *("too far", "picture", 0.1, _landmark, _landmark_limits),
        {
            "distance": "mean distance of the points, as a share of that between the eyes",
            **{
                name: f"how far the points move on a copy that is {words}, as that share"
                for name, (_, words) in MEASURES.items()
            },
        },
        _five_points,
    ),
    "recognise": Task("false match", "pair", None, _recognise, _recognise_limits),
    "fake": Task("taken for real", "picture", 0.5, _fake, _fake_limits, {"score": "mean score"}),
}
