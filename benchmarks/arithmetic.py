"""What a picture of Stable Diffusion takes in arithmetic: counted on tensors without content, not timed."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

CHUNK = 77
"""Tokens that a text encoder takes at once; longer prompts take several times as many."""
UNET = {"sample_size": 64, "cross_attention_dim": 768}
"""Stable Diffusion 1.5's, where diffusers' defaults are not the same."""
VAE = {
    "sample_size": 512,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}


def tflop(unet: dict, vae: dict, lengths: tuple[int, int], steps: int) -> float:
    """Return a picture's arithmetic, in TFLOP: each step with the prompt and with the negative one, and the decoding.

    `unet` and `vae` are their configs, `lengths` the tokens of both prompts.
    """
    with torch.device("meta"):
        network, decoder = UNet2DConditionModel.from_config(unet), AutoencoderKL.from_config(vae)
        side, width = network.config.sample_size, network.config.cross_attention_dim
        latents = torch.empty(1, network.config.in_channels, side, side)
        with FlopCounterMode(display=False) as counter:
            for tokens in lengths:
                network(latents, torch.empty(()), encoder_hidden_states=torch.empty(1, tokens, width))
            step = counter.get_total_flops()
            decoder.decode(latents)
            return (steps * step + counter.get_total_flops() - step) / 1e12
