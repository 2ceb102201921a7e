"""A model's tokenizer without the model: counts tokens for a dry run, needs neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from builder import preview
from builder.common.errors import UserError
from builder.models.source import local_path


def tokenizer(model: str, revision: str) -> Callable[[str], list[int]] | None:
    """Return the tokenizer of a local or cached model, as text → tokens; None where there is none at hand.

    Raises UserError for one that is damaged.
    """
    folder = _tokenizer_folder(model, revision)
    if folder is None:
        return None
    try:
        loaded = _read(folder)
    except Exception as error:  # tokenizers raises nothing more exact
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: cannot be read: {reason}; is the model damaged?") from None
    return loaded and (lambda text: loaded.encode(text, add_special_tokens=False).ids)


def _read(folder: Path) -> Tokenizer | None:
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    return _clip(folder) if all((folder / name).is_file() for name in ("vocab.json", "merges.txt")) else None


def _clip(folder: Path) -> Tokenizer:
    """CLIP's tokenizer from its vocab.json and merges.txt, without transformers, which takes seconds to import."""
    vocabulary, merges = str(folder / "vocab.json"), str(folder / "merges.txt")
    tokenizer = Tokenizer(
        models.BPE.from_file(vocabulary, merges, end_of_word_suffix="</w>", unk_token="<|endoftext|>")
    )
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    split = pre_tokenizers.Split(words, behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer


def _tokenizer_folder(model: str, revision: str) -> Path | None:
    local = preview.MODEL if model == preview.NAME else local_path(model)
    local /= "tokenizer"
    if local.is_dir():
        return local
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(model, "tokenizer/vocab.json", revision=revision)
    except HFValidationError:
        return None
    return Path(cached).parent if isinstance(cached, str) else None
