"""What the readers of volumes share: others' libraries kept quiet, and sizes checked beforehand."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.errors import InputError, MissingExtra

__all__ = ["LPS", "check_bytes", "finite", "library", "usable", "which"]

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from LPS to RAS and back

_PACKAGES = {"nibabel": "nibabel", "nrrd": "pynrrd", "pydicom": "pydicom"}

# Deflate makes at most 1032 bytes of one.
_DEFLATE = 1032


def library(name: str) -> Any:
    """An optional library, or an error that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtra(_PACKAGES[name], "medical", "this kind of volume") from None


def check_bytes(
    shape: Sequence[int], itemsize: int, path: Path, *, compressed: bool, name: str | None = None
) -> None:
    """Refuse a header that promises more than its file can hold, before room is made for it."""
    promised = prod(int(side) for side in shape) * itemsize
    if min(shape, default=1) < 0 or promised > path.stat().st_size * (
        _DEFLATE if compressed else 1
    ):
        raise InputError(
            f"{name or path} is truncated or damaged: its header says {' x '.join(map(str, shape))}"
            f" voxels, more than the file can hold"
        )


def usable(values: np.ndarray, name: str) -> np.ndarray:
    """Values of a file, (I, J, K) or (I, J, K, 3) colours of uint8, as a `Volume` has them."""
    if values.ndim == 4 and values.dtype != np.uint8:
        raise InputError(f"{name}: 3 volumes of {values.dtype}; colours are of uint8")
    return values / np.float32(255) if values.ndim == 4 else finite(values, name)


def finite(values: np.ndarray, name: str) -> np.ndarray:
    """float32, with the lowest value where there was none: masked volumes have NaN outside."""
    if values.dtype.kind not in "buif":
        raise InputError(f"{name}: values of type {values.dtype} are not a volume's")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    good = np.isfinite(values)
    if good.all():
        return values
    if not good.any():
        raise InputError(f"{name}: none of its values is a number")
    values[~good] = values[good].min()
    return values


def which(volume: int | None, count: int, name: str) -> int:
    """Which of so many volumes is meant; if it is not said, there must be one alone."""
    if volume is None and count > 1:
        raise InputError(
            f"{name} holds {count} volumes; choose one by its number, from 0 (volume=, --volume)"
        )
    number = volume or 0
    if not 0 <= number < count:
        raise InputError(
            f"{name} holds {count} volumes, so there is none of the number {number} (from 0)"
        )
    return number
