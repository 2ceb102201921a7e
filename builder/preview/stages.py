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
from builder.preview.data import Drawings, LatentFile, batches, random_look
from builder.preview.loop import Stage, fit
from builder.preview.truth import LABELS, truth
from builder.spec import Recipe, Spec

DROPPED = 0.12
"""Share of captions replaced by the empty or a negative prompt, which is what guidance compares with."""
FOCUS = 0.9
"""Share of steps in which an autoencoder sees faces alone, once it has learned whole pictures."""
SPOILED = 0.08
"""Share of the verifier's pictures that do not show one whole face."""
NOISE = 0.05
"""Standard deviation of the noise on latents while a decoder learns: the denoiser's latents are not exact."""


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

    def endless(step: int) -> Iterator[tuple[torch.Tensor, list[Caption]]]:
        rng = np.random.default_rng([0, step])
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

    trained = fit(stage, folder, model, endless, loss_of)
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
    spec: Spec,
    folder: Path,
    stage: Stage,
    channels: tuple[int, ...],
    start,
    device: torch.device,
    workers: int,
    focus: float = 0.0,
):
    """Train an autoencoder; whatever weights of `start` fit are taken over first (the inner part of a smaller one).

    The share `focus` of the steps sees faces alone; see `face_crops`.
    """
    vae = nets.autoencoder(channels)
    if start is not None:
        _take_over(vae, start)
    vae = vae.to(device, memory_format=torch.channels_last)

    def loss_of(vae, batch) -> torch.Tensor:
        pictures = face_crops(batch[3], batch[0])[0] if torch.rand(()) < focus else batch[0]
        pictures = pictures.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            latents = vae.encode(pictures).latent_dist.mean
            made = vae.decode(latents + NOISE * torch.randn_like(latents)).sample
        return picture_loss(made.float(), pictures) + 1e-3 * latents.float().pow(2).mean()

    def endless(step: int) -> Iterator:
        return batches(Drawings(spec, vae.config.sample_size, stage.name, start=step), stage.batch_size, workers)

    return fit(stage, folder, vae, endless, loss_of).eval()


def face_crops(centres: torch.Tensor, *grids: torch.Tensor) -> list[torch.Tensor]:
    """A quarter of each picture, around the face: there is the detail that matters, at a quarter of the cost.

    `grids` are pictures or latents of the same people, (batch, channels, side, side); they are cut at latent cells.
    """
    cells = nets.LATENT_SIDE
    jitter = torch.randint(-1, 2, centres.shape)
    corners = (centres * cells - cells / 4 + jitter).round().long().clamp(0, cells // 2).tolist()
    cut = []
    for grid in grids:
        cell = grid.shape[-1] // cells
        size = cell * cells // 2
        parts = [one[:, cell * y : cell * y + size, cell * x : cell * x + size] for one, (x, y) in zip(grid, corners)]
        cut.append(torch.stack(parts))
    return cut


def enlarged(small, device: torch.device):
    """An autoencoder for 512 pixels whose inner part is that of `small`; its outer blocks are to be trained."""
    vae = nets.autoencoder(nets.CHANNELS)
    _take_over(vae, small)
    return vae.to(device, memory_format=torch.channels_last)


def learn_encoder(spec: Spec, folder: Path, stage: Stage, vae, small, device: torch.device, workers: int):
    """Train the encoder to give the latents that `small` gives for the same picture shrunk.

    So the denoiser can learn from latents of small pictures, which are drawn and encoded many times faster.
    """

    def loss_of(_, batch) -> torch.Tensor:
        pictures, latents = _with_latents(small, batch, device)
        with torch.autocast(device.type, torch.bfloat16):
            return F.mse_loss(vae.encode(pictures).latent_dist.mean.float(), latents)

    return _learn_half(spec, folder, stage, vae, [vae.encoder, vae.quant_conv], loss_of, workers)


def learn_decoder(spec: Spec, folder: Path, stage: Stage, vae, small, device: torch.device, workers: int):
    """Train the decoder to draw the whole picture from the latents that `small` gives for it shrunk."""

    def loss_of(_, batch) -> torch.Tensor:
        pictures, latents = _with_latents(small, batch, device)
        if torch.rand(()) < FOCUS:
            pictures, latents = face_crops(batch[3], pictures, latents)
        with torch.autocast(device.type, torch.bfloat16):
            made = vae.decode(latents + NOISE * torch.randn_like(latents)).sample
        return picture_loss(made.float(), pictures)

    return _learn_half(spec, folder, stage, vae, [vae.post_quant_conv, vae.decoder], loss_of, workers).eval()


def _learn_half(spec: Spec, folder: Path, stage: Stage, vae, parts: list, loss_of, workers: int):
    def endless(step: int) -> Iterator:
        return batches(Drawings(spec, vae.config.sample_size, stage.name, start=step), stage.batch_size, workers)

    trained = fit(stage, folder, torch.nn.ModuleList(parts), endless, loss_of)
    for part, better in zip(parts, trained):
        part.load_state_dict(better.state_dict())
    return vae


@torch.no_grad()
def _with_latents(small, batch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    pictures = batch[0].to(device, memory_format=torch.channels_last)
    shrunk = F.avg_pool2d(pictures, pictures.shape[-1] // small.config.sample_size)
    with torch.autocast(device.type, torch.bfloat16):
        return pictures, small.encode(shrunk).latent_dist.mean.float()


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


@torch.no_grad()
def keep_latents(spec: Spec, folder: Path, stage: Stage, vae, device: torch.device, workers: int) -> LatentFile:
    """Encode the stage's drawings once; the denoiser learns from their latents."""
    file = LatentFile(folder / "latents")
    made = len(file)
    endless = batches(Drawings(spec, vae.config.sample_size, stage.name, start=made), stage.batch_size, workers)
    while made < stage.samples:
        pictures, captions, *_ = next(endless)
        with torch.autocast(device.type, torch.bfloat16):
            latents = vae.encode(pictures.to(device, memory_format=torch.channels_last)).latent_dist.mean
        file.append(latents.float(), captions)
        made += len(captions)
        if made // 1000 != (made - len(captions)) // 1000:
            print(f"latents: {made} of {stage.samples}", flush=True)
    return file


def denoise(folder: Path, stage: Stage, file: LatentFile, vae, words, encoder, device: torch.device, on_save=None):
    """Train the UNet to predict v at random timesteps, its prompts encoded as they are when pictures are made."""
    latents, captions = file.read((nets.LATENTS, nets.LATENT_SIDE, nets.LATENT_SIDE))
    vae.register_to_config(scaling_factor=1 / latents.float().std().item())
    latents = latents.float() * vae.config.scaling_factor
    net = nets.unet().to(device)
    pipe = Pipeline(nets.assemble(words, encoder, vae, net), Recipe(model="preview"), device)
    net.requires_grad_(True).train()
    alphas = pipe.scheduler.alphas_cumprod.to(device)
    with torch.no_grad():
        encoded = torch.stack([pipe.embeddings(c.prompt, c.negative_prompt)[0].half() for c in captions])

    def endless(step: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        rng = np.random.default_rng([1, step])
        while True:
            chosen = rng.integers(len(latents), size=stage.batch_size)
            texts = encoded[chosen].to(device, torch.float32)
            for row in np.flatnonzero(rng.random(len(chosen)) < DROPPED):
                texts[row] = _dropped(pipe, captions[chosen[row]], rng)
            yield latents[chosen].to(device), texts

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

    return fit(stage, folder, net, endless, loss_of, on_save).eval()


@torch.no_grad()
def _dropped(pipe: Pipeline, caption: Caption, rng: np.random.Generator) -> torch.Tensor:
    """What stands in a dropped caption's place: mostly the negative prompt, as in use, else the empty one."""
    if rng.random() < 0.8:
        return pipe.embeddings(caption.prompt, caption.negative_prompt)[1]
    return pipe.embeddings("", caption.negative_prompt)[0]


def read_faces(spec: Spec, folder: Path, stage: Stage, device: torch.device, workers: int):
    """Train the verifier: for each picture every label that is known to be there or not, rare ones weighted up."""
    rarity = _rarity(spec).to(device)
    model = nets.verifier(LABELS).to(device, memory_format=torch.channels_last)

    def endless(step: int) -> Iterator:
        return batches(Drawings(spec, 128, "verifier", 0.25, step, SPOILED), stage.batch_size, workers)

    def loss_of(model, batch) -> torch.Tensor:
        pictures, answers = batch[0], batch[2].to(device)
        known = ~answers.isnan()
        pictures = _disturbed(pictures).to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            found = model(pictures).logits.float()
        weight = torch.where(answers == 1, rarity, 1.0) * known
        loss = F.binary_cross_entropy_with_logits(found, answers.nan_to_num(), reduction="none")
        return (loss * weight).sum() / weight.sum()

    return fit(stage, folder, model, endless, loss_of).eval()


def _rarity(spec: Spec) -> torch.Tensor:
    """How many times as many pictures are without a label as with it, at most 6: weights of those with it."""
    rng = np.random.default_rng(0)
    answers = torch.from_numpy(np.stack([truth(random_look(spec, rng, 0.25)[0]) for _ in range(2000)]))
    return ((answers == 0).sum(0) / (answers == 1).sum(0)).clamp(1, 6)


def _disturbed(pictures: torch.Tensor) -> torch.Tensor:
    """A little noise, softness and brightness, so that the verifier does not lean on how cleanly a face is drawn."""
    count = len(pictures)
    soft = F.interpolate(F.avg_pool2d(pictures, 2), scale_factor=2, mode="bilinear")
    mix = torch.rand(count, 1, 1, 1) * (torch.rand(count, 1, 1, 1) < 0.5)
    pictures = pictures + mix * (soft - pictures)
    return pictures * (0.9 + 0.2 * torch.rand(count, 1, 1, 1)) + 0.06 * torch.rand(count, 1, 1, 1) * torch.randn_like(
        pictures
    )
