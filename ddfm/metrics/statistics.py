"""Metrics from sums over pixels: spread, sharpness, error and correlation.

F is the fused image, S_k are the sources, and mean() is over all pixels.
"""

from __future__ import annotations

import math

import numpy as np

from ddfm.arguments import by_annotation, positive
from ddfm.errors import InputError
from ddfm.metrics.grey import Array, Grey, ImageLike, as_grey, pair_up

__all__ = ["ag", "cc", "mse", "psnr", "scd", "sd", "sf"]


def sd(fused: ImageLike) -> float:
    """Standard deviation: sqrt(mean((F - mean(F))^2)).

    Source: Rao, In-fibre Bragg grating sensors, Meas. Sci. Technol. 8, 1997, as cited throughout
    the fusion literature.
    """
    return float(np.std(as_grey(fused, "fused").pixels))


def sf(fused: ImageLike) -> float:
    """Spatial frequency: sqrt(mean((F[i, j] - F[i, j-1])^2) + mean((F[i, j] - F[i-1, j])^2)).

    Source: Eskicioglu and Fisher, Image quality measures and their performance, IEEE Trans.
    Commun. 43, 1995.
    """
    f = as_grey(fused, "fused").pixels
    return math.sqrt(
        sum(np.mean(np.diff(f, axis=axis) ** 2) for axis in (0, 1) if f.shape[axis] > 1)
    )


def ag(fused: ImageLike) -> float:
    """Average gradient: mean(sqrt((Fx^2 + Fy^2) / 2)).

    Fx and Fy are central differences, one-sided at the borders. Source: Cui et al., Detail
    preserved fusion of visible and infrared images, Opt. Commun. 341, 2015.
    """
    f = as_grey(fused, "fused").pixels
    if min(f.shape) < 2:
        raise InputError("AG needs an image of at least 2x2 pixels")
    fy, fx = np.gradient(f)
    return float(np.mean(np.sqrt((fx * fx + fy * fy) / 2)))


def mse(fused: ImageLike, *sources: ImageLike) -> float:
    """Mean squared error, the mean over the sources of mean((F - S_k)^2)."""
    f, greys = pair_up(fused, *sources)
    return float(np.mean([f.shared(_squared_error, s) for s in greys]))


@by_annotation
def psnr(fused: ImageLike, *sources: ImageLike, peak: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(peak^2 / MSE), infinite if MSE is 0.

    By default the peak is the largest value of F, as in the field's evaluator; textbooks use
    `peak=255`.
    """
    peak = None if peak is None else positive("peak", peak)
    f, greys = pair_up(fused, *sources)
    error = mse(f, *greys)
    if error == 0:
        return math.inf
    peak = float(f.pixels.max()) if peak is None else peak
    return 10 * math.log10(peak**2 / error) if peak else -math.inf


def cc(fused: ImageLike, *sources: ImageLike) -> float:
    """Correlation coefficient, the mean over the sources of corr(F, S_k).

    If an image is constant, its correlation is 0.
    """
    f, greys = pair_up(fused, *sources)
    return float(np.mean([_correlation(f.shared(_deviation), s.shared(_deviation)) for s in greys]))


def scd(fused: ImageLike, first: ImageLike, second: ImageLike) -> float:
    """Sum of the correlations of differences: corr(F - B, A) + corr(F - A, B), from -2 to 2.

    F less one source should resemble the other one. Defined for two sources.
    Source: Aslantas and Bendes, A new image quality metric for image fusion: the sum of
    the correlations of differences, AEU 69, 2015.
    """
    f, (a, b) = pair_up(fused, first, second)
    df, da, db = (g.shared(_deviation) for g in (f, a, b))
    return _correlation(df - db, da) + _correlation(df - da, db)


def _squared_error(f: Grey, s: Grey) -> float:
    difference = f.pixels - s.pixels
    return float(np.vdot(difference, difference)) / difference.size


def _deviation(g: Grey) -> Array:
    return g.pixels - g.pixels.mean()


def _correlation(x: Array, y: Array) -> float:
    """The correlation of two images whose means are zero; 0 if one of them is constant."""
    scale = math.sqrt(float(np.vdot(x, x)) * float(np.vdot(y, y)))
    # Rounding errors leave a constant image slightly above zero.
    return float(np.vdot(x, y)) / scale if scale > 1e-9 * x.size else 0.0
