"""Samples in, pictures out: the parts of diffusers' StableDiffusionPipeline, run as the web UI runs them.

The only room, with `preview`, that imports torch, diffusers and transformers. Prompt encodings follow the web UI
(weights, chunks of 75 tokens, mean kept), the sampler is DPM++ 2M Karras as k-diffusion computes it, noise comes from
one CPU generator a picture, and latents stay in float32 whatever the weights are.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPImageProcessor

from builder import UserError, prompts
from builder.models import Source
from builder.plan import Attempt, Result, Sample
from builder.spec import Recipe

CACHED_PROMPTS = 1024
DECODED_AT_ONCE = 4

log = logging.getLogger("agfd30k")


class KarrasScheduler(DPMSolverMultistepScheduler):
    """DPM++ 2M Karras with k-diffusion's numbers: fractional timesteps, and noise as long as its sigma says.

    The stock class rounds the timesteps and starts from unit noise, which moves the result by 4e-4.
    """

    @classmethod
    def like(cls, config: dict) -> KarrasScheduler:
        """For a checkpoint: what belongs to its training is taken from `config`, everything else is set here."""
        trained = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
        return cls(
            **{key: config[key] for key in trained if config.get(key) is not None},
            algorithm_type="dpmsolver++",
            solver_type="midpoint",
            solver_order=2,
            use_karras_sigmas=True,
            final_sigmas_type="zero",
            lower_order_final=True,
            euler_at_final=False,
            thresholding=False,
            timestep_spacing="linspace",
            steps_offset=0,
            variance_type=None,
        )

    def set_timesteps(self, num_inference_steps=None, device=None, **kwargs):
        super().set_timesteps(num_inference_steps, device=device, **kwargs)
        table = np.log(np.array(((1 - self.alphas_cumprod) / self.alphas_cumprod) ** 0.5))
        fractional = [self._sigma_to_t(sigma, table) for sigma in self.sigmas[:-1].double().numpy()]
        self.timesteps = torch.tensor(np.array(fractional), dtype=torch.float32, device=device)
        self.init_noise_sigma = float(self.sigmas[0] / (self.sigmas[0] ** 2 + 1) ** 0.5)


class Pipeline:
    """A loaded model. `generate` turns tries into pictures; out of memory halves the batch and goes on."""

    def __init__(
        self, pipe: StableDiffusionPipeline, recipe: Recipe, device: torch.device, safety: Safety | None = None
    ):
        self.recipe = recipe
        self.device = device
        self.safety = safety
        self.unet, self.vae, self.text_encoder = pipe.unet, pipe.vae, pipe.text_encoder
        for part in (self.unet, self.vae, self.text_encoder):
            part.requires_grad_(False).eval().to(device)
        self.tokenizer = pipe.tokenizer
        self.scheduler = KarrasScheduler.like(pipe.scheduler.config)
        self.latent_factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.most = None
        self.encode = functools.lru_cache(maxsize=CACHED_PROMPTS)(self._encode)

    @torch.inference_mode()
    def generate(self, attempts: list[Attempt]) -> Iterator[Result]:
        """Make one batch: results in the order of `attempts`, each as soon as it is decoded.

        Raises UserError when not even one picture fits into the device's memory.
        """
        todo = list(attempts)
        while todo:
            part = todo[: self.most]
            try:
                for result in self._make(part):
                    yield result
                    todo.pop(0)
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise UserError(f"{self.device}: not enough memory for one {self._size} picture") from None
                self.most = len(part) // 2
                log.warning("out of memory with %d pictures at once: going on with %d", len(part), self.most)
                torch.cuda.empty_cache()

    def checker_of(self, sample: Sample) -> str:
        """The name of the safety checker that a sample's pictures must pass, "" for none."""
        return self.safety.name if self.safety and (sample.minor or self.safety.adults) else ""

    @property
    def _size(self) -> str:
        return f"{self.recipe.width}×{self.recipe.height}"

    def _make(self, attempts: list[Attempt]) -> Iterator[Result]:
        latents = self.denoise(attempts)
        for start in range(0, len(attempts), DECODED_AT_ONCE):
            part = attempts[start : start + DECODED_AT_ONCE]
            yield from self._pictures(part, latents[start : start + DECODED_AT_ONCE])

    def denoise(self, attempts: list[Attempt]) -> torch.Tensor:
        """Latents of a batch, (batch, channels, height / factor, width / factor), float32; guidance per sample."""
        samples = [attempt.sample for attempt in attempts]
        prompt, negative = self.embeddings([s.prompt for s in samples], [s.negative_prompt for s in samples])
        encoded = torch.cat([negative, prompt])
        guidance = torch.tensor([s.guidance_scale for s in samples], device=self.device).view(-1, 1, 1, 1)
        self.scheduler.set_timesteps(self.recipe.steps, device=self.device)
        latents = self.noise([attempt.seed for attempt in attempts]) * self.scheduler.init_noise_sigma
        for timestep in self.scheduler.timesteps:
            both = torch.cat([latents, latents]).to(self.unet.dtype)
            predicted = self.unet(both, timestep, encoder_hidden_states=encoded).sample.float()
            without, with_prompt = predicted.chunk(2)
            guided = without + guidance * (with_prompt - without)
            latents = self.scheduler.step(guided, timestep, latents).prev_sample
        return latents

    def noise(self, seeds: list[int]) -> torch.Tensor:
        """Unit noise, one CPU generator a picture, so that neither batch nor device changes it."""
        height, width = (side // self.latent_factor for side in (self.recipe.height, self.recipe.width))
        shape = (self.unet.config.in_channels, height, width)
        return torch.stack(
            [torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds]
        ).to(self.device)

    def embeddings(self, positive: list[str], negative: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Encodings of both prompts, each (batch, tokens, width), padded to one length with the empty prompt's."""
        encoded = [self.encode(text) for text in [*positive, *negative]]
        longest = max(len(item) for item in encoded)
        empty = self.encode("")
        padded = [torch.cat([item] + [empty] * ((longest - len(item)) // len(empty))) for item in encoded]
        return torch.stack(padded[: len(positive)]), torch.stack(padded[len(positive) :])

    def _encode(self, text: str) -> torch.Tensor:
        """A prompt's encoding, (77 × chunks, width): weights applied per chunk, the chunk's mean kept."""
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        comma = self.tokenizer.convert_tokens_to_ids(",</w>")
        ids, weights = [], []
        for pairs in prompts.chunk(text, self._tokens, comma):
            fill = prompts.CHUNK - len(pairs)
            ids.append([begin, *(token for token, _ in pairs), *[end] * (fill + 1)])
            weights.append([1.0, *(weight for _, weight in pairs), *[1.0] * (fill + 1)])
        hidden = self.text_encoder(torch.tensor(ids, device=self.device)).last_hidden_state.float()
        weighted = hidden * torch.tensor(weights, device=self.device).unsqueeze(-1)
        weighted *= hidden.mean(dim=(1, 2), keepdim=True) / weighted.mean(dim=(1, 2), keepdim=True)
        return weighted.flatten(0, 1).to(self.unet.dtype)

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids

    def _pictures(self, attempts: list[Attempt], latents: torch.Tensor) -> Iterator[Result]:
        """Decode latents; one that is not finite, or flagged by the safety checker, becomes a reason."""
        scaled = (latents / self.vae.config.scaling_factor).to(self.vae.dtype)
        pixels = self.vae.decode(scaled, return_dict=False)[0].float()
        finite = latents.isfinite().flatten(1).all(1) & pixels.isfinite().flatten(1).all(1)
        pixels = ((pixels.nan_to_num() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        images = [Image.fromarray(array) for array in pixels.permute(0, 2, 3, 1).cpu().numpy()]
        flagged = self._flagged(attempts, images)
        for attempt, image, fine, flag in zip(attempts, images, finite.tolist(), flagged):
            reason = "not finite" if not fine else "flagged by the safety checker" if flag else None
            yield Result(attempt, None if reason else image, reason)

    def _flagged(self, attempts: list[Attempt], images: list[Image.Image]) -> list[bool]:
        if self.safety is None:
            return [False] * len(images)
        flags = self.safety(images)
        return [flag and self.checker_of(attempt.sample) != "" for attempt, flag in zip(attempts, flags)]


@dataclass(frozen=True)
class Safety:
    """A safety checker; with `adults` False only minors' pictures can be rejected by it."""

    name: str
    checker: StableDiffusionSafetyChecker
    processor: CLIPImageProcessor
    adults: bool = True

    def __call__(self, images: list[Image.Image]) -> list[bool]:
        """True for every picture that must not be kept."""
        weights = next(self.checker.parameters())
        inputs = self.processor(images, return_tensors="pt").pixel_values.to(weights)
        # The checker paints what it flags black; it is given something else to paint on, and its flags are used.
        return list(self.checker(images=np.zeros((len(images), 1)), clip_input=inputs)[1])


def load(
    source: Source,
    recipe: Recipe,
    device: torch.device,
    config: Path | None = None,
    safety_checker: str = "",
    check_adults: bool = True,
    minors: bool = True,
) -> Pipeline:
    """Load a model, float16 on CUDA and float32 elsewhere; safetensors only.

    `minors` says whether the run has rows of minors: then, and wherever adults are checked, there is a safety checker,
    the checkpoint's own or `safety_checker`. The built-in preview has none and needs none: it cannot make a picture of
    anything. Raises UserError in one line for whatever cannot be loaded.
    """
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.set_verbosity_error()
    for library in (transformers, diffusers):
        library.utils.logging.disable_progress_bar()
    if source.kind == "preview":
        from builder import preview

        return Pipeline(preview.build(), recipe, device)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    try:
        pipe = _read(source, config, dtype)
        safety = _safety(pipe, safety_checker, check_adults, device, dtype) if minors or check_adults else None
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        line = " ".join(str(error).split())[:300]
        raise UserError(f"{source.name}: cannot be loaded, pickled weights are refused: {line}") from None
    return Pipeline(pipe, recipe, device, safety)


def _read(source: Source, config: Path | None, dtype: torch.dtype) -> StableDiffusionPipeline:
    if source.kind == "file":
        where = {"config": str(config), "local_files_only": True} if config else {}
        return StableDiffusionPipeline.from_single_file(source.location, torch_dtype=dtype, **where)
    revision = {"revision": source.revision} if source.kind == "hub" else {}
    return StableDiffusionPipeline.from_pretrained(
        source.location, torch_dtype=dtype, use_safetensors=True, requires_safety_checker=False, **revision
    )


def _safety(
    pipe: StableDiffusionPipeline, fallback: str, adults: bool, device: torch.device, dtype: torch.dtype
) -> Safety:
    name, checker, processor = "the model's own", pipe.safety_checker, pipe.feature_extractor
    if checker is None:
        name = fallback
        checker = StableDiffusionSafetyChecker.from_pretrained(fallback, dtype=dtype, use_safetensors=True)
        processor = CLIPImageProcessor.from_pretrained(fallback)
    return Safety(name, checker.to(device).eval(), processor, adults)
