"""Which model is meant, and which exact one it is: names, commits and digests, without loading any weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builder import preview
from builder.common.errors import UserError
from builder.common.files import sha256
from builder.spec.spec import Recipe

YUNET = "face_detection_yunet_2023mar.onnx"
"""The file of OpenCV's YuNet repository on the Hub."""
OWN_CHECKER = "safety_checker/model.safetensors"
"""Where a model has a safety checker of its own."""
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")


@dataclass(frozen=True)
class ModelId:
    """Which exact model it is: `kind` is preview, hub, folder or file, `revision` a commit or a digest.

    `file` is the one file that is read of a repository or folder, "" for its folders; `sha256` its digest, where known.
    """

    kind: str
    name: str
    revision: str
    file: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        where = f"{self.name}@{self.revision}" + (f":{self.file}" if self.file else "")
        return where + (f" sha256:{self.sha256}" if self.sha256 else "")


@dataclass(frozen=True)
class Source:
    """A model to load. `kind` is preview, hub, folder or file; `name` and `revision` go into every row."""

    kind: str
    name: str
    location: str
    revision: str
    file: str = ""
    sha256: str = ""

    @property
    def id(self) -> ModelId:
        """Which exact model it is, wherever it lies."""
        return ModelId(self.kind, self.name, self.revision, self.file, self.sha256)


@dataclass(frozen=True)
class CheckVersion:
    """A check of a build: its name and version, and the exact model it looks with, if it has one."""

    name: str
    version: int
    model: ModelId | None = None

    @classmethod
    def of(cls, document: dict[str, Any]) -> CheckVersion:
        """Return a check as recipe.json and checks.json hold it."""
        model = document["model"]
        return cls(document["name"], document["version"], model and ModelId(**model))

    @property
    def model_key(self) -> str:
        """The key of the check's section in a table that names its model."""
        return "model" if self.name == "attribute" else "detector"


def local_path(model: str) -> Path:
    """What a model's name is as a path. Raises UserError for the home folder of a user that this system lacks."""
    try:
        return Path(model).expanduser()
    except RuntimeError:
        raise UserError(f"{model}: there is no such user here; write the path in full") from None


def resolve(model: str, revision: str, recorded: Source | None = None, config: Path | None = None) -> Source:
    """Find the exact model. A Hub revision becomes a commit, a local model the digest of its files.

    `config` is the folder that says what is in a .safetensors file; its files belong to the digest.

    `recorded` is what an earlier run resolved the same words to: a Hub model keeps that commit, without network.
    Raises UserError where there is no such model, or only a pickled one, or no such `config`, or none is called for.
    """
    path = local_path(model)
    if config is not None:
        _require_config(model, path, config)
    if model == preview.NAME:
        return Source("preview", preview.NAME, str(preview.MODEL), _digest(preview.MODEL))
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise UserError(f"--model {model}: no model_index.json in this folder; it is not a diffusers model")
        if not any(path.rglob("*.safetensors")):
            raise UserError(f"--model {model}: no .safetensors weights in this folder (pickled weights are not loaded)")
        return Source("folder", path.resolve().name, str(path), _digest(path))
    if path.suffix.lower() in PICKLES:
        raise UserError(f"--model {model}: pickled weights can run code and are not loaded; use the .safetensors file")
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise UserError(f"--model {model}: there is no such file")
        known = f"sha256:{sha256(path)}" + (f"+{_digest(config)}" if config else "")
        return Source("file", path.name, str(path), known)
    if path.exists():
        raise UserError(f"--model {model}: is neither a diffusers folder nor a .safetensors file")
    if recorded is not None and recorded.kind == "hub" and recorded.name == model:
        return recorded
    return Source("hub", model, model, _commit(model, revision))


def _require_config(model: str, path: Path, config: Path) -> None:
    if path.suffix != ".safetensors" or path.is_dir():
        raise UserError(f"--model-config goes with a .safetensors file, and {model} is none: leave it out")
    if not config.is_dir():
        raise UserError(f"--model-config {config}: there is no such folder")


def resolve_checker(source: Source, given: str | None, recipe: Recipe) -> Source | None:
    """Return the exact safety checker of a model: the `given` one, its own, or the table's. The preview has none."""
    if source.kind == "preview":
        return None
    if given is None and _has_checker(source):
        return replace(source, file=OWN_CHECKER)
    name, revision = (given, "main") if given else (recipe.safety_checker, recipe.safety_checker_revision)
    path = local_path(name)
    if path.is_dir():
        return Source("folder", path.resolve().name, str(path), _digest(path))
    return Source("hub", name, name, _commit(name, revision, "--safety-checker"))


def resolve_reader(model: str, revision: str, recorded: Source | None = None) -> Source:
    """Return the exact model of the attribute check: the preview's, a transformers folder, or a Hub model's commit.

    `recorded` is what an earlier run resolved the same words to. Raises UserError telling how to get it or go without.
    """
    path = local_path(model)
    if model == preview.NAME:
        return Source("preview", preview.NAME, str(preview.VERIFIER), _digest(preview.VERIFIER))
    if path.is_dir():
        if not (path / "config.json").is_file() or not any(path.glob("*.safetensors")):
            raise UserError(f"attribute check: {model} is not a transformers folder with .safetensors weights")
        return Source("folder", path.resolve().name, str(path), _digest(path))
    return _kept(model, recorded) or _named("attribute", model, revision)


def resolve_detector(model: str, revision: str, recorded: Source | None = None) -> Source:
    """Return the exact YuNet model of the face check: a .onnx file, or one from the Hub, downloaded.

    `recorded` is what an earlier run resolved the same words to. Raises UserError telling how to get it or go without.
    """
    path = local_path(model)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise UserError(f'face check: {model}: there is no such file; use detector = "haar", or --without face')
        return Source("file", path.name, str(path), f"sha256:{sha256(path)}")
    from huggingface_hub import hf_hub_download

    source = _kept(model, recorded) or _named("face", model, revision)
    try:
        return replace(source, location=hf_hub_download(model, YUNET, revision=source.revision))
    except Exception as error:
        raise UserError(
            f'face check: {YUNET} of {model} cannot be read ({type(error).__name__}); use detector = "haar", or '
            "leave the check out on purpose with --without face"
        ) from None


def _kept(model: str, recorded: Source | None) -> Source | None:
    return recorded if recorded is not None and recorded.kind == "hub" and recorded.name == model else None


def _named(check: str, model: str, revision: str) -> Source:
    """Return a check's Hub model, by its commit."""
    try:
        return Source("hub", model, model, _commit(model, revision, f"{check} check:"))
    except UserError as error:
        raise UserError(f"{error}; builder/generate.py can leave the check out, --without {check}") from None


def _has_checker(source: Source) -> bool:
    """Return True when a checkpoint names a safety checker of its own."""
    if source.kind == "file":
        return False
    index = Path(source.location, "model_index.json")
    if source.kind == "hub":
        from huggingface_hub import hf_hub_download

        try:
            index = Path(hf_hub_download(source.name, "model_index.json", revision=source.revision))
        except Exception as error:
            raise UserError(
                f"--model {source.name}: its model_index.json cannot be read ({type(error).__name__})"
            ) from None
    try:
        return bool((json.loads(index.read_text(encoding="utf-8")).get("safety_checker") or [None])[0])
    except (ValueError, AttributeError, TypeError):
        raise UserError(f"--model {source.name}: its model_index.json is damaged") from None


def _digest(folder: Path) -> str:
    """Return digest of a model folder's files, names and content; README and the like do not count."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".safetensors", ".json", ".txt"))
    lines = "".join(f"{sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _commit(model: str, revision: str, flag: str = "--model") -> str:
    """Return the commit that a Hub model's branch or tag stands for now; offline, the one in the local cache."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        commit = HfApi().model_info(model, revision=revision).sha
    except HFValidationError:
        raise UserError(f"{flag} {model}: no such folder or file here, and not a Hub id (owner/name)") from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise UserError(
            f"{flag} {model}: the Hub has no such model or revision {revision!r}, or it is private (hf auth login)"
        ) from None
    except Exception as error:  # offline, proxies, time-outs: the client raises many kinds
        try:
            return Path(
                snapshot_download(model, revision=revision, local_files_only=True, allow_patterns="*.json")
            ).name
        except Exception:
            instead = ", or use --model preview" if flag == "--model" else ""
            raise UserError(
                f"{flag} {model}: the Hub cannot be reached ({type(error).__name__}) and the model is not in the "
                f"local cache; try again with network, give a local folder{instead}"
            ) from None
    if commit is None:
        raise UserError(f"{flag} {model}: the Hub names no commit of revision {revision!r}; try again later")
    return commit
