r"""Noise that neighbours share: found by how it fades with size, made white, removed, taken back.

Noise that was blurred on its way into a file (by a demosaicing, an enlargement, a camera that
smooths) is taken for white noise n behind a Gaussian, y = x + G n. Means of 2, 4 and 8 pixels a
side have known shares of it, which depend on how wide G is. So two of them tell the width and the
deviation, and the pixels themselves and the third have to agree. Texture is as strong at one size
as at the next, and stronger in one place than in another; neither is so with noise.

G^-1 y has white noise, and a scene that is sharper. A denoiser is told the level, and G takes back
what it leaves. Where G is wide there is nothing to divide in the finest detail: then this is done
at half the size, where G is half as wide, and a call at a low level finds the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.numerics.noise_level import QUIET, noise_level, peaks, quiet_levels
from ddfm.numerics.poisson import in_cosines
from ddfm.restoration.observation import NoiseLaw
from ddfm.restoration.operators import AreaAverage

__all__ = ["deviation_in", "find_shared", "of_shared", "without_shared_noise"]

LEVEL = 2 / 255  # of grey, of levels from -1 to 1
USUAL_WIDTH = 0.8  # pixels; of demosaicing by linear interpolation it is 0.6
MOST = 25 * LEVEL  # more is grass, or gravel
NARROW, WIDE, STEP = 0.3, 1.6, 0.05  # pixels; below, noise is white
SIZES = 4  # pixels, and means of 2, 4 and 8 of them along a side
SMALLEST, FEWEST = 80, 12  # pixels of a side; blocks of the coarsest size
CALM, BUSY, ALIKE = 0.02, 0.25, 1.38  # shares of the blocks, and what their levels may differ by
PEAKS = 3.1  # of means of 2; leaves seen from above have 3.2 to 4
SHARP = 0.8 * LEVEL  # of a scene and of rounding, where a picture has next to no fine noise
FINE, COARSE = 1.6, 1.3  # times what is expected, that pixels and the coarsest means may have
DIVISIBLE = 0.9  # pixels of width; there a sixth of the noise's deviation is left at the finest
ENDS = 0.75  # of what is expected of it in pixels; where there is less, it ends before the finest
NEARLY_WHITE, IN_JPEG = 0.5, 0.6  # pixels of width, at most: in any file, in a known JPEG
LEFT_OUT = 0.85  # of white noise, what a JPEG leaves at the finest, at most
COMPRESSED = 1.7, 0.75, 1.6, 3.3  # in place of `ALIKE`, 1, `COARSE` and `PEAKS`, after a JPEG
FAINT = 0.05  # of the strongest noise, to which the finest is held when it is divided
REST = 0.3  # of the deviation, told where half the size was cleaned before

WAVES = (np.arange(2048) + 0.5) / 4096  # cycles a pixel, along one side

Denoise = Callable[[Tensor, float], Tensor]


def find_shared(y: Tensor, least: float, is_jpeg: bool = False) -> float | NoiseLaw | None:
    """The law of noise that neighbours share in y (1, 1, H, W) in [-1, 1], if there is such noise.

    White noise of which a JPEG has left out the finest part is white: its deviation, in levels of
    255, from before.

    Args:
        least: deviation, below which it is left; three quarters of it after a JPEG.
        is_jpeg: whether y is known to be a JPEG; a fine one, or one with noise, does not show it.
    """
    if min(y.shape[-2:]) < SMALLEST:
        return None
    means, levels, uneven = y, [], 1.0
    for k in range(1, SIZES):
        means = F.avg_pool2d(means, 2)
        (calm, level, busy), number = quiet_levels(means, (CALM, QUIET, BUSY))
        if k < SIZES - 1:
            uneven = max(uneven, busy / max(calm, 1e-9))
        if number < FEWEST or uneven > COMPRESSED[0]:
            return None  # most pictures end here
        levels.append(level)
    width = _width(levels[1] / levels[0])
    finest, *shares = _shares(width)
    deviation = levels[0] / shares[0]
    white = deviation * (finest if width > NARROW else 1.0)
    nearly_white = width < (IN_JPEG if is_jpeg else NEARLY_WHITE)
    compressed = nearly_white and noise_level(y) < LEFT_OUT * white
    alike, part, coarse, most_peaks = COMPRESSED if compressed else (ALIKE, 1.0, COARSE, PEAKS)
    if not (part * least <= deviation < MOST and (compressed or NARROW < width < WIDE)):
        return None
    if uneven > alike:
        return None
    if levels[2] > coarse * deviation * shares[2]:
        return None
    if noise_level(y) > FINE * math.hypot(deviation * finest, SHARP):
        return None
    if peaks(F.avg_pool2d(y, 2)) > most_peaks:
        return None
    said = float(f"{deviation / LEVEL:.3g}")
    return said if compressed else ("shared", said, round(width, 2))


def of_shared(said: NoiseLaw) -> tuple[float, float]:
    """Deviation, of levels from -1 to 1, and width, of what an `Observation` says."""
    _, deviation, *width = said
    return deviation * LEVEL, width[0] if width else USUAL_WIDTH


def deviation_in(y: Tensor, width: float) -> float:
    """Of shared noise of a known width in (1, 1, H, W)."""
    return noise_level(F.avg_pool2d(y, 2)) / float(_shares(width)[1])


def without_shared_noise(y: Tensor, deviation: float, width: float, denoise: Denoise) -> Tensor:
    """y (1, 1, H, W) in [-1, 1] without noise of this deviation, behind a Gaussian so wide."""
    white = deviation / _power(width)
    if width < DIVISIBLE and noise_level(y) > ENDS * deviation * _shares(width)[0]:
        return _divided(y, white, width, denoise)
    return denoise(_halved(y, white, width, denoise), REST * deviation)


def _halved(y: Tensor, white: float, width: float, denoise: Denoise) -> Tensor:
    """Without what is left of it in means of two by two pixels, or in means of those."""
    size = y.shape[-2], y.shape[-1]
    half = AreaAverage.halving(size).forward(y)
    further = _divided if width < 2 * DIVISIBLE else _halved
    change = further(half, white / 2, width / 2, denoise) - half
    return y + F.interpolate(change, size, mode="bicubic")


def _divided(y: Tensor, white: float, width: float, denoise: Denoise) -> Tensor:
    response = _response((y.shape[-2], y.shape[-1]), width).to(y)
    divisor = (response.square() + FAINT**2).sqrt().clamp(max=1)
    return in_cosines(denoise(in_cosines(y, 1 / divisor), white), divisor)


def _response(size: tuple[int, int], width: float) -> Tensor:
    """Of the Gaussian, at the frequencies (H, W) of cosines."""
    lines = [torch.arange(n, dtype=torch.float64) / (2 * n) for n in size]
    rows, columns = (torch.exp(-2 * (math.pi * width * f) ** 2) for f in lines)
    return rows[:, None] * columns


def _width(ratio: float) -> float:
    """Of the Gaussian that leaves means of four pixels so much of the noise of means of two."""
    widths = np.arange(0, WIDE + STEP, STEP)
    return float(np.interp(ratio, [_shares(w)[2] / _shares(w)[1] for w in widths], widths))


@lru_cache(maxsize=256)
def _shares(width: float) -> np.ndarray:
    """What `noise_level` finds in pixels and in means of 2, 4 and 8, of noise of deviation one."""
    sides = 2.0 ** np.arange(SIZES)[:, None]
    means = np.sinc(sides * WAVES) / np.sinc(WAVES)
    bent = 2 - 2 * np.cos(2 * np.pi * sides * WAVES)
    # Along one side; the other one is like it, so that is squared, and 6^2 is of both.
    along = np.square(_blur(width) * means * bent).mean(axis=1)
    return np.asarray(along / 6 / _power(width))


def _power(width: float) -> float:
    """The deviation that is left of white noise of deviation one."""
    return float(np.square(_blur(width)).mean())


def _blur(width: float) -> np.ndarray:
    return np.exp(-2 * np.square(np.pi * width * WAVES))
