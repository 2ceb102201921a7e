"""A training loop that can be stopped and started: checkpoints, a log, a rate and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from builder.files import atomic

SAVED_EVERY = 120
"""Seconds between checkpoints."""


@dataclass(frozen=True)
class Stage:
    """One thing to train: `samples` in batches of `batch_size`, learning rate `rate` falling to 0 after a warm-up."""

    name: str
    samples: int
    batch_size: int
    rate: float
    average: float = 0.0

    def at(self, step: int) -> float:
        """The learning rate's factor at a step: up over 200 steps, then down a half cosine."""
        total = max(self.samples // self.batch_size, 1)
        warm = min(200, total // 10 + 1)
        down = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * min(step / total, 1)))).item()
        return min((step + 1) / warm, 1) * max(down, 0.01)


def fit(
    stage: Stage,
    folder: Path,
    model: torch.nn.Module,
    batches: Callable[[int], Iterator],
    loss_of: Callable,
    on_save: Callable[[torch.nn.Module], None] | None = None,
) -> torch.nn.Module:
    """Train `model` until the stage's samples are seen, from the last checkpoint on; returns the averaged model.

    `batches(step)` gives endless batches from a step on, `loss_of(model, batch)` a scalar.
    `on_save` is called with the averaged model at every checkpoint.
    """
    path, log = folder / f"{stage.name}.ckpt", folder / f"{stage.name}.log"
    optimizer = torch.optim.AdamW(model.parameters(), lr=stage.rate, weight_decay=0.01, betas=(0.9, 0.99))
    averaged = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(stage.average), use_buffers=True
    )
    step = _restore(path, model, averaged, optimizer)
    started, first, saved, losses = time.monotonic(), step, time.monotonic(), []
    total = stage.samples // stage.batch_size
    endless = batches(step)
    while step < total:
        for group in optimizer.param_groups:
            group["lr"] = stage.rate * stage.at(step)
        loss = loss_of(model, next(endless))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(model)
        losses.append(loss.item())
        step += 1
        if step == total or time.monotonic() - saved > SAVED_EVERY:
            rate = (step - first) * stage.batch_size / (time.monotonic() - started)
            left = (total - step) * stage.batch_size / rate / 60
            line = f"{stage.name}: {step * stage.batch_size} samples, loss {sum(losses) / len(losses):.4f}, "
            line += f"{rate:.1f} samples/s, {left:.0f} min left"
            print(line, flush=True)
            with open(log, "a") as file:
                file.write(line + "\n")
            _save(path, step, model, averaged, optimizer)
            saved, losses = time.monotonic(), []
            if on_save:
                on_save(averaged.module)
    return averaged.module


def _save(path: Path, step: int, model, averaged, optimizer) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "averaged": averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with atomic(path) as file:
        torch.save(state, file)


def _restore(path: Path, model, averaged, optimizer) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    averaged.load_state_dict(state["averaged"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]
