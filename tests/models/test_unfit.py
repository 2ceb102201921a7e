"""Nothing unfit leaves the pipeline as a picture, and nothing fit is lost when memory runs out."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from builder.common.errors import UserError
from builder.common.files import sha256
from builder.models import loading, pipeline
from builder.models import safety as models_safety
from builder.models import source as models_source
from builder.models.identity import Source
from builder.plan.plan import Plan
from builder.plan.sample import Attempt
from builder.raw.build import RawBuild
from builder.spec import table
from builder.spec.criteria import KINDS
from builder.spec.spec import Recipe
from tests.experiments.kill import lines
from tests.fixtures import checkers, random_weights
from tests.fixtures.builds import OWN_TABLE
from tests.fixtures.inside import build

RECIPE = Recipe(model="preview", steps=2, width=64, height=64)
SAMPLE = Plan(table.load()).sample(0)
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
        output[0][1] = value
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
    """As if the UNet had memory for so many rows, one a picture and prompt; returns the sizes asked for."""
    sizes, forward = [], pipe.unet.forward

    def limited(sample, *args, **kwargs):
        sizes.append(len(sample))
        if len(sample) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has …")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(pipe.unet, "forward", limited)
    return sizes


@pytest.mark.parametrize("rows, messages", [(5, []), (2, [(5, 2)]), (1, [(5, 2), (2, 1)])])
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
    limit_memory(pipe, monkeypatch, 0)
    with pytest.raises(UserError) as caught:
        list(pipe.generate(attempts_at(*[ADULT] * 5)))
    assert str(caught.value) == "cpu: not enough memory for one 64×64 picture"


# The safety checker: a tiny random one, with thresholds that everything or nothing passes.


@pytest.fixture
def fallback(tmp_path):
    """A folder with a checker that flags every picture."""
    return found(checkers.save(tmp_path / "fallback", flags=True))


def found(folder, given=None):
    """The safety checker of a folder that is one, or of a model."""
    return models_source.resolve_checker(Source("file", "", "", ""), str(folder), RECIPE)


@pytest.fixture
def model(tmp_path):
    """Saves a tiny model as an ordinary one, with or without a safety checker of its own."""

    def save(flags=None):
        checker, processor = checkers.build(flags) if flags is not None else (None, None)
        parts = {**random_weights.build().components, "safety_checker": checker, "feature_extractor": processor}
        pipe = StableDiffusionPipeline(**parts, requires_safety_checker=False)
        pipe.save_pretrained(tmp_path / "model")
        return models_source.resolve(str(tmp_path / "model"))

    return save


def outcome(pipe):
    results = list(pipe.generate(attempts_at(ADULT, MINOR, ADULT)))
    for result in results:
        assert (result.image is None) == (result.reason is not None)
    return [result.reason for result in results]


def test_flagged(model, fallback):
    """A flagged picture is a reason and no image, whoever it shows."""
    assert outcome(loading.load(model(), RECIPE, CPU, fallback)) == [FLAGGED] * 3


def test_own_checker_preferred(model, fallback):
    """The checkpoint's own checker decides unless another one is given."""
    source = model(flags=False)
    own = models_source.resolve_checker(source, None, RECIPE.changed(safety_checker=fallback.location))
    assert (own.name, own.file) == ("model", "safety_checker/model.safetensors")
    assert outcome(loading.load(source, RECIPE, CPU, own)) == [None] * 3
    given = models_source.resolve_checker(source, fallback.location, RECIPE)
    assert outcome(loading.load(source, RECIPE, CPU, given)) == [FLAGGED] * 3


def test_own_checker_flags(model):
    """The checkpoint's own checker needs no other."""
    source = model(flags=True)
    own = models_source.resolve_checker(source, None, RECIPE)
    assert outcome(loading.load(source, RECIPE, CPU, own)) == [FLAGGED] * 3


def test_no_checker(model):
    """Without one there is one line, and no pipeline; where it is another file than was found, too."""
    with pytest.raises(UserError, match="no picture is made without a safety checker"):
        loading.load(model(), RECIPE, CPU)
    with pytest.raises(UserError, match=r"^safety checker.*no such folder or file here"):
        found("not/a/model")


def test_a_checker_that_changed_after_it_was_found_is_refused(model, fallback):
    with pytest.raises(UserError, match="its sha256 differs"):
        loading.load(model(), RECIPE, CPU, replace(fallback, sha256="0" * 64))


def test_preview_has_no_checker():
    """The built-in preview shows nobody and has no checker."""
    preview = models_source.resolve("preview")
    assert models_source.resolve_checker(preview, None, RECIPE) is None
    assert outcome(loading.load(preview, RECIPE, CPU)) == [None] * 3


@pytest.mark.parametrize("lost", ["vision_model", "concept_embeds"])
def test_own_checker_with_missing_weights(model, lost):
    """A checkpoint's own checker that lacks weights is refused: the gap would be filled with random ones."""
    source = model(flags=True)
    path = Path(source.location) / "safety_checker" / "model.safetensors"
    kept = {name: value for name, value in load_file(path).items() if lost not in name}
    save_file(kept, path, metadata={"format": "pt"})
    own = models_source.resolve_checker(source, None, RECIPE)
    with pytest.raises(UserError, match=r"safety checker model: cannot be loaded: .* weights are missing"):
        loading.load(source, RECIPE, CPU, own)


def picture(low, high, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(low, high + 1, (64, 64, 3), dtype=np.uint8))


def test_flags_follow_pictures():
    """Every picture gets its own flag, in the order of the pictures."""
    dark, bright = picture(0, 60), picture(200, 255)
    checker, processor = checkers.build(flags=False)
    inputs = processor([dark, bright], return_tensors="pt").pixel_values
    with torch.inference_mode():
        embedded = torch.nn.functional.normalize(checker.visual_projection(checker.vision_model(inputs)[1]))
    checker.concept_embeds.data[0] = embedded[1]
    checker.concept_embeds_weights.data[0] = (1 + embedded[0] @ embedded[1]) / 2
    assert models_safety.Safety("checker", checker, processor)([dark, bright, dark]) == [False, True, False]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_checker_that_cannot_tell_flags(value):
    """Where the checker's own numbers are not finite, whatever it compares them with, the picture is not kept."""
    checker, processor = checkers.build(flags=False)
    sound = models_safety.Safety("checker", checker, processor)
    assert sound([picture(0, 60), picture(200, 255)]) == [False, False]
    checker.visual_projection.weight.data[0, 0] = value
    assert sound([picture(0, 60), picture(200, 255)]) == [True, True]


# The whole command, with a checker that flags everything.

FAMILIES = OWN_TABLE.replace("[30, 70]", "[10, 70]").replace(
    "width = 16\nheight = 16", "width = 64\nheight = 64\nsteps = 1\nmax_attempts = 2"
)
FAMILIES += '\n[minors]\npositive = ["wearing clothes"]\nnegative = ["nude"]\n'


def test_a_build_never_keeps_a_flagged_picture(tmp_path, model, fallback):
    """Every try is rejected, at minors and at adults alike, and the run says so."""
    (tmp_path / "families.toml").write_text(FAMILIES)
    asked = ["--spec", str(tmp_path / "families.toml"), "--model", model().location, "--only", "fruit"]
    bare = [word for check in KINDS for word in ("--without", check)]
    nothing = "no picture was kept, 40 tries were rejected, most often: flagged by"
    with pytest.raises(RuntimeError, match=nothing):
        build(tmp_path, *asked, *bare, "--safety-checker", fallback.location, load=None, checks=None)
    plan = Plan(table.load(tmp_path / "families.toml"), ["fruit"])
    ids = [sample.id for shard in plan.shards for sample in plan.asked(shard)]
    rows, rejected = lines(tmp_path, "metadata.jsonl"), lines(tmp_path, "rejected.jsonl")
    assert rows == [] and Counter(row["id"] for row in rejected) == Counter(dict.fromkeys(ids, 2))
    assert {row["reason"] for row in rejected} == {FLAGGED}
    assert not list(tmp_path.glob("agfd30k-raw/shards/*/images/*"))


def test_every_row_names_the_checker_that_passed_it(tmp_path, model):
    """By its file's digest; the recipe names the same."""
    (tmp_path / "families.toml").write_text(FAMILIES)
    asked = [
        "--spec",
        str(tmp_path / "families.toml"),
        "--model",
        model(flags=False).location,
        "--only",
        "fruit/banana",
    ]
    bare = [word for check in KINDS for word in ("--without", check)]
    build(tmp_path, *asked, *bare, load=None, checks=None)
    recipe = RawBuild.open(tmp_path / "agfd30k-raw").recipe
    path = tmp_path / "model" / "safety_checker" / "model.safetensors"
    assert recipe.safety_checker.sha256 == sha256(path) and recipe.safety_checker.file
    assert {row["safety_checker"] for row in lines(tmp_path, "metadata.jsonl")} == {str(recipe.safety_checker)}


@pytest.mark.parametrize(("only", "minors"), [("age/child", True), ("age/teenager", True), ("age/old", False)])
def test_a_plan_knows_its_minors(only, minors):
    plan = Plan(table.load(), [only])
    samples = [sample for shard in plan.shards for sample in plan.asked(shard)]
    assert samples and {sample.minor for sample in samples} == {minors} == {plan.minors}
