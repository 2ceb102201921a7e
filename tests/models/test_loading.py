"""A model is named exactly, loaded whole from safetensors alone, and what cannot be loaded is one line."""

import contextlib
import hashlib
import json
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from builder.common.errors import UserError
from builder.models import loading, pipeline
from builder.models import source as models_source
from builder.models.identity import Source
from builder.plan.plan import Plan
from builder.plan.sample import Attempt
from builder.spec import table
from builder.spec.spec import Recipe
from tests.fixtures import checkers, random_weights, single_file

RECIPE = Recipe(model="preview", steps=2, width=64, height=64)
CPU = torch.device("cpu")
HUB = "owner/name"
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


@pytest.fixture(scope="module")
def checker(tmp_path_factory):
    """A safety checker that flags nothing."""
    folder = checkers.save(tmp_path_factory.mktemp("models") / "checker", flags=False)
    return Source("folder", "checker", str(folder), "sha256:1")


def resolve(path, **options):
    return models_source.resolve(str(path), **options)


def load(path, checker, **options):
    return loading.load(resolve(path, **options), RECIPE, CPU, checker)


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


# Folders.


@torch.inference_mode()
def test_folder_round_trip(saved, checker):
    """A saved and loaded model gives the very latents of the one in memory."""
    attempt = Attempt(Plan(table.load()).sample(0), 0, 1)
    built = pipeline.Pipeline(random_weights.build(), RECIPE, CPU)
    torch.testing.assert_close(load(saved, checker).denoise([attempt]), built.denoise([attempt]), rtol=0, atol=1e-5)


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


def test_folders_that_are_links(folder, tmp_path):
    """A part may lie elsewhere, and be shared; its content is the model's."""
    before = resolve(folder)
    (folder / "vae").rename(tmp_path / "shared")
    (folder / "vae").symlink_to(tmp_path / "shared")
    assert resolve(folder) == before


@pytest.mark.parametrize("words", [".", "../model", "./"])
def test_folder_named_by_place(folder, monkeypatch, words):
    """A folder's own name goes into the rows, however the command line points at it."""
    monkeypatch.chdir(folder)
    assert resolve(words).name == "model"


def test_folder_without_index(folder):
    """A folder that is not a diffusers model is refused, and the missing file is named."""
    (folder / "model_index.json").unlink()
    assert "holds no model_index.json" in refusal(resolve, folder)


def test_folder_of_pickles(folder):
    """A folder with only pickled weights is refused before anything is loaded."""
    for name in WEIGHTS:
        (folder / name).rename((folder / name).with_suffix(".bin"))
    assert "holds pickled weights only" in refusal(resolve, folder)


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
def test_folder_with_spoiled_weights(folder, checker, tmp_path, name, spoil):
    """A model is loaded whole, from safetensors, or refused in one line; a pickle's code never runs."""
    spoil(folder / name, Malicious(tmp_path / "proof"))
    assert "model: " in refusal(load, folder, checker)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_folder_lacks_a_part(folder, part):
    """A model without one of its parts is refused: without its words the tokenizer would read every prompt as empty."""
    shutil.rmtree(folder / part)
    assert "model: " in refusal(resolve, folder)


# Single files.


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.pth", "model.bin", "model.pkl"])
def test_pickle_file(tmp_path, name):
    """A pickled checkpoint is refused for what it is, without being opened."""
    (tmp_path / name).write_bytes(b"")
    assert "is a pickle, which can run code and is not loaded" in refusal(resolve, tmp_path / name)


def test_missing_file(tmp_path):
    """A file that is not there is told so."""
    path = tmp_path / "model.safetensors"
    assert refusal(resolve, path) == f"model {path}: there is no such file"


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A model as one file in the layout of Stable Diffusion's own code."""
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    save_file(single_file.weights(random_weights.build()), path, metadata={"format": "pt"})
    return path


@torch.inference_mode()
def test_file_round_trip(single, saved, checker):
    """A single file gives the very latents of the folder that it was made from; its revision is its digest."""
    attempt = Attempt(Plan(table.load()).sample(0), 0, 1)
    one, other = load(single, checker, config=saved), load(saved, checker)
    torch.testing.assert_close(one.denoise([attempt]), other.denoise([attempt]), rtol=0, atol=1e-5)
    source = resolve(single, config=saved)
    assert (source.kind, source.name) == ("file", "model.safetensors")
    assert source.revision.startswith(f"sha256:{hashlib.sha256(single.read_bytes()).hexdigest()}+sha256:")


@torch.inference_mode()
def test_a_folder_of_pickles_beside_a_single_file(folder, single, checker):
    """The single file is read, with the configs of the same folder."""
    for name in WEIGHTS:
        (folder / name).rename((folder / name).with_suffix(".bin"))
    shutil.copy(single, folder / "name.safetensors")
    attempt = Attempt(Plan(table.load()).sample(0), 0, 1)
    built = pipeline.Pipeline(random_weights.build(), RECIPE, CPU)
    assert resolve(folder).file == "name.safetensors"
    torch.testing.assert_close(load(folder, checker).denoise([attempt]), built.denoise([attempt]), rtol=0, atol=1e-5)


def without_text_encoder(folder):
    weights = load_file(folder / "name.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith(single_file.TEXT)}
    save_file(kept | {f"{single_file.TEXT}x": torch.zeros(1)}, folder / "name.safetensors", metadata={"format": "pt"})


def with_part(folder, part, library, kind):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, part: [library, kind]}))


def with_image_encoder(folder):
    with_part(folder, "image_encoder", "transformers", "CLIPVisionModelWithProjection")
    shutil.copytree(folder / "text_encoder", folder / "image_encoder")


def with_own_scheduler(folder):
    with_part(folder, "scheduler", "own_scheduler", "Own")


@pytest.mark.parametrize("spoil", [without_text_encoder, with_image_encoder, with_own_scheduler])
def test_nothing_but_the_single_file_is_read_for_weights(folder, single, checker, monkeypatch, spoil):
    """What it lacks is not taken from a pickle beside it, and no code that its index names is imported."""
    for name in WEIGHTS:
        (folder / name).rename((folder / name).with_suffix(".bin"))
    shutil.copy(single, folder / "name.safetensors")
    spoil(folder)
    for part in {"text_encoder", "image_encoder"} & {path.name for path in folder.iterdir()}:
        for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin"):
            torch.save({}, folder / part / name)
    (folder / "own_scheduler.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    loaded = []
    monkeypatch.setattr(torch, "load", lambda path, *_, **__: loaded.append(path) or {})
    with contextlib.suppress(UserError):
        load(folder, checker)
    assert loaded == [] and not Path("ran").exists()


def test_configs_of_another_kind(single, folder):
    """Those that are given for a single file are looked at like any other."""
    with_part(folder, "vae", "own_vae", "Own")
    assert "its vae is code of its own" in refusal(resolve, single, config=folder)


def lacks(part):
    def spoil(path, _):
        weights = load_file(path)
        del weights[max(name for name in weights if name.startswith(part))]
        save_file(weights, path, metadata={"format": "pt"})

    return spoil


PARTS = [lacks(part) for part in (single_file.UNET, single_file.VAE, single_file.TEXT)]


@pytest.mark.parametrize("spoil", [renamed_zip, renamed_pickle, half, *PARTS])
def test_file_is_spoiled(saved, single, checker, tmp_path, spoil):
    """A single file that is a pickle, half a download, or not a whole model ends in one line, and no code runs."""
    path = Path(shutil.copy(single, tmp_path / "model.safetensors"))
    spoil(path, Malicious(tmp_path / "proof"))
    assert "model.safetensors: " in refusal(load, path, checker, config=saved)
    assert not (tmp_path / "proof").exists()


def test_another_vae_takes_the_place_of_the_models_own(saved, folder, checker):
    """It decodes; noise and prompts are the model's as before."""
    vae = load_file(folder / WEIGHTS[1])
    save_file({name: value * 0.5 for name, value in vae.items()}, folder / WEIGHTS[1], metadata={"format": "pt"})
    other = models_source.resolve_vae(RECIPE.changed(vae=str(folder / "vae")))
    plain = loading.load(resolve(saved), RECIPE, CPU, checker)
    changed = loading.load(resolve(saved), RECIPE, CPU, checker, other)
    theirs, ours = changed.vae.state_dict(), plain.vae.state_dict()
    assert all(torch.equal(theirs[name], ours[name] * 0.5) for name in ours)
    assert other.kind == "folder" and other.revision.startswith("sha256:")


def test_a_vae_of_another_kind_is_refused(saved, checker, tmp_path):
    """Before anything is recorded, not when the first picture is decoded."""
    AutoencoderKL(latent_channels=16, block_out_channels=[8], norm_num_groups=4).save_pretrained(tmp_path / "vae")
    other = models_source.resolve_vae(RECIPE.changed(vae=str(tmp_path / "vae")))
    said = refusal(loading.load, resolve(saved), RECIPE, CPU, checker, other)
    assert "VAE vae: cannot be loaded: it decodes 16 channels" in said


def test_a_config_that_is_no_folder(tmp_path):
    """It is not taken for an empty one."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    place = tmp_path / "nowhere"
    said = refusal(resolve, tmp_path / "model.safetensors", config=place)
    assert said == f"--model-config {place}: there is no such folder"


@pytest.mark.parametrize("name", ["preview", "folder", HUB])
def test_a_config_for_what_is_no_file(saved, name):
    model = str(saved) if name == "folder" else name
    said = refusal(resolve, model, config=saved)
    assert said == f"--model-config goes with a .safetensors file, and {model} is none: leave it out"


# Words.


@pytest.mark.parametrize("words", ["not/a/model", "no such folder", "owner/na me"])
def test_not_a_model(words):
    """Words that are neither a path nor a Hub id are told so, without asking the network."""
    assert "no such folder or file here, and not a Hub id" in refusal(resolve, words)


@pytest.mark.parametrize(
    "call",
    [
        lambda words: models_source.resolve(words, "main"),
        lambda words: models_source.resolve_checker(Source("file", "", "", ""), words, RECIPE),
        lambda words: models_source.resolve_reader(words, "main"),
        lambda words: models_source.resolve_detector(words, "main"),
    ],
)
def test_a_home_folder_of_nobody(call):
    assert refusal(call, "~nobody1/x") == "~nobody1/x: there is no such user here; write the path in full"


# The preview.


def test_a_size_the_model_cannot_make(saved, checker):
    """A width that is no multiple of the model's latent factor is refused, not rounded."""
    with pytest.raises(UserError, match="sizes in steps of 32 pixels, not 72×64"):
        loading.load(resolve(saved), RECIPE.changed(width=72, height=64), CPU, checker)


def test_a_file_that_is_no_model(tmp_path):
    """A file with another ending is told apart from a Hub id, and upper case does not hide a pickle."""
    for name, message in (
        ("model.onnx", "is neither a diffusers folder nor"),
        ("model.CKPT", "is a pickle, which can run code"),
    ):
        (tmp_path / name).write_bytes(b"")
        assert message in refusal(resolve, tmp_path / name)
