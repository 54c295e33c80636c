r"""Finds the stripes of a sensor, where every column has an offset of its own, y_ij = x_ij + c_j.

Let d_j be the median, over all rows, of the differences between columns j + 1 and j. It estimates
c_{j+1} - c_j, since few edges of a scene run along a whole column. Independent offsets of variance
C make the covariance of neighbouring d_j equal to -C, which scenes do not. This gives C, and shows
whether there are stripes at all. White noise of deviation s has a similar effect: it makes medians
over n rows differ as if C were pi s^2 / (2 n), and stripes must have more. The most probable
offsets are then

    argmin_c |D c - d|^2 / E + |c|^2 / C,    E = var d - 2 C

where D takes differences of neighbours. A DCT solves this quadratic problem. For stripes along
rows, use the transposed picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch

from ddfm.numerics.noise_level import noise_level

__all__ = ["Stripes", "find_stripes"]

ROWS = 128  # most rows that are examined to decide whether there are stripes
STRONG = 0.7 / 255  # least deviation of offsets worth a correction, of levels from 0 to 1
# Range of -cov(d_j, d_j+1) / var d for stripes: they have 1/2, interlaced fields have more.
ALTERNATE = (0.25, 0.62)
CALM = 0.7  # share of each column that is used, where the guide has the weakest edges
BEYOND = 3.0  # least C, relative to that of white noise alone
FEWEST = 16  # least number of columns, of rows, and of known differences in a column
OUTLIER = 5.0  # limit of |d_j| in units of its median: anything larger is an edge of the scene


@dataclass(frozen=True, eq=False)
class Stripes:
    """Offsets of columns, of levels from 0 to 1.

    Attributes:
        offsets: (W,), to be subtracted.
        sigma: their standard deviation.
        sure: whether these are stripes for certain, rather than chance.
    """

    offsets: np.ndarray
    sigma: float
    sure: bool


def find_stripes(
    plane: np.ndarray, guide: np.ndarray | None = None, mask: np.ndarray | None = None
) -> Stripes:
    """The offsets of the columns of (H, W).

    Args:
        guide: another picture of the scene; places where it has strong edges are not used.
        mask: where the plane is valid, (H, W).
    """
    h, w = plane.shape
    none = Stripes(np.zeros(w), 0.0, False)
    if w < FEWEST or h < FEWEST:
        return none
    whole = plane
    if mask is not None:
        plane = np.where(mask, plane, np.nan)
    some = plane[:: -(-h // ROWS)]
    variance, share = _of_stripes(_differences(some))
    if variance <= 0:
        return none
    sure = variance > STRONG**2 and ALTERNATE[0] < share < ALTERNATE[1]
    sure = sure and variance > BEYOND * _of_noise(whole, len(some))
    d = _differences(plane, guide)
    variance, _ = _of_stripes(d)
    if variance <= 0:
        return none
    error = max(float(np.mean(d**2)) - 2 * variance, 0.02 * variance)
    right_side = np.concatenate([[-d[0]], d[:-1] - d[1:], [d[-1]]])  # D' d
    waves = scipy.fft.dct(right_side, norm="ortho")
    waves /= 2 - 2 * np.cos(np.pi * np.arange(w) / w) + error / variance
    return Stripes(scipy.fft.idct(waves, norm="ortho"), float(np.sqrt(variance)), sure)


def _differences(plane: np.ndarray, guide: np.ndarray | None = None) -> np.ndarray:
    """d_j, without the influence of the scene as far as possible; 0 where too little is known."""
    steps = np.diff(plane, axis=1)
    if guide is not None:
        edges = np.abs(np.diff(guide, axis=1))
        steps = np.where(edges <= np.quantile(edges, CALM, axis=0), steps, np.nan)
    known = np.isfinite(steps)
    if known.all():
        d = np.median(steps, axis=0)
    else:
        steps[:, known.sum(axis=0) < FEWEST] = 0.0
        d = np.nanmedian(steps, axis=0)
    limit = OUTLIER * np.median(np.abs(d))
    return np.clip(d.astype(np.float64), -limit, limit)


def _of_noise(plane: np.ndarray, rows: int) -> float:
    """The value that white noise in the plane would give C, by medians over `rows` rows."""
    s = noise_level(torch.from_numpy(np.ascontiguousarray(plane, np.float32))[None, None])
    return math.pi * s**2 / (2 * rows)


def _of_stripes(d: np.ndarray) -> tuple[float, float]:
    """C, and -cov(d_j, d_j+1) / var d."""
    d = d - d.mean()
    variance = float(np.mean(d**2))
    if variance == 0:
        return 0.0, 0.0
    between = -float(np.mean(d[1:] * d[:-1]))
    return max(between, 0.0), between / variance
