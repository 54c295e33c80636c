"""Which values of a picture become black and white, where these are not the limits of its depth.

14 bits of a thermal camera, 12 of a satellite or centi-Kelvin use a small part of the range of a
16-bit file, and look black. A picture that uses less than a fifth of the range is stretched, so
that `SHARE` percent of its pixels are darker than black, and as many brighter than white. Zeros
that lie further below all other values than these span stand for missing pixels, and do not count.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ddfm.arguments import two_numbers
from ddfm.errors import InputError, short
from ddfm.imaging.picture import Picture

__all__ = ["Levels", "check_levels", "clips_border", "most", "spread", "used", "with_levels"]

LITTLE = 0.2  # a picture that uses less than this part of its range is stretched
SHARE = 0.1  # percentage of pixels that clip at black, and at white
EVEN = 1.5 / 255  # most that values of a rim differ by, as a part of the range
RIM = 0.9  # least share of the clipped values along the border that are one rim's

Levels = tuple[float, float]


def with_levels(picture: Picture, levels: str | Levels | None = "auto") -> Picture:
    """The picture with the given values at black and white.

    Args:
        levels: LOW, HIGH in the values of the file; "full", the whole range of its depth (of
            floating-point values, their own minimum and maximum); "auto", by content, as
            described above.
    """
    if levels is None or (isinstance(levels, str) and levels == "auto"):
        return _by_content(picture)
    if isinstance(levels, str) and levels == "full":
        return replace(picture, range=picture.range or _of_depth(picture))
    return spread(picture, check_levels(levels))


def check_levels(levels: Any) -> Levels:
    """LOW and HIGH as numbers; raises unless they are finite and LOW is below HIGH."""
    try:
        low, high = two_numbers("a range", levels)
    except InputError:
        low, high = math.nan, math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(
            f"a range must be two numbers, LOW < HIGH, or full or auto, not {short(levels)}"
        )
    return low, high


def spread(picture: Picture, levels: Levels) -> Picture:
    """The picture with the given values at black and white; values beyond them are clipped."""
    low, high = picture.range or _of_depth(picture)
    if (low, high) == levels:
        return replace(picture, range=levels)
    values = low + picture.pixels.astype(np.float64) * (high - low)
    pixels = np.clip((values - levels[0]) / (levels[1] - levels[0]), 0, 1)
    return replace(
        picture,
        samples=pixels.astype(np.float32),
        range=levels,
        clipped_border=picture.clipped_border or clips_border(values, levels),
    )


def clips_border(values: np.ndarray, levels: Levels) -> bool:
    """Whether values (H, W, ...) along the border that are not all alike lie beyond the levels.

    Clipped, they look like the flat rim of a frame, but they are a part of the scene.
    """
    low, high = levels
    edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    beyond = [some for some in (edge[edge < low], edge[edge > high]) if some.size]
    return any(
        (np.abs(some - np.median(some)) <= EVEN * (high - low)).mean() < RIM for some in beyond
    )


def used(picture: Picture) -> Levels | None:
    """The limits of a 16-bit picture's values, if they span less than a fifth of its range.

    None if they span more, if all values are equal, or if the picture has a range already.
    """
    if picture.dtype != np.uint16 or picture.range is not None:
        return None
    seen = picture.valid
    if picture.alpha is not None:
        seen = seen & (picture.alpha > 0)
    seen = picture.pixels[seen]
    if not seen.size:
        return None
    white = _of_depth(picture)[1]
    low, high = np.percentile(seen, (SHARE, 100 - SHARE))
    if low == 0 and (others := seen[seen > 0]).size:
        least, most = np.percentile(others, (SHARE, 100 - SHARE))
        low, high = (least, most) if most - least < least else (low, high)
    if not 0 < high - low < LITTLE:
        return None
    return float(np.rint(low * white)), float(np.rint(high * white))


def most(picture: Picture) -> Levels | None:
    """The limits of nearly all floating-point values, if they span less than a fifth of the range.

    The others, `SHARE` percent at each end, are dead pixels, gaps, or far hotter than all else.
    Since the lowest and the highest value become black and white, they leave the scene little
    contrast.
    """
    if picture.dtype.kind != "f" or picture.range is None:
        return None
    low, high = np.percentile(picture.pixels[picture.valid], (SHARE, 100 - SHARE))
    if not 0 < high - low < LITTLE:
        return None
    black, white = picture.range
    return black + float(low) * (white - black), black + float(high) * (white - black)


def _by_content(picture: Picture) -> Picture:
    levels = used(picture)
    return picture if levels is None or levels[0] == levels[1] else spread(picture, levels)


def _of_depth(picture: Picture) -> Levels:
    return 0.0, float(np.iinfo(picture.dtype).max) if picture.dtype.kind == "u" else 1.0
