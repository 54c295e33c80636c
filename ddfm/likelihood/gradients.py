"""Gradients of the sources, their labels and weights: (5) to (7) of `ddfm.likelihood.evidence`.

The E-step (2) is here, too, and the gradient of f that is expected given the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.numerics.bands import WHOLE, Band, bands, in_bands
from ddfm.numerics.exporting import lowest
from ddfm.numerics.filters import reach_of, shares_of, smooth
from ddfm.numerics.poisson import grad

__all__ = [
    "AROUND",
    "GRAIN",
    "NEAR",
    "TINY",
    "Gradients",
    "Weighing",
    "energy_of",
    "noise_energy_of",
    "preferring",
]

TINY = 4e-7  # energy of a twelfth of a grey level; keeps quotients finite in flat areas
GRAIN = 0.86  # standard deviation of S, pixels
CONTRAST = 2.0  # standard deviation of B, pixels
WHITE = 0.9  # level at which a source begins to count as white; at 1 it does so fully
ODDS = 6.0  # what a preference b of 1 adds to log pi
QUIET = 10  # one part in so many of the pixels, the quietest, is taken for noise and nothing else
NOISE = 2.0  # mean energy of white noise, relative to the most that its quietest tenth has
LEFT = 0.1  # least share of e_k that counts in (6)
# How many pixels away the evidence of a pixel depends on the sources, and its expected gradient on
# the evidence and on f.
AROUND = 1 + 2 * reach_of(GRAIN) + reach_of(CONTRAST)
NEAR = 1 + 2 * reach_of(GRAIN)


@dataclass(frozen=True, eq=False)
class Gradients:
    """The evidence of the gradients, for a picture or some rows of it.

    Attributes:
        right, below: g_k, (B, K, H, W) each.
        pi: pi_k, (B, K, H, W), the prior probability of the labels.
        W, a: weights of gradients and of levels, (B, 1, H, W) each.
        t: the temperature of the labels, (B, 1, H, W).
    """

    right: Tensor
    below: Tensor
    pi: Tensor
    W: Tensor
    a: Tensor
    t: Tensor

    @classmethod
    def in_bands(cls, evidence: Callable[[Band], Gradients], like: Tensor, count: int) -> Gradients:
        """The evidence of `count` sources of the shape of `like`, computed band by band."""
        all_of_it = bands(like, AROUND, count)
        if len(all_of_it) == 1:
            return evidence(WHOLE)
        planes: list[Tensor] = []
        for band in all_of_it:
            parts = evidence(band)._planes
            planes = planes or [part.new_empty(*part.shape[:2], *like.shape[2:]) for part in parts]
            for plane, part in zip(planes, parts, strict=True):
                plane[..., band.rows, :] = band.within(part)
        return cls(*planes)

    @property
    def _planes(self) -> tuple[Tensor, ...]:
        return self.right, self.below, self.pi, self.W, self.a, self.t

    def around(self, band: Band) -> Gradients:
        """The wide rows of a band."""
        return Gradients(*map(band.around, self._planes))

    def labels(self, f: Tensor) -> Tensor:
        """The E-step, (2)."""
        return shares_of(self.pi.log() - smooth(self.misfits(f), GRAIN) / self.t)

    def misfits(self, f: Tensor) -> Tensor:
        """W |grad f - g_k|^2 of each source."""
        right, below = grad(f)
        return self.W * ((right - self.right) ** 2 + (below - self.below) ** 2)

    def expected(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The expected gradient of f given the labels, sum_k (S z)_k g_k."""
        z = smooth(z, GRAIN)
        right = (z * self.right).sum(dim=1, keepdim=True)
        return right, (z * self.below).sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class Weighing:
    """Weighs the gradients of sources; its parameters are those of `EvidenceLikelihood`.

    Attributes:
        preference: b_k of the second of two sources; that of the first is minus this.
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
        self,
        sources: Sequence[Tensor],
        u: Tensor,
        noise: Tensor,
        T: Tensor | None,
        medians: Sequence[Tensor],
    ) -> Gradients:
        """The evidence of sources (B, 1, H, W).

        Args:
            u: the chosen level, (B, 1, H, W).
            noise: n_k, (B, K, 1, 1).
            T: probability of the targets of each source, (B, K, H, W), or None without targets.
            medians: those of the sources, needed only with targets.
        """
        s = torch.cat(list(sources), dim=1)
        right, below, energy = _with_energy(s)
        strongest = energy.amax(dim=1, keepdim=True)
        outlines = None
        if T is not None:
            outlines = T * (1 - self._mildness(_energy_beyond(right, below, energy)))
            _lift(s, torch.cat(list(medians), dim=1), T, right, below)
        right, below = self._g(right, below, energy, strongest, T)
        W, a = self._weights(strongest, T)
        pi = self._pi(s, u, torch.maximum(energy - noise, LEFT * energy), outlines)
        return Gradients(right, below, pi, W, a, W * strongest / self.learn)

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
            right[..., -1] = 0  # there is no gradient across the border
            below[..., -1, :] = 0
        return right, below

    def _weights(self, strongest: Tensor, T: Tensor | None) -> tuple[Tensor, Tensor]:
        """W of (7), and a, both as changed by targets of the first source."""
        W = self._mildness(strongest)
        a = torch.full_like(W, self.alpha)
        if T is None:
            return W, a
        first = T[:, :1]
        return W * (1 - first) + first, a * (1 - first)

    def _pi(self, s: Tensor, u: Tensor, energy: Tensor, outlines: Tensor | None) -> Tensor:
        """pi_k of (6), for energies without those of noise."""
        log_pi = self.p * energy.log() - self.phi * _at_both_ends((u - s).clamp(min=0) ** 2)
        if self.full:
            log_pi += self.full * ((s - WHITE) / (1 - WHITE)).clamp(min=0, max=1)
        pi = shares_of(preferring(log_pi, ODDS * self.preference))
        if outlines is not None:
            pi = (1 - outlines.sum(dim=1, keepdim=True)).clamp(min=0) * pi + outlines
        pi = pi.clamp(min=1e-6)
        return pi / pi.sum(dim=1, keepdim=True)

    def _mildness(self, energy: Tensor) -> Tensor:
        """V of (7), (1 + energy / edge^2)^(-1/2)."""
        return (1 + energy / self.edge**2).rsqrt()

    def _faintness(self, size: Tensor) -> Tensor:
        """m of (5), for gradients of this size."""
        return self.faint / (self.faint + size)


def energy_of(s: Tensor) -> Tensor:
    """e_k of sources (B, K, H, W)."""
    return _with_energy(s)[-1]


def noise_energy_of(s: Tensor) -> Tensor:
    """n_k of one source (B, 1, H, W), (B, 1, 1, 1)."""
    energy = in_bands(lambda band: energy_of(band.around(s)), s, 1 + reach_of(GRAIN))
    return NOISE * (lowest(energy.flatten(2), QUIET)[..., None] - TINY)


def preferring(logs: Tensor, b: float) -> Tensor:
    """Adds -b to the first of two sources and b to the second; where b is 0, K may be any."""
    return logs + logs.new_tensor([-b, b]).view(1, 2, 1, 1) if b else logs


def _with_energy(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    right, below = grad(s)
    return right, below, smooth(right**2 + below**2, GRAIN).add_(TINY)


def _energy_beyond(right: Tensor, below: Tensor, energy: Tensor) -> Tensor:
    """(sqrt e_k - sqrt h_k)_+^2 of (6): the energy of what is finer than B."""
    wide = smooth(right, CONTRAST).square_().add_(smooth(below, CONTRAST).square_())
    return (energy.sqrt() - smooth(wide, GRAIN).sqrt_()).clamp_(min=0).square_()


def _lift(s: Tensor, medians: Tensor, T: Tensor, right: Tensor, below: Tensor) -> None:
    """On targets, replaces s_k in d_k of (5) by max(s_k, min(median s_k, max_j s_j)); in place."""
    most = torch.minimum(medians, s.amax(dim=1, keepdim=True))
    lifted = grad(torch.maximum(s, most))
    right.lerp_(lifted[0], T)
    below.lerp_(lifted[1], T)


def _with_others(part: Tensor, m: Tensor) -> Tensor:
    """The gradients of each source along one axis, plus the faint ones of the others."""
    faint = m * part
    return part + (faint.sum(dim=1, keepdim=True) - faint) / (part.shape[1] - 1)


def _at_both_ends(x: Tensor) -> Tensor:
    """The mean of each pixel and its neighbours to the right and below, where gradients end."""
    return F.avg_pool2d(F.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)


def _share_contrast(part: Tensor, T: Tensor) -> None:
    """Turns d_k into g_k of (5), along one axis, in place."""
    # B d_k - B d_1, which is 0 for the first source: B d_1 cancels in (5).
    wide = F.pad(smooth(part[:, 1:] - part[:, :1], CONTRAST), (0, 0, 0, 0, 1, 0))
    part += (T * wide).sum(dim=1, keepdim=True) - T.sum(dim=1, keepdim=True) * wide
