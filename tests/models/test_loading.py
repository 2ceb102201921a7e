"""A model is named exactly, loaded whole from safetensors alone, and what cannot be loaded is one line."""

import hashlib
import pickle
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from safetensors.torch import load_file, save_file

from builder.common.errors import UserError
from builder.models import loading, pipeline
from builder.models import source as models_source
from builder.models.source import Source
from builder.plan.plan import Plan
from builder.plan.sample import Attempt
from builder.spec import table
from builder.spec.spec import Recipe
from tests.fixtures import random_weights

RECIPE = Recipe(model="preview", steps=2, width=64, height=64)
CPU = torch.device("cpu")
HUB = "owner/name"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = [
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    random_weights.build().save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A model folder to spoil."""
    return shutil.copytree(saved, tmp_path / "model")


def resolve(path):
    return models_source.resolve(str(path), "main")


def load(path, **options):
    return loading.load(resolve(path), RECIPE, CPU, check_adults=False, minors=False, **options)


def refusal(call, *args, **options):
    with pytest.raises(UserError) as caught:
        call(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Malicious:
    """Unpickling it makes a file."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


def record(monkeypatch, method):
    """What diffusers is asked to load; it gives a tiny one for an answer."""
    calls = []

    def read(*args, **options):
        calls.append((args, options))
        return random_weights.build()

    monkeypatch.setattr(StableDiffusionPipeline, method, read)
    return calls


# Folders.


@torch.inference_mode()
def test_folder_round_trip(saved):
    """A saved and loaded model gives the very latents of the one in memory."""
    attempt = Attempt(Plan(table.load()).sample(0), 0, 1)
    built = pipeline.Pipeline(random_weights.build(), RECIPE, CPU)
    torch.testing.assert_close(load(saved).denoise([attempt]), built.denoise([attempt]), rtol=0, atol=1e-5)


def test_folder_digest(folder, tmp_path):
    """A folder's revision is its content: one byte changes it, a move or a README does not."""
    before = resolve(folder)
    assert (before.kind, before.name) == ("folder", "model")
    assert re.fullmatch("sha256:[0-9a-f]{64}", before.revision)
    (folder / "README.md").write_text("hello")
    moved = resolve(folder.rename(tmp_path / "elsewhere"))
    assert moved.revision == before.revision
    weights = Path(moved.location) / WEIGHTS[0]
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert resolve(moved.location).revision != before.revision


@pytest.mark.parametrize("words", [".", "../model", "./"])
def test_folder_named_by_place(folder, monkeypatch, words):
    """A folder's own name goes into the rows, however the command line points at it."""
    monkeypatch.chdir(folder)
    assert resolve(words).name == "model"


def test_folder_without_index(folder):
    """A folder that is not a diffusers model is refused, and the missing file is named."""
    (folder / "model_index.json").unlink()
    assert "no model_index.json in this folder" in refusal(resolve, folder)


def test_folder_of_pickles(folder):
    """A folder with only pickled weights is refused before anything is loaded."""
    for name in WEIGHTS:
        (folder / name).rename((folder / name).with_suffix(".bin"))
    assert "no .safetensors weights in this folder" in refusal(resolve, folder)


def renamed_zip(path, malicious):
    torch.save(malicious, path)


def renamed_pickle(path, malicious):
    path.write_bytes(pickle.dumps(malicious))


def only_bin(path, malicious):
    path.unlink()
    torch.save(malicious, path.with_name(path.name.replace("model.safetensors", "pytorch_model.bin")))
    torch.save(malicious, path.with_suffix(".bin"))


def half(path, _):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def one_weight_less(path, _):
    weights = load_file(path)
    del weights[sorted(weights)[0]]
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize("spoil", [renamed_zip, renamed_pickle, only_bin, half, one_weight_less])
@pytest.mark.parametrize("name", WEIGHTS)
def test_folder_with_spoiled_weights(folder, tmp_path, name, spoil):
    """A model is loaded whole, from safetensors, or refused in one line; a pickle's code never runs."""
    spoil(folder / name, Malicious(tmp_path / "proof"))
    assert "model: " in refusal(load, folder)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_folder_lacks_a_part(folder, part):
    """A model without one of its parts is refused: without its words the tokenizer would read every prompt as empty."""
    shutil.rmtree(folder / part)
    assert "model: " in refusal(load, folder)


# Single files.


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.pth", "model.bin", "model.pkl"])
def test_pickle_file(tmp_path, name):
    """A pickled checkpoint is refused for what it is, without being opened."""
    (tmp_path / name).write_bytes(b"")
    assert "pickled weights can run code and are not loaded" in refusal(resolve, tmp_path / name)


def test_missing_file(tmp_path):
    """A file that is not there is told so."""
    path = tmp_path / "model.safetensors"
    assert refusal(resolve, path) == f"--model {path}: there is no such file"


@pytest.mark.parametrize("spoil", [renamed_zip, renamed_pickle, half, one_weight_less])
def test_file_is_spoiled(saved, tmp_path, spoil):
    """A single file that is a pickle, half a download, or not a whole model ends in one line, and no code runs."""
    path = shutil.copy(saved / WEIGHTS[1], tmp_path / "model.safetensors")
    spoil(path, Malicious(tmp_path / "proof"))
    assert "model.safetensors: " in refusal(load, path, config=saved)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("config", ["folder", None])
def test_file_is_read_with_config(saved, tmp_path, monkeypatch, config):
    """A single file is read with the config folder and then without network; its revision is its digest."""
    calls = record(monkeypatch, "from_single_file")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    source = resolve(tmp_path / "model.safetensors")
    assert (source.kind, source.name) == ("file", "model.safetensors")
    assert source.revision == f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    load(tmp_path / "model.safetensors", config=saved if config else None)
    (((where,), options),) = calls
    assert where == str(tmp_path / "model.safetensors")
    offline = {name: options.get(name) for name in ("config", "local_files_only")}
    assert offline == ({"config": str(saved), "local_files_only": True} if config else dict.fromkeys(offline))


def test_a_config_that_is_no_folder(tmp_path):
    """It is not taken for an empty one."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    place = tmp_path / "nowhere"
    said = refusal(models_source.resolve, str(tmp_path / "model.safetensors"), "main", config=place)
    assert said == f"--model-config {place}: there is no such folder"


@pytest.mark.parametrize("name", ["preview", "folder", HUB])
def test_a_config_for_what_is_no_file(saved, name):
    model = str(saved) if name == "folder" else name
    said = refusal(models_source.resolve, model, "main", config=saved)
    assert said == f"--model-config goes with a .safetensors file, and {model} is none: leave it out"


# The Hub.


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Says how the Hub answers: with a commit or an error. The local cache is empty; returns what was asked."""
    asked = []

    def say(answer):
        def model_info(self, repo_id, revision=None, **options):
            asked.append((repo_id, revision))
            if isinstance(answer, Exception):
                raise answer
            return huggingface_hub.ModelInfo(id=repo_id, sha=answer, tags=[])

        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
        return asked

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return say


def test_hub_commit(hub):
    """A branch of a Hub model is written down as the commit that it stands for."""
    asked = hub(COMMIT)
    assert models_source.resolve(HUB, "fp16") == Source("hub", HUB, HUB, COMMIT)
    assert asked == [(HUB, "fp16")]


def test_hub_loads_the_commit(hub, monkeypatch):
    """What is loaded is that commit, safetensors only, whatever the branch is by then."""
    hub(COMMIT)
    calls = record(monkeypatch, "from_pretrained")
    monkeypatch.setattr(StableDiffusionPipeline, "load_config", lambda *args, **options: {})
    monkeypatch.setattr(loading, "_whole", lambda kind, where, **options: calls.append(((where,), options)))
    load(HUB)
    assert len(calls) == 2
    for (where,), options in calls:
        assert (where, options["revision"], options["use_safetensors"]) == (HUB, COMMIT, True)


def test_hub_unreachable(hub):
    """Without network and cache, one line says so and names the way out that needs neither."""
    hub(ConnectionError("no route\nto host"))
    message = refusal(resolve, HUB)
    assert "cannot be reached (ConnectionError)" in message
    assert "--model preview" in message


@pytest.mark.parametrize("kind", [RepositoryNotFoundError, RevisionNotFoundError, GatedRepoError])
def test_hub_says_no(hub, kind):
    """What the Hub does not have, or does not show, is told so: the local cache does not answer for it."""
    hub(kind("404\nClient Error", response=SimpleNamespace(headers={}, request=None)))
    assert "no such model or revision 'main', or it is private" in refusal(resolve, HUB)


def test_hub_unreachable_but_cached(hub, tmp_path):
    """Without network the commit is the one in the local cache."""
    hub(ConnectionError())
    cached = tmp_path / "cache" / "models--owner--name"
    (cached / "snapshots" / COMMIT).mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    (cached / "snapshots" / COMMIT / "model_index.json").write_text("{}")
    assert resolve(HUB).revision == COMMIT


def test_recorded(hub, folder):
    """A resumed run keeps its Hub model's commit and does not ask the network; anything else is looked at anew."""
    asked = hub(COMMIT)
    recorded = Source("hub", HUB, HUB, "f" * 40)
    assert models_source.resolve(HUB, "main", recorded) is recorded
    assert asked == []
    assert models_source.resolve("owner/other", "main", recorded).revision == COMMIT
    recorded = Source("folder", "model", str(folder), "sha256:0")
    assert models_source.resolve(str(folder), "main", recorded) == resolve(folder) != recorded


@pytest.mark.parametrize("words", ["not/a/model", "no such folder", "owner/na me"])
def test_not_a_model(words):
    """Words that are neither a path nor a Hub id are told so, without asking the network."""
    assert "no such folder or file here, and not a Hub id" in refusal(resolve, words)


@pytest.mark.parametrize(
    "call",
    [
        lambda words: models_source.resolve(words, "main"),
        lambda words: models_source.resolve_checker(Source("file", "", "", ""), words),
        lambda words: models_source.resolve_reader(words, "main"),
        lambda words: models_source.resolve_detector(words, "main"),
    ],
)
def test_a_home_folder_of_nobody(call):
    assert refusal(call, "~nobody1/x") == "~nobody1/x: there is no such user here; write the path in full"


def test_a_checks_model_that_is_out_of_reach_names_no_flag_of_another_command(hub):
    """calibrate and preview.agreement ask for it too, and have neither --model preview nor --without."""
    hub(ConnectionError())
    said = refusal(models_source.resolve_reader, HUB, "main")
    assert "give a local folder; builder/generate.py can leave the check out, --without attribute" in said
    assert "--model" not in said


# The preview.


def test_a_size_the_model_cannot_make(saved):
    """A width that is no multiple of the model's latent factor is refused, not rounded."""
    with pytest.raises(UserError, match="sizes in steps of 32 pixels, not 72×64"):
        loading.load(resolve(saved), RECIPE.changed(width=72, height=64), CPU, check_adults=False, minors=False)


def test_a_file_that_is_no_model(tmp_path):
    """A file with another ending is told apart from a Hub id, and upper case does not hide a pickle."""
    for name, message in (
        ("model.onnx", "is neither a diffusers folder nor"),
        ("model.CKPT", "pickled weights can run code"),
    ):
        (tmp_path / name).write_bytes(b"")
        assert message in refusal(resolve, tmp_path / name)
