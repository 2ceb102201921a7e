"""Reads a table from TOML: templates, per-row changes and shorthands become the plain rows of a Spec."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from builder.spec import prompts
from builder.spec.criteria import Shown
from builder.spec.document import MAX_DESIGN, Combine, People, Row, Table
from builder.spec.faults import Fault, SpecError, faults_of, lines
from builder.spec.model import Model
from builder.spec.spec import ADULT, SEXES, TEMPLATE_FIELD, Feature, Spec, Template

DEFAULT = Path(__file__).parents[1] / "agfd30k.toml"
WORDING = {*Row.model_fields} - {"attribute", "name", "male", "female", "guidance_scale", "question", "check"}
"""Keys of a row that its prompts are made of."""
STAND_INS = {
    **{"attribute": "attribute", "name": "name", "male": 1, "female": 1, "guidance_scale": 7, "check": Shown()},
    **{"ages": (ADULT,), "subjects": ("person",), "ethnicities": {"any": "any"}},
}
"""What stands in for a value that has a fault of its own, so that a row's wording can still be judged."""
Part = TypeVar("Part", bound=Model)


def load(path: str | Path = DEFAULT) -> Spec:
    """Read and check a table. Raises SpecError: one line for every fault, with file, row, rule and value."""
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, numbers or nesting beyond Python's limits
        raise SpecError(f"{path}: not a TOML file: {' '.join(str(error).split())}") from None
    spec, faults = _resolved(document)
    if spec is None:
        raise SpecError("\n".join(f"{path}: {line}" for line in lines(faults, _names(document))))
    return spec


def _names(document: dict[str, Any]) -> dict[int, str]:
    """Return what the rows that have a readable name are called."""
    rows = document.get("feature")
    names = (
        (n, row.get("name")) for n, row in enumerate(rows if isinstance(rows, list) else ()) if isinstance(row, dict)
    )
    return {number: name for number, name in names if isinstance(name, str) and name.isidentifier() and len(name) <= 64}


def _resolved(document: dict[str, Any]) -> tuple[Spec | None, list[Fault]]:
    """Return the Spec of a table, or None and all its faults: of single values, of values together, and of prompts."""
    faults: list[Fault] = []
    try:
        table = Table.model_validate(document)
    except ValidationError as error:
        table = _salvaged(document)
        faults = [*faults_of(error), *_rules_across(table)]
    rows = [(n, _feature(row, table)) for n, row in enumerate(table.feature) if not _harmed(faults, n)]
    faults += [fault.below("feature", n) for n, (_, broken) in rows for fault in broken]
    features = {n: feature for n, (feature, _) in rows if feature}
    if not _touched(faults, "minors"):
        faults += _unfit_for_minors(table, features)
    return (None if faults else _spec(table, tuple(features.values()))), faults


def _unfit_for_minors(table: Table, features: dict[int, Feature]) -> Iterator[Fault]:
    minors = table.minors.model_dump(exclude_none=True) if table.minors else {}
    spec = Spec.model_construct(ethnicities=table.ethnicities, minors=minors)
    for number, feature in features.items():
        for fault in prompts.faults(spec, feature):
            if fault.place == ("guidance_scale",) and table.feature[number].guidance_scale is None:
                yield fault.below("recipe")  # the row has that of all rows
            else:
                yield fault if fault.place[:1] == ("minors",) else fault.below("feature", number)


def _spec(table: Table, features: tuple[Feature, ...]) -> Spec:
    same = {key: getattr(table, key) for key in Spec.model_fields.keys() & Table.model_fields.keys()}
    own = {"features": features, "minors": table.minors.model_dump(exclude_none=True), "template": table.prompt}
    return Spec.model_validate({**same, **own})


def _salvaged(document: dict[str, Any]) -> Table:
    """Return what is good of a table that has faults; None in place of the rest."""
    rows, prompt = document.get("feature"), document.get("prompt")
    prompt = prompt if isinstance(prompt, dict) else {}
    pieces = {key: value for key, value in prompt.items() if isinstance(value, list)}
    texts: dict[str, Any] = {
        key: [piece for piece in pieces.get(key, ()) if isinstance(piece, str)] or None for key in Template.model_fields
    }
    template = Template.model_construct(**texts)  # for the rows' `drop` a piece is there though it has a fault itself
    features = tuple(_good(Row, row) for row in (rows if isinstance(rows, list) else ()))
    table = _good(Table, document)
    parts = {
        "people": _good(People, document.get("people")),
        "ethnicities": table.ethnicities or STAND_INS["ethnicities"],
    }
    return table.model_copy(update={**parts, "feature": features, "prompt": template})


@cache
def _adapter(kind: type[Model], key: str) -> TypeAdapter[Any]:
    """Return what reads one key of a part of a table alone."""
    field = kind.model_fields[key]
    field_type: Any = Annotated[field.annotation, field]
    return TypeAdapter(field_type)


def _good(kind: type[Part], document: Any) -> Part:
    """Return a part of a table with those keys alone that are good in themselves; the others are None."""
    document = document if isinstance(document, dict) else {}
    values: dict[str, Any] = dict.fromkeys(kind.model_fields)
    for key, field in kind.model_fields.items():
        try:
            if key in document:
                values[key] = _adapter(kind, key).validate_python(document[key])
            elif not field.is_required():
                values[key] = field.get_default(call_default_factory=True)
        except ValidationError:
            continue
    return kind.model_construct(_fields_set=values.keys() & document.keys(), **values)


def _rules_across(table: Table) -> Iterator[Fault]:
    """Yield the rules between values, for what is good of a table that has other faults."""
    yield from table.faults()
    for number, row in enumerate(table.feature):
        yield from (fault.below("feature", number) for fault in row.faults())


def _harmed(faults: list[Fault], number: int) -> bool:
    """Return True where a fault may change the prompts of a row, which therefore cannot be judged."""
    of_row = [fault for fault in faults if fault.place[:2] == ("feature", number)]
    keys = {key for fault in of_row for key in (*fault.place[2:3], fault.meant)}
    return _touched(faults, "prompt") or bool(keys & WORDING)


def _touched(faults: list[Fault], part: str) -> bool:
    """Return True where a fault lies in a part of the table, or in one whose name was misspelt."""
    return any(part in (*fault.place[:1], fault.meant) for fault in faults)


def _feature(row: Row, table: Table) -> tuple[Feature | None, list[Fault]]:
    """Return the row with its own prompt pieces, or None, and what is wrong with it now that they are put together."""
    phrases = _combinations(row.combine) if row.combine else row.phrases or ("",)
    values = {
        **{key: getattr(row, key) for key in ("attribute", "name", "male", "female", "question", "check")},
        "ages": row.ages or table.people.ages,
        "subjects": _by_sex(row.subjects or table.people.subjects or STAND_INS["subjects"]),
        "phrases": _by_sex(phrases),
        "guidance_scale": row.guidance_scale or (table.recipe and table.recipe.guidance_scale),
        "positive": _pieces(table.prompt.positive, row.drop, row.replace, row.add),
        "negative": _pieces(table.prompt.negative, row.negative_drop, {}, row.negative_add),
    }
    try:
        feature = Feature.model_validate(
            {key: STAND_INS.get(key) if value is None else value for key, value in values.items()}
        )
    except ValidationError as error:
        return None, faults_of(error)
    size = len(table.ethnicities) * len(feature.ages) * max(len(feature.variants(sex)) for sex in SEXES)
    if size > MAX_DESIGN:
        return None, [Fault(f"ethnicities × ages × phrases must be at most {MAX_DESIGN:,}", size)]
    return feature, []


def _pieces(pieces: Sequence[str], drop: Sequence[str], replace: dict[str, str], add: Sequence[str]) -> tuple[str, ...]:
    """Return the template's pieces after a row's changes; what is added goes behind the last piece that has a field."""
    kept = [replace.get(piece, piece) for piece in pieces if piece not in drop]
    place = max((n for n, piece in enumerate(kept, 1) if TEMPLATE_FIELD.search(piece)), default=len(kept))
    return (*kept[:place], *add, *kept[place:])


def _combinations(rule: Combine) -> tuple[str, ...]:
    sizes = range(rule.at_least, len(rule.of) + 1)
    return tuple(", ".join(parts) for size in sizes for parts in itertools.combinations(rule.of, size))


def _by_sex(words: Any) -> dict[str, tuple[str, ...]]:
    """Words by sex; one list is that of both."""
    return {sex: words[sex] if isinstance(words, dict) else words for sex in SEXES}
