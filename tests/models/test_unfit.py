"""Nothing unfit leaves the pipeline as a picture, and nothing fit is lost when memory runs out."""

import contextlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessor

from builder.common.errors import UserError
from builder.models import loading, pipeline
from builder.models import safety as models_safety
from builder.models import source as models_source
from builder.models.source import Source
from builder.plan.plan import Plan
from builder.plan.sample import Attempt
from builder.spec import table
from builder.spec.criteria import KINDS
from builder.spec.spec import Recipe
from tests.experiments.kill import lines
from tests.fixtures import random_weights
from tests.fixtures.builds import OWN_TABLE
from tests.fixtures.inside import build

RECIPE = Recipe(model="preview", steps=2, width=64, height=64)
SAMPLE = Plan(table.load()).sample(0)
NOWHERE = Source("folder", "not/a/model", "not/a/model", "none")
CPU = torch.device("cpu")
ADULT, MINOR = replace(SAMPLE, id="adult", minor=False), replace(SAMPLE, id="minor", minor=True)
FLAGGED = "flagged by the safety checker"


def attempts_at(*samples):
    return [Attempt(sample, 0, seed) for seed, sample in enumerate(samples)]


def built():
    return pipeline.Pipeline(random_weights.build(), RECIPE, CPU)


# Not finite.


def spoil_unet(pipe, monkeypatch, value):
    forward = pipe.unet.forward

    def spoiled(sample, *args, **kwargs):
        output = forward(sample, *args, **kwargs)
        output.sample[1] = value
        return output

    monkeypatch.setattr(pipe.unet, "forward", spoiled)


def spoil_vae(pipe, monkeypatch, value):
    decode = pipe.vae.decode

    def spoiled(*args, **kwargs):
        (pictures,) = decode(*args, **kwargs)
        pictures[1, 0, 0, 0] = value
        return (pictures,)

    monkeypatch.setattr(pipe.vae, "decode", spoiled)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("spoil", [spoil_unet, spoil_vae])
def test_not_finite(monkeypatch, spoil, value):
    """A picture with one number that is not finite is a reason, not an image; its neighbours are what they were."""
    pipe, attempts = built(), attempts_at(ADULT, ADULT, MINOR)
    before = list(pipe.generate(attempts))
    spoil(pipe, monkeypatch, value)
    results = list(pipe.generate(attempts))
    assert [result.reason for result in results] == [None, "not finite", None]
    assert results[1].image is None
    for n in (0, 2):
        assert results[n].image.tobytes() == before[n].image.tobytes()


# Out of memory.


def limit_memory(pipe, monkeypatch, rows):
    """As if the UNet had memory for so many rows, two a picture; returns the sizes asked for."""
    sizes, forward = [], pipe.unet.forward

    def limited(sample, *args, **kwargs):
        sizes.append(len(sample))
        if len(sample) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has …")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(pipe.unet, "forward", limited)
    return sizes


@pytest.mark.parametrize("rows, messages", [(10, []), (4, [(5, 2)]), (3, [(5, 2), (2, 1)])])
def test_out_of_memory(monkeypatch, caplog, rows, messages):
    """Out of memory halves the batch, says so once, loses no picture and no order, and stays at what fits."""
    pipe, attempts = built(), attempts_at(*[ADULT] * 5)
    sizes = limit_memory(pipe, monkeypatch, rows)
    assert [result.attempt for result in pipe.generate(attempts)] == attempts
    assert [record.getMessage() for record in caplog.records] == [
        f"out of memory with {more} pictures at once: going on with {fewer}" for more, fewer in messages
    ]
    sizes.clear()
    assert [result.attempt for result in pipe.generate(attempts)] == attempts
    assert max(sizes) <= rows
    assert len(caplog.records) == len(messages)


def test_out_of_memory_while_decoding(monkeypatch):
    """Where memory runs out after some pictures were handed over, none is made twice and none is lost."""
    pipe, attempts, calls = built(), attempts_at(*[ADULT] * 7), []
    decode = pipe.vae.decode

    def limited(latents, **kwargs):
        calls.append(len(latents))
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(latents, **kwargs)

    monkeypatch.setattr(pipe.vae, "decode", limited)
    assert [result.attempt for result in pipe.generate(attempts)] == attempts
    assert calls == [4, 3, 3]


def test_out_of_memory_for_one(monkeypatch):
    """When not even one picture fits, the run ends in one line that names the device and the size."""
    pipe = built()
    limit_memory(pipe, monkeypatch, 1)
    with pytest.raises(UserError) as caught:
        list(pipe.generate(attempts_at(*[ADULT] * 5)))
    assert str(caught.value) == "cpu: not enough memory for one 64×64 picture"


# The safety checker: a tiny random one, with thresholds that everything or nothing passes.


@pytest.fixture(scope="module")
def safety():
    """Makes a safety checker and its image processor; it flags every picture, or none."""

    def make(flags):
        vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = CLIPConfig(vision_config={**vision, "image_size": 16, "patch_size": 8}, projection_dim=8)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            checker = StableDiffusionSafetyChecker(config)
        checker.concept_embeds_weights.data.fill_(-2.0 if flags else 2.0)
        return checker, CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})

    return make


@pytest.fixture
def fallback(tmp_path, safety):
    """A folder with a checker that flags every picture."""
    for part in safety(True):
        part.save_pretrained(tmp_path / "fallback")
    return Source("folder", "fallback", str(tmp_path / "fallback"), "sha256:1")


@pytest.fixture
def model(tmp_path):
    """Saves a tiny model as an ordinary one, with or without a safety checker of its own."""

    def save(checker=None, processor=None):
        parts = {**random_weights.build().components, "safety_checker": checker, "feature_extractor": processor}
        pipe = StableDiffusionPipeline(**parts, requires_safety_checker=False)
        pipe.save_pretrained(tmp_path / "model")
        return models_source.resolve(str(tmp_path / "model"), "main")

    return save


def outcome(pipe):
    results = list(pipe.generate(attempts_at(ADULT, MINOR, ADULT)))
    for result in results:
        assert (result.image is None) == (result.reason is not None)
    return [result.reason for result in results]


def test_flagged(model, fallback):
    """A flagged picture is a reason and no image; the row is told which checker it had to pass."""
    pipe = loading.load(model(), RECIPE, CPU, safety_checker=fallback)
    assert outcome(pipe) == [FLAGGED] * 3
    assert pipe.checker_of(ADULT) == pipe.checker_of(MINOR) == "fallback@sha256:1"


def picture(low, high, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(low, high + 1, (64, 64, 3), dtype=np.uint8))


def test_flags_follow_pictures(safety):
    """Every picture gets its own flag, in the order of the pictures."""
    dark, bright = picture(0, 60), picture(200, 255)
    checker, processor = safety(False)
    inputs = processor([dark, bright], return_tensors="pt").pixel_values
    with torch.inference_mode():
        embedded = torch.nn.functional.normalize(checker.visual_projection(checker.vision_model(inputs)[1]))
    checker.concept_embeds.data[0] = embedded[1]
    checker.concept_embeds_weights.data[0] = (1 + embedded[0] @ embedded[1]) / 2
    assert models_safety.Safety("checker", checker, processor)([dark, bright, dark]) == [False, True, False]


def test_flagged_adults_unchecked(model, fallback):
    """With adults unchecked theirs are kept though flagged; minors are rejected still."""
    pipe = loading.load(model(), RECIPE, CPU, safety_checker=fallback, check_adults=False)
    assert outcome(pipe) == [None, FLAGGED, None]
    assert (pipe.checker_of(ADULT), pipe.checker_of(MINOR)) == ("", "fallback@sha256:1")


def test_own_checker_preferred(model, safety, fallback):
    """The checkpoint's own checker is the one that decides, not the fallback."""
    pipe = loading.load(model(*safety(False)), RECIPE, CPU, safety_checker=fallback)
    assert outcome(pipe) == [None] * 3
    assert pipe.checker_of(MINOR) == "the model's own"


def test_own_checker_flags(model, safety):
    """The checkpoint's own checker needs no fallback."""
    assert outcome(loading.load(model(*safety(True)), RECIPE, CPU, safety_checker="")) == [FLAGGED] * 3


@pytest.mark.parametrize("check_adults, minors", [(True, True), (True, False), (False, True)])
def test_no_checker(model, check_adults, minors):
    """Whoever must be checked and cannot be is not made: there is one line, and no pipeline."""
    with pytest.raises(UserError) as caught:
        loading.load(model(), RECIPE, CPU, safety_checker=NOWHERE, check_adults=check_adults, minors=minors)
    assert "\n" not in str(caught.value)


def test_no_checker_named(model):
    """The line says that it is the safety checker that cannot be loaded, and which one: the model itself is fine."""
    with pytest.raises(UserError, match=r"safety checker.*not/a/model"):
        loading.load(model(), RECIPE, CPU, safety_checker=NOWHERE)


def test_no_checker_needed(model):
    """A run of adults alone, with adults unchecked, has no checker and asks for none."""
    pipe = loading.load(model(), RECIPE, CPU, safety_checker=NOWHERE, check_adults=False, minors=False)
    assert outcome(pipe) == [None] * 3
    assert pipe.checker_of(ADULT) == ""


def test_preview_has_no_checker():
    """The built-in preview shows nobody and has no checker."""
    pipe = loading.load(models_source.resolve("preview", "main"), RECIPE, CPU, safety_checker=NOWHERE)
    assert outcome(pipe) == [None] * 3
    assert pipe.checker_of(MINOR) == ""


@pytest.mark.parametrize("lost", ["vision_model", "concept_embeds"])
def test_own_checker_with_missing_weights(model, safety, fallback, lost):
    """A checkpoint's own checker that lacks weights is refused: the gap would be filled with random ones."""
    source = model(*safety(1))
    path = Path(source.location) / "safety_checker" / "model.safetensors"
    kept = {name: value for name, value in load_file(path).items() if lost not in name}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"model: cannot be loaded .* weights are missing"):
        loading.load(source, RECIPE, CPU, safety_checker=fallback)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_checker_that_cannot_tell_flags(safety, value):
    """Where the checker's own numbers are not finite, whatever it compares them with, the picture is not kept."""
    checker, processor = safety(False)
    sound = models_safety.Safety("checker", checker, processor)
    assert sound([picture(0, 60), picture(200, 255)]) == [False, False]
    checker.visual_projection.weight.data[0, 0] = value
    assert sound([picture(0, 60), picture(200, 255)]) == [True, True]


def test_a_checker_with_broken_weights_is_not_loaded(model, fallback, safety):
    """NaN among the thresholds would let everything pass."""
    checker, processor = safety(True)
    checker.concept_embeds_weights.data[0] = float("nan")
    with pytest.raises(UserError, match="weights that are not finite"):
        loading.load(model(checker, processor), RECIPE, CPU)


# The whole command, with a checker that flags everything.

FAMILIES = OWN_TABLE.replace("[30, 70]", "[10, 70]").replace(
    'model = "preview"', 'model = "preview"\nwidth = 64\nheight = 64\nsteps = 1\nmax_attempts = 2'
)
FAMILIES += '\n[minors]\npositive = ["wearing clothes"]\nnegative = ["nude"]\n'


@pytest.mark.parametrize(("flags", "kept"), [((), set()), (("--unchecked-adults",), {70})])
def test_a_build_never_keeps_a_flagged_minor(tmp_path, model, fallback, flags, kept):
    """--unchecked-adults lets adults pass and nobody else: every try at a minor is rejected, though asked for."""
    (tmp_path / "families.toml").write_text(FAMILIES)
    asked = ["--spec", str(tmp_path / "families.toml"), "--model", model().location, "--only", "fruit"]
    bare = [word for check in KINDS for word in ("--without", check)]
    asked += [*bare, "--safety-checker", fallback.location, *flags]
    nothing = pytest.raises(RuntimeError, match="no picture was kept, 40 tries were rejected, most often: flagged by")
    with contextlib.nullcontext() if kept else nothing:
        build(tmp_path, *asked, load=None, checks=None)
    plan = Plan(table.load(tmp_path / "families.toml"), ["fruit"])
    age = {sample.id: sample.age for shard in plan.shards for sample in plan.asked(shard)}
    rows, rejected = lines(tmp_path, "metadata.jsonl"), lines(tmp_path, "rejected.jsonl")
    assert Counter(row["id"] for row in rows) == Counter(id for id in age if age[id] in kept)
    assert Counter(row["id"] for row in rejected) == Counter({id: 2 for id in age if age[id] not in kept})
    assert {row["reason"] for row in rejected} == {FLAGGED} and {row["safety_checker"] for row in rows} <= {""}


@pytest.mark.parametrize(("only", "minors"), [("age/child", True), ("age/teenager", True), ("age/old", False)])
def test_a_plan_knows_its_minors(only, minors):
    plan = Plan(table.load(), [only])
    samples = [sample for shard in plan.shards for sample in plan.asked(shard)]
    assert samples and {sample.minor for sample in samples} == {minors} == {plan.minors}
