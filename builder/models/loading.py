"""From a model that was found and lies here to one that makes pictures: weights, safety checker, device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from transformers import CLIPTextModel, CLIPTokenizer

from builder import preview
from builder.common.errors import UserError
from builder.models import kinds, layout, safety
from builder.models.faults import Damaged
from builder.models.identity import Source
from builder.models.pipeline import Pipeline
from builder.models.safety import Safety
from builder.models.source import MODEL, VAE
from builder.models.weights import whole
from builder.spec.spec import Recipe


def load(
    source: Source,
    recipe: Recipe,
    device: torch.device,
    safety_checker: Source | None = None,
    vae: Source | None = None,
    batch_size: int = 1,
) -> Pipeline:
    """Load a model, float16 on CUDA and float32 elsewhere; safetensors only, from this machine only.

    `batch_size` is that of the batches to come.

    Every model has a `safety_checker` but the built-in preview: all it knows are drawn heads. `vae` takes the place of
    the model's own. Raises UserError in one line for whatever cannot be loaded.
    """
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.set_verbosity_error()
    for library in (transformers, diffusers):
        library.utils.logging.disable_progress_bar()
    if safety_checker is None and source.kind != "preview":
        raise UserError(f"model {source.name}: no picture is made without a safety checker")
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    for each in filter(None, (source, vae)):
        _require_whole(each)
    with _told(MODEL, source, device):
        pipe = _single(source, dtype) if source.file or source.kind == "file" else _folders(source, dtype)
        if len(pipe.tokenizer) != pipe.text_encoder.config.vocab_size:
            raise ValueError(f"the tokenizer knows {len(pipe.tokenizer)} tokens, the text encoder another number")
    if vae is not None:
        with _told(VAE, vae, device):
            pipe.vae = _part(AutoencoderKL, vae, "", dtype)
            if (channels := pipe.vae.config.latent_channels) != kinds.CHANNELS:
                raise ValueError(f"it decodes {channels} channels, the model gives {kinds.CHANNELS}")
    with _told(MODEL, source, device):
        checker = _safety(safety_checker, device, dtype) if safety_checker else None
        least_chunks = preview.CHUNKS if source.kind == "preview" else 1
        return Pipeline(pipe, recipe, device, checker, least_chunks, batch_size)


def _require_whole(source: Source) -> None:
    """Raise Damaged for a file of weights that ends too early, or is none: the libraries say less."""
    here = [Path(source.location)] if source.kind == "file" else [Path(source.location, f.path) for f in source.files]
    for path in here:
        if path.suffix == ".safetensors":
            kinds.shapes_of(MODEL, source.name, path)


def _folders(source: Source, dtype: torch.dtype) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        unet=_part(UNet2DConditionModel, source, "unet", dtype),
        vae=_part(AutoencoderKL, source, "vae", dtype),
        text_encoder=_part(CLIPTextModel, source, "text_encoder", dtype),
        **_small(source.location),
        **WITHOUT,
    )


WITHOUT: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
"""The safety checker is loaded apart, see `builder.models.safety`."""


def _single(source: Source, dtype: torch.dtype) -> StableDiffusionPipeline:
    """Return a model of one file. What the library does not find in it, it would take from a pickle beside its configs,
    and any part of the index by whatever class is named there: so all that is no weight of the file is given.
    """
    path = Path(source.location, source.file) if source.file else Path(source.location)
    config = source.config.location if source.config else source.location
    kinds.require_file(MODEL, source.name, kinds.shapes_of(MODEL, source.name, path))
    return StableDiffusionPipeline.from_single_file(
        str(path), config=config, dtype=dtype, local_files_only=True, image_encoder=None, **_small(config), **WITHOUT
    )


def _small(folder: str) -> dict[str, Any]:
    """Return the parts of a model that have no weights."""
    return {
        "tokenizer": CLIPTokenizer.from_pretrained(str(Path(folder, "tokenizer")), local_files_only=True),
        "scheduler": DPMSolverMultistepScheduler.from_pretrained(folder, subfolder="scheduler"),
    }


def _part(kind: type[Any], source: Source, part: str, dtype: torch.dtype) -> Any:
    """Return a part of a model, of its 16-bit variant where that was chosen."""
    names = [file.path for file in source.files if file.path.startswith(f"{part}/" if part else "")]
    variant = "fp16" if any(name.endswith(".fp16.safetensors") for name in names) else None
    options = {"use_safetensors": True, "local_files_only": True}
    return whole(kind, str(Path(source.location, part)), dtype=dtype, variant=variant, **options)


def _safety(source: Source, device: torch.device, dtype: torch.dtype) -> Safety:
    folder = Path(source.location)
    own = source.file.startswith(f"{layout.CHECKER}/")
    weights, processor = (folder / layout.CHECKER, (folder / layout.PROCESSOR).parent) if own else (folder, folder)
    checker = safety.load(weights, processor, device, dtype, source.name)
    if source.sha256 and checker.sha256 != source.sha256:
        raise UserError(
            f"safety checker {source.name}: {source.file} is not the file it should be (its sha256 differs)"
        )
    return checker


@contextmanager
def _told(role: str, source: Source, device: torch.device) -> Iterator[None]:
    """Whatever a library says of a model that cannot be loaded becomes one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the libraries raise many kinds
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "not enough memory" in str(error):
            raise UserError(f"{role} {source.name}: {device} has not enough memory for it") from None
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Damaged(role, source.name, f"cannot be loaded: {reason}") from error
