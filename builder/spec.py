"""The table as data: attributes, features, quotas, prompt pieces and the recipe, read from TOML and checked.

A spec that loads is a spec that can be built: every rule is checked here, and each broken one is a line that names the
file, the row, the rule and the value.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from builder import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_SPEC = Path(__file__).with_name("agfd30k.toml")
SEXES = ("male", "female")
FIELDS = ("age", "subject", "ethnicity", "phrase")
ADULT = 18
MAX_DESIGN = 10_000
"""The most combinations of ethnicity, age and phrase that one feature may have."""

RESERVED = {"all", "metadata", "default", "train", "validation", "test"}
NAME = re.compile(r"[a-z][a-z0-9_]*")
# `{phrase}` may be empty in a whole table, so a template can do without it only where no feature has phrases.
TEMPLATE_FIELD = re.compile(r"\{(.*?)\}")


class SpecError(UserError, ValueError):
    """A broken rule of the table."""


@dataclass(frozen=True)
class Recipe:
    """Everything that changes pixels, apart from the prompts. Sizes in pixels."""

    model: str
    revision: str = "main"
    steps: int = 20
    guidance_scale: float = 7.0
    width: int = 512
    height: int = 512
    max_attempts: int = 10

    def __post_init__(self):
        _text("model", self.model)
        _text("revision", self.revision)
        _whole("steps", self.steps, 1)
        _whole("max_attempts", self.max_attempts, 1)
        _guidance("guidance_scale", self.guidance_scale)
        for name in ("width", "height"):
            _whole(name, getattr(self, name), 8)
            _rule(getattr(self, name) % 8 == 0, f"`{name}` must be a multiple of 8", getattr(self, name))


@dataclass(frozen=True)
class Feature:
    """One row of the table: a label, its quotas, and what its prompts are made of.

    `phrases` and `subjects` are given by sex; `positive` and `negative` are the row's own prompt pieces, after the
    template's were dropped, replaced and added to.
    """

    attribute: str
    name: str
    male: int
    female: int
    ages: tuple[int, ...]
    subjects: dict[str, tuple[str, ...]]
    phrases: dict[str, tuple[str, ...]]
    guidance_scale: float
    positive: tuple[str, ...]
    negative: tuple[str, ...]

    def __post_init__(self):
        for key in ("attribute", "name"):
            _name(key, getattr(self, key))
        for sex in SEXES:
            _whole(sex, self.quota(sex), 0)
        _rule(self.male + self.female > 0, "`male` and `female` must not both be 0", 0)
        _distinct("ages", self.ages)
        for age in self.ages:
            _rule(isinstance(age, int) and 0 <= age <= 120, "`ages` must be whole numbers from 0 to 120", age)
        _guidance("guidance_scale", self.guidance_scale)
        for sex in SEXES:
            _words("subjects", self.subjects[sex])
            if self.phrases[sex] != ("",):
                _words("phrases", self.phrases[sex])
        self._check_prompt()

    def _check_prompt(self):
        fields = {name for piece in self.positive for name in TEMPLATE_FIELD.findall(piece)}
        for name in sorted(fields - set(FIELDS)):
            _rule(False, f"a positive piece may only use the fields {', '.join(FIELDS)}", "{" + name + "}")
        needed = {"age", "subject", "ethnicity"} | ({"phrase"} if self.phrases != dict.fromkeys(SEXES, ("",)) else set())
        for name in sorted(needed - fields):
            _rule(False, f"the positive prompt must keep the field {{{name}}}", list(self.positive))
        for piece in self.negative:
            _rule(not TEMPLATE_FIELD.search(piece), "a negative piece may not use fields", piece)
        unwanted = [words for piece in self.negative for words in _plain_parts(piece)]
        for phrase in sorted({p for sex in SEXES for p in self.phrases[sex]}):
            for wanted, words in itertools.product(_plain_parts(phrase), unwanted):
                if f" {words} " in f" {wanted} " or f" {wanted} " in f" {words} ":
                    _rule(False, "a phrase must not stand in the row's own negative prompt (see negative_drop)", phrase)

    def quota(self, sex: str) -> int:
        """Pictures wanted of this sex."""
        return getattr(self, sex)

    def variants(self, sex: str) -> list[tuple[str, str]]:
        """The (subject, phrase) pairs that the row's prompts take in turn."""
        return list(itertools.product(self.subjects[sex], self.phrases[sex]))


@dataclass(frozen=True)
class Spec:
    """A whole table. `features` keep the file's order; `age_groups` map a label to its first age."""

    name: str
    release: str
    recipe: Recipe
    features: tuple[Feature, ...]
    ethnicities: dict[str, str]
    age_groups: dict[str, int]
    minors: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self):
        _text("name", self.name)
        _text("release", self.release)
        _rule(len(self.features) > 0, "there must be at least one [[feature]]", 0)
        _rule(len(self.ethnicities) > 0, "there must be at least one entry in [ethnicities]", {})
        for label, words in self.ethnicities.items():
            _name("ethnicities", label)
            _words(f"ethnicities.{label}", (words,))
        self._check_ages()

    def _check_ages(self):
        starts = list(self.age_groups.values())
        for label, start in self.age_groups.items():
            _name("age_groups", label)
            _whole(f"age_groups.{label}", start, 0)
        _rule(starts == sorted(set(starts)) and starts[:1] == [0], "[age_groups] must rise from 0", starts)
        if any(age < ADULT for feature in self.features for age in feature.ages):
            for key in ("positive", "negative"):
                _rule(bool(self.minors.get(key)), f"a table with ages under {ADULT} needs [minors] `{key}`", None)

    @property
    def attributes(self) -> dict[str, list[Feature]]:
        """Attribute → its features, in the file's order."""
        found: dict[str, list[Feature]] = {}
        for feature in self.features:
            found.setdefault(feature.attribute, []).append(feature)
        return found

    @property
    def labels(self) -> dict[str, list[str]]:
        """Column → class names, as the loader and the release use them."""
        return {
            "attribute": list(self.attributes),
            "feature": [feature.name for feature in self.features],
            "sex": list(SEXES),
            "ethnicity": list(self.ethnicities),
            "age_group": list(self.age_groups),
        }

    def age_group(self, age: int) -> str:
        """The label of the group that an age in years belongs to."""
        return [label for label, start in self.age_groups.items() if start <= age][-1]

    def as_dict(self) -> dict[str, Any]:
        """The resolved table as plain JSON values."""
        return json.loads(json.dumps(asdict(self)))


def fingerprint(document: dict[str, Any]) -> str:
    """SHA-256 of a JSON document in canonical form: the same content gives the same fingerprint."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def load(path: str | Path = DEFAULT_SPEC) -> Spec:
    """Read and check a table. Raises SpecError with one line that names file, row, rule and value."""
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not a TOML file: {error}") from None
    try:
        return _spec(document)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def _spec(document: dict) -> Spec:
    top = _keys(
        "the table", document, "name release recipe prompt people ethnicities age_groups feature", optional="minors"
    )
    prompt = _keys("[prompt]", top["prompt"], "positive negative")
    people = _keys("[people]", top["people"], "ages subjects")
    minors = _keys("[minors]", top.get("minors", {}), "", optional="positive negative")
    recipe = Recipe(**_keys("[recipe]", top["recipe"], "model", optional=" ".join(Recipe.__dataclass_fields__)))
    for where, pieces in (("prompt", prompt), ("minors", minors)):
        for key, value in pieces.items():
            _words(f"{where}.{key}", value)
    for key in ("ethnicities", "age_groups"):
        _rule(isinstance(top[key], dict), f"`{key}` must be a table of labels", top[key])
    rows = top["feature"]
    _rule(isinstance(rows, list), "features must be written as [[feature]]", rows)
    features, seen = [], {}
    for number, row in enumerate(rows, 1):
        try:
            features.append(_feature(row, prompt, people, top["ethnicities"], recipe))
            first = seen.setdefault(features[-1].name, number)
            _rule(first == number, f"`name` must be unique (row {first} has it too)", features[-1].name)
        except SpecError as error:
            label = f" ({row['name']})" if isinstance(row, dict) and isinstance(row.get("name"), str) else ""
            raise SpecError(f"feature row {number}{label}: {error}") from None
    return Spec(
        name=top["name"],
        release=top["release"],
        recipe=recipe,
        features=tuple(features),
        ethnicities=top["ethnicities"],
        age_groups=top["age_groups"],
        minors={key: tuple(value) for key, value in minors.items()},
    )


def _feature(row: Any, prompt: dict, people: dict, ethnicities: dict, recipe: Recipe) -> Feature:
    optional = "phrases combine ages subjects guidance_scale drop replace add negative_drop negative_add"
    row = _keys("the row", row, "attribute name male female", optional=optional)
    _rule(not ("phrases" in row and "combine" in row), "give `phrases` or `combine`, not both", sorted(row))
    for key in ("drop", "add", "negative_drop", "negative_add"):
        if key in row:
            _words(key, row[key])
    phrases = _combine(row["combine"]) if "combine" in row else row.get("phrases", [""])
    feature = Feature(
        attribute=row["attribute"],
        name=row["name"],
        male=row["male"],
        female=row["female"],
        ages=_list("ages", row.get("ages", people["ages"])),
        subjects=_by_sex("subjects", row.get("subjects", people["subjects"])),
        phrases=_by_sex("phrases", phrases),
        guidance_scale=row.get("guidance_scale", recipe.guidance_scale),
        positive=_pieces(prompt["positive"], row.get("drop", []), row.get("replace", {}), row.get("add", [])),
        negative=_pieces(prompt["negative"], row.get("negative_drop", []), {}, row.get("negative_add", [])),
    )
    size = len(ethnicities) * len(feature.ages) * max(len(feature.variants(sex)) for sex in SEXES)
    _rule(size <= MAX_DESIGN, f"ethnicities × ages × phrases must be at most {MAX_DESIGN:,}", size)
    _rule("phrases" not in row or phrases != [""], "`phrases` must not be empty", phrases)
    return feature


def _pieces(pieces: list[str], drop: list[str], replace: dict[str, str], add: list[str]) -> tuple[str, ...]:
    """The template's pieces after a row's changes; what is added goes behind the last piece that has a field."""
    _rule(isinstance(replace, dict), "`replace` must be a table of old = new", replace)
    for piece in [*drop, *replace]:
        _rule(piece in pieces, "`drop` and `replace` must name a piece of the template exactly", piece)
    _words("replace", tuple(replace.values()), empty=True)
    kept = [replace.get(piece, piece) for piece in pieces if piece not in drop]
    place = max((n for n, piece in enumerate(kept, 1) if TEMPLATE_FIELD.search(piece)), default=len(kept))
    return tuple(kept[:place] + list(add) + kept[place:])


def _combine(rule: Any) -> list[str]:
    rule = _keys("`combine`", rule, "at_least of")
    _words("combine.of", rule["of"])
    _whole("combine.at_least", rule["at_least"], 1)
    _rule(rule["at_least"] <= len(rule["of"]), "`combine.at_least` must not exceed the length of `of`", rule["at_least"])
    sizes = range(rule["at_least"], len(rule["of"]) + 1)
    return [", ".join(chosen) for size in sizes for chosen in itertools.combinations(rule["of"], size)]


def _by_sex(key: str, value: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(value, dict):
        value = _keys(f"`{key}`", value, " ".join(SEXES))
        return {sex: _list(f"{key}.{sex}", value[sex]) for sex in SEXES}
    return dict.fromkeys(SEXES, _list(key, value))


def _keys(where: str, table: Any, required: str, optional: str = "") -> dict:
    _rule(isinstance(table, dict), f"{where} must be a table", table)
    for key in table:
        allowed = required.split() + optional.split()
        _rule(key in allowed, f"unknown key in {where} (known: {', '.join(sorted(set(allowed)))})", key)
    for key in required.split():
        _rule(key in table, f"{where} needs the key `{key}`", sorted(table))
    return table


def _rule(holds: bool, rule: str, got: Any) -> None:
    if not holds:
        raise SpecError(f"{rule}, got {got!r}")


def _text(key: str, value: Any) -> None:
    _rule(isinstance(value, str) and value.strip() != "", f"`{key}` must be a non-empty string", value)


def _name(key: str, value: Any) -> None:
    good = isinstance(value, str) and NAME.fullmatch(value) is not None and len(value) <= 64
    _rule(good, f"`{key}` must be lower-case letters, digits and _ (64 at most, a letter first)", value)
    _rule(value not in RESERVED, f"`{key}` must not be a reserved word", value)


def _whole(key: str, value: Any, least: int) -> None:
    good = isinstance(value, int) and not isinstance(value, bool) and value >= least
    _rule(good, f"`{key}` must be a whole number, {least} or more", value)


def _guidance(key: str, value: Any) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= 100
    _rule(good, f"`{key}` must be a number from 1 to 100", value)


def _list(key: str, value: Any) -> tuple:
    _rule(isinstance(value, (list, tuple)), f"`{key}` must be a list", value)
    return tuple(value)


def _distinct(key: str, values: tuple) -> None:
    _rule(len(values) > 0, f"`{key}` must not be empty", list(values))
    _rule(len(set(values)) == len(values), f"`{key}` must not repeat a value", list(values))


def _words(key: str, values: Any, empty: bool = False) -> None:
    values = _list(key, values)
    if not (empty and not values):
        _distinct(key, values)
    for words in values:
        _text(key, words)
        _rule("\n" not in words, f"`{key}` must be one line each", words)
        _rule(_balanced(words), f"`{key}` must have balanced brackets", words)


def _balanced(text: str) -> bool:
    opened = []
    for bracket in re.sub(r"\\.", "", text):
        if bracket in "([":
            opened.append(bracket)
        elif bracket in ")]" and (not opened or opened.pop() != {")": "(", "]": "["}[bracket]):
            return False
    return not opened


def _plain_parts(piece: str) -> list[str]:
    """The comma-separated parts of a piece in lower case, without brackets and weights."""
    plain = re.sub(r":\s*[\d.]+\s*\)", ")", piece)
    parts = (" ".join(re.findall(r"[\w'-]+", part.lower())) for part in plain.split(","))
    return [part for part in parts if part]
