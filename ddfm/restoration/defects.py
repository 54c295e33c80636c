"""Undoes the defects of a file and of a sensor, at the source's own resolution.

    JPEG -> rim without content, transparent parts -> dead pixels -> stripes

What is found is noted in `found`, ready for JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ddfm.errors import InputError
from ddfm.imaging.picture import Picture
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import grey
from ddfm.numerics.planes import levels_of, plane
from ddfm.progress import stage
from ddfm.restoration.colors import with_luminance
from ddfm.restoration.dead_pixels import MANY, find_dead, mended
from ddfm.restoration.frame import find_frame
from ddfm.restoration.jpeg import find_quality, without_blocks
from ddfm.restoration.noise_laws import Denoise
from ddfm.restoration.observation import Found, Observation
from ddfm.restoration.stripes import find_stripes

__all__ = ["opaque_where_filled", "without_defects", "without_jpeg_blocks"]

SEEN = 0.02  # least share of transparent (and of opaque) pixels for alpha to count as a mask


def without_jpeg_blocks(
    picture: Picture, given: Observation, denoise: Denoise, found: Found
) -> Picture:
    """The picture without the blocks of a compression, of the given quality or of the estimated."""
    quality = given.jpeg
    if quality is None:
        stage(f"looking for JPEG blocks in {picture.name}", detail=True)
        quality = find_quality(grey(picture)) if picture.dtype == np.uint8 else None
    if not quality:
        return picture
    found["jpeg"] = quality
    stage(f"removing JPEG blocks of {picture.name}", detail=True)
    x = without_blocks(plane(grey(picture)), quality, denoise)
    return with_luminance(picture, levels_of(x)[0, 0].numpy())


def without_defects(
    picture: Picture, given: Observation, guide: np.ndarray | None, found: Found
) -> Picture:
    """The picture with a mask that excludes its rim, and without dead pixels and stripes."""
    stage(f"looking for a frame of {picture.name}", detail=True)
    levels = before = grey(picture)
    mask = _mask_of(picture, levels, given, found)
    # Pixels of a map are not those of a sensor: a single one that is hot is an object.
    is_sensor = not picture.is_color and picture.metadata.place is None
    if given.dead or (given.dead is None and is_sensor):
        stage(f"looking for dead pixels in {picture.name}", detail=True)
        dead = find_dead(levels)
        if int(dead.sum()) >= (1 if given.dead else MANY):
            levels = mended(levels, dead)
            found["dead"] = int(dead.sum())
    levels = _without_stripes(levels, given.stripes, guide, mask, found)
    if mask is not picture.mask:
        picture = replace(picture, mask=mask)
    return picture if levels is before else with_luminance(picture, levels)


def _mask_of(
    picture: Picture, levels: np.ndarray, given: Observation, found: Found
) -> np.ndarray | None:
    """Where the picture is valid: as specified or stored, without its rim or transparent parts."""
    mask = picture.mask
    if given.mask is not None:
        white = grey(read_image(given.mask))
        if white.shape != picture.size:
            (h, w), (height, width) = white.shape, picture.size
            raise InputError(
                f"the mask {given.mask} has {w} x {h} pixels, and {picture.name} "
                f"{width} x {height}; they must have one size"
            )
        mask = white > 0.5
        if not mask.any():
            raise InputError(
                f"the mask {given.mask} leaves nothing of {picture.name}: white is valid, and its "
                f"brightest pixel has {100 * white.max():.2g} % of white"
            )
    elif mask is None and picture.alpha is None and given.frame:
        mask = find_frame(levels)
        if mask is not None:
            found["frame"] = round(float(mask.mean()), 3)
    if (clear := _transparent(picture.alpha)) is not None:
        mask = ~clear if mask is None else mask & ~clear
        found["transparent"] = round(float(clear.mean()), 3)
    return mask


def _without_stripes(
    levels: np.ndarray,
    given: str,
    guide: np.ndarray | None,
    mask: np.ndarray | None,
    found: Found,
) -> np.ndarray:
    """The levels without stripes along columns and rows; rows are columns of the transpose."""
    strengths: dict[str, float] = {}
    for way in ("columns", "rows"):
        if given not in ("auto", way):
            continue
        stage(f"looking for stripes along {way}", detail=True)
        turned = _turned(levels, way)
        beside, known = (None if p is None else _turned(p, way) for p in (guide, mask))
        stripes = find_stripes(turned, beside, known)
        if stripes.sure or (given == way and stripes.sigma > 0):
            even = np.clip(turned - stripes.offsets, 0, 1).astype(np.float32)
            levels = _turned(even if known is None else np.where(known, even, turned), way)
            strengths[way] = round(255 * stripes.sigma, 2)
    if strengths:
        found["stripes"] = strengths
    return levels


def _turned(levels: np.ndarray, way: str) -> np.ndarray:
    return levels.T if way == "rows" else levels


def _transparent(alpha: np.ndarray | None) -> np.ndarray | None:
    """A mask of transparent pixels, if neither they nor the others are negligibly few."""
    if alpha is None:
        return None
    clear = alpha == 0
    return clear if SEEN < clear.mean() < 1 - SEEN else None


def opaque_where_filled(pictures: Sequence[Picture], k: int, found: Found) -> Picture:
    """Picture k; if it had transparent parts, it is opaque where another picture can fill them."""
    picture = pictures[k]
    if "transparent" not in found or picture.alpha is None or picture.mask is None:
        return picture
    others = [p for j, p in enumerate(pictures) if j != k and p.size == picture.size]
    filled = np.logical_or.reduce([p.valid for p in others], initial=False) & ~picture.mask
    alpha = np.where(filled, 1, picture.alpha)
    return replace(picture, alpha=alpha.astype(np.float32))
