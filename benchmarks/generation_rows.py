"""One process of the benchmark of making pictures: it measures some rows, one after another, and writes each as JSON.

    python benchmarks/generation_rows.py FOLDER '[["ours", 8], ["ours", 16]]' SECONDS ROUNDS

FOLDER holds the models (see `generation_models`, whose row is "models"); every row has so many seconds and rounds.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import devices
import generation_models
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from harness import Seconds, alternating, ratio
from PIL import Image

from builder import preview
from builder.models import loading, source
from builder.models.pipeline import Pipeline
from builder.plan.plan import Plan
from builder.plan.sample import Attempt
from builder.spec import table

COMPARED = 4
"""Pictures of a row that are kept, to compare them with those of other rows."""
TUNED = {
    "conv_1x1_as_mm": True,
    "coordinate_descent_tuning": True,
    "epilogue_fusion": False,
    "coordinate_descent_check_all_directions": True,
}
"""What diffusers' documentation sets in torch._inductor.config, for max-autotune."""


class Session:
    """What the rows of a process share."""

    def __init__(self, folder: Path, seconds: float, rounds: int):
        self.folder = folder
        self.seconds = seconds
        self.rounds = rounds
        self.made: list[Image.Image] = []
        self.device = devices.here()
        if self.device.torch.type == "cpu":
            # Captured in one graph and run as it is: a real compiler would take minutes on a CPU.
            torch.compile = functools.partial(torch.compile, backend="eager")

    @cached_property
    def plan(self) -> Plan:
        """The plan of the models' table."""
        return Plan(table.load(self.folder / generation_models.TABLE))

    @cached_property
    def pipe(self) -> StableDiffusionPipeline:
        """diffusers' pipeline, as it comes."""
        return self.loaded()

    @cached_property
    def ours(self) -> Pipeline:
        """The builder's pipeline, with weights of its own."""
        return Pipeline(self.loaded(), self.plan.spec.recipe, self.device.torch)

    def loaded(self) -> StableDiffusionPipeline:
        """Return diffusers' pipeline with the weights of the folder."""
        options = {"safety_checker": None, "use_safetensors": True, "dtype": self.device.dtype}
        pipe = StableDiffusionPipeline.from_pretrained(self.folder / generation_models.MODEL, **options)
        pipe.set_progress_bar_config(disable=True)
        return pipe.to(self.device.torch)

    def attempts(self, count: int) -> list[Attempt]:
        """Return tries at samples whose prompts have as many tokens as most."""
        plan, facts = self.plan, json.loads((self.folder / generation_models.FACTS).read_text())
        samples = (plan.at(plan.cells[place], number) for place, number in facts["samples"])
        attempts = [plan.attempt(sample, 0) for sample in samples]
        return (attempts * count)[:count]

    def measured(self, batch: int, work: Callable[[], list[Image.Image]]) -> dict:
        """Return the pictures a second of some work, which `made` keeps, and what else it took.

        `first` is how long the first time took, which compiles, and chooses kernels; the rounds come after it.
        """
        started = time.perf_counter()
        self.device.forget_peak()
        first, runs = self._seconds(work), []
        while len(runs) < self.rounds and (not runs or time.perf_counter() - started + runs[-1] < self.seconds / 2):
            runs.append(self._seconds(work))
        found, peak, busy = Seconds.of(runs), self.device.peak(), self.device.busy()
        busy.start()
        self._seconds(work)
        busy.stop()
        spent = {"first": first, "seconds": float(found), "peak": peak, "busy": busy.share}
        return {"rate": batch / found, "spread": found.spread, **spent}

    def _seconds(self, work: Callable[[], list[Image.Image]]) -> float:
        started = time.perf_counter()
        self.made = work()
        self.device.wait()
        return time.perf_counter() - started

    def keep(self, name: str, images: list[Image.Image]) -> None:
        """Keep some pictures' pixels, to be compared."""
        np.save(self.folder / f"{name}.npy", pixels(images[:COMPARED]))


def pixels(images: list[Image.Image]) -> np.ndarray:
    """Return pictures as numbers that can be subtracted."""
    return np.stack([np.asarray(image, dtype=np.int16) for image in images])


def models(session: Session, batch: int) -> dict:
    """Write the models; returns facts about them."""
    return generation_models.make(session.folder, session.device)


def floor(session: Session, batch: int) -> dict:
    """What the device's matrix products reach."""
    return {"tflops": devices.matmul_tflops(session.device)}


def theirs(session: Session, batch: int) -> dict:
    """diffusers' pipeline as it comes."""
    return session.measured(batch, lambda: call(session.pipe, session.attempts(batch), session.plan.spec.recipe))


def theirs_fast(session: Session, batch: int, mode: str) -> dict:
    """diffusers' documented fast path: both networks in channels_last and compiled as whole graphs."""
    pipe = session.loaded()
    pipe.unet.to(memory_format=torch.channels_last)
    pipe.vae.to(memory_format=torch.channels_last)
    pipe.unet = torch.compile(pipe.unet, mode=mode, fullgraph=True)
    pipe.vae.decode = torch.compile(pipe.vae.decode, mode=mode, fullgraph=True)
    return session.measured(batch, lambda: call(pipe, session.attempts(batch), session.plan.spec.recipe))


def theirs_tuned(session: Session, batch: int) -> dict:
    """The same with the settings of the compiler that the documentation names."""
    from torch._inductor import config

    for name, value in TUNED.items():
        if hasattr(config, name):
            setattr(config, name, value)
    return theirs_fast(session, batch, "max-autotune")


def ours(session: Session, batch: int, compiled: bool = False) -> dict:
    """The builder's pipeline, no prompt remembered; it keeps pictures to compare."""
    pipeline = session.ours
    pipeline.batch_size = batch
    attempts = session.attempts(batch)
    if compiled and not pipeline.is_compiled:
        pipeline.compile("eager" if session.device.torch.type == "cpu" else "inductor")
    found = session.measured(batch, lambda: made(pipeline, attempts))
    if compiled and not pipeline.is_compiled:
        raise RuntimeError("it could not be compiled")
    session.keep(f"{'compiled' if compiled else 'eager'}-{batch}", session.made)
    return found


def fed(session: Session, batch: int) -> dict:
    """Keep ours made one by one, and diffusers' pictures beside ours with the same encodings, noise and sampler.

    diffusers takes no prompts of different lengths, so that the negative one is empty in these.
    """
    from tests.fixtures.karras import KarrasScheduler

    pipe, pipeline, steps = session.pipe, session.ours, session.plan.spec.recipe.steps
    pipeline.batch_size = 1
    attempts = session.attempts(min(batch, COMPARED))
    session.keep("alone", [image for attempt in attempts for image in made(pipeline, [attempt])])
    plain = [replace(attempt, sample=replace(attempt.sample, negative_prompt="")) for attempt in attempts]
    session.keep("ours-fed", [image for attempt in plain for image in made(pipeline, [attempt])])
    pipe.scheduler = KarrasScheduler.like(pipe.scheduler.config)
    session.keep("theirs-fed", [image for attempt in plain for image in fed_once(pipe, pipeline, attempt, steps)])
    return {}


def fed_once(pipe: StableDiffusionPipeline, pipeline: Pipeline, attempt: Attempt, steps: int) -> list[Image.Image]:
    """Return the picture of diffusers' own loop with our encodings and noise."""
    with torch.inference_mode():
        prompt, negative = pipeline.encode([attempt.sample.prompt, attempt.sample.negative_prompt])
        return pipe(
            prompt_embeds=prompt[None],
            negative_prompt_embeds=negative[None],
            latents=pipeline.noise([attempt.seed]).to(prompt.dtype),  # diffusers keeps them in the weights' type
            num_inference_steps=steps,
            guidance_scale=attempt.sample.guidance_scale,
        ).images


def turns(session: Session, batch: int) -> dict:
    """diffusers' pipeline and ours by turns, on a CPU with the preview model: where a machine is noisy, alone this is
    a fair comparison.
    """
    pipe, pipeline, attempts = previewed(session, batch)
    recipe = pipeline.recipe
    work = {"theirs": lambda: call(pipe, attempts, recipe), "ours": lambda: made(pipeline, attempts)}
    for run in work.values():
        session._seconds(run)
    spent = alternating(work, session.rounds)
    times, spread = ratio(spent["theirs"], spent["ours"])
    rates = {name: batch / seconds for name, seconds in spent.items()}
    return {**rates, "ratio": times, "spread": spread}


def previewed(session: Session, batch: int) -> tuple[StableDiffusionPipeline, Pipeline, list[Attempt]]:
    """Return both pipelines with the preview model, and tries that it can make."""
    spec = preview.fitted(table.load())
    there = source.resolve(preview.NAME, "main")
    pipeline = loading.load(there, spec.recipe, session.device.torch, batch_size=batch)
    options = {"safety_checker": None, "use_safetensors": True, "dtype": torch.float32}
    pipe = StableDiffusionPipeline.from_pretrained(there.location, **options).to(session.device.torch)
    pipe.set_progress_bar_config(disable=True)
    plan = Plan(spec)
    return pipe, pipeline, [plan.attempt(plan.at(cell, 0), 0) for cell in plan.cells[:batch]]


def whole(session: Session, batch: int, compiled: bool = False) -> dict:
    """The whole process, as a user starts it."""
    import generation_process

    return generation_process.run(session, compiled)


ROWS: dict[str, Callable[[Session, int], dict]] = {
    "models": models,
    "floor": floor,
    "diffusers": theirs,
    "diffusers, reduce-overhead": functools.partial(theirs_fast, mode="reduce-overhead"),
    "diffusers, max-autotune": theirs_tuned,
    "ours": ours,
    "ours, compiled": functools.partial(ours, compiled=True),
    "fed": fed,
    "turns": turns,
    "process": whole,
    "process, compiled": functools.partial(whole, compiled=True),
}


def made(pipeline: Pipeline, attempts: list[Attempt]) -> list[Image.Image]:
    """Return our pictures.

    Raises OutOfMemoryError where the batch had to be cut, RuntimeError where one is not finite.
    """
    pipeline.encode.encodings.clear()
    pipeline.most = None
    results = list(pipeline.generate(attempts))
    if pipeline.most is not None:
        raise torch.OutOfMemoryError("the batch was cut")
    for result in results:
        if result.image is None:
            raise RuntimeError(f"no picture of {result.attempt.sample.id}: {result.reason}")
    return [result.image for result in results]


def call(pipe: StableDiffusionPipeline, attempts: list[Attempt], recipe) -> list[Image.Image]:
    """Return the pictures of diffusers' documented call: a list of prompts, which it cuts, with a generator each."""
    return pipe(
        [attempt.sample.prompt for attempt in attempts],
        negative_prompt=[attempt.sample.negative_prompt for attempt in attempts],
        generator=[torch.Generator("cpu").manual_seed(attempt.seed) for attempt in attempts],
        num_inference_steps=recipe.steps,
        guidance_scale=attempts[0].sample.guidance_scale,
        width=recipe.width,
        height=recipe.height,
    ).images


def main(folder: str, rows: str, seconds: str, rounds: str) -> None:
    """Measure rows in their order; a line of JSON each, to what standard output was."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    session = Session(Path(folder), float(seconds), int(rounds))
    for name, batch in json.loads(rows):
        try:
            found = ROWS[name](session, batch)
        except torch.OutOfMemoryError:
            found = {"failed": "out of memory"}
        except Exception as error:  # a compiler raises anything, and costs one row
            found = {"failed": (str(error).strip() or type(error).__name__).splitlines()[0][:150]}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
