"""The sampler as numbers: DPM++ 2M Karras, every coefficient of every step computed before the first one.

Latents keep their variance, as the network wants them: a picture times the signal's share and noise times its own, the
squares of which add up to 1. Where sigma is noise by signal, a step from one sigma to the next lower one is

    picture = sample × x + output × what the network says of x
    x       = keep × x + new × picture + old × picture of the step before

so that the loop needs no scheduler, and nothing in it waits for the device. Sources: Karras et al. 2022 (sigmas), Lu et
al. 2022 (2M), k-diffusion's `sample_dpmpp_2m`, of which these are the numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

from builder.common.errors import UserError

LAST_SIGNAL = 4.8973451890853435e-08
"""The web UI's share of signal at the last timestep of a schedule that ends in pure noise; 0 would divide by 0."""
RHO = 7
"""How much denser the sigmas lie towards 0. Source: Karras et al. 2022."""
TRAINED = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")


class Step(NamedTuple):
    """The numbers of one step; see above."""

    timestep: float
    sample: float
    output: float
    keep: float
    new: float
    old: float


@dataclass(frozen=True)
class Schedule:
    """The steps from noise to a picture; `start` is how long the first latents are as a share of the noise given."""

    start: float
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, config: dict, count: int) -> Schedule:
        """Return the schedule of so many steps for a checkpoint, of whose scheduler config only what belongs to its
        training counts.

        Raises UserError for a schedule that was rescaled to end in pure noise ("zero terminal SNR") where the network
        predicts noise: of pure noise that says nothing about the picture; and for a prediction that is not known.
        """
        prediction = config.get("prediction_type") or "epsilon"
        rescaled = bool(config.get("rescale_betas_zero_snr"))
        if prediction not in PREDICTIONS:
            raise UserError(f"prediction_type must be one of {', '.join(PREDICTIONS)}, got {prediction!r}")
        if rescaled and prediction != "v_prediction":
            raise UserError("rescale_betas_zero_snr needs prediction_type v_prediction; its scheduler config is wrong")
        trained = _trained_sigmas(config, rescaled)
        sigmas = _karras_sigmas(trained, count)
        timesteps = np.interp(np.log(sigmas[:-1]), np.log(trained), np.arange(len(trained)))
        return cls(_noise(sigmas[0]), tuple(_steps(sigmas, timesteps, PREDICTIONS[prediction])))

    def timesteps(self, device: torch.device) -> torch.Tensor:
        """Return what the network is told at each step, (steps,), float32."""
        return torch.tensor([step.timestep for step in self.steps], dtype=torch.float32, device=device)

    def denoise(
        self,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """Return latents made of unit noise, of its shape.

        `predict` gives what the network says of latents at a timestep, in a tensor that may be written over.
        """
        latents = noise * self.start
        before = noise
        for step, timestep in zip(self.steps, timesteps, strict=True):
            picture = predict(latents, timestep).mul_(step.output).add_(latents, alpha=step.sample)
            latents.mul_(step.keep).add_(picture, alpha=step.new)
            if step.old:
                latents.add_(before, alpha=step.old)
            before = picture
        return latents


def _signal(sigma: float) -> float:
    return float(1 / (sigma**2 + 1) ** 0.5)


def _noise(sigma: float) -> float:
    return float(sigma / (sigma**2 + 1) ** 0.5)


PREDICTIONS: dict[str, Callable[[float], tuple[float, float]]] = {
    "epsilon": lambda sigma: (1 / _signal(sigma), -sigma),
    "v_prediction": lambda sigma: (_signal(sigma), -_noise(sigma)),
    "sample": lambda sigma: (0.0, 1.0),
}
"""What a network may have learnt to say, and how much of the latents and of what it says makes the picture."""


def _trained_sigmas(config: dict, rescaled: bool) -> np.ndarray:
    """Return sigma at every timestep of the training, (timesteps,), rising, float64."""
    given = {key: config[key] for key in TRAINED if config.get(key) is not None}
    signal = DPMSolverMultistepScheduler(**given, rescale_betas_zero_snr=rescaled).alphas_cumprod.double().numpy()
    if rescaled:
        signal = np.append(signal[:-1], LAST_SIGNAL)
    return np.sqrt((1 - signal) / signal)


def _karras_sigmas(trained: np.ndarray, count: int) -> np.ndarray:
    """Return the sigmas between steps, (count + 1,): falling from the training's highest to its lowest, then 0."""
    ramp = np.linspace(trained[-1] ** (1 / RHO), trained[0] ** (1 / RHO), count)
    return np.append(ramp**RHO, 0.0)


def _steps(sigmas: np.ndarray, timesteps: np.ndarray, prediction: Callable[[float], tuple[float, float]]):
    """Yield the steps; the first one and the last one, which ends at 0, are of first order."""
    width_before = None
    for (sigma, lower), timestep in zip(itertools.pairwise(sigmas.tolist()), timesteps.tolist()):
        keep, new, slope = _noise(lower) / _noise(sigma), _signal(lower) * (1 - lower / sigma), 0.0
        if lower:
            width = float(np.log(sigma / lower))  # of the step, in log signal-to-noise
            slope = width / width_before / 2 if width_before else 0.0
            width_before = width
        yield Step(timestep, *prediction(sigma), keep, new * (1 + slope), -new * slope)
