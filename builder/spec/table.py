"""Reads a table from TOML: templates, per-row changes and shorthands become the plain rows of a Spec."""

from __future__ import annotations

import itertools
import math
import tomllib
from pathlib import Path
from typing import Any

from builder.common import validation
from builder.common.validation import SpecError
from builder.spec import criteria, prompts
from builder.spec.spec import FIELDS, SEXES, TEMPLATE_FIELD, Feature, Recipe, Spec

DEFAULT = Path(__file__).parents[1] / "agfd30k.toml"
MAX_DESIGN = 10_000
"""The most combinations of ethnicity, age and phrase that one feature may have."""


def load(path: str | Path = DEFAULT) -> Spec:
    """Read and check a table. Raises SpecError with one line that names file, row, rule and value."""
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, numbers or nesting beyond Python's limits
        raise SpecError(f"{path}: not a TOML file: {' '.join(str(error).split())}") from None
    try:
        return _spec(document)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def _spec(document: dict) -> Spec:
    top = validation.keys(
        "the table",
        document,
        "name release recipe prompt people ethnicities age_groups feature",
        optional="minors license checks",
    )
    prompt = validation.keys("[prompt]", top["prompt"], "positive negative")
    usual = validation.keys("[people]", top["people"], "ages subjects")
    minors = validation.keys("[minors]", top.get("minors", {}), "", optional="positive negative")
    recipe = Recipe(
        **validation.keys("[recipe]", top["recipe"], "model", optional=" ".join(Recipe.__dataclass_fields__))
    )
    for where, pieces in (("prompt", prompt), ("minors", minors)):
        for key, value in pieces.items():
            validation.words(f"{where}.{key}", value, fields=FIELDS if (where, key) == ("prompt", "positive") else ())
    for key in ("ethnicities", "age_groups"):
        validation.rule(isinstance(top[key], dict), f"`{key}` must be a table of labels", top[key])
    rows = top["feature"]
    validation.rule(isinstance(rows, list), "features must be written as [[feature]]", rows)
    features, seen = [], {}
    for number, row in enumerate(rows, 1):
        try:
            features.append(_feature(row, prompt, usual, top["ethnicities"], recipe))
            first = seen.setdefault(features[-1].name, number)
            validation.rule(first == number, f"`name` must be unique (row {first} has it too)", features[-1].name)
        except SpecError as error:
            raise SpecError(f"feature row {number}{_label(row)}: {error}") from None
    spec = Spec(
        name=top["name"],
        release=top["release"],
        recipe=recipe,
        features=tuple(features),
        ethnicities=top["ethnicities"],
        age_groups=top["age_groups"],
        minors={key: tuple(value) for key, value in minors.items()},
        checks=criteria.read(top.get("checks", {})),
        **{key: top[key] for key in ("license",) if key in top},
    )
    for number, feature in enumerate(features, 1):
        try:
            prompts.check(spec, feature)
        except SpecError as error:
            raise SpecError(f"feature row {number} ({feature.name}): {error}") from None
    return spec


def _label(row: Any) -> str:
    name = row.get("name") if isinstance(row, dict) else None
    return f" ({name})" if isinstance(name, str) and name.isidentifier() else ""


def _feature(row: Any, prompt: dict, usual: dict, ethnicities: dict, recipe: Recipe) -> Feature:
    optional = "phrases combine ages subjects guidance_scale drop replace add negative_drop negative_add check"
    row = validation.keys("the row", row, "attribute name male female", optional=optional)
    validation.rule(not ("phrases" in row and "combine" in row), "give `phrases` or `combine`, not both", sorted(row))
    for key in ("drop", "add", "negative_drop", "negative_add"):
        if key in row:
            validation.words(key, row[key], fields=() if key.startswith("negative") else FIELDS)
    phrases = _combine(row["combine"]) if "combine" in row else row.get("phrases", [""])
    feature = Feature(
        attribute=row["attribute"],
        name=row["name"],
        male=row["male"],
        female=row["female"],
        ages=validation.listed("ages", row.get("ages", usual["ages"])),
        subjects=_by_sex("subjects", row.get("subjects", usual["subjects"])),
        phrases=_by_sex("phrases", phrases),
        guidance_scale=row.get("guidance_scale", recipe.guidance_scale),
        positive=_pieces(prompt["positive"], row.get("drop", []), row.get("replace", {}), row.get("add", [])),
        negative=_pieces(prompt["negative"], row.get("negative_drop", []), {}, row.get("negative_add", [])),
        check=criteria.shown(row.get("check", {})),
    )
    size = len(ethnicities) * len(feature.ages) * max(len(feature.variants(sex)) for sex in SEXES)
    validation.rule(size <= MAX_DESIGN, f"ethnicities × ages × phrases must be at most {MAX_DESIGN:,}", size)
    validation.rule("phrases" not in row or phrases != [""], "`phrases` must not be empty", phrases)
    return feature


def _pieces(pieces: list[str], drop: list[str], replace: dict[str, str], add: list[str]) -> tuple[str, ...]:
    """The template's pieces after a row's changes; what is added goes behind the last piece that has a field."""
    validation.rule(isinstance(replace, dict), "`replace` must be a table of old = new", replace)
    for piece in [*drop, *replace]:
        validation.rule(piece in pieces, "`drop` and `replace` must name a piece of the template exactly", piece)
    validation.words("replace", tuple(replace.values()), empty=True, fields=FIELDS)
    kept = [replace.get(piece, piece) for piece in pieces if piece not in drop]
    place = max((n for n, piece in enumerate(kept, 1) if TEMPLATE_FIELD.search(piece)), default=len(kept))
    return tuple(kept[:place] + list(add) + kept[place:])


def _combine(rule: Any) -> list[str]:
    rule = validation.keys("`combine`", rule, "at_least of")
    validation.words("combine.of", rule["of"])
    validation.whole("combine.at_least", rule["at_least"], 1)
    validation.rule(
        rule["at_least"] <= len(rule["of"]), "`combine.at_least` must not exceed the length of `of`", rule["at_least"]
    )
    sizes = range(rule["at_least"], len(rule["of"]) + 1)
    number = sum(math.comb(len(rule["of"]), size) for size in sizes)
    validation.rule(number <= MAX_DESIGN, f"`combine` must give at most {MAX_DESIGN:,} phrases", number)
    return [", ".join(chosen) for size in sizes for chosen in itertools.combinations(rule["of"], size)]


def _by_sex(key: str, value: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(value, dict):
        value = validation.keys(f"`{key}`", value, " ".join(SEXES))
        return {sex: validation.listed(f"{key}.{sex}", value[sex]) for sex in SEXES}
    return dict.fromkeys(SEXES, validation.listed(key, value))
