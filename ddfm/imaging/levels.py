"""Which values of a picture become black and white, where these are not the limits of its depth.

14 bits of a thermal camera, 12 of a satellite or centi-Kelvin use a small part of the range of a
16-bit file, and look black. A picture that uses less than a fifth of the range is stretched, so
that `SHARE` percent of its pixels are darker than black, and as many brighter than white. Zeros
that lie further below all other values than these span stand for missing pixels, and do not count.
Exposures and focus stacks are stretched together, as one picture; so are those of floating-point
values, whose lowest and highest value of all become black and white.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ddfm.arguments import two_numbers
from ddfm.errors import InputError, short
from ddfm.imaging.picture import Picture

__all__ = [
    "Levels", "check_levels", "clips_border", "crowded", "spread", "used", "used_together",
    "with_levels", "with_levels_together",
]  # fmt: skip

LITTLE = 0.2  # a picture that uses less than this part of its range is stretched
SHARE = 0.1  # percentage of pixels that clip at black, and at white
EVEN = 1.5 / 255  # most that values of a rim differ by, as a part of the range
FEW = 0.02  # share of the values along the border that is too small for a rim
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

    Clipped, they look like the flat rim of a frame, but they are a part of the scene. A few of them
    look like none.
    """
    low, high = levels
    edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    beyond = [x for x in (edge[edge < low], edge[edge > high]) if x.size > FEW * edge.size]
    return any(
        (np.abs(some - np.median(some)) <= EVEN * (high - low)).mean() < RIM for some in beyond
    )


def used(picture: Picture) -> Levels | None:
    """The limits of a 16-bit picture's values, if they span less than a fifth of its range.

    None if they span more, if all values are equal, or if the picture has a range already.
    """
    if picture.dtype != np.uint16 or picture.range is not None:
        return None
    limits = _nearly_all(picture)
    if limits is None or not 0 < limits[1] - limits[0] < LITTLE:
        return None
    return _in_values(picture, limits)


def used_together(pictures: Sequence[Picture]) -> Levels | None:
    """The limits of all 16-bit pictures' values, if these span less than a fifth of the range.

    The range that one of them has already is that of all.
    """
    deep = [p for p in pictures if p.dtype == np.uint16]
    given = [p.range for p in deep if p.range is not None]
    if given:
        return given[0]
    limits = [found for p in deep if (found := _nearly_all(p)) is not None]
    if not limits:
        return None
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    low, high = _in_values(deep[0], (low, high))
    return (low, high) if 0 < high - low < LITTLE * _of_depth(deep[0])[1] else None


def with_levels_together(pictures: Sequence[Picture]) -> tuple[Picture, ...]:
    """Pictures of one camera: a value that is black or white in one is so in all of its depth.

    Stretched on its own, a dark exposure would lose its lights and be as bright as any.
    """
    of_16_bits = [p.dtype == np.uint16 and p.range is None for p in pictures]
    pictures = _in_one_range(pictures, of_16_bits, used_together(pictures))
    counts = [p.dtype.kind == "f" and p.range is not None and not p.unit for p in pictures]
    ranges = [p.range for p, takes in zip(pictures, counts, strict=True) if takes and p.range]
    whole = (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None
    return _in_one_range(pictures, counts, whole)


def _in_one_range(
    pictures: Sequence[Picture], takes: Sequence[bool], levels: Levels | None
) -> tuple[Picture, ...]:
    """The pictures, with these values at black and white of those that take them."""
    if levels is None or levels[0] == levels[1]:
        return tuple(pictures)
    pairs = zip(pictures, takes, strict=True)
    return tuple(spread(p, levels) if missing else p for p, missing in pairs)


def _nearly_all(picture: Picture) -> Levels | None:
    """The limits of nearly all values, from 0 to 1; None if there is none."""
    seen = picture.valid
    if picture.alpha is not None:
        seen = seen & (picture.alpha > 0)
    seen = picture.pixels[seen]
    if not seen.size:
        return None
    low, high = np.percentile(seen, (SHARE, 100 - SHARE))
    if low == 0 and (others := seen[seen > 0]).size:
        least, most = np.percentile(others, (SHARE, 100 - SHARE))
        low, high = (least, most) if most - least < least else (low, high)
    return float(low), float(high)


def _in_values(picture: Picture, limits: Levels) -> Levels:
    white = _of_depth(picture)[1]
    return float(np.rint(limits[0] * white)), float(np.rint(limits[1] * white))


def crowded(picture: Picture) -> Levels | None:
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
