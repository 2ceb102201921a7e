"""Full-size Stable Diffusion 1.5 runs through the pipeline: what tiny parts cannot show."""

import faulthandler
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from builder.models.pipeline import Pipeline
from builder.plan.plan import Plan
from builder.spec import table
from builder.spec.spec import Recipe
from tests.fixtures import random_weights, repositories, single_file
from tests.fixtures.hub import Hub

ROOT = Path(__file__).parents[2]
MODEL = "SG161222/Realistic_Vision_V2.0"
WORDS = 49_408
"""Tokens that the real tokenizer knows."""


def tokenizer():
    """The tiny tokenizer among as many tokens as the real one has; what was added is in no text."""
    small = random_weights.build().tokenizer
    return repositories.with_tokens(small, [f"unused{number}</w>" for number in range(WORDS - len(small))], [])


def unet():
    """Stable Diffusion 1.5's."""
    return UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(320, 640, 1280, 1280),
        down_block_types=(*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
        layers_per_block=2,
        cross_attention_dim=768,
        attention_head_dim=8,
    )


def vae():
    """Stable Diffusion 1.5's."""
    return AutoencoderKL(
        sample_size=512,
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    )


def full_size():
    """Stable Diffusion 1.5 with random weights."""
    small = random_weights.build()
    small.register_modules(tokenizer=tokenizer())
    torch.manual_seed(0)
    pipe = StableDiffusionPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                vocab_size=len(small.tokenizer),
                bos_token_id=small.tokenizer.bos_token_id,
                eos_token_id=small.tokenizer.eos_token_id,
                pad_token_id=small.tokenizer.pad_token_id,
            )
        ),
        tokenizer=small.tokenizer,
        unet=unet(),
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


def save(folder):
    """Write a full-size model as the default one lies on the Hub: configs, and one file of 4 GB; returns its size."""
    pipe = full_size()
    repositories.write_configs(folder, pipe)
    path = folder / "Realistic_Vision_V2.0.safetensors"
    save_file(single_file.weights(pipe), path)
    return path.stat().st_size


def taken(folder):
    """Bytes that a folder takes on disk, links not followed."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


@pytest.mark.slow
def test_the_first_picture_of_the_default_command(tmp_path, capsys):
    """A single file of 4 GB comes from a Hub and makes a picture: within so much memory, and on disk once."""
    faulthandler.cancel_dump_traceback_later()  # pytest's limit for a test, which two busy cores may exceed
    (tmp_path / "model").mkdir()
    size = save(tmp_path / "model")
    gc.collect()
    assert 4.2e9 < size < 4.4e9
    table = (ROOT / "builder" / "agfd30k.toml").read_text(encoding="utf-8")
    (tmp_path / "two_steps.toml").write_text(table.replace("steps = 20 ", "steps = 2 "), encoding="utf-8")
    made = repositories.Repositories(tmp_path / "repositories")
    command = [sys.executable, ROOT / "builder" / "generate.py", "--spec", "two_steps.toml", "--limit", "1", "--cpu"]
    command += [word for check in ("face", "integrity") for word in ("--without", check)]
    with Hub(tmp_path / "hub") as hub:
        hub.put_model(MODEL, tmp_path / "model")
        made.serve(hub, "checker", "clip")
        environment = hub.environment(tmp_path / "home") | {"PYTHONPATH": str(ROOT)}
        environment.pop("OMP_NUM_THREADS", None)
        start = time.monotonic()
        with open(tmp_path / "output.txt", "w") as output:
            process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        got = hub.bytes_got()
    said = (tmp_path / "output.txt").read_text()
    assert process.returncode == 0, said
    assert len(list(tmp_path.glob("agfd30k-raw/shards/*/images/*.png"))) == 1
    home, raw = taken(tmp_path / "home"), taken(tmp_path / "agfd30k-raw")
    with capsys.disabled():
        print(f"\nfull size: {seconds:.0f} s, {usage.ru_utime + usage.ru_stime:.0f} CPU-s, ", end="")
        print(f"{usage.ru_maxrss / 1e6:.1f} GB of memory at most, {got / 1e9:.2f} GB downloaded, ", end="")
        print(f"{home / 1e9:.2f} GB of models and {raw / 1e6:.1f} MB of raw build on disk")
    assert size <= got < 1.02 * size and home < 1.02 * size
    assert usage.ru_maxrss * 1024 < 3 * size
