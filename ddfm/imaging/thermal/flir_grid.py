"""FLIR: places the thermal image in the photograph, and crops both to one field of view.

`Real2IR` = r means that the thermal field is 1/r as wide as the photograph. `OffsetX` and `OffsetY`
are how far its centre lies to the right of and below the photograph's, in pixels of the latter.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import ceil, floor, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ddfm.errors import InputError
from ddfm.imaging.picture import Picture
from ddfm.imaging.sizes import cropped

__all__ = ["GRIDS", "field_of", "of_one_field"]

GRIDS = ("visible", "thermal")
COARSER = 2.0  # least size of a thermal pixel, in those of the photograph, at which it is kept
ROUNDING = 1e-3  # share of a pixel
_EXIF, _ZOOM = 0x8769, 0xA404  # tags of the directory of camera settings and of the digital zoom

Box = tuple[float, float, float, float]  # left, top, right, bottom


def field_of(
    thermogram: Any, thermal: tuple[int, int], visible: tuple[int, int], path: Path
) -> Box | None:
    """The edges of the thermal image, in pixels of the photograph; None if unknown.

    Args:
        thermogram: as flyr reads it.
        thermal, visible: height and width of the thermal image and of the photograph.
        path: the file.
    """
    placing = thermogram.pip_info
    if placing is None or not isfinite(placing.real_to_ir) or placing.real_to_ir <= 0:
        return None
    width = visible[1] / placing.real_to_ir * _zoom(path)
    height = width * thermal[0] / thermal[1]
    left = (visible[1] - width) / 2 + placing.offset_x
    top = (visible[0] - height) / 2 + placing.offset_y
    box = (left, top, left + width, top + height)
    seen = _overlap(box, (0, 0, visible[1], visible[0]))
    pixel = max(1.0, width / thermal[1])  # the larger of the two pictures' pixels
    if min(seen[2] - seen[0], seen[3] - seen[1]) < pixel:
        raise InputError(
            f"{path}: by the camera's own scale and offset, the thermal image is outside the "
            "photograph; read it without alignment"
        )
    return box


def _zoom(path: Path) -> float:
    """The digital zoom, by which the thermal field is wider than `Real2IR` states; 1 if none."""
    with suppress(Exception), Image.open(path, formats=["JPEG"]) as image:
        zoom = float(image.getexif().get_ifd(_EXIF)[_ZOOM])
        return zoom if 1 < zoom <= 16 else 1.0
    return 1.0


def of_one_field(
    thermal: Picture, visible: Picture, field: Box | None, grid: str
) -> tuple[Picture, Picture]:
    """Crop both images to the field that both see.

    For the grid "visible", a much coarser thermal image keeps its pixels: the fusion enlarges it,
    as it does a separate file. Otherwise, the image whose grid is not used is resampled.
    """
    (tall, wide), (high, broad) = thermal.size, visible.size
    field = field or (0.0, 0.0, float(broad), float(high))
    # Size of a thermal pixel in pixels of the photograph, across and down.
    across, down = (field[2] - field[0]) / wide, (field[3] - field[1]) / tall
    frame = _moved((0, 0, broad, high), field[0], field[1], 1 / across, 1 / down)
    seen = _overlap(frame, (0, 0, wide, tall))
    if grid == "visible" and min(across, down) >= COARSER and (cut := _pixels_within(seen)):
        other = _moved(cut, -field[0] / across, -field[1] / down, across, down)
        return _cropped(thermal, cut), _cropped(visible, _whole_pixels(other))
    if grid == "visible":
        cut = _whole_pixels(_overlap(field, (0, 0, broad, high)))
        other = _moved(cut, field[0], field[1], 1 / across, 1 / down)
        return _resampled(thermal, other, cut), _cropped(visible, cut)
    cut = _whole_pixels(seen)
    other = _moved(cut, -field[0] / across, -field[1] / down, across, down)
    return _cropped(thermal, cut), _resampled(visible, other, cut)


def _overlap(one: Box, other: Box) -> Box:
    return (
        max(one[0], other[0]),
        max(one[1], other[1]),
        min(one[2], other[2]),
        min(one[3], other[3]),
    )


def _moved(box: Box, left: float, top: float, across: float, down: float) -> Box:
    """A box in coordinates whose origin is (left, top), scaled by (across, down)."""
    return (
        (box[0] - left) * across,
        (box[1] - top) * down,
        (box[2] - left) * across,
        (box[3] - top) * down,
    )


def _whole_pixels(box: Box) -> tuple[int, int, int, int]:
    left, top = round(box[0]), round(box[1])
    return left, top, max(round(box[2]), left + 1), max(round(box[3]), top + 1)


def _pixels_within(box: Box) -> tuple[int, int, int, int] | None:
    """The pixels that are wholly within a box, up to rounding; None if there are none."""
    left, top = (ceil(start - ROUNDING) for start in box[:2])
    right, bottom = (floor(end + ROUNDING) for end in box[2:])
    return (left, top, right, bottom) if left < right and top < bottom else None


def _cropped(picture: Picture, box: tuple[int, int, int, int]) -> Picture:
    left, top, right, bottom = box
    return cropped(picture, (top, bottom, left, right))


def _resampled(picture: Picture, box: Box, grid: tuple[int, int, int, int]) -> Picture:
    """The part of a picture within a box, resampled to as many pixels as the grid has."""
    size = (grid[2] - grid[0], grid[3] - grid[1])
    height, width = picture.size
    box = _overlap(box, (0, 0, width, height))  # rounding may have moved it slightly outside
    planes = [
        Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC, box)
        for plane in np.moveaxis(picture.pixels, 2, 0)
    ]
    pixels = np.stack([np.asarray(plane) for plane in planes], axis=2)
    mask = picture.mask
    if mask is not None:
        plane = Image.fromarray(mask.astype(np.float32))
        mask = np.asarray(plane.resize(size, Image.Resampling.BILINEAR, box)) > 0.99
    return replace(picture, samples=np.clip(pixels, 0, 1), mask=mask)
