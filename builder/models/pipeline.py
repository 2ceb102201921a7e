"""Samples in, pictures out: the parts of diffusers' StableDiffusionPipeline, run as the web UI runs them.

Prompt encodings follow the web UI (weights, chunks of 75 tokens, mean kept, each prompt at its own length), the sampler
is DPM++ 2M Karras as k-diffusion computes it, noise comes from one CPU generator a picture, and latents stay in float32
whatever the weights are. Nothing here waits for the device until somebody asks for the pictures.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch._dynamo.config as dynamo
import torch._inductor.config as inductor
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from PIL import Image

from builder.common.errors import UserError, shortened
from builder.models.acceleration import Accelerator, Fetch, accelerator, one_by_one
from builder.models.prompt_encoder import PromptEncoder
from builder.models.safety import Safety
from builder.models.schedule import Schedule
from builder.plan.sample import Attempt, Result
from builder.spec.spec import Recipe

DECODED_AT_ONCE = 4
LENGTHS = 64
"""Shapes for which a part may be compiled: one for each length of prompts, and for each cut of the batch."""

log = logging.getLogger("agfd30k")


@dataclass(frozen=True)
class _Queued:
    """Pictures that the device is making: `fetch` waits for them, (pictures, height × width × 3 + 1), uint8, the last
    of which is 0 where a number was not finite.
    """

    attempts: list[Attempt]
    fetch: Fetch


class Pipeline:
    """A loaded model. `generate` turns tries into pictures; out of memory halves the batch and goes on.

    `least_chunks` is how many chunks every prompt has at least, for a model that has seen none with fewer. Where the
    device wants batches of one size, smaller ones are filled up to `batch_size`.
    """

    def __init__(
        self,
        pipe: StableDiffusionPipeline,
        recipe: Recipe,
        device: torch.device,
        safety: Safety | None = None,
        least_chunks: int = 1,
        batch_size: int = 1,
        on: Accelerator | None = None,
    ):
        self.recipe = recipe
        self.accelerator = on or accelerator(device)
        self.device = device = self.accelerator.device
        self.safety = safety
        self.unet, self.vae = pipe.unet, pipe.vae
        for part in (pipe.unet, pipe.vae, pipe.text_encoder):
            part.requires_grad_(False).eval().to(device)
        self.accelerator.prepare(self.unet, self.vae)
        self.dtype = self.unet.dtype
        self.encode = PromptEncoder(pipe.tokenizer, pipe.text_encoder, self.accelerator, self.dtype, least_chunks)
        self.schedule = Schedule.of(pipe.scheduler.config, recipe.steps)
        self.timesteps = self.schedule.timesteps(device)
        self.latent_factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        if recipe.width % self.latent_factor or recipe.height % self.latent_factor:
            raise UserError(f"this model makes sizes in steps of {self.latent_factor} pixels, not {self._size}")
        self.batch_size = batch_size
        self.most: int | None = None
        self.is_compiled = False

    def compile(self, backend: str | Callable = "inductor", processes: int = 1) -> None:
        """From the next batch on, run what takes longest compiled; that batch takes a minute or more for it.

        So many `processes` of this machine do the same, and share its cores.
        """
        if "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ:
            inductor.compile_threads = max(1, (inductor.compile_threads or 1) // processes)
        dynamo.recompile_limit = LENGTHS
        for part in (self.unet, self.vae.decoder):
            part.compile(backend=backend, fullgraph=True, dynamic=False)
        self.is_compiled = True

    @torch.inference_mode()
    def generate(self, attempts: list[Attempt]) -> Iterator[Result]:
        """Make one batch: results in the order of `attempts`, each as soon as it is decoded.

        All the device's work is queued when this returns; the iterator, which any thread may read, waits for it.
        Raises UserError when not even one picture fits into the device's memory.
        """
        todo, queued = list(attempts), []
        while todo:
            part, is_short = todo[: self.most], False
            try:
                with self.accelerator.drawing():
                    for each in self._queue(part):
                        queued.append(each)
                        del todo[: len(each.attempts)]
            except torch.OutOfMemoryError:
                is_short = True  # past this block nobody holds what has been computed so far
            except Exception as error:  # compilers raise many kinds
                if not self.is_compiled:
                    raise
                self._go_on_without_compiling(error)
            if is_short:
                self._halve(max(len(part), self._filled_size))
        return itertools.chain.from_iterable(map(self._results, queued))

    @property
    def _size(self) -> str:
        return f"{self.recipe.width}×{self.recipe.height}"

    def _halve(self, size: int) -> None:
        if size == 1:
            raise UserError(f"{self.device}: not enough memory for one {self._size} picture")
        self.most = size // 2
        log.warning("out of memory with %d pictures at once: going on with %d", size, self.most)
        self.accelerator.release()

    def _go_on_without_compiling(self, error: Exception) -> None:
        reason = shortened(" ".join(str(error).split()) or type(error).__name__)
        log.warning("the model cannot be compiled here, going on without, slower: %s", reason)
        torch.compiler.set_stance("force_eager")
        self.is_compiled = False

    def _queue(self, attempts: list[Attempt]) -> Iterator[_Queued]:
        latents = self.denoise(attempts)
        for start in range(0, len(attempts), DECODED_AT_ONCE):
            part = attempts[start : start + DECODED_AT_ONCE]
            yield _Queued(part, self.accelerator.fetch(self._decode(latents[start : start + DECODED_AT_ONCE])))

    def denoise(self, attempts: list[Attempt]) -> torch.Tensor:
        """Latents of a batch, (batch, channels, height / factor, width / factor), float32.

        A picture does not depend on its neighbours: no prompt is padded, and only samples whose prompts are as long as
        each other's, and whose negative prompts are too, go together.
        """
        samples = [attempt.sample for attempt in attempts]
        prompts = self.encode(text for sample in samples for text in (sample.prompt, sample.negative_prompt))
        encoded = list(zip(prompts[::2], prompts[1::2]))
        latents = self.noise([attempt.seed for attempt in attempts])
        scales = self.accelerator.send(torch.tensor([sample.guidance_scale for sample in samples])).view(-1, 1, 1, 1)
        lengths = [(len(prompt), len(negative)) for prompt, negative in encoded]
        for pair in sorted(set(lengths)):
            rows = [n for n, own in enumerate(lengths) if own == pair]
            prompt, negative = (torch.stack([encoded[n][part] for n in rows]) for part in (0, 1))
            places = self.accelerator.send(torch.tensor(rows))
            parts = (latents.index_select(0, places), prompt, negative, scales.index_select(0, places))
            batch = (self._filled(part, self._filled_size) for part in parts)
            latents.index_copy_(0, places, self._denoise(*batch)[: len(rows)])
        return latents

    @property
    def _filled_size(self) -> int:
        """The one size of a batch that the device sees; 0 where it does not matter."""
        return (self.most or self.batch_size) if self.accelerator.is_static else 0

    def _filled(self, rows: torch.Tensor, size: int) -> torch.Tensor:
        """Return a batch of at least this size, the last row standing again and again at its end."""
        missing = size - len(rows)
        return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing > 0 else rows

    def _denoise(
        self, noise: torch.Tensor, prompt: torch.Tensor, negative: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        def guided(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            with_prompt, without = self._predictions(latents, timestep, prompt, negative)
            return without + scale * (with_prompt - without)

        return self.schedule.denoise(noise, self.timesteps, guided)

    def _predictions(
        self, latents: torch.Tensor, timestep: torch.Tensor, prompt: torch.Tensor, negative: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the UNet says with the prompt and with the negative one.

        In one call where they are equally long; in two where the device shall see one size of batch alone.
        """
        noisy = latents.to(self.dtype)
        if prompt.shape == negative.shape and not self.accelerator.is_static:
            both = self._unet(torch.cat([noisy, noisy]), timestep, torch.cat([prompt, negative]))
            with_prompt, without = both.chunk(2)
        else:
            with_prompt, without = (self._unet(noisy, timestep, encoded) for encoded in (prompt, negative))
        return with_prompt, without

    def _unet(self, noisy: torch.Tensor, timestep: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        return self.unet(noisy, timestep, encoder_hidden_states=encoded, return_dict=False)[0].float()

    def noise(self, seeds: list[int]) -> torch.Tensor:
        """Unit noise, one CPU generator a picture, so that neither batch nor device changes it."""
        height, width = (side // self.latent_factor for side in (self.recipe.height, self.recipe.width))
        shape = (self.unet.config.in_channels, height, width)
        return self.accelerator.send(
            torch.stack([torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds])
        )

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return what `_Queued.fetch` gives."""
        batch = self._filled(latents, min(self._filled_size, DECODED_AT_ONCE))
        scaled = (batch / self.vae.config.scaling_factor).to(self.vae.dtype)
        pixels = self.vae.decode(scaled, return_dict=False)[0][: len(latents)].float()
        finite = latents.isfinite().flatten(1).all(1) & pixels.isfinite().flatten(1).all(1)
        values = ((pixels.nan_to_num() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return torch.cat([values.permute(0, 2, 3, 1).flatten(1), finite[:, None].to(torch.uint8)], dim=1)

    def _results(self, queued: _Queued) -> Iterator[Result]:
        """Yield pictures once they are here; one that is not finite, or flagged by the safety checker, becomes a
        reason.
        """
        rows = queued.fetch().numpy()
        shape = (len(rows), self.recipe.height, self.recipe.width, 3)
        images = [Image.fromarray(values) for values in rows[:, :-1].reshape(shape)]
        for attempt, image, fine, flag in zip(queued.attempts, images, rows[:, -1], self._flagged(images)):
            reason = "not finite" if not fine else "flagged by the safety checker" if flag else None
            yield Result(attempt, None if reason else image, reason)

    @torch.inference_mode()
    def _flagged(self, images: list[Image.Image]) -> list[bool]:
        if self.safety is None:
            return [False] * len(images)
        return one_by_one(self.accelerator, "the safety checker", self.safety, images)
