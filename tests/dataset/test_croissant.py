"""croissant.json: read by mlcroissant without network and without a fault, and it says what was counted."""

import doctest
import json
import logging
import re
import socket
from collections import Counter

import mlcroissant
import pyarrow.parquet as pq
import pytest
from datasets import Features, Value
from PIL import Image

import agfd30k
from builder.checks.suite import Outcome
from builder.dataset import card as card_page
from builder.dataset import croissant, packing, responsible_ai
from builder.dataset.build_info import BuildInfo
from builder.dataset.folder import Release
from builder.models.identity import CheckVersion, ModelId, Source
from builder.raw import calibration_file
from builder.raw.build import RawBuild
from builder.raw.rows import rejection
from builder.spec import table
from tests.fixtures import builds
from tests.fixtures.builds import OWN_TABLE, write_raw

HUB = Source("hub", "someone/stand-in", "someone/stand-in", "0123456789abcdef0123456789abcdef01234567")
CONFIGS = ["fruit", "drink", "all", "metadata"]


def make(folder, toml=OWN_TABLE, source=HUB, **options):
    """A release of small pictures, by the real code."""
    folder.mkdir(exist_ok=True)
    (folder / "table.toml").write_text(toml)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builds, "SOURCE", source)
        write_raw(folder / "raw", table.load(folder / "table.toml"), toml, **options)
    packing.pack(RawBuild.open(folder / "raw"), folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return make(tmp_path_factory.mktemp("croissant") / "hub")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Whatever mlcroissant has to warn of is a fault."""
    yield
    records = caplog.get_records("call")
    assert [record.getMessage() for record in records if record.levelno >= logging.WARNING] == []


def document(out):
    return json.loads((out / "croissant.json").read_bytes())


def read(out):
    """The release as mlcroissant reads it, which has neither errors nor warnings."""
    dataset = mlcroissant.Dataset(out / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert (set(issues.errors), set(issues.warnings)) == (set(), set())
    return dataset


def parquet_rows(out, config):
    place = {"all": "data/*", "metadata": "metadata"}.get(config, f"data/{config}")
    paths = sorted(out.glob(f"{place}/*.parquet"))
    return [{"split": path.name.split("-")[0], **row} for path in paths for row in pq.read_table(path).to_pylist()]


def plain(value):
    """A value of a record as Parquet has it: text, a picture's bytes, a number, without the config before each name."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Image.Image):
        return value.fp.getvalue()
    if isinstance(value, dict):
        return {key.rpartition("/")[2]: plain(one) for key, one in value.items()}
    return value.item() if hasattr(value, "item") else value


@pytest.mark.parametrize("config", CONFIGS)
def test_the_records_of_a_config_are_its_rows(out, config):
    """Every column of every row, pictures byte for byte."""
    records = [plain(record) for record in read(out).records(config)]
    rows = [
        {**row, **({"image": row["image"]["bytes"]} if "image" in row else {})} for row in parquet_rows(out, config)
    ]
    assert records == rows and {row["split"] for row in rows} == set(agfd30k.SPLITS)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("split", agfd30k.SPLITS)
def test_a_split_is_read_alone(out, config, split):
    records = read(out).records(config, filters={f"{config}/split": split})
    rows = [row["id"] for row in parquet_rows(out, config) if row["split"] == split]
    assert [record[f"{config}/id"].decode() for record in records] == rows != []


def test_pictures_are_read_file_after_file(tmp_path):
    """The first record is there before any other file is opened: a full release does not fit into memory."""
    out = make(tmp_path)
    first, *others = sorted(out.glob("data/*/*.parquet"))
    for path in others:
        path.write_bytes(b"no Parquet")
    record = next(iter(read(out).records("all")))
    assert record["all/id"].decode() == pq.read_table(first)["id"][0].as_py()


def test_numbers_of_labels_have_names(out):
    """In the order of the schema; the columns of `metadata` refer to them."""
    features = agfd30k.features(agfd30k._labels(out), "metadata")
    labels = {column: kind.names for column, kind in features.items() if hasattr(kind, "names")}
    assert set(labels) >= set(agfd30k.LABELS)
    fields = {field["@id"]: field for one in document(out)["recordSet"] for field in one["field"]}
    for column, names in labels.items():
        id = f"{column}-names"
        records = [(one[f"{id}/number"], one[f"{id}/name"]) for one in read(out).records(id)]
        assert records == list(enumerate(names))
        assert fields[f"metadata/{column}"]["references"] == {"field": {"@id": f"{id}/number"}}
        assert id in fields[f"all/{column}"]["description"] and "references" not in fields[f"all/{column}"]


def test_a_first_page_is_read_once(out, tmp_path):
    """Where the first rows of `all` lie in a file of their own, no row is missing and none is there twice."""
    splits = ("train", "test")
    first, rest = [f"first_page/{split}.parquet" for split in splits], [f"data/fruit/{split}" for split in splits]
    table = pq.read_table(out / "data/fruit/train-00000-of-00001.parquet")
    for number, (one, other) in enumerate(zip(first, rest)):
        for path, start in ((one, 0), (f"{other}-first.parquet", 0), (f"{other}-00000-of-00001.parquet", 1)):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table.slice(8 * number + 4 * start, 4), tmp_path / path)
    patterns = {
        "all": {split: [f"first_page/{split}.parquet", f"data/*/{split}-*-of-*.parquet"] for split in splits},
        "fruit": {split: [f"data/fruit/{split}-*.parquet"] for split in splits},
    }
    features = agfd30k.features(agfd30k._labels(out))
    sets = [croissant.record_set(config, features, some, "") for config, some in patterns.items()]
    files = [croissant.file_set(config, some) for config, some in patterns.items()]
    whole = {**document(out), "distribution": files, "recordSet": sets}
    (tmp_path / "croissant.json").write_text(json.dumps(whole))
    ids = table["id"].to_pylist()
    for config in patterns:
        rows = [(record[f"{config}/split"], record[f"{config}/id"]) for record in read(tmp_path).records(config)]
        assert sorted(rows) == sorted((b"test" if n > 7 else b"train", id.encode()) for n, id in enumerate(ids[:16]))
        for split, some in (("train", ids[:8]), ("test", ids[8:16])):
            records = read(tmp_path).records(config, filters={f"{config}/split": split})
            assert sorted(record[f"{config}/id"].decode() for record in records) == sorted(some)


def test_the_whole_release_is_described(out):
    """What it is called, whose and of when it is, as the card has it; and that it is synthetic."""
    metadata, card, info = read(out).metadata, Release(out).card, BuildInfo.read(out)
    assert metadata.name == card[0]["pretty_name"] == "Fruit sellers"
    assert metadata.license == [card[0]["license"]] == ["creativeml-openrail-m"]
    assert metadata.cite_as in card[1] and f"year = {{{card_page.YEAR}}}" in metadata.cite_as
    assert str(metadata.date_published.year) == card_page.YEAR
    assert metadata.version == f"1.0.0+{info.rows[7:19]}" and metadata.ctx.is_live_dataset is False
    assert metadata.conforms_to == croissant.CONFORMS_TO
    whole = document(out)
    assert whole["rai:hasSyntheticData"] is True and whole["digitalSourceType"].endswith("MediaDigitalSource")
    assert whole["prov:wasAttributedTo"]["prov:label"] == f"{HUB.name}, revision {HUB.revision}"
    assert "none is a photograph" in metadata.description and "Preview" not in (out / "croissant.json").read_text()


def test_every_field_is_known_to_the_lint(out):
    """And those of version 1.0 of the vocabulary are what mlcroissant reads of them."""
    whole, metadata = document(out), read(out).metadata
    own = [key for key in whole if key.startswith("rai:")]
    assert sorted(own) == sorted(responsible_ai.FIELDS)
    for key in own[1:]:
        said = getattr(metadata, re.sub("[A-Z]", lambda big: f"_{big[0].lower()}", key[4:]))
        texts = whole[key]
        assert sorted(said if isinstance(said, list) else [said]) == sorted(
            [texts] if isinstance(texts, str) else texts
        )


def test_what_it_says_was_counted(out):
    """Pictures by group, rejected tries by reason and feature, prompts that a split shares: in the very rows."""
    whole, rows = (
        document(out),
        [row for shard in agfd30k.shards(out.parent / "raw") for row in agfd30k.read_rows(shard)],
    )
    for key, word in (("sex", "sex"), ("ethnicity", "ethnicity"), ("age_group", "age group")):
        counts = Counter(row[key] for row in rows)
        said = next(text for text in whole["rai:dataBiases"] if text.startswith(f"Pictures by {word}: "))
        assert dict(part.split(" ")[::-1] for part in said[:-1].split(": ")[1].split(", ")) == {
            name: str(count) for name, count in counts.items()
        }
    tries = [json.loads(line) for path in out.parent.glob("raw/shards/*/rejected.jsonl") for line in open(path)]
    assert f"{len(rows)} pictures were kept and {len(tries)} tries rejected" in whole["rai:dataCollection"]
    process = " ".join(whole["rai:dataPreprocessingProtocol"])
    assert f"by reason: {len(tries)} refused." in process and f"saved: {builds.CHECKER}." in process
    train = {row["prompt"] for row in rows if row["split"] == "train"}
    for split in ("validation", "test"):
        prompts = [row["prompt"] for row in rows if row["split"] == split]
        assert f"{sum(prompt in train for prompt in prompts)} of {len(prompts)} in {split}" in process
    assert "No check was made" in whole["rai:dataAnnotationProtocol"] and whole["rai:annotationsPerItem"] == "0"
    assert "No picture was asked to show a person under 18." in whole["rai:personalSensitiveInformation"]
    assert whole["rai:dataCollectionMissingData"].startswith(f"0 of {len(rows)} pictures")


def test_a_preview_says_that_it_is_one(tmp_path):
    whole = document(make(tmp_path, source=builds.SOURCE))
    texts = (whole["description"], whole["rai:dataCollection"], whole["rai:dataLimitations"][0])
    assert all(text.startswith(responsible_ai.PREVIEW) for text in texts)
    assert "No safety checker has passed the pictures: the preview has none." in whole["rai:dataPreprocessingProtocol"]
    assert "preview" in whole["keywords"]


def test_what_is_missing_and_who_is_young_is_told(tmp_path, monkeypatch):
    """Pictures that were given up, by feature, and those of people under 18."""
    minors = '\n[minors]\npositive = ["wearing clothes"]\nnegative = ["nude"]\n\n[[feature]]'
    toml = OWN_TABLE.replace("[30, 70]", "[17, 70]").replace("\n[[feature]]", minors, 1)
    monkeypatch.setattr(builds, "refused", lambda attempt: attempt.sample.feature == "tea" and attempt.sample.index < 3)
    out = make(tmp_path, toml)
    rows, whole = parquet_rows(out, "metadata"), document(out)
    young = sum(row["age"] < 18 for row in rows)
    assert (
        f"{young} pictures were asked to show people under 18 (young)" in whole["rai:personalSensitiveInformation"][2]
    )
    assert whole["rai:dataCollectionMissingData"].startswith("6 of 40 pictures") and len(rows) == 34
    assert "(6 tea)" in whole["rai:dataCollectionMissingData"] and "the table asks for 40" in whole["description"]


CHECKED = """
[checks.attribute]
model = "some/clip"
threshold = 0.4
on_fail = "keep"

[checks.duplicates]

[people]"""
NOTES = [
    CheckVersion("attribute", 1, ModelId("hub", "some/clip", "c0ffee")),
    CheckVersion("duplicates", 3),
]


def outcome(attempt):
    """Every third picture is verified, the next is not, and of the third nobody can tell."""
    result = Outcome()
    for name in ([["passed"], ["failed"], []])[attempt.sample.index % 3]:
        result.checks[name].append("attribute")
    return result


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """A checked build with a calibration, and its release."""
    write = builds.write
    monkeypatch.setattr(builds, "write", lambda writer, attempt: write(writer, attempt, outcome(attempt)))
    out = make(tmp_path, OWN_TABLE.replace("[people]", CHECKED, 1), checks=NOTES)
    shares = {"verified_precision": 0.75, "recall": None, "false_positive_rate": 0.031}
    row = {"feature": "tea", "judged": 1200, "verified_judged": 9, "threshold": 0.4, **shares}
    row |= {f"{name}_interval": [0.001, 0.9] if share is not None else None for name, share in shares.items()}
    content = dict.fromkeys(calibration_file.CONTENT, "") | {"version": calibration_file.VERSION, "pictures": 40}
    content |= {"judges": 1, "judgements": 1234, "features": [row], "recipe": BuildInfo.read(out).recipe}
    (tmp_path / "raw" / calibration_file.NAME).write_text(json.dumps(content))
    monkeypatch.setattr("builder.dataset.card.render", lambda *arguments: f"{arguments[0].info}\n")
    packing.pack(RawBuild.open(tmp_path / "raw"), out)
    return out


def test_what_the_checks_and_people_say_is_told(judged):
    """With versions, models and limits, and how far people agree; what is not known is said to be so."""
    whole, rows = document(judged), parquet_rows(judged, "metadata")
    verified = Counter(row["verified"] for row in rows)
    assert f"{verified[True]} of 40 pictures were seen" in whole["rai:dataAnnotationProtocol"]
    assert (
        f"{verified[False]} failed a check and were kept, of {verified[None]} nobody"
        in (whole["rai:dataAnnotationProtocol"])
    )
    attribute, duplicates = whole["rai:machineAnnotationTools"]
    assert attribute.startswith("attribute, version 1: score of the feature at least 0.4")
    assert attribute.endswith("; model some/clip, revision c0ffee")
    assert duplicates.startswith("duplicates, version 3: a perceptual hash more than 2 of 64 bits")
    assert "1,234 judgements were given by 1 person" in whole["rai:annotationsPerItem"]
    assert whole["rai:dataAnnotationAnalysis"][1] == (
        "tea, 1,200 pictures judged: precision of verified 0.75 (0.00 to 0.90), recall not known, "
        "false positives 0.03 (0.00 to 0.90)."
    )


def test_columns_have_the_descriptions_of_the_loader():
    """Types of values, structures and lists keep what they are; a type without a word is refused."""
    features = Features({"age": Value("float32"), "box": [Value("int32")], "inner": {"score": Value("float64")}})
    sets = croissant.record_set("some", features, {"train": ["data/train-*.parquet"]}, "rows")
    split, age, box, inner = sets["field"]
    assert (age["description"], age["dataType"], box["description"]) == (agfd30k.COLUMNS["age"], "cr:Float32", "box")
    assert (box["isArray"], box["arrayShape"], box["dataType"]) == (True, "-1", "cr:Int32")
    assert inner["subField"][0]["source"]["transform"] == {"jsonPath": "score"} and "key" not in sets
    assert split["source"]["transform"]["regex"] == r"(train)-.*\.parquet$"
    with pytest.raises(ValueError, match="no word for day's type"):
        croissant.data_type("day", Value("duration[s]"))


@pytest.mark.parametrize(
    ("id", "says"),
    [
        ("cc-by-nc-sa-4.0", "https://spdx.org/licenses/CC-BY-NC-SA-4.0.html"),
        ("mit", "https://spdx.org/licenses/MIT.html"),
        ("creativeml-openrail-m", "creativeml-openrail-m"),
        ("other", "other"),
        ("licenseref-mine", "licenseref-mine"),
    ],
)
def test_a_licence_has_its_address_at_spdx(id, says):
    assert croissant.license_of(id) == says


def test_the_examples_are_true():
    assert doctest.testmod(croissant).failed == 0 < doctest.testmod(croissant).attempted


HOSTILE = [
    *["\"}], 'x': {", "</script><script>alert(1)</script>", "<!-- built from x -->", 'a\\"b\\n\\u0000', '{"@id": "x"}'],
    *["é ☃ \U0001f951", "@context", "https://example.com/a b", "}, title = {x}"],
]
CORE = {
    *["@context", "@type", "conformsTo", "name", "description", "url", "license", "creator", "citeAs", "version"],
    *["datePublished", "isLiveDataset", "inLanguage", "keywords", "digitalSourceType", "prov:wasDerivedFrom"],
    *["prov:wasGeneratedBy", "prov:wasAttributedTo", "distribution", "recordSet"],
}


@pytest.mark.parametrize("word", HOSTILE)
def test_words_of_a_table_stay_words(tmp_path, monkeypatch, word):
    """In names, models and reasons of rejected tries: the document keeps its keys, and no markup gets out of it."""
    reason = f"{word}\n\u202e\u2028 twice"
    monkeypatch.setattr(builds, "rejection", lambda attempt, _: rejection(attempt, reason))
    toml = OWN_TABLE.replace('"Fruit sellers"', f"'''{word}'''")
    out = make(tmp_path, toml, Source("folder", word, "", "sha256:0f"))
    whole, metadata = document(out), read(out).metadata
    assert whole["name"] == metadata.name == word and "<" not in (out / "croissant.json").read_text()
    assert set(whole) == {*CORE, *responsible_ai.FIELDS}
    assert any(text.endswith(f" {reason}.") for text in whole["rai:dataPreprocessingProtocol"])
    assert f"model {word}, revision sha256:0f," in metadata.data_collection
    assert whole["citeAs"] in Release(out).card[1]
    assert len(list(read(out).records("fruit"))) == len(parquet_rows(out, "fruit"))
