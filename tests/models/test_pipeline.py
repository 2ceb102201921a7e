"""The pipeline gives the web UI's encodings and k-diffusion's numbers, whatever the batch."""

import inspect
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

from builder import preview
from builder.common.errors import UserError
from builder.models import loading, prompt_encoder
from builder.models import source as models_source
from builder.models.pipeline import Pipeline
from builder.models.schedule import Schedule
from builder.plan.plan import Plan
from builder.plan.sample import Attempt
from builder.spec import table as spec_table
from builder.spec.spec import Recipe
from tests.fixtures import random_weights
from tests.fixtures.karras import KarrasScheduler

SD = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TRAINED = {
    **SD,
    "trained_betas": [0.01] * 50,
    "prediction_type": "v_prediction",
    "num_train_timesteps": 50,
    "rescale_betas_zero_snr": True,
}
SOLVER = {
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "solver_order": 2,
    "use_karras_sigmas": True,
    "final_sigmas_type": "zero",
    "lower_order_final": True,
    "steps_offset": 1,
}
RECIPE = Recipe(model="preview", steps=3, width=128, height=128)
SAMPLE = Plan(spec_table.load()).sample(0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pipe():
    return random_weights.build()


@pytest.fixture
def pipeline(pipe):
    return Pipeline(pipe, RECIPE, CPU)


def encoded(pipeline, text):
    return pipeline.encode([text])[0]


def attempt(seed, **changes):
    return Attempt(replace(SAMPLE, id=f"sample-{seed}", **changes), 0, seed)


def pixels(results):
    return [np.asarray(result.image, dtype=int) for result in results]


# The schedule, against the published formulas: Karras et al. 2022 (schedule, preconditioning), Lu et al. 2022 (2M).


def training_sigmas():
    betas = np.linspace(SD["beta_start"] ** 0.5, SD["beta_end"] ** 0.5, 1000) ** 2
    kept = np.cumprod(1 - betas)
    return np.sqrt((1 - kept) / kept)


def karras_sigmas(steps, table, rho=7):
    ramp = np.linspace(table.max() ** (1 / rho), table.min() ** (1 / rho), steps)
    return np.append(ramp**rho, 0)


def toy(x, timestep):
    """Stands for a network that predicts noise: smooth, not linear, and different at every timestep."""
    return torch.tanh(1.5 * x + torch.cos(timestep / 300)) * (0.7 + timestep / 4000)


def reference_sample(noise, steps, trained, velocity=False):
    """DPM++ 2M where the noise's variance explodes: x = picture + sigma × noise, in float64.

    The network predicts noise or `velocity`, and was trained on the sigmas `trained`.
    """
    table, sigmas = np.log(trained), karras_sigmas(steps, trained)
    x, before, width_before = noise.double() * sigmas[0], None, None
    for sigma, lower in itertools.pairwise(sigmas):
        timestep = torch.tensor(np.interp(np.log(sigma), table, np.arange(1000)))
        predicted = toy(x / (sigma**2 + 1) ** 0.5, timestep)
        picture = x - sigma * predicted
        if velocity:
            picture = x / (sigma**2 + 1) - sigma / (sigma**2 + 1) ** 0.5 * predicted
        if lower == 0:
            return picture
        width = np.log(sigma / lower)  # of the step, in log signal-to-noise
        slope = 0 if before is None else (picture - before) * width / width_before
        x = (lower / sigma) * x + (1 - lower / sigma) * (picture + slope / 2)
        before, width_before = picture, width


def sample(scheduler, noise, steps, model=toy):
    scheduler.set_timesteps(steps)
    x = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        x = scheduler.step(model(x, timestep), timestep, x).prev_sample
    return x


def scheduled(config, noise, steps, model=toy):
    schedule = Schedule.of(config, steps)
    return schedule.denoise(noise, schedule.timesteps(CPU), model)


def sigmas_of(schedule):
    """The sigmas of a schedule for a network that predicts noise, which say how much of it is taken away."""
    return np.array([-step.output for step in schedule.steps])


def test_schedule_sigmas():
    """Sigmas fall from the training schedule's highest to its lowest as Karras et al. give them; nothing is left."""
    schedule = Schedule.of(SD, 20)
    np.testing.assert_allclose(sigmas_of(schedule), karras_sigmas(20, training_sigmas())[:-1], rtol=2e-5)
    assert schedule.steps[-1][3:] == (0, 1, 0) and schedule.steps[0].old == 0


@pytest.mark.parametrize("steps", [3, 14, 20])
def test_schedule_equals_reference(steps):
    """Latents are k-diffusion's DPM++ 2M Karras to 1e-5; rounded timesteps and unit noise are over ten times worse."""
    noise = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = reference_sample(noise, steps, training_sigmas())

    def error(latents):
        return float((latents - expected).norm() / expected.norm())

    ours = error(scheduled(SD, noise, steps))
    assert ours < 1e-5
    assert error(sample(DPMSolverMultistepScheduler(**SD, **SOLVER), noise, steps)) > 10 * ours
    assert error(sample(KarrasScheduler.like(SD), noise, steps)) < 1e-5  # what diffusers is given to compare pictures


def test_schedule_keeps_training_only():
    """What a checkpoint was trained with is kept; none of its solver settings is, nor anything unknown."""
    parameters = dict(inspect.signature(DPMSolverMultistepScheduler).parameters)
    odd = {**dict.fromkeys(parameters, "odd"), "unheard_of": "odd", **TRAINED}
    assert Schedule.of(odd, 7) == Schedule.of(TRAINED, 7)
    for name in TRAINED:
        without = {key: value for key, value in TRAINED.items() if key != name}
        if name not in ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps", "prediction_type"):
            assert Schedule.of(without, 7) != Schedule.of(TRAINED, 7)
    assert Schedule.of({**SD, "beta_end": 0.02}, 7) != Schedule.of(SD, 7)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_schedule_of_other_predictions(prediction):
    """A model that predicts velocity, or the picture, and means the same as one that predicts noise gives the same."""
    noise = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1))
    sigmas = iter(sigmas_of(Schedule.of(SD, 20)).tolist())

    def says(x, timestep):
        sigma = next(sigmas)
        signal = 1 / (sigma**2 + 1) ** 0.5
        picture = x / signal - sigma * toy(x, timestep)
        return picture if prediction == "sample" else signal * toy(x, timestep) - sigma * signal * picture

    latents = scheduled({**SD, "prediction_type": prediction}, noise, 20, says)
    torch.testing.assert_close(latents, scheduled(SD, noise, 20), rtol=1e-4, atol=1e-4)


def test_schedule_of_an_unknown_prediction():
    with pytest.raises(UserError, match="prediction_type must be one of epsilon, v_prediction, sample, got 'flow'"):
        Schedule.of({**SD, "prediction_type": "flow"}, 20)


def rescaled_sigmas():
    """Lin et al. 2023, algorithm 1: the signal's root falls to 0; the last one is the web UI's."""
    root = (1 + training_sigmas() ** 2) ** -0.5
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    signal = np.append(root[:-1] ** 2, 4.8973451890853435e-08)
    return np.sqrt((1 - signal) / signal)


@pytest.mark.parametrize("steps", [3, 20])
def test_schedule_zero_terminal_snr(steps):
    """A schedule that ends in pure noise is honoured, with k-diffusion's numbers on it."""
    noise = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = reference_sample(noise, steps, rescaled_sigmas(), velocity=True)
    config = {**SD, "prediction_type": "v_prediction"}

    def error(**changes):
        return float((scheduled({**config, **changes}, noise, steps) - expected).norm())

    assert error(rescale_betas_zero_snr=True) < 1e-5 * float(expected.norm()) < error()


def test_schedule_zero_terminal_snr_of_noise():
    """A network that predicts noise says nothing of pure noise: refused in one line."""
    with pytest.raises(UserError, match="rescale_betas_zero_snr needs prediction_type v_prediction"):
        Schedule.of({**SD, "rescale_betas_zero_snr": True}, 20)


# Encodings.


def hidden(pipe, tokens):
    """The text encoder's last hidden state of one chunk, as the model was trained: BOS, tokens, EOS to the end."""
    begin, end = pipe.tokenizer.bos_token_id, pipe.tokenizer.eos_token_id
    with torch.inference_mode():
        return pipe.text_encoder(torch.tensor([[begin, *tokens, *[end] * (76 - len(tokens))]])).last_hidden_state[0]


def tokens_of(pipe, text):
    return pipe.tokenizer(text, add_special_tokens=False).input_ids


def test_plain_prompt(pipe, pipeline):
    """Without weights an encoding is the text encoder's own; a prompt over 75 tokens is encoded chunk by chunk."""
    short, long = tokens_of(pipe, "a man with a mask"), tokens_of(pipe, "face " * 80)
    assert len(long) == 80
    with torch.inference_mode():
        torch.testing.assert_close(encoded(pipeline, "a man with a mask"), hidden(pipe, short))
        torch.testing.assert_close(
            encoded(pipeline, "face " * 80), torch.cat([hidden(pipe, long[:75]), hidden(pipe, long[75:])])
        )


def test_weighted_prompt(pipe, pipeline):
    """Weights multiply the hidden state of their tokens, then every chunk gets its own mean back."""
    chunks = [[("a man, ", 1), ("mask", 1.5), (", ", 1), ("hat", 1 / 1.1)], [("a face", 1.1 * 1.1)]]
    expected = []
    for pieces in chunks:
        tokens = [(token, weight) for text, weight in pieces for token in tokens_of(pipe, text)]
        plain = hidden(pipe, [token for token, _ in tokens])
        factors = torch.ones(77, 1)
        factors[1 : len(tokens) + 1, 0] = torch.tensor([weight for _, weight in tokens])
        expected.append(plain * factors * (plain.mean() / (plain * factors).mean()))
    with torch.inference_mode():
        found = encoded(pipeline, "a man, (mask:1.5), [hat] BREAK ((a face))")
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_prompts_unpadded(pipeline):
    """Positive and negative prompt of a sample are encoded at their own lengths, as the web UI does by default."""
    with torch.inference_mode():
        for texts, chunks in [
            (("a man", ""), (1, 1)),
            (("a BREAK b BREAK c", "x BREAK y"), (3, 2)),
            (("", "x BREAK y"), (1, 2)),
        ]:
            for found, text, own in zip(pipeline.encode(texts), texts, chunks):
                assert found.shape == (own * 77, random_weights.WIDTH)
                torch.testing.assert_close(found, encoded(pipeline, text))


def test_prompts_filled(pipe, pipeline):
    """Up to the least number of chunks with empty ones, as the preview's are: it was trained on two."""
    filled = Pipeline(pipe, pipeline.recipe, pipeline.device, least_chunks=2)
    short, long = "a man", "a BREAK b BREAK c"
    for text, chunks in ((short, 2), (long, 3), ("x BREAK y", 2)):
        (found, other), own = filled.encode([text, short]), encoded(pipeline, text)
        assert (len(found), len(other)) == (chunks * 77, 2 * 77)
        torch.testing.assert_close(found[: len(own)], own)
    torch.testing.assert_close(encoded(filled, short)[77:], encoded(pipeline, ""))
    loaded = loading.load(models_source.resolve("preview"), pipeline.recipe, pipeline.device)
    assert loaded.encode.least_chunks == preview.CHUNKS


def test_prompt_encoded_once(pipe, pipeline, monkeypatch):
    """A prompt is encoded once, however many pictures and batches ask for it, together with what else is new."""
    calls, forward = [], pipe.text_encoder.forward
    monkeypatch.setattr(pipe.text_encoder, "forward", lambda ids: calls.append(len(ids)) or forward(ids))
    attempts = [attempt(n, prompt=f"a man, mask {n % 2}", negative_prompt="hat BREAK cap") for n in range(4)]
    for batch in (attempts, attempts[::-1], [attempt(1, prompt="a woman", negative_prompt="hat BREAK cap")]):
        assert len(list(pipeline.generate(batch))) == len(batch)
    assert calls == [4, 1]  # two prompts and the two chunks of the negative one, then another prompt


def test_prompts_forgotten(pipeline, monkeypatch):
    """Of many prompts those are remembered that were used last."""
    monkeypatch.setattr(prompt_encoder, "REMEMBERED", 2)
    for text in ("one", "two", "one", "three"):
        encoded(pipeline, text)
    assert list(pipeline.encode.encodings) == ["one", "three"]
    assert len(pipeline.encode(["a", "b", "c"])) == 3


# Pictures.


@pytest.mark.parametrize("output", ["latent", "pil"])
def test_equals_diffusers(pipe, pipeline, output):
    """Given the same encodings, noise and scheduler, latents and pictures are those of diffusers' own pipeline."""
    equal = {"prompt": "a man BREAK mask", "negative_prompt": "hat BREAK (cap:1.3)"}  # diffusers knows nothing else
    attempts = [attempt(seed, guidance_scale=7.5, **equal) for seed in (1, 2)]
    samples = [a.sample for a in attempts]
    with torch.inference_mode():
        pairs = [pipeline.encode([s.prompt, s.negative_prompt]) for s in samples]
        prompt, negative = (torch.stack(part) for part in zip(*pairs))
        latents = pipeline.denoise(attempts)
    parts = {**pipe.components, "scheduler": KarrasScheduler.like(pipe.scheduler.config)}
    stock = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    stock.set_progress_bar_config(disable=True)
    theirs = stock(
        prompt_embeds=prompt,
        negative_prompt_embeds=negative,
        latents=pipeline.noise([1, 2]),
        guidance_scale=7.5,
        num_inference_steps=RECIPE.steps,
        width=RECIPE.width,
        height=RECIPE.height,
        output_type=output,
    ).images
    if output == "latent":
        assert latents.dtype == torch.float32
        torch.testing.assert_close(latents, theirs, rtol=0, atol=1e-4)
    else:
        for ours, image in zip(pixels(pipeline.generate(attempts)), theirs):
            assert abs(ours - np.asarray(image, dtype=int)).max() <= 1


@torch.inference_mode()
@pytest.mark.parametrize(
    ("prompt", "negative", "calls"), [("a man", "hat", [(2, 77)]), ("a man", "hat BREAK cap", [(1, 77), (1, 154)])]
)
def test_unet_at_own_lengths(pipe, pipeline, monkeypatch, prompt, negative, calls):
    """Guidance compares what the UNet says to each prompt at its own length: two calls a step, or one where equal."""
    seen, forward = [], pipe.unet.forward

    def spy(x, timestep, encoder_hidden_states, **options):
        seen.append(tuple(encoder_hidden_states.shape[:2]))
        return forward(x, timestep, encoder_hidden_states=encoder_hidden_states, **options)

    def guided(x, timestep):
        own, other = (forward(x, timestep, encoded(pipeline, text)[None]).sample for text in (prompt, negative))
        return other + 7.5 * (own - other)

    expected = sample(KarrasScheduler.like(pipe.scheduler.config), pipeline.noise([1]), RECIPE.steps, guided)
    monkeypatch.setattr(pipe.unet, "forward", spy)
    latents = pipeline.denoise([attempt(1, prompt=prompt, negative_prompt=negative, guidance_scale=7.5)])
    assert seen == calls * RECIPE.steps
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)


def alone(pipeline, attempts):
    return torch.cat([pipeline.denoise([one]) for one in attempts])


@torch.inference_mode()
def test_batch_mixes_guidance(pipeline):
    """Every picture of a batch has its own guidance scale, and is what it is when made alone."""
    attempts = [attempt(seed, guidance_scale=scale) for seed, scale in ((1, 3.0), (1, 7.0), (2, 12.0))]
    together = pipeline.denoise(attempts)
    torch.testing.assert_close(together, alone(pipeline, attempts), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


@torch.inference_mode()
def test_batch_mixes_prompt_lengths(pipeline):
    """A longer prompt beside it in the batch does not change a picture: resumed runs have other batches."""
    attempts = [
        attempt(1, prompt="a man, mask", negative_prompt="hat"),
        attempt(2, prompt="a man BREAK mask", negative_prompt="hat"),
        attempt(3, prompt="a man", negative_prompt="hat BREAK mask BREAK sunglasses"),
        attempt(4, prompt="a man, mask", negative_prompt="hat BREAK mask"),
        attempt(5, prompt="a man BREAK mask", negative_prompt="hat BREAK mask"),
    ]
    torch.testing.assert_close(pipeline.denoise(attempts), alone(pipeline, attempts), rtol=1e-4, atol=1e-4)


def test_batch_size(pipeline):
    """Pictures come in the order of the tries, whole, and the same to one grey level whatever the batch size."""
    attempts = [attempt(seed) for seed in range(6)]
    results = list(pipeline.generate(attempts))
    assert [result.attempt for result in results] == attempts
    assert {(result.image.size, result.image.mode) for result in results} == {((128, 128), "RGB")}
    for picture, one in zip(pixels(results), attempts):
        assert abs(picture - pixels(pipeline.generate([one]))[0]).max() <= 1


def test_seed(pipeline):
    """The same seed gives the same picture, another seed another one."""
    first, again, other = pixels(pipeline.generate([attempt(1), attempt(1), attempt(2)]))
    assert abs(first - again).max() <= 1
    assert abs(first - pixels(pipeline.generate([attempt(1), attempt(3), attempt(2)]))[0]).max() <= 1
    assert abs(first - other).mean() > 1
