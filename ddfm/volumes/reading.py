"""What the readers of volumes share: optional libraries, and checks of sizes and values."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.errors import InputError, StorageError, missing_extra
from ddfm.storage.inputs import existing_file

__all__ = ["LPS", "beside", "check_bytes", "filled", "finite", "library", "usable", "which"]

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # converts LPS to RAS, and RAS to LPS

_PACKAGES = {"nibabel": "nibabel", "nrrd": "pynrrd", "pydicom": "pydicom"}

# Deflate compresses at most 1032 bytes to one.
_DEFLATE = 1032


def library(name: str) -> Any:
    """Import an optional library; if it is missing, the error explains how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise missing_extra(_PACKAGES[name], "medical", "this kind of volume", error) from None


def beside(path: Path, named: str) -> Path:
    """The file in the folder of a header, or below, that holds its values.

    A header from elsewhere may name any file, whose bytes would be visible in the result.
    """
    data = path.parent / named
    # Without following links, which are the user's own.
    folder, inside = (os.path.normpath(some.absolute()) for some in (path.parent, data))
    if not Path(inside).is_relative_to(folder):
        raise InputError(
            f"{path}: its values are in {named}, outside its folder; move both files into one "
            "folder, and name the other one without a path in the header"
        )
    try:
        return existing_file(data)
    except StorageError as error:
        raise StorageError(f"{path}: {error}") from None


def check_bytes(
    shape: Sequence[int], itemsize: int, path: Path, *, compressed: bool, name: str | None = None
) -> None:
    """Raise if a header promises more than its file can hold, before memory is allocated."""
    promised = prod(int(side) for side in shape) * itemsize
    if min(shape, default=1) < 0 or promised > path.stat().st_size * (
        _DEFLATE if compressed else 1
    ):
        raise InputError(
            f"{name or path} is truncated or damaged: its header gives "
            f"{' x '.join(map(str, shape))} voxels, more than the file can hold"
        )


def usable(values: np.ndarray, name: str) -> np.ndarray:
    """Convert a file's values, (I, J, K), or (I, J, K, 3) uint8 colours, to those of a `Volume`."""
    if values.ndim == 4 and values.dtype != np.uint8:
        raise InputError(f"{name}: 3 volumes of {values.dtype}; colours are of uint8")
    return values / np.float32(255) if values.ndim == 4 else finite(values, name)


def finite(values: np.ndarray, name: str) -> np.ndarray:
    """A copy of the values as float32, `filled`."""
    if values.dtype.kind not in "buif":
        raise InputError(f"{name}: a volume cannot have values of type {values.dtype}")
    with np.errstate(over="ignore"):
        return filled(values.astype(np.float32), name)


def filled(values: np.ndarray, name: str) -> np.ndarray:
    """The values, with NaN and infinity, as outside a mask, replaced in place by the lowest."""
    good = np.isfinite(values)
    if good.all():
        return values
    if not good.any():
        raise InputError(f"{name}: none of its values is a number")
    values[~good] = values[good].min()
    return values


def which(volume: int | None, count: int, name: str) -> int:
    """The number of the volume to read; raises if there is none, or if it must be specified."""
    if volume is None and count > 1:
        raise InputError(
            f"{name} holds {count} volumes; choose one by its number, from 0 (volume=, --volume)"
        )
    number = volume or 0
    if not 0 <= number < count:
        raise InputError(
            f"{name} holds {count} volumes, so there is no volume {number} (they count from 0)"
        )
    return number
