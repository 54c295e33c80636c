r"""The default likelihood: evidence in levels and in gradients, and latent choices between sources.

    log p(f, z | s) = - sum a (1 - T) |f - u|^2 + rho |f - x0|^2 + W sum_k (S z)_k |grad f - g_k|^2
                        + t sum_k z_k log(z_k / pi_k),        |f| <= 1                          (1)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ddfm.errors import DdfmError
from ddfm.likelihood.base import Likelihood
from ddfm.numerics.poisson import PoissonSolver, adjoint, grad
from ddfm.numerics.regions import GRID, smooth_regions
from ddfm.numerics.filters import smooth
from ddfm.likelihood.targets import find_targets

__all__ = ["EvidenceLikelihood"]

TINY = 4e-7  # energy of gradients of a third of a grey level, for quotients where all is flat
GRAIN = 0.86
STIFF = 0.3  # weight of what lies beyond white or black
PASSES = 3  # of the conjugate gradients, which go on from the last f


class EvidenceLikelihood(Likelihood):
    def __init__(
        self,
        *sources: Tensor,
        saliency: str = "stands",
        alpha: float = 0.002,
        width: float = 1.25,
        kappa: float = 46.0,
        beta: float = 0.5,
        edge: float = 0.03,
        p: float = 0.3,
        phi: float = 2.0,
        learn: float = 2.2,
        faint: float = 0.004,
        theta: float = 1.4,
        lit: float = 1.0,
        sharp: float = 8.0,
        noise: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__(*sources)
        self.saliency = saliency
        self.alpha, self.width, self.kappa, self.beta = alpha, width, kappa, beta
        self.edge, self.p, self.phi, self.learn = edge, p, phi, learn
        self.faint, self.theta, self.noise = faint, theta, noise
        self.lit, self.sharp = lit, sharp
        self.f: Tensor | None = None
        self.z: Tensor | None = None
        self.u: Tensor | None = None
        self._solve = PoissonSolver()

    def first_guess(self) -> Tensor:
        """What the sources say without any prior."""
        self._read_sources()
        z = self.log_pi.softmax(dim=1)
        g = self._gradients(z)
        f = self._solve(self.alpha, self.alpha * self.u + adjoint(*g))  # as if W were 1
        return self._m_step(z, f, f, torch.zeros_like(self.zero))

    def prior_weight(self, sigma: Tensor) -> Tensor:
        noise = torch.as_tensor(self.noise, dtype=sigma.dtype, device=sigma.device)
        return (noise / sigma.clamp(min=1e-3)) ** 2 * torch.ones_like(sigma)

    def step(self, x0: Tensor, sigma: Tensor | None) -> Tensor:
        self._read_sources()
        rho = self.zero if sigma is None else self.prior_weight(sigma).to(x0).view(-1, 1, 1, 1)
        f = self.first_guess() if self.f is None else self.f.to(x0)
        self.z = self._e_step(f)
        self.f = self._m_step(self.z, f, x0, rho)
        return self.f

    def objective(self, f: Tensor, z: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        """The log-posterior (1), per image."""
        return -self._energy(f, z, x0, rho).sum(dim=(1, 2, 3)) - (
            self.t * z * (z.clamp(min=1e-30).log() - self.log_pi)
        ).sum(dim=(1, 2, 3))

    def finish(self, f: Tensor) -> Tensor:
        return f.clamp(-1, 1)

    def _read_sources(self) -> None:
        like = self.sources[0]
        if self.u is not None and self.u.device == like.device and self.u.dtype == like.dtype:
            return
        s = torch.cat(self.sources, dim=1)  # (B, K, H, W)
        self.zero = s.new_zeros(len(s), 1, 1, 1)
        right, below = grad(s)
        energy = smooth(right**2 + below**2, GRAIN) + TINY
        strongest = energy.amax(1, keepdim=True)
        r = (self.kappa * self._saliency(s, energy)).softmax(dim=1)
        self.r = r
        self.u = (r * s).sum(1, keepdim=True)
        # pi
        log_pi = self.p * energy.log() - self.phi * (self.u - s).clamp(min=0) ** 2
        T = torch.zeros_like(self.u)
        if self.theta:
            of = find_targets(s, self.theta, self.sharp, self._solve)
            if not self.lit: of[:, 1:] = 0
            T = of.sum(1, keepdim=True)
            log_pi = ((1 - T) * log_pi.softmax(1) + of + 1e-6).log()
        self.T = T
        self.log_pi = log_pi.log_softmax(1)
        # g
        m = self.faint / (self.faint + energy.sqrt())
        self.right, self.below = (self._laid_over(part, m) for part in (right, below))
        q = strongest / (smooth(self.right**2 + self.below**2, GRAIN) + TINY)
        q = q.clamp(max=1).sqrt()
        self.right, self.below = q * self.right, q * self.below
        self.W = (1 + strongest / self.edge**2).rsqrt() * (1 - T) + T
        self.a = self.alpha * (1 - T) + 1e-6
        self.t = self.W * strongest / self.learn if self.learn else None

    def _laid_over(self, part: Tensor, m: Tensor) -> Tensor:
        faint = m * part
        return part + (faint.sum(1, keepdim=True) - faint) / (part.shape[1] - 1)

    def _saliency(self, s: Tensor, energy: Tensor) -> Tensor:
        if self.saliency == "exposed":
            return self._over_regions(-s * s / 2, s)
        if self.saliency == "sharp":
            return self._over_regions(energy, s).clamp(min=TINY).log()
        median = s.flatten(2).median(dim=-1).values[..., None, None]
        return self._over_regions((s - median).abs() + self.beta * s, s)

    def _over_regions(self, x: Tensor, s: Tensor) -> Tensor:
        if self.width * GRID < 1:
            return smooth(x, max(self.width * min(x.shape[-2:]), 0.3))
        return smooth_regions(x, s, self.width, self.edge)

    def _gradients(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z = smooth(z, GRAIN)
        return tuple((z * part).sum(1, keepdim=True) for part in (self.right, self.below))

    def _e_step(self, f: Tensor) -> Tensor:
        if not self.learn:
            return self.log_pi.softmax(dim=1)
        right, below = grad(f)
        misfit = self.W * ((right - self.right) ** 2 + (below - self.below) ** 2)
        return (self.log_pi - smooth(misfit, GRAIN) / self.t).softmax(dim=1)

    def _m_step(self, z: Tensor, f: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        g = self._gradients(z)
        beyond = STIFF * (f.abs() > 1)
        right_side = (
            self.a * self.u + rho * x0 + beyond * f.sign()
            + adjoint(self.W * g[0], self.W * g[1])
        )
        better = self._solve.weighted(self.a + rho + beyond, self.W, right_side, f, PASSES)
        way = better - f
        energy = lambda f: self._quadratic(f, g, x0, rho)
        before = energy(f)
        length = torch.ones_like(rho)
        for _ in range(5):
            worse = energy(f + length * way) > before
            if not worse.any():
                break
            length = torch.where(worse, length / 2, length)
        else:
            length = torch.where(worse, 0 * length, length)
        return f + length * way

    def _quadratic(self, f: Tensor, g, x0: Tensor, rho: Tensor) -> Tensor:
        right, below = grad(f)
        e = self.a * (f - self.u) ** 2 + rho * (f - x0) ** 2 + STIFF * (f.abs() - 1).clamp(min=0) ** 2
        e = e + self.W * ((right - g[0]) ** 2 + (below - g[1]) ** 2)
        return e.sum(dim=(1, 2, 3), keepdim=True)

    def _energy(self, f: Tensor, z: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        right, below = grad(f)
        z = smooth(z, GRAIN)
        e = self.a * (f - self.u) ** 2 + rho * (f - x0) ** 2 + STIFF * (f.abs() - 1).clamp(min=0) ** 2
        return e + (z * self.W * ((right - self.right) ** 2 + (below - self.below) ** 2)).sum(
            1, keepdim=True
        )
