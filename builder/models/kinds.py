"""Whether a model is one that runs here, Stable Diffusion 1.x from text to picture, before any weight is loaded."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builder.common.retry import with_retries
from builder.models.faults import Damaged, Incomplete, WrongKind
from builder.models.layout import INDEX, VOCABULARY, WHOLE_TOKENIZER
from builder.models.repository import Repository, fault_of

RUNS = "what runs here is Stable Diffusion 1.x from text to picture"
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionPipelineSafe")
CLASSES = {
    "unet": ("diffusers", ("UNet2DConditionModel",)),
    "vae": ("diffusers", ("AutoencoderKL",)),
    "text_encoder": ("transformers", ("CLIPTextModel",)),
    "tokenizer": ("transformers", ("CLIPTokenizer", "CLIPTokenizerFast")),
}
"""The parts of a model, the library each is of, and the classes that fit."""
CHANNELS = 4
SCHEDULER, PREDICTIONS = "scheduler/scheduler_config.json", ("epsilon", "v_prediction", "sample")
WIDTH_OF_2 = 1024
"""Of the text encoder of Stable Diffusion 2, whose prompts the web UI reads in another way."""
MOST_HEADER = 100 << 20
INPUT = "model.diffusion_model.input_blocks.0.0.weight"
"""The first weight of a single file's UNet, (width, channels, 3, 3)."""
SDXL = ("conditioner.embedders.", "model.diffusion_model.label_emb.")
TEXT_ENCODER = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
"""The weight by which diffusers tells that a single file has a text encoder."""
Shapes = dict[str, tuple[int, ...]]


def require(repository: Repository) -> None:
    """Raise WrongKind where a repository's configs speak of a model that does not run here, saying what it is."""
    index = repository.document(INDEX)
    pipeline = index.get("_class_name")
    if pipeline is None:
        raise Incomplete(repository.role, repository.name, f"its {INDEX} names no pipeline")
    if pipeline not in PIPELINES:
        raise _wrong(repository, f"it is a {_words(pipeline)}")
    for part, (library, classes) in CLASSES.items():
        named = index.get(part)
        if not isinstance(named, list) or len(named) != 2 or named[0] is None:
            raise Incomplete(repository.role, repository.name, f"its {INDEX} names no {part}")
        if named[0] != library:
            raise _wrong(repository, f"its {part} is code of its own ({_words(named[0])}), which is not run")
        if named[1] not in classes:
            raise _wrong(repository, f"its {part} is a {_words(named[1])}")
    for fault in _misfits(repository):
        raise _wrong(repository, fault)


def require_file(role: str, name: str, shapes: Shapes) -> None:
    """The same for a single .safetensors file, from the shapes that its head tells."""
    if any(key.startswith(SDXL) for key in shapes):
        raise WrongKind(role, name, f"it is a Stable Diffusion XL; {RUNS}")
    if INPUT not in shapes:
        raise WrongKind(role, name, f"it is no whole Stable Diffusion model; {RUNS}")
    if TEXT_ENCODER not in shapes:
        raise WrongKind(role, name, f"it has no CLIP text encoder; {RUNS}")
    channels = (*shapes[INPUT], None, None)[1]
    if channels != CHANNELS:
        raise WrongKind(role, name, f"{_channels(channels)}; {RUNS}")


def _misfits(repository: Repository) -> Iterator[str]:
    unet, text = repository.document("unet/config.json"), repository.document("text_encoder/config.json")
    latent = repository.document("vae/config.json").get("latent_channels", CHANNELS)
    if unet.get("in_channels", CHANNELS) != latent:
        yield _channels(unet.get("in_channels", CHANNELS), latent)
    if text.get("hidden_size") == WIDTH_OF_2:
        yield f"it is a Stable Diffusion 2, whose prompts are {WIDTH_OF_2} wide"
    if unet.get("addition_embed_type"):
        yield "its UNet wants more than a prompt, as Stable Diffusion XL's"
    if unet.get("cross_attention_dim") != text.get("hidden_size"):
        yield f"its UNet and its text encoder do not fit ({_words(unet.get('cross_attention_dim'))} wide)"
    predicts = repository.document(SCHEDULER).get("prediction_type") or "epsilon"
    if predicts not in PREDICTIONS:
        yield f"its scheduler is for a model that predicts {_words(predicts)}"
    tokens, known = _tokens(repository), text.get("vocab_size")
    if tokens != known:
        yield f"its tokenizer knows {tokens} tokens, its text encoder {_words(known)}"


def _tokens(repository: Repository) -> int:
    if VOCABULARY[0] in repository.files:
        return len(repository.document(VOCABULARY[0]))
    try:
        return len(repository.document(WHOLE_TOKENIZER)["model"]["vocab"])
    except (LookupError, TypeError):
        raise Damaged(repository.role, repository.name, f"its {WHOLE_TOKENIZER} is damaged") from None


def _channels(count: Any, latent: Any = CHANNELS) -> str:
    own = f"its UNet takes {_words(count)} channels, {_words(latent)} are those of a picture"
    return f"{own}: it is for inpainting or the like"


def _wrong(repository: Repository, fault: str) -> WrongKind:
    return WrongKind(repository.role, repository.name, f"{fault}; {RUNS}")


def _words(value: Any) -> str:
    """Return a value of somebody's file, short and on one line."""
    return " ".join(str(value).split())[:60]


def shapes_of(role: str, name: str, path: Path) -> Shapes:
    """Return the shapes of a .safetensors file's tensors. Raises Damaged for a file that is none, or not whole."""
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MOST_HEADER:
                raise ValueError
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        shapes = {key: tuple(tensor["shape"]) for key, tensor in header.items()}
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError, struct.error):
        raise _no_safetensors(role, name, str(path)) from None
    if path.stat().st_size != end:
        raise Damaged(role, name, f"{path} is damaged: it has {path.stat().st_size:,} bytes, its head says {end:,}")
    return shapes


def _no_safetensors(role: str, name: str, file: str) -> Damaged:
    return Damaged(role, name, f"{file} is damaged, or no .safetensors file")


def shapes_on_hub(repository: Repository, file: str) -> Shapes:
    """Return the shapes of a .safetensors file on the Hub, of which only the head is asked for."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    if Path(repository.location).is_dir():
        return shapes_of(repository.role, repository.name, Path(repository.location, file))

    def ask() -> Any:
        return HfApi().parse_safetensors_file_metadata(repository.name, file, revision=repository.revision)

    try:
        head = with_retries(f"{repository.role} {repository.name}", ask)
    except SafetensorsParsingError:
        raise _no_safetensors(repository.role, repository.name, file) from None
    except Exception as error:  # the client raises many kinds
        raise fault_of(repository.role, repository.name, repository.revision, error) from error
    return {key: tuple(tensor.shape) for key, tensor in head.tensors.items()}
