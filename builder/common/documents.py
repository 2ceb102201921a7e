"""JSON as the builder writes it, read strictly: whatever a damaged or hostile file holds ends in one kind of error."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json


class Malformed(ValueError):
    """A text that is not the JSON it should be; the message is one line and says what is wrong."""


def parse(data: bytes) -> Any:
    """Return what a JSON text says.

    Raises Malformed for any other text, for one that is not UTF-8 or nests more than 200 deep, for half a surrogate
    pair, a key that stands twice in its object, and a number that is not finite.
    """
    try:
        from_json(data, allow_inf_nan=False)  # knows the depth and the surrogates, which json does not
        return json.loads(data, object_pairs_hook=_unique, parse_float=_finite)
    except ValueError as error:
        raise Malformed(f"not JSON: {error}") from None


def read(path: Path) -> Any:
    """Return what a JSON file says. Raises Malformed as `parse` does, and OSError where it cannot be read."""
    return parse(path.read_bytes())


UNSEALED = ("digest", "finished")
"""Keys that are not in an object's digest: its own, and the time, by which alone two builds differ."""


def digest(values: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits that tell an object from any other; how it is written does not count."""
    content = {key: value for key, value in values.items() if key not in UNSEALED}
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """Return an object with its own digest, by which a later edit is found."""
    return {**values, "digest": digest(values)}


def require_sealed(values: dict[str, Any]) -> None:
    """Raise Malformed where an object's digest is not its own."""
    if digest(values) != values.get("digest"):
        raise Malformed("was edited: its digest is that of something else")


class Document(BaseModel):
    """What a JSON object says, as a value: every key must be there, of its very type, and no other."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return what a text says. Raises Malformed where that is not such an object."""
        return cls.with_values(data)[0]

    @classmethod
    def with_values(cls, data: bytes) -> tuple[Self, dict[str, Any]]:
        """Return what a text says, and the same as plain JSON values. Raises Malformed as `parse` does."""
        values = parse(data)
        try:
            return cls.model_validate_json(data), values
        except ValidationError as error:
            raise Malformed(_first(error)) from None


D = TypeVar("D", bound=Document)


def parse_sealed(kind: type[D], data: bytes) -> D:
    """Return what a text with its own digest says. Raises Malformed also for one that was edited."""
    document, values = kind.with_values(data)
    require_sealed(values)
    return document


def _first(error: ValidationError) -> str:
    """Return the first thing that is wrong, in a line."""
    fault = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(map(str, fault["loc"]))
    said = " ".join(fault["msg"].split())
    return f"`{place}`: {said[:1].lower()}{said[1:]}" if place else f"{said[:1].lower()}{said[1:]}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice")
    return values


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number
