"""Writes what is known of a table's keys: the JSON Schema for editors, and the reference in docs/table.md.

python docs/table.py
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from builder.spec.document import Table
from builder.spec.table import DEFAULT

SCHEMA = DEFAULT.with_name("table.schema.json")
DOCS = Path(__file__).with_name("table.md")
BEGIN, END = "<!-- what follows is written by `make docs` -->\n", "<!-- end -->\n"
KEYS = "| key | value | default | meaning | example |\n| --- | --- | --- | --- | --- |\n"
PAGES = {
    "": "The top of the file",
    "recipe": "`[recipe]`",
    "prompt": "`[prompt]`",
    "minors": "`[minors]`",
    "people": "`[people]`",
    "feature": "`[[feature]]`",
    "feature.combine": "`[feature.combine]`",
    "feature.check": "`[feature.check]`",
    "checks": "`[checks]`",
    "checks.integrity": "`[checks.integrity]`",
    "checks.face": "`[checks.face]`",
    "checks.attribute": "`[checks.attribute]`",
    "checks.duplicates": "`[checks.duplicates]`",
}
"""The tables of a table, in the order of the reference."""


class _Plain(GenerateJsonSchema):
    """JSON Schema without titles and without null, which TOML does not have."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        plain = super().default_schema(schema)
        return {
            key: value
            for key, value in plain.items()
            if key != "default" or not (value in (None, []) or isinstance(value, dict))
        }

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        plain = super().dict_schema(schema)
        return {**plain, "additionalProperties": False} if "patternProperties" in plain else plain

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value  # as the models have it


def schema() -> dict[str, Any]:
    """The JSON Schema of a table. It knows one value at a time; what needs several, only `table.load` can tell."""
    document = Table.model_json_schema(schema_generator=_Plain)
    for model in (document, *document["$defs"].values()):
        model["description"] = _one_line(model["description"])
        for field in model["properties"].values():
            field.update({"description": _one_line(field["description"])} if "description" in field else {})
    return {"$schema": _Plain.schema_dialect, **document}


def reference() -> str:
    """Return every key of a table, by the tables that they stand in, as Markdown."""
    document, shipped = schema(), tomllib.loads(DEFAULT.read_text(encoding="utf-8"))
    return "\n".join(_page(name, title, document, shipped) for name, title in PAGES.items())


def _page(name: str, title: str, document: dict[str, Any], shipped: dict[str, Any]) -> str:
    model, places = document, [shipped]
    for key in filter(None, name.split(".")):
        model = _model(model["properties"][key], document)
        places = list(_values(places, key))
    rows = "".join(_row(name, key, field, model, places) for key, field in model["properties"].items())
    return f"### {title}\n\n{model['description']}\n\n{KEYS}{rows}"


def _row(page: str, key: str, field: dict[str, Any], model: dict[str, Any], places: list[Any]) -> str:
    default = f"`{_toml(field['default'])}`" if "default" in field else "none"
    default = "**required**" if key in model.get("required", ()) else default
    examples = [*field.get("examples", ()), *_values(places, key)]
    example = PAGES.get(f"{page}.{key}".strip("."), f"`{key} = {_toml(examples[0])}`")
    return f"| `{key}` | {_cell(_kind(field))} | {default} | {_cell(field['description'])} | {_cell(example)} |\n"


def _values(places: list[Any], key: str) -> Iterator[Any]:
    """Yield what the tables have under a key; the tables of a list one by one."""
    for value in (place[key] for place in places if key in place):
        yield from value if isinstance(value, list) and isinstance(value[0], dict) else [value]


def _model(field: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    field = field.get("items", field)
    reference = field.get("$ref") or field["allOf"][0]["$ref"]
    model: dict[str, Any] = document["$defs"][reference.rpartition("/")[2]]
    return model


def _kind(field: dict[str, Any]) -> str:
    """Return what a value must be, in words."""
    if "$ref" in field:
        return "table"
    if "oneOf" in field:
        return ", or ".join(_kind(each) for each in field["oneOf"])
    if "enum" in field:
        return "one of " + ", ".join(f'`"{word}"`' for word in field["enum"])
    if field["type"] == "array":
        return "tables" if "$ref" in field["items"] else f"list: {_kind(field['items'])}"
    if field["type"] == "object":
        by_label = field.get("patternProperties", {"": field.get("additionalProperties")})
        return "table: `male`, `female`" if "properties" in field else f"table: {_kind(*by_label.values())}"
    if field["type"] in ("integer", "number"):
        limits = f"from {field['minimum']:,} to {field['maximum']:,}"
        whole = f"multiple of {field['multipleOf']}" if "multipleOf" in field else "whole number"
        return f"{whole if field['type'] == 'integer' else 'number'} {limits}"
    return "`true` or `false`" if field["type"] == "boolean" else _text(field["pattern"])


def _text(pattern: str) -> str:
    if "subject" in pattern:
        return "text, may have `{fields}`"
    return "name (letters a to z, digits, _)" if pattern.startswith("^[a-z][a-z0-9_]") else "text"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key) else json.dumps(key, ensure_ascii=False)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def written() -> dict[Path, str]:
    """Return what the two files are to hold; of docs/table.md only the reference is replaced."""
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return {
        SCHEMA: json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
        DOCS: f"{before}{BEGIN}\n{reference()}\n{END}{after}",
    }


def main() -> None:
    """Write both files."""
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
        print(f"{path}: written")


if __name__ == "__main__":
    main()
