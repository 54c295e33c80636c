r"""The quadratic problem of the paper's M-step, with periodic borders, solved by one FFT.

    (grad k)_1 = k[., j+1] - k[., j],    (grad k)_2 = k[i+1, .] - k[i, .]

In the Fourier domain, these differences are products with exp(i omega) - 1, the transfer function
that MATLAB's psf2otf returns for [1, -1].
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["GradientSolver", "adjoint", "grad"]


def grad(k: Tensor) -> Tensor:
    """Differences along rows and along columns, (B, 1, H, W) -> (B, 2, H, W)."""
    return torch.cat([k.roll(-1, -1) - k, k.roll(-1, -2) - k], dim=1)


def adjoint(u: Tensor) -> Tensor:
    """The transpose of `grad`, (B, 2, H, W) -> (B, 1, H, W)."""
    along, across = u[:, :1], u[:, 1:]
    return along.roll(1, -1) - along + across.roll(1, -2) - across


class GradientSolver:
    """Solves argmin_k |k - x|^2 + |grad k - u|^2; keeps the denominator for the last size."""

    def __init__(self) -> None:
        self._denominator: Tensor | None = None

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        # (1 + grad' grad) k = x + grad' u. The right side is computed in the image, where grad' u
        # takes two differences; in the Fourier domain it would take two more transforms.
        waves = torch.fft.rfft2(x + adjoint(u)) / self._denominator_for(x)
        return torch.fft.irfft2(waves, s=x.shape[-2:])

    def _denominator_for(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        kept = self._denominator
        if kept is None or kept.shape != (h, w // 2 + 1):
            along = 2 - 2 * torch.cos(2 * torch.pi * torch.fft.rfftfreq(w, dtype=torch.float64))
            across = 2 - 2 * torch.cos(2 * torch.pi * torch.fft.fftfreq(h, dtype=torch.float64))
            kept = 1 + along + across[:, None]
        self._denominator = kept.to(x.dtype).to(x.device)
        return self._denominator
