"""The checks' models on the command line: what cannot be had is said at the start, what is left out on purpose."""

import json
import signal

import pytest
from huggingface_hub import constants

from builder.checks import loading
from builder.generate import main as generate
from builder.models.identity import CheckVersion, ModelId
from builder.raw.build import RawBuild
from builder.spec import table
from builder.spec.criteria import KINDS
from tests.experiments.kill import lines
from tests.fixtures import standin
from tests.fixtures.client import turn_to
from tests.fixtures.hub import Hub
from tests.fixtures.inside import nominal_model
from tests.fixtures.repositories import Repositories

FEW = ["--only", "base", "--limit", "4", "--batch-size", "4"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """Work in an empty folder, and leave signals as they were."""
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """As with HF_HUB_OFFLINE=1 and an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path):
    """A folder that can be named as a diffusers model; nothing loads it."""
    nominal_model(tmp_path)
    return ["--model", "model"]


def build(*arguments):
    """Run the builder with a stand-in for the diffusion model; the checks' models are real names."""
    return generate([*FEW, *arguments], load=standin.StandIn, build_checks=standin.checks)


def one_line(capsys):
    """The error, which is the last line; what was said before it tells how far it came."""
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("generate: ") and not any(line.startswith(("Traceback", " ")) for line in said)
    return said[-1]


def spec_file(tmp_path, *changes):
    text = table.DEFAULT.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "my.toml").write_text(text)
    return ["--spec", "my.toml"]


def test_a_missing_attribute_model_ends_the_run_at_the_start(offline, model, capsys, tmp_path):
    """Offline the default table's CLIP cannot be had: one line says so and how to go without; nothing was begun."""
    assert build(*model) == 2
    said = one_line(capsys)
    assert "attribute check openai/clip-vit-large-patch14: the Hub cannot be reached" in said
    assert "try again with network, or give a local folder" in said and "--without attribute" in said
    assert not (tmp_path / "agfd30k-raw").exists()


def test_a_missing_face_detector_ends_the_run_at_the_start(offline, model, capsys, tmp_path):
    """So does YuNet, whether its repository is unknown here or only its file is not in the cache."""
    yunet = spec_file(tmp_path, ('detector = "yunet"', 'detector = "opencv/face_detection_yunet"'))
    assert build(*model, *yunet, "--without", "attribute") == 2
    said = one_line(capsys)
    assert "face check opencv/face_detection_yunet: the Hub cannot be reached" in said and "--without face" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('"openai/clip-vit-large-patch14"', '"model"'),
            "attribute check model: holds no model.safetensors with its config.json",
        ),
        (('"openai/clip-vit-large-patch14"', '"no such folder"'), "attribute check no such folder: no such folder"),
        (('detector = "yunet"', 'detector = "gone.onnx"'), "face check gone.onnx: there is no such file"),
    ],
)
def test_a_local_model_that_is_not_there_is_told(offline, model, capsys, tmp_path, change, message):
    without = ["--without", "attribute"] if "onnx" in change[1] else []
    assert build(*model, *spec_file(tmp_path, change), *without) == 2
    assert message in one_line(capsys)


def test_the_commit_of_a_checks_model_is_recorded_and_kept(model, tmp_path, monkeypatch):
    """The branch is asked about once; an interrupted build goes on offline with the very model it began with."""
    with Hub(tmp_path / "hub") as hub:
        Repositories(tmp_path / "repositories").serve(hub, "clip")
        turn_to(hub, tmp_path / "home", monkeypatch)
        assert build(*model, "--limit", "2") == 0
        commit = hub.commits("models/openai/clip-vit-large-patch14")[-1]["id"]
    checks = {check.name: check for check in RawBuild.open(tmp_path / "agfd30k-raw").recipe.checks}
    clip = ModelId("hub", "openai/clip-vit-large-patch14", commit)
    assert checks["attribute"] == CheckVersion("attribute", loading.VERSIONS["attribute"], clip)
    assert build(*model) == 0


def test_a_local_models_place_does_not_get_into_the_recipe(offline, model, tmp_path):
    """It is known by its name and digest, the build goes on after it was moved; other weights are another recipe."""
    for place in ("here", "there"):
        folder = tmp_path / place / "reader"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "preprocessor_config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")
        change = ('"openai/clip-vit-large-patch14"', f'"{place}/reader"')
        assert build(*model, *spec_file(tmp_path, change)) == 0
    recipe = dict(RawBuild.open(tmp_path / "agfd30k-raw").recipe.document(), toml="")
    assert "there/" not in json.dumps(recipe) and recipe["spec"]["checks"]["attribute"]["model"] == "reader"
    (folder / "model.safetensors").write_bytes(b"others")
    assert build(*model, *spec_file(tmp_path, change)) == 2


@pytest.mark.parametrize("name", KINDS)
def test_leaving_a_check_out_is_part_of_the_recipe(offline, model, tmp_path, capsys, name):
    """A folder that was made with one set of checks refuses another set, telling what differs, either way round."""
    all_but_one = [part for other in {*KINDS} - {name} for part in ("--without", other)]
    own = spec_file(tmp_path, ('"openai/clip-vit-large-patch14"', '"reader"'))
    (tmp_path / "reader").mkdir()
    (tmp_path / "reader" / "config.json").write_text("{}")
    (tmp_path / "reader" / "preprocessor_config.json").write_text("{}")
    (tmp_path / "reader" / "model.safetensors").write_bytes(b"")
    none = [*all_but_one, "--without", name]
    for first, second, here in ((none, all_but_one, False), (all_but_one, none, True)):
        folder = ["--raw", f"raw-{here}", "--out"]
        assert build(*model, *own, *first, *folder, f"out-{here}") == 0
        capsys.readouterr()
        assert build(*model, *own, *second, *folder, "other") == 2
        said = one_line(capsys)
        assert f"was made by another recipe (spec.checks.{name}: " in said
        assert ("null here" if here else "null there") in said


def test_what_is_left_out_is_not_made(offline, model, tmp_path):
    """Without any check nothing is judged: no verdict, no hash, no duplicate; black pictures are still rejected."""
    without = [part for name in KINDS for part in ("--without", name)]
    arguments = ["--only", "base", "--scale", "0.02", *model, *without]
    assert generate(arguments, load=standin.StandIn, build_checks=standin.checks) == 0
    rows, rejected = lines(tmp_path, "metadata.jsonl"), lines(tmp_path, "rejected.jsonl")
    assert len(rows) == 32 and {row["verified"] for row in rows} == {None}
    assert not any("duplicate" in row["reason"] for row in rejected) and any(r["reason"] == "black" for r in rejected)
