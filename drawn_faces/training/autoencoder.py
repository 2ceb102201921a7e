"""What the training learns of pictures: an autoencoder from small to large, with an eye on faces, and its latents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

from builder.spec.spec import Spec
from drawn_faces.training import networks
from drawn_faces.training.drawings import Drawings, LatentFile, batches
from drawn_faces.training.loop import Stage, fit

FOCUS = 0.9
"""Share of steps in which an autoencoder sees faces alone, once it has learned whole pictures."""
NOISE = 0.05
"""Standard deviation of the noise on latents while a decoder learns: the denoiser's latents are not exact."""


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
    vae = networks.autoencoder(channels)
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
    cells = networks.LATENT_SIDE
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
    vae = networks.autoencoder(networks.CHANNELS)
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
    file = LatentFile(folder / "latents", (networks.LATENTS, networks.LATENT_SIDE, networks.LATENT_SIDE))
    endless = batches(Drawings(spec, vae.config.sample_size, stage.name, start=file.count), stage.batch_size, workers)
    while file.count < stage.samples:
        pictures, captions, _, centres = next(endless)
        with torch.autocast(device.type, torch.bfloat16):
            latents = vae.encode(pictures.to(device, memory_format=torch.channels_last)).latent_dist.mean
        file.append(latents.float(), captions, centres)
        if file.count % 1000 < len(captions):
            print(f"latents: {file.count} of {stage.samples}", flush=True)
    return file
