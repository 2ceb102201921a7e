"""Lint: a sound release has no fault, and every line of every rule bites where its one thing is broken, and alone."""

import doctest
import hashlib
import io
import json
import os
import shutil
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import agfd30k
from builder import upload
from builder.dataset import folder as dataset_folder
from builder.dataset import packing
from builder.dataset.build_info import BuildInfo
from builder.engine.here import Here
from builder.linting import card, files, lint, parquet, rows, secrets, viewer
from builder.models.identity import Source
from builder.plan.plan import Plan
from builder.raw import provenance
from builder.raw.build import RawBuild
from builder.spec import table
from tests.fixtures import builds

HUB = Source("hub", "someone/stand-in", "someone/stand-in", "0123456789abcdef0123456789abcdef01234567")
TRAIN = "data/drink/train-00000-of-00001.parquet"
LABELS = "metadata/train-00000-of-00001.parquet"
HEX = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"
TOKENS = {
    "Hugging Face": "hf_" + "aBcD" * 9,
    "organisation": "api_org_" + "aBcD" * 9,
    "GitHub": "ghp_" + "aB1c" * 9,
    "github-fine": "github_pat_" + "11AB_cd2" * 8,
    "GitLab": "glpat-" + "x1Y2_" * 4,
    "AWS": "AKIA" + "ABCD1234" * 2,
    "aws-secret": "wJalrXUtnFEMI/" + "K7MDENG/bPxRfiCYzEXAMPLEKE",
    "aws-assigned": "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG" + "/bPxRfiCYzEXAMPLEKE",
    "Google": "AIza" + "SyA-1234_" * 3 + "abcdefgh",
    "OpenAI, Anthropic or alike": "sk-" + "proj-aB3_" * 6,
    "Slack": "xoxb-" + "123456-abc" * 3,
    "Stripe": "sk_live_" + "4eC39HqL" * 3,
    "npm": "npm_" + "aB1c" * 9,
    "PyPI": "pypi-" + "AgEIcHlwaS5vcmcC" + "aB1c_-" * 20,
    "JSON Web Token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0." + "dBjftJeZ4CVPmB92K27uhbUJU1p1r",
    "private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "password in an address": "https://someone:" + "s3cr-et!" + "@example.com/models",
    "wandb": "WANDB_API_KEY=" + HEX + "0b1c2d3e",
    "civitai": "https://civitai.com/api/download/models/1?token=" + HEX,
    "civitai-name": "civitai key " + HEX,
    "secret with its name": "password: " + "correct-horse-7-battery",
}
"""Made up, and put together here, so that no scanner takes this file's for real ones."""
BARE = {"bare-wandb": HEX + "0b1c2d3e", "bare-civitai": HEX}
"""Keys without a word that tells them from commits: they are found where no commit belongs."""
KINDS = {
    **{"organisation": "Hugging Face", "github-fine": "GitHub", "aws-secret": "AWS", "aws-assigned": "AWS"},
    **dict.fromkeys(("wandb", "civitai", "civitai-name", *BARE), "key of hexadecimal digits"),
}
"""What they are told as, where it is another word."""
ORDINARY = [
    "mask-only_glasses_over_the_whole_face-female-00012",
    "a desk-and-chair-in-a-room-with-two-windows portrait",
    "RAW photo, dusk-lit_street_in_the_old_town_after_the_rain, (antigas mask:1.2), hf_ and ghp_ are prefixes",
    "sha256:" + "a1" * 32,
    "stabilityai/stable-diffusion-2-1-base-with-a-very-long-name-of-its-own",
    "a key, a token and a secret: password-free, https://example.com:8080/a@b, mailto:someone@example.com",
    "AllMyModels/RealisticVisionV20/Checkpoint1/UNet/diffusion_pytorch_model.safetensors",
]


def make(folder, source=HUB, toml=builds.OWN_TABLE, **options):
    """A release of small pictures, by the real code."""
    folder.mkdir()
    (folder / "table.toml").write_text(toml)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builds, "SOURCE", source)
        builds.write_raw(folder / "raw", table.load(folder / "table.toml"), toml, **options)
    packing.pack(RawBuild.open(folder / "raw"), folder / "out")
    return folder / "out"


@pytest.fixture(scope="session")
def hub_release(tmp_path_factory):
    return make(tmp_path_factory.mktemp("lint") / "hub")


@pytest.fixture(scope="session")
def preview_release(tmp_path_factory):
    return make(tmp_path_factory.mktemp("lint") / "preview", builds.SOURCE)


@pytest.fixture
def out(hub_release, tmp_path):
    """A release to break."""
    return shutil.copytree(hub_release, tmp_path / "out")


@pytest.fixture
def preview(preview_release, tmp_path):
    return shutil.copytree(preview_release, tmp_path / "preview")


def faults(folder, **options):
    return [str(fault) for fault in lint.check(lint.Release(folder, "Fruit"), **options)]


def notes(folder):
    return [str(note) for note in lint.notes(lint.Release(folder, "Fruit"))]


def by_rule(folder, **options):
    return {fault.rule for fault in lint.check(lint.Release(folder, "Fruit"), **options)}


def edit(folder, old, new, count=1):
    """Change the card's text."""
    path = folder / "README.md"
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, count))


@contextmanager
def head(folder):
    """The card's YAML, to change."""
    path = folder / "README.md"
    _, front, text = path.read_text().split("---\n", 2)
    document = yaml.safe_load(front)
    yield document
    path.write_text(f"---\n{yaml.safe_dump(document, sort_keys=False)}---\n{text}")


def recount(folder):
    """Let the card say of rows and bytes what the files hold."""
    with head(folder) as document:
        patterns = {c["config_name"]: {f["split"]: f["path"] for f in c["data_files"]} for c in document["configs"]}
        for info in document["dataset_info"]:
            own = patterns[info["config_name"]]
            for split in info["splits"]:
                paths = folder.glob(own[split["name"]])
                split["num_examples"] = sum(pq.read_metadata(path).num_rows for path in paths)
            info["download_size"] = sum(path.stat().st_size for glob in own.values() for path in folder.glob(glob))


def rewrite(folder, name, change, index=True, tell=True):
    """Change a Parquet file's table, and let the card know of its new size."""
    changed = change(pq.read_table(folder / name))
    with pq.ParquetWriter(folder / name, changed.schema, write_page_index=index) as writer:
        if len(changed):
            writer.write_table(changed)
    if tell:
        recount(folder)


def with_row(number, **values):
    """A change of some columns of one row; `values` are functions of the old ones."""

    def change(old):
        rows = old.to_pylist()
        rows[number] |= {key: value(rows[number][key]) for key, value in values.items()}
        return pa.Table.from_pylist(rows, schema=old.schema)

    return change


def both(folder, change, split="train"):
    """The same change in the first attribute's data and in the labels, which begin with the same rows."""
    for name in (f"data/drink/{split}-00000-of-00001.parquet", f"metadata/{split}-00000-of-00001.parquet"):
        rewrite(folder, name, change)


def with_picture(number, data):
    """Another picture, with the digest that it has."""

    def change(old):
        rows = old.to_pylist()
        rows[number]["sha256"] = hashlib.sha256(data).hexdigest()
        if "image" in rows[number]:
            rows[number]["image"]["bytes"] = data
        return pa.Table.from_pylist(rows, schema=old.schema)

    return change


def first_id(folder, number=0, name=TRAIN):
    return pq.read_table(folder / name, columns=["id"])["id"][number].as_py()


# ---- sound releases -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thorough", [False, True])
def test_a_sound_release_has_no_fault(out, preview, thorough):
    assert faults(out, thorough=thorough) == []
    assert faults(preview, thorough=thorough, allow_preview=True) == []


@pytest.mark.parametrize("ending", ["webp", "jpg"])
def test_every_picture_format_is_sound(tmp_path, ending):
    assert faults(make(tmp_path / "made", image_format=ending), thorough=True) == []


def test_a_release_of_many_files_is_sound(tmp_path, monkeypatch):
    """Sets of several files, and several row groups in each."""
    monkeypatch.setattr("builder.dataset.parquet.ROWS_A_GROUP", 3)
    monkeypatch.setattr("builder.dataset.parquet.LABEL_ROWS_A_GROUP", 4)
    monkeypatch.setattr("builder.dataset.parquet.FILE_BYTES", 6000)
    out = make(tmp_path / "made")
    assert len(list(out.glob("data/drink/train-*"))) > 1 and len(list(out.glob("metadata/train-*"))) > 1
    for at_once in (1, 5, 10_000):
        monkeypatch.setattr(rows, "AT_ONCE", at_once)
        assert faults(out, thorough=True) == []


def test_what_git_and_the_client_leave_behind_is_no_fault(out):
    (out / ".gitattributes").write_text("*.parquet filter=lfs")
    (out / ".cache/huggingface").mkdir(parents=True)
    (out / ".cache/huggingface/note").write_text("")
    assert faults(out) == []


# ---- names and sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *["notes.txt", "data/drink/notes.txt", "assets/face.gif", ".train-00000.tmp", "data/drink/.train-00000.tmp"],
        *[".README.md.1a2b3c4d.tmp", "data/train-00000-of-00001.parquet", "data/drink/train.parquet", "raw/README.md"],
        *["metadata/deeper/train-00000-of-00001.parquet", "assets/.DS_Store", "other.py", "x.parquet.tmp"],
    ],
)
def test_a_file_that_is_not_a_release_s_own(out, name):
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("")
    assert faults(out) == [f"names: {name} is not a part of a release: move it away"]


def test_a_file_in_place_of_a_folder(out):
    shutil.rmtree(out / "assets")
    (out / "assets").write_text("")
    assert "names: assets is not a part of a release: move it away" in faults(out)


def test_a_script_that_bears_the_dataset_s_name(out):
    (out / "Fruit.py").write_text("")
    assert faults(out) == [
        "names: Fruit.py at the top makes loading fail: `datasets` takes it for a loading script",
    ]


@pytest.mark.parametrize("target", ["../elsewhere.webp", "all.webp", "nowhere"])
def test_a_link(out, tmp_path, target):
    shutil.move(out / "assets/fruit.webp", tmp_path / "elsewhere.webp")
    (out / "assets/fruit.webp").symlink_to(target)
    assert faults(out) == ["plain: assets/fruit.webp is a link: move it away; nothing else was checked"]


def test_a_linked_folder_is_not_followed(out, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more/private.txt").write_text("")
    (out / "more").symlink_to(tmp_path / "more", target_is_directory=True)
    assert faults(out) == ["plain: more is a link: move it away; nothing else was checked"]


def test_a_part_of_a_set_is_missing(out):
    (out / TRAIN).rename(out / "data/drink/train-00000-of-00002.parquet")
    assert faults(out) == ["names: data/drink/train: 1 of 2 files are there"]


def test_a_number_beyond_the_set(out):
    (out / TRAIN).rename(out / "data/drink/train-00001-of-00001.parquet")
    assert faults(out) == ["names: data/drink/train: 1 of 1 files are there"]


def test_files_of_two_releases(out):
    for number in range(2):
        pq.ParquetWriter(out / f"metadata/train-0000{number}-of-00002.parquet", pq.read_schema(out / LABELS)).close()
    recount(out)
    assert faults(out) == ["names: files of two different releases lie side by side"]


def test_too_many_files(out, monkeypatch):
    monkeypatch.setattr(files, "MOST_FILES", 5)
    assert faults(out) == ["names: 18 files, the Hub wants at most 5"]


def test_too_many_files_in_a_folder(out, monkeypatch):
    monkeypatch.setattr(files, "MOST_ENTRIES", 4)
    assert faults(out) == ["names: assets: 6 files in one folder, the Hub wants at most 4"]
    monkeypatch.setattr(files, "MOST_ENTRIES", 1)
    assert "names: the top: 3 files in one folder, the Hub wants at most 1" in faults(out)


def test_a_file_that_is_too_large(out, monkeypatch):
    sizes = {path: path.stat().st_size for path in out.rglob("*") if path.is_file()}
    largest = max(sizes, key=sizes.get)
    monkeypatch.setattr(files, "MOST_FILE_BYTES", sizes[largest] - 1)
    assert faults(out) == [f"sizes: {largest.relative_to(out)} is larger than 0 GB"]


# ---- the card -------------------------------------------------------------------------------------------------

UNREADABLE = "readme: README.md is missing, or its YAML cannot be read"


def test_no_card(out):
    (out / "README.md").unlink()
    assert faults(out) == [UNREADABLE]


@pytest.mark.parametrize(
    "text", ["", "no head", "---\n", "---\na: [\n---\n", "---\njust text\n---\n", "x---\na: 1\n---\n", "---\n---\n"]
)
def test_a_card_that_cannot_be_read(out, text):
    (out / "README.md").write_text(text)
    assert faults(out) == [UNREADABLE]


def test_a_card_that_is_not_text(out):
    (out / "README.md").write_bytes(b"---\nname: \xff\n---\n")
    assert faults(out) == [UNREADABLE]


@pytest.mark.parametrize("key", [key for key in card.WANTED if key != "configs"])
@pytest.mark.parametrize("empty", [True, False])
def test_what_the_hub_wants_to_know(out, key, empty):
    with head(out) as document:
        document.update({key: []}) if empty else document.pop(key)
    assert faults(out) == [f"readme: README.md's YAML has no `{key}`"]


def test_no_configs(out):
    with head(out) as document:
        del document["configs"]
    found = faults(out)
    assert found[0] == "readme: README.md's YAML has no `configs`"
    assert f"configs: {TRAIN} belongs to no config" in found
    assert {line.split(":")[0] for line in found} == {"readme", "configs", "counts"}


def test_a_card_that_the_builder_did_not_make(out):
    edit(out, "<!-- built from", "<!-- made of")
    assert faults(out) == ["readme: README.md does not say what it was built from: it is not one that the builder made"]


def test_a_preview_that_does_not_say_so_first(preview):
    edit(preview, "> **Preview: these", "Hello\n\n> **Preview: these")
    said = "readme: README.md does not begin by saying that these are preview pictures"
    assert faults(preview, allow_preview=True) == [said]


@pytest.mark.parametrize("tag", [None, "nsfw", "not-for-all-audiences"])
def test_a_card_that_hides_the_viewer(out, tag):
    with head(out) as document:
        document["tags"].append(tag) if tag else document.update(viewer=False)
    assert faults(out) == ["readme: README.md switches the dataset viewer off (`viewer: false` or a tag)"]


def test_a_picture_that_the_card_shows_is_missing(out):
    (out / "assets/balance.png").unlink()
    assert faults(out) == ["readme: README.md shows assets/balance.png, which is not there"]


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        (lambda head: head.update(configs=5), {"configs", "counts", "rows", "schema"}),
        (lambda head: head.update(configs=["fruit"]), {"configs", "counts", "rows", "schema"}),
        (lambda head: head.update(tags=[{}]), {"readme"}),
        (lambda head: head["configs"][0].update(data_files="data/*"), {"configs", "counts", "rows", "schema"}),
        (lambda head: head.update(dataset_info={"a": 1}), {"configs", "counts", "rows", "schema"}),
        (lambda head: head["dataset_info"][2].update(features=3), {"rows", "schema"}),
        (lambda head: head["dataset_info"][2].update(splits=[3]), {"counts", "rows", "schema"}),
        (lambda head: head["configs"][0]["data_files"][0].update(path="/etc/*"), None),
        (lambda head: head["configs"][0]["data_files"][0].update(path="../*"), None),
        (lambda head: head["configs"][0]["data_files"][0].update(path=["data/*"]), None),
        (lambda head: head["configs"][0]["data_files"][0].update(path=""), None),
        (lambda head: head["configs"][0]["data_files"][0].update(path="data/*"), None),
    ],
)
def test_a_card_of_another_shape_is_a_fault_and_no_traceback(out, change, rules):
    with head(out) as document:
        change(document)
    found = faults(out)
    assert found and all("\n" not in line for line in found)
    assert rules is None or {line.split(":")[0] for line in found} == rules


# ---- secrets --------------------------------------------------------------------------------------------------


LOOKS = "holds what looks like an access token, a key or a password"


@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_in_a_text(out, kind):
    """It is told with its kind, of each text for itself, and the token itself is nowhere to be read."""
    names = [*dataset_folder.TEXTS, "assets/checks.json"]
    for name in names:
        text = (out / name).read_text()
        words = f'"{TOKENS[kind]}"' if name.endswith("json") else f"# see {TOKENS[kind]}"
        (out / name).write_text(text.replace('"fruit"', words, 1) if name.endswith("json") else f"{text}\n{words}\n")
    found = faults(out)
    told = [line for line in found if line.startswith("texts")]
    assert sorted(told) == sorted(f"texts: {name} {LOOKS} ({KINDS.get(kind, kind)})" for name in names)
    assert not any(TOKENS[kind] in line for line in found)


def secrets_found(found):
    """The faults of the rule about secrets in rows, sorted."""
    return sorted(line for line in found if line.startswith("secrets"))


def secrets_expected(kind, columns):
    """One for every column, of the data and of the labels."""
    said = [f"the column {column} {LOOKS} ({KINDS.get(kind, kind)})" for column in columns]
    return sorted(f"secrets: {name}: {line}" for name in (TRAIN, LABELS) for line in said)


@pytest.mark.parametrize("kind", [*TOKENS, *BARE])
def test_a_token_in_a_row(out, kind):
    """It is told once a file and column, of each column for itself, and the token itself is nowhere to be read."""
    token, columns = (TOKENS | BARE)[kind], ("prompt", "phrase", "negative_prompt", "id")
    for number in (0, 1):
        both(out, with_row(number, **dict.fromkeys(columns, lambda old: f"{old} {token} smiling")))
    found = faults(out)
    assert secrets_found(found) == secrets_expected(kind, columns)
    assert not any(token in line for line in found)


@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_in_a_column_of_models(out, kind):
    """Where commits and digests are ordinary too."""
    columns = ("model", "model_revision", "safety_checker")
    both(out, with_row(1, **dict.fromkeys(columns, lambda old: f"{old} {TOKENS[kind]}")))
    assert secrets_found(faults(out)) == secrets_expected(kind, columns)


@pytest.mark.parametrize("place", ["checks_passed", "perceptual_hash", "image.path"])
def test_a_token_deep_in_a_row(out, place):
    """In what the checks say, and in what a picture is called."""

    def planted(old):
        rows, (column, _, key) = old.to_pylist(), place.partition(".")
        if column in old.schema.names:
            rows[1][column] = {**rows[1][column], key: TOKENS["GitLab"]} if key else TOKENS["GitLab"]
        return pa.Table.from_pylist(rows, schema=old.schema)

    both(out, planted)
    found = [line for line in faults(out) if line.startswith("secrets")]
    files = (TRAIN,) if place == "image.path" else (TRAIN, LABELS)
    assert found == [f"secrets: {name}: the column {place} {LOOKS} (GitLab)" for name in files]


def test_a_token_in_a_files_own_notes(out):
    both(out, lambda old: old.replace_schema_metadata({**old.schema.metadata, b"author": TOKENS["npm"].encode()}))
    found = [line for line in faults(out) if line.startswith("secrets")]
    assert found == [f"secrets: {name}: the note author {LOOKS} (npm)" for name in (TRAIN, LABELS)]


def test_a_token_in_a_late_batch_is_told_once(out):
    both(out, lambda old: pa.concat_tables([old] * 700))
    both(out, lambda old: old.set_column(old.schema.get_field_index("phrase"), "phrase", [[TOKENS["npm"]] * len(old)]))
    said = f"secrets: {LABELS}: the column phrase {LOOKS} (npm)"
    assert [line for line in faults(out) if line.startswith(f"secrets: {LABELS}")] == [said]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_words_are_no_tokens(out, text):
    both(out, with_row(1, prompt=lambda old: text))
    edit(out, "## Uses", f"{text}\n\n## Uses")
    assert faults(out) == []


def test_no_text_of_the_default_table_looks_like_a_token():
    """Nor does the table itself."""
    plan = Plan(table.load(), scale=0.01)
    samples = [sample for shard in plan.shards for sample in plan.asked(shard)]
    words = {text for sample in samples for text in vars(sample).values() if isinstance(text, str)}
    assert len(words) > 400 and not any(secrets.kind_of(text, digests=False) for text in words)
    assert secrets.kind_of(table.DEFAULT.read_text(encoding="utf-8")) is None


@pytest.mark.parametrize("kind", [*TOKENS, *BARE])
def test_a_secret_is_masked(kind):
    """Wherever it stands in a line, and nothing else of it; digests stay."""
    token, digest = (TOKENS | BARE)[kind], "ab" * 32
    line = secrets.masked(f"row 7: {token}, and sha256:{digest}", digests=False)
    assert line.startswith("row 7: ") and line.endswith(f", and sha256:{digest}") and "***" in line
    assert secrets.kind_of(line, digests=False) is None
    assert secrets.masked(f"row 7 of sha256:{digest}") == f"row 7 of sha256:{digest}"


@given(st.binary(max_size=40))
def test_no_digest_looks_like_a_token(data):
    for digest in (hashlib.sha256(data).hexdigest(), hashlib.sha1(data).hexdigest(), hashlib.md5(data).hexdigest()):
        assert (
            secrets.kind_of(f"fingerprint `{digest}`, sha256:{digest}, blake-{digest}, owner/name@{digest}:a") is None
        )
        assert secrets.kind_of(f'revision = "{digest}"  # of the tokenizer') is None
    assert secrets.kind_of(hashlib.sha256(data).hexdigest(), digests=False) is None


@settings(max_examples=300)
@given(st.data(), st.sampled_from(secrets.RULES))
def test_no_secret_is_without_an_anchor(data, rule):
    """Arrow looks for the anchors alone, so a rule whose secrets have none would never be asked."""
    text = data.draw(st.from_regex(rule.pattern))
    assert pc.match_substring_regex(pa.array([text]), rule.anchor).to_pylist() == [True]
    assert pc.match_substring_regex(pa.array([text]), secrets.ANCHORS).to_pylist() == [True]


def test_the_examples_of_secrets_are_true():
    assert doctest.testmod(secrets).failed == 0 < doctest.testmod(secrets).attempted


def test_patterns_are_for_the_few_strings_that_might_be_secrets(tmp_path, monkeypatch):
    """Of thirty thousand rows with ids and digests, which are all different, Arrow looks at every string, in seconds;
    Python's patterns would take minutes.
    """
    looked_at, kind_of = [], parquet.kind_of
    monkeypatch.setattr(parquet, "kind_of", lambda text, *more: looked_at.append(text) or kind_of(text, *more))
    ids = [f"occlusion-only_glasses-female-{number:05d}" for number in range(30_000)]
    rows = {name: [f"{words}, {id}" for id in ids] for name, words in {"prompt": "RAW photo, (a:1.2)" * 20}.items()}
    rows |= {"id": ids, "sha256": [hashlib.sha256(id.encode()).hexdigest() for id in ids]}
    (tmp_path / "metadata").mkdir()
    pq.write_table(pa.table(rows), tmp_path / LABELS)
    assert list(parquet.secrets(dataset_folder.Release(tmp_path))) == [] and len(looked_at) < 100


# ---- configs --------------------------------------------------------------------------------------------------


def test_a_config_without_dataset_info(out):
    with head(out) as document:
        document["dataset_info"] = [i for i in document["dataset_info"] if i["config_name"] != "drink"]
    assert faults(out) == ["configs: drink: the YAML has no dataset_info of this config"]


def test_no_dataset_info(out):
    with head(out) as document:
        del document["dataset_info"]
    names = ("fruit", "drink", "all", "metadata")
    found = faults(out)
    assert found[:4] == [f"configs: {name}: the YAML has no dataset_info of this config" for name in names]
    assert {line.split(":")[0] for line in found[4:]} == {"schema"}


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("MOST_CONFIGS", ["4 configs, the viewer shows at most 2"]),
        ("MOST_DATA_FILES", ["9 Parquet files, the viewer takes at most 2"]),
        (
            "MOST_SPLITS",
            [f"{name}: 3 splits, the viewer shows at most 2" for name in ["fruit", "drink", "all", "metadata"]],
        ),
    ],
)
def test_more_than_the_viewer_takes(out, monkeypatch, limit, says):
    monkeypatch.setattr(card, limit, 2)
    assert faults(out) == [f"configs: {line}" for line in says]


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ("held-out", "'held-out' is no name of a split"),
        ("dev", "the split 'dev' is none of train, validation, test"),
    ],
)
def test_a_split_of_another_name(out, split, says):
    with head(out) as document:
        document["configs"][0]["data_files"][1]["split"] = split
        document["dataset_info"][0]["splits"][1]["name"] = split
    assert faults(out) == [f"configs: fruit: {says}"]


def test_a_glob_without_a_file(out):
    with head(out) as document:
        document["configs"][0]["data_files"].append({"split": "train", "path": "data/drinks/train-*"})
        document["configs"][0]["data_files"].pop(0)
    found = faults(out)
    assert found[0] == "configs: fruit: no file is meant by data/drinks/train-*"
    assert all(line.startswith("counts: fruit: ") for line in found[1:])


@pytest.mark.parametrize("name", ["all", "metadata"])
def test_a_config_that_every_release_has_is_missing(out, name):
    """Without it nothing would be known of the rows; the folder is gone too."""
    with head(out) as document:
        for key in ("configs", "dataset_info"):
            document[key] = [part for part in document[key] if part["config_name"] != name]
    shutil.rmtree(out / name, ignore_errors=True)
    found = faults(out)
    assert found[0].startswith(f"configs: the YAML has no config `{name}`")
    assert {line.split(":")[0] for line in found[1:]} <= {"schema", "rows"}


def test_a_parquet_file_that_belongs_to_no_config(out):
    with head(out) as document:
        for config in document["configs"]:
            if config["config_name"] == "metadata":
                config["data_files"].pop(2)
        info = next(i for i in document["dataset_info"] if i["config_name"] == "metadata")
        info["splits"].pop(2)
    recount(out)
    assert faults(out) == ["configs: metadata/test-00000-of-00001.parquet belongs to no config"]


# ---- counts, schema, layout -----------------------------------------------------------------------------------


def test_a_wrong_number_of_rows(out):
    with head(out) as document:
        document["dataset_info"][0]["splits"][0]["num_examples"] += 1
    told, held = ({"train": 17 + more, "validation": 2, "test": 1} for more in (1, 0))
    assert faults(out) == [f"counts: fruit: the card counts {told}, the files hold {held}"]


def test_a_wrong_size(out):
    with head(out) as document:
        size = document["dataset_info"][3]["download_size"]
        document["dataset_info"][3]["download_size"] = 5
    assert faults(out) == [f"counts: metadata: the card says 5 bytes to download, the files have {size}"]


def test_info_of_a_config_that_is_not_there(out):
    with head(out) as document:
        document["dataset_info"].append({**document["dataset_info"][0], "config_name": "ghost", "download_size": 0})
    told = {"train": 17, "validation": 2, "test": 1}
    assert faults(out) == [f"counts: ghost: the card counts {told}, the files hold {{}}"]


def renamed(old):
    """The same rows, whose Parquet names other labels."""
    metadata = {key: value.replace(b'"banana"', b'"cherry"') for key, value in old.schema.metadata.items()}
    return old.replace_schema_metadata(metadata)


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old.append_column("mood", pa.array(["fine"] * len(old))),
        lambda old: old.set_column(6, "age", old["age"].cast(pa.int64())),
        renamed,
        lambda old: old.replace_schema_metadata(None),
    ],
    ids=["one more column", "another type", "other labels", "no features"],
)
def test_other_columns(out, change):
    assert pq.read_schema(out / TRAIN).names[6] == "age"
    rewrite(out, TRAIN, change)
    said = [f"schema: {TRAIN}: its columns are not those that the card says of {name}" for name in ("drink", "all")]
    assert faults(out) == said


def test_other_labels_in_the_card(out):
    with head(out) as document:
        features = document["dataset_info"][2]["features"]
        label = next(f for f in features if f["name"] == "feature")
        label["dtype"]["class_label"]["names"]["1"] = "coffee"
    found = [line for line in faults(out) if line.startswith("schema")]
    wanted = {f"the card says of {name}" for name in ("fruit", "drink", "all", "metadata")}
    assert {line.split("not those that ")[1] for line in found} == wanted


@pytest.mark.parametrize(("limit", "most"), [("MOST_COLUMNS", 5), ("MOST_NAME", 14)])
def test_more_columns_than_the_viewer_shows(out, monkeypatch, limit, most):
    monkeypatch.setattr(parquet, limit, most)
    columns, length = parquet.MOST_COLUMNS, parquet.MOST_NAME
    said = f"more than {columns} columns, or a column's name is longer than {length}"
    assert faults(out) == [f"schema: {name}: {said}" for name in ("fruit", "drink", "all", "metadata")]


def test_a_row_group_that_is_too_large(out, monkeypatch):
    group = pq.read_metadata(out / TRAIN).row_group(0)
    monkeypatch.setattr(viewer, "MOST_GROUP_BYTES", group.total_byte_size - 1)
    size = f"{group.total_byte_size:,} bytes, the viewer reads {group.total_byte_size - 1:,}"
    assert f"row_groups: {TRAIN}: row group 0 has {size}" in faults(out)
    assert by_rule(out) == {"row_groups"}


def test_no_page_index(out):
    rewrite(out, TRAIN, lambda old: old, index=False)
    assert faults(out) == [f"row_groups: {TRAIN}: row group 0 has no page index"]


def test_a_first_page_that_is_too_long(out, monkeypatch):
    rows = pq.read_table(out / LABELS).slice(0, 20).to_pylist()
    size = len(json.dumps(rows, ensure_ascii=False).encode())
    monkeypatch.setattr(viewer, "PAGE", 20)
    monkeypatch.setattr(viewer, "MOST_FIRST_ROWS_BYTES", size - 1)
    said = f"metadata/train: its first 20 rows have {size:,} bytes, the viewer's preview shows {size - 1:,}"
    told = [note for note in notes(out) if note.startswith("first_rows: metadata")]
    assert (told, faults(out)) == ([f"first_rows: {said}"], [])
    monkeypatch.setattr(viewer, "MOST_FIRST_ROWS_BYTES", size)
    assert not [note for note in notes(out) if "first_rows" in note]


def test_pages_that_are_too_large(out, monkeypatch):
    """Pictures of three megabytes make a page that the viewer does not read: no fault, since all of it loads."""
    group = pq.read_metadata(out / TRAIN).row_group(0)
    monkeypatch.setattr(viewer, "PAGE", group.num_rows)
    sizes = [pq.read_metadata(out / TRAIN).row_group(n) for n in range(pq.read_metadata(out / TRAIN).num_row_groups)]
    most = max(one.total_byte_size * group.num_rows // one.num_rows for one in sizes)
    monkeypatch.setattr(viewer, "MOST_GROUP_BYTES", most - 1)
    said = f"pages: {TRAIN}: {group.num_rows} rows have some {most:,} bytes, the viewer reads at most {most - 1:,}; "
    assert any(note.startswith(said) for note in notes(out))
    monkeypatch.setattr(viewer, "MOST_GROUP_BYTES", most)
    assert not any(note.startswith(f"pages: {TRAIN}") for note in notes(out))


# ---- rows -----------------------------------------------------------------------------------------------------


def test_a_picture_s_row_stands_twice(out):
    id = first_id(out)

    def change(old):
        return pa.concat_tables([old.slice(0, 1), old.slice(0, 1), old.slice(2)])

    both(out, change)
    assert faults(out) == [f"rows: train: {id} is there twice"]


def test_a_picture_s_row_stands_in_two_splits(out):
    """Two splits with the same picture would make a test worth nothing."""
    first = {place: pq.read_table(out / name).slice(0, 1) for place, name in (("data", TRAIN), ("metadata", LABELS))}
    rewrite(out, TRAIN.replace("train", "test"), lambda old: pa.concat_tables([first["data"], old.slice(1)]))
    rewrite(out, LABELS.replace("train", "test"), lambda old: pa.concat_tables([first["metadata"], old.slice(1)]))
    assert [line for line in faults(out) if line.startswith("rows")] == [f"rows: test: {first_id(out)} is there twice"]


def test_labels_out_of_step(out):
    """One line for a split, however many rows are moved."""
    id = first_id(out, 3)
    rewrite(out, LABELS, lambda old: old.take([0, 1, 2, *range(4, len(old)), 3]))
    assert faults(out) == [f"rows: train: row 3 ({id}) is not the same in data and metadata"]


def other(value):
    """Another value of the same kind; a label's is the other one of two."""
    if value is None:
        return True
    return value + "x" if isinstance(value, str) else 1 - value if value in (0, 1) else value + 1


def other_text(value):
    """A text where there was none, or another one."""
    return f"{value or ''}x"


@pytest.mark.parametrize("column", agfd30k.features(config="metadata"))
@pytest.mark.parametrize("name", [TRAIN, LABELS])
def test_a_row_that_says_two_things(out, column, name):
    """Prompt or seed, whatever is told twice must be the same in both places."""
    id = first_id(out, 5)
    is_text = agfd30k.features()[column].dtype == "string"
    rewrite(out, name, with_row(5, **{column: other_text if is_text else other}))
    found = faults(out)
    id = id if (column, name) != ("id", TRAIN) else f"{id}x"
    assert found[0] == f"rows: train: row 5 ({id}) is not the same in data and metadata"
    others = {"listed", "quotas", "pictures"} if name == TRAIN else set()
    others |= {"checked"} if column == "safety_checker" else set()
    assert {line.split(":")[0] for line in found[1:]} <= others


def test_a_row_only_in_the_data(out):
    id = pq.read_table(out / LABELS)["id"][-1].as_py()
    rewrite(out, LABELS, lambda old: old.slice(0, len(old) - 1))
    assert faults(out) == [f"rows: train: row 32 ({id}) is not the same in data and metadata"]


def test_a_row_only_in_the_labels(out):
    """The picture is lost, so the card's table and the quota are wrong too."""
    fruit = TRAIN.replace("drink", "fruit")
    id = first_id(out, 16, fruit)
    rewrite(out, fruit, lambda old: old.slice(0, 16))
    assert faults(out) == [
        f"rows: train: row 32 ({id}) is not the same in data and metadata",
        "listed: banana: checks.json says 20 made and 0 missing of 20, 19 are there",
        "quotas: banana: 19 of 20 pictures",
        "quotas: a feature lacks pictures: run the builder again, or send it as it is with --allow-incomplete",
    ]


def test_a_file_of_an_attribute_that_the_labels_do_not_know(out):
    (out / "data/drink").rename(out / "data/vegetable")
    for path in (out / "README.md", out / "croissant.json"):
        path.write_text(path.read_text().replace("data/drink/", "data/vegetable/"))
    assert faults(out) == ["rows: cannot be checked: 'vegetable' is not in list"]


@pytest.mark.parametrize("name", [TRAIN, LABELS])
def test_a_file_without_rows(out, name):
    rewrite(out, name, lambda old: old.slice(0, 0))
    found = faults(out, allow_incomplete=True)
    assert found and not [line for line in found if "cannot be checked" in line]
    assert {line.split(":")[0] for line in found} <= {"rows", "listed"}


# ---- checks.json and the recipe ----------------------------------------------------------------------------------


@contextmanager
def checks_of(out):
    """What checks.json holds, to be changed."""
    path = out / "assets/checks.json"
    document = json.loads(path.read_text())
    yield document
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"asked": 19, "made": 19}, "19 made and 0 missing of 19, 20 are there"),
        ({"made": 19, "unfilled": 1}, "19 made and 1 missing of 20, 20 are there"),
        ({"asked": 25}, "20 made and 0 missing of 25, 20 are there"),
        ({"unfilled": 2}, "20 made and 2 missing of 20, 20 are there"),
        ({"feature": "apple"}, "0 made and 0 missing of 0, 20 are there"),
    ],
)
def test_the_counts_of_a_feature_are_wrong(out, change, says):
    with checks_of(out) as document:
        document["features"][0].update(change)
    assert f"listed: banana: checks.json says {says}" in faults(out)


def test_counts_of_a_feature_that_is_not_there(out):
    with checks_of(out) as document:
        banana = document["features"][0]
        document["features"].append({**banana, "feature": "apple", "asked": 1020, "made": 1000, "unfilled": 20})
    assert faults(out) == ["listed: apple: checks.json says 1,000 made and 20 missing of 1,020, 0 are there"]


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b'{"checks": [], "features": [{"feature": "banana"}]}'])
def test_counts_that_cannot_be_read(out, text):
    (out / "assets/checks.json").write_bytes(text)
    (fault,) = faults(out)
    assert fault.startswith("listed: cannot be checked: ")


def test_no_recipe(out):
    (out / "recipe.toml").unlink()
    assert faults(out) == [f"recipe: {out}/recipe.toml: cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[recipe]", "[recipe", "not a TOML file"),
        ("male = 12", "male = -12", "feature row 1 (banana): `male` must be"),
    ],
)
def test_a_recipe_that_is_no_table(out, old, new, says):
    path = out / "recipe.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    (line,) = faults(out)
    assert line.startswith(f"recipe: {out}/recipe.toml: {says}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('model = "preview"', 'model = "someone/else"'),
        ('"two bananas"', '"three bananas"'),
        ("male = 12", "male = 11"),
        ('name = "Fruit sellers"', 'name = "Fruit buyers"'),
    ],
)
def test_a_recipe_that_was_changed(out, old, new):
    """Of which other pictures would be made; what is said beside the values may be changed."""
    path = out / "recipe.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    said = "recipe.toml is not the table that the release was made with: it was changed; make the release again"
    assert faults(out) == [f"recipe: {said}"]
    path.write_text(f"{text}# as it was\n")
    assert faults(out) == []


def test_a_recipe_of_another_build(out):
    text = (out / "recipe.toml").read_text()
    fingerprint = text.splitlines()[0].split()[-1]
    said = "recipe: recipe.toml and README.md are of two recipes: their fingerprints differ"
    for other in (text.replace(fingerprint, "c0ffee"), text.split("\n", 1)[1]):
        (out / "recipe.toml").write_text(other)
        assert faults(out) == [said]


def test_a_release_made_before_the_card_told_of_its_table(out):
    edit(out, f"table {BuildInfo.read(out).table}, ", "")
    assert faults(out) == []


# ---- pictures -------------------------------------------------------------------------------------------------


def png(mark=True, side=16):
    buffer = io.BytesIO()
    options = provenance.options("png", "stand-in") if mark else {}
    builds.picture_of(1, side).save(buffer, "PNG", **options)
    return buffer.getvalue()


def flipped(picture):
    """A picture with one bit of its pixels changed."""
    data = bytearray(picture["bytes"])
    data[len(data) // 2] ^= 1
    return {**picture, "bytes": bytes(data)}


def test_a_flipped_bit(out):
    rewrite(out, TRAIN, with_row(0, image=flipped))
    assert faults(out) == [f"pictures: {first_id(out)}: its picture is not the bytes that the row says"]


def test_a_single_bad_picture_is_for_thorough_eyes(out):
    """The sample takes every fourth row of this file, `thorough` every row."""
    rewrite(out, TRAIN, with_row(1, image=flipped))
    assert faults(out) == []
    said = f"pictures: {first_id(out, 1)}: its picture is not the bytes that the row says"
    assert faults(out, thorough=True) == [said]


def test_the_sample_is_spread_over_all_files(out, monkeypatch):
    monkeypatch.setattr(parquet, "GROUPS_SAMPLED", 2)
    taken = [group.name for group in parquet._groups(lint.Release(out), False)]
    assert taken == ["data/drink/test-00000-of-00001.parquet", "data/fruit/test-00000-of-00001.parquet"]


@pytest.mark.parametrize("at_once", [1, 3, 4, 10, 100])
def test_the_sample_is_the_same_however_many_are_read_at_once(out, monkeypatch, at_once):
    monkeypatch.setattr(parquet, "PICTURES_AT_ONCE", at_once)
    ids = pq.read_table(out / TRAIN)["id"].to_pylist()
    (group,) = parquet._groups_of(out, TRAIN)
    for thorough, expected in ((False, ids[::4]), (True, ids)):
        assert [row["id"] for row in parquet._some(group, thorough)] == expected


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"not a picture", "its picture cannot be decoded (cannot identify image file"),
        (png()[:700], "its picture cannot be decoded ("),
        (b"", "its picture cannot be decoded (cannot identify image file"),
        (png(mark=False), "its picture bears no mark"),
    ],
    ids=["text", "cut", "empty", "no mark"],
)
def test_a_picture_that_is_none(out, data, says):
    """Although its digest is right."""
    both(out, with_picture(4, data))
    (line,) = faults(out)
    assert line.startswith(f"pictures: {first_id(out, 4)}: {says}")


def test_a_picture_that_is_a_bomb(out, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    id = first_id(out)
    said = [line for line in faults(out) if line.startswith(f"pictures: {id}: ")]
    assert len(said) == 1 and "its picture cannot be decoded (Image size (256 pixels)" in said[0]


@pytest.mark.parametrize("image", [None, {"bytes": None, "path": "a.png"}, {"bytes": b"x", "path": None}])
def test_a_row_without_its_picture(out, image):
    rewrite(out, TRAIN, with_row(0, image=lambda old: image))
    (line,) = faults(out)
    assert line.startswith(f"pictures: {first_id(out)}: its picture is called ")


class Backwards:
    """An engine of one process, and the worst order: the last row group first."""

    def map(self, step, tasks):
        yield from map(step, reversed([*tasks]))


def tear(path, column):
    """Make the pages of a column unreadable, all else as it was."""
    metadata = pq.read_metadata(path).row_group(0)
    chunk = next(c for c in map(metadata.column, range(metadata.num_columns)) if c.path_in_schema == column)
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset : chunk.data_page_offset + 16] = b"\xff" * 16
    path.write_bytes(data)


@pytest.mark.parametrize("engine", [Backwards(), pytest.param(Here(2), marks=pytest.mark.process)])
@pytest.mark.parametrize("torn", [False, True])
def test_every_engine_finds_the_same_in_pictures(out, monkeypatch, engine, torn):
    """In the order of the files, up to one that cannot be read."""
    names = sorted(path.relative_to(out).as_posix() for path in out.glob("data/*/*.parquet"))
    for number, name in enumerate(names):
        rows = pq.read_metadata(out / name).num_rows
        for row in {0, rows - 1}:
            rewrite(out, name, with_picture(row, b"not a picture" + bytes([number, row])))
    if torn:
        tear(out / names[len(names) // 2], "image.bytes")
    results = []
    for one in (Here(1), engine):
        monkeypatch.setattr(Here, "sized", lambda seconds, one=one: one)
        results.append([line for line in faults(out, thorough=True) if line.startswith("pictures: ")])
    assert results[0] == results[1] and len(results[0]) > len(names) // 2
    assert any("cannot be checked" in line for line in results[0]) == torn


@pytest.mark.parametrize("engine", [Backwards(), pytest.param(Here(2), marks=pytest.mark.process)])
@pytest.mark.parametrize("at_once", [1, 7, 10_000])
def test_every_engine_finds_the_same_in_rows(out, monkeypatch, engine, at_once):
    """However many rows are compared at once; and in texts and models."""
    token = f"hf_{'a1' * 17}"
    id = pq.read_table(out / LABELS)["id"][20].as_py()
    both(out, lambda old: pa.concat_tables([old.slice(0, 1), old.slice(0, 1), old.slice(2)]))
    rewrite(out, LABELS, with_row(20, model=lambda old: token, safety_checker=other_text))
    monkeypatch.setattr(rows, "AT_ONCE", at_once)
    found = faults(out, engine=engine)
    assert [line.split(":")[0] for line in found] == ["secrets", "rows", "rows", "checked"]
    assert found[1] == f"rows: train: row 20 ({id}) is not the same in data and metadata"
    assert found == faults(out, engine=Here(1))


def test_a_sample_needs_no_processes_and_a_large_release_gets_them(out, monkeypatch):
    seconds = []
    monkeypatch.setattr(Here, "sized", lambda work: seconds.append(work) or Here(1))
    assert faults(out) == faults(out, thorough=True) == []
    sampled, thorough = seconds[len(seconds) // 2 - 1], seconds[-1]  # the pictures are the last that is looked at
    assert sampled == 0 and thorough > 20 * parquet.PICTURE


# ---- previews and builds that are not complete ----------------------------------------------------------------

PREVIEW = "preview: these are preview pictures, not the dataset (--allow-preview sends them)"


def test_a_preview_is_not_sent_by_mistake(preview):
    assert faults(preview) == [PREVIEW]


def test_a_preview_may_be_incomplete(tmp_path):
    out = make(tmp_path / "made", builds.SOURCE, scale=0.5)
    assert faults(out, allow_preview=True) == []
    assert faults(out)[0] == PREVIEW and by_rule(out) == {"preview", "quotas"}
    assert faults(out, allow_incomplete=True) == [PREVIEW]


def test_features_that_lack_pictures(tmp_path):
    out = make(tmp_path / "made", scale=0.5)
    assert faults(out) == [
        "quotas: banana: 10 of 20 pictures",
        "quotas: tea: 10 of 20 pictures",
        "quotas: 2 features lack pictures: run the builder again, or send it as it is with --allow-incomplete",
    ]
    assert faults(out, allow_incomplete=True) == []
    assert by_rule(out, allow_preview=True) == {"quotas"}


def test_a_feature_that_is_not_there_at_all(tmp_path):
    out = make(tmp_path / "made", only=["fruit"])
    assert faults(out) == [
        "quotas: tea: 0 of 20 pictures",
        "quotas: a feature lacks pictures: run the builder again, or send it as it is with --allow-incomplete",
    ]


def test_only_the_first_of_many_are_named(tmp_path):
    out = make(tmp_path / "made", toml=table.DEFAULT.read_text(), only=["base"], limit=6)
    found = faults(out)
    assert len(found) == 6 and found[0] == "quotas: child: 0 of 600 pictures"
    assert found[5].startswith("quotas: 32 features lack pictures: ")


# ---- damage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [TRAIN, LABELS])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_parquet_file_that_is_cut_off(out, name, keep):
    """One line that names the file, and no traceback; what a download or a full disk leaves."""
    data = (out / name).read_bytes()
    (out / name).write_bytes(data[: int(len(data) * keep)])
    (line,) = faults(out)
    assert line.startswith(f"damaged: {name} cannot be read: ") and "\n" not in line


def test_the_command_says_so_too(out, capsys):
    (out / TRAIN).write_bytes(b"PAR1")
    assert upload.main([str(out), "--repo-id", "someone/Fruit", "--dry-run"]) == 2
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"  damaged: {TRAIN} cannot be read: ") and last.endswith("a fault, nothing was sent")


def test_a_damaged_page_names_its_file(out):
    column = pq.read_metadata(out / LABELS).row_group(0).column(0)
    data = bytearray((out / LABELS).read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    (out / LABELS).write_bytes(data)
    found = faults(out)
    assert {line.split(":")[0] for line in found} == {"secrets", "rows"}
    assert all(f": cannot be checked: {LABELS}: " in line for line in found)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_flipped_bit_changes_what_is_read(hub_release, tmp_path_factory, data):
    """Thorough eyes find it, or a reader does not see it: a Parquet file has bytes, such as statistics, that
    rows do not need. In no case is there a traceback.
    """
    names = sorted(path.relative_to(hub_release).as_posix() for path in hub_release.rglob("*.parquet"))
    name = data.draw(st.sampled_from(names))
    whole = (hub_release / name).read_bytes()
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    out = tmp_path_factory.mktemp("flip") / "out"
    shutil.copytree(hub_release, out)
    (out / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
    found = faults(out, thorough=True)
    assert found or pq.read_table(out / name).equals(pq.read_table(hub_release / name))
    shutil.rmtree(out)


# The safety checker.

LIE = "hub, checker someone/checker@c0ffee:model.safetensors%20sha256:" + "ab" * 32


def test_a_release_that_names_no_safety_checker_has_a_fault(out):
    """Only a preview does without one; the rows, which name one, contradict the card too."""
    edit(out, LIE, "hub")
    assert {fault.split(":")[0] for fault in faults(out)} == {"checker", "checked"}
    assert (
        "checker: README.md names no safety checker, and these are no preview pictures: make them again with one"
        in (faults(out))
    )


@pytest.mark.parametrize("name", ["", "another/checker@1"])
def test_every_row_names_the_cards_safety_checker(out, name):
    """In `data` and in `metadata`: an empty one, or another than the recipe's, is a fault."""
    for path in (TRAIN, LABELS, "data/fruit/train-00000-of-00001.parquet"):
        table = pq.read_table(out / path)
        place = table.schema.get_field_index("safety_checker")
        column = pa.array([name, *table["safety_checker"].to_pylist()[1:]])
        changed = table.set_column(place, table.schema.field(place), column)
        (out / path).unlink()
        pq.write_table(changed, out / path, write_page_index=True)
    told = [fault for fault in faults(out) if fault.startswith("checked: ")]
    assert told == [
        f"checked: {path}: rows name {name or 'no safety checker'}, README.md {builds.CHECKER}"
        for path in (TRAIN, "data/fruit/train-00000-of-00001.parquet", LABELS)
    ]


def test_rows_of_the_preview_are_found_whatever_the_card_says(out):
    """Their model's name is enough."""
    for path in (TRAIN, LABELS):
        table = pq.read_table(out / path)
        place = table.schema.get_field_index("model")
        column = pa.array(["preview", *table["model"].to_pylist()[1:]])
        (out / path).unlink()
        changed = table.set_column(place, table.schema.field(place), column)
        pq.write_table(changed, out / path, write_page_index=True)
    told = [fault for fault in faults(out, allow_preview=True) if fault.startswith("checked: ")]
    assert told == [
        f"checked: {path}: rows are of the preview model, and README.md does not say so" for path in (TRAIN, LABELS)
    ]


def test_a_preview_names_no_safety_checker(preview):
    assert not {"checker", "checked"} & by_rule(preview)
    edit(preview, "model preview", "model preview, checker some/checker")
    assert "checked" in by_rule(preview)


def test_a_pipe_is_no_file(out):
    """Nobody waits for what is never written."""
    os.mkfifo(out / "assets/more.json")
    assert faults(out) == ["plain: assets/more.json is no file: move it away; nothing else was checked"]
