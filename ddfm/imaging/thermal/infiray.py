"""InfiRay's `.irg`: the temperatures and, from most cameras, the photograph that one file holds.

After a header come a picture of 8 bits, the temperatures in 16 bits, and a JPEG. The header has no
name in it, but two magic bytes for each family of cameras, its own length, and the number of bytes,
rows and columns of what follows. All numbers are little-endian.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ddfm.errors import InputError
from ddfm.imaging.picture import Picture, from_array
from ddfm.imaging.thermal.degrees import PERCENTILES, Celsius, picture_of_degrees
from ddfm.imaging.unreadable import explained
from ddfm.storage.budget import ask_pixels
from ddfm.storage.checksum import sha256_of
from ddfm.storage.inputs import existing_file

__all__ = ["has_photograph", "is_infiray", "read_infiray", "read_photograph"]

_HEAD = struct.Struct("<2sHIHHB")  # magic, length of the header, bytes, rows, columns, kind
_LENGTHS = (128, 256, 288)  # of the header
_LARGEST_SENSOR = 2048 * 2048  # pixels
# Steps in one kelvin, by magic and kind: handheld cameras, those on drones, and two families more.
_STEPS = {(b"\xca\xac", 0): 16, (b"\xca\xac", 1): 10, (b"\xba\xab", 0): 10, (b"\x04\xa0", 0): 10}
# The median of a scene is between -23 and 127 degrees, so it tells the steps of other families.
_LEAST_OF_SIXTEEN = 4000
_EVEN = 2  # grey levels by which a blank photograph varies, which stands for none


@dataclass(frozen=True)
class _Layout:
    """Where the temperatures are, and how they are stored."""

    rows: int
    columns: int
    begin: int
    steps: int | None

    @property
    def end(self) -> int:
        """Where the photograph begins."""
        return self.begin + 2 * self.rows * self.columns


def is_infiray(path: str | os.PathLike[str]) -> bool:
    """Whether a file is InfiRay's, by its header."""
    return _layout(existing_file(path)) is not None


def has_photograph(path: Path) -> bool:
    """Whether there is a photograph next to the temperatures, so that the file alone is a pair."""
    return _photograph(path, _known_layout(path)) is not None


def read_infiray(
    path: str | os.PathLike[str],
    *,
    celsius: Celsius | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
) -> Picture:
    """The temperatures as a picture; `celsius` and `percentiles` are as for `read_flir`."""
    path = existing_file(path)
    layout = _known_layout(path)
    ask_pixels(layout.columns, layout.rows, str(path))
    with explained(str(path)), open(path, "rb") as file:
        file.seek(layout.begin)
        stored = file.read(layout.end - layout.begin)
    if len(stored) < layout.end - layout.begin:
        raise InputError(f"{path} is cut off: its temperatures would end beyond its end")
    values = np.frombuffer(stored, "<u2")
    steps = layout.steps or (16 if np.median(values) >= _LEAST_OF_SIXTEEN else 10)
    degrees = values.reshape(layout.rows, layout.columns) / steps - 273.15
    picture = picture_of_degrees(degrees, path, celsius, percentiles)
    return replace(picture, sha256=sha256_of(path))


def read_photograph(path: str | os.PathLike[str]) -> Picture:
    """The photograph in a file; raises if there is none."""
    path = existing_file(path)
    pixels = _photograph(path, _known_layout(path))
    if pixels is None:
        raise InputError(f"{path} has no visible photograph in it; pass one as a second image")
    return replace(from_array(pixels, f"{path} (visible)"), sha256=sha256_of(path))


def _known_layout(path: Path) -> _Layout:
    layout = _layout(path)
    if layout is None:
        raise InputError(f"{path} is damaged, or not a file of an InfiRay camera")
    return layout


def _layout(path: Path) -> _Layout | None:
    """The layout that the header describes; None if it is not InfiRay's."""
    with explained(str(path)), open(path, "rb") as file:
        head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, length, size, rows, columns, kind = _HEAD.unpack(head)
    if length not in _LENGTHS or not 0 < size == rows * columns <= _LARGEST_SENSOR:
        return None
    return _Layout(rows, columns, length + size, _STEPS.get((magic, kind)))


def _photograph(path: Path, layout: _Layout) -> np.ndarray | None:
    """The pixels of the JPEG after the temperatures; None if there is none, or a blank one."""
    with explained(str(path)):
        with open(path, "rb") as file:
            file.seek(layout.end)
            stored = file.read()
        if not stored.startswith(b"\xff\xd8"):
            return None
        with Image.open(BytesIO(stored), formats=["JPEG"]) as image:
            ask_pixels(image.width, image.height, str(path), packed=len(stored))
            pixels = np.asarray(image.convert("RGB"))
    return pixels if int(np.ptp(pixels, axis=(0, 1)).max()) > _EVEN else None
