"""The card says what was counted, and nothing that is not so."""

import json
import re
from collections import Counter
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

import agfd30k
from builder.checks.suite import Outcome
from builder.dataset import packing
from builder.dataset.build_info import BuildInfo
from builder.dataset.card import SIZES, _metadata
from builder.dataset.folder import Release
from builder.dataset.parquet import Config
from builder.dataset.statistics import Statistics
from builder.linting import lint
from builder.models.identity import CheckVersion, ModelId, Source
from builder.raw.build import RawBuild
from builder.raw.rows import rejection
from builder.spec import table
from tests.fixtures import builds
from tests.fixtures.builds import OWN_TABLE, write_raw
from tests.fixtures.scripts import load


def card(folder, toml=OWN_TABLE, **options):
    """The text of a release's README.md, as one line."""
    folder.mkdir(exist_ok=True)
    (folder / "table.toml").write_text(toml)
    write_raw(folder / "raw", table.load(folder / "table.toml"), toml, **options)
    packing.pack(RawBuild.open(folder / "raw"), folder / "out")
    return " ".join((folder / "out/README.md").read_text().split("---\n", 2)[2].split())


def test_a_part_says_what_the_whole_is(tmp_path):
    assert "the table asks for 40 pictures" in card(tmp_path / "part", scale=0.5)
    assert "This is a part" not in card(tmp_path / "whole")


def test_the_example_loads_a_config_that_is_there(tmp_path, monkeypatch):
    """An attribute has none when every one of its pictures was given up."""
    monkeypatch.setattr(builds, "refused", lambda attempt: attempt.sample.attribute == "fruit")
    text = card(tmp_path)
    assert "| 0 | fruit | banana | `(banana:1.2)`, `two bananas` | 0 | 0 | 0 | 20 |" in text
    assert 'faces = load_dataset("out", "drink")' in text


@pytest.mark.parametrize(("most", "says"), [(10, "10 tries"), (1, "1 try")])
def test_the_most_tries_are_told_with_the_first_among_them(tmp_path, most, says):
    toml = OWN_TABLE.replace('model = "preview"', f'model = "preview"\nmax_attempts = {most}')
    assert f"A try that was rejected is made again with another seed, up to {says} in all." in card(tmp_path, toml)


@pytest.mark.parametrize(
    ("ages", "says"),
    [
        ("[30, 70]", None),
        ("[18, 70]", None),
        ("[17, 70]", "People under 18 (`age`; young), 20 pictures: no real child is shown."),
    ],
)
def test_minors_are_known_by_their_age(tmp_path, ages, says):
    """Not by their age group, which may hold adults too."""
    minors = '\n[minors]\npositive = ["wearing clothes"]\nnegative = ["nude"]\n\n[[feature]]'
    toml = OWN_TABLE.replace("[30, 70]", ages).replace("\n[[feature]]", minors, 1)
    text = card(tmp_path, toml)
    assert says in text if says else "real child" not in text


@pytest.mark.parametrize(
    ("pictures", "says"), [(999, "n<1K"), (1000, "1K<n<10K"), (999_999, "100K<n<1M"), (10**6, "1M<n<10M")]
)
def test_sizes_are_told_in_the_hubs_own_words(pictures, says):
    """Any other word would not be found there."""
    known = json.loads((Path(datasets.__file__).parent / "utils/resources/size_categories.json").read_text())
    statistics = Statistics(made=Counter({("fruit", "banana", "train"): pictures}))
    configs = {"all": Config(agfd30k.features(), {}, {}, 0)}
    head = _metadata(builds.recipe_of(builds.table.load()), configs, statistics)
    assert head.size_categories == [says] and says in known
    assert {name for _, name in SIZES} < set(known)


def test_features_are_told_in_the_words_of_the_prompt(tmp_path):
    text = card(tmp_path, OWN_TABLE.replace('"two bananas"', '"a | b", "c1", "c2", "c3", "c4", "c5", "c6"'))
    assert r"| banana | `(banana:1.2)`, `a \| b`, 6 more |" in text
    assert "| tea | `a cup of tea` |" in text and "Ages are 30, 70 where none are given." in text


def test_ages_of_a_features_own_are_told(tmp_path):
    assert "| tea | `a cup of tea`, ages 30 |" in card(tmp_path, f"{OWN_TABLE}ages = [30]\n")


def test_a_sex_that_is_not_asked_for_adds_no_words(tmp_path):
    phrases = '{ male = ["bald man"], female = ["bald woman"] }'
    toml = OWN_TABLE.replace("female = 10", "female = 0").replace('["a cup of tea"]', phrases)
    assert "| tea | `bald man` |" in card(tmp_path, toml)


def test_the_safety_checker_is_told(tmp_path, monkeypatch):
    """Which one passed every picture; the preview alone has none."""
    text = card(tmp_path / "preview")
    assert "No safety checker has passed the pictures: the preview has none" in text and "flagged" not in text
    monkeypatch.setattr(builds, "SOURCE", Source("hub", "some/model", "some/model", "c0ffee"))
    text = card(tmp_path / "real")
    assert f"looked at every picture, and what it flagged was never saved: `{builds.CHECKER}`." in text
    assert "No safety checker" not in text and "nothing: the preview" not in text


NOTES = [
    CheckVersion("integrity", 1),
    CheckVersion("face", 1),
    CheckVersion("attribute", 1, ModelId("hub", "some/clip", "c0ffee")),
    CheckVersion("duplicates", 1),
]
CHECKED = """
[checks.face]
detector = "haar"
smallest = 0.3

[checks.attribute]
model = "some/clip"
threshold = 0.4
on_fail = "keep"

[checks.duplicates]

[people]"""


def checked(attempt):
    """Every third picture is verified, the next is not, and of the third nobody can tell."""
    outcome = Outcome()
    for name in ([["passed"], ["failed"], []])[attempt.sample.index % 3]:
        outcome.checks[name].append("attribute")
    return outcome


def test_checks_are_told_with_their_models_and_limits(tmp_path, monkeypatch):
    """And what they found, by feature: verified, not judged, and why tries were rejected."""
    write = builds.write
    monkeypatch.setattr(builds, "write", lambda writer, attempt: write(writer, attempt, checked(attempt)))
    own = 'phrases = ["a cup of tea"]\ncheck = { threshold = 0.7, sharp = false, face = "covered" }'
    toml = OWN_TABLE.replace("[people]", CHECKED, 1).replace('phrases = ["a cup of tea"]', own)
    text = card(tmp_path, toml, checks=NOTES)
    assert "| `integrity` | the right size, neither black nor one colour | none |" in text
    assert "at least 0.3 of the picture's height" in text and "for `tea` | OpenCV's Haar cascades |" in text
    scores = "score of the feature at least 0.4 (`tea` 0.7), scores of sex and age at least 0.2"
    young = "no adult is kept who looks like a minor (`minor_score` 0.5 or more, where it could be read)"
    assert f"| `attribute` | {scores}; what fails is kept and not verified; {young} | some/clip" in text
    assert "more than 2 of 64 bits from any other's, more than 2 within a feature and sex | none |" in text
    assert re.search(r"\| banana \| [^|]+ \| 20 \| 7 \| 6 \| 0 \| \d refused \|", text)
    assert "**`verified` is one model's opinion**" in text and "is a wish" in text


def test_what_was_not_done_is_said(tmp_path):
    """Neither checks nor a comparison with people are passed over in silence."""
    text = card(tmp_path)
    assert "No check was made: `verified` is empty in every row." in text
    assert "Not known: the checks were not compared with people's judgement." in text


def test_every_picture_of_the_card_and_every_link_is_there(tmp_path):
    text = card(tmp_path)
    names = [part.split(")")[0] for part in text.split("](")[1:]]
    assert "assets/all.webp" in names and "recipe.toml" in names
    elsewhere = {name for name in names if name.startswith(("/", "https://"))}
    assert elsewhere == {"/spaces/CompVis/stable-diffusion-license", "https://github.com/Robin-WZQ"}
    assert all((tmp_path / "out" / name).is_file() for name in set(names) - elsewhere)


def test_a_model_of_the_hub_leads_to_its_page(tmp_path, monkeypatch):
    monkeypatch.setattr(builds, "SOURCE", Source("hub", "some/my_model_", "some/my_model_", "c0ffee"))
    assert r"| model | [some/my_model\_](/some/my_model_), revision `c0ffee` |" in card(tmp_path)


def test_every_column_is_told_with_its_type(tmp_path):
    """In the words of the loader; what lies side by side and is of one kind stands in one line."""
    text = card(tmp_path)
    table = text.partition("| column | type | what it holds |")[2].partition("Classes are numbers")[0]
    told = [name for line in table.split(" | ") for name in re.findall(r"`(\w+)`", line)]
    assert [name for name in told if name in agfd30k.COLUMNS and name != "torch"] == list(agfd30k.features())
    assert "| `face_x`, `face_y`, `face_width`, `face_height` | float32 | the largest face" in table


def test_the_columns_in_the_docs_are_current():
    """docs/labels.md has what `make docs` writes: every column of the loader's schema."""
    page = load("docs/columns.py")
    text = page.DOCS.read_text(encoding="utf-8")
    assert page.current(text) == text
    told = text.partition(page.BEGIN)[2].partition(page.END)[0]
    assert all(f"`{name}`" in told for name in agfd30k.features())


def test_the_sql_of_the_card_gives_names(tmp_path):
    """In DuckDB, over the very files; the names are those that the loader has."""
    duckdb = pytest.importorskip("duckdb")
    card(tmp_path)
    text = (tmp_path / "out/README.md").read_text()
    sql = text.partition("```sql\n")[2].partition("```")[0]
    train = pq.read_table(*(tmp_path / "out").glob("metadata/train-*.parquet"))
    found = duckdb.sql(sql).fetchall()
    schema = datasets.Features.from_arrow_schema(train.schema)
    names = ("attribute", "feature", "sex", "ethnicity", "age_group")
    wanted = Counter(tuple(schema[name].int2str(row[name]) for name in names) for row in train.to_pylist())
    assert {row[: len(names)]: row[len(names)] for row in found} == wanted


FAKE = "<!-- built from sha256:1, recipe 2, model hub, checker some/checker@c0ffee -->"
HOSTILE = [
    *["My faces ---", "--- My faces", "a: b # c", "'quoted' \"twice\"", "{a: [b]}", "- item", "!!python/x y", "*alias"],
    *["<script>alert(1)</script>", "<img src=x onerror=y>", "[a](javascript:x)", "![a](https://example.com/a.png)"],
    *["a | b | c", "`code` ``", "**bold** _x_ ~~y~~", "\\ back", "&lt;b&gt;", "100 % $x$ {y}", FAKE, f"{FAKE} ---"],
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_table_is_called_in_the_card_what_it_is_called(tmp_path, name):
    """Whatever stands in its name: the YAML is sound, the text shows the very name, and the build is known again."""
    toml = OWN_TABLE.replace('"Fruit sellers"', f"'''{name}'''")
    card(tmp_path, toml)
    release, raw = Release(tmp_path / "out"), RawBuild.open(tmp_path / "raw")
    assert release.card[0]["pretty_name"] == DatasetCard.load(tmp_path / "out/README.md").data.pretty_name == name
    assert release.info == BuildInfo.read(tmp_path / "out") and release.info.recipe == raw.fingerprint
    parsed = MarkdownIt("commonmark").enable("table").parse(release.card[1])
    heading = next(parsed[n + 1] for n, token in enumerate(parsed) if token.type == "heading_open")
    assert "".join(part.content for part in heading.children) == name
    assert {part.type for part in heading.children} <= {"text", "text_special"}
    assert [token.content for token in parsed if token.type == "html_block"] == [f"{release.info}\n"]
    assert list(lint.check(release, allow_preview=True, allow_incomplete=True)) == []
    assert packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "out")[1] is False


def test_the_words_of_prompts_rows_and_models_are_escaped(tmp_path, monkeypatch):
    """Phrases, reasons of rejected tries, and the name of a model that is a folder."""
    monkeypatch.setattr(builds, "SOURCE", Source("folder", "a|b`<i>", "", "sha256:0f|`"))
    monkeypatch.setattr(builds, "rejection", lambda attempt, reason: rejection(attempt, f"<b>no</b> | {FAKE}"))
    monkeypatch.setattr(builds, "refused", lambda attempt: attempt.sample.index == attempt.number == 0)
    text = card(tmp_path, OWN_TABLE.replace('"a cup of tea"', "'<u>`tea` | x</u>', '-->'"))
    assert r"| model | a\|b\`&lt;i&gt;, revision `` sha256:0f\|` `` |" in text
    assert r"| tea | ``<u>`tea` \| x</u>``, `-->` |" in text
    assert r"2 &lt;b&gt;no&lt;/b&gt; \| &lt;!-- built from" in text
    tables = [line for line in (tmp_path / "out/README.md").read_text().splitlines() if "| tea |" in line]
    assert [line.replace(r"\|", "").count("|") for line in tables] == [10]
    assert (tmp_path / "out/recipe.toml").read_text().splitlines()[0].endswith(BuildInfo.read(tmp_path / "out").recipe)


def test_labels_that_end_in_a_line_are_no_other_labels(tmp_path):
    """A label is shown, and its sheet is found, whatever Markdown makes of `_`."""
    text = card(tmp_path, OWN_TABLE.replace('attribute = "fruit"', 'attribute = "fruit__"'))
    assert r"[fruit\_\_](assets/fruit__.webp)" in text and "| `fruit__` |" in text
    assert list(lint.check(Release(tmp_path / "out"), allow_preview=True, allow_incomplete=True)) == []


def test_prompts_that_a_split_shares_with_train_are_counted(tmp_path):
    """In the very build, picture by picture: the splits are made of pictures, not of words."""
    text = card(tmp_path)
    rows = [row for shard in agfd30k.shards(tmp_path / "raw") for row in agfd30k.read_rows(shard)]
    train = {row["prompt"] for row in rows if row["split"] == "train"}
    told = []
    for split in ("validation", "test"):
        prompts = [row["prompt"] for row in rows if row["split"] == split]
        told.append(f"{sum(prompt in train for prompt in prompts)} of {len(prompts)} pictures of {split}")
    assert f"**The splits share their prompts:** {told[0]}, {told[1]} have a prompt that occurs word for word" in text
    assert not told[0].startswith("0 of")


def test_a_build_without_other_splits_says_nothing_of_their_prompts(tmp_path, monkeypatch):
    monkeypatch.setattr(builds, "refused", lambda attempt: attempt.sample.split != "train")
    assert "share their prompts" not in card(tmp_path)


def test_the_example_of_a_part_is_true(tmp_path):
    """The line of the card chooses a part of the rows by chance alone."""
    text = card(tmp_path)
    assert "is not a neutral one" in text and "agfd30k.subsample(faces, 0.1)" in text
    code = re.search(r"```python\n(tenth = .*)\n", (tmp_path / "out/README.md").read_text())[1]
    faces = datasets.load_dataset(str(tmp_path / "out"), "metadata", cache_dir=str(tmp_path / "cache"))
    scope = {"faces": faces}
    exec(code, scope)
    wanted = [digest for digest in faces["train"]["sha256"] if int(digest[:4], 16) < 0x1999]
    assert list(scope["tenth"]["train"]["sha256"]) == wanted and wanted
