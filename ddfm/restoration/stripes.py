r"""Stripes of a sensor: every column has an offset of its own, y_ij = x_ij + c_j.

The median over a column of the differences to the next one, d_j, is c_{j+1} - c_j and an error:
a scene has few edges that run along a whole column. Offsets that are independent, of one variance
C, leave -C as the covariance of neighbouring d_j, which scenes do not: so C is known, and whether
there are stripes at all. White noise of deviation s makes medians over n rows differ, too, as if
C were pi s^2 / 2 n; stripes have more. The offsets that are most probable then are

    argmin_c |D c - d|^2 / E + |c|^2 / C,    E = var d - 2 C

a quadratic that cosines solve. Rows are columns of the transposed picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch

from ddfm.numerics.noise_level import noise_level

__all__ = ["Stripes", "find_stripes"]

ROWS = 128  # at most so many are looked at
STRONG = 0.7 / 255  # deviation of offsets, of levels from 0 to 1, that is worth a correction
ALTERNATE = (0.25, 0.62)  # -cov(d_j, d_j+1) / var d: 1/2 of stripes, more of interlaced fields
CALM = 0.7  # share of each column, where the guide has the least edges, that is read
BEYOND = 3.0  # times C of white noise alone, at least
FEWEST = 16  # columns that can be told from a scene
OUTLIER = 5.0  # median deviations: beyond that a difference is an edge of the scene


@dataclass(frozen=True, eq=False)
class Stripes:
    """Offsets of columns, of levels from 0 to 1.

    Attributes:
        offsets: (W,), to be subtracted.
        sigma: their standard deviation.
        sure: whether they are stripes, and no chance.
    """

    offsets: np.ndarray
    sigma: float
    sure: bool


def find_stripes(
    plane: np.ndarray, guide: np.ndarray | None = None, mask: np.ndarray | None = None
) -> Stripes:
    """The offsets of the columns of (H, W).

    Args:
        guide: another picture of the scene; where it has edges, nothing is read off.
        mask: where the plane says something, (H, W).
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
    """d_j, without what is of the scene; 0 where nothing is known."""
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
    """C of the white noise in a plane, of medians over so many rows."""
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
