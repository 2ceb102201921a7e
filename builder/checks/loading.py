"""From the criteria of a table to checks that are ready to judge: which models they need, and loading them once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.checks.attribute import AttributeCheck, descriptions
from builder.checks.duplicates import HashCheck
from builder.checks.face import FaceCheck, ReadFaceCheck
from builder.checks.integrity import IntegrityCheck
from builder.checks.suite import Checks
from builder.common.errors import UserError
from builder.models import source as models_source
from builder.models.face_detectors import Haar, YuNet
from builder.models.source import Source
from builder.spec.criteria import CLASSIFIER, HAAR
from builder.spec.spec import Spec

if TYPE_CHECKING:
    import torch

    from builder.models.classifiers import Reader

VERSIONS = {check.name: check.version for check in (IntegrityCheck, FaceCheck, AttributeCheck, HashCheck)}


def resolve(spec: Spec, recorded: list[dict[str, Any]] = ()) -> dict[str, Source]:
    """The exact models that a table's checks need, by check. Raises UserError telling how to get one, or go without.

    `recorded` is what an earlier run noted, see `noted`: a Hub model keeps its commit, without network.
    """
    kept = {row["name"]: Source(location=row["model"]["name"], **row["model"]) for row in recorded if row.get("model")}
    found = {}
    if spec.checks.attribute:
        wanted = spec.checks.attribute
        found["attribute"] = models_source.resolve_reader(wanted.model, wanted.revision, kept.get("attribute"))
    if spec.checks.face and spec.checks.face.detector not in (HAAR, CLASSIFIER):
        wanted = spec.checks.face
        found["face"] = models_source.resolve_detector(wanted.detector, wanted.revision, kept.get("face"))
    return found


def noted(spec: Spec, sources: dict[str, Source]) -> list[dict[str, Any]]:
    """The checks of a build as its recipe records them: name, version, and the exact model."""
    wanted = ["integrity", *(name for name, criteria in vars(spec.checks).items() if criteria and name != "integrity")]
    rows = []
    for name in wanted:
        source = sources.get(name)
        model = {key: getattr(source, key) for key in ("kind", "name", "revision")} if source else None
        rows.append({"name": name, "version": VERSIONS[name], "model": model})
    return rows


def build(spec: Spec, sources: dict[str, Source], device: torch.device) -> Checks:
    """The checks of a table, with their models loaded. Raises UserError in one line for a model that cannot be."""
    criteria, recipe = spec.checks, spec.recipe
    single: list = [IntegrityCheck(criteria.integrity, (recipe.width, recipe.height))]
    batched: list = []
    reader = _reader(spec, sources["attribute"], device) if criteria.attribute else None
    if criteria.face and criteria.face.detector == CLASSIFIER:
        batched.append(ReadFaceCheck(reader))
    elif criteria.face:
        detector = Haar() if criteria.face.detector == HAAR else _yunet(sources["face"])
        single.append(FaceCheck(criteria.face, detector))
    if criteria.attribute:
        batched.append(AttributeCheck(criteria.attribute, reader))
    if criteria.duplicates:
        single.append(HashCheck())
    return Checks(single, batched)


def reader_again(spec: Spec, recorded: list[dict[str, Any]], place: str = "") -> Reader:
    """The very reader that a build's attribute check had, on this machine's accelerator or else its CPU.

    `recorded` is what the build noted, `place` the folder of a local model. Raises UserError for any other reader.
    """
    was = next(row["model"] for row in recorded if row["name"] == "attribute")
    if was["kind"] in ("folder", "file") and not models_source.place(place or was["name"]).is_dir():
        raise UserError(
            f"attribute check: the build's own model {was['name']} is a local one: --reader FOLDER says where"
        )
    if place:
        attribute = spec.checks.attribute.changed(model=place)
        spec = spec.changed(checks=spec.checks.changed(attribute=attribute))
    source = resolve(spec.changed(checks=spec.checks.without(["face"])), recorded)["attribute"]
    if source.revision != was["revision"]:
        raise UserError(
            f"attribute check: {source.name} is at revision {source.revision}, the build was checked with "
            f"{was['name']} at {was['revision']}"
        )
    import torch  # which a finished build does without

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return _reader(spec, source, found or torch.device("cpu"))


def _reader(spec: Spec, source: Source, device: torch.device) -> Reader:
    from builder.models.classifiers import load  # transformers, which a finished build does without

    try:
        return load(source.location, source.revision if source.kind == "hub" else None, descriptions(spec), device)
    except Exception as error:  # transformers raises many kinds
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"attribute check: {source.name} cannot be loaded (safetensors only): {said}") from error


def _yunet(source: Source) -> YuNet:
    try:
        return YuNet(Path(source.location))
    except ValueError as error:
        raise UserError(f"face check: {error}") from None
