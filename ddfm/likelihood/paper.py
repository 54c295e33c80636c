r"""The EM likelihood of the DDFM paper (Zhao et al., ICCV 2023, arXiv 2303.06840, section 3.2).

Sources i and v, fused image f, y = i - v, x = f - v. Equations are numbered for this file.

Formulation, section 3.2.1. The fusion loss and its two Laplace distributions:
    min_f |f - i|_1 + phi |f - v|_1  =  min_x |y - x|_1 + phi |x|_1                          (1)
as Gaussians whose variances are exponentially distributed, by proposition 1:
    y | x, m ~ N(x, m),  m ~ Exp(gamma),        x | n ~ N(0, n),  n ~ Exp(rho)               (2)
and with the penalty on the gradient, the log-likelihood
    l(x) = - sum (y - x)^2 / 2m - sum x^2 / 2n - psi/2 |grad x|^2                            (3)

E-step, section 3.2.2 (proposition 2), per pixel:
    E[1/m] = sqrt(2 / gamma) / |y - x|,         E[1/n] = sqrt(2 / rho) / |x|                 (4)
and then gamma and rho, as the means over the image of
    E[m] = 1 / E[1/m] + gamma / 2,              E[n] = 1 / E[1/n] + rho / 2                  (5)

M-step: half-quadratic splitting with k = x, u = grad k,
    min  E[1/m] (y - x)^2 + E[1/n] x^2 + psi |u|^2 + eta/2 (|u - grad k|^2 + |k - x|^2)      (6)
one variable after the other:
    k = ifft[(fft(x) + conj(fft(grad)) fft(u)) / (1 + |fft(grad)|^2)]                        (7)
    u = eta / (2 psi + eta) grad k                                                           (8)
    x = (2 E[1/m] y + eta k) / (2 E[1/m] + 2 E[1/n] + eta)                                   (9)
    f = x + v                                                                                (10)

The paper does not specify the following; our choices are:
- |r| in (4) is sqrt(r^2 + eps^2), so that all weights are finite. (4) is then the exact E-step for
  this smoothed modulus, and each pass of EM still raises `objective`.
- gamma and rho are one number per image and start at 1; (5) uses their values from (4).
- u starts as (8) of the first estimate and is kept from step to step; k need not be.
- Each diffusion step makes one pass of (4) to (10).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ddfm.errors import InputError
from ddfm.likelihood.base import NO_STEP, Likelihood, Shares
from ddfm.numerics.filters import per_image_mean
from ddfm.numerics.fourier import GradientSolver, grad

__all__ = ["PaperLikelihood"]


class PaperLikelihood(Likelihood):
    """One pass of EM, equations (4) to (10), in each step.

    Args:
        i: infrared source, (B, 1, H, W) in [-1, 1].
        v: visible source, (B, 1, H, W) in [-1, 1].
        psi: weight of the gradient penalty.
        eta: weight that ties the splitting variables k and u to x.
        eps: differences of levels well below it count as zero.
    """

    def __init__(
        self, i: Tensor, v: Tensor, *, psi: float = 0.5, eta: float = 0.1, eps: float = 1e-3
    ) -> None:
        super().__init__(i, v)
        if psi < 0 or eta <= 0 or eps <= 0:
            raise InputError(
                f"psi must be 0 or more, eta and eps positive: psi={psi}, eta={eta}, eps={eps}"
            )
        self.psi = psi
        self.eta = eta
        self.eps = eps
        self.gamma: Tensor | float = 1.0
        self.rho: Tensor | float = 1.0
        self.k: Tensor | None = None
        self.u: Tensor | None = None
        self._weights: tuple[Tensor, Tensor] | None = None
        self._solve = GradientSolver()

    def step(self, f: Tensor, sigma: Tensor | None) -> Tensor:
        y = self.i - self.v
        x = f - self.v
        m, n = self._weights = self._e_step(x, y)
        x = self._m_step(x, y, m, n)
        return x + self.v  # (10)

    def attribution(self) -> Shares | None:
        """The weights of i, v and k in (9), the last as the share of the prior.

        f is a weighted mean of the three (k is the prior's estimate, smoothed), and so are its
        gradients where the weights change slowly.
        """
        if self._weights is None:
            return None
        m, n = self._weights
        shares = torch.cat([2 * m, 2 * n, torch.full_like(m, self.eta)], dim=1)
        shares = shares / shares.sum(dim=1, keepdim=True)
        return Shares(shares, shares)

    def _e_step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """E[1/m] and E[1/n]; updates gamma and rho."""
        m = (2 / self._like(self.gamma, x)).sqrt() / self._modulus(y - x)  # (4)
        n = (2 / self._like(self.rho, x)).sqrt() / self._modulus(x)
        self.gamma = per_image_mean(1 / m + self.gamma / 2)  # (5)
        self.rho = per_image_mean(1 / n + self.rho / 2)
        return m, n

    def _m_step(self, x: Tensor, y: Tensor, m: Tensor, n: Tensor) -> Tensor:
        eta, shrink = self.eta, self.eta / (2 * self.psi + self.eta)
        u = shrink * grad(x) if self.u is None else self.u.to(x)
        self.k = self._solve(x, u)  # (7)
        self.u = shrink * grad(self.k)  # (8)
        return (2 * m * y + eta * self.k) / (2 * m + 2 * n + eta)  # (9)

    def objective(self, f: Tensor) -> Tensor:
        """What EM raises, for each image: the log-likelihood of f with m and n integrated out.

        It is the sum of two (smoothed) Laplace log-densities, minus half of the penalties of (6),
        with k, u, gamma and rho as they are after the last step.
        """
        if self.k is None or self.u is None:
            raise InputError(NO_STEP)
        x, y = f - self.v.to(f), self.i.to(f) - self.v.to(f)
        k, u = self.k.to(f), self.u.to(f)
        penalty = (
            self.psi * _sum(u**2) + self.eta / 2 * (_sum((u - grad(k)) ** 2) + _sum((k - x) ** 2))
        ) / 2
        fidelity = _laplace(self._modulus(y - x), self._like(self.gamma, x))
        closeness = _laplace(self._modulus(x), self._like(self.rho, x))
        return fidelity + closeness - penalty

    def _modulus(self, r: Tensor) -> Tensor:
        return torch.sqrt(r**2 + self.eps**2)

    @staticmethod
    def _like(value: Tensor | float, x: Tensor) -> Tensor:
        return torch.as_tensor(value, dtype=x.dtype, device=x.device)


def _sum(x: Tensor) -> Tensor:
    return x.sum(dim=(1, 2, 3))


def _laplace(modulus: Tensor, variance: Tensor) -> Tensor:
    """Log-density of a Laplace variable: by (2), a Gaussian whose variance is Exp(variance)."""
    scale = torch.sqrt(variance / 2)
    return -_sum(modulus / scale + torch.log(2 * scale))
