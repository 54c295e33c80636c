"""Metrics of local structure: SSIM, its multi-scale form, and visual information fidelity.

Each compares a source s with the fused image f by local means mu, variances sigma^2 and covariances
sigma_sf in a small window, and sums the values over the sources.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ddfm.arguments import by_annotation, positive
from ddfm.errors import InputError
from ddfm.metrics.filters import bands, gaussian, smooth
from ddfm.metrics.grey import Array, Grey, ImageLike, pair_up

__all__ = ["SCALE_WEIGHTS", "check_size", "halve", "ms_ssim", "ssim", "vif"]

FLAT = np.full(7, 1 / 7)
SAMPLE = FLAT.size**2 / (FLAT.size**2 - 1)  # ratio of sample variance to mean square
ROUND = gaussian(11, 1.5)
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
VIF_WINDOWS = tuple(gaussian(side, side / 5) for side in (17, 9, 5, 3))
VIF_SMALLEST = 41  # least side in pixels for which the windows of all scales fit
VIF_NOISE = 2.0  # variance of the eye's noise, n
TINY = 1e-10


class Local(NamedTuple):
    """An image and its mean and variance in the window around each pixel."""

    image: Array
    mean: Array
    variance: Array


@by_annotation
def ssim(fused: ImageLike, *sources: ImageLike, data_range: float = 255.0) -> float:
    """Structural similarity, the sum over the sources of mean(SSIM(S_k, F)).

    SSIM = (2 mu_s mu_f + c1) (2 sigma_sf + c2) / ((mu_s^2 + mu_f^2 + c1) (sigma_s^2 + sigma_f^2
    + c2)) with c1 = (0.01 R)^2, c2 = (0.03 R)^2 and R = `data_range`, in flat windows of 7x7 with
    sample covariances, without borders. R = 255 is right for 8-bit images; the tables of the
    fusion literature have R = 2, because the evaluator passes float images to a library that then
    assumes a range of -1 to 1. Source: Wang et al., Image quality assessment: from error visibility
    to structural similarity, IEEE TIP 13, 2004.
    """
    data_range = positive("data_range", data_range)
    f, greys = pair_up(fused, *sources)
    check_size(f, FLAT.size, "SSIM")
    return sum(f.shared(_ssim_of_two, s, data_range) for s in greys)


@by_annotation
def ms_ssim(fused: ImageLike, *sources: ImageLike, data_range: float = 255.0) -> float:
    """Multi-scale structural similarity, the sum over the sources of prod_j cs_j^w_j * ssim_5^w_5.

    cs is SSIM without its factor of means, averaged over the image, in a Gaussian window of 11x11
    with sigma 1.5. There are five scales, each of means of 2x2 pixels of the one before. Smaller
    images have as many scales as fit, with weights rescaled to the same sum. A negative mean counts
    as 0. Source: Wang, Simoncelli and Bovik, Multi-scale structural similarity for image quality
    assessment, Asilomar 2003.
    """
    data_range = positive("data_range", data_range)
    f, greys = pair_up(fused, *sources)
    check_size(f, ROUND.size, "MS-SSIM")
    levels = _ms_ssim_pyramid(f)
    return sum(_ms_ssim_of_two(_ms_ssim_pyramid(s), levels, data_range) for s in greys)


def vif(fused: ImageLike, *sources: ImageLike) -> float:
    """Visual information fidelity in the pixel domain, the sum over the sources of VIF(S_k, F).

    VIF = sum log(1 + g^2 sigma_s^2 / (sigma_v^2 + n)) / sum log(1 + sigma_s^2 / n) over all pixels
    of four scales, with the gain g = max(sigma_sf, 0) / sigma_s^2, the residual sigma_v^2 =
    sigma_f^2 - g sigma_sf and the eye's noise n = 2. Windows are Gaussians of 17, 9, 5 and 3
    pixels, with sigma a fifth of that. For a constant source, which has no information to lose, VIF
    is 1. Source: Sheikh and Bovik, Image information and visual quality, IEEE TIP 15, 2006; the
    field's evaluator sums it over the sources and calls it VIF or VIFF.
    """
    f, greys = pair_up(fused, *sources)
    check_size(f, VIF_SMALLEST, "VIF")
    levels = _vif_pyramid(f)
    return sum(_vif_of_two(_vif_pyramid(s), levels) for s in greys)


def check_size(g: Grey, smallest: int, name: str) -> None:
    """Raise if an image is too small for the windows of a metric."""
    if min(g.pixels.shape) < smallest:
        height, width = g.pixels.shape
        raise InputError(
            f"{name} needs images of at least {smallest}x{smallest} pixels, not {width}x{height}; "
            "leave smaller ones out, or choose other metrics (metrics=[...], ddfm metrics "
            "--metrics)"
        )


def _local(image: Array, weights: Array) -> Local:
    mean = smooth(image, weights)
    return Local(image, mean, smooth(image, weights, times=image) - mean * mean)


def _covariance(s: Local, f: Local, weights: Array) -> Array:
    return smooth(s.image, weights, times=f.image) - s.mean * f.mean


# SSIM


def _flat_local(g: Grey) -> Local:
    return _local(g.pixels, FLAT)


def _flat_covariance(f: Grey, s: Grey) -> Array:
    return _covariance(s.shared(_flat_local), f.shared(_flat_local), FLAT)


def _ssim_of_two(f: Grey, s: Grey, data_range: float) -> float:
    c1, c2 = _constants(data_range)
    # Sample variances are larger by the factor SAMPLE; dividing the constant by it is equivalent.
    return _mean_similarity(
        s.shared(_flat_local), f.shared(_flat_local), f.shared(_flat_covariance, s), c1, c2 / SAMPLE
    )


def _ms_ssim_of_two(source: list[Local], fused: list[Local], data_range: float) -> float:
    weights = SCALE_WEIGHTS[: len(source)]
    stretch = sum(SCALE_WEIGHTS) / sum(weights)
    c1, c2 = _constants(data_range)
    product = 1.0
    for s, f, weight in zip(source, fused, weights, strict=True):
        of_means = c1 if s is source[-1] else None
        similarity = _mean_similarity(s, f, _covariance(s, f, ROUND), of_means, c2)
        product *= max(0.0, similarity) ** (weight * stretch)
    return product


def _constants(data_range: float) -> tuple[float, float]:
    return (0.01 * data_range) ** 2, (0.03 * data_range) ** 2


def _mean_similarity(s: Local, f: Local, covariance: Array, c1: float | None, c2: float) -> float:
    """The mean of SSIM over the image, without its factor of means if c1 is None."""
    total = 0.0
    for rows in bands(covariance):
        similarity = (2 * covariance[rows] + c2) / (s.variance[rows] + f.variance[rows] + c2)
        if c1 is not None:
            a, b = s.mean[rows], f.mean[rows]
            # (2 a b + c) / (a^2 + b^2 + c) = 1 - (a - b)^2 / (a^2 + b^2 + c)
            similarity -= (a - b) ** 2 / (a * a + b * b + c1) * similarity
        total += float(similarity.sum())
    return total / covariance.size


def _ms_ssim_pyramid(g: Grey) -> list[Local]:
    pyramid = [_local(g.pixels, ROUND)]
    while len(pyramid) < len(SCALE_WEIGHTS):
        image = halve(pyramid[-1].image)
        if min(image.shape) < ROUND.size:
            break
        pyramid.append(_local(image, ROUND))
    return pyramid


def halve(image: Array) -> Array:
    """Means of 2x2 pixels; an odd last row or column is repeated."""
    image = np.pad(image, [(0, n % 2) for n in image.shape], mode="edge")
    rows = image[0::2] + image[1::2]
    return (rows[:, 0::2] + rows[:, 1::2]) / 4


# VIF


def _vif_pyramid(g: Grey) -> list[Local]:
    image, pyramid = g.pixels, []
    for scale, weights in enumerate(VIF_WINDOWS):
        if scale:
            image = smooth(image, weights)[::2, ::2]
        pyramid.append(_local(image, weights))
    return pyramid


def _vif_of_two(source: list[Local], fused: list[Local]) -> float:
    kept = there = 0.0
    for s, f, weights in zip(source, fused, VIF_WINDOWS, strict=True):
        covariance = _covariance(s, f, weights)
        for rows in bands(covariance):
            # Where the source is all but flat, TINY matters: it stands where the evaluator has it.
            own = s.variance[rows]
            explained = np.maximum(covariance[rows], 0) ** 2 / (own + TINY)
            noise = f.variance[rows] - explained + VIF_NOISE
            explained = np.where(own < TINY, 0, explained * (own / (own + TINY)))
            kept += float(np.log1p(explained / noise).sum())
            there += float(np.log1p(own / VIF_NOISE).sum())
    # Rounding errors leave a little variance in a constant image.
    return kept / there if there > TINY * source[0].image.size else 1.0
