"""What a run would make, as a table: `builder/generate.py --dry-run`. Needs neither torch nor a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from builder import UserError, preview, prompts
from builder.criteria import Criteria
from builder.models import place
from builder.plan import Cell, Plan


def lines(plan: Plan, tokenize: Callable[[str], list] | None) -> Iterator[str]:
    """Per attribute and feature: pictures, phrases, the longest prompt in tokens, and one prompt."""
    spec, counts = plan.spec, Counter()
    for cell in plan.cells:
        counts[cell.feature.name] += cell.chosen
    yield f"{spec.name}: {plan.chosen:,} of {len(plan):,} pictures in {len(plan.shards):,} shards of {plan.shard_size}"
    yield f"model {spec.recipe.model}, {spec.recipe.steps} steps, guidance scale {spec.recipe.guidance_scale}"
    yield f"checks: {', '.join(_checks(plan.spec.checks)) or 'that a picture is neither black nor flat'}"
    yield "" if tokenize else "(tokens: no tokenizer of this model at hand)"
    yield f"{'attribute / feature':<26}{'pictures':>9}{'phrases':>9}{'tokens':>8}  example"
    for attribute, features in spec.attributes.items():
        total = sum(counts[feature.name] for feature in features)
        if not total:
            continue
        yield f"{attribute:<26}{total:>9,}"
        for feature in features:
            cells = [cell for cell in plan.cells if cell.feature is feature and cell.chosen]
            if cells:
                phrases = len({phrase for cell in cells for phrase in feature.phrases[cell.sex]} - {""})
                tokens = _longest(plan, cells, tokenize) if tokenize else "-"
                example = plan.at(cells[0], 0).prompt
                yield f"  {feature.name:<24}{counts[feature.name]:>9,}{phrases:>9}{tokens:>8}  {example[:110]}"
    yield f"{'all':<26}{plan.chosen:>9,}"


def _checks(criteria: Criteria) -> Iterator[str]:
    """The checks that are made, with the models that they use."""
    for name, values in vars(criteria).items():
        if values:
            model = {"face": "detector", "attribute": "model"}.get(name)
            yield f"{name} ({getattr(values, model)})" if model else name


def _longest(plan: Plan, cells: list[Cell], tokenize: Callable[[str], list]) -> str:
    """Tokens of the longest positive and negative prompt that the cells can give."""
    positive = negative = 0
    for cell in cells:
        for prompt, negative_prompt in plan.prompts(cell):
            positive = max(positive, prompts.count_tokens(prompt, tokenize))
            negative = max(negative, prompts.count_tokens(negative_prompt, tokenize))
    return f"{positive}/{negative}"


def tokenizer(model: str, revision: str) -> Callable[[str], list] | None:
    """The tokenizer of a local or cached model, as text → tokens; None where there is none at hand.

    Raises UserError for one that is damaged.
    """
    folder = _tokenizer_folder(model, revision)
    if folder is None:
        return None
    try:
        loaded = _read(folder)
    except Exception as error:  # tokenizers raises nothing more exact
        said = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: cannot be read: {said}; is the model damaged?") from None
    return loaded and (lambda text: loaded.encode(text, add_special_tokens=False).ids)


def _read(folder: Path) -> Tokenizer | None:
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    return _clip(folder) if all((folder / name).is_file() for name in ("vocab.json", "merges.txt")) else None


def _clip(folder: Path) -> Tokenizer:
    """CLIP's tokenizer from its vocab.json and merges.txt, without transformers, which takes seconds to import."""
    vocabulary, merges = str(folder / "vocab.json"), str(folder / "merges.txt")
    made = Tokenizer(models.BPE.from_file(vocabulary, merges, end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    made.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    split = pre_tokenizers.Split(words, behavior="removed", invert=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return made


def _tokenizer_folder(model: str, revision: str) -> Path | None:
    local = preview.MODEL if model == preview.NAME else place(model)
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
