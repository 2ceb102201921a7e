"""A model of another kind is refused by its configs, before a weight is read, saying what it is and what runs."""

import json
import struct

import pytest

from builder.models import faults, kinds, repository
from tests.fixtures.inside import NOMINAL, PARTS, nominal_model

INDEX, UNET, TEXT = "model_index.json", "unet/config.json", "text_encoder/config.json"
SCHEDULER = "scheduler/scheduler_config.json"
RUNS = "; what runs here is Stable Diffusion 1.x from text to picture"


def refusal(tmp_path, changed):
    """What is said of a model whose JSON files were changed."""
    folder = nominal_model(tmp_path, **{path: {**NOMINAL[path], **values} for path, values in changed.items()})
    with pytest.raises(faults.ModelError) as caught:
        kinds.require(repository.in_folder("model", folder))
    return str(caught.value)


def test_stable_diffusion_runs(tmp_path):
    kinds.require(repository.in_folder("model", nominal_model(tmp_path)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({INDEX: {"_class_name": "StableDiffusionXLPipeline"}}, "it is a StableDiffusionXLPipeline"),
        ({INDEX: {"_class_name": "FluxPipeline"}}, "it is a FluxPipeline"),
        ({INDEX: {"_class_name": "StableDiffusionInpaintPipeline"}}, "it is a StableDiffusionInpaintPipeline"),
        ({UNET: {"in_channels": 9}}, "its UNet takes 9 channels"),
        ({UNET: {"cross_attention_dim": 2048}}, "its UNet and its text encoder do not fit (2048 wide)"),
        ({UNET: {"cross_attention_dim": 1024}, TEXT: {"hidden_size": 1024}}, "it is a Stable Diffusion 2"),
        ({UNET: {"addition_embed_type": "text_time"}}, "its UNet wants more than a prompt"),
        ({TEXT: {"vocab_size": 49408}}, "its tokenizer knows 1 tokens, its text encoder 49408"),
        ({SCHEDULER: {"prediction_type": "flow"}}, "its scheduler is for a model that predicts flow"),
        ({INDEX: {"unet": ["my_unet", "MyUNet"]}}, "its unet is code of its own (my_unet), which is not run"),
        ({INDEX: {"text_encoder": ["transformers", "T5EncoderModel"]}}, "its text_encoder is a T5EncoderModel"),
        ({INDEX: {"tokenizer": ["transformers", "T5Tokenizer"]}}, "its tokenizer is a T5Tokenizer"),
    ],
)
def test_another_kind_is_named(tmp_path, changed, message):
    said = refusal(tmp_path, changed)
    assert message in said and said.endswith(RUNS)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer"])
def test_a_part_that_is_not_named(tmp_path, part):
    assert f"names no {part}" in refusal(tmp_path, {INDEX: {part: None}})
    for odd in (5, {"a": 1}, [], ["diffusers"]):
        assert f"names no {part}" in refusal(tmp_path, {INDEX: {part: odd}})


@pytest.mark.parametrize("text", ["{", "[]", "5", "[" * 100_000, '{"a": ' * 100_000])
def test_a_config_that_is_no_json_object(tmp_path, text):
    folder = nominal_model(tmp_path)
    (folder / UNET).write_text(text)
    with pytest.raises(faults.Damaged, match=r"its unet/config\.json is damaged"):
        kinds.require(repository.in_folder("model", folder))


# Single files.

WEIGHTS = {kinds.INPUT: (320, 4, 3, 3), kinds.TEXT_ENCODER: (77, 768)}


def test_a_whole_file_runs():
    kinds.require_file("model", "a.safetensors", WEIGHTS)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"conditioner.embedders.0.x": (1,), **WEIGHTS}, "it is a Stable Diffusion XL"),
        ({**WEIGHTS, kinds.INPUT: (320, 9, 3, 3)}, "its UNet takes 9 channels"),
        ({kinds.INPUT: (320, 4, 3, 3)}, "it has no CLIP text encoder"),
        ({kinds.INPUT: (320, 4, 3, 3), "cond_stage_model.transformer.x": (1,)}, "it has no CLIP text encoder"),
        ({"lora_unet.x": (1,)}, "it is no whole Stable Diffusion model"),
        ({}, "it is no whole Stable Diffusion model"),
    ],
)
def test_a_file_of_another_kind_is_named(shapes, message):
    with pytest.raises(faults.WrongKind) as caught:
        kinds.require_file("model", "a.safetensors", shapes)
    assert message in str(caught.value) and str(caught.value).endswith(RUNS)


def head(header):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def test_shapes_come_from_the_head(tmp_path):
    tensor = {"shape": [1, 2], "data_offsets": [0, 8]}
    (tmp_path / "a.safetensors").write_bytes(head({"__metadata__": {}, "x": tensor}) + bytes(8))
    assert kinds.shapes_of("model", "a", tmp_path / "a.safetensors") == {"x": (1, 2)}


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\xff" * 64, head({"x": 5}), head([]), head({})[:9]])
def test_a_head_that_is_none(tmp_path, data):
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(faults.Damaged, match=r"a\.safetensors is damaged"):
        kinds.shapes_of("model", "a", tmp_path / "a.safetensors")


@pytest.mark.parametrize("length", [0, 7, 9])
def test_a_file_that_is_not_whole(tmp_path, length):
    (tmp_path / "a.safetensors").write_bytes(head({"x": {"shape": [2], "data_offsets": [0, 8]}}) + bytes(length))
    with pytest.raises(faults.Damaged, match=r"a\.safetensors is damaged: it has \d+ bytes, its head says \d+"):
        kinds.shapes_of("model", "a", tmp_path / "a.safetensors")


def test_the_parts_that_are_asked_for_are_those_of_the_library():
    assert {part: tuple(named) for part, named in PARTS.items() if part in kinds.CLASSES} == {
        part: (library, classes[0]) for part, (library, classes) in kinds.CLASSES.items()
    }
