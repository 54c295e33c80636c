"""DJI's R-JPEG: the raw values of the thermal sensor, beside a rendering of them.

They are whole numbers of 16 bits in the APP3 segments, the warmer the larger. Only DJI's own
Thermal SDK turns them into degrees; what is warmer than what, which fusing needs, they say by
themselves.
"""

from __future__ import annotations

import os
from dataclasses import replace
from math import isqrt

import numpy as np
from PIL import Image

from ddfm.errors import InputError
from ddfm.imaging.formats.pil import metadata_of
from ddfm.imaging.formats.segments import segments
from ddfm.imaging.levels import spread
from ddfm.imaging.picture import Picture, from_array, orient
from ddfm.imaging.unreadable import explained
from ddfm.storage.checksum import sha256_of
from ddfm.storage.inputs import existing_file

__all__ = ["COUNTS", "is_dji", "read_dji"]

COUNTS = "counts"  # the unit of a picture that is from here
_RAW = 0xE3
_MAKE, _ORIENTATION = 271, 274


def is_dji(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a JPEG of DJI with raw values in it."""
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
    """The raw values.

    Args:
        path: the file.
        levels: the values that become black and white.
        percentiles: where these are not given, the share of pixels (in percent) below each.
    """
    path = existing_file(path)
    with explained(str(path)):
        raw = b"".join(body for marker, body in segments(path) if marker == _RAW)
        with Image.open(path, formats=["JPEG"]) as image:
            width, height = image.size
            orientation = image.getexif().get(_ORIENTATION, 1)
            metadata = metadata_of(image)
    finer = isqrt(max(1, 2 * width * height // max(len(raw), 1)))  # the rendering may be enlarged
    tall, wide = height // finer, width // finer
    if len(raw) < 2 * tall * wide or (tall * finer, wide * finer) != (height, width):
        raise InputError(
            f"{path}: its raw values are stored in a way that only DJI's own Thermal SDK can read; "
            "export its temperatures (dji_irp -a measure), and pass these as TIFF or NPY"
        )
    counts = np.frombuffer(raw, "<u2", tall * wide).reshape(tall, wide).astype(np.uint16)
    picture = from_array(orient(counts, orientation), f"{path} (thermal)")
    if levels is None:
        low, high = map(float, np.percentile(counts, percentiles))
        levels = low, max(high, low + 1)
    picture = replace(spread(picture, levels), unit=COUNTS, metadata=metadata)
    return replace(picture, sha256=sha256_of(path))
