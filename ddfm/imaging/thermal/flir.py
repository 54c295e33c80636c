"""FLIR radiometric JPEG: the temperatures and the photograph that one file holds, aligned.

The file is a JPEG around a container (see `ddfm.imaging.thermal.flir_container`) of raw thermal
values, camera constants, the visible photograph, and the placement of one view in the other.

The two cameras see different fields. Both pictures are cropped to the field that both see (see
`ddfm.imaging.thermal.flir_grid`), and turned to the orientation of the camera's rendering.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ddfm.arguments import by_annotation, one_of
from ddfm.errors import InputError
from ddfm.imaging.formats.pil import metadata_of
from ddfm.imaging.picture import Picture, from_array
from ddfm.imaging.thermal import infiray
from ddfm.imaging.thermal.degrees import (
    PERCENTILES,
    Celsius,
    check_degrees,
    picture_of_degrees,
)
from ddfm.imaging.thermal.flir_container import (
    has_container,
    opened_container,
    photograph_in,
    thermogram_of,
)
from ddfm.imaging.thermal.flir_grid import GRIDS, field_of, of_one_field
from ddfm.imaging.thermal.flir_turns import quarter_turns
from ddfm.imaging.unreadable import explained
from ddfm.storage.checksum import sha256_of
from ddfm.storage.inputs import existing_file

__all__ = [
    "FlirPair",
    "check_reading",
    "has_photograph",
    "is_flir",
    "read_flir",
    "read_thermal",
]

_BLACK = 24 / 255  # brightest pixel of a black margin; JPEG compression leaves some light there


@dataclass(frozen=True)
class FlirPair:
    """Both pictures of a file, of one field of view; `read_flir` tells when their sizes differ.

    Unpacks as `thermal, visible = read_flir(path)`.

    Attributes:
        thermal: grey; 0 and 1 stand for the temperatures in `celsius`, at which it is clipped.
        visible: the photograph.
        celsius: the temperatures at black and white.
        aligned: whether the pictures were aligned by the camera's own data. If not, both are
            assumed to show the same field.
    """

    thermal: Picture
    visible: Picture
    celsius: tuple[float, float]
    aligned: bool

    def __iter__(self) -> Iterator[Picture]:
        return iter((self.thermal, self.visible))


@by_annotation
def is_flir(path: str | os.PathLike[str]) -> bool:
    """Whether a file, a JPEG or a bare container, holds radiometric data of a FLIR camera."""
    path = existing_file(path)
    with explained(str(path)):
        return has_container(path)


def has_photograph(path: Path) -> bool:
    """Whether there is a photograph next to the temperatures, so that the file alone is a pair.

    True for a damaged file, too, so that reading it reports the damage.
    """
    with suppress(InputError), explained(str(path)):
        return photograph_in(*opened_container(path)) is not None
    return True


@by_annotation
def read_flir(
    path: str | os.PathLike[str],
    *,
    celsius: Celsius | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    align: bool = True,
    grid: str = "visible",
) -> FlirPair:
    """The thermal image and the photograph of a FLIR radiometric JPEG, or of an InfiRay `.irg`.

    InfiRay's files do not tell how to align them; both count as of one field.

    Args:
        path: the file.
        celsius: the temperatures that become black and white, such as (15, 40), or "camera", the
            level and span that the camera was set to.
        percentiles: without `celsius`, the percentages of pixels below black and below white.
        align: whether to use the camera's own scale and offset. If not, both images are assumed to
            show the same field.
        grid: the pixel grid of the fusion, "visible" or "thermal". The image with the other grid is
            resampled, except that a thermal image much coarser than the photograph keeps the
            sensor's pixels: the fusion enlarges it better.
    """
    path = existing_file(path)
    check_reading(celsius=celsius, percentiles=percentiles, grid=grid)
    if infiray.is_infiray(path):
        visible = infiray.read_photograph(path)
        thermal = infiray.read_infiray(path, celsius=celsius, percentiles=percentiles)
        return _pair(*of_one_field(thermal, visible, None, grid), aligned=False)
    with explained(str(path)):
        container, records = opened_container(path)
        thermogram = thermogram_of(container, records, path)
    thermal = _thermal(thermogram, path, celsius, percentiles)
    turns = _turns(thermal, path)
    with explained(str(path)):
        visible = _photograph(photograph_in(container, records), path)
        field = field_of(thermogram, thermal.size, visible.size, path) if align else None
    pair = of_one_field(thermal, visible, field, grid)
    thermal, visible = (_turned(_with_origin(picture, path), turns) for picture in pair)
    return _pair(thermal, visible, aligned=field is not None)


@by_annotation
def read_thermal(
    path: str | os.PathLike[str],
    *,
    celsius: Celsius | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
) -> Picture:
    """The temperatures alone, on the sensor's grid, to be fused with a separate photograph.

    Anything else in the file is ignored, such as the rendering in false colours.
    """
    path = existing_file(path)
    check_reading(celsius=celsius, percentiles=percentiles)
    with explained(str(path)):
        thermogram = thermogram_of(*opened_container(path), path)
    thermal = _thermal(thermogram, path, celsius, percentiles)
    return _turned(_with_origin(thermal, path), _turns(thermal, path))


def _pair(thermal: Picture, visible: Picture, *, aligned: bool) -> FlirPair:
    assert thermal.range is not None
    return FlirPair(thermal, visible, thermal.range, aligned)


def _thermal(
    thermogram: Any,
    path: Path,
    celsius: Celsius | None,
    percentiles: tuple[float, float],
) -> Picture:
    with explained(str(path)):
        degrees = np.asarray(thermogram.kelvin, np.float64) - 273.15

    def of_camera() -> tuple[float, float]:
        with explained(str(path)):
            low, high = thermogram.embedded_range("celsius")
        return float(low), float(high)

    return picture_of_degrees(degrees, path, celsius, percentiles, of_camera)


def _turns(thermal: Picture, path: Path) -> int:
    """How many quarter turns bring the sensor's picture into the orientation of the rendering."""
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
    """The picture with the metadata of the JPEG around it; a bare container has none."""
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
    """Raise what `read_flir` would raise about its keywords, before any work is done."""
    check_degrees(celsius, percentiles)
    one_of("grid", grid, GRIDS)


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
    """True for the photograph without black margins along its edges; None if it has none."""
    lit = pixels.max(axis=2) > _BLACK
    rows, columns = (np.flatnonzero(lit.any(axis=1 - axis)) for axis in (0, 1))
    if not len(rows):
        return None
    mask = np.zeros(lit.shape, bool)
    mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return None if mask.all() else mask


def _is_ycbcr(pixels: np.ndarray) -> bool:
    """Whether the channels are Y, Cb and Cr, which some cameras store as though they were RGB.

    Cb and Cr vary little, around the middle; the channels of RGB vary about equally.
    """
    means, deviations = pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))
    near = bool((np.abs(means[1:] - 128) < 40).all())
    return near and bool((deviations[1:] < deviations[0] / 2).all())
