"""A training loop that can be stopped and started: checkpoints, and a log with rate, time taken and time left."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from builder.common.errors import UserError
from builder.common.files import atomic

SAVED_EVERY = 120
"""Seconds between checkpoints."""

UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, pickle.UnpicklingError)
"""What reading a damaged checkpoint, or that of another model, can end in."""


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
    step, spent = _restore(path, model, averaged, optimizer)
    saved, losses = time.monotonic(), []
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
        now = time.monotonic()
        if step == total or now - saved > SAVED_EVERY:
            spent += now - saved
            line = _line(stage, step, losses, now - saved, spent)
            print(line, flush=True)
            with open(log, "a") as file:
                file.write(line + "\n")
            _save(path, step, spent, model, averaged, optimizer)
            saved, losses = now, []
            if on_save:
                on_save(averaged.module)
    return averaged.module


def _line(stage: Stage, step: int, losses: list[float], took: float, spent: float) -> str:
    """How far a stage is, how fast it was in the last `took` seconds, and what it has taken in all, stops left out."""
    rate = len(losses) * stage.batch_size / took
    left = (stage.samples - step * stage.batch_size) / rate
    return (
        f"{stage.name}: {step * stage.batch_size} samples, loss {sum(losses) / len(losses):.4f}, "
        f"{rate:.1f} samples/s, {spent / 60:.0f} min so far, {max(left, 0) / 60:.0f} min left"
    )


def _save(path: Path, step: int, spent: float, model, averaged, optimizer) -> None:
    state = {
        "step": step,
        "spent": spent,
        "model": model.state_dict(),
        "averaged": averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with atomic(path) as file:
        torch.save(state, file)


def _restore(path: Path, model, averaged, optimizer) -> tuple[int, float]:
    """Steps that are done and the seconds that they took. Raises UserError for a checkpoint that cannot be read."""
    if not path.exists():
        return 0, 0.0
    with open(path, "rb") as file:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            model.load_state_dict(state["model"])
            averaged.load_state_dict(state["averaged"])
            optimizer.load_state_dict(state["optimizer"])
            return state["step"], state["spent"]
        except UNREADABLE as error:
            raise UserError(f"{path}: damaged; remove it, and the stage begins anew") from error
