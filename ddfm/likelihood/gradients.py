"""Gradients of the sources, and the labels between them: (5) to (7) of `ddfm.likelihood.evidence`.

Also the E-step (2), and the gradient that the labels let expect of f.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.numerics.filters import reach_of, shares_of, smooth
from ddfm.numerics.poisson import grad

__all__ = ["AROUND", "GRAIN", "TINY", "Gradients", "Weighing", "energy_of", "preferring"]

TINY = 4e-7  # gradients of a third of a grey level: keeps quotients finite where all is flat
GRAIN = 0.86  # of S, pixels
CONTRAST = 2.0  # of B, pixels
WHITE = 0.9  # where levels begin to count as white to the full, which they do at 1
ODDS = 6.0  # of a preference, in the logarithm of odds
# How many pixels away the expected gradient of a pixel depends on.
AROUND = 1 + 4 * reach_of(GRAIN) + reach_of(CONTRAST)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Evidence of the gradients, in a picture or some rows of it.

    Attributes:
        right, below: g_k, (B, K, H, W) each.
        pi: pi_k, (B, K, H, W), the prior of the labels.
        W, a: weights of gradients and of levels, (B, 1, H, W) each.
        t: the temperature of the labels, likewise.
    """

    right: Tensor
    below: Tensor
    pi: Tensor
    W: Tensor
    a: Tensor
    t: Tensor

    def labels(self, f: Tensor) -> Tensor:
        """The E-step, (2)."""
        return shares_of(self.pi.log() - smooth(self.misfits(f), GRAIN) / self.t)

    def misfits(self, f: Tensor) -> Tensor:
        """W |grad f - g_k|^2 of each source."""
        right, below = grad(f)
        return self.W * ((right - self.right) ** 2 + (below - self.below) ** 2)

    def expected(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient that labels let expect of f, sum_k (S z)_k g_k."""
        z = smooth(z, GRAIN)
        right = (z * self.right).sum(dim=1, keepdim=True)
        return right, (z * self.below).sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class Weighing:
    """How the gradients of sources are weighed; the numbers are those of `EvidenceLikelihood`.

    Attributes:
        preference: b of the second of two sources, and -b of the first.
    """

    alpha: float
    p: float
    phi: float
    full: float
    learn: float
    faint: float
    edge: float
    preference: float

    def of(
        self, sources: Sequence[Tensor], u: Tensor, T: Tensor | None, middles: Sequence[Tensor]
    ) -> Gradients:
        """The evidence of sources (B, 1, H, W).

        Args:
            u: the level chosen, (B, 1, H, W).
            T: their targets, (B, K, H, W), if any.
            middles: their medians, which are needed where there are targets.
        """
        s = torch.cat(list(sources), dim=1)
        right, below, energy = _with_energy(s)
        strongest = energy.amax(dim=1, keepdim=True)
        outlines = None
        if T is not None:
            outlines = T * (1 - self._mildness(_energy_beyond(right, below, energy)))
            _lift(s, torch.cat(list(middles), dim=1), T, right, below)
        right, below = self._g(right, below, energy, strongest, T)
        W, a = self._weights(strongest, T)
        pi = self._pi(s, u, energy, outlines)
        return Gradients(right, below, pi, W, a, W * strongest / self.learn)

    def weights(self, sources: Sequence[Tensor], T: Tensor | None) -> tuple[Tensor, Tensor]:
        """W and a alone."""
        energies = torch.cat([energy_of(s) for s in sources], dim=1)
        return self._weights(energies.amax(dim=1, keepdim=True), T)

    def whose(self, z: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """The share of each source in the expected gradient, (B, K, H, W)."""
        size = energy_of(torch.cat(list(sources), dim=1)).sqrt()
        labels = smooth(z, GRAIN)
        of_others = _with_others(labels, torch.ones_like(labels)) - labels
        gradients = (labels + self._faintness(size) * of_others) * size
        return gradients / gradients.sum(dim=1, keepdim=True)

    def _g(
        self, right: Tensor, below: Tensor, energy: Tensor, strongest: Tensor, T: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """g_k of (5)."""
        m = self._faintness(energy.sqrt())
        right, below = _with_others(right, m), _with_others(below, m)
        q = (strongest / smooth(right**2 + below**2, GRAIN).add_(TINY)).clamp(max=1).sqrt_()
        right, below = right.mul_(q), below.mul_(q)
        if T is not None:
            _share_contrast(right, T)
            _share_contrast(below, T)
            right[..., -1] = 0  # no step leads out of the picture
            below[..., -1, :] = 0
        return right, below

    def _weights(self, strongest: Tensor, T: Tensor | None) -> tuple[Tensor, Tensor]:
        """W of (7), and a."""
        W = self._mildness(strongest)
        a = torch.full_like(W, self.alpha)
        if T is None:
            return W, a
        first = T[:, :1]
        return W * (1 - first) + first, a * (1 - first)

    def _pi(self, s: Tensor, u: Tensor, energy: Tensor, outlines: Tensor | None) -> Tensor:
        """pi_k of (6)."""
        log_pi = self.p * energy.log() - self.phi * (u - s).clamp(min=0) ** 2
        if self.full:
            log_pi += self.full * ((s - WHITE) / (1 - WHITE)).clamp(min=0, max=1)
        pi = shares_of(preferring(log_pi, ODDS * self.preference))
        if outlines is not None:
            pi = (1 - outlines.sum(dim=1, keepdim=True)).clamp(min=0) * pi + outlines
        pi = pi.clamp(min=1e-6)
        return pi / pi.sum(dim=1, keepdim=True)

    def _mildness(self, energy: Tensor) -> Tensor:
        """(1 + energy / edge^2)^(-1/2) of (7)."""
        return (1 + energy / self.edge**2).rsqrt()

    def _faintness(self, size: Tensor) -> Tensor:
        """m of (5)."""
        return self.faint / (self.faint + size)


def energy_of(s: Tensor) -> Tensor:
    """e_k of sources (B, K, H, W)."""
    return _with_energy(s)[-1]


def preferring(logs: Tensor, b: float) -> Tensor:
    """Logarithms (B, K, H, W), plus b for the second of two sources, minus b for the first."""
    return logs + logs.new_tensor([-b, b]).view(1, 2, 1, 1) if b else logs


def _with_energy(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    right, below = grad(s)
    return right, below, smooth(right**2 + below**2, GRAIN).add_(TINY)


def _energy_beyond(right: Tensor, below: Tensor, energy: Tensor) -> Tensor:
    """(sqrt e_k - sqrt b_k)_+^2 of (6): the energy of what is finer than B."""
    wide = smooth(right, CONTRAST).square_().add_(smooth(below, CONTRAST).square_())
    return (energy.sqrt() - smooth(wide, GRAIN).sqrt_()).clamp_(min=0).square_()


def _lift(s: Tensor, middles: Tensor, T: Tensor, right: Tensor, below: Tensor) -> None:
    """Replaces the gradients of s_k on its targets by those of max(s_k, ...), see (5), in place."""
    most = torch.minimum(middles, s.amax(dim=1, keepdim=True))
    lifted = grad(torch.maximum(s, most))
    right.lerp_(lifted[0], T)
    below.lerp_(lifted[1], T)


def _with_others(part: Tensor, m: Tensor) -> Tensor:
    """The gradient of each source, plus the faint ones of the others."""
    faint = m * part
    return part + (faint.sum(dim=1, keepdim=True) - faint) / (part.shape[1] - 1)


def _share_contrast(part: Tensor, T: Tensor) -> None:
    """Turns d_k into g_k of (5), along one axis, in place."""
    wide = F.pad(smooth(part[:, 1:] - part[:, :1], CONTRAST), (0, 0, 0, 0, 1, 0))  # less B d_1
    part += (T * wide).sum(dim=1, keepdim=True) - T.sum(dim=1, keepdim=True) * wide
