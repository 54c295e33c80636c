"""FLIR radiometric JPEG: the temperatures and the photograph that one file holds, aligned.

The file is a JPEG whose APP1 segments, put together, hold a container ("FFF") of records: raw
thermal values, camera constants, the visible photograph, and how the two views lie on each other.
The package flyr turns raw values into temperatures. The container is opened here, since flyr
leaves out the last two records of its directory, and believes whatever sizes it is told.

Two cameras side by side see different fields. `Real2IR` = r says that the thermal field is 1/r as
wide as the photograph, and `OffsetX`, `OffsetY` by how many pixels of the photograph its centre
lies to the right of and below the photograph's. Both pictures are returned on the part that both
see, on one grid.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from ddfm.arguments import by_annotation
from ddfm.errors import InputError, MissingExtra, unknown
from ddfm.imaging.formats.pil import metadata_of
from ddfm.imaging.picture import Picture, from_array
from ddfm.imaging.reading import explained
from ddfm.storage.budget import ask_bytes, ask_pixels
from ddfm.storage.checksum import sha256_of
from ddfm.storage.inputs import existing_file

__all__ = ["PERCENTILES", "FlirPair", "check_reading", "is_flir", "read_flir", "read_thermal"]

PERCENTILES = (1.0, 99.0)  # that become black and white where no temperatures are said
_RAW, _PHOTOGRAPH, _CAMERA = 1, 14, 32
_MAGIC = b"FFF\0"
_EXIF, _ZOOM = 0x8769, 0xA404  # the directory of the camera's settings, and its digital zoom
_HEAD, _ENTRY = 64, 32  # bytes of the container's head, and of an entry of its directory
_LARGEST_SENSOR = 4096 * 1024  # pixels; the largest that FLIR builds have three million
_PHOTOGRAPH_BYTES = 8  # a sample: decoded, copied, cut out, as float32
_BLACK = 12 / 255  # JPEG leaves a little light in the margins
_GRIDS = ("visible", "thermal")

Records = dict[int, tuple[int, int, int, int]]
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
        return bool(_container(path))


@by_annotation
def read_flir(
    path: str | os.PathLike[str],
    *,
    celsius: tuple[float, float] | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    align: bool = True,
    grid: str = "visible",
) -> FlirPair:
    """The thermal image and the photograph of a FLIR radiometric JPEG.

    Args:
        path: the file.
        celsius: the temperatures that become black and white, such as (15, 40).
        percentiles: where these are not given, the share of pixels (in percent) below each.
        align: whether to use the camera's own scale and offset. If not, both are taken to show
            the same field.
        grid: whose pixels both are returned on: "visible" enlarges the thermal image to those of
            the photograph, "thermal" reduces the photograph to those of the sensor.
    """
    path = existing_file(path)
    check_reading(celsius=celsius, percentiles=percentiles, grid=grid)
    with explained(str(path)):
        container, records = _opened(path)
        thermogram = _thermogram(container, records, path)
    thermal, celsius = _thermal(thermogram, path, celsius, percentiles)
    with explained(str(path)):
        visible = _photograph(container, records, path)
        field = _field(thermogram, thermal.size, visible.size, path) if align else None
    thermal, visible = _on_one_grid(thermal, visible, field, grid)
    visible = _with_origin(visible, path)
    return FlirPair(thermal, visible, celsius, aligned=field is not None)


@by_annotation
def read_thermal(
    path: str | os.PathLike[str],
    *,
    celsius: tuple[float, float] | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
) -> Picture:
    """The temperatures alone, as the sensor has them, to be fused with a photograph of their own.

    What else is in the file, the rendering in false colours above all, is left there.
    """
    path = existing_file(path)
    check_reading(celsius=celsius, percentiles=percentiles)
    with explained(str(path)):
        thermogram = _thermogram(*_opened(path), path)
    return _thermal(thermogram, path, celsius, percentiles)[0]


def _thermal(
    thermogram: Any,
    path: Path,
    celsius: tuple[float, float] | None,
    percentiles: tuple[float, float],
) -> tuple[Picture, tuple[float, float]]:
    with explained(str(path)):
        degrees = np.asarray(thermogram.kelvin, np.float64) - 273.15
    if not np.isfinite(degrees).any():
        raise InputError(f"{path} is damaged: none of its temperatures is a number")
    celsius = celsius or _percentiles(degrees, percentiles)
    thermal = from_array(_scale(degrees, celsius), f"{path} (thermal)")
    # A sensor has 14 to 16 bits, and a result from it is of this depth.
    thermal = replace(thermal, dtype=np.dtype(np.uint16), range=celsius, unit="°C")
    return _with_origin(thermal, path), celsius


def _with_origin(picture: Picture, path: Path) -> Picture:
    """The picture with what the file around it says; a bare container says nothing."""
    with explained(str(path)), suppress(UnidentifiedImageError):
        with Image.open(path, formats=["JPEG"]) as image:
            picture = replace(picture, metadata=metadata_of(image))
    return replace(picture, sha256=sha256_of(path))


@by_annotation
def check_reading(
    *,
    celsius: tuple[float, float] | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    align: bool = True,
    grid: str = "visible",
) -> None:
    """Raise what `read_flir` would raise about its keywords, before the work is done."""
    if celsius is not None and not (all(map(isfinite, celsius)) and celsius[0] < celsius[1]):
        raise InputError(f"a range of temperatures is LOW, HIGH in degrees Celsius, not {celsius}")
    if not 0 <= percentiles[0] < percentiles[1] <= 100:
        raise InputError(f"percentiles are LOW, HIGH between 0 and 100, not {percentiles}")
    if grid not in _GRIDS:
        raise unknown("grid", grid, _GRIDS)


def _segments(path: Path) -> list[bytes]:
    """The FLIR segments of a JPEG in their order; none if there are none, or if one is missing."""
    parts: dict[int, bytes] = {}
    last = -1
    with open(path, "rb") as file:
        if file.read(2) != b"\xff\xd8":
            return []
        while True:
            marker = file.read(4)
            # Only what comes before the compressed image (FFDA) is made of such segments.
            if len(marker) < 4 or marker[0] != 0xFF or marker[1] in (0xDA, 0xD9):
                break
            length = int.from_bytes(marker[2:], "big") - 2
            body = file.read(max(length, 0))
            if marker[1] == 0xE1 and body[:5] == b"FLIR\0" and len(body) > 8:
                last = body[7]
                parts[body[6]] = body[8:]
    complete = last >= 0 and all(number in parts for number in range(last + 1))
    return [parts[number] for number in range(last + 1)] if complete else []


def _is_dji(path: Path) -> bool:
    """Whether a JPEG is of a drone of DJI and has more in it than a picture."""
    with open(path, "rb") as file:
        head = file.read(1 << 20)
    return head[:2] == b"\xff\xd8" and b"DJI" in head[:65536] and b"\xff\xe3" in head


def _container(path: Path) -> bytes:
    with open(path, "rb") as file:
        if file.read(4) == _MAGIC:
            return path.read_bytes()
    return b"".join(_segments(path))


def _opened(path: Path) -> tuple[bytes, Records]:
    """The container of a file, its numbers in the order that flyr expects, and its records."""
    container = _container(path)
    if not container and _is_dji(path):
        raise InputError(
            f"{path} is a radiometric file of DJI, which only DJI's own Thermal SDK can read; "
            "export its temperatures (dji_irp -a measure), and pass these as TIFF or NPY with the "
            "photograph"
        )
    if not container:
        raise InputError(
            f"{path} has no radiometric data of a FLIR camera in it, so it is one image; pass two"
        )
    records = _records(container, path)
    _, _, offset, _ = records[_RAW]
    if container[offset : offset + 2] == b"\0\2":  # the kind of the record, in the other order
        container = _turned(container, records)
    _check_record_sizes(container, records, path)
    return container, records


def _turned(container: bytes, records: Records) -> bytes:
    """The container of an older camera, whose numbers begin with the heavier byte, turned round."""
    turned = bytearray(container)
    for kind, size in ((_RAW, 2), (_CAMERA, 4)):
        number, _, offset, length = records[kind]
        end = offset + length // size * size
        words = np.frombuffer(container[offset:end], f">u{size}")
        if kind == _RAW and container[offset + 32 : offset + 36] == b"\x89PNG":
            # Within a PNG the values of these are as they should be, which flyr does not expect.
            with Image.open(BytesIO(container[offset + 32 : end]), formats=["PNG"]) as image:
                ask_pixels(image.width, image.height, "a sensor")
                words = np.concatenate([words[:16], np.asarray(image).astype(np.uint16).ravel()])
            records[kind] = (number, kind, len(turned), 2 * len(words))
            turned += words.astype("<u2").tobytes()
        else:
            turned[offset:end] = words.astype(f"<u{size}").tobytes()
    return bytes(turned)


def _thermogram(container: bytes, records: Records, path: Path) -> Any:
    try:
        from flyr.flyr import parse_thermogram
    except ImportError:
        raise MissingExtra("flyr", "thermal", f"reading temperatures from {path}") from None
    # What the camera says in its EXIF is of no use here, and a bare container has none.
    return parse_thermogram(BytesIO(container), records, BytesIO(_blank()))


def _blank() -> bytes:
    file = BytesIO()
    Image.new("L", (1, 1)).save(file, "JPEG")
    return file.getvalue()


def _records(container: bytes, path: Path) -> Records:
    """For each type of record what flyr wants to know of it: number, type, offset, length."""
    orders: tuple[Literal["big", "little"], ...] = ("big", "little")
    # In the wrong order the directory would lie far beyond the end.
    order = min(orders, key=lambda order: int.from_bytes(container[24:28], order))
    directory = int.from_bytes(container[24:28], order)
    count = int.from_bytes(container[28:32], order)
    count = min(count, max(len(container) - directory, 0) // _ENTRY)
    records: Records = {}
    for number in range(count):
        start = directory + number * _ENTRY
        entry = container[start : start + _ENTRY]
        kind = int.from_bytes(entry[:2], order)
        offset, length = (int.from_bytes(entry[at : at + 4], order) for at in (12, 16))
        if kind and length and kind not in records and offset + length <= len(container):
            records[kind] = (number, kind, offset, length)
    missing = [name for name, kind in (("raw", _RAW), ("camera", _CAMERA)) if kind not in records]
    if missing:
        raise InputError(f"{path}: its FLIR data lack the record of the {missing[0]} values")
    return records


def _check_record_sizes(container: bytes, records: Records, path: Path) -> None:
    for kind, limit in ((_RAW, _LARGEST_SENSOR), (_PHOTOGRAPH, None)):
        if kind not in records:
            continue
        _, _, offset, length = records[kind]
        width, height = (
            int.from_bytes(container[offset + at : offset + at + 2], "little") for at in (2, 4)
        )
        sizes = [(width, height)]
        embedded = container[offset + 32 : offset + length]
        if kind == _PHOTOGRAPH or embedded[:4] == b"\x89PNG":
            with Image.open(BytesIO(embedded), formats=["PNG", "JPEG"]) as image:
                sizes.append(image.size)
        for width, height in sizes:
            ask_pixels(width, height, str(path))
            ask_bytes(3 * width * height * _PHOTOGRAPH_BYTES, str(path), path.stat().st_size)
            if limit is not None and width * height > limit:
                raise InputError(f"{path} is damaged: a sensor of {width} x {height} pixels")


def _percentiles(degrees: np.ndarray, percentiles: tuple[float, float]) -> tuple[float, float]:
    low, high = np.percentile(degrees[np.isfinite(degrees)], percentiles)
    return float(low), float(high)


def _scale(degrees: np.ndarray, celsius: tuple[float, float]) -> np.ndarray:
    low, high = celsius
    scaled = (degrees - low) / ((high - low) or 1.0)
    # Beyond what the calibration covers there is no number: too cold for it, as a rule.
    return np.nan_to_num(np.clip(scaled, 0, 1), nan=0.0).astype(np.float32)


def _photograph(container: bytes, records: Records, path: Path) -> Picture:
    if _PHOTOGRAPH not in records:
        raise InputError(f"{path} has no visible photograph in it; pass one as a second image")
    _, _, offset, length = records[_PHOTOGRAPH]
    embedded = BytesIO(container[offset + 32 : offset + length])
    with Image.open(embedded, formats=["PNG", "JPEG"]) as image:
        colors = image.convert("RGB")
        if image.format == "PNG" and _is_ycbcr(np.asarray(colors)):
            colors = Image.fromarray(np.asarray(colors), "YCbCr").convert("RGB")
    picture = from_array(np.asarray(colors), f"{path} (visible)")
    return replace(picture, mask=_within_margins(picture.pixels))


def _within_margins(pixels: np.ndarray) -> np.ndarray | None:
    """Where the photograph is, if it has black margins all along an edge; None if it has not."""
    dark = pixels.max(axis=2) <= _BLACK
    mask = np.ones(dark.shape, bool)
    for axis in (0, 1):
        lit = np.flatnonzero(~dark.all(axis=1 - axis))
        if len(lit):
            outside = np.ones(dark.shape[axis], bool)
            outside[lit[0] : lit[-1] + 1] = False
            mask &= ~outside[:, None] if axis == 0 else ~outside
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
