"""Which files of a repository are a model's weights, decided from the list of its files; never a pickle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.models.faults import Ambiguous, Damaged, Incomplete, ModelError, NoModel, Pickled
from builder.models.identity import File
from builder.models.repository import Repository

INDEX = "model_index.json"
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
PARTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
"""The folders of a diffusers model that hold weights, and what the files are called."""
CONFIGS = ("unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json")
VOCABULARY, WHOLE_TOKENIZER = ("tokenizer/vocab.json", "tokenizer/merges.txt"), "tokenizer/tokenizer.json"
CHECKER = "safety_checker"
PROCESSOR = "feature_extractor/preprocessor_config.json"
OTHERS = ("inpaint", "vae", "lora", "refiner", "controlnet", "embedding", "diffusion_pytorch_model")
"""What the name of a .safetensors file says that is no full model, or not for pictures from text alone."""


@dataclass(frozen=True)
class Layout:
    """The files of a Stable Diffusion model: `file` is the single one that holds all weights, "" for its folders.

    `configs` says that the repository tells what is in the single file.
    """

    files: tuple[File, ...]
    file: str = ""
    configs: bool = True


def of_model(repository: Repository, file: str | None, half: bool) -> Layout:
    """Return which files to read: the folders, if all have safetensors, else the named `file`, else the only one.

    `half` prefers 16-bit variants where there are any. Raises a ModelError that says what is there instead.
    """
    weights = {part: of_part(repository, part, stem, half) for part, stem in PARTS.items()}
    if INDEX in repository.files and all(weights.values()):
        required = [INDEX, *CONFIGS, *_tokenizer(repository)]
        if missing := [path for path in required if path not in repository.files]:
            raise Incomplete(repository.role, repository.name, f"{missing[0]} is missing")
        return Layout(repository.chosen([*required, *(path for part in weights.values() for path in part)]))
    single = _single(repository, file, weights)
    paths = [INDEX, *CONFIGS, *_tokenizer(repository)]
    configs = all(path in repository.files for path in paths)
    return Layout(repository.chosen([*paths, single] if configs else [single]), single, configs)


def of_part(repository: Repository, folder: str, stem: str, half: bool = False) -> list[str]:
    """Return the paths of a part's weights and their index, if any; none where it has no safetensors.

    Raises Damaged for an index that names anything but safetensors beside itself.
    """
    plain, variant = f"{stem}.safetensors", f"{stem}.fp16.safetensors"
    names = [plain, f"{plain}.index.json", variant]
    for name in sorted(names, key=lambda name: name != variant) if half else names:
        path = f"{folder}/{name}" if folder else name
        if path in repository.files:
            return [path, *_shards(repository, path)] if name.endswith(".json") else [path]
    return []


def of_checker(repository: Repository) -> tuple[str, list[str]] | None:
    """Return the file of a model's own safety checker, and all that it needs; None where it has none as safetensors."""
    weights = of_part(repository, CHECKER, "model")
    config = f"{CHECKER}/config.json"
    if len(weights) != 1 or not {config, PROCESSOR} <= repository.files.keys():
        return None
    named = repository.document(INDEX).get(CHECKER)
    if not isinstance(named, list) or named[:1] in ([], [None]):
        return None
    return weights[0], [config, PROCESSOR, *weights]


def of_lone_checker(repository: Repository) -> tuple[str, list[str]]:
    """Return the file of a repository that is a safety checker, or holds a model with one, and all that it needs."""
    paths = ["config.json", "preprocessor_config.json", *of_part(repository, "", "model")]
    if len(paths) == 3 and all(path in repository.files for path in paths):
        return paths[-1], paths
    if INDEX in repository.files and (own := of_checker(repository)):
        return own
    raise none_of(repository, "model.safetensors with its config.json and preprocessor_config.json")


def of_transformer(repository: Repository) -> list[str]:
    """Return what a transformers model needs: its weights, and its small files."""
    weights = of_part(repository, "", "model")
    processors = {"preprocessor_config.json", "processor_config.json"}
    if not weights or "config.json" not in repository.files or not processors & repository.files.keys():
        raise none_of(repository, "model.safetensors with its config.json and preprocessor_config.json")
    small = [path for path in repository.files if "/" not in path and path.endswith((".json", ".txt"))]
    return [*(path for path in small if ".index." not in path), *weights]


def of_vae(repository: Repository, half: bool) -> list[str]:
    """Return what a repository that is a VAE needs."""
    weights = of_part(repository, "", "diffusion_pytorch_model", half)
    if not weights or "config.json" not in repository.files:
        raise none_of(repository, "diffusion_pytorch_model.safetensors with its config.json")
    return ["config.json", *weights]


def none_of(repository: Repository, wanted: str) -> ModelError:
    """Return why there is no such thing: only pickles, or nothing."""
    pickled = [path for path in repository.files if path.endswith(PICKLES)]
    if pickled:
        more = f" and {len(pickled) - 1} more" if len(pickled) > 1 else ""
        cause = f"holds pickled weights only ({pickled[0]}{more}), which can run code and are not loaded"
        return Pickled(repository.role, repository.name, cause)
    return NoModel(repository.role, repository.name, f"holds no {wanted}")


def _tokenizer(repository: Repository) -> list[str]:
    small = [path for path in repository.files if path.startswith("tokenizer/") and path.endswith((".json", ".txt"))]
    return small if WHOLE_TOKENIZER in small else [*VOCABULARY, *(path for path in small if path not in VOCABULARY)]


def _single(repository: Repository, file: str | None, weights: dict[str, list[str]]) -> str:
    """Return the one file at the top that holds a whole model."""
    if file and file in repository.files:
        return file
    top = [path for path in repository.files if "/" not in path and path.endswith(".safetensors")]
    full = [path for path in top if not any(word in path.lower() for word in OTHERS)]
    if len(full) == 1:
        return full[0]
    if full:
        raise Ambiguous(repository.role, repository.name, f"several files could be meant: {', '.join(full)[:150]}")
    lacking = [part for part, paths in weights.items() if not paths]
    if INDEX in repository.files and lacking and not _has_pickles(repository, lacking):
        raise Incomplete(repository.role, repository.name, f"{lacking[0]} has no weights")
    raise none_of(repository, f"{INDEX} with safetensors, nor a single .safetensors file")


def _has_pickles(repository: Repository, parts: list[str]) -> bool:
    return all(any(p.startswith(f"{part}/") and p.endswith(PICKLES) for p in repository.files) for part in parts)


def _shards(repository: Repository, index: str) -> Iterator[str]:
    """Yield the files that an index names. Raises Damaged for any that is not a .safetensors file beside it."""
    names = repository.document(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise Damaged(repository.role, repository.name, f"its {index} names no weights")
    for name in dict.fromkeys(names.values()):
        if not isinstance(name, str) or not name.endswith(".safetensors") or "/" in name or "\\" in name:
            raise Pickled(
                repository.role, repository.name, f"its {index} names {name!r}, which is no .safetensors file"
            )
        path = str(PurePosixPath(index).parent / name)
        if path not in repository.files:
            raise Incomplete(repository.role, repository.name, f"{path} is missing, which its {index} names")
        yield path
