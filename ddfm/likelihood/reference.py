r"""The likelihood step of the program that the DDFM authors released; it differs from their paper.

With I and V as in the program, X = F - V and Y = I - V, each step makes one pass of

    D = sqrt(2 / tau_b / (X^2 + 1e-6)),    C = sqrt(2 / tau_a / (Y - X + 1e-6)^2),    D <= 2C
    tau_b = mean(1 / (D + 1e-10) + tau_b / 2),    tau_a the same with C
    H = ifft[(fft(Y - X) + conj(k1) fft(F1) + conj(k2) fft(F2)) / (1 + |k1|^2 + |k2|^2)]
    F1, F2 = rho / (2 lamb + rho) times the differences of H
    X = (2 C Y + rho (Y - H)) / (2 C + 2 D + rho)
    F = I - X

In the paper's letters (see paper.py), C is E[1/m], D is E[1/n], tau_a and tau_b are gamma and rho,
lamb is psi, rho is eta, H is k, and (F1, F2) is u. The differences from the paper:

- I is the visible image and V the infrared one: the program swaps their folders.
- F is in studio-range luma, (16 + 219 Y) / 255 of Y in [-1, 1]; I and V are not.
- D is capped at twice C.
- The splitting is k = y - x, not k = x.
- The differences are H[j] - H[j+1], with the opposite sign of k1, and are not periodic.
- F = I - X, not X + V.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ddfm.imaging.color import luminance
from ddfm.likelihood.base import Likelihood
from ddfm.numerics.filters import per_image_mean
from ddfm.numerics.fourier import GradientSolver

__all__ = ["ReferenceLikelihood"]

LUMA_GAIN, LUMA_OFFSET = 219 / 255, 16 / 255  # studio range: black is 16, white is 235 of 255


class ReferenceLikelihood(Likelihood):
    """The step exactly as in the program, to compare results with it.

    Args:
        i: infrared source, (B, 1, H, W) in [-1, 1]; V of the program.
        v: visible source, of the same shape; I of the program.
        lamb: weight of the gradient penalty.
        rho: weight that ties the splitting variables together.
    """

    def __init__(self, i: Tensor, v: Tensor, *, lamb: float = 0.5, rho: float = 0.001) -> None:
        super().__init__(i, v)
        self.lamb = lamb
        self.rho = rho
        self.tau_a: Tensor | float = 1.0
        self.tau_b: Tensor | float = 1.0
        self.F: Tensor | None = None
        self._solve = GradientSolver()

    @staticmethod
    def prepared(plane: np.ndarray) -> np.ndarray:
        """Rounded to 256 grey levels, since the program reads 8-bit images."""
        return np.rint(plane * 255) / 255

    def to_luma(self, x0: Tensor) -> Tensor:
        return LUMA_GAIN * luminance(x0) + LUMA_OFFSET

    def from_luma(self, change: Tensor) -> Tensor:
        return change / LUMA_GAIN

    def finish(self, f: Tensor) -> Tensor:
        """Stretched so that the darkest pixel is 0 and the brightest is 1."""
        low, high = f.amin((1, 2, 3), keepdim=True), f.amax((1, 2, 3), keepdim=True)
        span = high - low
        return (f - low) / torch.where(span == 0, 1, span)

    def step(self, f: Tensor, sigma: Tensor | None) -> Tensor:
        I, V = self.v, self.i  # noqa: E741
        X, Y = f - V, I - V
        C, D = self._weights(X, Y)
        F = torch.zeros_like(f).expand(-1, 2, -1, -1) if self.F is None else self.F.to(f)
        H = self._solve(Y - X, F)
        self.F = self.rho / (2 * self.lamb + self.rho) * _differences(H)
        X = (2 * C * Y + self.rho * (Y - H)) / (2 * C + 2 * D + self.rho)
        return I - X

    def _weights(self, X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
        """C and D; updates tau_a and tau_b."""
        tau_a = torch.as_tensor(self.tau_a).to(X)
        tau_b = torch.as_tensor(self.tau_b).to(X)
        # The clamp keeps C finite where the program would return NaN; it changes no other value.
        C = torch.sqrt(2 / tau_a) / (Y - X + 1e-6).abs().clamp(min=1e-12)
        D = torch.minimum(torch.sqrt(2 / tau_b / (X**2 + 1e-6)), 2 * C)
        self.tau_a = per_image_mean(1 / (C + 1e-10) + tau_a / 2)
        self.tau_b = per_image_mean(1 / (D + 1e-10) + tau_b / 2)
        return C, D


def _differences(H: Tensor) -> Tensor:
    """H[j] - H[j+1] along rows and columns; the last value of each is H itself."""
    along, across = H.clone(), H.clone()
    along[..., :, :-1] -= H[..., :, 1:]
    across[..., :-1, :] -= H[..., 1:, :]
    return torch.cat([along, across], dim=1)
