"""Lint of croissant.json: a sound one has no fault, and every line of the rule bites where its one thing is broken."""

import json
import shutil

import pytest

from builder.dataset import packing, responsible_ai
from builder.dataset.folder import Release
from builder.linting import lint
from builder.models.identity import Source
from builder.raw.build import RawBuild
from builder.spec import table
from tests.fixtures import builds

HUB = Source("hub", "someone/stand-in", "someone/stand-in", "0123456789abcdef0123456789abcdef01234567")


def make(folder, source):
    """A release of small pictures, by the real code."""
    folder.mkdir()
    (folder / "table.toml").write_text(builds.OWN_TABLE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builds, "SOURCE", source)
        builds.write_raw(folder / "raw", table.load(folder / "table.toml"), builds.OWN_TABLE)
    packing.pack(RawBuild.open(folder / "raw"), folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lint")
    return {"hub": make(folder / "hub", HUB), "preview": make(folder / "preview", builds.SOURCE)}


@pytest.fixture(params=["hub"])
def out(releases, request, tmp_path):
    """A release to break."""
    return shutil.copytree(releases[request.param], tmp_path / "out")


def faults(out):
    return [str(fault) for fault in lint.check(Release(out), allow_preview=True)]


def broken(out, edit):
    """The faults of a release whose croissant.json was changed."""
    path = out / "croissant.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    return faults(out)


def found(document, id):
    """The file set, record set or field of an id."""
    entries = [*document["distribution"], *document["recordSet"]]
    return next(one for some in entries for one in (some, *some.get("field", ())) if one["@id"] == id)


@pytest.mark.parametrize("out", ["hub", "preview"], indirect=True)
def test_a_release_as_it_is_made_has_no_fault(out):
    assert "croissant.json" in Release(out).files and faults(out) == []


def test_an_older_release_has_none(out):
    """As its build info says; one of today must have it."""
    (out / "croissant.json").unlink()
    assert faults(out) == ["croissant: croissant.json is missing: make the release again"]
    readme = out / "README.md"
    readme.write_text(readme.read_text().replace(", format 2 -->", " -->"))
    assert not [line for line in faults(out) if line.startswith("croissant")]


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000, b"[]", b'"text"', b""])
def test_what_is_no_document_is_one_fault(out, data):
    (out / "croissant.json").write_bytes(data)
    assert faults(out) == ["croissant: croissant.json is not a JSON object"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document.pop("distribution"),
        lambda document: document.update(recordSet=None),
        lambda document: document["recordSet"].append(7),
        lambda document: document["recordSet"][-1].update(field=[{"name": "no id"}]),
        lambda document: document["recordSet"][-1].update(field=7),
    ],
)
def test_another_shape_is_one_fault(out, edit):
    (line,) = broken(out, edit)
    assert line.startswith("croissant: cannot be checked: ")


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document.update({"@context": "http://mlcommons.org/croissant/1.1"}),
        lambda document: document.update(conformsTo=["http://mlcommons.org/croissant/1.0"]),
        lambda document: document.pop("conformsTo"),
    ],
)
def test_readers_need_no_network_to_know_what_it_is(out, edit):
    said = "does not say with a context of its own that it is http://mlcommons.org/croissant/1.1"
    assert broken(out, edit) == [f"croissant: croissant.json {said}"]


@pytest.mark.parametrize("key", ["description", *responsible_ai.FIELDS])
def test_nothing_is_left_unsaid(out, key):
    assert broken(out, lambda document: document.update({key: ""})) == [f"croissant: croissant.json has no `{key}`"]


@pytest.mark.parametrize(
    ("key", "value"), [("name", "Others"), ("license", "cc0-1.0"), ("version", "1.0.0+0123456789ab"), ("version", None)]
)
def test_it_is_of_the_release_that_the_card_is_of(out, key, value):
    """Its name, licence and rows."""
    (line,) = broken(out, lambda document: document.update({key: value}))
    assert line.startswith(f"croissant: croissant.json: `{key}` is {value!r}, by README.md it is '")


@pytest.mark.parametrize("out", ["preview"], indirect=True)
def test_a_preview_has_to_be_called_one(out):
    said = "does not begin by saying that these are preview pictures"
    faults = broken(out, lambda document: document.update(description="40 faces"))
    assert faults == [f"croissant: croissant.json {said}"]


def test_a_config_that_is_not_described(out):
    """Each of its columns is missing, and its files."""

    def forget(document):
        document["recordSet"] = [one for one in document["recordSet"] if one["@id"] != "fruit"]
        document["distribution"] = [one for one in document["distribution"] if one["@id"] != "fruit-files"]

    first, *others = broken(out, forget)
    files = [f"data/fruit/{split}-*.parquet" for split in ("train", "validation", "test")]
    assert first == f"croissant: fruit: croissant.json means the files None, README.md {files}"
    assert others[:2] == [f"croissant: fruit: croissant.json has no column fruit/{id}" for id in ("split", "image")]
    assert all(line.startswith("croissant: fruit: croissant.json has no column fruit/") for line in others)


def test_a_config_that_is_nowhere_else(out):
    def invent(document):
        document["recordSet"].append({"@id": "vegetables"})
        document["distribution"].append({"@id": "vegetable-files"})

    names = ("vegetable-files", "vegetables")
    assert broken(out, invent) == [f"croissant: croissant.json: {id} is nothing that README.md has" for id in names]


def test_other_files(out):
    def widen(document):
        found(document, "fruit-files")["includes"] = ["data/*/train-*.parquet"]

    (line,) = broken(out, widen)
    assert line.startswith("croissant: fruit: croissant.json means the files ['data/*/train-*.parquet'], README.md [")


@pytest.mark.parametrize(
    ("id", "values"),
    [
        ("fruit/prompt", {"dataType": "sc:Integer"}),
        ("fruit/seed", {"source": {"fileSet": {"@id": "fruit-files"}, "extract": {"column": "id"}}}),
        ("fruit/split", {"source": {"fileSet": {"@id": "fruit-files"}, "extract": {"fileProperty": "filename"}}}),
        ("metadata/feature", {"references": {"field": {"@id": "sex-names/number"}}}),
    ],
)
def test_another_type_or_source(out, id, values):
    """Of a column, and of the split, which is read from a file's name."""
    config = id.split("/")[0]
    said = f"croissant: {config}: croissant.json says something else of {id} than README.md"
    assert broken(out, lambda document: found(document, id).update(values)) == [said]


def test_a_column_more_and_one_less(out):
    def rename(document):
        found(document, "fruit/seed")["@id"] = "fruit/seeds"

    less, more = "croissant.json has no column fruit/seed", "README.md has no column fruit/seeds, croissant.json has"
    assert broken(out, rename) == [f"croissant: fruit: {less}", f"croissant: fruit: {more}"]


def test_descriptions_are_free(out):
    assert broken(out, lambda document: found(document, "fruit/seed").update(description="a number")) == []


@pytest.mark.parametrize("id", ["feature-names", "split-names"])
@pytest.mark.parametrize("values", [{"data": []}, {"dataType": "sc:Text"}, {"key": None}])
def test_other_names_of_labels_or_splits(out, id, values):
    said = f"croissant: croissant.json: {id} are not the names that README.md has"
    assert broken(out, lambda document: found(document, id).update(values)) == [said]


def test_what_the_card_says_wrongly_is_said_once(out):
    """It is compared with a card that has no fault of its own."""
    path = out / "README.md"
    path.write_text(path.read_text().replace("data/fruit/test-*", "data/fruit/tost-*"))
    assert faults(out) and not [line for line in faults(out) if line.startswith("croissant")]
