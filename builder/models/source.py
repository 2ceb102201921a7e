"""Which model is meant, and which exact one it is: names, commits and digests, without loading any weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from builder import preview
from builder.common.errors import UserError
from builder.common.files import sha256
from builder.models import kinds, layout, repository
from builder.models.faults import ModelError, NoModel, Pickled, Unreachable
from builder.models.identity import File, ModelId, Source
from builder.models.repository import Repository
from builder.spec.criteria import YUNET as SHIPPED
from builder.spec.spec import Recipe

YUNET = "face_detection_yunet_2023mar.onnx"
"""The file of OpenCV's YuNet repository on the Hub, which also comes along."""
CONFIGS = ("stable-diffusion-v1-5/stable-diffusion-v1-5", "451f4fe16113bff5a5d2269ed5ad43b0592e9a14")
"""Whose configs and tokenizer are read for a single file that comes without: a Hub id and its commit."""
MODEL, VAE, SAFETY_CHECKER, CONFIG = "model", "VAE", "safety checker", "configs of"
ATTRIBUTE_CHECK, FACE_CHECK = "attribute check", "face check"
"""What a model is for, as errors say it."""


def local_path(model: str) -> Path:
    """What a model's name is as a path. Raises UserError for the home folder of a user that this system lacks."""
    try:
        return Path(model).expanduser()
    except RuntimeError:
        raise UserError(f"{model}: there is no such user here; write the path in full") from None


def resolve(
    model: str,
    revision: str = "main",
    recorded: ModelId | None = None,
    config: Path | None = None,
    file: str | None = None,
    half: bool = False,
) -> Source:
    """Find the exact model, and which of its files are read, before any weight of it is.

    `recorded` is what an earlier run resolved the same words to: a Hub model keeps that commit, without network where
    the cache has it. `config` is the folder that says what is in a .safetensors file; its files belong to the digest.
    `file` is the one at the top that holds the model where its folders have no safetensors, `half` prefers 16-bit
    weights. Raises a ModelError, or UserError for a `config` that is none or is not called for.
    """
    path = local_path(model)
    if config is not None:
        _require_config(model, path, config)
    if model == preview.NAME:
        files = repository.in_folder(MODEL, preview.MODEL)
        return Source("preview", preview.NAME, str(preview.MODEL), repository.digest(files, files.files.values()))
    if path.suffix.lower() in layout.PICKLES and not path.is_dir():
        raise Pickled(MODEL, path.name, "is a pickle, which can run code and is not loaded")
    if path.is_file() or path.suffix == ".safetensors":
        return _file(path, config)

    def found(there: Repository) -> Source:
        return _of_model(there, file, half)

    return found(_repository(MODEL, model, revision, recorded, found))


def resolve_vae(recipe: Recipe, recorded: ModelId | None = None, half: bool = False) -> Source | None:
    """Return the exact VAE that a table asks for in place of the model's own, None where it asks for none."""
    if recipe.vae is None:
        return None

    def found(there: Repository) -> Source:
        return _source(there, layout.of_vae(there, half))

    return found(_repository(VAE, recipe.vae, recipe.vae_revision, recorded, found))


def resolve_checker(model: Source, given: str | None, recipe: Recipe, recorded: ModelId | None = None) -> Source | None:
    """Return the exact safety checker of a model: the `given` one, its own, or the table's. The preview has none.

    Its own counts only where it is safetensors. Raises a ModelError where there is none.
    """
    if model.kind == "preview":
        return None
    if given is None and (own := _own_checker(model)):
        return own
    name, revision = named(given) if given else (recipe.safety_checker, recipe.safety_checker_revision)
    if given and given != name and recorded:  # a revision was named: is it the recorded one?
        there = repository.cached(SAFETY_CHECKER, name, revision)
        recorded = recorded if there and there.revision == recorded.revision else None
    return _of_checker(_repository(SAFETY_CHECKER, name, revision, recorded, _of_checker))


def resolve_reader(model: str, revision: str, recorded: ModelId | None = None) -> Source:
    """Return the exact model of the attribute check: the preview's, a transformers folder, or a Hub model's commit.

    `recorded` is what an earlier run resolved the same words to. Raises a ModelError that says why it cannot be had.
    """
    if model == preview.NAME:
        files = repository.in_folder(ATTRIBUTE_CHECK, preview.VERIFIER)
        revision = repository.digest(files, files.files.values())
        return Source("preview", preview.NAME, str(preview.VERIFIER), revision)

    def found(there: Repository) -> Source:
        return _source(there, layout.of_transformer(there))

    return found(_repository(ATTRIBUTE_CHECK, model, revision, recorded, found))


def resolve_detector(model: str, revision: str, recorded: ModelId | None = None) -> Source:
    """Return the exact model of the face check: YuNet, which comes along, a .onnx or .task file, or one from the Hub.

    `recorded` is what an earlier run resolved the same words to. Raises a ModelError that says why it cannot be had.
    """
    if model == SHIPPED:
        own = Path(__file__).parent / "yunet" / YUNET
        return Source("file", SHIPPED, str(own), f"sha256:{sha256(own)}")
    path = local_path(model)
    if path.suffix in (".onnx", ".task"):
        if not path.is_file():
            raise NoModel(FACE_CHECK, model, "there is no such file")
        return Source("file", path.name, str(path), f"sha256:{sha256(path)}")

    def found(there: Repository) -> Source:
        if YUNET not in there.files:
            raise layout.none_of(there, YUNET)
        return _source(there, [YUNET], file=YUNET)

    return found(_repository(FACE_CHECK, model, revision, recorded, found))


def _require_config(model: str, path: Path, config: Path) -> None:
    if path.suffix != ".safetensors" or path.is_dir():
        raise UserError(f"--model-config goes with a .safetensors file, and {model} is none: leave it out")
    if not config.is_dir():
        raise UserError(f"--model-config {config}: there is no such folder")


def named(words: str, revision: str = "main") -> tuple[str, str]:
    """Return the name and revision in `owner/name@revision`; a path may have an @ in it."""
    name, at, after = words.partition("@")
    if not at or local_path(words).exists():
        return words, revision
    if not name or not after:
        raise UserError(f"{words}: a Hub model at a revision is written owner/name@revision")
    return name, after


def _repository(
    role: str, name: str, revision: str, recorded: ModelId | None, found: Callable[[Repository], Source]
) -> Repository:
    """Return the folder or Hub repository of this name.

    Of a Hub repository whose commit was recorded the cache is enough, if all is `found` there; and where the Hub does
    not answer, of any.
    """
    path = local_path(name)
    if path.is_dir():
        return repository.in_folder(role, path)
    if path.exists():
        raise NoModel(role, name, "is neither a folder nor a Hub id")
    commit = recorded.revision if recorded and recorded.kind == "hub" and recorded.name == name else None
    there = repository.cached(role, name, commit) if commit else None
    if there and (source := _complete(there, found)) and source.config is None:  # else its own may not have come yet
        return there
    try:
        return repository.on_hub(role, name, commit or revision)
    except Unreachable:
        there = repository.cached(role, name, commit or revision)
        if there and _complete(there, found):
            return there
        raise


def _complete(there: Repository, found: Callable[[Repository], Source]) -> Source | None:
    """Return what is found in the cache, None where a download was not finished."""
    try:
        return found(there)
    except ModelError:
        return None


def _of_model(there: Repository, file: str | None, half: bool) -> Source:
    """Return a model that is a folder or a Hub repository; of what kind it is is looked at here."""
    if layout.INDEX in there.files:
        kinds.require(there)
    chosen = layout.of_model(there, file, half)
    if chosen.file:
        kinds.require_file(there.role, there.name, kinds.shapes_on_hub(there, chosen.file))
    config = None if chosen.configs else _configs()
    own = layout.of_checker(there) if layout.INDEX in there.files else None
    return _source(there, [file.path for file in chosen.files], chosen.file, config, own)


def _file(path: Path, config: Path | None) -> Source:
    """Return a model that is a .safetensors file here."""
    if not path.is_file():
        raise NoModel(MODEL, str(path), "there is no such file")
    if path.suffix != ".safetensors":
        raise NoModel(MODEL, str(path), "is neither a diffusers folder nor a .safetensors file")
    kinds.require_file(MODEL, path.name, kinds.shapes_of(MODEL, path.name, path))
    if config:
        listed = repository.in_folder(CONFIG, config)
        kinds.require(listed)
        configs = Source("folder", config.name, str(config), repository.digest(listed, _small(listed)))
    else:
        configs = _configs()
    return Source("file", path.name, str(path), f"sha256:{sha256(path)}+{configs.revision}", config=configs)


def _configs() -> Source:
    """Return the configs and the tokenizer of Stable Diffusion 1.5, of one commit."""
    name, commit = CONFIGS

    def found(there: Repository) -> Source:
        kinds.require(there)
        return _source(there, [file.path for file in _small(there)])

    return found(_repository(CONFIG, name, commit, ModelId("hub", name, commit), found))


def _small(there: Repository) -> list[File]:
    """Return the configs and the tokenizer of a repository."""
    folders = ("unet/", "vae/", "text_encoder/", "tokenizer/", "scheduler/", "feature_extractor/")
    small = (file for path, file in there.files.items() if path.endswith((".json", ".txt")) and ".index." not in path)
    return [file for file in small if file.path == layout.INDEX or file.path.startswith(folders)]


def _own_checker(model: Source) -> Source | None:
    """Return the safety checker that came with a model; its files were chosen with the model's."""
    weights = [file for file in model.files if file.path.startswith(f"{layout.CHECKER}/") and _is_weights(file.path)]
    return _digested(replace(model, file=weights[0].path), weights[0]) if weights else None


def _is_weights(path: str) -> bool:
    return path.endswith(".safetensors")


def _of_checker(there: Repository) -> Source:
    file, paths = layout.of_lone_checker(there)
    return _digested(_source(there, paths, file), there.files[file])


def _digested(source: Source, file: File) -> Source:
    """Return a model with the digest of its one file, which the Hub tells in its list."""
    known = file.sha256 or sha256(repository.local(SAFETY_CHECKER, source.name, source.location, source.revision, file))
    return replace(source, sha256=known)


def _source(
    there: Repository,
    paths: Iterable[str],
    file: str = "",
    config: Source | None = None,
    own: tuple[str, list[str]] | None = None,
) -> Source:
    """Return these files of a repository as a model; `own` is a safety checker that comes with it."""
    files = there.chosen([*paths, *(own[1] if own else ())])
    revision = there.revision if there.kind == "hub" else repository.digest(there, files)
    return Source(there.kind, there.name, there.location, revision, file, "", files, config)
