"""The preview model's parts: stock classes of transformers and diffusers, small."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from tokenizers import Tokenizer, models, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    ResNetConfig,
    ResNetForImageClassification,
)

WIDTH = 64
LATENTS = 32
"""Channels of a latent cell; with 12 the eyes and mouths are lost."""
SIZE = 512
LATENT_SIDE = 16
VERIFIER_SIDE = 128
CHANNELS = (8, 8, 16, 32, 64, 96)
"""Of the autoencoder, from 512 pixels to 16: one latent cell for 32×32 pixels."""
TINY_CHANNELS, LOW_CHANNELS = CHANNELS[3:], CHANNELS[2:]
"""The inner parts, which start at 64 and at 128 pixels and are trained first."""
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def tokenizer(texts: Iterable[str]) -> CLIPTokenizer:
    """A byte-level BPE in CLIP's form that knows every word of the texts as one token.

    Two runs on the same texts can number the tokens differently: a model keeps the tokenizer that it was trained with.
    """
    words = sorted({word for text in texts for word in re.findall(r"[a-z]+", text.lower())})
    learned = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learned.train_from_iterator(words, trainers.BpeTrainer(end_of_word_suffix="</w>", show_progress=False))
    merges = [tuple(pair) for pair in json.loads(learned.to_str())["model"]["merges"]]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    joined = [first + second for first, second in merges]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), *joined, "<|startoftext|>", "<|endoftext|>"]
    numbered = {token: n for n, token in enumerate(dict.fromkeys(vocabulary))}
    return CLIPTokenizer(vocab=numbered, merges=merges, model_max_length=77)


def text_encoder(words: CLIPTokenizer) -> CLIPTextModel:
    """CLIP's text tower, two layers wide enough for the table's words.

    Its last norm starts with a bias of 1, since a prompt's weights are applied in a way that keeps the mean of its
    encoding: that of a fresh norm is 0, and to divide by it means nothing.
    """
    tower = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    torch.nn.init.ones_(tower.final_layer_norm.bias)
    return tower


def autoencoder(channels: tuple[int, ...] = CHANNELS) -> AutoencoderKL:
    """Latents 16×16×32. One group a norm: groups of a few channels give wrong colours at this width."""
    return AutoencoderKL(
        sample_size=LATENT_SIDE * 2 ** (len(channels) - 1),
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        norm_num_groups=1,
        latent_channels=LATENTS,
        scaling_factor=1.0,
    )


def unet() -> UNet2DConditionModel:
    """About 5 million weights, cross-attention at 8×8 and in the middle."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=LATENTS,
        out_channels=LATENTS,
        block_out_channels=(96, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=16,
        attention_head_dim=8,
        cross_attention_dim=WIDTH,
    )


def scheduler() -> DPMSolverMultistepScheduler:
    """Stable Diffusion's betas, and v-prediction, which a small model learns better."""
    return DPMSolverMultistepScheduler(**BETAS, prediction_type="v_prediction", steps_offset=1)


def verifier(labels: list[str]) -> ResNetForImageClassification:
    """A small ResNet that answers yes or no to every label, for pictures of 128×128."""
    return ResNetForImageClassification(
        ResNetConfig(
            embedding_size=24,
            hidden_sizes=[32, 64, 96, 128],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: n for n, label in enumerate(labels)},
            problem_type="multi_label_classification",
        )
    )


def save_verifier(model: ResNetForImageClassification, folder: Path) -> None:
    """Save a verifier in float16, together with what must be done to a picture before it is read."""
    copy.deepcopy(model).half().save_pretrained(folder)
    shape, middle = {"height": VERIFIER_SIDE, "width": VERIFIER_SIDE}, [0.5] * 3
    options = {"size": shape, "resample": Image.Resampling.BOX, "do_center_crop": False}
    CLIPImageProcessor(**options, image_mean=middle, image_std=middle).save_pretrained(folder)


def assemble(words, encoder, vae, net) -> StableDiffusionPipeline:
    """The parts as one pipeline, to be saved or run."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=words,
        unet=net,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
