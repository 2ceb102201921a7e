"""Models on the Hub: found at a commit, refused with the cause, downloaded once, continued where it broke off."""

import errno
import hashlib
import math
import os
import re
import shutil

import pytest
from huggingface_hub import constants, hf_hub_download

from builder.common.errors import UserError
from builder.generation.config import GenerateConfig
from builder.models import download, faults, source
from builder.models.identity import ModelId
from builder.spec.spec import Recipe
from builder.spec.table import load as load_table
from tests.fixtures import repositories
from tests.fixtures.client import turn_to
from tests.fixtures.hub import Hub
from tests.fixtures.repositories import REPOSITORIES, Repositories

VISION = load_table().recipe
CHECKER = VISION.safety_checker


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Repositories(tmp_path_factory.mktemp("repositories"))


@pytest.fixture
def hub(made, tmp_path, monkeypatch):
    """A Hub with Realistic Vision and the safety checker, which this process's client asks."""
    with Hub(tmp_path / "hub") as hub:
        made.serve(hub, "realistic_vision", "realistic_vision_pr", "checker_pickled", "checker")
        turn_to(hub, tmp_path / "home", monkeypatch)
        yield hub


def vision(**options):
    return source.resolve(VISION.model, VISION.revision, file=VISION.file, **options)


def refusal(kind, call, *args, **options):
    with pytest.raises(faults.ModelError) as caught:
        call(*args, **options)
    assert type(caught.value) is kind and "\n" not in str(caught.value)
    return str(caught.value)


def commit_of(hub, repo, revision="main"):
    return hub.commits(f"models/{repo}", revision)[-1]["id"]


# Finding.


def test_realistic_vision_is_its_single_file(hub):
    """Its folders hold pickles: the file that the table names is read, with the configs of the same commit."""
    found = vision()
    assert found.id == ModelId("hub", VISION.model, commit_of(hub, VISION.model), VISION.file)
    paths = {file.path for file in found.files}
    assert VISION.file in paths and "unet/config.json" in paths and "tokenizer/vocab.json" in paths
    assert not [path for path in paths if path.endswith((".bin", ".ckpt"))]
    assert sum(record["sent"] for record in hub.asked("GET /lfs")) < 500_000  # its head, not its weights


def test_another_revision_has_folders(hub):
    """As a pull request with safetensors does."""
    found = source.resolve(VISION.model, "refs/pr/4", file=VISION.file)
    assert found.file == "" and "unet/diffusion_pytorch_model.safetensors" in {file.path for file in found.files}


def test_the_tables_checker_takes_the_place_of_a_pickled_one(hub):
    """Known by its commit and by the digest of its weights, which the Hub tells."""
    checker = source.resolve_checker(vision(), None, VISION)
    assert (checker.name, checker.file) == (CHECKER, "model.safetensors")
    assert checker.revision == commit_of(hub, CHECKER, "refs/pr/41") and len(checker.sha256) == 64


def test_the_given_checker_comes_first(hub, made):
    made.serve(hub, "own_checker")
    model = source.resolve(REPOSITORIES["own_checker"].repo)
    own = source.resolve_checker(model, None, VISION)
    assert (own.name, own.file) == (model.name, "safety_checker/model.safetensors")
    given = source.resolve_checker(model, f"{CHECKER}@refs/pr/41", VISION)
    assert (given.name, given.sha256) == (CHECKER, source.resolve_checker(vision(), None, VISION).sha256)
    refusal(faults.Pickled, source.resolve_checker, model, CHECKER, VISION)  # main holds pickles


def test_a_named_revision_of_a_checker_comes_before_the_recorded_one(hub):
    """Unless it is the same: then the build goes on with what it has, without network."""
    checker = source.resolve_checker(vision(), f"{CHECKER}@refs/pr/41", VISION)
    download.fetch([checker])
    refusal(faults.Pickled, source.resolve_checker, vision(), f"{CHECKER}@main", VISION, checker.id)
    refusal(faults.NoRevision, source.resolve_checker, vision(), f"{CHECKER}@v9", VISION, checker.id)
    model = vision()
    hub.stop()
    for words in (f"{CHECKER}@refs/pr/41", f"{CHECKER}@{checker.revision}", CHECKER):
        assert source.resolve_checker(model, words, VISION, checker.id).id == checker.id
    hub.start()


@pytest.mark.parametrize("name", ["sdxl", "flux", "inpainting", "custom_code"])
def test_what_does_not_run_is_refused_before_weights_are_asked_for(hub, made, name):
    made.serve(hub, name)
    assert "what runs here is Stable Diffusion 1.x" in refusal(
        faults.WrongKind, source.resolve, REPOSITORIES[name].repo
    )
    assert hub.asked("GET /lfs") == [] and hub.asked(f"GET /{REPOSITORIES[name].repo}/resolve") != []


def test_a_lone_file_is_looked_into_without_its_weights(hub, made):
    """Its head is enough to tell its kind; what is in it is told by the configs of Stable Diffusion 1.5."""
    made.serve(hub, "single_file")
    repo = REPOSITORIES["single_file"].repo
    assert "configs of stable-diffusion-v1-5" in refusal(faults.NotThere, source.resolve, repo)
    size = max(len(content) for content in hub.files(f"models/{repo}").values())
    assert sum(record["sent"] for record in hub.asked("GET /lfs")) < size


@pytest.mark.parametrize(
    ("name", "kind", "token"),
    [("gated", faults.Gated, "hf_other"), ("private", faults.NotThere, None), ("private", faults.NotThere, "hf_write")],
)
def test_who_may_not_read_is_told_why(hub, made, tmp_path, monkeypatch, name, kind, token):
    made.serve(hub, name)
    turn_to(hub, tmp_path / "home", monkeypatch, token)
    refusal(kind, source.resolve, REPOSITORIES[name].repo)


def test_a_wrong_token_is_named(hub, tmp_path, monkeypatch):
    turn_to(hub, tmp_path / "home", monkeypatch, "hf_forged")
    said = refusal(faults.WrongToken, vision)
    assert "hf_forged" not in said


def test_what_is_not_there_is_told(hub):
    refusal(faults.NotThere, source.resolve, "nobody/nothing")
    assert "no revision 'v9'" in refusal(faults.NoRevision, source.resolve, VISION.model, "v9")


def test_a_server_in_trouble_is_asked_again(hub, capsys):
    hub.fault("GET /api/models", status=503, times=2)
    assert vision().file == VISION.file
    assert capsys.readouterr().err.count("trying again") == 2


def test_a_head_that_is_damaged_is_no_matter_of_the_network(hub, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\xff" * 5000)
    hub.put_model("studio/damaged", tmp_path / "model")
    assert "model.safetensors is damaged" in refusal(faults.Damaged, source.resolve, "studio/damaged")


def test_a_head_is_asked_for_again(hub, made, capsys):
    made.serve(hub, "single_file")
    hub.fault("GET /lfs", status=503, times=2)
    refusal(faults.NotThere, source.resolve, REPOSITORIES["single_file"].repo)  # the configs, which are not served
    assert capsys.readouterr().err.count("trying again") == 2


def test_an_index_without_a_config(hub, made, tmp_path):
    folder = shutil.copytree(made.folder("own_checker"), tmp_path / "model")
    (folder / "unet" / "config.json").unlink()
    hub.put_model("studio/incomplete", folder)
    for words in ("studio/incomplete", str(folder)):
        assert "unet/config.json is missing" in refusal(faults.Incomplete, source.resolve, words)


def test_a_cache_that_cannot_be_written_to_is_named(hub, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert str(tmp_path / "file") in refusal(faults.NoCache, vision)


# Downloading.


def test_everything_is_downloaded_once(hub, capsys):
    """And told: how many files and bytes, and where to. Nothing but what is needed is asked for."""
    found = vision()
    download.fetch([found])
    said = capsys.readouterr().err
    total = sum(file.size for files in [found.files] for file in files)
    assert f"downloading {VISION.model}: " in said and constants.HF_HUB_CACHE in said
    assert total > 1_000_000 and download.missing([found]) == {}
    asked = len(hub.requests)
    download.fetch([found])
    assert len(hub.requests) == asked
    assert not [record for record in hub.requests if record["path"].endswith((".bin", ".ckpt"))]
    here = download.fetched(found)
    assert all(os.path.exists(os.path.join(here.location, file.path)) for file in found.files)


def test_a_reset_continues_the_file(hub, capsys):
    """What came in before it is not asked for again."""
    found = vision()
    large = next(file for file in found.files if file.path == VISION.file)
    hub.fault("GET /lfs", cut=large.size // 2, times=2)
    download.fetch([found])
    sent = sum(record["sent"] for record in hub.asked("GET /lfs"))
    assert large.size <= sent < 1.2 * large.size
    blob = os.path.join(download.fetched(found).location, VISION.file)
    assert hashlib.sha256(open(blob, "rb").read()).hexdigest() == large.sha256


def test_a_network_that_is_gone_keeps_what_came_in(hub, tmp_path, monkeypatch):
    """The next run begins where this one ended."""
    found = vision()
    large = next(file for file in found.files if file.path == VISION.file)
    hub.fault("GET /lfs", cut=large.size // 2, times=1)
    hub.fault("* /lfs", status=503, times=math.inf)
    said = refusal(faults.Interrupted, download.fetch, [found])
    assert "broke off at" in said
    hub.faults.clear()
    before = len(hub.requests)
    download.fetch([found])
    assert sum(record["sent"] for record in hub.asked("GET /lfs", since=before)) < 0.7 * large.size


def test_a_slow_hub_is_waited_for_without_its_address(hub, caplog, monkeypatch):
    """The client's own lines are many, and hold addresses by which anyone may download."""
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    hub.fault("GET /lfs", delay=2, times=1)
    found = vision()
    download.fetch([found])
    assert download.missing([found]) == {} and "http" not in caplog.text


def test_what_came_in_damaged_is_not_kept(hub, monkeypatch):
    """A half that is not the file's own is found by the digest, and the next try begins anew."""
    found = vision()
    large = next(file for file in found.files if file.path == VISION.file)
    part = download._part(found, large)
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"\0" * 1000)
    assert "came in damaged" in refusal(faults.Damaged, download.fetch, [found])
    download.fetch([found])
    assert download.missing([found]) == {}


def test_a_full_disk_is_one_line(hub, monkeypatch):
    found = vision()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    assert "the disk is full" in refusal(faults.NoSpace, download.fetch, [found])


# Offline.


def test_a_second_run_needs_no_network(hub, monkeypatch):
    """Neither with what a build recorded, nor by the branch's name."""
    first, checker = vision(), source.resolve_checker(vision(), None, VISION)
    download.fetch([first, checker])
    hub.stop()
    asked = len(hub.requests)
    assert vision(recorded=first.id).id == vision().id == first.id
    assert source.resolve_checker(first, None, VISION, checker.id).id == checker.id
    assert len(hub.requests) == asked
    hub.start()


def test_a_recorded_commit_is_kept(hub, made, tmp_path):
    """Though the branch has moved on."""
    first = vision()
    other = shutil.copytree(made.folder("realistic_vision"), tmp_path / "moved")
    (other / "README.md").write_text("new")
    hub.put_model(VISION.model, other)
    assert vision(recorded=first.id).id == first.id != vision().id


def test_nothing_here_and_no_network(hub):
    hub.stop()
    assert "cannot be reached" in refusal(faults.Unreachable, vision)
    hub.start()


def test_half_a_download_is_no_model_offline(hub):
    """The cache's configs alone are not taken for one: it is the network that is missing, not the weights."""
    first = vision()
    hub.stop()
    assert "cannot be reached" in refusal(faults.Unreachable, vision)
    assert "cannot be reached" in refusal(faults.Unreachable, vision, recorded=first.id)
    hub.start()


def test_what_others_have_in_the_cache_is_completed(hub, made):
    """Another program may have asked for the weights alone; what belongs to a recorded model is what the Hub lists."""
    made.serve(hub, "clip")
    model, reader = vision(), source.resolve_reader(REPOSITORIES["clip"].repo, "main")
    shutil.rmtree(constants.HF_HUB_CACHE)
    for each, names in ((model, [VISION.file]), (reader, ["config.json", "model.safetensors"])):
        for name in names:
            hf_hub_download(each.name, name, revision=each.revision)
    assert vision(recorded=model.id) == model
    assert source.resolve_reader(reader.name, "main", reader.id) == reader


def test_words_of_a_checker_may_name_a_revision(tmp_path):
    assert source.named("owner/name@refs/pr/41") == ("owner/name", "refs/pr/41")
    assert source.named("owner/name") == ("owner/name", "main")
    (tmp_path / "a@b").mkdir()
    assert source.named(str(tmp_path / "a@b")) == (str(tmp_path / "a@b"), "main")


@pytest.mark.parametrize("words", ["@main", "owner/name@", "@"])
def test_half_a_name_is_none(words):
    """An empty one would be the folder that the command was started in."""
    with pytest.raises(UserError, match="is written owner/name@revision"):
        source.named(words)


def test_sixteen_bits_for_a_gpu(hub, made):
    made.serve(hub, "fp16_variants")
    repo = REPOSITORIES["fp16_variants"].repo
    full, half = source.resolve(repo), source.resolve(repo, half=True)
    assert full.id == half.id
    assert sum(file.size for file in half.files) < 0.8 * sum(file.size for file in full.files)


def test_another_revision_of_the_tables_model_keeps_its_file():
    """Its folders may hold pickles there too; of another model the table's file says nothing."""
    at = GenerateConfig(model=f"{VISION.model}@refs/pr/4").plan.spec.recipe
    assert (at.model, at.revision, at.file) == (VISION.model, "refs/pr/4", VISION.file)
    assert GenerateConfig(model="owner/name@v1").plan.spec.recipe.file is None


def test_the_recipe_of_the_rehearsal_is_the_shipped_one():
    assert Recipe(model="preview").safety_checker == CHECKER == REPOSITORIES["checker"].repo
    assert REPOSITORIES["realistic_vision"].repo == VISION.model and repositories.INDEX["safety_checker"]


def test_a_log_is_told_how_a_download_goes():
    """How much of how much, how fast, and how long it will take."""
    received = download.Received(4_000_000_000, "downloading owner/name")
    received.started -= 10
    received.add(1_000_000_000)
    assert re.fullmatch(r"downloading owner/name: 1\.0 GB of 4\.0 GB, \d+ MB/s, 0:00:3\d left", received.line())
    received.close()
