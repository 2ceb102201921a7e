"""Verification: a sound build passes, and every kind of fault is found and named."""

import json
import shutil
from pathlib import Path

import pytest

from builder import release, verify
from builder.common import documents
from builder.common.errors import UserError
from builder.common.files import sha256
from builder.engine.here import Here
from builder.models.identity import Source
from builder.plan.plan import Plan
from builder.raw import verification
from builder.raw.build import RawBuild
from builder.raw.recipe import BuildRecipe
from builder.raw.shard_writer import lock
from tests.fixtures import builds
from tests.fixtures.builds import write_raw, write_shard


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "raw"
    write_raw(folder, only=["base"], scale=0.01)
    return folder


@pytest.fixture
def build(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "raw")


def faults(build, capsys, *options):
    status = verify.main([str(build), *options])
    return status, capsys.readouterr().out


def test_a_sound_build_has_no_faults(build, capsys):
    assert faults(build, capsys) == (0, "16 rows, 0 faults\n")


def digest_of(row):
    return documents.digest({key: value for key, value in row.items() if key != "digest"})


def change_row(build, **values):
    path = build / "shards/base-00000/metadata.jsonl"
    lines = path.read_text().splitlines()
    row = {**json.loads(lines[2]), **values}
    row["digest"] = digest_of(row)
    lines[2] = json.dumps(row)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ethnicity": "martian"}, "`ethnicity` is 'martian', the plan says"),
        ({"split": "train2"}, "`split` is 'train2'"),
        ({"seed": 7}, "`seed` is 7"),
        ({"id": "base-base-male-00001x"}, "does not belong to this shard"),
        ({"file_name": "../../recipe.json"}, "`file_name` is '../../recipe.json', the plan says"),
        ({"id": ["base"]}, "not a row (`id`: input should be a valid string)"),
        ({"extra": 1}, "not a row (`extra`: extra inputs are not permitted)"),
        ({"verified": "yes"}, "not a row (`verified`: input should be a valid boolean)"),
        ({"safety_checker": "some/checker@c0ffee"}, "`safety_checker` is 'some/checker@c0ffee', the plan says ''"),
        ({"sha256": "0" * 64}, "is not the picture that was committed"),
    ],
)
def test_an_edited_row_is_found(build, capsys, values, message):
    change_row(build, **values)
    status, said = faults(build, capsys)
    assert status == 1 and "metadata.jsonl, line 3: " in said and message in said
    assert "metadata.jsonl: not what the receipt was written for" in said


def test_every_fault_of_a_build_is_listed_in_one_go(build, capsys):
    """A lost, a changed and a torn picture, a row that is nonsense, a row cut out, a picture nobody asked for."""
    shard = build / "shards/base-00000"
    pictures = sorted((shard / "images").iterdir())
    pictures[0].unlink()
    pictures[1].write_bytes(pictures[2].read_bytes())
    pictures[3].write_bytes(pictures[3].read_bytes()[:-20])
    (shard / "images/stranger.png").write_bytes(b"")
    path = shard / "metadata.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["nonsense", *lines[:-1]]) + "\n")
    status, said = faults(build, capsys)
    assert status == 1
    for message in (
        f"its picture images/{pictures[0].name} is not there",
        f"{pictures[1].name} is not the picture that was committed",
        f"{pictures[3].name} is not the picture that was committed",
        "line 1: not a row",
        "rows of the receipt are missing",
        "images/stranger.png: a picture without a sound row",
    ):
        assert message in said


def test_a_picture_that_was_committed_broken_does_not_pass(build, capsys):
    """The digest alone would pass it: it is decoded too."""
    shard = build / "shards/base-00000"
    picture = sorted((shard / "images").iterdir())[0]
    picture.write_bytes(picture.read_bytes()[:60])
    path = shard / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        if row["id"] == picture.stem:
            row["sha256"] = sha256(picture)
            row["digest"] = digest_of(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert f"{picture.stem}: images/{picture.name} does not decode" in faults(build, capsys)[1]


@pytest.mark.parametrize("options", [(), ("--repair",)])
def test_a_shard_of_another_plan_is_left_to_the_user(build, capsys, options):
    """--repair cannot mend it, and does not say that it has."""
    shutil.copytree(build / "shards/base-00000", build / "shards/base-99999")
    status, said = faults(build, capsys, *options)
    assert status == 1 and "base-99999: not a shard of this plan" in said
    assert "not shards of this plan: 1; they must be moved away by hand" in said and "set aside" not in said
    assert (build / "shards/base-99999/receipt.json").exists()


def test_a_shard_that_is_gone_is_told_and_no_fault(build, capsys):
    """A run that was stopped looks the same."""
    shutil.rmtree(shard_of(build))
    status, said = faults(build, capsys)
    assert (status, said.splitlines()[0]) == (0, "0 rows, 0 faults")
    assert "shards of the latest run that are not done: 1;" in said


def test_repair_sets_faulty_rows_aside_and_reopens_the_shard(build, capsys):
    change_row(build, seed=7)
    status, said = faults(build, capsys, "--repair")
    shard = build / "shards/base-00000"
    assert status == 0 and "faults, set aside" in said
    assert json.loads((shard / "faulty/metadata.jsonl").read_text())["seed"] == 7
    assert len((shard / "metadata.jsonl").read_text().splitlines()) == 15
    assert RawBuild.open(build).unfinished() == ["base-00000"]


def test_repair_sets_damaged_pictures_aside_and_never_one_over_another(build, capsys):
    """Whatever became of a picture, its bytes are kept, however often the same one is damaged."""
    kept = []
    for _ in range(2):
        picture = sorted((shard_of(build) / "images").iterdir())[0]
        kept.append(picture.read_bytes()[:-20] + bytes(len(kept)))
        picture.write_bytes(kept[-1])
        assert faults(build, capsys, "--repair")[0] == 0
        assert not picture.exists()
        complete(build)
        assert picture.exists()
    aside = shard_of(build) / "faulty"
    assert [(aside / f"{picture.stem}{end}.png").read_bytes() for end in ("", "-2")] == kept
    assert {path.name for path in aside.glob("receipt*")} == {"receipt.json", "receipt-2.json"}
    assert faults(build, capsys)[0] == 0


def test_repair_leaves_a_shard_alone_that_a_run_is_writing(build, capsys):
    """In one line, and not a byte is changed."""
    change_row(build, seed=7)
    before = {path: path.read_bytes() for path in shard_of(build).rglob("*") if path.is_file()}
    with lock(shard_of(build)):
        assert verify.main([str(build), "--repair"]) == 2
    said = capsys.readouterr().err
    assert "another process is writing here" in said and said.count("\n") == 1
    assert {path: path.read_bytes() for path in before} == before and not (shard_of(build) / "faulty").exists()


class Backwards:
    """An engine of one process, and the worst order: the last shard first."""

    def map(self, step, tasks):
        yield from map(step, reversed([*tasks]))


ENGINES = [Backwards(), pytest.param(Here(2), marks=pytest.mark.process)]


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A build of five shards, four of them faulty."""
    folder = tmp_path_factory.mktemp("spoilt") / "raw"
    write_raw(folder, only=["base", "age"], scale=0.02, shard_size=8)
    shards = sorted((folder / "shards").iterdir())
    assert len(shards) >= 5
    for number, shard in enumerate(shards[1:5]):
        picture = sorted((shard / "images").iterdir())[number]
        picture.write_bytes(picture.read_bytes()[: -20 * number] if number else b"")
    (shards[2] / "metadata.jsonl").write_bytes(b"nonsense\n" + (shards[2] / "metadata.jsonl").read_bytes())
    (shards[3] / "receipt.json").write_text("{}")
    return folder


def verified(folder, engine, repair=False):
    """What is found, what is said, and what lies there afterwards, but for locks."""
    said = []
    found = verification.verify(folder, repair, said.append, engine=engine)
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return found, said, {path: data for path, data in files.items() if path.suffix != ".lock"}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("repair", [False, True])
def test_every_engine_finds_says_and_repairs_the_same(spoilt, tmp_path, monkeypatch, engine, repair):
    results = []
    for name, one in (("alone", Here(1)), ("engine", engine)):
        shutil.copytree(spoilt, tmp_path / name / "raw")
        monkeypatch.chdir(tmp_path / name)
        results.append(verified(Path("raw"), one, repair))
    assert results[0] == results[1] and results[0][0].faults >= 5
    assert any("faulty" in path.parts for path in results[0][2]) == repair


@pytest.mark.parametrize("engine", [Here(1), *ENGINES])
def test_repair_ends_at_the_shard_that_a_run_is_writing(spoilt, tmp_path, engine):
    """Those before it are repaired, and told; those after it are left as they are, on every engine."""
    folder = shutil.copytree(spoilt, tmp_path / "raw")
    shards, all_faults, said = sorted((folder / "shards").iterdir()), verified(folder, Here(1))[1], []
    with lock(shards[2]), pytest.raises(UserError, match=f"{shards[2].name}: another process is writing here"):
        verification.verify(folder, True, said.append, engine=engine)
    assert [path.parent for path in sorted(folder.rglob("faulty"))] == [shards[1]]
    assert said and said == all_faults[: len(said)]


def test_a_sound_shard_that_a_run_is_writing_ends_a_repair_too(build, capsys):
    with lock(shard_of(build)):
        assert verify.main([str(build), "--repair"]) == 2
    assert "another process is writing here" in capsys.readouterr().err


def test_what_a_run_has_finished_meanwhile_is_not_set_aside(build, tmp_path):
    """A shard is looked at once more when nobody can be writing there: what was half written then is whole now."""

    class Meanwhile:
        def map(self, step, tasks):
            rows = shard_of(build) / "metadata.jsonl"
            whole = rows.read_bytes()
            rows.write_bytes(whole[:-20])
            results = [*map(step, tasks)]
            rows.write_bytes(whole)
            yield from results

    found, said, files = verified(build, Meanwhile(), repair=True)
    assert (found.faults, said) == (0, []) and (shard_of(build) / "receipt.json").relative_to(build) in files


def test_a_build_is_opened_anew_where_its_recipe_is_another(build, tmp_path, monkeypatch):
    """A process that checks twice does not take the first one's recipe."""
    assert verified(build, Here(1))[0].faults == 0
    shutil.rmtree(build)
    monkeypatch.setattr(builds, "SOURCE", Source("preview", "other", "preview", "built-in"))
    write_raw(build, only=["base"], scale=0.01)
    assert verified(build, Here(1))[1] == []


def test_a_large_build_gets_the_cores_and_a_small_one_does_not(build, monkeypatch):
    sizes = []
    monkeypatch.setattr(Here, "sized", lambda seconds: sizes.append(seconds) or Here(1))
    assert verified(build, None)[0].rows == 16
    assert sizes == [pytest.approx(16 * (verification.ROW + 16 * 16 * verification.PIXEL))]


def shard_of(build):
    return build / "shards/base-00000"


def complete(build):
    """What the next run does."""
    plan = Plan(RawBuild.open(build).spec, only=["base"], scale=0.01, shard_size=16)
    write_shard(build, plan, plan.shards[0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda build: change_row(build, sex="female"), "`sex` is 'female'"),
        (lambda build: change_row(build, model="better"), "`model` is 'better', the plan says 'stand-in'"),
        (lambda build: (shard_of(build) / "receipt.json").write_text(""), "receipt.json: not a receipt"),
        (lambda build: (shard_of(build) / "receipt.json").write_text("{}"), "receipt.json: not a receipt"),
        (
            lambda build: (shard_of(build) / "rejected.jsonl").write_text("x\n"),
            "rejected.jsonl, line 1: not a rejected try",
        ),
        (lambda build: (shard_of(build) / "metadata.jsonl").unlink(), "16 rows of the receipt are missing"),
        (
            lambda build: (shard_of(build) / "rejected.jsonl").write_text(
                '{"id": ["x"], "attempt": 0, "seed": 1, "reason": "", "detail": "", "checks": null}\n'
            ),
            "rejected.jsonl, line 1: not a rejected try (`id`: input should be a valid string)",
        ),
        (
            lambda build: (shard_of(build) / "images/odd.png").write_bytes(b"x"),
            "odd.png: a picture without a",
        ),
        (lambda build: shutil.rmtree(shard_of(build) / "images"), ".png is not there"),
    ],
)
def test_whatever_is_found_in_a_finished_shard_can_be_repaired(build, capsys, spoil, message):
    """--repair moves it aside, the next run makes it again, and nothing is left to find."""
    intact = (shard_of(build) / "metadata.jsonl").read_bytes()
    spoil(build)
    status, said = faults(build, capsys)
    assert status == 1 and message in said
    assert faults(build, capsys, "--repair")[0] == 0
    complete(build)
    assert (shard_of(build) / "metadata.jsonl").read_bytes() == intact
    assert faults(build, capsys)[0] == 0


@pytest.mark.parametrize("name", ["metadata.jsonl", "rejected.jsonl", "receipt.json"])
@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:1], lambda data: b"x" + data[1:]])
def test_a_release_of_a_damaged_shard_ends_in_one_line(build, tmp_path, capsys, name, damage):
    """Torn or edited after it was finished: nothing is released."""
    path = shard_of(build) / name
    if name == "rejected.jsonl":
        path.write_bytes(path.read_bytes() + b"{}\n" * 20)
    path.write_bytes(damage(path.read_bytes()))
    assert release.main(["--raw", str(build), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "agfd30k verify" in said
    assert not (tmp_path / "out").exists()


def test_where_there_is_no_build_it_says_so(tmp_path, capsys):
    assert verify.main([str(tmp_path)]) == 2
    assert "no raw build here" in capsys.readouterr().err


def test_a_recipe_that_is_not_json_is_one_line(build, capsys):
    (build / "recipe.json").write_text("{")
    assert verify.main([str(build)]) == 2
    said = capsys.readouterr().err
    assert "recipe.json: damaged" in said and said.count("\n") == 1


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """A build by a model that is no preview."""
    monkeypatch.setattr(builds, "SOURCE", Source("hub", "some/model", "some/model", "c0ffee"))
    write_raw(tmp_path / "raw", only=["base"], scale=0.01)
    return tmp_path / "raw"


def test_a_row_without_a_safety_checker_is_neither_verified_nor_released(checked, capsys):
    """Where the recipe names one; --repair has the picture made again."""
    change_row(checked, safety_checker="")
    shard = checked / "shards/base-00000"
    facts = json.loads((shard / "receipt.json").read_text())
    facts["sha256"] = sha256(shard / "metadata.jsonl")
    facts["digest"] = digest_of(facts)
    (shard / "receipt.json").write_text(json.dumps(facts))
    assert release.main(["--partial", "--raw", str(checked), "--out", str(checked.parent / "out")]) == 2
    assert "`safety_checker`" in capsys.readouterr().err
    assert not (checked.parent / "out").exists()
    status, said = faults(checked, capsys)
    assert status == 1 and "`safety_checker` is '', the plan says 'someone/checker" in said
    assert faults(checked, capsys, "--repair")[0] == 0
    assert RawBuild.open(checked).unfinished() == ["base-00000"]


@pytest.mark.parametrize("command", [verify.main, lambda raw: release.main(["--raw", *raw, "--partial"])])
def test_a_recipe_without_a_safety_checker_is_refused(checked, capsys, command):
    """As long as the model is no preview: in one line, with status 2."""
    recipe = RawBuild.open(checked).recipe
    model = Source(location="", **vars(recipe.model))
    unchecked = BuildRecipe.of(recipe.spec, model, recipe.toml, recipe.settings)
    (checked / "recipe.json").write_text(str(unchecked))
    assert command([str(checked)]) == 2
    said = capsys.readouterr().err
    assert "names no safety checker" in said and said.count("\n") == 1
