"""The sampler: DPM++ 2M Karras with k-diffusion's numbers."""

from __future__ import annotations

import numpy as np
import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

from builder.common.errors import UserError

LAST_SIGNAL = 4.8973451890853435e-08
"""The web UI's share of signal at the last timestep of a schedule that ends in pure noise; 0 would divide by 0."""


class KarrasScheduler(DPMSolverMultistepScheduler):
    """DPM++ 2M Karras with k-diffusion's numbers: fractional timesteps, and noise as long as its sigma says.

    The stock class rounds the timesteps and starts from unit noise, which moves the result by 4e-4.
    """

    @classmethod
    def like(cls, config: dict) -> KarrasScheduler:
        """For a checkpoint: what belongs to its training is taken from `config`, everything else is set here.

        Raises UserError for a schedule that was rescaled to end in pure noise ("zero terminal SNR") where the network
        predicts noise: of pure noise that says nothing about the picture.
        """
        trained = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
        rescaled = bool(config.get("rescale_betas_zero_snr"))
        if rescaled and config.get("prediction_type", "epsilon") != "v_prediction":
            raise UserError("rescale_betas_zero_snr needs prediction_type v_prediction; its scheduler config is wrong")
        scheduler = cls(
            **{key: config[key] for key in trained if config.get(key) is not None},
            rescale_betas_zero_snr=rescaled,
            algorithm_type="dpmsolver++",
            solver_type="midpoint",
            solver_order=2,
            use_karras_sigmas=True,
            final_sigmas_type="zero",
            lower_order_final=True,
            euler_at_final=False,
            thresholding=False,
            timestep_spacing="linspace",
            steps_offset=1,
            variance_type=None,
        )
        if rescaled:
            scheduler.alphas_cumprod[-1] = LAST_SIGNAL
        return scheduler

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        mu: float | None = None,
        timesteps: list[int] | None = None,
    ) -> None:
        # diffusers' own types leave out the None of its defaults.
        super().set_timesteps(num_inference_steps, device, mu, timesteps)  # type: ignore[arg-type]
        table = np.log(((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt().numpy())
        fractional = [self._sigma_to_t(sigma, table) for sigma in self.sigmas[:-1].double().numpy()]
        self.timesteps = torch.tensor(np.array(fractional), dtype=torch.float32, device=device)
        self.init_noise_sigma = float(self.sigmas[0] / (self.sigmas[0] ** 2 + 1) ** 0.5)
