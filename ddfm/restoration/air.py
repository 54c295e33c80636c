"""Noise in the air around a body: what is black in every medical picture tells of it exactly.

Texture of tissue looks like faint noise, but there is none in air: what varies there is noise. It
is looked for in the darkest blocks, clipped or not. They are air if they have one mean, one
variance, and no pixel that tells of the next one. What the noise is in tissue follows:

- Gaussian noise is clipped at black, and what is left of it has 0.584 of its deviation;
- the magnitude of a complex signal, as MRI has it, is Rayleigh's there, with 0.655 of it.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from ddfm.restoration.observation import NoiseLaw

__all__ = ["find_in_air"]

WHITE = 255.0
BLOCK = 8  # pixels of a side
MANY = 8192  # blocks are enough
AIR = 0.2  # share of the blocks, the darkest, that are air if there is any
FEWEST = 12  # blocks
FAR = 5.0  # deviations, by which means of air differ at most
ONE_MEAN = 2.0  # times the variance that means of as many pixels have
ONE_VARIANCE = 2.0  # a tenth of the variances of blocks is beyond, at most
ALONE = 0.15  # correlation of neighbours, at most
CLIPPED = math.sqrt((1 - 1 / math.pi) / 2)  # of the deviation of a Gaussian, about black
MOSTLY = 1.4  # mean of what is clipped by its deviation; it is 0.68, and 1.02 of three channels
RAYLEIGH = math.sqrt(2 - math.pi / 2)  # of sigma
MEAN, NEAR = math.sqrt(math.pi / 2) / RAYLEIGH, 0.25  # of Rayleigh's, by its deviation
SKEW = 0.4  # and its skewness is 0.63


def find_in_air(y: Tensor, least: float) -> float | NoiseLaw | None:
    """The noise of y (1, 1, H, W) in [-1, 1], as an `Observation` says it, if air tells of it.

    Args:
        least: deviation, below which it is left.
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
    """(N, 64), levels from 0 to 255; of a large picture, some of its rows of them."""
    h, w = (n // BLOCK for n in plane.shape)
    tiles = plane[: h * BLOCK, : w * BLOCK].reshape(h, BLOCK, w, BLOCK)[:: 1 + h * w // MANY]
    return (tiles.swapaxes(1, 2).reshape(-1, BLOCK**2).astype(float) + 1) * WHITE / 2


def _air(blocks: np.ndarray) -> np.ndarray | None:
    """Those of air, if there is any with noise."""
    means = blocks.mean(axis=1)
    dark = np.argsort(means, kind="stable")[: int(AIR * len(blocks))]
    if len(dark) < FEWEST:
        return None
    low, middle, high = np.quantile(blocks[dark].var(axis=1), [0.1, 0.5, 0.9])
    if not 0 < middle < ONE_VARIANCE * low or not high < ONE_VARIANCE * middle:
        return None  # most pictures end here
    of_means = middle / BLOCK**2
    if means[dark].var() > ONE_MEAN * of_means or _shared(blocks[dark]) > ALONE:
        return None
    # Of all there is, since the darkest of it have the least noise.
    return np.asarray(blocks[means < means[dark].mean() + FAR * math.sqrt(of_means)])


def _shared(blocks: np.ndarray) -> float:
    """The correlation of neighbours, along rows or along columns."""
    x = (blocks - blocks.mean(axis=1, keepdims=True)).reshape(-1, BLOCK, BLOCK)
    products = (x[:, :, 1:] * x[:, :, :-1]).mean(), (x[:, 1:] * x[:, :-1]).mean()
    return max(map(abs, map(float, products))) / float(np.square(x).mean())
