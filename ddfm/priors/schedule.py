r"""Noise schedules: how much noise there is at each timestep of a diffusion model.

At timestep t (0 .. T-1, noisier for larger t), a clean image x_0 becomes

    x_t = alpha_t x_0 + sigma_t eps,    alpha_t^2 = abar_t,    sigma_t^2 = 1 - abar_t,

with abar_t = prod_{s <= t} (1 - beta_s). A schedule is the tensor `alphas_bar` of abar_t, in
float64 on the CPU. (1 - abar_t loses digits in float32, and some devices have no float64. So roots
are computed first, and only then converted to the image's dtype and device.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddfm.arguments import one_of
from ddfm.errors import InputError

__all__ = [
    "alpha_sigma",
    "alphas_bar",
    "alphas_bar_of_betas",
    "cosine_betas",
    "linear_betas",
    "t_of_sigma",
]


def linear_betas(T: int = 1000) -> Tensor:
    """Ho et al. 2020: 1e-4 to 0.02 for T = 1000, scaled so that any T ends at the same noise."""
    return torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64)


def cosine_betas(T: int = 1000) -> Tensor:
    """Nichol and Dhariwal 2021: abar follows a squared cosine; no beta exceeds 0.999."""
    time = torch.arange(T + 1, dtype=torch.float64) / T
    abar = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - abar[1:] / abar[:-1]).clamp(max=0.999)


SCHEDULES = {"linear": linear_betas, "cosine": cosine_betas}
LEAST = {"linear": 20, "cosine": 1}  # timesteps; with fewer, the last linear beta would exceed 1


def alphas_bar(schedule: str = "linear", T: int = 1000) -> Tensor:
    """abar_t of a schedule by name, shape (T,), float64."""
    one_of("noise schedule", schedule, SCHEDULES)
    least = LEAST[schedule]
    if least > T:
        raise InputError(f"the noise schedule {schedule} needs T of at least {least}, not {T}")
    return alphas_bar_of_betas(SCHEDULES[schedule](T))


def alphas_bar_of_betas(betas: Tensor) -> Tensor:
    """abar_t of betas, which must be a vector with values in (0, 1]."""
    betas = torch.as_tensor(betas, dtype=torch.float64, device="cpu")
    if betas.ndim != 1 or len(betas) == 0 or not bool(((betas > 0) & (betas <= 1)).all()):
        raise InputError("betas of a noise schedule must be a vector with values in (0, 1]")
    return torch.cumprod(1 - betas, dim=0)


def alpha_sigma(alphas_bar: Tensor, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t of each image, t of shape (B,), reshaped to multiply `like`.

    The whole table is moved to the device of t and indexed there: indexing on the CPU would make
    an accelerator wait for t.
    """
    alpha, sigma = (
        table.to(like.dtype).to(t.device)[t].to(like.device).view(-1, 1, 1, 1)
        for table in (alphas_bar.sqrt(), (1 - alphas_bar).sqrt())
    )
    return alpha, sigma


def t_of_sigma(alphas_bar: Tensor, sigma: float) -> int:
    """The timestep whose sigma_t / alpha_t (noise on an unscaled image) is nearest to sigma."""
    if not 0 <= sigma < math.inf:
        raise InputError(f"a noise level must be a finite number, 0 or more, not {sigma}")
    ratio = ((1 - alphas_bar) / alphas_bar).sqrt()
    return int((ratio - sigma).abs().argmin())
