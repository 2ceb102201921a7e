"""The release: what was built, byte for byte, in a folder that is replaced as a whole or not at all."""

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

import agfd30k
from builder import release
from builder.common.errors import UserError
from builder.dataset import build_info, packing, parquet
from builder.models.identity import CheckVersion, ModelId
from builder.plan.plan import Plan
from builder.raw.build import RawBuild
from builder.raw.recipe import BuildRecipe, Settings
from builder.spec import table
from builder.spec.spec import Recipe
from tests.fixtures import builds
from tests.fixtures.builds import own_table, write_raw


@pytest.fixture
def raw_folder(tmp_path):
    write_raw(tmp_path / "raw", scale=0.01, only=["occlusion", "base"])
    return tmp_path / "raw"


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(out, pattern="data/*/*.parquet"):
    return [row for path in sorted(out.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def test_every_committed_picture_is_released_as_the_bytes_it_was_committed_with(raw_folder, tmp_path):
    packing.pack(RawBuild.open(raw_folder), tmp_path / "out")
    committed = {row["id"]: (shard, row) for shard in agfd30k.shards(raw_folder) for row in agfd30k.read_rows(shard)}
    released = rows_of(tmp_path / "out")
    assert sorted(row["id"] for row in released) == sorted(committed)
    for row in released:
        shard, source = committed[row["id"]]
        assert row["image"]["bytes"] == agfd30k.picture(shard, source).read_bytes()
        assert (row["prompt"], row["seed"], row["age"]) == (source["prompt"], source["seed"], source["age"])
    assert Image.open(io.BytesIO(released[0]["image"]["bytes"])).size == (16, 16)


def test_the_same_rows_give_the_same_bytes(raw_folder, tmp_path):
    packing.pack(RawBuild.open(raw_folder), tmp_path / "one" / "out")
    shutil.copytree(raw_folder, tmp_path / "copy")
    packing.pack(RawBuild.open(tmp_path / "copy"), tmp_path / "two" / "out")
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("ending", ["webp", "jpg"])
def test_other_picture_formats_are_released_as_they_are(tmp_path, ending):
    """--image-format changes the files, not the way they go."""
    write_raw(tmp_path / "raw", only=["base"], limit=6, image_format=ending)
    packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "out")
    kinds = {Image.open(io.BytesIO(row["image"]["bytes"])).format for row in rows_of(tmp_path / "out")}
    assert kinds == {{"webp": "WEBP", "jpg": "JPEG"}[ending]}
    assert all(row["image"]["path"].endswith(f".{ending}") for row in rows_of(tmp_path / "out"))


def test_the_yaml_counts_what_the_files_hold(raw_folder, tmp_path):
    out = tmp_path / "out"
    packing.pack(RawBuild.open(raw_folder), out)
    document = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])
    assert [config["config_name"] for config in document["configs"]] == ["occlusion", "base", "all", "metadata"]
    assert [config["config_name"] for config in document["configs"] if config.get("default")] == ["all"]
    for config, info in zip(document["configs"], document["dataset_info"]):
        counted = {
            entry["split"]: sum(pq.read_metadata(path).num_rows for path in out.glob(entry["path"]))
            for entry in config["data_files"]
        }
        assert {split["name"]: split["num_examples"] for split in info["splits"]} == counted
        paths = [path for entry in config["data_files"] for path in out.glob(entry["path"])]
        assert info["download_size"] == sum(path.stat().st_size for path in paths)


def test_row_groups_are_closed_by_bytes_too(raw_folder, tmp_path, monkeypatch):
    """Large pictures make small groups, in the same order, with nothing lost."""
    packing.pack(RawBuild.open(raw_folder), tmp_path / "usual")
    monkeypatch.setattr(parquet, "BYTES_A_GROUP", 3000)
    packing.pack(RawBuild.open(raw_folder), tmp_path / "out")
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "usual")
    for path in (tmp_path / "out/data").rglob("*.parquet"):
        file = pq.ParquetFile(path)
        groups = [file.read_row_group(n)["image"].to_pylist() for n in range(file.num_row_groups)]
        sizes = [[len(image["bytes"]) for image in images] for images in groups]
        assert all(sum(some[:-1]) <= 3000 for some in sizes) and all(sum(some) > 3000 for some in sizes[:-1])


def test_parquet_is_laid_out_for_the_viewer(raw_folder, tmp_path, monkeypatch):
    """Row groups of at most 100 rows with page index, features in the schema, files cut by size and named for it."""
    monkeypatch.setattr(parquet, "ROWS_A_GROUP", 5)
    monkeypatch.setattr(parquet, "FILE_BYTES", 5000)
    packing.pack(RawBuild.open(raw_folder), tmp_path / "out")
    paths = sorted((tmp_path / "out/data/occlusion").glob("train-*.parquet"))
    assert len(paths) > 1
    assert [path.name for path in paths] == [f"train-{n:05d}-of-{len(paths):05d}.parquet" for n in range(len(paths))]
    for path in paths:
        meta = pq.read_metadata(path)
        assert all(meta.row_group(n).num_rows <= 5 for n in range(meta.num_row_groups))
        columns = [meta.row_group(0).column(n) for n in range(meta.num_columns)]
        assert all(column.has_offset_index and column.has_column_index for column in columns)
        codecs = {column.path_in_schema: column.compression for column in columns}
        assert codecs["image.bytes"] == "UNCOMPRESSED" and codecs["prompt"] == "ZSTD"
        features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
        assert features["image"]["_type"] == "Image" and features["feature"]["_type"] == "ClassLabel"


def test_rows_keep_plan_order_across_shards(raw_folder, tmp_path):
    packing.pack(RawBuild.open(raw_folder), tmp_path / "out")
    plan = Plan(table.load(), only=["occlusion"], scale=0.01, shard_size=16)
    order = [sample.id for shard in plan.shards for sample in plan.asked(shard) if sample.split == "train"]
    assert [row["id"] for row in rows_of(tmp_path / "out", "data/occlusion/train-*.parquet")] == order


def test_a_users_own_table_brings_its_own_labels(tmp_path):
    path, spec = own_table(tmp_path)
    write_raw(tmp_path / "raw", spec, path.read_text())
    packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "out")
    schema = agfd30k._labels(tmp_path / "out")
    assert schema["attribute"] == ["fruit", "drink"] and schema["ethnicity"] == ["maori", "inuit"]
    assert table.load(tmp_path / "out" / "recipe.toml") == spec


CHECKED = (CheckVersion("integrity", 1), CheckVersion("attribute", 1, ModelId("hub", "some/clip", "c11f")))


def recipe_of(toml, asked, checks=()):
    """The recipe of a Hub model, whatever the table's text says."""
    spec = builds.table.load().model_copy(update={"recipe": Recipe(model=asked)})
    return BuildRecipe(spec, ModelId("hub", "some/model", "c0ffee"), checks, Settings("png", 16), toml, "f00")


@pytest.mark.parametrize(
    "toml",
    [
        '  [recipe]\n  model = "old"  # ours\n  steps = 3\n\n# pieces\n[prompt]\npositive = ["{age}"]\n',
        '[recipe]\n"model" = "old"\n\'revision\' = "v1"\n',
        '[recipe]\nrevision = """\nv1"""\nsteps = 3\nmodel = """\nold"""\n',
        'name = "x"\nrecipe.model = "old"\nlicense = "mit"\nrecipe.steps = 3\n[prompt]\nnegative = []\n',
        'recipe = {model = "old", steps = 3}\n[[feature]]\nname = "a"\n',
        '[ recipe ]\nsteps = 3\nmodel = "old"',
        '[recipe]\nmodel = "old"\n\n  [checks.attribute]\n  model = "clip"\n  revision = "v2"\n',
        '[checks.attribute]\nmodel = "clip"\n\n[[feature]]\nname = "a"\n',
        "",
    ],
    ids=["indented", "quoted", "lines", "dotted", "inline", "spaced", "section behind", "none", "empty"],
)
def test_the_table_names_the_exact_model_however_it_is_written(toml):
    """And nothing else of it is changed."""
    recipe = recipe_of(toml, 'a "model"', CHECKED if "attribute" in toml else ())
    text, wanted = build_info.recipe_toml(recipe), tomllib.loads(toml)
    wanted["recipe"] = wanted.get("recipe", {}) | {"model": 'a "model"', "revision": "c0ffee"}
    if "attribute" in toml:
        wanted["checks"]["attribute"].update(model="some/clip", revision="c11f")
    assert tomllib.loads(text) == wanted
    assert text.startswith("# built with some/model, revision c0ffee; fingerprint f00\n\n") and text.endswith("\n")


def test_the_table_names_the_exact_file_vae_and_safety_checker():
    """Hub models by commit, local ones by name; the model's own checker is found with it, and not named."""
    toml = '[recipe]\nmodel = "old"\nvae = "old"\nsafety_checker = "old"\nsafety_checker_revision = "old"\n'
    own = ModelId("hub", "some/model", "c0ffee", "safety_checker/model.safetensors")
    other, local = ModelId("hub", "some/checker", "c11f"), ModelId("folder", "vae", "sha256:0")
    recipe = dataclasses.replace(recipe_of(toml, "some/model"), model=dataclasses.replace(own, file="v2.safetensors"))

    def told(**models):
        return tomllib.loads(build_info.recipe_toml(dataclasses.replace(recipe, **models)))["recipe"]

    old = {**tomllib.loads(toml)["recipe"], "model": "some/model", "revision": "c0ffee", "file": "v2.safetensors"}
    assert told(safety_checker=own) == old
    pinned = {"safety_checker": "some/checker", "safety_checker_revision": "c11f", "vae": "vae"}
    assert told(safety_checker=other, vae=local) == {**old, **pinned}


def test_what_is_said_in_the_table_beside_its_values_stays():
    """Comments and order: of the default table only the lines of model and revision differ."""
    toml = table.DEFAULT.read_text()
    recipe = recipe_of(toml, "some/model", CHECKED)
    old, new = toml.splitlines()[1:], build_info.recipe_toml(recipe).splitlines()[2:]  # the schema lies elsewhere
    assert len(new) == len(old)
    changed = [line for line, before in zip(new, old) if line != before]
    assert [line.split("#")[0].strip() for line in changed] == [
        *['model = "some/model"', 'revision = "c0ffee"'],
        *['model = "some/clip"', 'revision = "c11f"'],
    ]


@pytest.mark.parametrize(("name", "key"), [("attribute", "model"), ("face", "detector")])
def test_the_table_does_not_tell_where_a_local_model_lies(name, key):
    """A release is published: it names the model, and no folder of whoever built it."""
    toml = f'[checks.{name}]\n{key} = "/home/ana/secret/clip"\nthreshold = 0.5\n'
    local = CheckVersion(name, 1, ModelId("folder", "clip", "sha256:0"))
    text = build_info.recipe_toml(recipe_of(toml, "some/model", (local,)))
    assert tomllib.loads(text)["checks"] == {name: {key: "clip", "threshold": 0.5}} and "/home" not in text


def test_a_preview_says_so_in_the_readme_and_in_every_row(raw_folder, tmp_path):
    packing.pack(RawBuild.open(raw_folder), tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text().split("---\n", 2)[2]
    assert text.strip().startswith("> **Preview: these pictures were made by the tiny model")
    assert {row["model"] for row in rows_of(tmp_path / "out")} == {"stand-in"}


def test_a_release_of_the_same_rows_is_left_alone(raw_folder, tmp_path):
    packing.pack(RawBuild.open(raw_folder), tmp_path / "out")
    before = (tmp_path / "out").stat().st_ino
    packing.pack(RawBuild.open(raw_folder), tmp_path / "out")
    assert (tmp_path / "out").stat().st_ino == before


def test_an_old_release_is_replaced_only_by_a_whole_one(raw_folder, tmp_path):
    """A picture that got lost ends the release in one line; the old release stays as it was."""
    out = tmp_path / "out"
    packing.pack(RawBuild.open(raw_folder), out)
    before = content(out)
    lost = next(raw_folder.glob("shards/*/images/*.png"))
    lost.write_bytes(b"not the picture")
    with pytest.raises(UserError, match="not the picture that was committed") as error:
        packing.pack(RawBuild.open(raw_folder), out, anew=True)
    assert "\n" not in str(error.value) and content(out) == before
    lost.unlink()
    with pytest.raises(UserError, match="is not there"):
        packing.pack(RawBuild.open(raw_folder), out, anew=True)
    assert content(out) == before


def test_killed_releases_leave_the_old_one_or_the_new_one(raw_folder, tmp_path):
    """SIGKILL at any moment of the command: what is at the release's place is a whole release, or nothing yet."""
    out = tmp_path / "out"
    packing.pack(RawBuild.open(raw_folder), out)
    whole = content(out)
    for delay in (0.0, 0.02, 0.05, 0.1, 0.2):
        command = [sys.executable, "-m", "builder.release", "--raw", str(raw_folder), "--out", str(out)]
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        while not (tmp_path / ".out.tmp").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not out.exists() or content(out) == whole
    packing.pack(RawBuild.open(raw_folder), out)
    assert content(out) == whole


@pytest.mark.parametrize("place", ["file/out", "file/deeper/out", "link/out"])
def test_a_place_inside_a_file_is_refused(raw_folder, tmp_path, capsys, place):
    """In one line, and by what a run asks before it makes its first picture."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("file")
    out = tmp_path / place
    says = f"{tmp_path / 'file'} is not a folder; choose another place with --out"
    with pytest.raises(UserError, match=says):
        packing.require_free(out, RawBuild.open(raw_folder).recipe)
    assert release.main(["--raw", str(raw_folder), "--out", str(out)]) == 2
    assert says in capsys.readouterr().err
    packing.require_free(tmp_path / "not/yet/there", RawBuild.open(raw_folder).recipe)


@pytest.mark.parametrize("change", ["another row", "a row less", "gone"])
def test_a_build_that_changes_while_it_is_read_is_not_released(raw_folder, tmp_path, monkeypatch, change):
    """Neither the pictures nor the labels may be others than those that were counted."""
    path, of = raw_folder / "shards/occlusion-00000/metadata.jsonl", packing.Contents.of

    def counted_before(raw, engine):
        contents, lines = of(raw), path.read_bytes().splitlines(keepends=True)
        if change == "gone":
            path.unlink()
        else:
            lines[-1] = b"" if change == "a row less" else lines[-1].replace(b'"attempt": 0', b'"attempt": 1')
            path.write_bytes(b"".join(lines))
        return contents

    monkeypatch.setattr(packing.Contents, "of", counted_before)
    with pytest.raises(UserError, match="was changed while it was read"):
        packing.pack(RawBuild.open(raw_folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_stays_a_link(raw_folder, tmp_path):
    """The release goes where the link points, again and again."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk", target_is_directory=True)
    for _ in range(2):
        packing.pack(RawBuild.open(raw_folder), tmp_path / "out", anew=True)
        assert (tmp_path / "out").is_symlink() and (tmp_path / "disk/README.md").is_file()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["notes.txt", "photos"])
def test_a_folder_with_anything_of_the_users_is_not_replaced(raw_folder, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).mkdir() if name == "photos" else (out / name).write_text("mine")
    with pytest.raises(UserError, match=f"holds {name}, so it is not replaced"):
        packing.pack(RawBuild.open(raw_folder), out)
    assert (out / name).exists()


def test_a_readme_that_is_not_ours_is_not_replaced(raw_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/README.md").write_text("# mine")
    with pytest.raises(UserError, match=r"a README.md that is not ours"):
        packing.pack(RawBuild.open(raw_folder), tmp_path / "out")


def test_a_release_of_another_recipe_is_not_replaced_unless_it_is_a_preview(tmp_path):
    path, spec = own_table(tmp_path)
    write_raw(tmp_path / "raw", spec, path.read_text())
    other = dataclasses.replace(RawBuild.open(tmp_path / "raw").recipe, fingerprint="another")
    packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "out")
    packing.require_free(tmp_path / "out", other)
    readme = tmp_path / "out/README.md"
    readme.write_text(readme.read_text().replace("model preview, format", "model hub, format"))
    with pytest.raises(UserError, match="is the release of another recipe"):
        packing.require_free(tmp_path / "out", other)


def test_the_command_refuses_a_build_that_is_not_complete(raw_folder, tmp_path, capsys):
    (raw_folder / "shards/occlusion-00000/receipt.json").unlink()
    arguments = ["--raw", str(raw_folder), "--out", str(tmp_path / "out")]
    assert release.main(arguments) == 2
    assert "1 shards are not done (occlusion-00000 first)" in capsys.readouterr().err
    assert release.main([*arguments, "--partial"]) == 0
    assert "is ready: load_dataset(" in capsys.readouterr().out


def test_the_command_says_where_there_is_no_build(tmp_path, capsys):
    assert release.main(["--raw", str(tmp_path / "nowhere")]) == 2
    assert "no raw build here" in capsys.readouterr().err


def test_of_processes_that_end_together_one_makes_the_release(raw_folder, tmp_path, monkeypatch):
    """The others see it by the receipts and read no row; when something was made meanwhile, it is made again."""
    raw, out = RawBuild.open(raw_folder), tmp_path / "out"
    assert packing.pack_stale(raw, out).made
    with monkeypatch.context() as patched:
        patched.setattr(packing.Contents, "of", lambda raw: pytest.fail("rows were read"))
        assert packing.pack_stale(raw, out) is None
    write_raw(raw_folder, scale=0.02, only=["occlusion", "base"])
    before = len(rows_of(out))
    assert packing.pack_stale(raw, out).made and len(rows_of(out)) > before
