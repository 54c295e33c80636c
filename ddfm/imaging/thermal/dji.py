"""DJI's R-JPEG: a JPEG with a rendering of a thermal image and the sensor's raw values.

They are 16-bit integers in the APP3 segments, larger for warmer. Only DJI's own Thermal SDK
converts them to degrees, but fusing needs only their order.
"""

from __future__ import annotations

import os
from dataclasses import replace
from math import isqrt

import numpy as np
from PIL import Image

from ddfm.errors import InputError
from ddfm.imaging.formats.jpeg import segments
from ddfm.imaging.formats.pil import metadata_of
from ddfm.imaging.formats.tags import ORIENTATION
from ddfm.imaging.levels import spread
from ddfm.imaging.picture import Picture, from_array, orient
from ddfm.imaging.unreadable import explained
from ddfm.storage.checksum import sha256_of
from ddfm.storage.inputs import existing_file

__all__ = ["COUNTS", "is_dji", "read_dji"]

COUNTS = "counts"  # the unit of a picture of raw values
_RAW = 0xE3
_MAKE = 271


def is_dji(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a DJI JPEG with raw thermal values in it."""
    path = existing_file(path)
    with explained(str(path)):
        if not any(marker == _RAW for marker, _ in segments(path)):
            return False
        with Image.open(path, formats=["JPEG"]) as image:
            return str(image.getexif().get(_MAKE, "")).startswith("DJI")


def read_dji(
    path: str | os.PathLike[str],
    *,
    levels: tuple[float, float] | None = None,
    percentiles: tuple[float, float] = (1.0, 99.0),
) -> Picture:
    """The raw values as a picture.

    Args:
        path: the file.
        levels: the raw values that become black and white.
        percentiles: without levels, the percentages of pixels below black and below white.
    """
    path = existing_file(path)
    with explained(str(path)):
        raw = b"".join(body for marker, body in segments(path) if marker == _RAW)
        with Image.open(path, formats=["JPEG"]) as image:
            width, height = image.size
            orientation = image.getexif().get(ORIENTATION, 1)
            metadata = metadata_of(image)
    finer = isqrt(max(1, 2 * width * height // max(len(raw), 1)))  # enlargement of the rendering
    tall, wide = height // finer, width // finer
    if len(raw) < 2 * tall * wide or (tall * finer, wide * finer) != (height, width):
        raise InputError(
            f"{path}: its raw values are stored in a way that only DJI's own Thermal SDK can read; "
            "export its temperatures (dji_irp -a measure), and pass them as TIFF or NPY"
        )
    counts = np.frombuffer(raw, "<u2", tall * wide).reshape(tall, wide).astype(np.uint16)
    picture = from_array(orient(counts, orientation), f"{path} (thermal)")
    if levels is None:
        low, high = map(float, np.percentile(counts, percentiles))
        levels = low, max(high, low + 1)
    picture = replace(spread(picture, levels), unit=COUNTS, metadata=metadata)
    return replace(picture, sha256=sha256_of(path))
