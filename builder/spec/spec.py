"""The table as data: attributes, features, quotas, prompt pieces and the recipe; a value that exists is a good one."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from builder.spec.criteria import Criteria, Shown
from builder.spec.faults import Fault, nearest
from builder.spec.field_types import (
    FIELDS,
    SEXES,
    AgeGroups,
    Ages,
    AnyWords,
    BothSexes,
    Count,
    Ethnicities,
    FeatureName,
    FileName,
    Guidance,
    License,
    Number,
    Phrases,
    Pieces,
    Question,
    SafetensorsFile,
    Sex,
    SexLabel,
    Size,
    Text,
    Words,
    WordsBySex,
)
from builder.spec.model import Model

__all__ = [
    "ADULT",
    "FIELDS",
    "SEXES",
    "TEMPLATE_FIELD",
    "Feature",
    "Recipe",
    "Spec",
    "Template",
    "fingerprint",
    "spec_of",
]

ADULT = 18
TEMPLATE_FIELD = re.compile(r"\{(.*?)\}")


class Template(Model):
    """The pieces of every prompt. They are joined by commas, and a piece that is empty disappears. Weights are those of
    the Stable Diffusion web UI: `(x)` weighs 1.1, `[x]` 1/1.1, `(x:1.3)` 1.3."""

    positive: Pieces = Field(examples=[["RAW photo", "portrait of a {age} y.o {subject}", "{ethnicity}", "{phrase}"]])
    """What a picture shall show. `{age}`, `{subject}`, `{ethnicity}` and `{phrase}` are filled in for each picture."""
    negative: Words = Field(examples=[["cartoon", "blurry"]])
    """What it shall not show."""


class Recipe(Model):
    """Everything that changes pixels, apart from the prompts."""

    model: Text
    """Hub id, diffusers folder or .safetensors file of a Stable Diffusion 1.5 model, or `preview`."""
    revision: Text = "main"
    """Branch, tag or commit of a model on the Hub; the commit that it stands for is recorded and kept."""
    file: SafetensorsFile | None = None
    """The .safetensors file at the top of the model's repository, for one whose folders hold none."""
    vae: Text | None = Field(default=None, examples=["stabilityai/sd-vae-ft-mse"])
    """Hub id or diffusers folder of another VAE to decode with, in place of the model's own."""
    vae_revision: Text = Field(default="main", examples=["main"])
    """Branch, tag or commit of the VAE on the Hub."""
    safety_checker: Text = "CompVis/stable-diffusion-safety-checker"
    """Hub id or folder of the safety checker for a model that has none of its own as safetensors."""
    safety_checker_revision: Text = "refs/pr/41"
    """Branch, tag or commit of the safety checker on the Hub."""
    steps: Number = 20
    """Steps of the sampler, DPM++ 2M Karras."""
    guidance_scale: Guidance = 7.0
    """How closely the picture follows the prompt."""
    width: Size = 512
    """Width of a picture in pixels."""
    height: Size = 512
    """Height of a picture in pixels."""
    max_attempts: Number = 10
    """Tries for one picture before it is given up."""


class Feature(Model):
    """One row of the table: a label, its quotas, and what its prompts are made of.

    `phrases` and `subjects` are given by sex; `positive` and `negative` are the row's own prompt pieces, after the
    template's were dropped, replaced and added to. `check` says how a picture is checked for it, `question` what a
    person is asked who judges it, which changes no picture.
    """

    attribute: FileName
    name: FeatureName
    male: Count
    female: Count
    ages: Ages
    subjects: WordsBySex
    phrases: Annotated[dict[SexLabel, Phrases], BothSexes()]
    guidance_scale: Guidance
    positive: Pieces
    negative: AnyWords
    check: Shown = Shown()
    question: Question | None = None

    def faults(self) -> Iterator[Fault]:
        if self.male + self.female == 0:
            yield Fault("`male` and `female` must not both be 0", 0, ("male",))
        fields = {name for piece in self.positive for name in TEMPLATE_FIELD.findall(piece)}
        phrases = {phrase for sex in SEXES for phrase in self.phrases[sex]}
        needed = {"age", "subject", "ethnicity"} | ({"phrase"} if phrases != {""} else set())
        for name in sorted(needed - fields):
            yield Fault(f"the positive prompt must keep the field {{{name}}}", list(self.positive), ("positive",))
        rule = "a phrase must not stand in the row's own negative prompt (see negative_drop)"
        unwanted = [part for piece in self.negative for part in _plain_parts(piece)]
        for phrase in sorted(phrases):
            pairs = itertools.product(_plain_parts(phrase), unwanted)
            if any(f" {part} " in f" {other} " or f" {other} " in f" {part} " for other, part in pairs):
                yield Fault(rule, phrase, ("phrases",))

    def quota(self, sex: str) -> int:
        """Pictures wanted of this sex."""
        return int(getattr(self, sex))

    def variants(self, sex: Sex) -> list[tuple[str, str]]:
        """Return the (subject, phrase) pairs that the row's prompts take in turn."""
        return list(itertools.product(self.subjects[sex], self.phrases[sex]))


class Spec(Model):
    """A whole table. `features` keep the file's order; `age_groups` map a label to its first age.

    `license` is that of the pictures, and changes none of them. `template` is what the rows' prompts were made from, of
    which twins are; recipes of older versions lack it.
    """

    name: Text
    release: Text
    recipe: Recipe
    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    ethnicities: Ethnicities
    age_groups: AgeGroups
    minors: dict[Literal["positive", "negative"], Words] = Field(default={})
    license: License = "creativeml-openrail-m"
    checks: Criteria = Criteria()
    template: Template | None = None

    def faults(self) -> Iterator[Fault]:
        yield from described(self.checks, self.age_groups)

    @property
    def attributes(self) -> dict[str, list[Feature]]:
        """Attribute → its features, in the file's order."""
        rows: dict[str, list[Feature]] = {}
        for feature in self.features:
            rows.setdefault(feature.attribute, []).append(feature)
        return rows

    @property
    def labels(self) -> dict[str, list[str]]:
        """Column → class names, as the loader and the release use them."""
        return {
            "attribute": list(self.attributes),
            "feature": [feature.name for feature in self.features],
            "sex": list(SEXES),
            "ethnicity": list(self.ethnicities),
            "age_group": list(self.age_groups),
            "attempt": [str(number) for number in range(self.recipe.max_attempts)],
        }

    def age_group(self, age: int) -> str:
        """Return the label of the group that an age in years belongs to."""
        return [label for label, start in self.age_groups.items() if start <= age][-1]

    def as_dict(self) -> dict[str, Any]:
        """Return the resolved table as plain JSON values; `model_validate` makes the same table of them."""
        values: dict[str, Any] = json.loads(json.dumps(self.model_dump()))  # mode="json" would make 7 into 7.0
        return values


def described(checks: Criteria, age_groups: dict[str, int]) -> Iterator[Fault]:
    """Yield a fault for every description of an age group that the table does not have."""
    for label in checks.attribute.age_groups if checks.attribute else ():
        if label not in age_groups:
            rule = f"<key> must be one of {', '.join(age_groups)}"
            yield Fault(rule, label, ("checks", "attribute", "age_groups"), nearest(label, age_groups))


def _plain_parts(piece: str) -> list[str]:
    """Return the comma-separated parts of a piece in lower case, without brackets and weights."""
    plain = re.sub(r":\s*[\d.]+\s*\)", ")", piece)
    parts = (" ".join(re.findall(r"[\w'-]+", part.lower())) for part in plain.split(","))
    return [part for part in parts if part]


def fingerprint(document: dict[str, Any]) -> str:
    """Return SHA-256 of a JSON document in canonical form: the same content gives the same fingerprint."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def spec_of(content: dict[str, Any]) -> Spec:
    """Return the table that a recipe.json was made from."""
    return Spec.model_validate(content["spec"])
