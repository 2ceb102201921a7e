"""AGFD-30K's builder: from a table of attributes to labelled, generated faces; docs/api.md walks through it.

A `.py` directly in this folder is a command, a folder is a stage of the data's way. A stage imports only stages before
it: common, spec, plan, preview, models, checks, raw, storage, generation, dataset, annotation, linting, reporting,
judging, evaluation, hub.

    from builder import generate, lint, pack

    raw = generate("preview-raw", model="preview", limit=8)
    assert not lint(pack(raw).folder, allow_preview=True)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from builder.common.errors import UserError
    from builder.dataset.folder import Release
    from builder.evaluation.parity import Pack
    from builder.evaluation.report import Report
    from builder.linting.lint import Fault
    from builder.models.pipeline import Pipeline
    from builder.plan.plan import Plan
    from builder.raw.build import RawBuild
    from builder.raw.signing import Signer
    from builder.spec.spec import Spec
    from builder.spec.table import load as load_spec

__all__ = [
    "Plan",
    "RawBuild",
    "Signer",
    "Spec",
    "UserError",
    "evaluate",
    "generate",
    "lint",
    "load_pipeline",
    "load_spec",
    "pack",
    "parity",
    "publish",
]
_PLACES = {
    "Plan": "plan.plan:Plan",
    "RawBuild": "raw.build:RawBuild",
    "Signer": "raw.signing:Signer",
    "Spec": "spec.spec:Spec",
    "UserError": "common.errors:UserError",
    "load_spec": "spec.table:load",
}
"""What is imported when it is asked for: module and name."""


def generate(raw: str | Path = "agfd30k-raw", table: str | Path | None = None, **options: Any) -> RawBuild:
    """Make pictures in this process until everything asked for is there; run it again after a stop, and it goes on.

    `raw` is a folder, or the address of an object store, such as "s3://bucket/faces". `table` is a TOML file, the
    shipped table unless given; `options` are the other fields of `builder.generation.config.GenerateConfig`: model,
    only, scale, limit, batch_size, without, image_format, signer and so on. Raises UserError where something has to be
    put right first, and KeyboardInterrupt when it was stopped: what was made is safe then.
    """
    from builder.common.address import Place
    from builder.generation.config import GenerateConfig
    from builder.generation.preflight import Preflight
    from builder.generation.worker import Run

    if table is not None:
        options["table"] = Path(table)
    if options.get("model_config") is not None:
        options["model_config"] = Path(options["model_config"])
    place = Place.parse(raw)
    run = Run(GenerateConfig(raw=place.folder, store=place.address, **options))
    if not run.is_finished:
        Preflight.of(run, run.raw.folder).require()
    ended = run.run()
    if ended.signal:
        raise KeyboardInterrupt(f"stopped; all that was made is safe in {raw}: call it again to go on")
    return run.raw


def pack(raw: RawBuild | str | Path, out: str | Path = "agfd30k", partial: bool = False) -> Release:
    """Make the release folder of a raw build, which `load_dataset` reads; `partial` takes what is done so far.

    What lies in an object store is fetched first.

    Raises UserError where the build is not complete, or `out` holds anything else than an older release of it.
    """
    from builder.dataset import packing
    from builder.dataset.folder import Release
    from builder.raw.build import RawBuild
    from builder.storage.build import StoredBuild

    build = _opened(raw) if isinstance(raw, str | Path) else raw
    if isinstance(build, StoredBuild):
        build.fetch()
        build = RawBuild.open(build.folder)
    if not partial:
        build.require_complete()
    packing.pack(build, Path(out))
    return Release(Path(out))


def _opened(raw: str | Path) -> RawBuild:
    """Open the build in a folder or at an address."""
    from builder.common.address import Place
    from builder.raw.build import RawBuild
    from builder.storage.build import StoredBuild

    place = Place.parse(raw)
    return StoredBuild.at(place.address) if place.address else RawBuild.open(place.folder)


def lint(
    release: str | Path, thorough: bool = False, allow_preview: bool = False, allow_incomplete: bool = False
) -> list[Fault]:
    """Check a release folder against every rule of the Hub and its viewer; returns the faults, none for a sound one.

    `thorough` decodes every picture, not a sample.
    """
    from builder.dataset.folder import Release
    from builder.linting.lint import check

    return list(check(Release(Path(release)), thorough, allow_preview, allow_incomplete))


def evaluate(
    model: str | Path | Callable[[Sequence[Image]], Sequence[Any]],
    release: str | Path = "agfd30k",
    task: str = "detect",
    **options: Any,
) -> Report:
    """Tell where a face model fails on a release folder; returns the report: `.table()`, `.worst()`, `.save(folder)`.

    `model` is a function on a list of pictures, PIL's, RGB, that returns what it says of each; or "opencv:yunet",
    "opencv:haar" or "module:function"; or a Path of predictions. `options` are the other fields of
    `builder.evaluation.evaluate.EvaluateConfig`: by (the columns that slices are made by, such as ("feature", "sex")),
    baseline, threshold, label, split, verified, out and so on. Raises UserError for what has to be put right first.
    """
    from builder.evaluation.evaluate import EvaluateConfig
    from builder.evaluation.evaluate import evaluate as work

    source = {"predictions": model} if isinstance(model, Path) else {"model": model}
    return work(Path(release), EvaluateConfig(task=task, **source, **options))


def parity(release: str | Path, real: str | Path, out: str | Path | None = None, **options: Any) -> Pack:
    """Encode a release's pictures and a folder of real photographs alike, in pairs; returns what was made.

    `out` is a new folder, RELEASE-parity beside the release unless given. `options` are the fields of
    `builder.evaluation.parity.Settings`: size, qualities, within, everything, seed. Raises UserError where one of them
    is out of range, `out` is there already, something of the release is damaged, or no pictures are left.
    """
    from builder.evaluation.parity import Settings, make

    return make(Path(release), Path(real), Path(out) if out else None, Settings(**options))


def publish(release: str | Path, repo_id: str, **options: Any) -> None:
    """Send a release folder to the Hub, load it back, and tag and open it where asked; a new dataset is private.

    `options` are the other fields of `builder.hub.publisher.PublishConfig`: tag, public, revision, create_pr and so on.
    Raises UserError for a release with faults, or where the Hub does not let it.
    """
    from builder.hub.publisher import PublishConfig, Publisher

    Publisher(PublishConfig(Path(release), repo_id, **options)).run()


def load_pipeline(model: str = "preview", table: str | Path | None = None, device: str | None = None) -> Pipeline:
    """Load a model as the builder does, with its safety checker: safetensors only, float16 on CUDA.

    `model` is a Hub id, a diffusers folder, a .safetensors file or "preview"; sizes and steps are the table's. `device`
    is this machine's accelerator unless given. Raises UserError for whatever cannot be loaded.
    """
    import torch

    from builder.generation.build_models import BuildModels
    from builder.generation.config import GenerateConfig
    from builder.models import loading
    from builder.spec.table import DEFAULT

    place_of_table = Path(table) if table else DEFAULT
    spec = GenerateConfig(table=place_of_table, model=model, without=("face", "attribute")).plan.spec
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    place = torch.device(device) if device else accelerator or torch.device("cpu")
    models = BuildModels.of(spec, None, None, None, half=place.type == "cuda").fetched()
    return loading.load(models.model, spec.recipe, place, models.safety_checker, models.vae)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'builder' has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    return getattr(import_module(f"builder.{module}"), attribute)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """`builder.generate` and `builder.lint` stay the functions when the commands of these names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in __all__):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

if sys.argv[:1] == ["-m"]:  # what Python puts there while it looks up what `python -m` names
    from builder.common import cli

    cli.require_command(sys.orig_argv)
