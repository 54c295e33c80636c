"""A picture that was enlarged before: into how many pixels, from how many, and those it was from.

Pixels between those of a coarse picture are means of them, more of them the farther they lie from
any. So the size of differences from pixel to pixel goes up and down along a side, as often as that
side had pixels (Gallagher 2005): the strongest waves are looked at. It is sure only where the
coarse picture is found that becomes this one, pixel by pixel, by one of the usual ways to enlarge.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ddfm.numerics.planes import plane as as_plane
from ddfm.restoration.operators import AreaAverage

__all__ = ["find_coarse", "taken_back"]

Size = tuple[int, int]

LINES = 256  # at most so many are looked at
SMALLEST = 64  # pixels of a side, of which waves can be told
MOST = 6  # times; the least is 2, below which there is nothing to be gained
WAVES = 3  # of a side, the strongest, that are looked at; there are overtones
STRONG = 36.0  # times the power that waves usually have
WIDE = 15  # pixels, about which a difference is large or small
ALIKE = 1.03  # times that both sides were enlarged may differ by so much
EXACT = 0.45 / 255  # deviation of what is left: what rounding leaves, and little more
SHARE = 0.15  # of the differences of neighbours: of a smooth picture anything can be made
PASSES = 12
TINY = 1e-5
BLOCK = 8  # pixels of a block of JPEG, which makes waves of its own


def _by(mode: str, antialias: bool = False) -> Callable[[Tensor, Size], Tensor]:
    return lambda y, size: F.interpolate(y, size, mode=mode, antialias=antialias)


# Both kernels of bicubic enlargement: that of OpenCV, and, with `antialias`, that of Pillow.
WAYS = _by("bilinear"), _by("bicubic"), _by("bicubic", antialias=True)


def find_coarse(plane: np.ndarray) -> Size | None:
    """The size of the picture that (H, W) levels from 0 to 1 were enlarged from, if they were."""
    if min(plane.shape) < SMALLEST:
        return None
    heights, widths = _waves(plane.T), _waves(plane)
    steps = float(np.diff(plane, axis=1).std())
    wide = as_plane(plane)
    for coarse in sorted(product(heights, widths)):
        times = [n / m for n, m in zip(plane.shape, coarse, strict=True)]
        if max(times) > ALIKE * min(times):
            continue
        _, left = taken_back(wide, coarse)
        if left / 2 < min(EXACT, SHARE * steps):
            return coarse
    return None


def taken_back(x: Tensor, coarse: Size) -> tuple[Tensor, float]:
    """What (1, 1, H, W) was enlarged from, and the deviation of what that does not explain."""
    size = (x.shape[-2], x.shape[-1])
    average = AreaAverage(size, coarse)
    means = average.forward(x)
    found = []
    for enlarge in WAYS:
        y = means
        for _ in range(PASSES):
            y = y + average.forward(x - enlarge(y, size))
        found.append((float((x - enlarge(y, size)).square().mean().sqrt()), y))
    left, y = min(found, key=lambda one: one[0])
    return y, left


def _waves(plane: np.ndarray) -> list[int]:
    """How many pixels there may have been along a row."""
    w = plane.shape[1]
    rows = plane[:: -(-len(plane) // LINES)]
    strength = np.zeros(w // 2 + 1)
    for order in (1, 2):
        steps = np.abs(np.diff(rows, order, axis=1))
        size = np.log(np.minimum(steps, np.quantile(steps, 0.99)).mean(axis=0) + TINY)
        size -= ndimage.uniform_filter1d(size, WIDE, mode="reflect")
        power = np.abs(np.fft.rfft(size * np.hanning(len(size)), w)) ** 2
        strength = np.maximum(strength, power / max(np.median(power[w // MOST :]), TINY))
    if max(_around(strength, w / BLOCK), _around(strength, 3 * w / BLOCK)) > STRONG:
        return []  # of JPEG
    tops = strength == ndimage.maximum_filter1d(strength, 5)
    tops[: -(-w // MOST)] = False
    found = np.flatnonzero(tops & (strength > STRONG))
    return [int(k) for k in found[np.argsort(-strength[found])][:WAVES]]


def _around(strength: np.ndarray, k: float) -> float:
    return float(strength[int(k) : int(k) + 2].max())
