"""The models that making pictures is measured with, as a run finds them: weights are random, sizes the real ones.

On a GPU they are Stable Diffusion 1.5 with a safety checker of its size, and CLIP ViT-L/14. On a CPU, where the same
rows are rehearsed, they are tiny. The reader sees in every picture what was asked for, so that pictures pass.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from arithmetic import CHUNK, tflop
from devices import Device
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from builder.plan.plan import Plan
from builder.spec import prompt_syntax, table
from tests.fixtures import random_weights, repositories
from tests.models.test_full_size import full_size

MODEL, CHECKER, READER, TABLE, FACTS = "model", "checker", "reader", "table.toml", "facts.json"
VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
}
"""The picture part of CLIP ViT-L/14, which the safety checker has too."""
TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CONCEPT = 0.5
"""How near a picture may come to a concept: random directions of so many numbers are never so near."""
TINY_STEPS = 2
MOST = 32


def make(folder: Path, device: Device) -> dict:
    """Write the models and a table that names them, and return facts about them, which FACTS keeps too.

    `samples` are the numbers of those whose prompts have as many tokens as most samples' have: these are `lengths`, and
    `share` is how many samples have them. `tflop` is a picture's arithmetic, `theirs` where prompts are cut.
    """
    is_full = device.dtype == torch.float16
    torch.manual_seed(0)
    pipe = full_size() if is_full else random_weights.build()
    pipe.tokenizer.model_max_length = CHUNK
    steps = table.load().recipe.steps if is_full else TINY_STEPS
    pipe.to(dtype=device.dtype).save_pretrained(folder / MODEL)
    for name, part in ((CHECKER, _checker(is_full)), (READER, _reader(is_full))):
        part.to(device.dtype).save_pretrained(folder / name)
        _processor(is_full).save_pretrained(folder / name)
    repositories.clip_tokenizer().save_pretrained(folder / READER)
    text = table.DEFAULT.read_text(encoding="utf-8").replace("steps = 20 ", f"steps = {steps} ")
    text = text.replace('"openai/clip-vit-large-patch14"', json.dumps(str(folder / READER)))
    (folder / TABLE).write_text(text, encoding="utf-8")
    facts = _facts(pipe, Plan(table.load(folder / TABLE)))
    (folder / FACTS).write_text(json.dumps(facts))
    return facts


def _checker(is_full: bool) -> StableDiffusionSafetyChecker:
    if not is_full:
        return repositories.checker()
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=VISION, projection_dim=768))
    for concepts in (checker.concept_embeds, checker.special_care_embeds):
        concepts.data.normal_()
    for thresholds in (checker.concept_embeds_weights, checker.special_care_embeds_weights):
        thresholds.data.fill_(CONCEPT)
    return checker


def _reader(is_full: bool) -> CLIPModel:
    """Return a CLIP of which the tests' tiny one is a picture: it sees the same in everything, and nobody young."""
    if not is_full:
        return repositories.clip()
    words = repositories.clip_tokenizer().get_vocab()
    text = {**TEXT, "vocab_size": len(words), "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=768))
    for layer in clip.text_model.encoder.layers[1:]:
        for linear in (layer.self_attn.out_proj, layer.mlp.fc2):
            linear.weight.data.zero_()
            linear.bias.data.zero_()
    with torch.no_grad():
        repositories._tell_the_grown(clip.text_model, words)
        for projection in (clip.text_projection, clip.visual_projection):
            projection.weight.zero_()[:2, :2] = torch.eye(2)
        clip.vision_model.post_layernorm.weight.zero_()
        clip.vision_model.post_layernorm.bias.zero_()[:2] = 1
        clip.logit_scale.fill_(2)
    return clip.eval()


def _processor(is_full: bool) -> CLIPImageProcessor:
    side = 224 if is_full else repositories.PICTURE["image_size"]
    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def _facts(pipe: StableDiffusionPipeline, plan: Plan) -> dict:
    lengths = Counter(_lengths(pipe.tokenizer, sample) for _, sample in _samples(plan, 4))
    usual, count = lengths.most_common(1)[0]
    chosen = (number for number, sample in _samples(plan) if _lengths(pipe.tokenizer, sample) == usual)
    cut = (CHUNK, CHUNK)
    ours, theirs = (tflop(pipe.unet.config, pipe.vae.config, each, plan.spec.recipe.steps) for each in (usual, cut))
    share = count / lengths.total()
    samples = list(itertools.islice(chosen, MOST))
    return {"samples": samples, "lengths": usual, "share": share, "ours": ours, "theirs": theirs}


def _samples(plan: Plan, rounds: int | None = None) -> Iterator[tuple[tuple[int, int], object]]:
    """Yield samples of every cell by turns, each with its cell's number and its own within."""
    for number in itertools.count() if rounds is None else range(rounds):
        for place, cell in enumerate(plan.cells):
            if number < cell.chosen:
                yield (place, number), plan.at(cell, number)


def _lengths(tokenizer: CLIPTokenizer, sample) -> tuple[int, int]:
    """Return how many tokens the prompt and the negative prompt are filled up to."""
    comma = tokenizer.convert_tokens_to_ids(",</w>")

    def tokens(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids

    texts = (sample.prompt, sample.negative_prompt)
    prompt, negative = (CHUNK * len(list(prompt_syntax.chunk(text, tokens, comma))) for text in texts)
    return prompt, negative
