"""Full-size Stable Diffusion 1.5 runs through the pipeline: what tiny parts cannot show."""

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from builder.models.pipeline import Pipeline
from builder.plan.plan import Plan
from builder.spec import table
from builder.spec.spec import Recipe
from tests.fixtures import random_weights


def full_size():
    """Stable Diffusion 1.5 with random weights, and a tiny tokenizer in a text encoder of the real size."""
    small = random_weights.build()
    torch.manual_seed(0)
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL(
            sample_size=512,
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                eos_token_id=small.tokenizer.eos_token_id,
            )
        ),
        tokenizer=small.tokenizer,
        unet=UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            down_block_types=(*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
            up_block_types=("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
            layers_per_block=2,
            cross_attention_dim=768,
            attention_head_dim=8,
        ),
        scheduler=small.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    torch.nn.init.normal_(pipe.text_encoder.final_layer_norm.bias, mean=0.5)  # a mean of 0 cannot be kept
    return pipe


@pytest.mark.slow
def test_full_size():
    """One 512×512 picture comes out of the real shapes."""
    pipe = full_size()
    assert sum(weight.numel() for weight in pipe.unet.parameters()) == 859_520_964
    pipeline = Pipeline(pipe, Recipe(model="full size", steps=2), torch.device("cpu"))
    plan = Plan(table.load())
    attempt = plan.attempt(plan.sample(0), 0)
    (result,) = pipeline.generate([attempt])
    assert result.attempt == attempt
    assert result.reason is None
    assert (result.image.size, result.image.mode) == ((512, 512), "RGB")
