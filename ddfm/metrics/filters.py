"""Separable filters, and iteration over bands of rows.

A filter of k taps along an axis is a product with a matrix that has k entries per column. In blocks
of a few dozen columns the matrix is nearly full, and the product runs at the speed of the linear
algebra library: faster than a loop over taps, SciPy's included, with the same result.

Formulas of many terms are computed over bands of rows that stay in the processor's cache, which is
two or three times faster than over whole images.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ddfm.metrics.grey import Array

__all__ = ["bands", "correlate", "gaussian", "smooth", "sobel"]

BLOCK = 32  # columns of a block
BAND = 16_384  # pixels of a band


def bands(image: Array) -> Iterator[slice]:
    """Slices of a few rows each, which cover the image."""
    step = max(1, BAND // image.shape[1])
    for start in range(0, image.shape[0], step):
        yield slice(start, start + step)


def gaussian(side: int, sigma: float) -> Array:
    """The weights of a Gaussian over `side` pixels, whose sum is 1."""
    x = np.arange(side) - (side - 1) / 2
    weights = np.exp(-(x**2) / (2 * sigma**2))
    return weights / weights.sum()


def smooth(image: Array, weights: Array, times: Array | None = None) -> Array:
    """The image, or its product with `times`, filtered with `weights` along both axes."""
    return correlate(image, weights, weights, times)


def sobel(image: Array) -> tuple[Array, Array]:
    """Sobel differences of the image, to the right and down."""
    sum3, difference = np.array([1.0, 2.0, 1.0]), np.array([-1.0, 0.0, 1.0])
    return correlate(image, sum3, difference), correlate(image, difference, sum3)


def correlate(image: Array, down: Array, across: Array, times: Array | None = None) -> Array:
    """The image, or its product with `times`, filtered with `down` by columns, `across` by rows.

    Only pixels whose window lies inside the image: each side is shorter by the window's less one.
    """
    reach_down, reach_across = len(down) - 1, len(across) - 1
    height, width = image.shape[0] - reach_down, image.shape[1] - reach_across
    band_down, band_across = _band(down).T.copy(), _band(across)
    out, rows = np.empty((height, width)), np.empty((BLOCK + reach_down, width))
    for top in range(0, height, BLOCK):
        bottom = min(top + BLOCK, height)
        used = bottom - top + reach_down
        part = image[top : top + used]
        if times is not None:
            part = part * times[top : top + used]
        for left in range(0, width, BLOCK):
            right = min(left + BLOCK, width)
            weights = band_across[: right - left + reach_across, : right - left]
            np.matmul(part[:, left : right + reach_across], weights, out=rows[:used, left:right])
        np.matmul(band_down[: bottom - top, :used], rows[:used], out=out[top:bottom])
    return out


def _band(weights: Array) -> Array:
    """The matrix whose column j holds the weights, starting at row j."""
    band = np.zeros((BLOCK + len(weights) - 1, BLOCK))
    for j in range(BLOCK):
        band[j : j + len(weights), j] = weights
    return band
