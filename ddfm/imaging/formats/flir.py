"""FLIR radiometric JPEG: the temperatures and the photograph that one file holds, aligned.

The file is a JPEG around a container (see `ddfm.imaging.formats.flir_container`) of raw thermal
values, camera constants, the visible photograph, and how the two views lie on each other.

Two cameras side by side see different fields. `Real2IR` = r says that the thermal field is 1/r as
wide as the photograph, and `OffsetX`, `OffsetY` by how many pixels of the photograph its centre
lies to the right of and below the photograph's. Both pictures are returned on the part that both
see, on one grid, and stand as the rendering of the camera stands.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ddfm.arguments import by_annotation, two_numbers
from ddfm.errors import InputError, unknown
from ddfm.imaging.formats.flir_container import (
    container_of,
    opened_container,
    photograph_in,
    thermogram_of,
)
from ddfm.imaging.formats.pil import metadata_of
from ddfm.imaging.formats.turns import quarter_turns
from ddfm.imaging.picture import Picture, from_array
from ddfm.imaging.unreadable import explained
from ddfm.storage.checksum import sha256_of
from ddfm.storage.inputs import existing_file

__all__ = [
    "CAMERA",
    "PERCENTILES",
    "Celsius",
    "FlirPair",
    "check_reading",
    "is_camera",
    "is_flir",
    "read_flir",
    "read_thermal",
]

PERCENTILES = (1.0, 99.0)  # that become black and white where no temperatures are said
CAMERA = "camera"  # in place of temperatures: the level and span that the camera was set to
_EXIF, _ZOOM = 0x8769, 0xA404  # the directory of the camera's settings, and its digital zoom
_BLACK = 24 / 255  # JPEG leaves a little light in the margins
_GRIDS = ("visible", "thermal")

Celsius = tuple[float, float] | str
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class FlirPair:
    """Both pictures of a file, of equal size. Unpacks as `thermal, visible = read_flir(path)`.

    Attributes:
        thermal: grey; 0 and 1 stand for the temperatures in `celsius`, and it clips at them.
        visible: the photograph.
        celsius: the temperatures at black and white.
        aligned: whether the file says how the two lie on each other. Where it does not, both are
            taken to show the same field.
    """

    thermal: Picture
    visible: Picture
    celsius: tuple[float, float]
    aligned: bool

    def __iter__(self) -> Iterator[Picture]:
        return iter((self.thermal, self.visible))


@by_annotation
def is_flir(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds radiometric data of a FLIR camera: a JPEG, or a bare container."""
    path = existing_file(path)
    with explained(str(path)):
        return bool(container_of(path))


@by_annotation
def read_flir(
    path: str | os.PathLike[str],
    *,
    celsius: Celsius | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    align: bool = True,
    grid: str = "visible",
) -> FlirPair:
    """The thermal image and the photograph of a FLIR radiometric JPEG.

    Args:
        path: the file.
        celsius: the temperatures that become black and white, such as (15, 40); or "camera", the
            level and span that the camera was set to.
        percentiles: where these are not given, the share of pixels (in percent) below each.
        align: whether to use the camera's own scale and offset. If not, both are taken to show
            the same field.
        grid: whose pixels both are returned on: "visible" enlarges the thermal image to those of
            the photograph, "thermal" reduces the photograph to those of the sensor.
    """
    path = existing_file(path)
    check_reading(celsius=celsius, percentiles=percentiles, grid=grid)
    with explained(str(path)):
        container, records = opened_container(path)
        thermogram = thermogram_of(container, records, path)
    thermal, limits = _thermal(thermogram, path, celsius, percentiles)
    turns = _turns(thermal, path)
    with explained(str(path)):
        visible = _photograph(photograph_in(container, records), path)
        field = _field(thermogram, thermal.size, visible.size, path) if align else None
    pair = _on_one_grid(thermal, visible, field, grid)
    thermal, visible = (_turned(_with_origin(picture, path), turns) for picture in pair)
    return FlirPair(thermal, visible, limits, aligned=field is not None)


@by_annotation
def read_thermal(
    path: str | os.PathLike[str],
    *,
    celsius: Celsius | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
) -> Picture:
    """The temperatures alone, as the sensor has them, to be fused with a photograph of their own.

    What else is in the file, the rendering in false colours above all, is left there.
    """
    path = existing_file(path)
    check_reading(celsius=celsius, percentiles=percentiles)
    with explained(str(path)):
        thermogram = thermogram_of(*opened_container(path), path)
    thermal, _ = _thermal(thermogram, path, celsius, percentiles)
    return _turned(_with_origin(thermal, path), _turns(thermal, path))


def _thermal(
    thermogram: Any,
    path: Path,
    celsius: Celsius | None,
    percentiles: tuple[float, float],
) -> tuple[Picture, tuple[float, float]]:
    with explained(str(path)):
        degrees = np.asarray(thermogram.kelvin, np.float64) - 273.15
    if not np.isfinite(degrees).any():
        raise InputError(f"{path} is damaged: none of its temperatures is a number")
    limits = _limits(thermogram, path, degrees, celsius, percentiles)
    thermal = from_array(_scale(degrees, limits), f"{path} (thermal)")
    # A sensor has 14 to 16 bits, and a result from it is of this depth.
    return replace(thermal, dtype=np.dtype(np.uint16), range=limits, unit="°C"), limits


def _limits(
    thermogram: Any,
    path: Path,
    degrees: np.ndarray,
    celsius: Celsius | None,
    percentiles: tuple[float, float],
) -> tuple[float, float]:
    """The temperatures at black and white."""
    if celsius is None:
        low, high = np.percentile(degrees[np.isfinite(degrees)], percentiles)
    elif is_camera(celsius):
        with explained(str(path)):
            low, high = thermogram.embedded_range("celsius")
        if not (isfinite(low) and isfinite(high) and low < high):
            raise InputError(f"{path} does not say which level and span the camera was set to")
    else:
        low, high = map(float, celsius)
    return float(low), float(high)


def _turns(thermal: Picture, path: Path) -> int:
    """How many quarter turns bring what the sensor saw to stand as the rendering does."""
    with explained(str(path)), suppress(UnidentifiedImageError):
        with Image.open(path, formats=["JPEG"]) as image:
            return quarter_turns(thermal.pixels[..., 0], ImageOps.exif_transpose(image))
    return 0


def _turned(picture: Picture, turns: int) -> Picture:
    if not turns:
        return picture
    mask = None if picture.mask is None else np.rot90(picture.mask, turns).copy()
    return replace(picture, samples=np.rot90(picture.pixels, turns).copy(), mask=mask)


def _with_origin(picture: Picture, path: Path) -> Picture:
    """The picture with what the file around it says; a bare container says nothing."""
    with explained(str(path)), suppress(UnidentifiedImageError):
        with Image.open(path, formats=["JPEG"]) as image:
            picture = replace(picture, metadata=metadata_of(image))
    return replace(picture, sha256=sha256_of(path))


@by_annotation
def check_reading(
    *,
    celsius: Celsius | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    align: bool = True,
    grid: str = "visible",
) -> None:
    """Raise what `read_flir` would raise about its keywords, before the work is done."""
    if celsius is not None and not is_camera(celsius):
        low, high = two_numbers("celsius", celsius)
        if not (isfinite(low) and isfinite(high) and low < high):
            raise InputError(
                "celsius (--celsius) is LOW, then a HIGH above it, in degrees Celsius, or camera, "
                f"not {low:g}, {high:g}"
            )
    if not 0 <= percentiles[0] < percentiles[1] <= 100:
        low, high = percentiles
        raise InputError(
            "percentiles (--percentiles) are LOW, then a HIGH above it, from 0 to 100, not "
            f"{low:g}, {high:g}"
        )
    if grid not in _GRIDS:
        raise unknown("grid", grid, _GRIDS)


def is_camera(celsius: object) -> bool:
    """Whether the camera's own level and span are meant."""
    return isinstance(celsius, str) and celsius == CAMERA


def _scale(degrees: np.ndarray, celsius: tuple[float, float]) -> np.ndarray:
    low, high = celsius
    scaled = (degrees - low) / ((high - low) or 1.0)
    # Beyond what the calibration covers there is no number: too cold for it, as a rule.
    return np.nan_to_num(np.clip(scaled, 0, 1), nan=0.0).astype(np.float32)


def _photograph(embedded: BytesIO | None, path: Path) -> Picture:
    if embedded is None:
        raise InputError(f"{path} has no visible photograph in it; pass one as a second image")
    with Image.open(embedded, formats=["PNG", "JPEG"]) as image:
        colors = image.convert("RGB")
        if image.format == "PNG" and _is_ycbcr(np.asarray(colors)):
            colors = Image.fromarray(np.asarray(colors), "YCbCr").convert("RGB")
    picture = from_array(np.asarray(colors), f"{path} (visible)")
    return replace(picture, mask=_within_margins(picture.pixels))


def _within_margins(pixels: np.ndarray) -> np.ndarray | None:
    """Where the photograph is, if it has black margins all along an edge; None if it has not."""
    lit = pixels.max(axis=2) > _BLACK
    rows, columns = (np.flatnonzero(lit.any(axis=1 - axis)) for axis in (0, 1))
    if not len(rows):
        return None
    mask = np.zeros(lit.shape, bool)
    mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return None if mask.all() else mask


def _is_ycbcr(pixels: np.ndarray) -> bool:
    """Some cameras store a luminance and two differences as though these were RGB.

    Differences of colour vary little, around the middle; the channels of a photograph vary alike.
    """
    means, deviations = pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))
    near = bool((np.abs(means[1:] - 128) < 40).all())
    return near and bool((deviations[1:] < deviations[0] / 2).all())


def _field(
    thermogram: Any, thermal: tuple[int, int], visible: tuple[int, int], path: Path
) -> Box | None:
    """Where the edges of the thermal image lie, in pixels of the photograph."""
    placing = thermogram.pip_info
    if placing is None or not isfinite(placing.real_to_ir) or placing.real_to_ir <= 0:
        return None
    width = visible[1] / placing.real_to_ir * _zoom(path)
    height = width * thermal[0] / thermal[1]
    left = (visible[1] - width) / 2 + placing.offset_x
    top = (visible[0] - height) / 2 + placing.offset_y
    box = (left, top, left + width, top + height)
    seen = _overlap(box, (0, 0, visible[1], visible[0]))
    pixel = max(1.0, width / thermal[1])  # of whichever picture has the larger ones
    if min(seen[2] - seen[0], seen[3] - seen[1]) < pixel:
        raise InputError(
            f"{path}: by the camera's own scale and offset the thermal image lies outside the "
            "photograph; read it without alignment"
        )
    return box


def _zoom(path: Path) -> float:
    """The digital zoom of the thermal image, by which it shows less; 1 where there is none."""
    with suppress(Exception), Image.open(path, formats=["JPEG"]) as image:
        zoom = float(image.getexif().get_ifd(_EXIF)[_ZOOM])
        return zoom if 1 < zoom <= 16 else 1.0
    return 1.0


def _on_one_grid(
    thermal: Picture, visible: Picture, field: Box | None, grid: str
) -> tuple[Picture, Picture]:
    """Both on the part that both see. The one whose grid it is, is cut out and not resampled."""
    (tall, wide), (high, broad) = thermal.size, visible.size
    field = field or (0.0, 0.0, float(broad), float(high))
    # One pixel of the thermal image is so many of the photograph, across and down.
    across, down = (field[2] - field[0]) / wide, (field[3] - field[1]) / tall
    if grid == "visible":
        cut = _whole_pixels(_overlap(field, (0, 0, broad, high)))
        other = _moved(cut, field[0], field[1], 1 / across, 1 / down)
        return _resampled(thermal, other, cut), _cropped(visible, cut)
    frame = _moved((0, 0, broad, high), field[0], field[1], 1 / across, 1 / down)
    cut = _whole_pixels(_overlap(frame, (0, 0, wide, tall)))
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
    """A box in coordinates that count from (left, top) and are scaled by (across, down)."""
    return (
        (box[0] - left) * across,
        (box[1] - top) * down,
        (box[2] - left) * across,
        (box[3] - top) * down,
    )


def _whole_pixels(box: Box) -> tuple[int, int, int, int]:
    left, top = round(box[0]), round(box[1])
    return left, top, max(round(box[2]), left + 1), max(round(box[3]), top + 1)


def _cropped(picture: Picture, box: tuple[int, int, int, int]) -> Picture:
    left, top, right, bottom = box
    mask = None if picture.mask is None else picture.mask[top:bottom, left:right]
    return replace(picture, samples=picture.samples[top:bottom, left:right], mask=mask)


def _resampled(picture: Picture, box: Box, grid: tuple[int, int, int, int]) -> Picture:
    """The part of a picture within a box, on as many pixels as the grid has."""
    size = (grid[2] - grid[0], grid[3] - grid[1])
    height, width = picture.size
    box = _overlap(box, (0, 0, width, height))  # rounding may have left the frame by a hair
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
