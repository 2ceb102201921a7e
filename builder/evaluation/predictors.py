"""What looks at pictures: OpenCV's detectors, or a function of the user's; and how a release's pictures get to it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from builder.annotation.annotator import find_function
from builder.common.errors import UserError, one_line
from builder.common.files import sha256
from builder.common.progress import counted, duration, heartbeat, progress_bar
from builder.evaluation.perturbations import CHANGES
from builder.evaluation.pictures import Batch, Pictures
from builder.evaluation.predictions import FORMATS, Store

Predict = Callable[[Sequence[Image.Image]], Sequence[Any]]
DECIMALS = 3
"""Of points that are brought back from a copy, in pixels."""
OPENCV = ("opencv:yunet", "opencv:haar")


@dataclass(frozen=True)
class Predictor:
    """A model: what it is called, the digest of its file where there is one, and what it says of pictures, RGB; `close`
    lets it go.
    """

    name: str
    digest: str | None
    predict: Predict
    close: Callable[[], object] = bool


def load(model: str | Predict, task: str, labels: Sequence[str], fake: Sequence[str] = ()) -> Predictor:
    """Return the model of a name, or of a function on a list of pictures; `labels` are those that a CLIP model reads,
    `fake` those of a classifier that mean fake.

    Raises UserError where there is none of that name, or none for the task.
    """
    if fake and not (task == "fake" and isinstance(model, str) and _is_transformers(model)):
        raise UserError("--fake-label: goes with --task fake and a transformers model")
    if not isinstance(model, str):
        return Predictor(getattr(model, "__qualname__", type(model).__name__), None, model)
    if model in OPENCV:
        if task != "detect":
            raise UserError(f"--model {model}: finds faces, which is --task detect")
        return _opencv(model)
    if model.endswith(".task"):
        return _mesh(model, task)
    if _is_transformers(model):
        return _transformers(model, task, labels, fake)
    function = find_function("--model", model, (*OPENCV, "a transformers model's folder or owner/name"))
    file = getattr(sys.modules.get(model.partition(":")[0]), "__file__", None)
    return Predictor(model, sha256(Path(file)) if file else None, function)


def _is_transformers(model: str) -> bool:
    return ":" not in model and not model.endswith(".task") and ("/" in model or Path(model).is_dir())


def _opencv(model: str) -> Predictor:
    from builder.models import opencv_faces

    find = {"opencv:yunet": opencv_faces.yunet, "opencv:haar": opencv_faces.haar}[model]()
    digest = sha256(opencv_faces.MODEL) if model == "opencv:yunet" else None
    return Predictor(model, digest, lambda images: [find(np.asarray(image)) for image in images])


def _mesh(model: str, task: str) -> Predictor:
    """Return MediaPipe's Face Landmarker, whose model is a file; its boxes have no score of their own but 1."""
    from builder.models.face_mesh import FaceMesh

    if task != "detect":
        raise UserError(f"--model {model}: finds faces, which is --task detect")
    if not Path(model).is_file():
        raise UserError(f"--model {model}: there is no such file")
    try:
        mesh = FaceMesh(Path(model))
    except ValueError as error:
        raise UserError(f"--model {model}: {error}") from error

    def boxes(images: Sequence[Image.Image]) -> list[list[tuple[float, ...]]]:
        return [[(*face.box(), 1.0) for face in mesh.faces(np.asarray(image))] for image in images]

    return Predictor(f"mediapipe:{Path(model).name}", sha256(Path(model)), boxes, mesh.close)


def _transformers(model: str, task: str, labels: Sequence[str], fake: Sequence[str]) -> Predictor:
    if task not in ("detect", "attribute", "fake"):
        raise UserError(f"--model {model}: there is no pipeline for --task {task}: write module:function")
    location, _, revision = (model, "", "") if Path(model).is_dir() else model.partition("@")
    print(f"evaluate: loading {model}", file=sys.stderr, flush=True)
    with one_line(f"--model {model}"):
        from builder.models import vision_pipelines

        if task == "detect":
            look, digest = vision_pipelines.detector(location, revision or None)
        elif task == "attribute":
            look, digest = vision_pipelines.labeller(location, revision or None, labels)
        else:
            return _fake_scorer(
                model, *vision_pipelines.fake_scorer(location, revision or None, fake), is_told=bool(fake)
            )
    return Predictor(model, digest, look)


def _fake_scorer(model: str, look: Predict, digest: str, labels: Sequence[str], is_told: bool) -> Predictor:
    """Return a classifier whose labels mean fake; those that the user says stand in its name, since they are its."""
    print(f"evaluate: {model} says {' or '.join(labels)} of a fake", file=sys.stderr, flush=True)
    return Predictor(f"{model} (fake: {', '.join(labels)})" if is_told else model, digest, look)


def run(predictor: Predictor, task: str, pictures: Pictures, store: Store, batch: int, is_kept: bool) -> None:
    """Let a model look at every picture that the store does not know yet, each once.

    Raises UserError where a picture is lost or damaged, and where the model fails or says anything else than the task
    asks for; what it has said is kept.
    """
    total = len(pictures.ids)
    wanted = {*pictures.ids} - store.done.keys()
    if not wanted:
        return
    before, started = total - len(wanted), time.monotonic()
    known_already = f", {before:,} known already" if before else ""
    copies = f", each with {len(CHANGES)} changed copies" if task == "landmark" else ""
    kept = f"; what it says goes to {store.path}" if is_kept else ""
    what = f"{counted(len(wanted), 'picture')} of {pictures.place}"
    print(f"evaluate: {predictor.name} looks at {what}{copies}{known_already}{kept}", file=sys.stderr, flush=True)

    def beat() -> str:
        rows, seconds = len(store.done) - known, time.monotonic() - started
        rate = (
            f", {rows / seconds:.1f} a second, {duration(seconds / rows * (len(wanted) - rows))} left" if rows else ""
        )
        return f"evaluate with {predictor.name}: {rows:,} of {counted(len(wanted), 'picture')}{rate}"

    known = len(store.done)
    with (
        progress_bar(total=total, initial=before, desc=f"evaluate with {predictor.name}", unit="picture") as bar,
        heartbeat(beat),
    ):
        for rows in pictures.read(wanted, batch):
            store.add(_look(predictor, task, rows))
            bar.update(len(rows))


def _look(predictor: Predictor, task: str, rows: Batch) -> dict[str, dict[str, Any]]:
    """Return what a model says of some pictures, as rows without ids; of landmarks on their changed copies too."""
    predictions = _rows(predictor, task, rows)
    if task != "landmark":
        return predictions
    for name, change in CHANGES.items():
        copies = [(f"{id} ({name})", change.copy(image)) for id, image in rows]
        for (id, image), row in zip(rows, _rows(predictor, task, copies).values()):
            found = np.array(row["points"])
            predictions[id][name] = change.back(found, image.size).round(DECIMALS).tolist() if len(found) else []
    return predictions


def _rows(predictor: Predictor, task: str, rows: Batch) -> dict[str, dict[str, Any]]:
    """Return what a model says of some pictures, each as a row without id."""
    try:
        said = predictor.predict([image for _, image in rows])
    except Exception as error:  # code of the user's own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{predictor.name}: fails on the pictures from {rows[0][0]} on: {reason}") from error
    if isinstance(said, str | dict) or not hasattr(said, "__len__") or len(said) != len(rows):
        count = f"{len(said)} values" if hasattr(said, "__len__") else f"a {type(said).__name__}"
        raise UserError(f"{predictor.name}: returns {count} for {counted(len(rows), 'picture')}, not a list of as many")
    predictions = {}
    for (id, _), value in zip(rows, said):
        try:
            predictions[id] = FORMATS[task].row(value)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            raise UserError(
                f"{predictor.name}: returns for {id} what is not {FORMATS[task].shape} ({error}), every number finite"
            ) from error
    return predictions
