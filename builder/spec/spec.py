"""The table as data: attributes, features, quotas, prompt pieces and the recipe; a value that exists is a good one."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from builder.common import validation
from builder.spec import criteria as spec_criteria
from builder.spec.criteria import Criteria, Shown

SEXES = ("male", "female")
FIELDS = ("age", "subject", "ethnicity", "phrase")
ADULT = 18

TEMPLATE_FIELD = re.compile(r"\{(.*?)\}")


LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")


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
        validation.text("model", self.model)
        validation.text("revision", self.revision)
        validation.whole("steps", self.steps, 1)
        validation.whole("max_attempts", self.max_attempts, 1)
        validation.guidance("guidance_scale", self.guidance_scale)
        for name in ("width", "height"):
            validation.whole(name, getattr(self, name), 8)
            validation.rule(getattr(self, name) % 8 == 0, f"`{name}` must be a multiple of 8", getattr(self, name))


@dataclass(frozen=True)
class Feature:
    """One row of the table: a label, its quotas, and what its prompts are made of.

    `phrases` and `subjects` are given by sex; `positive` and `negative` are the row's own prompt pieces, after the
    template's were dropped, replaced and added to. `check` says how a picture is checked for it.
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
    check: Shown = field(default_factory=Shown)

    def __post_init__(self):
        for key in ("attribute", "name"):
            validation.file_name(key, getattr(self, key))
        validation.rule(self.name not in SEXES, "`name` must not be that of a sex", self.name)
        for sex in SEXES:
            validation.whole(sex, self.quota(sex), 0)
        validation.rule(self.male + self.female > 0, "`male` and `female` must not both be 0", 0)
        validation.distinct("ages", self.ages)
        for age in self.ages:
            validation.whole("ages", age, 0, 120)
        validation.guidance("guidance_scale", self.guidance_scale)
        for sex in SEXES:
            validation.words("subjects", self.subjects[sex])
            if self.phrases[sex] != ("",):
                validation.words("phrases", self.phrases[sex])
        self._check_prompt()

    def _check_prompt(self):
        validation.words("positive", self.positive, fields=FIELDS)
        validation.words("negative", self.negative, empty=True)
        fields = {name for piece in self.positive for name in TEMPLATE_FIELD.findall(piece)}
        needed = {"age", "subject", "ethnicity"} | (
            {"phrase"} if self.phrases != dict.fromkeys(SEXES, ("",)) else set()
        )
        for name in sorted(needed - fields):
            validation.rule(False, f"the positive prompt must keep the field {{{name}}}", list(self.positive))
        unwanted = [words for piece in self.negative for words in validation.plain_parts(piece)]
        for phrase in sorted({p for sex in SEXES for p in self.phrases[sex]}):
            for wanted, words in itertools.product(validation.plain_parts(phrase), unwanted):
                if f" {words} " in f" {wanted} " or f" {wanted} " in f" {words} ":
                    validation.rule(
                        False, "a phrase must not stand in the row's own negative prompt (see negative_drop)", phrase
                    )

    def quota(self, sex: str) -> int:
        """Pictures wanted of this sex."""
        return getattr(self, sex)

    def variants(self, sex: str) -> list[tuple[str, str]]:
        """The (subject, phrase) pairs that the row's prompts take in turn."""
        return list(itertools.product(self.subjects[sex], self.phrases[sex]))


@dataclass(frozen=True)
class Spec:
    """A whole table. `features` keep the file's order; `age_groups` map a label to its first age.

    `license` is that of the pictures, and changes none of them.
    """

    name: str
    release: str
    recipe: Recipe
    features: tuple[Feature, ...]
    ethnicities: dict[str, str]
    age_groups: dict[str, int]
    minors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    license: str = "creativeml-openrail-m"
    checks: Criteria = field(default_factory=Criteria)

    def __post_init__(self):
        validation.text("name", self.name)
        validation.text("license", self.license)
        validation.rule(LICENSE.fullmatch(self.license), "`license` must be an id as the Hub knows it", self.license)
        validation.text("release", self.release)
        validation.rule(len(self.features) > 0, "there must be at least one [[feature]]", 0)
        validation.rule(len(self.ethnicities) > 0, "there must be at least one entry in [ethnicities]", {})
        for label, words in self.ethnicities.items():
            validation.name("ethnicities", label)
            validation.words(f"ethnicities.{label}", (words,))
        validation.distinct("ethnicities", tuple(self.ethnicities.values()))
        self._check_ages()
        described = {} if self.checks.attribute is None else vars(self.checks.attribute)
        for key, labels in (("sexes", SEXES), ("age_groups", tuple(self.age_groups))):
            for label in described.get(key, {}):
                validation.one_of(f"checks.attribute.{key}", label, labels)

    def _check_ages(self):
        starts = list(self.age_groups.values())
        for label, start in self.age_groups.items():
            validation.name("age_groups", label)
            validation.whole(f"age_groups.{label}", start, 0)
        validation.rule(starts == sorted(set(starts)) and starts[:1] == [0], "[age_groups] must rise from 0", starts)

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


def spec_of(content: dict[str, Any]) -> Spec:
    """The table that a recipe.json was made from."""
    table = dict(content["spec"])
    features = []
    for row in table.pop("features"):
        lists = {key: tuple(row[key]) for key in ("ages", "positive", "negative")}
        by_sex = {key: {sex: tuple(row[key][sex]) for sex in row[key]} for key in ("subjects", "phrases")}
        features.append(Feature(**{**row, **lists, **by_sex, "check": spec_criteria.shown(row["check"])}))
    minors = {key: tuple(pieces) for key, pieces in table.pop("minors").items()}
    kept = {"recipe": Recipe(**table["recipe"]), "checks": spec_criteria.restored(table["checks"])}
    return Spec(**{**table, **kept}, features=tuple(features), minors=minors)
