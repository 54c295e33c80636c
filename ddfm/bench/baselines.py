"""Simple baselines, on planes of luminance (H, W).

- average and maximum, pixel by pixel;
- laplacian-pyramid: the largest coefficient of each level, the mean of the coarsest
  (Burt and Adelson, The Laplacian pyramid as a compact image code, IEEE Trans. Commun. 31, 1983);
- guided-filter: base and detail layers, weighted by saliency that is smoothed along the edges of
  each source (Li, Kang and Hu, Image fusion with guided filtering, IEEE TIP 22, 2013).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter, laplace, uniform_filter

__all__ = ["BASELINES", "average", "maximum"]

Array = np.ndarray


def average(*sources: Array) -> Array:
    """The mean, pixel by pixel."""
    return np.mean(sources, axis=0)


def maximum(*sources: Array) -> Array:
    """The maximum, pixel by pixel."""
    return np.max(sources, axis=0)


def laplacian_pyramid(*sources: Array, levels: int = 4) -> Array:
    """The largest coefficient of each level, the mean of the coarsest."""
    bands = []
    for _ in range(levels):
        if min(sources[0].shape) < 4:
            break
        small = [gaussian_filter(x, 1.0)[::2, ::2] for x in sources]
        details = [x - _enlarged(s, x.shape) for x, s in zip(sources, small, strict=True)]
        largest = np.argmax(np.abs(details), axis=0)
        bands.append(np.take_along_axis(np.stack(details), largest[None], axis=0)[0])
        sources = tuple(small)
    fused = average(*sources)
    for detail in reversed(bands):
        fused = _enlarged(fused, detail.shape) + detail
    return fused


def guided_filter(*sources: Array) -> Array:
    """Two layers, each weighted by where a source is the most salient one."""
    most = np.argmax([gaussian_filter(abs(laplace(x)), 5.0) for x in sources], axis=0)
    bases = [uniform_filter(x, 31) for x in sources]
    details = [x - base for x, base in zip(sources, bases, strict=True)]
    fused = np.zeros_like(sources[0])
    for layers, radius, epsilon in ((bases, 45, 0.3), (details, 7, 1e-6)):
        masks = [(most == k).astype(float) for k in range(len(sources))]
        smoothed = [_guided(x, m, radius, epsilon) for x, m in zip(sources, masks, strict=True)]
        weights = np.clip(smoothed, 0, 1)
        fused += (weights * layers).sum(axis=0) / (weights.sum(axis=0) + 1e-12)
    return fused


def _enlarged(x: Array, shape: tuple[int, ...]) -> Array:
    return gaussian_filter(x.repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]], 1.0)


def _guided(guide: Array, x: Array, radius: int, epsilon: float) -> Array:
    """x, smoothed except across edges of the guide (He, Sun and Tang, TPAMI 35, 2013)."""

    def mean(image: Array) -> Array:
        return uniform_filter(image, 2 * radius + 1)

    mean_guide, mean_x = mean(guide), mean(x)
    slope = (mean(guide * x) - mean_guide * mean_x) / (mean(guide**2) - mean_guide**2 + epsilon)
    return mean(slope) * guide + mean(mean_x - slope * mean_guide)


BASELINES: dict[str, Callable[..., Array]] = {
    "average": average,
    "maximum": maximum,
    "laplacian-pyramid": laplacian_pyramid,
    "guided-filter": guided_filter,
}
