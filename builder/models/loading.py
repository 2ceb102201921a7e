"""From a model that was resolved to one that makes pictures: weights, safety checker, device; safetensors only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPImageProcessor, CLIPTextModel

from builder.common.errors import UserError, one_line
from builder.models.pipeline import Pipeline
from builder.models.safety import Safety
from builder.models.source import Source
from builder.spec.spec import Recipe


def load(
    source: Source,
    recipe: Recipe,
    device: torch.device,
    config: Path | None = None,
    safety_checker: Source | None = None,
) -> Pipeline:
    """Load a model, float16 on CUDA and float32 elsewhere; safetensors only.

    Every model has a safety checker, the checkpoint's own or `safety_checker`, but the built-in preview: all it knows
    are drawn heads. Raises UserError in one line for whatever cannot be loaded.
    """
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.set_verbosity_error()
    for library in (transformers, diffusers):
        library.utils.logging.disable_progress_bar()
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    with one_line(source.name):
        pipe = _read(source, config, dtype, own_checker=source.kind != "preview")
        if len(pipe.tokenizer) != pipe.text_encoder.config.vocab_size:
            raise ValueError(f"the tokenizer knows {len(pipe.tokenizer)} tokens, the text encoder another number")
        pipeline = Pipeline(pipe, recipe, device)
    if source.kind != "preview":
        pipeline.safety = _safety(pipe, safety_checker, device, dtype)
    return pipeline


def _read(source: Source, config: Path | None, dtype: torch.dtype, own_checker: bool) -> StableDiffusionPipeline:
    options: dict[str, Any] = {"dtype": dtype, "requires_safety_checker": False}
    if source.kind == "file":
        where = {"config": str(config), "local_files_only": True} if config else {}
        return StableDiffusionPipeline.from_single_file(source.location, safety_checker=None, **options, **where)
    place, revision = source.location, {"revision": source.revision} if source.kind == "hub" else {}
    where = {"use_safetensors": True, "dtype": dtype, **revision}
    parts = {"text_encoder": _whole(CLIPTextModel, place, subfolder="text_encoder", **where), "safety_checker": None}
    index: Any = StableDiffusionPipeline.load_config(place, **revision)  # a dict; diffusers' types say two
    listed = index.get("safety_checker") or [None]
    if own_checker and listed[0]:
        parts["safety_checker"] = _whole(StableDiffusionSafetyChecker, place, subfolder="safety_checker", **where)
    options.update(parts)
    return StableDiffusionPipeline.from_pretrained(place, use_safetensors=True, **options, **revision)


def _whole(kind: type[Any], location: str, **options: Any) -> Any:
    """A transformers model of which no weight is missing; the library itself would fill the gap with random ones."""
    model, report = kind.from_pretrained(location, output_loading_info=True, **options)
    if report["missing_keys"]:
        raise ValueError(f"{len(report['missing_keys'])} weights are missing, {min(report['missing_keys'])} first")
    return model


def _safety(pipe: StableDiffusionPipeline, fallback: Source | None, device: torch.device, dtype: torch.dtype) -> Safety:
    name, checker, processor = "the model's own", pipe.safety_checker, pipe.feature_extractor
    if checker is None:
        if fallback is None:
            raise UserError("the model has no safety checker of its own, and none was given (--safety-checker)")
        name = f"{fallback.name}@{fallback.revision}"
        revision: dict[str, Any] = {"revision": fallback.revision} if fallback.kind == "hub" else {}
        with one_line(f"safety checker {fallback.name}"):
            where = {"dtype": dtype, "use_safetensors": True, **revision}
            checker = _whole(StableDiffusionSafetyChecker, fallback.location, **where)
            processor = CLIPImageProcessor.from_pretrained(fallback.location, **revision)
    if processor is None:
        raise UserError(f"safety checker {name}: has no image processor")
    if not all(value.isfinite().all() for value in checker.state_dict().values() if value.is_floating_point()):
        raise UserError(f"safety checker {name}: has weights that are not finite, so it would flag nothing")
    return Safety(name, checker.to(device).eval(), processor)
