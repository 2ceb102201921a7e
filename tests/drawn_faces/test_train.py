"""Training of the preview model: every stage learns for a few steps, stops, goes on, and ends in a loadable model."""

import dataclasses
import itertools
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from builder.common.errors import UserError
from builder.models import loading
from builder.models import source as models_source
from builder.spec import table
from builder.spec.prompts import render
from builder.spec.spec import Recipe
from drawn_faces.drawing.draw import FEATURES, Labels, look_of
from drawn_faces.drawing.truth import FEATURES as TOLD
from drawn_faces.drawing.truth import LABELS, NATURAL, truth
from drawn_faces.training import autoencoder, denoiser, loop, networks, train
from drawn_faces.training.captions import random_caption
from drawn_faces.training.drawings import LatentFile

SPEC = table.load()


def shown(feature, seed=0, obey=True, age=30, phrase=""):
    look = look_of(Labels(feature, "female", "latino", age, phrase), seed, obey)
    return dict(zip(LABELS, truth(look)))


@pytest.mark.parametrize("feature", [name for name in FEATURES if name in TOLD and name != "base"])
def test_truth_follows_obedience(feature):
    """What was asked for is there when the drawing obeys, and not there when it does not."""
    age = {"child": 2, "teenager": 12, "young_adult": 30, "old_adult": 50, "old": 80}.get(feature, 30)
    for seed in range(10):
        assert shown(feature, seed, age=age)[feature] == 1
        assert shown(feature, seed, obey=False, age=age)[feature] == 0


PERSON = ("male", "female", "one_face")


def test_truth_of_a_plain_portrait():
    """Nothing special is there but what a face may have of itself."""
    for seed in range(20):
        answers = shown("base", seed)
        assert answers["base"] == 1
        assert {label for label, value in answers.items() if value == 1} <= {"base", "young_adult", *PERSON, *NATURAL}


def test_captions_are_balanced_and_in_the_tables_own_words():
    """Features come up equally often whatever their quotas, and whole captions are prompts of the table."""
    rng = np.random.default_rng(0)
    captions = [random_caption(SPEC, rng) for _ in range(3200)]
    counts = Counter(caption.feature for caption in captions)
    assert len(counts) == 32 and max(counts.values()) < 2 * min(counts.values())
    by_name = {feature.name: feature for feature in SPEC.features}
    whole = short = 0
    for c in captions[:400]:
        feature = by_name[c.feature]
        prompts = [render(SPEC, feature, c.age, s, c.ethnicity, c.phrase)[0] for s in feature.subjects[c.sex]]
        whole += c.prompt in prompts
        short += len(c.prompt) < 110 and SPEC.ethnicities[c.ethnicity] in c.prompt
    assert whole > 200 and short > 60 and whole + short >= 400


def test_an_inner_autoencoder_is_taken_over_by_the_whole_one():
    """Blocks that fit are copied to their places: the decoder's first, the encoder's last."""
    low, whole = networks.autoencoder(networks.LOW_CHANNELS), networks.autoencoder()
    autoencoder._take_over(whole, low)
    shift = len(networks.CHANNELS) - len(networks.LOW_CHANNELS)
    pairs = [
        (low.encoder.down_blocks[-1], whole.encoder.down_blocks[-1]),
        (low.decoder.mid_block, whole.decoder.mid_block),
    ]
    pairs.append((low.encoder.down_blocks[1], whole.encoder.down_blocks[1 + shift]))
    for one, other in pairs:
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name])


def test_a_stopped_stage_goes_on_where_it_was(tmp_path, monkeypatch):
    """Weights, average, optimizer and step come back: the rest of the stage sees the rest of its samples."""
    clock = itertools.count(0, 30)
    monkeypatch.setattr(loop, "SAVED_EVERY", 0)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    stage = loop.Stage("line", samples=80, batch_size=4, rate=0.05, average=0.5)
    seen = []

    def batches(limit):
        for number in range(limit):
            seen.append(number)
            yield torch.full((4, 1), float(number % 5))

    def loss_of(model, batch):
        return (model(batch) - 3 * batch).pow(2).mean()

    model = torch.nn.Linear(1, 1)
    with pytest.raises((StopIteration, RuntimeError)):
        loop.fit(stage, tmp_path, model, lambda step: batches(12), loss_of)
    loop.fit(stage, tmp_path, torch.nn.Linear(1, 1), lambda step: batches(100), loss_of)
    assert len(seen) == 20
    lines = (tmp_path / "line.log").read_text().splitlines()
    assert len(lines) == 20
    assert lines[-1].startswith("line: 80 samples")
    assert lines[-1].endswith("0.1 samples/s, 10 min so far, 0 min left")
    assert lines[9].endswith("5 min so far, 5 min left")


@pytest.mark.parametrize("torn", ["values", "captions"])
def test_latents_that_were_torn_off_are_made_again(tmp_path, torn):
    """What was half written when the process died is cut off, and the rows after it stay with their captions."""
    file = LatentFile(tmp_path, (2, 2, 2))
    captions = [random_caption(SPEC, np.random.default_rng(n)) for n in range(6)]
    latents, centres = torch.arange(48.0).view(6, 2, 2, 2), torch.rand(6, 2)
    file.append(latents[:4], captions[:4], centres[:4])
    path = getattr(file, torn)
    path.write_bytes(path.read_bytes()[:-5])
    again = LatentFile(tmp_path, (2, 2, 2))
    assert again.count == 3
    again.append(latents[4:], captions[4:], centres[4:])
    kept = [0, 1, 2, 4, 5]
    found = again.read()
    assert torch.equal(found[0], latents[kept].half())
    assert found[1] == [captions[n] for n in kept]
    assert torch.equal(found[2], centres[kept])


def test_even_latents_make_the_same_pictures():
    """Every axis is scaled by the root of its spread, and the autoencoder gives and takes the new latents itself."""
    torch.manual_seed(0)
    vae = networks.autoencoder(networks.LOW_CHANNELS).eval()
    spread = torch.logspace(-1, 1, networks.LATENTS)
    with torch.no_grad():
        vae.quant_conv.weight[: networks.LATENTS] *= spread[:, None, None, None]
        vae.quant_conv.bias += 1
        before = vae.encode(pictures := torch.rand(16, 3, 128, 128)).latent_dist.mode()
        drawn = vae.decode(before).sample
    even = denoiser.even_out(before, vae)
    factor = vae.config.scaling_factor
    with torch.no_grad():
        torch.testing.assert_close(vae.encode(pictures).latent_dist.mode() * factor, even, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(vae.decode(even / factor).sample, drawn, rtol=1e-3, atol=1e-3)
    assert even.std().item() == pytest.approx(1, abs=1e-3)
    cells = [latents.movedim(1, -1).reshape(-1, networks.LATENTS) for latents in (before, even)]
    ranges = [torch.linalg.eigvalsh(torch.cov(one.T)).clamp(min=1e-9).sqrt() for one in cells]
    assert ranges[1][-1] / ranges[1][-8] == pytest.approx((ranges[0][-1] / ranges[0][-8]).sqrt().item(), rel=0.1)


def test_the_face_counts_most():
    """Weights are 1 on average and largest at the face's centre, wherever it is."""
    weights = denoiser.face_weights(torch.tensor([[0.5, 0.5], [0.3, 0.7]]))
    assert weights.shape == (2, 1, 16, 16)
    torch.testing.assert_close(weights.mean(dim=(1, 2, 3)), torch.ones(2))
    assert divmod(weights[1].argmax().item(), 16) == (11, 4)
    assert weights[0].max() > 4 * weights[0].min()


@pytest.fixture
def threads():
    """Gives torch back the threads it had before the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_stages_share_the_cores_with_those_who_draw(tmp_path, monkeypatch):
    """The text tower and the UNet have all cores; beside the others every drawing process has one, torch the rest."""
    monkeypatch.setattr(train.os, "cpu_count", lambda: 5)
    seen = {}
    for name in train.STAGES:
        monkeypatch.setattr(
            train.Training, name, lambda self, stage: seen.update({stage.name: torch.get_num_threads()})
        )
    train.Training(tmp_path, 1.0, workers=3).run("unet")
    assert seen == dict.fromkeys(train.STAGES, 2) | {"text": 5, "unet": 5}
    train.Training(tmp_path, 1.0, workers=8).run("tiny")
    assert seen["tiny"] == 1


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_every_stage_learns_a_little_and_the_model_loads(tmp_path, monkeypatch):
    """A few steps of everything end in a diffusers folder that the builder's own pipeline makes a picture with."""
    small = dict.fromkeys(train.STAGES, 1) | {"text": 16, "verifier": 4, "latents": 8, "unet": 8}
    monkeypatch.setattr(
        train,
        "STAGES",
        {name: dataclasses.replace(train.STAGES[name], samples=2 * n, batch_size=n) for name, n in small.items()},
    )
    monkeypatch.setattr(train, "pictures", lambda *args: train.Image.new("RGB", (8, 8)))
    assert train.main(["--out", str(tmp_path), "--workers", "0"]) == 0
    saved = models_source.resolve(str(tmp_path / "weights" / "model"), "main")
    source = dataclasses.replace(saved, kind="preview")
    made = loading.load(source, Recipe(model="preview", steps=2), torch.device("cpu"))
    plan = train.Plan(SPEC)
    (result,) = made.generate([plan.attempt(plan.sample(5000), 0)])
    assert result.image.size == (512, 512)
    verifier = networks.ResNetForImageClassification.from_pretrained(tmp_path / "weights" / "verifier")
    assert list(verifier.config.id2label.values()) == LABELS


@pytest.mark.parametrize(
    ("options", "says"),
    [
        *((["--share", share], "train: --share must be a number above 0 and at most 100") for share in ("nan", "0")),
        (["--share", "-1"], "train: --share must be a number above 0 and at most 100, got -1.0"),
        (["--share", "inf"], "train: --share must be a number above 0 and at most 100, got inf"),
        (["--workers", "-1"], "drawn_faces.training.train: --workers: must be a whole number from 0"),
    ],
)
def test_what_cannot_be_trained_is_one_line(tmp_path, capsys, options, says):
    assert train.main(["--out", str(tmp_path / "out"), *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith(says) and said.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[:-100], lambda data: b"x" * 100, None])
def test_a_checkpoint_that_cannot_be_read_is_one_line(tmp_path, spoil):
    """Half of one, or one of another model."""
    stage = loop.Stage("s", samples=4, batch_size=2, rate=0.1, average=0.5)

    def fit(width):
        ones = iter(lambda: torch.ones(1, width), None)
        model = torch.nn.Linear(width, 1)
        loop.fit(stage, tmp_path, model, lambda step: ones, lambda net, batch: net(batch).sum())

    fit(2)
    path = tmp_path / "s.ckpt"
    if spoil:
        path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match=r"s.ckpt: damaged; remove it, and the stage begins anew"):
        fit(2 if spoil else 3)
    path.unlink()
    fit(3)
