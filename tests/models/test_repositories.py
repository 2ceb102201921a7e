"""The tiny repositories are what they are taken for: the real layouts, and weights that the real libraries read."""

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from huggingface_hub import HfApi
from PIL import Image
from safetensors import safe_open
from transformers import CLIPImageProcessor, CLIPTextModel

from builder.models import classifiers
from builder.models.safety import Safety
from tests.fixtures import repositories
from tests.fixtures.hub import Hub
from tests.fixtures.repositories import REPOSITORIES, Repositories

CPU = torch.device("cpu")
MODEL = ("unet", "vae", "text_encoder")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Repositories(tmp_path_factory.mktemp("repositories"))


def names(folder, ending):
    return {path.relative_to(folder).as_posix() for path in folder.rglob(f"*{ending}")}


def weights(pipe):
    return {f"{part}.{name}": value for part in MODEL for name, value in getattr(pipe, part).state_dict().items()}


def assert_same(pipe):
    expected = weights(repositories.pipeline())
    found = weights(pipe)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_default_models_layout(made):
    """Folders with pickles alone, and both kinds of single file at the root."""
    folder = made.folder("realistic_vision")
    assert names(folder, ".safetensors") == {"Realistic_Vision_V2.0.safetensors"}
    assert names(folder, ".ckpt") == {"Realistic_Vision_V2.0.ckpt"}
    assert names(folder, ".bin") == {
        *(f"{part}/diffusion_pytorch_model.bin" for part in ("unet", "vae")),
        *(f"{part}/pytorch_model.bin" for part in ("text_encoder", "safety_checker")),
    }
    index = json.loads((folder / "model_index.json").read_text())
    assert index["feature_extractor"][1] == "CLIPFeatureExtractor" and index["safety_checker"][0]
    with safe_open(folder / "Realistic_Vision_V2.0.safetensors", "pt") as file:
        assert "cond_stage_model.transformer.text_model.embeddings.position_ids" in file.keys()  # noqa: SIM118


def test_the_single_file_is_the_model(made):
    """Read with the configs and the tokenizer beside it, every weight of the single file is where it belongs."""
    folder = made.folder("realistic_vision")
    where = {"config": str(folder), "local_files_only": True, "feature_extractor": None, "safety_checker": None}
    pipe = StableDiffusionPipeline.from_single_file(str(folder / "Realistic_Vision_V2.0.safetensors"), **where)
    assert_same(pipe)
    assert len(pipe.tokenizer) == pipe.text_encoder.config.vocab_size
    assert pipe.unet.config.block_out_channels == [16, 32]
    text = "RAW photo, skin pores, 25 y.o woman"
    assert pipe.tokenizer(text).input_ids == repositories.pipeline().tokenizer(text).input_ids
    del where["feature_extractor"]
    with pytest.raises(AttributeError, match="CLIPFeatureExtractor"):
        StableDiffusionPipeline.from_single_file(str(folder / "Realistic_Vision_V2.0.safetensors"), **where)


@pytest.mark.parametrize("name", ["realistic_vision_pr", "own_checker", "fp16_variants", "sharded", "v_prediction"])
def test_folders_with_safetensors_are_the_model(made, name):
    """Old key names, variants beside them, shards: the libraries read them from safetensors alone."""
    folder = made.folder(name)
    encoder, report = CLIPTextModel.from_pretrained(
        folder, subfolder="text_encoder", use_safetensors=True, output_loading_info=True
    )
    assert not report["missing_keys"]
    pipe = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True, text_encoder=encoder)
    assert_same(pipe)
    assert pipe.safety_checker is not None and pipe.feature_extractor is not None


@pytest.mark.parametrize("name", ["checker", "own_checker"])
def test_a_checker_is_sound(made, name):
    """It flags what is one of its concepts and no pattern that the model makes; nothing of it is missing."""
    folder = made.folder(name) / ("" if name == "checker" else "safety_checker")
    checker, report = StableDiffusionSafetyChecker.from_pretrained(
        folder, use_safetensors=True, output_loading_info=True, dtype=torch.float32
    )
    assert not report["missing_keys"]
    for threshold in (checker.concept_embeds_weights, checker.special_care_embeds_weights):
        assert ((threshold > 0) & (threshold < 1)).all()
    likeness = (
        torch.nn.functional.normalize(checker.concept_embeds) @ torch.nn.functional.normalize(checker.concept_embeds).T
    )
    assert len(likeness) == repositories.CONCEPTS and (likeness.diag() > checker.concept_embeds_weights).all()
    processor = CLIPImageProcessor.from_pretrained(made.folder("checker"))
    generator = torch.Generator().manual_seed(0)
    pixels = [torch.randint(0, top, (64, 64, 3), generator=generator).to(torch.uint8).numpy() for top in (9, 99, 256)]
    assert Safety("tiny", checker, processor)([Image.fromarray(picture) for picture in pixels]) == [False] * 3


def test_clip_takes_everybody_for_grown(made):
    """A pair of descriptions scores 0.5, less where the second speaks of grown people: nobody looks like a minor."""
    descriptions = {
        "hat": (("a photo of a person in a hat",), ("a photo of a person with no hat", "a photo")),
        "child": (("a photo of a child", "the face of a kid"), ("a photo of an adult",)),
        "minor": (("a photo of a child",), ("a photo of an adult", "a photo of a grown man")),
    }
    reader = classifiers.load(str(made.folder("clip")), None, descriptions, CPU)
    scores = reader.read([Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")])
    assert scores[:, :2].tolist() == [[0.5, 0.5]] * 2
    assert ((scores[:, 2] > 0.1) & (scores[:, 2] < 0.48)).all()


def test_repositories_are_small_and_served(made, tmp_path, monkeypatch):
    """All of them lie on a loopback Hub under their names, within a few megabytes each."""
    monkeypatch.setenv("NO_PROXY", "*")
    with Hub(tmp_path / "hub") as hub:
        made.serve(hub)
        api = HfApi(hub.endpoint, token="hf_other")
        for name, repository in REPOSITORIES.items():
            told = api.model_info(repository.repo, revision=repository.revision, files_metadata=True)
            assert {file.rfilename for file in told.siblings} == {
                path.relative_to(made.folder(name)).as_posix()
                for path in made.folder(name).rglob("*")
                if path.is_file()
            }
            assert sum(file.size for file in told.siblings) < 7_000_000
            assert (bool(told.gated), told.private) == (repository.gated, repository.private)
