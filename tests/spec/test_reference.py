"""The reference of the table's keys and its JSON Schema: current, complete, and of one mind with the tool."""

import json
import re
import tomllib

import pytest
from jsonschema import Draft202012Validator

from builder.plan.plan import Plan
from builder.spec import table
from tests.fixtures.scripts import load
from tests.spec.test_table import DELETE, NINE, SMALL, changed

reference = load("docs/table.py")
SCHEMA = Draft202012Validator(json.loads(reference.SCHEMA.read_text(encoding="utf-8")))


def test_both_files_are_current():
    """docs/table.md and the JSON Schema are what `make docs` writes."""
    for path, text in reference.written().items():
        assert path.read_text(encoding="utf-8") == text, f"run make docs: {path.name}"


def test_every_key_has_a_meaning_and_an_example_that_is_good():
    """An example in the reference is TOML, and the schema of its key accepts it."""
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", reference.reference(), re.MULTILINE)
    models = [SCHEMA.schema, *SCHEMA.schema["$defs"].values()]
    assert len(rows) == sum(len(model["properties"]) for model in models)
    for key, _, _, meaning, example in rows:
        assert meaning.endswith(".")
        value = tomllib.loads(example.strip("`"))
        fields = [model["properties"][key] for model in models if key in model["properties"]]
        validators = [SCHEMA.evolve(schema={**field, "$defs": SCHEMA.schema["$defs"]}) for field in fields]
        assert example.strip("`")[0] == "[" or any(check.is_valid(value[key]) for check in validators), example


def test_the_smallest_table_of_the_docs_works(tmp_path):
    """The table in docs/table.md has at most 25 lines, loads and plans."""
    text = re.search(r"```toml\n(.*?)```", reference.DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    (tmp_path / "hats.toml").write_text(text, encoding="utf-8")
    assert text.count("\n") <= 25
    assert len(Plan(table.load(tmp_path / "hats.toml"))) == 40
    assert SCHEMA.is_valid(tomllib.loads(text))


def test_the_schema_accepts_the_shipped_table_which_names_it():
    text = table.DEFAULT.read_text(encoding="utf-8")
    Draft202012Validator.check_schema(SCHEMA.schema)
    assert list(SCHEMA.iter_errors(tomllib.loads(text))) == []
    assert SCHEMA.is_valid(SMALL)
    assert (
        text.split("\n")[0] == f"#:schema ./{reference.SCHEMA.name}" and reference.SCHEMA.parent == table.DEFAULT.parent
    )


UNSEEN = {"prompt.positive.4", "feature.1.drop", "feature.1.name"}
"""Faults that no schema can express: balanced brackets, and what two places of a table say of each other."""


@pytest.mark.parametrize("path", NINE)
def test_the_schema_refuses_each_fault_that_a_schema_can_express(path):
    assert SCHEMA.is_valid(changed(SMALL, {path: NINE[path]})) == (path in UNSEEN)


@pytest.mark.parametrize(
    "changes",
    [
        {"people": DELETE},
        {"feature.0.male": True},
        {"feature.1.name": "male"},
        {"feature.1.name": "con"},
        {"feature.1.phrases": ["a {age} crown"]},
        {"feature.1.phrases": ["a", "a"]},
        {"feature.1.phrases": []},
        {"feature.1.subjects": {"male": ["king"]}},
        {"feature.1.combine": {"at_least": 1, "of": ["a"]}},
        {"feature.1.check": {"shows": ["a"]}},
        {"feature.1.check": {"darker_than": 0.1, "highlights_over": 0.1}},
        {"feature.1.check": {"face": "two"}},
        {"ethnicities": {"High Elf": "elf"}},
        {"recipe.width": 500},
    ],
)
def test_the_schema_refuses_what_the_tool_refuses(changes):
    assert not SCHEMA.is_valid(changed(SMALL, changes))
