"""From the criteria of a table to checks that are ready to judge: which models they need, and loading them once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from builder.checks.attribute import AttributeCheck, descriptions, minor_score
from builder.checks.duplicates import HashCheck
from builder.checks.face import FaceCheck, ReadFaceCheck
from builder.checks.integrity import IntegrityCheck
from builder.checks.suite import Checks
from builder.checks.verdict import Check
from builder.common.errors import UserError, one_line
from builder.models import download
from builder.models.boxes import Detector
from builder.models.face_detectors import Haar, YuNet
from builder.models.identity import CheckVersion, ModelId, Source
from builder.models.source import local_path, resolve_detector, resolve_reader
from builder.spec.criteria import CLASSIFIER, HAAR, YUNET, Face
from builder.spec.spec import Spec

if TYPE_CHECKING:
    import torch

    from builder.models.classifiers import Reader
    from builder.models.face_mesh import FaceMesh

log = logging.getLogger("agfd30k")
UNJUDGED = "no picture is judged for whether it looks like a minor"
VERSIONS = {check.name: check.version for check in (IntegrityCheck, FaceCheck, AttributeCheck, HashCheck)}


def resolve(spec: Spec, recorded: Iterable[CheckVersion] = ()) -> dict[str, Source]:
    """The exact models that a table's checks need, by check. Raises UserError telling how to get one, or go without.

    `recorded` is what an earlier run noted, see `versions`: a Hub model keeps its commit, without network.
    """
    kept = {check.name: check.model for check in recorded if check.model}
    sources = {}
    if attribute := spec.checks.attribute:
        sources["attribute"] = resolve_reader(attribute.model, attribute.revision, kept.get("attribute"))
    face = spec.checks.face
    if face and face.detector != HAAR:
        name = YUNET if face.detector == CLASSIFIER else face.detector  # which does not say where the face is
        sources["face"] = resolve_detector(name, face.revision, kept.get("face"))
    return sources


def versions(spec: Spec, sources: dict[str, Source]) -> list[CheckVersion]:
    """Return the checks of a build as its recipe records them."""
    names = ["integrity", *(name for name, criteria in vars(spec.checks).items() if criteria and name != "integrity")]
    return [CheckVersion(name, VERSIONS[name], sources[name].id if name in sources else None) for name in names]


def build(spec: Spec, sources: dict[str, Source], device: torch.device) -> Checks:
    """The checks of a table, with their models loaded. Raises UserError in one line for a model that cannot be."""
    criteria, recipe = spec.checks, spec.recipe
    single: list[Check] = [IntegrityCheck(criteria.integrity, (recipe.width, recipe.height))]
    batched: list[Check] = []
    reader = _reader(spec, sources["attribute"], device) if criteria.attribute else None
    if criteria.face and criteria.face.detector == CLASSIFIER:
        if reader is None:
            raise ValueError('[checks.face] with detector = "classifier" needs [checks.attribute]')
        batched.append(ReadFaceCheck(reader, _yunet(sources["face"])))
    elif criteria.face:
        single.append(FaceCheck(criteria.face, _detector(criteria.face, sources)))
    if criteria.attribute:
        batched.append(AttributeCheck(criteria.attribute, reader))
    if criteria.duplicates:
        single.append(HashCheck())
    if minor_score(dict.fromkeys(reader.labels if reader else (), 0.0)) is None:
        model = f"{sources['attribute'].name} has no label child or teenager" if reader else "there is none"
        log.warning("attribute check: %s: %s", model, UNJUDGED)
    return Checks(single, batched)


def reader_again(spec: Spec, model: ModelId, folder: str = "") -> Reader:
    """Return the very reader that a build's attribute check had, on this machine's accelerator or else its CPU.

    `model` is what the build noted, `folder` where it lies if it is a local one. Raises UserError for any other reader.
    """
    location = folder or model.name
    if model.kind in ("folder", "file") and not local_path(location).is_dir():
        raise UserError(
            f"attribute check: the build's own model {model.name} is a local one: --reader FOLDER says where"
        )
    criteria = spec.checks.attribute
    if criteria is None:
        raise ValueError("the table has no [checks.attribute]")
    source = resolve_reader(location, criteria.revision, model)
    if source.revision != model.revision:
        raise UserError(
            f"attribute check: {source.name} is at revision {source.revision}, the build was checked with "
            f"{model.name} at {model.revision}"
        )
    import torch  # which a finished build does without

    download.fetch([source])
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return _reader(spec, download.fetched(source), accelerator or torch.device("cpu"))


def _reader(spec: Spec, source: Source, device: torch.device) -> Reader:
    from builder.models.classifiers import load  # transformers, which a finished build does without

    with one_line(f"attribute check: {source.name}"):
        return load(source.location, None, descriptions(spec), device)


def _detector(criteria: Face, sources: dict[str, Source]) -> Detector:
    """Return what finds faces, by the table's words."""
    if criteria.detector == HAAR:
        return Haar()
    source = sources["face"]
    return _mesh(source) if source.name.endswith(".task") else _yunet(source)


def _yunet(source: Source) -> YuNet:
    with _one_line():
        return YuNet(Path(source.location, source.file))


def _mesh(source: Source) -> FaceMesh:
    from builder.models.face_mesh import FaceMesh  # whose mediapipe few have

    with _one_line():
        return FaceMesh(Path(source.location))


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UserError(f"face check: {error}") from None
