"""Converts a scanner's units to grey levels.

CT has a fixed unit and is shown through a window: level - width / 2 is black, level + width / 2 is
white. MRI, PET and SPECT have no fixed unit, and are scaled by percentiles of the voxels above the
background. Activity (PET, SPECT) may then be coloured, see `ddfm.imaging.colormaps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ddfm.arguments import check_percentiles
from ddfm.errors import InputError, short, unknown, warn
from ddfm.volumes.volume import Volume

__all__ = [
    "GREY",
    "PERCENTILES",
    "WINDOWS",
    "Window",
    "find_window",
    "is_ct",
    "scaled",
    "scaled_by",
]

Window = tuple[float, float]  # level and width, in Hounsfield units or the volume's own

WINDOWS: dict[str, Window] = {
    "brain": (40, 80),
    "subdural": (75, 215),
    "bone": (400, 1800),
    "soft-tissue": (40, 400),
    "mediastinum": (50, 350),
    "lung": (-600, 1500),
}

CT_WINDOW = "soft-tissue"  # default window for CT
PERCENTILES = (0.5, 99.5)  # of voxels above the background, where there is no window
GREY = "none"  # instead of a colour map


def is_ct(volume: Volume) -> bool:
    """Whether a volume is a CT, by its modality, or else by values that only air in a CT has."""
    if volume.modality:
        return volume.modality == "CT"
    return not volume.is_color and float(volume.values.min()) < -500


def _warn_of_padding(volume: Volume) -> None:
    """Warn if a volume is taken for a CT by a value that may only fill its field.

    The air in a CT has many values, and so have its borders; other volumes are padded by one value,
    and have none but that below zero.
    """
    if volume.modality or not is_ct(volume):
        return
    lowest = volume.values.min()
    if np.min(volume.values, where=volume.values > lowest, initial=np.inf) >= 0:
        warn(
            f"{volume.name} is taken for a CT, because its lowest value is {lowest:g}; if that "
            "only fills its field, as in an MRI, give a window (--window-a or -b, LEVEL/WIDTH)"
        )


def find_window(window: str | Window) -> Window:
    """Level and width of a window given by name, as text ("40/80" or "40,80"), or as numbers."""
    numbers: Sequence[Any] = window
    if isinstance(window, str):
        if window in WINDOWS:
            return WINDOWS[window]
        numbers = window.replace(",", "/").split("/")
        if len(numbers) != 2:
            raise unknown("window", window, [*WINDOWS, "LEVEL/WIDTH"])
    try:
        level, width = map(float, numbers)
    except (TypeError, ValueError, RuntimeError):  # as a tensor without numbers raises
        level, width = np.nan, np.nan
    if not (np.isfinite([level, width]).all() and width > 0):
        raise InputError(
            f"a window is LEVEL/WIDTH, two numbers such as 40/400, not {short(window)}"
        )
    return level, width


def scaled(
    volume: Volume,
    window: str | Window | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
) -> tuple[np.ndarray, tuple[float, float]]:
    """The values scaled from 0 (black) to 1 (white), float32, and the values at black and white.

    Args:
        volume: the volume.
        window: the window; None uses soft tissue for CT, and percentiles for everything else.
        percentiles: the percentages of voxels below black and below white, among those above the
            lowest value, which is assumed to be background.
    """
    if volume.is_color:
        return volume.values, (0.0, 1.0)
    if window is None:
        _warn_of_padding(volume)
    window = _window_of(volume, window)
    if window is not None:
        level, width = find_window(window)
        low, high = level - width / 2, level + width / 2
    else:
        low, high = _percentiles(volume.values, percentiles)
    values = (volume.values - np.float32(low)) / np.float32((high - low) or 1)
    return np.clip(values, 0, 1, out=values), (low, high)


def scaled_by(
    volume: Volume,
    window: str | Window | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
) -> str:
    """How `scaled` determines black and white, in words."""
    if volume.is_color:
        return "its colours"
    window = _window_of(volume, window)
    if window is not None:
        return f"window {window}" if isinstance(window, str) else "window {:g}/{:g}".format(*window)
    return "percentiles {:g} and {:g}".format(*percentiles)


def _window_of(volume: Volume, window: str | Window | None) -> str | Window | None:
    return CT_WINDOW if window is None and is_ct(volume) else window


def _percentiles(values: np.ndarray, percentiles: tuple[float, float]) -> tuple[float, float]:
    check_percentiles(percentiles)
    background = float(values.min())
    inside = values[values > background]
    if inside.size == 0:
        return background, background
    low, high = map(float, np.percentile(inside, percentiles))
    # A mask has a single value above the background, which must become white, not black.
    return (low, high) if low < high else (background, high)
