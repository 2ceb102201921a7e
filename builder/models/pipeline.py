"""Samples in, pictures out: the parts of diffusers' StableDiffusionPipeline, run as the web UI runs them.

Prompt encodings follow the web UI (weights, chunks of 75 tokens, mean kept, each prompt at its own length), the sampler
is DPM++ 2M Karras as k-diffusion computes it, noise comes from one CPU generator a picture, and latents stay in float32
whatever the weights are.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from PIL import Image

from builder.common.errors import UserError
from builder.models.safety import Safety
from builder.models.scheduler import KarrasScheduler
from builder.plan.sample import Attempt, Result
from builder.spec import prompt_syntax
from builder.spec.spec import Recipe

CACHED_PROMPTS = 1024
DECODED_AT_ONCE = 4

log = logging.getLogger("agfd30k")


class Pipeline:
    """A loaded model. `generate` turns tries into pictures; out of memory halves the batch and goes on.

    `least_chunks` is how many chunks every prompt has at least, for a model that has seen none with fewer.
    """

    def __init__(
        self,
        pipe: StableDiffusionPipeline,
        recipe: Recipe,
        device: torch.device,
        safety: Safety | None = None,
        least_chunks: int = 1,
    ):
        self.least_chunks = least_chunks
        self.recipe = recipe
        self.device = device
        self.safety = safety
        self.unet, self.vae, self.text_encoder = pipe.unet, pipe.vae, pipe.text_encoder
        for part in (self.unet, self.vae, self.text_encoder):
            part.requires_grad_(False).eval().to(device)
        self.tokenizer = pipe.tokenizer
        self.scheduler = KarrasScheduler.like(pipe.scheduler.config)
        self.latent_factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        if recipe.width % self.latent_factor or recipe.height % self.latent_factor:
            raise UserError(f"this model makes sizes in steps of {self.latent_factor} pixels, not {self._size}")
        self.most: int | None = None
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

    @property
    def _size(self) -> str:
        return f"{self.recipe.width}×{self.recipe.height}"

    def _make(self, attempts: list[Attempt]) -> Iterator[Result]:
        latents = self.denoise(attempts)
        for start in range(0, len(attempts), DECODED_AT_ONCE):
            part = attempts[start : start + DECODED_AT_ONCE]
            yield from self._pictures(part, latents[start : start + DECODED_AT_ONCE])

    def denoise(self, attempts: list[Attempt]) -> torch.Tensor:
        """Latents of a batch, (batch, channels, height / factor, width / factor), float32.

        A picture does not depend on its neighbours: nothing is padded, and only samples whose prompts are as long as
        each other's, and whose negative prompts are too, go together.
        """
        encoded = [self.embeddings(attempt.sample.prompt, attempt.sample.negative_prompt) for attempt in attempts]
        latents = self.noise([attempt.seed for attempt in attempts])
        lengths = [(len(prompt), len(negative)) for prompt, negative in encoded]
        for pair in sorted(set(lengths)):
            chosen = [n for n, own in enumerate(lengths) if own == pair]
            guidance = [attempts[n].sample.guidance_scale for n in chosen]
            prompt, negative = (torch.stack([encoded[n][part] for n in chosen]) for part in (0, 1))
            latents[chosen] = self._denoise(latents[chosen], prompt, negative, guidance)
        return latents

    def _denoise(
        self, noise: torch.Tensor, prompt: torch.Tensor, negative: torch.Tensor, guidance: list[float]
    ) -> torch.Tensor:
        scale = torch.tensor(guidance, device=self.device).view(-1, 1, 1, 1)
        self.scheduler.set_timesteps(self.recipe.steps, device=self.device)
        latents = noise * self.scheduler.init_noise_sigma
        for timestep in self.scheduler.timesteps:
            with_prompt, without = self._predictions(latents, timestep, prompt, negative)
            guided = without + scale * (with_prompt - without)
            latents = self.scheduler.step(guided, timestep, latents).prev_sample
        return latents

    def _predictions(
        self, latents: torch.Tensor, timestep: torch.Tensor, prompt: torch.Tensor, negative: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the UNet says with the prompt and with the negative one: in one call where they are equally long."""
        noisy = latents.to(self.unet.dtype)
        if prompt.shape == negative.shape:
            both = self.unet(torch.cat([noisy, noisy]), timestep, encoder_hidden_states=torch.cat([prompt, negative]))
            with_prompt, without = both.sample.float().chunk(2)
        else:
            with_prompt, without = (
                self.unet(noisy, timestep, encoder_hidden_states=encoded).sample.float()
                for encoded in (prompt, negative)
            )
        return with_prompt, without

    def noise(self, seeds: list[int]) -> torch.Tensor:
        """Unit noise, one CPU generator a picture, so that neither batch nor device changes it."""
        height, width = (side // self.latent_factor for side in (self.recipe.height, self.recipe.width))
        shape = (self.unet.config.in_channels, height, width)
        return torch.stack(
            [torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds]
        ).to(self.device)

    def embeddings(self, prompt: str, negative: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Encodings of both prompts, each (its own tokens, width): as the web UI by default pads neither of them."""
        return self._filled(self.encode(prompt)), self._filled(self.encode(negative))

    def _filled(self, encoded: torch.Tensor) -> torch.Tensor:
        """Return an encoding with empty chunks at its end, up to the least number."""
        if self.least_chunks == 1:
            return encoded
        empty = self.encode("")
        return torch.cat([encoded] + [empty] * (self.least_chunks - len(encoded) // len(empty)))

    def _encode(self, text: str) -> torch.Tensor:
        """Return a prompt's encoding, (77 × chunks, width): weights applied per chunk, the chunk's mean kept."""
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        comma = self.tokenizer.convert_tokens_to_ids(",</w>")
        ids, weights = [], []
        for pairs in prompt_syntax.chunk(text, self._tokens, comma):
            fill = prompt_syntax.CHUNK - len(pairs)
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
        flagged = self._flagged(images)
        for attempt, image, fine, flag in zip(attempts, images, finite.tolist(), flagged):
            reason = "not finite" if not fine else "flagged by the safety checker" if flag else None
            yield Result(attempt, None if reason else image, reason)

    def _flagged(self, images: list[Image.Image]) -> list[bool]:
        if self.safety is None:
            return [False] * len(images)
        return self.safety(images)
