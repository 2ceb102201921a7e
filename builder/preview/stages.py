"""What each stage of the training learns: words, pictures, faces from words, and, apart from them, reading faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from builder.pipeline import Pipeline
from builder.preview import nets
from builder.preview.captions import Caption, random_caption
from builder.preview.data import Drawings, LatentFile, batches
from builder.preview.loop import Stage, fit
from builder.preview.truth import LABELS
from builder.spec import Recipe, Spec

DROPPED = 0.12
"""Share of captions replaced by the empty or a negative prompt, which is what guidance compares with."""


class Reader(torch.nn.Module):
    """The text tower with heads that must read every label from its last hidden states; the heads are thrown away."""

    def __init__(self, encoder: CLIPTextModel, kinds: dict[str, int]):
        super().__init__()
        self.encoder = encoder
        self.heads = torch.nn.ModuleDict({name: torch.nn.Linear(nets.WIDTH, size) for name, size in kinds.items()})

    def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        pooled = self.encoder(ids).last_hidden_state.mean(dim=1)
        return {name: head(pooled) for name, head in self.heads.items()}


def read_words(spec: Spec, folder: Path, stage: Stage, words: CLIPTokenizer, device: torch.device) -> CLIPTextModel:
    """Train the text tower on captions, to tell feature, sex, ethnicity, age group and phrase; then it is frozen."""
    phrases = sorted(
        {phrase for feature in spec.features for sex in feature.phrases for phrase in feature.phrases[sex]}
    )
    names = {
        "feature": [feature.name for feature in spec.features],
        "sex": spec.labels["sex"],
        "ethnicity": list(spec.ethnicities),
        "age_group": list(spec.age_groups),
        "phrase": phrases,
    }
    model = Reader(nets.text_encoder(words), {name: len(values) for name, values in names.items()}).to(device)
    rng = np.random.default_rng(0)

    def endless() -> Iterator[tuple[torch.Tensor, list[Caption]]]:
        while True:
            captions = [random_caption(spec, rng) for _ in range(stage.batch_size)]
            texts = [caption.prompt for caption in captions]
            ids = words(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
            yield ids.to(device), captions

    def loss_of(model: Reader, batch) -> torch.Tensor:
        ids, captions = batch
        found, loss = model(ids), 0
        for name, values in names.items():
            wanted = [spec.age_group(c.age) if name == "age_group" else getattr(c, name) for c in captions]
            target = torch.tensor([values.index(value) for value in wanted], device=device)
            loss = loss + F.cross_entropy(found[name], target)
        return loss

    trained = fit(stage, folder, model, endless(), loss_of)
    return trained.encoder.requires_grad_(False).eval()


def picture_loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """L1 at four scales, and L1 of the gradients, which keeps edges."""
    loss = 0
    for _ in range(4):
        loss = loss + F.l1_loss(made, wanted)
        for axis in (2, 3):
            loss = loss + 0.5 * F.l1_loss(made.diff(dim=axis), wanted.diff(dim=axis))
        made, wanted = F.avg_pool2d(made, 2), F.avg_pool2d(wanted, 2)
    return loss


def compress(
    spec: Spec, folder: Path, stage: Stage, channels: tuple[int, ...], start, device: torch.device, workers: int
):
    """Train an autoencoder; whatever weights of `start` fit are taken over first (the inner part of a smaller one)."""
    vae = nets.autoencoder(channels)
    if start is not None:
        _take_over(vae, start)
    vae = vae.to(device, memory_format=torch.channels_last)
    drawings = Drawings(spec, vae.config.sample_size, "autoencoder", start=len(channels))
    endless = batches(drawings, stage.batch_size, workers)

    def loss_of(vae, batch) -> torch.Tensor:
        pictures = batch[0].to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            hidden = vae.encode(pictures).latent_dist
            latents = hidden.mean + 0.05 * torch.randn_like(hidden.mean)
            made = vae.decode(latents).sample
        return picture_loss(made.float(), pictures) + 1e-3 * hidden.mean.float().pow(2).mean()

    return fit(stage, folder, vae, endless, loss_of).eval()


def _take_over(vae, start) -> None:
    """Copy the inner blocks of a smaller autoencoder: decoders are aligned at their start, encoders at their end."""
    own, shift = vae.state_dict(), len(vae.config.block_out_channels) - len(start.config.block_out_channels)
    for name, value in start.state_dict().items():
        parts = name.split(".")
        if parts[:2] == ["encoder", "down_blocks"]:
            parts[2] = str(int(parts[2]) + shift)
        target = ".".join(parts)
        if target in own and own[target].shape == value.shape:
            own[target].copy_(value)
    vae.load_state_dict(own)


@torch.inference_mode()
def keep_latents(
    spec: Spec, folder: Path, vae, count: int, batch_size: int, device: torch.device, workers: int
) -> LatentFile:
    """Encode `count` drawings once; the denoiser learns from their latents."""
    file = LatentFile(folder / "latents")
    made = len(file)
    endless = batches(Drawings(spec, vae.config.sample_size, "unet", start=made), batch_size, workers)
    while made < count:
        pictures, captions, _ = next(endless)
        with torch.autocast(device.type, torch.bfloat16):
            latents = vae.encode(pictures.to(device, memory_format=torch.channels_last)).latent_dist.mean
        file.append(latents.float(), captions)
        made += len(captions)
        if made // 1000 != (made - len(captions)) // 1000:
            print(f"latents: {made} of {count}", flush=True)
    return file


def denoise(folder: Path, stage: Stage, file: LatentFile, vae, words, encoder, device: torch.device, on_save=None):
    """Train the UNet to predict v at random timesteps, its prompts encoded as they are when pictures are made."""
    latents, captions = file.read((nets.LATENTS, 16, 16))
    vae.register_to_config(scaling_factor=1 / latents.float().std().item())
    latents = latents.float() * vae.config.scaling_factor
    net = nets.unet().to(device)
    pipe = Pipeline(nets.assemble(words, encoder, vae, net), Recipe(model="preview"), device)
    net.requires_grad_(True).train()
    alphas = pipe.scheduler.alphas_cumprod.to(device)
    rng = np.random.default_rng(1)

    def endless() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            chosen = rng.integers(len(latents), size=stage.batch_size)
            pairs = [_encoded(pipe, captions[n], rng) for n in chosen]
            yield latents[torch.from_numpy(chosen)].to(device), torch.stack(pairs)

    def loss_of(net, batch) -> torch.Tensor:
        clean, encoded = batch
        steps = torch.randint(0, len(alphas), (len(clean),), device=device)
        alpha = alphas[steps].view(-1, 1, 1, 1)
        noise = torch.randn_like(clean)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        with torch.autocast(device.type, torch.bfloat16):
            predicted = net(noisy, steps, encoder_hidden_states=encoded).sample
        return F.mse_loss(predicted.float(), target)

    return fit(stage, folder, net, endless(), loss_of, on_save).eval()


def _encoded(pipe: Pipeline, caption: Caption, rng: np.random.Generator) -> torch.Tensor:
    """A caption's encoding, padded as in use; now and then that of the negative or the empty prompt in its place."""
    with torch.no_grad():
        prompt, negative = pipe.embeddings(caption.prompt, caption.negative_prompt)
        if rng.random() >= DROPPED:
            return prompt
        return negative if rng.random() < 0.8 else pipe.embeddings("", caption.negative_prompt)[0]


def read_faces(spec: Spec, folder: Path, stage: Stage, device: torch.device, workers: int):
    """Train the verifier: for each picture every label that is known to be there or not, rare ones weighted up."""
    model = nets.verifier(LABELS).to(device, memory_format=torch.channels_last)
    endless = batches(Drawings(spec, 128, "verifier", disobedience=0.25), stage.batch_size, workers)

    def loss_of(model, batch) -> torch.Tensor:
        pictures, answers = batch[0], batch[2].to(device)
        known = ~answers.isnan()
        found = model(_disturbed(pictures).to(device, memory_format=torch.channels_last)).logits
        weight = torch.where(answers == 1, 6.0, 1.0) * known
        loss = F.binary_cross_entropy_with_logits(found, answers.nan_to_num(), reduction="none")
        return (loss * weight).sum() / weight.sum()

    return fit(stage, folder, model, endless, loss_of).eval()


def _disturbed(pictures: torch.Tensor) -> torch.Tensor:
    """A little noise, softness and brightness, so that the verifier does not lean on how cleanly a face is drawn."""
    count = len(pictures)
    soft = F.interpolate(F.avg_pool2d(pictures, 2), scale_factor=2, mode="bilinear")
    mix = torch.rand(count, 1, 1, 1) * (torch.rand(count, 1, 1, 1) < 0.5)
    pictures = pictures + mix * (soft - pictures)
    return pictures * (0.9 + 0.2 * torch.rand(count, 1, 1, 1)) + 0.06 * torch.rand(count, 1, 1, 1) * torch.randn_like(
        pictures
    )
