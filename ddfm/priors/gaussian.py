r"""The exact denoiser of a stationary Gaussian field: a prior without weights.

In the Fourier domain (orthonormal, periodic borders) the waves of such a field are independent,
x_0(k) ~ N(0, S(k)), and diffusion keeps them so. For x_t = alpha x_0 + sigma eps, the posterior
mean is the Wiener filter,

    E[x_0(k) | x_t(k)] = alpha S(k) / (alpha^2 S(k) + sigma^2) x_t(k),

and along the probability-flow ODE, x_t(k) is proportional to sqrt(alpha^2 S(k) + sigma^2). So
samplers can be compared with exact results, and images can be fused without a trained prior: the
power of natural images falls as 1 / f^2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddfm.arguments import by_annotation
from ddfm.errors import InputError
from ddfm.priors.prior import Prior
from ddfm.priors.schedule import alpha_sigma
from ddfm.priors.schedule import alphas_bar as named_schedule

__all__ = ["GaussianPrior"]


class GaussianPrior(Prior):
    """Denoiser of a Gaussian field with independent channels, for images of any size.

    Args:
        spectrum: S(f), the power of a wave of f cycles per pixel (takes and returns a tensor). By
            default, S is proportional to 1 / f^2 for all waves of the image but the constant.
        channels: 1 or 3.
        mean: the mean of the field.
        std: the standard deviation of a pixel with the default spectrum.
        alphas_bar: the noise schedule; by default linear with 1000 timesteps.
        name: the prior's name.
    """

    @by_annotation
    def __init__(
        self,
        spectrum: Callable[[Tensor], Tensor] | None = None,
        *,
        channels: int = 1,
        mean: float = 0.0,
        std: float = 0.5,
        alphas_bar: Tensor | None = None,
        name: str = "gaussian",
    ) -> None:
        if not std > 0:
            raise InputError(f"std of a Gaussian prior must be positive, not {std}")
        super().__init__(
            named_schedule("linear") if alphas_bar is None else alphas_bar,
            channels=channels,
            name=name,
            info={"mean": mean, "std": std, "spectrum": "given" if spectrum else "1/f^2"},
        )
        self.spectrum = spectrum
        self.mean = mean
        self.std = std
        self._powers: dict[tuple[int, int], Tensor] = {}

    def power(self, h: int, w: int) -> Tensor:
        """S on the half plane of `torch.fft.rfft2`, shape (h, w // 2 + 1), float64."""
        if (h, w) not in self._powers:
            fy = torch.fft.fftfreq(h, dtype=torch.float64)[:, None]
            f = torch.hypot(fy, torch.fft.fftfreq(w, dtype=torch.float64))
            power = self._one_over_f2(f) if self.spectrum is None else _checked(self.spectrum(f), f)
            self._powers[h, w] = power[:, : w // 2 + 1]
        return self._powers[h, w]

    def _one_over_f2(self, f: Tensor) -> Tensor:
        # The constant wave has f = 0; it is given half the frequency of the longest wave instead.
        power = 1 / f.clamp(min=0.5 / max(f.shape)) ** 2
        return power * (self.std**2 / power.mean())

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        h, w = x_t.shape[-2:]
        alpha, sigma = alpha_sigma(self.alphas_bar, t, x_t)
        S = self.power(h, w).to(x_t.dtype).to(x_t.device)
        wiener = alpha * S / (alpha**2 * S + sigma**2)
        waves = torch.fft.rfft2(x_t - alpha * self.mean)
        return self.mean + torch.fft.irfft2(wiener * waves, s=(h, w))

    def sample(self, n: int, h: int, w: int, *, generator: torch.Generator | None = None) -> Tensor:
        """n clean images of the field, drawn exactly, float32."""
        white = torch.randn(n, self.channels, h, w, generator=generator, dtype=torch.float64)
        waves = self.power(h, w).sqrt() * torch.fft.rfft2(white)
        return (self.mean + torch.fft.irfft2(waves, s=(h, w))).float()


def _checked(power: Any, f: Tensor) -> Tensor:
    """The power that the caller's spectrum gave for frequencies f, checked."""
    power = torch.as_tensor(power, dtype=f.dtype)
    if power.shape != f.shape or not bool((power.isfinite() & (power >= 0)).all()):
        raise InputError(
            "spectrum of a Gaussian prior must give a finite power, 0 or more, for every "
            "frequency, f = 0 included"
        )
    return power
