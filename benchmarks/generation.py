"""Making pictures: the builder's pipeline beside diffusers' own, and beside what the device could do at best.

On a GPU all of them run Stable Diffusion 1.5's full architecture in float16 at 512×512 (random weights: the arithmetic
is the same). Elsewhere the same code runs the preview model, which proves the command and says nothing about a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from harness import Table, alternating
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from builder import preview
from builder.models import loading
from builder.models import source as models_source
from builder.models.pipeline import Pipeline
from builder.plan.plan import Plan
from builder.plan.sample import Attempt
from builder.spec import table
from builder.spec.spec import Spec

BATCHES = {"cuda": (1, 2, 4, 8, 16, 32), "cpu": (1, 4)}
REPEATS = 3


def run(scale: float = 1.0) -> Iterator[Table]:
    """Speed by batch size beside diffusers' pipeline, and by how much pictures differ."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    spec = table.load() if device.type == "cuda" else preview.fitted(table.load())
    ours, theirs = _loaded(spec, device)
    plan = Plan(spec)
    most = max(BATCHES[device.type])
    attempts = [plan.attempt(plan.at(cell, 0), 0) for cell in plan.cells[:most]]
    yield _speed(ours, theirs, attempts, device, max(1, int(REPEATS * scale)))
    yield _agreement(ours, theirs, attempts[: min(4, most)])
    if device.type == "cpu":
        missing = Table("Generation on a GPU", ["way", "pictures/s"])
        missing.add("not measured: no GPU here", None)
        yield missing


def _loaded(spec: Spec, device: torch.device) -> tuple[Pipeline, StableDiffusionPipeline]:
    """Our pipeline and diffusers', with the same weights."""
    if device.type == "cuda":
        from tests.models.test_full_size import full_size

        pipe = full_size().to(device, torch.float16)
        ours = Pipeline(pipe, spec.recipe, device)
    else:
        source = models_source.resolve(preview.NAME, "main")
        ours = loading.load(source, spec.recipe, device)
        options = {"safety_checker": None, "use_safetensors": True, "dtype": torch.float32}
        pipe = StableDiffusionPipeline.from_pretrained(source.location, **options)
    pipe.set_progress_bar_config(disable=True)
    return ours, pipe


def _speed(ours: Pipeline, theirs: StableDiffusionPipeline, attempts: list[Attempt], device, repeats: int) -> Table:
    name = "full Stable Diffusion 1.5 architecture, float16" if device.type == "cuda" else "the preview model, CPU"
    title = f"Generation: {name}, 20 steps, guidance, 512×512"
    table_ = Table(title, ["way", "batch", "pictures/s", "× diffusers at batch 1"])
    first = None
    if device.type == "cuda":
        reached, tokens = _matmul_tflops(device), max(len(_encoded(ours, attempt)) for attempt in attempts)
        each = tflop(theirs, tokens, ours.recipe.steps)
        table_.add("limit: the device's matrix products alone", None, reached / each, None)
        table_.notes.append(
            f"Ours encodes all {tokens} tokens: {each:.1f} TFLOP a picture. The device: {reached:.0f}/s."
        )
    for batch in BATCHES[device.type]:
        part = attempts[:batch]
        work = {
            "diffusers' pipeline": _synchronised(device, lambda part=part: _theirs(theirs, part, ours)),
            "ours": _synchronised(device, lambda part=part: _ours(ours, part)),
        }
        fits = {way: run for way, run in work.items() if _fits(run)}  # the first call chooses kernels, too
        found = alternating(fits, repeats)
        for way in work:
            rate = batch / found[way] if way in found else None
            first = first or rate
            table_.add(way, batch, rate, rate and rate / first)
    if device.type == "cuda":
        table_.notes.append("Without a number: the batch does not fit into the device's memory.")
    return table_


def _fits(run: Callable[[], object]) -> bool:
    try:
        run()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return False
    return True


def _ours(ours: Pipeline, attempts: list[Attempt]) -> None:
    """Our pictures, no prompt remembered. Raises OutOfMemoryError where the batch had to be cut."""
    ours.encode.cache_clear()
    ours.most = None
    _made(ours, attempts)
    if ours.most is not None:
        raise torch.OutOfMemoryError("the batch was cut")


def _made(ours: Pipeline, attempts: list[Attempt]) -> list[Image.Image]:
    """Our pictures. Raises RuntimeError where one is not finite."""
    results = list(ours.generate(attempts))
    for result in results:
        if result.image is None:
            raise RuntimeError(f"no picture of {result.attempt.sample.id}: {result.reason}")
    return [result.image for result in results]


def _encoded(ours: Pipeline, attempt: Attempt) -> torch.Tensor:
    return ours.embeddings(attempt.sample.prompt, attempt.sample.negative_prompt)[0]


def tflop(pipe: StableDiffusionPipeline, tokens: int, steps: int) -> float:
    """A picture's arithmetic, in TFLOP: each step with and without the prompt, and the decoding. Counted, not timed."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        unet, vae = (type(part).from_config(part.config) for part in (pipe.unet, pipe.vae))
        side, width = unet.config.sample_size, unet.config.cross_attention_dim
        latents = torch.empty(1, unet.config.in_channels, side, side)
        unet(latents, torch.empty(()), encoder_hidden_states=torch.empty(1, tokens, width))
        once = counter.get_total_flops()
        vae.decode(latents)
        decoding = counter.get_total_flops() - once
    return (2 * steps * once + decoding) / 1e12


def _theirs(pipe: StableDiffusionPipeline, attempts: list[Attempt], ours: Pipeline, **more):
    """diffusers' documented call, a list of prompts with a generator each; it cuts prompts at 77 tokens."""
    return pipe(
        [attempt.sample.prompt for attempt in attempts],
        negative_prompt=[attempt.sample.negative_prompt for attempt in attempts],
        generator=[torch.Generator("cpu").manual_seed(attempt.seed) for attempt in attempts],
        num_inference_steps=ours.recipe.steps,
        guidance_scale=attempts[0].sample.guidance_scale,
        width=ours.recipe.width,
        height=ours.recipe.height,
        **more,
    ).images


def _synchronised(device: torch.device, work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def _matmul_tflops(device: torch.device, side: int = 8192) -> float:
    """What large float16 matrix products reach, in TFLOP/s."""
    one = torch.randn(side, side, device=device, dtype=torch.float16)
    for _ in range(3):
        one @ one
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    for _ in range(20):
        one @ one
    torch.cuda.synchronize(device)
    return 20 * 2 * side**3 / (time.perf_counter() - started) / 1e12


def _agreement(ours: Pipeline, theirs: StableDiffusionPipeline, attempts: list[Attempt]) -> Table:
    """Differences of pixels (0 to 255): ours alone and in a batch, and ours against diffusers fed with the same."""
    table_ = Table("Generation: how far pictures differ, of 255", ["what", "largest", "mean"])
    together = _pixels(_made(ours, attempts))
    alone = _pixels(image for attempt in attempts for image in _made(ours, [attempt]))
    table_.add("ours alone, ours in a batch", *_difference(alone, together))
    table_.add("diffusers with our sampler and prompts, ours", *_difference(_fed(ours, theirs, attempts), together))
    return table_


def _fed(ours: Pipeline, theirs: StableDiffusionPipeline, attempts: list[Attempt]) -> np.ndarray:
    """diffusers' own loop with our encodings, noise and sampler."""
    theirs.scheduler = ours.scheduler
    images = []
    for attempt in attempts:
        prompt, negative = ours.embeddings(attempt.sample.prompt, attempt.sample.negative_prompt)
        images += theirs(
            prompt_embeds=prompt[None],
            negative_prompt_embeds=negative[None],
            latents=ours.noise([attempt.seed]).to(prompt.dtype),  # diffusers keeps them in the weights' type
            num_inference_steps=ours.recipe.steps,
            guidance_scale=attempt.sample.guidance_scale,
        ).images
    return _pixels(images)


def _pixels(images) -> np.ndarray:
    return np.stack([np.asarray(image, dtype=np.int16) for image in images])


def _difference(one: np.ndarray, other: np.ndarray) -> tuple[int, float]:
    apart = np.abs(one - other)
    return int(apart.max()), float(apart.mean())
