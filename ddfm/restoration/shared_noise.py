r"""Estimates and removes noise that is correlated between neighbouring pixels ("shared" noise).

Noise that was blurred before it was stored (by demosaicing, enlargement, or a camera that smooths)
is modelled as white noise n, blurred by a Gaussian G: y = x + G n. Averages over 2, 4 and 8 pixels
a side keep known shares of such noise, which depend on the width of G. The levels at 2 and 4 give
the width and the deviation; those of the pixels themselves and at 8 must agree with them. Texture
is about as strong at one size as at the next, and varies from place to place; noise does neither.

To remove it, G is inverted: G^-1 y has white noise and a sharper scene. A denoiser removes white
noise of the known level, and G is applied to its result. Where G is wide, the finest detail has no
noise left that could be divided by G. Then all this is done at half the size, where G is half as
wide, and a second call of the denoiser, at a low level, removes the rest.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.numerics.noise_level import QUIET, noise_level, peaks, quiet_levels
from ddfm.numerics.poisson import in_cosines
from ddfm.restoration.noise_laws import Denoise
from ddfm.restoration.observation import NoiseLaw
from ddfm.restoration.operators import AreaAverage

__all__ = ["deviation_in", "find_shared", "of_shared", "without_shared_noise"]

# "Width" is the standard deviation of G in pixels; "levels" are what `noise_level` finds.
LEVEL = 2 / 255  # one grey level, of levels from -1 to 1
USUAL_WIDTH = 0.8  # width where none is specified; demosaicing by linear interpolation has 0.6
MOST = 25 * LEVEL  # greatest deviation; anything stronger is texture, such as grass or gravel
NARROW, WIDE, STEP = 0.3, 1.6, 0.05  # least width (below, noise is white), greatest, and step
SIZES = 4  # pixels themselves, and averages over 2, 4 and 8 of them along a side
SMALLEST, FEWEST = 80, 12  # least side in pixels; least number of blocks at each size
# Quantiles of the blocks whose levels are compared, and the greatest ratio of these levels.
CALM, BUSY, ALIKE = 0.02, 0.25, 1.38
PEAKS = 3.1  # most of `peaks` in averages over 2; leaves seen from above have 3.2 to 4
SHARP = 0.8 * LEVEL  # level of the scene and of rounding in pixels without fine noise
FINE, COARSE = 1.6, 1.3  # most level in pixels, and in averages over 8, relative to the expected
DIVISIBLE = 0.9  # greatest width that is inverted; pixels then show an eighth of the deviation
ENDS = 0.75  # least level in pixels for that, relative to the expected; else fine noise is missing
NEARLY_WHITE, IN_JPEG = 0.5, 0.6  # greatest width of nearly white noise: in any file, in a JPEG
LEFT_OUT = 0.85  # most that a JPEG leaves of the level of white noise in pixels
COMPRESSED = 1.7, 0.75, 1.6, 3.3  # after a JPEG: `ALIKE`, share of `least`, `COARSE`, `PEAKS`
FAINT = 0.05  # lower limit of the divisor where G is inverted
REST = 0.3  # level of the second call of the denoiser, relative to the deviation

WAVES = (np.arange(2048) + 0.5) / 4096  # cycles a pixel, along one side


def find_shared(y: Tensor, least: float, is_jpeg: bool = False) -> float | NoiseLaw | None:
    """The law of noise that neighbours share in y (1, 1, H, W), in [-1, 1], if there is such noise.

    White noise whose finest part was removed by JPEG still counts as white: then the result is its
    deviation before the compression, in levels of 255.

    Args:
        least: deviation below which None is returned; three quarters of it apply after a JPEG.
        is_jpeg: whether y is known to be a JPEG; one of high quality, or with noise, may not be
            recognised as such.
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
            return None  # most pictures are ruled out here
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
    rounded = float(f"{deviation / LEVEL:.3g}")
    return rounded if compressed else ("shared", rounded, round(width, 2))


def of_shared(law: NoiseLaw) -> tuple[float, float]:
    """Deviation (of levels from -1 to 1) and width of shared noise, as in an `Observation`."""
    _, deviation, *width = law
    return deviation * LEVEL, width[0] if width else USUAL_WIDTH


def deviation_in(y: Tensor, width: float) -> float:
    """The deviation of shared noise of a known width in y (1, 1, H, W)."""
    return noise_level(F.avg_pool2d(y, 2)) / float(_shares(width)[1])


def without_shared_noise(y: Tensor, deviation: float, width: float, denoise: Denoise) -> Tensor:
    """y (1, 1, H, W) in [-1, 1] without shared noise of this deviation and width."""
    white = deviation / _power(width)
    if width < DIVISIBLE and noise_level(y) > ENDS * deviation * _shares(width)[0]:
        return _divided(y, white, width, denoise)
    return denoise(_halved(y, white, width, denoise), REST * deviation)


def _halved(y: Tensor, white: float, width: float, denoise: Denoise) -> Tensor:
    """y without the noise that is left at half the size, or at a quarter if G is still too wide.

    Args:
        white: deviation of n.
    """
    size = y.shape[-2], y.shape[-1]
    half = AreaAverage.halving(size).forward(y)
    further = _divided if width < 2 * DIVISIBLE else _halved
    change = further(half, white / 2, width / 2, denoise) - half
    return y + F.interpolate(change, size, mode="bicubic")


def _divided(y: Tensor, white: float, width: float, denoise: Denoise) -> Tensor:
    """G applied to the denoised G^-1 y; `white` is the deviation of n."""
    response = _response((y.shape[-2], y.shape[-1]), width).to(y)
    divisor = (response.square() + FAINT**2).sqrt().clamp(max=1)
    return in_cosines(denoise(in_cosines(y, 1 / divisor), white), divisor)


def _response(size: tuple[int, int], width: float) -> Tensor:
    """The response of G at the frequencies (H, W) of cosines."""
    lines = [torch.arange(n, dtype=torch.float64) / (2 * n) for n in size]
    rows, columns = (torch.exp(-2 * (math.pi * width * f) ** 2) for f in lines)
    return rows[:, None] * columns


def _width(ratio: float) -> float:
    """The width of G for a ratio of the levels in averages over 4 and over 2 pixels a side."""
    widths = np.arange(0, WIDE + STEP, STEP)
    return float(np.interp(ratio, [_shares(w)[2] / _shares(w)[1] for w in widths], widths))


@lru_cache(maxsize=256)
def _shares(width: float) -> np.ndarray:
    """What `noise_level` finds in pixels and averages over 2, 4 and 8, for a deviation of one."""
    sides = 2.0 ** np.arange(SIZES)[:, None]
    means = np.sinc(sides * WAVES) / np.sinc(WAVES)
    bent = 2 - 2 * np.cos(2 * np.pi * sides * WAVES)
    # The mean along one axis; the other axis has the same, so it is the root of the variance over
    # both. `noise_level` divides by 6.
    along = np.square(_blur(width) * means * bent).mean(axis=1)
    return np.asarray(along / 6 / _power(width))


def _power(width: float) -> float:
    """The deviation that G leaves of white noise of deviation one."""
    return float(np.square(_blur(width)).mean())


def _blur(width: float) -> np.ndarray:
    return np.exp(-2 * np.square(np.pi * width * WAVES))
