"""What the training learns last: faces from words, in the autoencoder's latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor

from builder.models.pipeline import Pipeline
from builder.spec.spec import Recipe
from drawn_faces.training import networks
from drawn_faces.training.autoencoder import NOISE
from drawn_faces.training.captions import Caption
from drawn_faces.training.drawings import LatentFile
from drawn_faces.training.loop import Stage, fit

DROPPED = 0.12
"""Share of captions replaced by the empty or a negative prompt, which is what guidance compares with."""
OFFSET = 0.1
"""Share of noise that is the same for a whole channel; without it the denoiser trusts the noise's mean, and dark or
bright pictures come out grey (Guttenberg, "Diffusion with offset noise", 2023)."""
FACE = 4.0
"""How much more the loss counts at the face's centre than far from it, where there is background and cloth."""
REACH = 2.5
"""Latent cells from the face's centre at which that has fallen to 61%."""


def denoise(
    folder: Path,
    stage: Stage,
    file: LatentFile,
    vae,
    words,
    encoder,
    device: torch.device,
    on_save: Callable | None = None,
):
    """Train the UNet to predict v at random timesteps, its prompts encoded as they are when pictures are made.

    A batch holds captions and negative prompts, so each caption is filled up to its negative prompt's length.
    """
    latents, captions, centres = file.read()
    latents = even_out(latents.float(), vae)
    weights = face_weights(centres)
    net = networks.unet().to(device)
    pipe = Pipeline(networks.assemble(words, encoder, vae, net), Recipe(model="preview"), device)
    net.set_attn_processor(AttnProcessor())  # on a CPU 1.6 times as fast as the fused one, which is slow backwards
    net.requires_grad_(True).train()
    alphas = networks.scheduler().alphas_cumprod.to(device)
    with torch.no_grad():
        encoded = torch.stack([_padded(pipe, c.prompt, c.negative_prompt).half() for c in captions])

    def endless(step: int) -> Iterator[tuple[torch.Tensor, ...]]:
        rng = np.random.default_rng([1, step])
        while True:
            chosen = rng.integers(len(latents), size=stage.batch_size)
            texts = encoded[chosen].to(device, torch.float32)
            for row in np.flatnonzero(rng.random(len(chosen)) < DROPPED):
                texts[row] = _dropped(pipe, captions[chosen[row]], rng)
            yield latents[chosen].to(device), texts, weights[chosen].to(device)

    def loss_of(net, batch) -> torch.Tensor:
        clean, encoded, weight = batch
        steps = torch.randint(0, len(alphas), (len(clean),), device=device)
        alpha = alphas[steps].view(-1, 1, 1, 1)
        noise = torch.randn_like(clean) + OFFSET * torch.randn_like(clean[:, :, :1, :1])
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        with torch.autocast(device.type, torch.bfloat16):
            predicted = net(noisy, steps, encoder_hidden_states=encoded).sample
        return (weight * (predicted.float() - target).square()).mean()

    return fit(stage, folder, net, endless, loss_of, on_save).eval()


@torch.no_grad()
def even_out(latents: torch.Tensor, vae) -> torch.Tensor:
    """Latents on their principal axes, each with the root of its spread, scaled to an overall spread of 1.

    Their spreads are far apart, and a loss of squares sees little but the largest. The change
    goes into the autoencoder's own 1×1 convolutions and its scaling factor, so its pictures stay what they are.
    """
    cells = latents.movedim(1, -1).reshape(-1, networks.LATENTS).double()
    mean = cells.mean(dim=0)
    spread, axes = torch.linalg.eigh(torch.cov((cells - mean).T))
    axes = axes * axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()  # else either sign would do
    scale = (spread.clamp(min=0) + NOISE**2) ** -0.25
    to, back = scale[:, None] * axes.T, axes / scale
    _turn(vae, to, back, mean)
    even = ((cells - mean) @ to.T).float()
    vae.register_to_config(scaling_factor=1 / even.std().item())
    shape = (len(latents), networks.LATENT_SIDE, networks.LATENT_SIDE, networks.LATENTS)
    return even.view(shape).movedim(-1, 1) * vae.config.scaling_factor


def _turn(vae, to: torch.Tensor, back: torch.Tensor, mean: torch.Tensor) -> None:
    """Make a latent z into to @ (z - mean) where the encoder ends, and into z again where the decoder begins."""
    ends, begins = vae.quant_conv, vae.post_quant_conv
    kernel, bias = ends.weight.double(), ends.bias.double()
    rows = slice(0, networks.LATENTS)  # the means; the other half, log variances, is not used
    ends.weight[rows] = torch.einsum("ij,jkyx->ikyx", to, kernel[rows]).float()
    ends.bias[rows] = (to @ (bias[rows] - mean)).float()
    kernel = begins.weight.double()
    begins.bias += torch.einsum("ijyx,j->i", kernel, mean).float()
    begins.weight.copy_(torch.einsum("ijyx,jk->ikyx", kernel, back))


def face_weights(centres: torch.Tensor) -> torch.Tensor:
    """How much each latent cell counts, (count, 1, side, side), by its distance to the face's centre; 1 on average."""
    places = (torch.arange(networks.LATENT_SIDE) + 0.5) / networks.LATENT_SIDE
    across = (places - centres[:, :1]).square()[:, None, None, :]
    down = (places - centres[:, 1:]).square()[:, None, :, None]
    reach = REACH / networks.LATENT_SIDE
    weights = 1 + FACE * torch.exp(-(across + down) / (2 * reach**2))
    return weights / weights.mean(dim=(2, 3), keepdim=True)


@torch.no_grad()
def _dropped(pipe: Pipeline, caption: Caption, rng: np.random.Generator) -> torch.Tensor:
    """What stands in a dropped caption's place: mostly the negative prompt, as in use, else the empty one."""
    if rng.random() < 0.8:
        return _padded(pipe, caption.negative_prompt, caption.prompt)
    return _padded(pipe, "", caption.negative_prompt)


def _padded(pipe: Pipeline, prompt: str, beside: str) -> torch.Tensor:
    """A prompt's encoding, filled with the empty prompt's to the length of the one beside it."""
    own, other, empty = pipe.encode([prompt, beside, ""])
    return torch.cat([own] + [empty] * ((len(other) - len(own)) // len(empty)))
