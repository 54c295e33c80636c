"""Files of thermal cameras of any make that hold what the sensor measured."""

from __future__ import annotations

import os
from pathlib import Path

from ddfm.errors import InputError
from ddfm.imaging.picture import Picture
from ddfm.imaging.thermal import flir, infiray
from ddfm.imaging.thermal.degrees import PERCENTILES, Celsius, check_degrees
from ddfm.imaging.thermal.dji import is_dji, read_dji

__all__ = ["has_photograph", "is_radiometric", "maker_of", "read_radiometric"]

FLIR, DJI, INFIRAY = "FLIR", "DJI", "InfiRay"


def maker_of(path: str | os.PathLike[str]) -> str:
    """Whose file with measured values it is; empty for any other file, or none."""
    if not Path(path).is_file():
        return ""
    known = ((FLIR, flir.is_flir), (DJI, is_dji), (INFIRAY, infiray.is_infiray))
    return next((maker for maker, is_theirs in known if is_theirs(path)), "")


def is_radiometric(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds what a thermal sensor measured, to be read instead of its rendering."""
    return bool(maker_of(path))


def has_photograph(path: Path) -> bool:
    """Whether a radiometric file holds a photograph, too, so that it is a pair by itself."""
    maker = maker_of(path)
    if maker == INFIRAY:
        return infiray.has_photograph(path)
    return maker == FLIR and flir.has_photograph(path)


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
            for others.
    """
    check_degrees(celsius, percentiles)
    if (maker := maker_of(path)) != DJI:
        read = infiray.read_infiray if maker == INFIRAY else flir.read_thermal
        return read(path, celsius=counts or celsius, percentiles=percentiles)
    if celsius is not None:
        raise InputError(
            f"{path} has raw values of DJI, which only DJI's own Thermal SDK converts to degrees; "
            "leave out celsius (--celsius) to fuse the raw values, or give percentiles "
            "(--percentiles)"
        )
    return read_dji(path, levels=counts, percentiles=percentiles)
