"""Files of thermal cameras of any make that hold what the sensor measured."""

from __future__ import annotations

import os
from pathlib import Path

from ddfm.errors import InputError
from ddfm.imaging.picture import Picture
from ddfm.imaging.thermal.dji import is_dji, read_dji
from ddfm.imaging.thermal.flir import PERCENTILES, Celsius, check_reading, is_flir, read_thermal

__all__ = ["is_radiometric", "read_radiometric"]


def is_radiometric(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds what a thermal sensor measured, to be read instead of its rendering."""
    return Path(path).is_file() and (is_flir(path) or is_dji(path))


def read_radiometric(
    path: str | os.PathLike[str],
    *,
    celsius: Celsius | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    counts: tuple[float, float] | None = None,
) -> Picture:
    """What the sensor measured, to be fused with a separate photograph.

    Anything else in the file is ignored, such as the rendering in false colours.

    Args:
        path: the file.
        celsius, percentiles: the temperatures at black and white, as for `read_flir`.
        counts: the values at black and white, in the file's own unit: raw values for DJI, degrees
            for FLIR.
    """
    check_reading(celsius=celsius, percentiles=percentiles)
    if not is_dji(path):
        return read_thermal(path, celsius=counts or celsius, percentiles=percentiles)
    if celsius is not None:
        raise InputError(
            f"{path} has raw values of DJI, which only DJI's own Thermal SDK converts to degrees; "
            "leave out celsius (--celsius) to fuse the raw values, or give percentiles "
            "(--percentiles)"
        )
    return read_dji(path, levels=counts, percentiles=percentiles)
