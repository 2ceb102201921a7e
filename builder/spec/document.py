"""A table as its TOML file has it: a template of prompt pieces, and rows that say how they differ from it.

docs/table.md and the JSON Schema are made of these models: a field's docstring is what they say of the key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from builder.spec.criteria import Criteria, Shown
from builder.spec.faults import Fault, nearest
from builder.spec.field_types import (
    AgeGroups,
    Ages,
    AnyText,
    AnyWords,
    Count,
    Ethnicities,
    Guidance,
    License,
    Number,
    Piece,
    Question,
    RowAttribute,
    RowName,
    Text,
    Words,
    WordsForAll,
    broken,
)
from builder.spec.model import Model
from builder.spec.spec import Recipe, Template, described

MAX_DESIGN = 10_000
"""The most combinations of ethnicity, age and phrase that one feature may have."""


class Minors(Model):
    """Pieces for every prompt that may show a person under 18; a table with such people needs them. `wearing everyday
    clothes` and words against nudity are added whatever stands here, and nothing may weigh them away: in such prompts
    weights go from 0 to 2, there is no BREAK, and the guidance scale is 2 or more."""

    positive: Words | None = None
    """Added behind the last positive piece that has a field, after `wearing everyday clothes` where that is not among
    them."""
    negative: Words | None = None
    """Added to the negative pieces."""


class People(Model):
    """The people of a feature whose row does not say otherwise."""

    ages: Ages
    """Ages in years, used equally often."""
    subjects: WordsForAll
    """What a person is called, by sex, or one list for both."""


class Combine(Model):
    """Phrases made of several parts: all combinations of at least so many of them."""

    at_least: Number
    """The fewest parts in a phrase."""
    of: Words
    """The parts."""

    def faults(self) -> Iterator[Fault]:
        if self.at_least > len(self.of):
            yield Fault("<key> must not exceed the length of `of`", self.at_least, ("at_least",))
        number = sum(math.comb(len(self.of), size) for size in range(self.at_least, len(self.of) + 1))
        if number > MAX_DESIGN:
            yield Fault(f"<key> must give at most {MAX_DESIGN:,} phrases", number)


class Row(Model):
    """One feature: a label, how many pictures, and how its prompts differ from the template's."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["phrases", "combine"]}})

    attribute: RowAttribute
    """The group that the feature belongs to, which is a config of the dataset."""
    name: RowName
    """The feature's label; no other row has it."""
    male: Count
    """Pictures of men and boys; 0 for none."""
    female: Count
    """Pictures of women and girls."""
    phrases: WordsForAll | None = None
    """The words for the feature, used equally often: one list, or one by sex."""
    combine: Combine | None = Field(default=None, examples=[{"at_least": 2, "of": ["glasses", "a hat", "a scarf"]}])
    """In place of `phrases`: combinations of several parts."""
    ages: Ages | None = None
    """Ages in years, in place of those of [people]."""
    subjects: WordsForAll | None = None
    """What a person is called, in place of what [people] says."""
    guidance_scale: Guidance | None = None
    """How closely the picture follows the prompt, in place of what [recipe] says."""
    drop: tuple[AnyText, ...] = ()
    """Positive pieces of the template that this feature does without, as they stand there."""
    replace: dict[str, Piece] = Field(default={}, examples=[{"big face": "whole body"}])
    """Positive pieces of the template and what takes their place."""
    add: Annotated[tuple[Piece, ...], Field(examples=[["a wooden frame"]])] = ()
    """Positive pieces to add, behind the last one that has a field."""
    negative_drop: tuple[AnyText, ...] = ()
    """Negative pieces of the template to do without."""
    negative_add: AnyWords = ()
    """Negative pieces to add."""
    question: Question | None = Field(default=None, examples=["Does this person have brown hair?"])
    """What `agfd30k judge` asks a person of a picture; without it, "Does this picture show: <name>?" It changes no
    picture, and another question makes no other build."""
    check: Shown = Shown()
    """How pictures of this feature are checked."""

    def faults(self) -> Iterator[Fault]:
        if self.phrases is not None and self.combine is not None:
            given = sorted(self.model_fields_set)
            yield Fault("give `phrases` or `combine`, not both", given, ("combine",))


def _as_rows(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise broken("features must be written as [[feature]]")
    if not value:
        raise broken("there must be at least one [[feature]]")
    return value


class Table(Model):
    """A whole table."""

    model_config = ConfigDict(title="A table of AGFD-30K")

    name: Text
    """The dataset's name, as its card has it."""
    release: Text
    """Every picture's seed is made from this word and its number in the table; another word gives other pictures."""
    license: License = "creativeml-openrail-m"
    """Licence of the pictures, by its id on the Hub."""
    recipe: Recipe
    """The model and its settings."""
    prompt: Template
    """The template of all prompts."""
    minors: Minors = Minors()
    """What is added where a person under 18 may be shown."""
    people: People
    """The usual people."""
    ethnicities: Ethnicities = Field(examples=[{"asian": "Asian", "latino": "Latino"}])
    """Label = words in the prompt; used equally often in every cell."""
    age_groups: AgeGroups = Field(examples=[{"child": 0, "adult": 18}])
    """Label = first age of the group, rising from 0."""
    checks: Criteria = Criteria()
    """What a picture must be like to be kept."""
    feature: Annotated[tuple[Row, ...], BeforeValidator(_as_rows), Field(min_length=1)]
    """The features, a row each."""

    def faults(self) -> Iterator[Fault]:
        """Rules between parts of the table; a part that is None is one that has faults itself."""
        if self.checks and self.age_groups:
            yield from described(self.checks, self.age_groups)
        first: dict[str, int] = {}
        for number, row in enumerate(self.feature):
            if row.name is not None and first.setdefault(row.name, number) != number:
                rule = f"<key> must be unique (row {first[row.name] + 1} has it too)"
                yield Fault(rule, row.name, ("feature", number, "name"))
            yield from (fault.below("feature", number) for fault in _strange_pieces(row, self.prompt))


def _strange_pieces(row: Row, prompt: Template) -> Iterator[Fault]:
    for keys, pieces in (("drop", "replace"), prompt.positive), (("negative_drop",), prompt.negative):
        for key in keys:
            for piece in getattr(row, key) or ():
                if pieces is not None and piece not in pieces:
                    yield Fault(
                        "<key> must name a piece of the template exactly", piece, (key,), nearest(piece, pieces)
                    )
