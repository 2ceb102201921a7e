"""What looks at pictures: OpenCV's detectors, or a function of the user's; and how a release's pictures get to it."""

from __future__ import annotations

import hashlib
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from builder.annotation.annotator import find_function
from builder.common.errors import UserError, one_line
from builder.common.files import sha256
from builder.common.progress import counted, duration, heartbeat, progress_bar
from builder.evaluation.perturbations import CHANGES
from builder.evaluation.predictions import FORMATS, Store
from builder.evaluation.truth import UNREADABLE, Truth

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


def load(model: str | Predict, task: str, labels: Sequence[str]) -> Predictor:
    """Return the model of a name, or of a function on a list of pictures; `labels` are those that a CLIP model reads.

    Raises UserError where there is none of that name, or none for the task.
    """
    if not isinstance(model, str):
        return Predictor(getattr(model, "__qualname__", type(model).__name__), None, model)
    if model in OPENCV:
        if task != "detect":
            raise UserError(f"--model {model}: finds faces, which is --task detect")
        return _opencv(model)
    if model.endswith(".task"):
        return _mesh(model, task)
    if ":" not in model and ("/" in model or Path(model).is_dir()):
        return _transformers(model, task, labels)
    function = find_function("--model", model, (*OPENCV, "a transformers model's folder or owner/name"))
    file = getattr(sys.modules.get(model.partition(":")[0]), "__file__", None)
    return Predictor(model, sha256(Path(file)) if file else None, function)


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


def _transformers(model: str, task: str, labels: Sequence[str]) -> Predictor:
    if task not in ("detect", "attribute"):
        raise UserError(f"--model {model}: there is no pipeline for --task {task}: write module:function")
    location, _, revision = (model, "", "") if Path(model).is_dir() else model.partition("@")
    print(f"evaluate: loading {model}", file=sys.stderr, flush=True)
    with one_line(f"--model {model}"):
        from builder.models import vision_pipelines

        if task == "detect":
            look, digest = vision_pipelines.detector(location, revision or None)
        else:
            look, digest = vision_pipelines.labeller(location, revision or None, labels)
    return Predictor(model, digest, look)


def run(predictor: Predictor, task: str, truth: Truth, store: Store, batch: int, is_kept: bool) -> None:
    """Let a model look at every picture of some rows that the store does not know yet, each once.

    Raises UserError where a picture is lost or damaged, and where the model fails or says anything else than the task
    asks for; what it has said is kept.
    """
    total = len(truth)
    wanted = {*truth.ids} - store.done.keys()
    if not wanted:
        return
    before, started = total - len(wanted), time.monotonic()
    known_already = f", {before:,} known already" if before else ""
    copies = f", each with {len(CHANGES)} changed copies" if task == "landmark" else ""
    kept = f"; what it says goes to {store.path}" if is_kept else ""
    line = f"evaluate: {predictor.name} looks at {counted(len(wanted), 'picture')}{copies}{known_already}{kept}"
    print(line, file=sys.stderr, flush=True)

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
        for rows in _batches(truth.folder, wanted, batch):
            store.add(_look(predictor, task, rows))
            bar.update(len(rows))
    if lost := wanted - store.done.keys():
        raise UserError(
            f"{truth.name}: {counted(len(lost), 'picture')} of metadata/ not in data/, {min(lost)} first; "
            "`agfd30k lint` lists every fault"
        )


def _batches(folder: Path, wanted: set[str], batch: int) -> Iterator[list[tuple[str, Image.Image]]]:
    """Yield ids with their pictures, decoded, a few at a time."""
    left: list[tuple[str, Image.Image]] = []
    for path in sorted(folder.glob("data/*/*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                for part in file.iter_batches(batch, columns=["id", "sha256", "image"]):
                    left += [(row["id"], _decoded(row)) for row in _chosen(part, wanted)]
                    while len(left) >= batch:
                        yield left[:batch]
                        left = left[batch:]
        except (*UNREADABLE, SyntaxError) as error:
            reason = " ".join(str(error).split())
            name = path.relative_to(folder)
            raise UserError(f"{name}: cannot be read: {reason}; `agfd30k lint` lists every fault") from error
    if left:
        yield left


def _chosen(part: pa.RecordBatch, wanted: set[str]) -> list[dict[str, Any]]:
    chosen = [place for place, id in enumerate(part["id"].to_pylist()) if id in wanted]
    return part.take(pa.array(chosen, pa.int64())).to_pylist()


def _decoded(row: dict[str, Any]) -> Image.Image:
    data = row["image"]["bytes"]
    if row["sha256"] and hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ValueError(f"the picture of {row['id']} is not the one that its row says")
    return Image.open(io.BytesIO(data)).convert("RGB")


def _look(predictor: Predictor, task: str, rows: list[tuple[str, Image.Image]]) -> dict[str, dict[str, Any]]:
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


def _rows(predictor: Predictor, task: str, rows: list[tuple[str, Image.Image]]) -> dict[str, dict[str, Any]]:
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
