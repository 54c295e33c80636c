"""Which values of a picture are black and white, if not the ends of its depth.

A thermal camera of 14 bits, a satellite of 12, or centi-Kelvin in a file of 16 bits use a small
part of its range, and are black to the eye. What uses less than a fifth of it is spread over all of
it, so that black and white are the values at which `SHARE` of its pixels are darker or brighter.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ddfm.errors import InputError, short
from ddfm.imaging.picture import Picture

__all__ = ["Levels", "check_levels", "spread", "used", "with_levels"]

LITTLE = 0.2  # of the range
SHARE = 0.1  # percent

Levels = tuple[float, float]


def with_levels(picture: Picture, levels: str | Levels | None = "auto") -> Picture:
    """The picture with these values at black and white.

    Args:
        levels: LOW, HIGH in the values of the file; "full", the whole range of its depth (or, of
            floating point, its own least and greatest); "auto", by content, see above.
    """
    if levels is None or (isinstance(levels, str) and levels == "auto"):
        return _by_content(picture)
    if isinstance(levels, str) and levels == "full":
        return replace(picture, range=picture.range or _of_depth(picture))
    return spread(picture, check_levels(levels))


def check_levels(levels: Any) -> Levels:
    """LOW and HIGH as numbers."""
    try:
        low, high = map(float, levels)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"a range is LOW, then a HIGH above it, full or auto, not {short(levels)}")
    return low, high


def spread(picture: Picture, levels: Levels) -> Picture:
    """The picture with other values at black and white; what lies beyond them is clipped."""
    low, high = picture.range or _of_depth(picture)
    if (low, high) == levels:
        return replace(picture, range=levels)
    values = low + picture.pixels.astype(np.float64) * (high - low)
    pixels = np.clip((values - levels[0]) / (levels[1] - levels[0]), 0, 1)
    return replace(picture, samples=pixels.astype(np.float32), range=levels)


def used(picture: Picture) -> Levels | None:
    """The values that a picture of 16 bits lies between, if these are less than a fifth of all.

    None if they are more, or all equal, or if the levels are given.
    """
    if picture.dtype != np.uint16 or picture.range is not None:
        return None
    seen = np.ones(picture.size, bool) if picture.mask is None else picture.mask
    if picture.alpha is not None:
        seen = seen & (picture.alpha > 0)
    seen = picture.pixels[seen]
    if not seen.size:
        return None
    white = _of_depth(picture)[1]
    low, high = np.percentile(seen, (SHARE, 100 - SHARE))
    if not 0 < high - low < LITTLE:
        return None
    return float(np.rint(low * white)), float(np.rint(high * white))


def _by_content(picture: Picture) -> Picture:
    levels = used(picture)
    return picture if levels is None or levels[0] == levels[1] else spread(picture, levels)


def _of_depth(picture: Picture) -> Levels:
    return 0.0, float(np.iinfo(picture.dtype).max) if picture.dtype.kind == "u" else 1.0
