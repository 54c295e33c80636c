"""Files of thermal cameras that hold what the sensor measured, whoever made them."""

from __future__ import annotations

import os
from pathlib import Path

from ddfm.errors import InputError
from ddfm.imaging.formats.dji import is_dji, read_dji
from ddfm.imaging.formats.flir import PERCENTILES, Celsius, check_reading, is_flir, read_thermal
from ddfm.imaging.picture import Picture

__all__ = ["is_radiometric", "read_radiometric"]


def is_radiometric(path: str | os.PathLike[str]) -> bool:
    """Whether a file is of this kind, so that its rendering is not what to read."""
    return Path(path).is_file() and (is_flir(path) or is_dji(path))


def read_radiometric(
    path: str | os.PathLike[str],
    *,
    celsius: Celsius | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    counts: tuple[float, float] | None = None,
) -> Picture:
    """What the sensor measured, to be fused with a separate photograph.

    What else is in the file, the rendering in false colours above all, is left there.

    Args:
        path: the file.
        celsius, percentiles: what is black and white, as `read_flir` takes it.
        counts: the same, in raw values, for files that do not say how warm these are.
    """
    check_reading(celsius=celsius, percentiles=percentiles)
    if not is_dji(path):
        return read_thermal(path, celsius=counts or celsius, percentiles=percentiles)
    if celsius is not None:
        raise InputError(
            f"{path} has raw values of DJI, which only its own Thermal SDK turns into degrees; "
            "without celsius (--celsius) they are fused as they are, or say percentiles "
            "(--percentiles)"
        )
    return read_dji(path, levels=counts, percentiles=percentiles)
