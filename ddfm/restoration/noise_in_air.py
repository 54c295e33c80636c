"""Estimates the noise of a medical image from the air around the body, which is black.

In tissue, texture looks like faint noise. Air has no texture: all variation there is noise. The
darkest blocks, clipped or not, are air if they agree in mean and variance, and neighbouring pixels
are uncorrelated. The deviation of the noise in tissue follows from that in air:

- Gaussian noise is clipped at black, which leaves 0.584 of its deviation;
- the magnitude of a complex signal, as in MRI, has a Rayleigh distribution in air, with 0.655 of
  the deviation.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from ddfm.restoration.observation import NoiseLaw

__all__ = ["find_in_air"]

WHITE = 255.0  # levels here are from 0 to 255
BLOCK = 8  # pixels along a side of a block
MANY = 8192  # of a large picture, about this many blocks are used
AIR = 0.2  # share of the blocks, the darkest ones, that are tested for being air
FEWEST = 12  # least number of these
FAR = 5.0  # standard errors above the mean of air up to which a block is air, too
ONE_MEAN = 2.0  # most variance of the means of blocks, relative to that expected from noise alone
ONE_VARIANCE = 2.0  # most ratio of median to 10 % quantile, and 90 % to median, of the variances
ALONE = 0.15  # most correlation of neighbouring pixels
CLIPPED = math.sqrt((1 - 1 / math.pi) / 2)  # deviation left of Gaussian noise clipped at its mean
MOSTLY = 1.4  # below it, mean / deviation is that of clipped noise: 0.68, or 1.02 in three channels
RAYLEIGH = math.sqrt(2 - math.pi / 2)  # deviation of a Rayleigh distribution with sigma = 1
MEAN, NEAR = math.sqrt(math.pi / 2) / RAYLEIGH, 0.25  # its mean / deviation, and the tolerance
SKEW = 0.4  # least skewness that counts as Rayleigh's, which has 0.63


def find_in_air(y: Tensor, least: float) -> float | NoiseLaw | None:
    """The noise of y (1, 1, H, W) in [-1, 1], as in an `Observation`; None without usable air.

    Args:
        least: deviation, of levels from -1 to 1, below which None is returned.
    """
    air = _air(_blocks(y[0, 0].numpy()))
    if air is None:
        return None
    deviation = math.sqrt(float(air.var(axis=1).mean()) * BLOCK**2 / (BLOCK**2 - 1))
    mean = float(air.mean()) / deviation
    skew = float(((air - air.mean()) ** 3).mean()) / deviation**3
    magnitude = abs(mean - MEAN) < NEAR and skew > SKEW
    if mean < MOSTLY:
        deviation /= CLIPPED
    elif magnitude:
        deviation /= RAYLEIGH
    if deviation * 2 / WHITE < least:
        return None
    found = float(f"{deviation:.3g}")
    return ("rician", found) if magnitude else found


def _blocks(plane: np.ndarray) -> np.ndarray:
    """The blocks as (N, 64) levels from 0 to 255; of a large picture, not every row of blocks."""
    h, w = (n // BLOCK for n in plane.shape)
    tiles = plane[: h * BLOCK, : w * BLOCK].reshape(h, BLOCK, w, BLOCK)[:: 1 + h * w // MANY]
    return (tiles.swapaxes(1, 2).reshape(-1, BLOCK**2).astype(float) + 1) * WHITE / 2


def _air(blocks: np.ndarray) -> np.ndarray | None:
    """The blocks that are air, or None if no air with noise is found."""
    means = blocks.mean(axis=1)
    dark = np.argsort(means, kind="stable")[: int(AIR * len(blocks))]
    if len(dark) < FEWEST:
        return None
    low, middle, high = np.quantile(blocks[dark].var(axis=1), [0.1, 0.5, 0.9])
    if not 0 < middle < ONE_VARIANCE * low or not high < ONE_VARIANCE * middle:
        return None  # most pictures are ruled out here
    of_means = middle / BLOCK**2
    if means[dark].var() > ONE_MEAN * of_means or _shared(blocks[dark]) > ALONE:
        return None
    # All blocks of air are used: the darkest among them have less noise than the rest.
    return np.asarray(blocks[means < means[dark].mean() + FAR * math.sqrt(of_means)])


def _shared(blocks: np.ndarray) -> float:
    """The correlation of neighbouring pixels, along rows or columns, whichever is stronger."""
    x = (blocks - blocks.mean(axis=1, keepdims=True)).reshape(-1, BLOCK, BLOCK)
    products = (x[:, :, 1:] * x[:, :, :-1]).mean(), (x[:, 1:] * x[:, :-1]).mean()
    return max(map(abs, map(float, products))) / float(np.square(x).mean())
