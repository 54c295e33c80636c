"""Detects that a picture was enlarged before, and recovers the coarse picture it was made from.

Interpolation averages the coarse pixels, the more so the farther a pixel is from the nearest of
them. So the size of the differences between neighbouring pixels varies periodically along a side,
with as many periods as the coarse side had pixels (Gallagher 2005). The strongest frequencies give
candidates for the coarse size; along one side, they also give the other, by the same factor. A
candidate is accepted only if a coarse picture is found that one of the usual ways to enlarge turns
into this picture, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ddfm.imaging.picture import Size
from ddfm.numerics.planes import plane as as_plane
from ddfm.progress import part_done
from ddfm.restoration.operators import AreaAverage

__all__ = ["SMALLEST", "find_coarse", "looks_enlarged", "taken_back"]

LINES = 256  # most rows (and columns) that are examined
SMALLEST = 64  # pixels; periods cannot be detected in a picture with a shorter side
MOST = 6  # greatest enlargement detected; the least is 2, below which there is nothing to gain
WAVES = 3  # number of the strongest frequencies tried for each side; some are overtones
STRONG = 36.0  # least power of a frequency, relative to the median
WIDE = 15  # pixels; width of the moving mean that differences are compared with
EXACT = 0.45 / 255  # most deviation of the residual: little more than rounding leaves
SHARE = 0.15  # the same, relative to differences of neighbours: a smooth picture fits any size
PART, ROWS = 256, 64  # pixels of a row, and most rows, of the quick check before `taken_back`
PASSES = 12  # of the iteration in `taken_back`
TINY = 1e-5  # keeps logarithms and quotients finite
BLOCK = 8  # pixels of a JPEG block; blocks have frequencies of their own


def _by(mode: str, antialias: bool = False) -> Callable[[Tensor, Size], Tensor]:
    return lambda y, size: F.interpolate(y, size, mode=mode, antialias=antialias)


# Both kernels for bicubic enlargement: OpenCV's, and, with `antialias`, Pillow's.
WAYS = _by("bilinear"), _by("bicubic"), _by("bicubic", antialias=True)


def find_coarse(plane: np.ndarray) -> Size | None:
    """The size of the picture that (H, W) levels in [0, 1] were enlarged from, if detected."""
    if min(plane.shape) < SMALLEST:
        return None
    steps = float(np.diff(plane, axis=1).std())
    wide = as_plane(plane)
    for coarse in _candidates(plane):
        if not (_may_be_from(plane.T, coarse[0]) and _may_be_from(plane, coarse[1])):
            continue
        _, left = taken_back(wide, coarse)
        if left / 2 < min(EXACT, SHARE * steps):
            return coarse
    return None


def looks_enlarged(plane: np.ndarray) -> bool:
    """Whether the differences of (H, W) levels in [0, 1] vary periodically along a side.

    Both sides must be at least `SMALLEST`.
    """
    return bool(_waves(plane) or _waves(plane.T))


def taken_back(x: Tensor, coarse: Size) -> tuple[Tensor, float]:
    """The picture of size `coarse` that x (1, 1, H, W) was enlarged from, by back-projection.

    Also returns the deviation of the residual, x minus the enlarged picture.
    """
    size = (x.shape[-2], x.shape[-1])
    average = AreaAverage(size, coarse)
    means = average.forward(x)
    found = []
    for enlarge in WAYS:
        y = means
        for number in range(1, PASSES + 1):
            y = y + average.forward(x - enlarge(y, size).clamp(-1, 1))
            part_done(number, PASSES)
        found.append((float((x - enlarge(y, size).clamp(-1, 1)).square().mean().sqrt()), y))
    left, y = min(found, key=lambda one: one[0])
    return y, left


def _candidates(plane: np.ndarray) -> list[Size]:
    """Sizes before the enlargement that the waves along both sides, or along one, suggest."""
    h, w = plane.shape
    heights, widths = _waves(plane.T), _waves(plane)
    found = {(m, k) for m, k in product(heights, widths) if abs(m / h - k / w) <= 1 / h + 1 / w}
    found |= {(m, round(m * w / h)) for m in heights} | {(round(k * h / w), k) for k in widths}
    return sorted(found)


def _may_be_from(plane: np.ndarray, count: int) -> bool:
    """Whether rows may be enlarged from `count` pixels: their first part, by least squares.

    This is hundreds of times faster than `taken_back`, and rules out nearly all other sizes. Rows
    that are clipped do not count.
    """
    w = plane.shape[1]
    rows = plane[:: -(-len(plane) // ROWS), :PART]
    rows = rows[((rows > 0) & (rows < 1)).all(axis=1)]
    if not len(rows):
        return True
    used = min(count, rows.shape[1] * count // w + 3)  # the pixels that this part is made of
    for enlarge in WAYS:
        units = torch.eye(used, count, dtype=torch.float32)[None, None]
        shapes = enlarge(units, (used, w))[0, 0, :, : rows.shape[1]]
        basis = np.linalg.qr(shapes.numpy().T)[0]
        if (rows - rows @ basis @ basis.T).std() < 1.5 * EXACT:
            return True
    return False


def _waves(plane: np.ndarray) -> list[int]:
    """Candidates for the number of pixels along a row before the enlargement."""
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
        return []  # the frequencies are those of JPEG blocks
    tops = strength == ndimage.maximum_filter1d(strength, 5)
    tops[: -(-w // MOST)] = False
    found = np.flatnonzero(tops & (strength > STRONG))
    return [int(k) for k in found[np.argsort(-strength[found])][:WAVES]]


def _around(strength: np.ndarray, k: float) -> float:
    return float(strength[int(k) : int(k) + 2].max())
