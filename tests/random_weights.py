"""A StableDiffusionPipeline of the same classes as the real one, tiny, with random weights, built in code.

Its pictures are patterns, not faces. Tests use it where only the code matters.
"""

from __future__ import annotations

import re

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from builder.table import DEFAULT

WIDTH = 32
CHANNELS = (4, 8, 16, 16, 32, 32)


def build() -> StableDiffusionPipeline:
    """A StableDiffusionPipeline for 512×512 pictures, the same weights every time, about 0.2 s a picture on a CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = _tokenizer()
        return StableDiffusionPipeline(
            vae=_vae(),
            text_encoder=_text_encoder(tokenizer),
            tokenizer=tokenizer,
            unet=_unet(),
            scheduler=DPMSolverMultistepScheduler(
                beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def _tokenizer() -> CLIPTokenizer:
    """A byte-level BPE with merges from the default table's words, so that its prompts fit into a few chunks."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    merges = {}
    for word in sorted(set(re.findall(r"[a-z]+", DEFAULT.read_text(encoding="utf-8").lower()))):
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            merges[pieces[0], pieces[1]] = pieces[0] + pieces[1]
            pieces[:2] = [pieces[0] + pieces[1]]
    joined = merges.values()
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), *joined, "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: n for n, token in enumerate(dict.fromkeys(vocabulary))}, merges=list(merges))


def _text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # A fresh layer norm has no bias, so its mean would be 0, and the rescaling after prompt weights would divide by it.
    bias = next(value for name, value in model.named_parameters() if name.endswith("final_layer_norm.bias"))
    torch.nn.init.normal_(bias, mean=0.5)
    return model


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=512 // 2 ** (len(CHANNELS) - 1),
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=WIDTH,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        sample_size=512,
        block_out_channels=CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * len(CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(CHANNELS),
        layers_per_block=1,
        norm_num_groups=1,
        latent_channels=4,
    )
