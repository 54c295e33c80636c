r"""Noise whose strength depends on the level: made even, removed as white noise, taken back.

A function f whose slope is one over the deviation of y at each level gives f(y) a deviation of one
everywhere, as denoisers need it. Their result is near E[f(y) | x], and that is not f(x): x is found
from it by the inverse of this mean, so that dark places get no lighter.

- Rician: the magnitude of a complex signal with noise in both parts, |x + s n_1 + i s n_2|, as in
  MRI (Rice 1944; Foi 2011 for the way back).
- Poisson-Gaussian: g P(x / g) + s n, photons of `gain` levels each, and the noise of the readout:
  low light and PET (Anscombe 1948; Murtagh, Starck and Bijaoui 1995; Makitalo and Foi 2013).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from scipy.special import ive
from torch import Tensor

from ddfm.numerics.noise_level import QUIET, blocks_of_noise
from ddfm.restoration.observation import NoiseLaw

__all__ = [
    "Denoise",
    "Law",
    "PoissonGaussian",
    "Rician",
    "deviation_of",
    "find_photons",
    "law_of",
    "without_noise",
]

WHITE = 255.0
PARTS, FEWEST = 8, 20  # parts of the levels, with as many blocks at least, that noise is found in
SPAN, SURE, OFF = 1.8, 0.97, 0.08  # most by least variance; correlation with the level; misfit
LEVELS = 512  # of a table
FAR = 6.0  # deviations, beyond which there is no noise

Denoise = Callable[[Tensor, float], Tensor]  # of (1, 1, H, W) in [-1, 1], and its noise level


class Law(Protocol):
    """Noise at each level; levels from 0 to 255."""

    def even(self, y: np.ndarray) -> np.ndarray:
        """f(y), with a deviation of one."""
        ...

    def level(self, mean: np.ndarray) -> np.ndarray:
        """x of E[f(y) | x]."""
        ...


@dataclass(frozen=True)
class Rician:
    """The magnitude of a complex signal with noise of `sigma` in both parts."""

    sigma: float

    def even(self, y: np.ndarray) -> np.ndarray:
        mean, deviation = self._moments
        f = np.concatenate([[0.0], np.cumsum(np.diff(mean) * 2 / (deviation[1:] + deviation[:-1]))])
        below = np.minimum(y - mean[0], 0) / deviation[0]
        above = np.maximum(y - mean[-1], 0) / deviation[-1]
        return np.interp(y, mean, f) + below + above

    def level(self, mean: np.ndarray) -> np.ndarray:
        return np.interp(mean, self._even_means, self._levels)

    @property
    def _levels(self) -> np.ndarray:
        return np.linspace(0, WHITE, LEVELS)

    @property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of y at each level."""
        power = (self._levels / self.sigma) ** 2 / 2
        laguerre = (1 + power) * ive(0, power / 2) + power * ive(1, power / 2)
        mean = math.sqrt(math.pi / 2) * self.sigma * laguerre
        return mean, np.sqrt(2 * self.sigma**2 + self._levels**2 - mean**2)

    @cached_property
    def _even_means(self) -> np.ndarray:
        """E[f(y) | x] at each level, by the density of y."""
        x = self._levels[:, None] / self.sigma
        y = np.maximum(x + np.linspace(-FAR, FAR, LEVELS), 0)
        density = y * np.exp(-((y - x) ** 2) / 2) * ive(0, x * y)
        return (density * self.even(y * self.sigma)).sum(axis=1) / density.sum(axis=1)


@dataclass(frozen=True)
class PoissonGaussian:
    """Photons of `gain` levels each, and Gaussian noise of `sigma`."""

    gain: float
    sigma: float = 0.0

    def even(self, y: np.ndarray) -> np.ndarray:
        photons = y / self.gain + 3 / 8 + (self.sigma / self.gain) ** 2
        return 2 * np.sqrt(np.maximum(photons, 0))

    def level(self, mean: np.ndarray) -> np.ndarray:
        """By the closed form of Makitalo and Foi, exact to a hundredth of a photon."""
        d = np.maximum(mean, 2 * math.sqrt(3 / 8 + (self.sigma / self.gain) ** 2))
        root = math.sqrt(3 / 2)
        photons = d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 1 / 8
        return self.gain * np.maximum(photons - (self.sigma / self.gain) ** 2, 0)


def find_photons(y: Tensor) -> NoiseLaw | None:
    """The law of photons, if the variance of the noise in (1, 1, H, W) grows as the level does.

    Found in the quietest blocks of each part of the levels, as the level of white noise is.
    """
    means, variances = blocks_of_noise(y)
    means, variances = (means + 1) * WHITE / 2, variances * (WHITE / 2) ** 2
    if len(means) < PARTS * FEWEST:
        return None
    order = np.argsort(means)
    at, found = np.empty(PARTS), np.empty(PARTS)
    for k, part in enumerate(np.array_split(order, PARTS)):
        found[k] = np.quantile(variances[part], QUIET)
        at[k] = means[part][variances[part] <= np.quantile(variances[part], 0.25)].mean()
    if found.max() < SPAN * found.min() or not np.corrcoef(at, found)[0, 1] >= SURE:
        return None
    weighed = np.stack([at, np.ones(PARTS)], axis=1) / found[:, None]
    gain, rest = np.linalg.lstsq(weighed, np.ones(PARTS), rcond=None)[0]
    if rest < 0:
        gain, rest = (at / found).sum() / (at**2 / found**2).sum(), 0.0
    if np.square(found / (gain * at + rest) - 1).mean() > OFF**2:
        return None
    level = float(f"{gain:.3g}")
    return ("poisson", level, round(math.sqrt(rest), 2)) if level > 0 else None


def deviation_of(noise: float | Sequence[Any], level: float) -> float:
    """Of noise as an `Observation` has it, about a level from 0 to 255."""
    if not isinstance(noise, Sequence):
        return noise
    kind, first, *rest = noise
    return math.hypot(math.sqrt(first * level), *rest) if kind == "poisson" else float(first)


def law_of(given: NoiseLaw) -> Law:
    """The law of the noise that an `Observation` gives."""
    kind, *numbers = given
    return Rician(*numbers) if kind == "rician" else PoissonGaussian(*numbers)


def without_noise(y: Tensor, law: Law, denoise: Denoise) -> Tensor:
    """y (1, 1, H, W) in [-1, 1] without noise of this law."""
    black, white = law.even(np.array([0.0, WHITE]))
    half = (white - black) / 2  # of the range of f, in deviations of the noise
    even = (law.even((y.double().numpy() + 1) * WHITE / 2) - black) / half - 1
    mean = denoise(torch.from_numpy(even).to(y), 1 / half).double().numpy()
    x = law.level((mean + 1) * half + black)
    return torch.from_numpy(x * 2 / WHITE - 1).to(y)
