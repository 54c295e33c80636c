r"""Samplers: loops over falling noise levels that call a denoiser at each.

A denoiser is any callable (x_t, t) -> x_0, a prior alone or a prior guided by a likelihood. With
x_t = alpha_t x_0 + sigma_t eps, and s the timestep after t:

DDIM (Song et al. 2021, eq. 12 and 16), where eps follows from x_t and x_0:
    x_s = alpha_s x_0 + sqrt(sigma_s^2 - tau^2) eps + tau z,
    tau = eta sigma_s / sigma_t sqrt(1 - alpha_t^2 / alpha_s^2),    z ~ N(0, 1)
DDPM (Ho et al. 2020): the ancestral step, drawn from q(x_s | x_t, x_0), is the case eta = 1.
DPM-Solver++ 2M (Lu et al. 2022, algorithm 2), lambda = log(alpha / sigma):
    h = lambda_s - lambda_t,    r = h_before / h
    D = (1 + 1 / 2r) x_0 - 1 / 2r x_0_before
    x_s = sigma_s / sigma_t x_t - alpha_s (exp(-h) - 1) D

The last timestep is followed by the clean image, alpha = 1 and sigma = 0, where each of the three
returns x_0. Timesteps fall, and may begin at any level. A warm start at t0 is
`ddim(denoiser, noised(guess, t0, ...), timesteps(t0 + 1, steps), ...)`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ddfm.diffusion import SAMPLERS as NAMES
from ddfm.errors import InputError
from ddfm.extensions import find_part
from ddfm.numerics.planes import white_noise

__all__ = ["SAMPLERS", "Noise", "Step", "ddim", "ddpm", "dpm_solver", "find_sampler", "noised"]

Denoiser = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Step:
    """What a callback receives for each step; x0_prior is x0 before the likelihood, if any.

    The images are copies if the callback is that of a fusion; then it also gets the likelihood,
    whose state is that after this step until the next one, and `is_last`, which tells whether this
    is the last step so far. A pickled step has no likelihood.
    """

    index: int
    steps: int
    t: int
    x_t: Tensor = field(repr=False)
    x0_prior: Tensor = field(repr=False)
    x0: Tensor = field(repr=False)
    likelihood: Any = field(default=None, repr=False)
    is_last: Callable[[], bool] = field(default=lambda: True, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Step, (self.index, self.steps, self.t, self.x_t, self.x0_prior, self.x0)

    @property
    def objective(self) -> Tensor | None:
        """What the likelihood has raised in this step, (B,), if it has an objective."""
        if self.likelihood is None:
            return None
        if not self.is_last():
            raise InputError(
                "the objective of a step can only be asked for in its callback, since the next "
                "step changes the likelihood; keep the numbers rather than the steps"
            )
        return self.likelihood.objective(self.likelihood.to_luma(self.x0))


class Noise:
    """White noise, with one stream and one seed per image.

    It is drawn in float32 on the CPU, so that an image gets the same numbers alone, in any batch,
    and on any device.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def __call__(self, like: Tensor) -> Tensor:
        """The next noise for a batch (B, C, H, W), in its dtype and on its device."""
        if len(like) != len(self.generators):
            raise InputError(f"{len(self.generators)} seeds for a batch of {len(like)} images")
        shape = like.shape[1:]
        images = [white_noise(shape, generator) for generator in self.generators]
        return torch.stack(images).to(like.dtype).to(like.device)


def noised(x0: Tensor, t: int, alphas_bar: Tensor, noise: Tensor) -> Tensor:
    """x_t of a clean image x0, with which a warm start begins."""
    alpha, sigma = _level(alphas_bar, t)
    return alpha * x0 + sigma * noise


@torch.no_grad()
def ddim(
    denoiser: Denoiser,
    x: Tensor,
    timesteps: Sequence[int],
    alphas_bar: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
    callback: Callable[[Step], object] | None = None,
) -> Tensor:
    """From x at timesteps[0] to a clean image; first order, deterministic for eta = 0.

    Args:
        denoiser: (x_t, t) -> x_0, with t (B,) int64.
        x: x_t at timesteps[0], (B, C, H, W).
        timesteps: the levels to visit, falling.
        alphas_bar: abar_t of the schedule, float64 on the CPU.
        eta: how much of the noise is fresh at each step, 0 (none) to 1 (ancestral sampling).
        noise: the source of fresh noise, needed for eta > 0.
        callback: called with a `Step` after each call of the denoiser.
    """
    if eta > 0 and noise is None:
        raise InputError("a stochastic sampler (eta > 0) needs a source of noise")
    for step, (alpha, sigma), (alpha_s, sigma_s) in _steps(timesteps, alphas_bar):
        x0 = _denoise(denoiser, x, step, timesteps, callback)
        eps = (x - alpha * x0) / sigma
        tau = eta * sigma_s / sigma * math.sqrt(1 - (alpha / alpha_s) ** 2)
        x = alpha_s * x0 + math.sqrt(max(sigma_s**2 - tau**2, 0.0)) * eps
        if tau > 0 and noise is not None:
            x = x + tau * noise(x)
        del x0, eps  # frees memory, which matters for large images
    return x


def ddpm(
    denoiser: Denoiser,
    x: Tensor,
    timesteps: Sequence[int],
    alphas_bar: Tensor,
    *,
    noise: Noise,
    callback: Callable[[Step], object] | None = None,
) -> Tensor:
    """Ancestral sampling: DDIM with eta = 1. The arguments are those of `ddim`."""
    return ddim(denoiser, x, timesteps, alphas_bar, eta=1.0, noise=noise, callback=callback)


@torch.no_grad()
def dpm_solver(
    denoiser: Denoiser,
    x: Tensor,
    timesteps: Sequence[int],
    alphas_bar: Tensor,
    *,
    noise: Noise | None = None,
    callback: Callable[[Step], object] | None = None,
) -> Tensor:
    """DPM-Solver++ 2M: second order, with one call of the denoiser in each step.

    The arguments are those of `ddim`. It is deterministic: `noise` is not used, and is accepted so
    that all samplers can be called in the same way.
    """
    x0_before, h_before = None, math.nan
    for step, (alpha, sigma), (alpha_s, sigma_s) in _steps(timesteps, alphas_bar):
        x0 = _denoise(denoiser, x, step, timesteps, callback)
        h = _log(alpha_s) - _log(sigma_s) - _log(alpha) + _log(sigma)
        if x0_before is None or math.isinf(h):
            D = x0  # the first step cannot extrapolate, nor can the last, to infinite lambda
        else:
            D = x0 + h / (2 * h_before) * (x0 - x0_before)
        x = sigma_s / sigma * x - alpha_s * math.expm1(-h) * D
        x0_before, h_before = x0, h
    return x


_IN_ORDER: list[Callable[..., Tensor]] = [ddim, ddpm, dpm_solver]
SAMPLERS = dict(zip(NAMES, _IN_ORDER, strict=True))


def find_sampler(sampler: str | Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A sampler by its name, ours or another package's, or a callable; its signature is checked."""
    found = find_part("sampler", sampler, SAMPLERS) if isinstance(sampler, str) else sampler
    try:
        inspect.signature(found).bind(*[None] * 4, noise=None, callback=None)
    except ValueError:
        pass  # Python knows no signature of some functions that are written in C
    except TypeError as error:
        raise InputError(
            f"the sampler {getattr(found, '__name__', found)} must take (denoiser, x, timesteps, "
            f"alphas_bar, *, noise, callback): {error}"
        ) from None
    return found


def _level(alphas_bar: Tensor, t: int) -> tuple[float, float]:
    abar = float(alphas_bar[t])
    return math.sqrt(abar), math.sqrt(1 - abar)


def _steps(
    timesteps: Sequence[int], alphas_bar: Tensor
) -> Iterator[tuple[int, tuple[float, float], tuple[float, float]]]:
    """For each step its index, (alpha, sigma) at its start, and (alpha, sigma) at its end."""
    falling = all(t > s for t, s in pairwise(timesteps))
    if not timesteps or not falling or timesteps[-1] < 0 or timesteps[0] >= len(alphas_bar):
        raise InputError(
            f"timesteps of a sampler must decrease within 0 .. {len(alphas_bar) - 1}: {timesteps}"
        )
    levels = [_level(alphas_bar, t) for t in timesteps] + [(1.0, 0.0)]
    return zip(range(len(timesteps)), levels, levels[1:], strict=False)


def _denoise(
    denoiser: Denoiser,
    x: Tensor,
    step: int,
    timesteps: Sequence[int],
    callback: Callable[[Step], object] | None,
) -> Tensor:
    t = timesteps[step]
    x0 = denoiser(x, torch.full((len(x),), t, dtype=torch.int64, device=x.device))
    if callback is not None:
        x0_prior = getattr(denoiser, "x0_prior", x0)
        callback(Step(step, len(timesteps), t, x, x0_prior, x0))
    return x0


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
