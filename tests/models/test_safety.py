"""The safety checker: it is trusted by its digest or proves itself, and flags wherever it cannot tell."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from builder.common.errors import UserError
from builder.common.files import sha256
from builder.models import safety
from tests.fixtures import checkers

CPU = torch.device("cpu")


def picture(low, high):
    return Image.fromarray(np.random.default_rng(0).integers(low, high + 1, (64, 64, 3), dtype=np.uint8))


PICTURES = [picture(0, 60), picture(200, 255), Image.new("RGB", (40, 30))]


def load(folder):
    return safety.load(folder, folder, CPU, torch.float32)


def change(folder, **changes):
    """Write a checker's weights anew, with some of them changed in place; None takes one away."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    for name, function in changes.items():
        (key,) = (key for key in weights if key.endswith(name.replace("__", ".")))
        weights[key] = function(weights[key].clone()) if function else None
    save_file({key: value for key, value in weights.items() if value is not None}, path, metadata={"format": "pt"})


@pytest.mark.parametrize("flags", [True, False])
def test_a_checker_that_proves_itself_is_loaded_with_its_digest(tmp_path, flags):
    """Whether it flags much or little: what it is trusted for is that it flags its own concepts."""
    folder = checkers.save(tmp_path, flags)
    loaded = load(folder)
    assert loaded(PICTURES) == [flags] * 3
    assert loaded.sha256 == sha256(folder / "model.safetensors") and len(loaded.sha256) == 64


def test_weights_and_processor_may_lie_in_two_folders(tmp_path):
    weights, processor = checkers.save(tmp_path / "weights", True), checkers.save(tmp_path / "processor", True)
    (weights / "preprocessor_config.json").unlink()
    (processor / "model.safetensors").unlink()
    assert safety.load(weights, processor, CPU, torch.float32)(PICTURES) == [True] * 3


def fill(value, place=slice(None)):
    """A change: everything, or what stands at a place, becomes this value."""

    def changed(tensor):
        tensor[place] = value
        return tensor

    return changed


THRESHOLDS = "has thresholds that are not between 0 and 1"
BROKEN = {
    "one threshold above 1": ({"concept_embeds_weights": fill(1.01, 3)}, THRESHOLDS),
    "thresholds of 2": ({"concept_embeds_weights": fill(2.0)}, THRESHOLDS),
    "negative thresholds": ({"special_care_embeds_weights": fill(-0.1)}, THRESHOLDS),
    "thresholds of 1": ({"concept_embeds_weights": fill(1.0)}, "would not flag a picture of 13 of its 17 concepts"),
    "a concept of zeros": ({"concept_embeds": fill(0.0, 5)}, "would not flag a picture of some of its 17 concepts"),
    "concepts of zeros": ({"concept_embeds": fill(0.0)}, "would not flag a picture of some of its 17 concepts"),
    "care for nothing": ({"special_care_embeds": fill(0.0)}, "cares for nothing"),
    "NaN in a threshold": ({"concept_embeds_weights": fill(float("nan"), 0)}, "has weights that are not finite"),
    "NaN in a concept": ({"concept_embeds": fill(float("nan"), 0)}, "has weights that are not finite"),
    "infinite vision": ({"visual_projection__weight": fill(float("inf"), 0)}, "has weights that are not finite"),
    "blind": ({"visual_projection__weight": fill(0.0)}, "does not see pictures"),
    "a lost part": ({"concept_embeds_weights": None}, "1 weights are missing, concept_embeds_weights first"),
}


@pytest.mark.parametrize(("changes", "says"), BROKEN.values(), ids=BROKEN)
def test_a_checker_that_can_flag_nothing_is_refused(tmp_path, changes, says):
    """In one line that names it and says why."""
    folder = checkers.save(tmp_path / "odd", True)
    change(folder, **changes)
    with pytest.raises(UserError, match=f"^safety checker .*odd: .*{re.escape(says)}") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_what_calls_for_care_need_not_be_a_concept_itself(tmp_path):
    """As in the real checker: it only lowers the thresholds of the concepts."""
    folder = checkers.save(tmp_path / "real", True)
    change(folder, special_care_embeds=fill(torch.ones(8) / 8**0.5))
    assert load(folder).sha256


def test_a_checker_that_is_the_same_for_all_pictures_is_refused(tmp_path):
    """It would be finite, have sound concepts and thresholds, and flag whatever it is shown or nothing at all."""
    folder = checkers.save(tmp_path, False)
    change(folder, patch_embedding__weight=fill(0.0))
    with pytest.raises(UserError, match="does not see pictures"):
        load(folder)


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_a_checker_without_one_of_its_files_is_refused(tmp_path, lost):
    folder = checkers.save(tmp_path / "part", True)
    (folder / lost).unlink()
    with pytest.raises(UserError, match=f"^safety checker .*part: cannot be loaded: .*{lost}") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_not_loaded(tmp_path):
    folder = checkers.save(tmp_path, True)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        load(folder)


def test_the_known_weights_are_trusted_by_their_digest(tmp_path, monkeypatch):
    """And by it alone: the same weights with one bit changed must prove themselves."""
    folder = checkers.save(tmp_path, True)
    change(folder, concept_embeds_weights=fill(2.0))
    monkeypatch.setattr(safety, "KNOWN", sha256(folder / "model.safetensors"))
    assert load(folder).sha256 == safety.KNOWN
    change(folder, concept_embeds_weights=fill(2.0, 0), special_care_embeds_weights=fill(0.31))
    with pytest.raises(UserError, match="is not to be trusted"):
        load(folder)


def test_the_known_digest_is_a_whole_one():
    assert re.fullmatch("[0-9a-f]{64}", safety.KNOWN)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_checker_that_cannot_tell_flags(value):
    """Where a picture's embedding is not finite, or nothing at all, the picture is not kept."""
    checker, processor = checkers.build(False)
    sound = safety.Safety("checker", checker, processor)
    assert sound(PICTURES) == [False] * 3
    checker.visual_projection.weight.data[:] = value
    assert sound(PICTURES) == [True] * 3
