"""The kinds of values that a table holds: each says its rule in words, and as JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Discriminator, GetCoreSchemaHandler, GetJsonSchemaHandler, Tag, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from builder.spec.faults import nearest
from builder.spec.letters import mixed_word

FIELDS = ("age", "subject", "ethnicity", "phrase")
"""What a prompt piece may name in braces."""
CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
"""Every character that controls a terminal or ends a line somewhere, as a regular expression's range."""
MOST = 10**9
RESERVED = frozenset({"all", "metadata", "aligned", "annotations", "default", "train", "validation", "test"})
WINDOWS = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
"""What no folder and no file may be called there."""
Sex = Literal["male", "female"]
SEXES: tuple[Sex, ...] = get_args(Sex)


def broken(rule: str, known: Iterable[str] = (), value: Any = None) -> PydanticCustomError:
    """Return the error of a value that breaks a rule; the nearest of the `known` names is what may have been meant."""
    return PydanticCustomError("fault", "{rule}", {"rule": rule, "meant": nearest(value, known)})


def _worded(schema: CoreSchema, rule: str, known: Iterable[str] = ()) -> CoreSchema:
    """Return the same schema, but its error is the rule, and a good value stays what it was: 7 is not made 7.0."""

    def check(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            handler(value)
        except ValidationError:
            raise broken(rule, known, value) from None
        return value

    return core_schema.no_info_wrap_validator_function(check, schema)


@dataclass(frozen=True)
class Between:
    """A number, whole where the field is an int, and a multiple of `step` if that is given."""

    least: float
    most: float
    step: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        limits = f"from {self.least:,} to {self.most:,}"
        if source is float:
            number = core_schema.float_schema(strict=True, ge=self.least, le=self.most, allow_inf_nan=False)
            return _worded(number, f"<key> must be a number {limits}")
        schema = core_schema.int_schema(strict=True, ge=int(self.least), le=int(self.most), multiple_of=self.step)
        kind = f"a multiple of {self.step}" if self.step else "a whole number"
        return _worded(schema, f"<key> must be {kind} {limits}")


@dataclass(frozen=True)
class Pattern:
    """A string of a certain form, which `says` puts into words."""

    pattern: str
    says: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _worded(core_schema.str_schema(strict=True, pattern=self.pattern), f"<key> must be {self.says}")


@dataclass(frozen=True)
class NoneOf:
    """Anything but certain words."""

    words: frozenset[str]
    says: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        plain = handler(schema)
        refused = plain.get("not", {}).get("enum", [])
        return {**plain, "not": {"enum": sorted({*refused, *self.words})}}

    def _check(self, value: str) -> str:
        if value in self.words:
            raise broken(f"<key> must not be {self.says}")
        return value


@dataclass(frozen=True)
class OneOf:
    """One of a Literal's words, or a boolean."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if source is bool:
            return _worded(core_schema.bool_schema(strict=True), "<key> must be true or false")
        known = get_args(source)
        return _worded(handler(source), f"<key> must be one of {', '.join(known)}", known)


@dataclass(frozen=True)
class Distinct:
    """A list without repetitions, large and small letters alike; empty only if that is allowed."""

    empty: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "uniqueItems": True, **({} if self.empty else {"minItems": 1})}

    def _check(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values and not self.empty:
            raise broken("<key> must not be empty")
        if len({str(value).casefold() for value in values}) < len(values):
            raise broken("<key> must not repeat a value")
        return values


@dataclass(frozen=True)
class Line:
    """A text of one line, all of it printable: it goes into cards, comments, logs and error lines as it is."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^(?=.*\S)[^{CONTROLS}]*$"}

    def _check(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise broken("<key> must be a non-empty string")
        if not value.isprintable():
            raise broken("<key> must be one line of printable text")
        return value


@dataclass(frozen=True)
class PromptText:
    """Text of a prompt: not empty, one line, brackets balanced, every word of one alphabet, no {field} but those of
    `fields`.
    """

    fields: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        field = rf"|\{{({'|'.join(self.fields)})\}}" if self.fields else ""
        return {"type": "string", "pattern": rf"^(?=.*\S)([^{{}}{CONTROLS}]{field})*$"}

    def _check(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise broken("<key> must be a non-empty string")
        if re.search(f"[{CONTROLS}\ud800-\udfff]", value):
            raise broken("<key> must be one line each, without control characters")
        if not _balanced(value):
            raise broken("<key> must have balanced brackets")
        if word := mixed_word(value):
            raise broken(f"<key> must not mix alphabets within a word ({word!r} does)")
        rest = re.sub("|".join("{" + name + "}" for name in self.fields) or "$^", "", value)
        if "{" in rest or "}" in rest:
            allowed = f"only the fields {', '.join(self.fields)}" if self.fields else "no fields"
            raise broken(f"<key> may use {allowed}")
        return value


def _balanced(text: str) -> bool:
    opened: list[str] = []
    for bracket in re.sub(r"\\.", "", text):
        if bracket in "([":
            opened.append(bracket)
        elif bracket in ")]" and (not opened or opened.pop() != {")": "(", "]": "["}[bracket]):
            return False
    return not opened


@dataclass(frozen=True)
class BothSexes:
    """A table with a value for either sex."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        each = handler(schema)["additionalProperties"]
        properties = dict.fromkeys(SEXES, each)
        return {"type": "object", "properties": properties, "required": list(SEXES), "additionalProperties": False}

    def _check(self, values: dict[Sex, Any]) -> dict[Sex, Any]:
        for sex in SEXES:
            if sex not in values:
                raise broken(f"<key> needs the key `{sex}`")
        return values


Text = Annotated[str, Line()]
AnyText = Annotated[str, Pattern(r"\S", "a non-empty string")]
Label = Annotated[
    str,
    Pattern(r"^[a-z][a-z0-9_]{0,63}$", "lower-case letters, digits and _ (64 at most, a letter first)"),
    NoneOf(RESERVED, "a reserved word"),
]
FileName = Annotated[Label, NoneOf(WINDOWS, "a name that Windows keeps for its devices")]
FeatureName = Annotated[FileName, NoneOf(frozenset(SEXES), "that of a sex")]
TWINS, TWIN = "twins", "twin"
"""Attribute and feature of the pictures that have no feature, as `agfd30k` has them: see builder.spec.twins."""
RowAttribute = Annotated[FileName, NoneOf(frozenset({TWINS}), "that of the twins")]
RowName = Annotated[FeatureName, NoneOf(frozenset({TWIN}), "that of the twins")]
SafetensorsFile = Annotated[
    str, Pattern(r"^[\w][\w .+-]*\.safetensors$", "the name of a .safetensors file at the top of the repository")
]
Question = Annotated[
    str, Pattern(r"^[^\r\n]{1,198}\?$", "one line that ends with a question mark, 199 characters at most")
]
License = Annotated[str, Pattern(r"^[a-z0-9][a-z0-9.-]*$", "an id as the Hub knows it, such as cc0-1.0")]

Size = Annotated[int, Between(8, 4096, step=8)]
"""Of a picture; Stable Diffusion 1.5 was trained at 512 pixels."""
Count = Annotated[int, Between(0, MOST)]
Number = Annotated[int, Between(1, MOST)]
Share = Annotated[float, Between(0, 1)]
Guidance = Annotated[float, Between(1, 100)]
Ages = Annotated[tuple[Annotated[int, Between(0, 120)], ...], Distinct()]
Degrees = Annotated[float, Between(0, 90)]
Flag = Annotated[bool, OneOf()]

Words = Annotated[tuple[Annotated[str, PromptText()], ...], Distinct()]
AnyWords = Annotated[tuple[Annotated[str, PromptText()], ...], Distinct(empty=True)]
Piece = Annotated[str, PromptText(FIELDS)]
Pieces = Annotated[tuple[Piece, ...], Distinct()]
SexLabel = Annotated[Sex, OneOf()]
WordsBySex = Annotated[dict[SexLabel, Words], BothSexes()]
WordsForAll = Annotated[
    Annotated[Words, Tag("[list]")] | Annotated[WordsBySex, Tag("[table]")],
    Discriminator(lambda value: "[table]" if isinstance(value, dict) else "[list]"),
]
"""Words for both sexes alike, or by sex."""
Phrases = Annotated[
    Annotated[Words, Tag("[words]")] | Annotated[tuple[Literal[""]], Tag("[none]")],
    Discriminator(lambda value: "[none]" if value in ([""], ("",)) else "[words]"),
]
"""Words, or one empty phrase where a feature has none."""


def _distinct_words(words: dict[str, str]) -> dict[str, str]:
    if not words:
        raise broken("there must be at least one entry in [ethnicities]")
    Distinct()._check(tuple(words.values()))
    return words


def _rising(starts: dict[str, int]) -> dict[str, int]:
    years = list(starts.values())
    if years != sorted(set(years)) or years[:1] != [0]:
        raise broken("[age_groups] must rise from 0")
    return starts


Ethnicities = Annotated[dict[Label, Annotated[str, PromptText()]], AfterValidator(_distinct_words)]
AgeGroups = Annotated[dict[Label, Count], AfterValidator(_rising)]
