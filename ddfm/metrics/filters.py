"""Separable filters as products with a band matrix.

A filter of k taps along an axis is a product with a matrix that has k entries a column. Cut into
blocks of a few dozen columns the matrix is nearly full, and the product runs at the speed of the
linear algebra library: several times faster than a loop over taps, with the same result.
"""

from __future__ import annotations

import numpy as np

from ddfm.metrics.grey import Array

__all__ = ["correlate", "gaussian", "smooth", "sobel"]

BLOCK = 32


def gaussian(side: int, sigma: float) -> Array:
    """The weights of a Gaussian over `side` pixels, with sum 1."""
    x = np.arange(side) - (side - 1) / 2
    weights = np.exp(-(x**2) / (2 * sigma**2))
    return weights / weights.sum()


def smooth(image: Array, weights: Array) -> Array:
    """The image filtered with `weights` along both axes."""
    return correlate(image, weights, weights)


def sobel(image: Array) -> tuple[Array, Array]:
    """Sobel's differences of the image: to the right and down."""
    sum3, difference = np.array([1.0, 2.0, 1.0]), np.array([-1.0, 0.0, 1.0])
    return correlate(image, sum3, difference), correlate(image, difference, sum3)


def correlate(image: Array, down: Array, across: Array) -> Array:
    """The image filtered with `down` along its columns and `across` along its rows.

    Only where the window lies inside the image: the result is smaller by the window less one.
    """
    reach = len(across) - 1
    width = image.shape[1] - reach
    band = _band(across)
    rows = np.empty((image.shape[0], width))
    for start in range(0, width, BLOCK):
        stop = min(start + BLOCK, width)
        part = band[: stop - start + reach, : stop - start]
        np.matmul(image[:, start : stop + reach], part, out=rows[:, start:stop])

    reach = len(down) - 1
    height = image.shape[0] - reach
    band = _band(down).T
    out = np.empty((height, width))
    for start in range(0, height, BLOCK):
        stop = min(start + BLOCK, height)
        part = band[: stop - start, : stop - start + reach]
        np.matmul(part, rows[start : stop + reach], out=out[start:stop])
    return out


def _band(weights: Array) -> Array:
    """The matrix whose column j holds the weights from row j on."""
    band = np.zeros((BLOCK + len(weights) - 1, BLOCK))
    for j in range(BLOCK):
        band[j : j + len(weights), j] = weights
    return band
