"""The raw folder: its recipe guards it, and rows are counted as they come."""

import json
import os
import shutil

import pytest

from builder import verify
from builder.common.errors import UserError
from builder.dataset import packing
from builder.models.identity import ModelId, Source
from builder.plan.plan import Plan
from builder.raw import ownership
from builder.raw.build import RawBuild
from builder.raw.ownership import read_recipe
from builder.raw.recipe import BuildRecipe
from builder.raw.row_count import RowCount
from builder.raw.shard_writer import lock
from builder.spec import table
from tests.fixtures import builds
from tests.fixtures.builds import CHECKER, SOURCE, own_table, recipe_of, write_raw, write_shard

SPEC = builds.SPEC


def test_a_recipe_gives_back_its_table(tmp_path):
    """What recipe.json holds is the whole table: read back, it plans the same samples."""
    for spec in (SPEC, own_table(tmp_path)[1]):
        recipe = recipe_of(spec)
        again = BuildRecipe.parse(str(recipe))
        assert again == recipe and again.spec == spec
        assert recipe_of(again.spec).fingerprint == recipe.fingerprint


def test_a_local_model_is_known_by_its_content_not_its_place():
    """The folder may move, and no path of this machine gets into the recipe."""
    documents = []
    for place in ("/one/model", "/two/model"):
        spec = SPEC.changed(recipe=SPEC.recipe.changed(model=place))
        documents.append(recipe_of(spec, Source("folder", "model", place, "sha256:1")).document())
    assert documents[0] == documents[1] and "/one" not in str(documents[0])


def test_a_hub_model_keeps_the_commit_the_build_began_with(tmp_path):
    source = Source("hub", SPEC.recipe.model, SPEC.recipe.model, "c0ffee")
    recipe = RawBuild.begin(tmp_path, recipe_of(SPEC, source)).recipe
    assert read_recipe(tmp_path) == recipe and recipe.model == source.id


def begun(folder, revision="1111"):
    """A recipe, and a raw folder that it began."""
    recipe = recipe_of(SPEC, Source("hub", "a/b", "a/b", revision))
    return recipe, RawBuild.begin(folder, recipe)


def test_a_folder_that_another_process_begins_at_this_moment_is_ours(tmp_path, monkeypatch):
    """What appears after it was found empty is that process's: the ranks of a launch begin at the same time."""

    def just_before(folder):
        (folder / "shards").mkdir()
        (folder / "recipe.json").touch()

    monkeypatch.setattr(ownership, "read_recipe", just_before)
    RawBuild(tmp_path, recipe_of(SPEC)).require_free()


def test_another_commit_of_the_model_is_another_recipe(tmp_path):
    """Once anything was made: one line of a shard is enough, also one of what was rejected."""
    begun(tmp_path)
    (tmp_path / "shards" / "base-00000").mkdir(parents=True)
    (tmp_path / "shards" / "base-00000" / "rejected.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r'model.revision: "1111" there, "2222" here'):
        begun(tmp_path, "2222")


def test_a_folder_in_which_nothing_was_made_takes_another_recipe(tmp_path):
    """As after a first run that was stopped before its first picture; empty shards and locks are no pictures."""
    begun(tmp_path)
    shard = tmp_path / "shards" / "base-00000"
    (shard / "images").mkdir(parents=True)
    for name in ("metadata.jsonl", ".lock"):
        (shard / name).touch()
    recipe, _ = begun(tmp_path, "2222")
    assert read_recipe(tmp_path) == recipe and not shard.exists()


def test_a_folder_that_another_run_is_working_in_does_not(tmp_path):
    begun(tmp_path)
    (tmp_path / "shards" / "base-00000").mkdir(parents=True)
    taken = lock(tmp_path / "shards" / "base-00000")
    with pytest.raises(UserError, match="was made by another recipe"):
        begun(tmp_path, "2222")
    taken.release()
    begun(tmp_path, "2222")


def test_a_folder_of_something_else_is_not_taken(tmp_path):
    """Nothing is written beside what the user keeps there; an empty folder, and one with hidden files alone, are."""
    (tmp_path / ".DS_Store").touch()
    begun(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "holiday.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"other: is not empty \(holiday\.jpg\) and no raw build"):
        begun(other)
    assert [path.name for path in other.iterdir() if not path.name.endswith(".lock")] == ["holiday.jpg"]


def test_shards_without_a_recipe_are_not_adopted(tmp_path):
    (tmp_path / "shards").mkdir()
    with pytest.raises(UserError, match=r"has shards but no recipe.json"):
        RawBuild.begin(tmp_path, recipe_of(SPEC))


def test_unfinished_lists_what_the_latest_run_was_asked_for(tmp_path):
    plan = write_raw(tmp_path, only=["base"], scale=0.02)
    raw = RawBuild.open(tmp_path)
    assert raw.unfinished() == []
    raw.note_asked(Plan(SPEC, only=["base"], scale=0.03, shard_size=16))
    assert raw.unfinished() == [shard.name for shard in Plan(SPEC, ["base"], 0.03, None, 16).shards][2:]
    assert plan.chosen == 32


def test_rows_are_counted_once_while_shards_grow_finish_and_tear(tmp_path):
    """Whole lines count, half a line does not, and a finished shard, whose rows were put into order, counts anew."""
    plan = Plan(SPEC, only=["base"], scale=0.02, shard_size=16)
    shard, count = plan.shards[0], RowCount(tmp_path)
    path = tmp_path / "shards" / shard.name / "metadata.jsonl"
    assert count(plan.shards) == 0
    for _ in range(2):
        write_shard(tmp_path, plan, shard, batches=1, finish=False)
        assert count(plan.shards) == path.read_bytes().count(b"\n")
    with open(path, "ab") as file:
        file.write(b'{"half')
    assert count(plan.shards) == path.read_bytes().count(b"\n")
    write_shard(tmp_path, plan, shard)
    assert count(plan.shards) == 16
    os.utime(path)
    assert count(plan.shards) == 16


def test_what_changes_no_picture_is_taken_over(tmp_path):
    """A new licence, or a comment in the table, goes into the recipe and the next release; nothing is made again."""
    path, spec = own_table(tmp_path)
    write_raw(tmp_path / "raw", spec, path.read_text())
    packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "out")
    path.write_text('license = "cc0-1.0"\n' + path.read_text())
    RawBuild.begin(tmp_path / "raw", recipe_of(table.load(path), SOURCE, path.read_text()))
    assert packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "out")[1]
    assert "\nlicense: cc0-1.0\n" in (tmp_path / "out/README.md").read_text()
    assert table.load(tmp_path / "out/recipe.toml").license == "cc0-1.0"
    assert not packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "out")[1]


def test_a_copy_of_a_shard_is_no_shard(tmp_path):
    """A backup beside the shards neither counts twice nor makes the others' pictures duplicates."""
    plan = write_raw(tmp_path, only=["base"], scale=0.02)
    first = tmp_path / "shards" / plan.shards[0].name
    for name in (f"{first.name} (copy)", f"{first.name}.bak-1", "old-base"):
        shutil.copytree(first, first.with_name(name))
    assert [path.name for path in RawBuild.open(tmp_path).finished()] == [shard.name for shard in plan.shards]


def test_a_shard_of_another_recipe_is_not_released(tmp_path, capsys):
    """Its rows are whole and its receipt is right, but it is not what this folder's recipe makes."""
    plan = write_raw(tmp_path / "raw", only=["base"], scale=0.02)
    other = SPEC.changed(release="another")
    write_raw(tmp_path / "other", other, only=["base"], scale=0.02)
    name = plan.shards[0].name
    shutil.rmtree(tmp_path / "raw/shards" / name)
    shutil.copytree(tmp_path / "other/shards" / name, tmp_path / "raw/shards" / name)
    with pytest.raises(UserError, match=f"{name}: was made by another recipe"):
        packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "out")
    assert verify.main([str(tmp_path / "raw")]) == 1
    assert f"{name}: was made by another recipe" in capsys.readouterr().out
    assert verify.main([str(tmp_path / "raw"), "--repair"]) == 0
    assert RawBuild.open(tmp_path / "raw").unfinished() == [name]


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["spec"].pop("features"),
        lambda found: found["spec"]["recipe"].update(unknown=1),
        lambda found: found["spec"].update(unknown=1),
        lambda found: found["model"].pop("name"),
        lambda found: found.update(settings=[]),
        lambda found: found.update(spec=None),
        lambda found: found.update(toml=5),
        lambda found: found.update(toml="[recipe"),
    ],
)
def test_a_recipe_of_another_version_is_named(tmp_path, change):
    """What this version cannot read is one line, not a traceback in the middle of something."""
    write_raw(tmp_path, only=["base"], limit=2)
    found = json.loads((tmp_path / "recipe.json").read_text())
    change(found)
    (tmp_path / "recipe.json").write_text(json.dumps(found))
    with pytest.raises(UserError, match=r"recipe.json: damaged, edited, or of another version"):
        RawBuild.open(tmp_path).unfinished()


@pytest.mark.parametrize("text", ["[]", '{"foo": 1}', "3", '{"only": 1}', '{"only": [5]}', '{"limit": "x"}', "{"])
def test_a_wrong_note_of_what_was_asked_for_is_named(tmp_path, text):
    write_raw(tmp_path, only=["base"], limit=2)
    (tmp_path / "asked.json").write_text(text)
    with pytest.raises(UserError, match=r"asked.json: damaged \(.*\); remove it"):
        RawBuild.open(tmp_path).unfinished()


def test_what_a_kill_left_half_written_is_swept(tmp_path):
    """Temporary files of recipe.json and asked.json go when the next run begins; those of others stay."""
    write_raw(tmp_path, only=["base"], limit=2)
    for name in (".asked.json.0a1b2c3d.tmp", ".recipe.json.0a1b2c3d.tmp", ".notes.tmp"):
        (tmp_path / name).write_text("half")
    toml = builds.small_table().read_text(encoding="utf-8")
    RawBuild.begin(tmp_path, recipe_of(SPEC, SOURCE, toml))
    assert [path.name for path in tmp_path.glob(".*.tmp")] == [".notes.tmp"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document["model"].update(kind="hub"),
        lambda document: document["model"].update(name="someone/model"),
        lambda document: document["spec"]["recipe"].update(steps=21),
        lambda document: document["settings"].update(shard_size=17),
        lambda document: document.update(safety_checker=vars(CHECKER)),
    ],
)
def test_a_recipe_that_was_edited_is_refused(tmp_path, edit):
    """What it says gives another fingerprint: a preview does not become a model's build by a word in a file."""
    write_raw(tmp_path, only=["base"], limit=2)
    document = json.loads((tmp_path / "recipe.json").read_text())
    edit(document)
    (tmp_path / "recipe.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"recipe\.json: damaged, edited"):
        RawBuild.open(tmp_path)


def test_a_finished_shard_of_another_attribute_is_named(tmp_path):
    """Its receipt is this recipe's, but no table of this build has such an attribute."""
    plan = write_raw(tmp_path / "raw", only=["base"], limit=2)
    shard = tmp_path / "raw/shards" / plan.shards[0].name
    shutil.copytree(shard, shard.with_name("fruit-00000"))
    with pytest.raises(UserError, match=r"fruit-00000: is no shard of this build's plan"):
        packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


HUB = Source("hub", "some/model", "some/model", "c0ffee")


def test_only_a_preview_does_without_a_safety_checker(tmp_path):
    """Nothing can be begun, made again or released of a recipe that has neither a checker nor drawings alone."""
    unchecked = BuildRecipe.of(SPEC, HUB, "", recipe_of(SPEC).settings)
    with pytest.raises(UserError, match=r"recipe.json: names no safety checker, and only the preview's"):
        RawBuild.begin(tmp_path / "raw", unchecked)
    assert not (tmp_path / "raw").exists()
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/recipe.json").write_text(str(unchecked))
    for open_again in (RawBuild.open, read_recipe, lambda folder: RawBuild.begin(folder, recipe_of(SPEC, HUB))):
        with pytest.raises(UserError, match=r"recipe.json: names no safety checker"):
            open_again(tmp_path / "raw")
    assert RawBuild.begin(tmp_path / "preview", recipe_of(SPEC)).recipe.made_by["safety_checker"] == ""


def test_another_checker_or_vae_is_another_recipe(tmp_path):
    """Which pictures are there depends on both, and the folder says what differs."""
    recipes = [
        BuildRecipe.of(SPEC, HUB, "", recipe_of(SPEC).settings, (), checker, vae)
        for checker, vae in [(CHECKER, None), (ModelId("folder", "mine", "sha256:1"), None), (CHECKER, CHECKER)]
    ]
    assert len({recipe.fingerprint for recipe in recipes}) == 3
    assert [BuildRecipe.parse(str(recipe)) for recipe in recipes] == recipes
    RawBuild.begin(tmp_path, recipes[0])
    (tmp_path / "shards" / "base-00000").mkdir(parents=True)
    (tmp_path / "shards" / "base-00000" / "rejected.jsonl").write_text("{}\n")
    for recipe, part in zip(recipes[1:], ("safety_checker.name", "vae: null there")):
        with pytest.raises(UserError, match=f"made by another recipe .*{part}"):
            RawBuild.begin(tmp_path, recipe)


def test_a_row_names_its_checker_with_commit_file_and_digest():
    said = recipe_of(SPEC, HUB).made_by["safety_checker"]
    assert said == f"someone/checker@c0ffee:model.safetensors sha256:{'ab' * 32}"


def test_a_recipe_does_not_tell_where_a_local_checker_or_vae_lies():
    places = {"safety_checker": "/home/ana/secret/checker", "vae": "/home/ana/secret/vae"}
    spec = SPEC.changed(recipe=SPEC.recipe.changed(**places))
    local = [ModelId("folder", name, "sha256:1") for name in ("checker", "vae")]
    recipe = BuildRecipe.of(spec, HUB, "", recipe_of(SPEC).settings, (), *local)
    assert "/home" not in str(recipe) and recipe.spec.recipe.vae == "vae"


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "{}", "[" * 100_000, "\xff"])
def test_a_recipe_that_is_none_is_one_line(tmp_path, text):
    (tmp_path / "recipe.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"recipe\.json: damaged, edited, or of another version; restore it"):
        read_recipe(tmp_path)
