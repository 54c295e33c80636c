"""Temperatures as pictures, and which of them become black and white."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from pathlib import Path

import numpy as np

from ddfm.arguments import check_percentiles, two_numbers
from ddfm.errors import InputError
from ddfm.imaging.levels import clips_border
from ddfm.imaging.picture import Picture, from_array

__all__ = [
    "CAMERA",
    "PERCENTILES",
    "Celsius",
    "check_degrees",
    "is_camera",
    "picture_of_degrees",
]

PERCENTILES = (1.0, 99.0)  # become black and white if no temperatures are given
CAMERA = "camera"  # given instead of temperatures: the level and span that the camera was set to

Celsius = tuple[float, float] | str


def is_camera(celsius: object) -> bool:
    """Whether `celsius` asks for the camera's own level and span."""
    return isinstance(celsius, str) and celsius == CAMERA


def check_degrees(celsius: Celsius | None, percentiles: tuple[float, float]) -> None:
    """Raises unless these can say which temperatures become black and white."""
    if celsius is not None and not is_camera(celsius):
        low, high = two_numbers("celsius", celsius)
        if not (isfinite(low) and isfinite(high) and low < high):
            raise InputError(
                "celsius (--celsius) must be two temperatures in degrees Celsius, LOW < HIGH, or "
                f"camera, not {low:g}, {high:g}"
            )
    check_percentiles(percentiles)


def picture_of_degrees(
    degrees: np.ndarray,
    path: Path,
    celsius: Celsius | None,
    percentiles: tuple[float, float],
    of_camera: Callable[[], tuple[float, float]] | None = None,
) -> Picture:
    """A grey picture of temperatures (H, W), clipped at those that become black and white.

    Args:
        degrees: Celsius; outside the range of a calibration there is no number.
        path: the file that they are from.
        celsius, percentiles: as for `read_flir`.
        of_camera: returns the level and span that the camera was set to.
    """
    finite = degrees[np.isfinite(degrees)]
    if not finite.size:
        raise InputError(f"{path} is damaged: none of its temperatures is a number")
    if celsius is None:
        low, high = map(float, np.percentile(finite, percentiles))
    elif isinstance(celsius, str):
        low, high = of_camera() if of_camera else (0.0, 0.0)
        if not (isfinite(low) and isfinite(high) and low < high):
            raise InputError(
                f"{path} does not record the level and span of the camera; give two temperatures "
                "(--celsius LOW HIGH)"
            )
    else:
        low, high = map(float, celsius)
    scaled = (degrees - low) / ((high - low) or 1.0)
    # Where there is no number it is too cold, as a rule.
    levels = np.nan_to_num(np.clip(scaled, 0, 1), nan=0.0).astype(np.float32)
    thermal = from_array(levels, f"{path} (thermal)")
    # Sensors have 14 to 16 bits, so results are written with 16.
    thermal = replace(thermal, dtype=np.dtype(np.uint16), range=(low, high), unit="°C")
    return replace(thermal, clipped_border=clips_border(degrees, (low, high)))
