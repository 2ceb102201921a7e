"""Readers: real CLIP, SigLIP and ResNet models, tiny and with random weights, saved and loaded as anybody's are."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    ConvNextImageProcessor,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from builder.checks import loading
from builder.common.errors import UserError
from builder.models import source as models_source
from builder.models.classifiers import Classifier, ZeroShot, load
from builder.models.identity import Source
from builder.spec import table
from tests.fixtures.builds import picture_of
from tests.fixtures.random_weights import _tokenizer

CPU = torch.device("cpu")
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION |= {"image_size": 32, "patch_size": 8}
TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
DESCRIPTIONS = {
    "smile": (("a smiling person", "a laughing person"), ("a serious person",)),
    "frown": (("a serious person",), ("a smiling person", "a laughing person")),
    "nothing": (("a person",), ("a person",)),
}
PICTURES = [picture_of(seed, 48) for seed in range(6)]


def clip(folder):
    words = _tokenizer()
    text = TEXT | {"vocab_size": len(words), "eos_token_id": words.eos_token_id, "max_position_embeddings": 32}
    CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    words.save_pretrained(folder)


def siglip(folder):
    words = sorted({word for yes, no in DESCRIPTIONS.values() for text in yes + no for word in text.split()})
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(["<pad>", "<unk>", *words])}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "model_input_names": ["input_ids"]}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    text = TEXT | {"vocab_size": len(words) + 2, "max_position_embeddings": 8, "projection_size": 16}
    SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def resnet(folder):
    labels = dict(enumerate(["smile", "male", "female", "one_face"]))
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    ResNetForImageClassification(ResNetConfig(**sizes, num_labels=4, id2label=labels)).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=1.0).save_pretrained(folder)


KINDS = {"clip": clip, "siglip": siglip, "resnet": resnet}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with each of the models."""
    folder = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, save in KINDS.items():
            save(folder / name)
    return folder


@pytest.fixture
def spoiled(saved, tmp_path):
    """Copies a model to be spoiled."""
    return lambda name: shutil.copytree(saved / name, tmp_path / name)


def reader(folder):
    return load(str(folder), None, DESCRIPTIONS, CPU)


@pytest.mark.parametrize(
    ("name", "kind", "labels"),
    [
        ("clip", ZeroShot, list(DESCRIPTIONS)),
        ("siglip", ZeroShot, list(DESCRIPTIONS)),
        ("resnet", Classifier, ["smile", "male", "female", "one_face"]),
    ],
)
def test_a_reader_gives_each_picture_a_score_for_each_label(saved, name, kind, labels):
    """From 0 to 1, in order; the same alone as among others, whatever the pictures' sizes and modes."""
    found = reader(saved / name)
    assert type(found) is kind and found.labels == labels
    scores = found.read(PICTURES)
    assert scores.shape == (6, len(labels)) and scores.dtype == np.float32
    assert (scores >= 0).all() and (scores <= 1).all() and len(np.unique(scores[:, 0])) == 6
    np.testing.assert_allclose(np.concatenate([found.read([image]) for image in PICTURES]), scores, atol=1e-5)
    others = [picture_of(9, 200).convert("L"), picture_of(9, 40).convert("RGBA")]
    assert found.read(others).shape == (2, len(labels))


@pytest.mark.parametrize("name", KINDS)
def test_a_reader_says_the_same_every_time(saved, name):
    np.testing.assert_array_equal(reader(saved / name).read(PICTURES), reader(saved / name).read(PICTURES))


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_descriptions_and_their_opposites_change_places(saved, name):
    """What is held against itself is a half; what is held against its opposite is 1 less the reverse."""
    smile, frown, nothing = reader(saved / name).read(PICTURES).T
    np.testing.assert_allclose(smile + frown, 1, atol=1e-5)
    np.testing.assert_allclose(nothing, 0.5, atol=1e-6)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_the_score_is_the_models_own_similarity(saved, name):
    """With one description on each side it is the sigmoid of the difference of the model's own logits."""
    yes, no = "a smiling person", "a serious person"
    found = load(str(saved / name), None, {"smile": ((yes,), (no,))}, CPU)
    most = found.model.config.text_config.max_position_embeddings
    words = found.tokenizer([yes, no], padding="max_length", max_length=most, return_tensors="pt")
    with torch.inference_mode():
        logits = found.model(pixel_values=found.pixels(PICTURES), **words).logits_per_image
    expected = (logits[:, 0] - logits[:, 1]).sigmoid()
    np.testing.assert_allclose(found.read(PICTURES)[:, 0], expected, atol=1e-5)


def test_a_picture_is_nearest_to_itself(saved):
    """A reader whose description is a picture's own embedding gives that picture the highest score."""
    found = reader(saved / "clip")
    with torch.inference_mode():
        seen = found.model.get_image_features(pixel_values=found.pixels(PICTURES))
    own = torch.nn.functional.normalize(getattr(seen, "pooler_output", seen), dim=-1)
    found.directions = own
    found.model.logit_scale.data.zero_()  # a large scale makes all near ones 1
    assert (found.read(PICTURES).argmax(axis=0) == np.arange(6)).all()


def test_numbers_that_are_not_finite_are_no_scores(saved):
    """What half precision cannot hold must not pass as seen: it ends in one line."""
    found = reader(saved / "resnet")
    found.model.classifier[-1].bias.data[:] = float("nan")
    with pytest.raises(UserError, match="attribute check: its model gives numbers that are not finite"):
        found.read(PICTURES)


# What cannot be loaded.


def refused(folder):
    """The line that a build ends in whose attribute check has this model."""
    spec = table.load()
    source = Source("folder", folder.name, str(folder), "sha256:1")
    with pytest.raises(UserError) as caught:
        loading._reader(spec, source, CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", KINDS)
def test_missing_weights_are_refused(spoiled, name):
    """A gap would be filled with random weights, which give scores too."""
    path = spoiled(name) / "model.safetensors"
    weights = load_file(path)
    lost = sorted(key for key in weights if key.endswith("weight"))[0]
    save_file({key: value for key, value in weights.items() if key != lost}, path, metadata={"format": "pt"})
    assert f"{name}: cannot be loaded: 1 weights are missing, {lost} first" in refused(path.parent)


@pytest.mark.parametrize("name", KINDS)
def test_pickled_weights_are_not_read(spoiled, name):
    """Neither when the model is named nor, should the folder change after that, when it is loaded."""
    folder = spoiled(name)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds pickled weights only"):
        models_source.resolve_reader(str(folder), "main")
    assert f"{name}: cannot be loaded" in refused(folder)


def test_a_model_of_neither_kind_is_refused(tmp_path):
    BertModel(BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)).save_pretrained(
        tmp_path / "bert"
    )
    assert "neither a CLIP or SigLIP model nor an image classifier: BertModel" in refused(tmp_path / "bert")


def test_code_of_a_repository_is_not_run_and_nobody_is_asked(spoiled):
    """A repository that brings code of its own is refused, also on a terminal, where transformers would ask."""
    folder = spoiled("clip")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('run!')\n")
    assert "clip: cannot be loaded" in refused(folder)


@pytest.mark.parametrize("lost", ["preprocessor_config.json", "tokenizer.json", "config.json"])
def test_what_comes_with_a_model_must_be_there(spoiled, lost):
    folder = spoiled("siglip")
    names = [path.name for path in folder.iterdir()]
    assert {lost, "model.safetensors"} <= set(names) | {lost}
    for path in folder.glob(lost.replace("preprocessor", "*processor")):
        path.unlink()
    assert "siglip: cannot be loaded" in refused(folder)


def test_the_table_tells_the_model_what_to_look_for(saved):
    """The checks of the default table with a CLIP model have a score for every feature that is not light."""
    spec, source = table.load(), models_source.resolve_reader(str(saved / "clip"), "main")
    assert source.kind == "folder" and source.revision.startswith("sha256:")
    found = loading._reader(spec, source, CPU)
    assert {f.name for f in spec.features} - set(found.labels) == {"strong_light", "dark"}
    assert {"male", "female"} <= set(found.labels)
