"""MEF-SSIM: the structural similarity of a fused image with the best patches of several exposures.

Around each pixel, the patch x_k of a source consists of its mean, its contrast c_k = |x_k - mean|
and its structure s_k = (x_k - mean) / c_k. The patch that a fusion should have is r = c s / |s|,
with the highest contrast c = max c_k and the structure s = sum_k w_k s_k. The weights w_k = c_k^p,
scaled to sum 1, favour sources with more contrast, and more so if the structures agree: p =
tan(pi R / 2), at most `SHARPEST`, with R = |sum_k (x_k - mean)| / sum_k c_k. Means are ignored,
since the right brightness is unknown.

Patches are never built: the products of two of them are sums of local covariances, which are
computed by filters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ddfm.metrics.filters import gaussian, smooth
from ddfm.metrics.grey import Array, ImageLike, pair_up
from ddfm.metrics.structure import SCALE_WEIGHTS, check_size, halve

__all__ = ["mef_ssim"]

SIDE = 11  # pixels along the side of a patch
FLAT, ROUND = np.full(SIDE, 1 / SIDE), gaussian(SIDE, 1.5)
SCALES = SCALE_WEIGHTS[:3]
CALM = (0.03 * 255) ** 2  # C of the formula
SHARPEST = 10.0  # the largest p
LEAST = 1e-3  # added to contrasts, so that flat patches have a structure
TINY = float(np.finfo(float).eps)


def mef_ssim(fused: ImageLike, *sources: ImageLike) -> float:
    """Structural similarity for exposures: prod_j q_j^b_j over three scales j, from 0 to 1.

    q is the mean over pixels of (2 sigma_rf + C) / (sigma_r^2 + sigma_f^2 + C). Here, r is the
    patch that a fusion should have (see the module), C = (0.03 * 255)^2, and (co)variances have a
    Gaussian window of 11x11 with sigma 1.5. Contrasts and weights are those of flat patches of
    11x11, as in the authors' program. A scale with a negative mean counts as 0. Source: Ma, Zeng
    and Wang, Perceptual quality assessment for multi-exposure image fusion, IEEE TIP 24, 2015.
    """
    f, greys = pair_up(fused, *sources)
    check_size(f, SIDE * 2 ** (len(SCALES) - 1), "MEF-SSIM")
    images = [image.pixels for image in (f, *greys)]
    product = 1.0
    for weight in SCALES:
        product *= max(0.0, _similarity(*images)) ** (weight / sum(SCALES))
        images = [halve(image) for image in images]
    return product


def _similarity(fused: Array, *sources: Array) -> float:
    """q at one scale."""
    count = len(sources)
    flat, around = _Covariances(sources, FLAT), _Covariances((*sources, fused), ROUND)
    norms = [SIDE * np.sqrt(np.maximum(flat.of(k, k), 0)) for k in range(count)]
    ones = [np.ones_like(norms[0])] * count
    together = SIDE * np.sqrt(np.maximum(flat.product(ones, ones), 0))
    agreement = (together + TINY) / (sum(norms) + TINY)
    sharpness = np.minimum(np.tan(math.pi / 2 * np.minimum(agreement, 1 - TINY)), SHARPEST)
    contrasts = [norm + LEAST for norm in norms]
    weights = [(contrast / SIDE) ** sharpness + TINY for contrast in contrasts]
    shares = [w / sum(weights) / c for w, c in zip(weights, contrasts, strict=True)]
    length = SIDE * np.sqrt(np.maximum(flat.product(shares, shares), 0))
    gain = np.divide(np.maximum.reduce(contrasts), length, out=length * 0, where=length > 0)
    parts = [gain * share for share in shares]  # r is the sum of parts times sources
    covariance = sum(part * around.of(k, count) for k, part in enumerate(parts))
    variances = around.product(parts, parts) + around.of(count, count)
    return float(np.mean((2 * covariance + CALM) / (variances + CALM)))


class _Covariances:
    """Local covariances of images, each computed once."""

    def __init__(self, images: Sequence[Array], window: Array) -> None:
        self.images, self.window = images, window
        self._means = [smooth(image, window) for image in images]
        self._known: dict[tuple[int, int], Array] = {}

    def of(self, j: int, k: int) -> Array:
        """The covariance of images j and k."""
        j, k = min(j, k), max(j, k)
        if (j, k) not in self._known:
            products = smooth(self.images[j], self.window, times=self.images[k])
            self._known[j, k] = products - self._means[j] * self._means[k]
        return self._known[j, k]

    def product(self, left: Sequence[Array], right: Sequence[Array]) -> Array:
        """The covariance of two weighted sums of the first images, with weights for each pixel."""
        terms = (a * b * self.of(j, k) for j, a in enumerate(left) for k, b in enumerate(right))
        return sum(terms, start=np.zeros_like(left[0]))
