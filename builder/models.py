"""Which model is meant, and which exact one it is: names, commits and digests, without loading any weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from builder import UserError
from builder.files import sha256

PREVIEW = "preview"
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")


@dataclass(frozen=True)
class Source:
    """A model to load. `kind` is preview, hub, folder or file; `name` and `revision` go into every row."""

    kind: str
    name: str
    location: str
    revision: str


def resolve(model: str, revision: str, recorded: Source | None = None) -> Source:
    """Find the exact model. A Hub revision becomes a commit, a local model the digest of its files.

    `recorded` is what an earlier run resolved the same words to: a Hub model keeps that commit, without network.
    Raises UserError where there is no such model, or only a pickled one.
    """
    path = Path(model).expanduser()
    if model == PREVIEW:
        return Source("preview", "preview (random weights)", PREVIEW, "built-in")
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise UserError(f"--model {model}: no model_index.json in this folder; it is not a diffusers model")
        files = sorted(file for file in path.rglob("*") if file.suffix in (".safetensors", ".json", ".txt"))
        if not any(file.suffix == ".safetensors" for file in files):
            raise UserError(f"--model {model}: no .safetensors weights in this folder (pickled weights are not loaded)")
        lines = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
        return Source("folder", path.resolve().name, str(path), f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}")
    if path.suffix.lower() in PICKLES:
        raise UserError(f"--model {model}: pickled weights can run code and are not loaded; use the .safetensors file")
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise UserError(f"--model {model}: there is no such file")
        return Source("file", path.name, str(path), f"sha256:{sha256(path)}")
    if path.exists():
        raise UserError(f"--model {model}: is neither a diffusers folder nor a .safetensors file")
    if recorded is not None and recorded.kind == "hub" and recorded.name == model:
        return recorded
    return Source("hub", model, model, _commit(model, revision))


def _commit(model: str, revision: str) -> str:
    """The commit that a Hub model's branch or tag stands for now; offline, the one in the local cache."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return HfApi().model_info(model, revision=revision).sha
    except HFValidationError:
        raise UserError(f"--model {model}: no such folder or file here, and not a Hub id (owner/name)") from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise UserError(
            f"--model {model}: the Hub has no such model or revision {revision!r}, or it is private (hf auth login)"
        ) from None
    except Exception as error:  # offline, proxies, time-outs: the client raises many kinds
        try:
            return Path(
                snapshot_download(model, revision=revision, local_files_only=True, allow_patterns="*.json")
            ).name
        except Exception:
            raise UserError(
                f"--model {model}: the Hub cannot be reached ({type(error).__name__}) and the model is not in the "
                "local cache; try again with network, give a local folder, or use --model preview"
            ) from None
