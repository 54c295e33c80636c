"""Smooth fields of displacements over a picture: cubic B-splines with a few control points.

A field is an array (rows, columns, 2) with the displacements of its control points, in pixels to
the right and down. The points are spread evenly over the picture, with one row or column of them
beyond each border.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ddfm.errors import InputError

__all__ = ["basis", "checked_field", "displacements", "least_area", "spread_out"]

FEWEST, MOST = 4, 100  # control points along a side
FARTHEST = 10  # greatest displacement, in units of the longer side
FINE = 512  # pixels along a side that suffice to detect any fold


def basis(at: np.ndarray, side: int, points: int) -> np.ndarray:
    """Weights (N, points) of the control points along a side, at positions (N) in pixels.

    Beyond the picture they are those at its border.
    """
    along = np.clip((at + 0.5) / side, 0, 1) * (points - 3) + 1
    distance = np.abs(along[:, None] - np.arange(points))
    near, far = 2 / 3 - distance**2 + distance**3 / 2, (2 - distance).clip(0) ** 3 / 6
    return np.where(distance < 1, near, far)


def displacements(field: np.ndarray, size: tuple[int, int], points: np.ndarray) -> np.ndarray:
    """The displacements of points (N, 2) of a picture of this size."""
    down = basis(points[:, 1], size[0], field.shape[0])
    across = basis(points[:, 0], size[1], field.shape[1])
    return np.einsum("nr,nc,rcd->nd", down, across, field, optimize=True)


def spread_out(field: np.ndarray, size: tuple[int, int], rows: slice = slice(None)) -> np.ndarray:
    """The displacements (H, W, 2) of every pixel, or of the pixels of some rows."""
    down = basis(np.arange(size[0])[rows], size[0], field.shape[0])
    across = basis(np.arange(size[1]), size[1], field.shape[1])
    return np.einsum("yr,rcd,xc->yxd", down, field, across, optimize=True)


def least_area(field: np.ndarray, size: tuple[int, int]) -> float:
    """The smallest area that any pixel is mapped to; below 0, the field folds the picture."""
    rows, columns = (max(2, min(side, FINE)) for side in size)
    moved = spread_out(field * [columns / size[1], rows / size[0]], (rows, columns))
    down, across = np.gradient(moved, axis=(0, 1))
    area = (1 + across[..., 0]) * (1 + down[..., 1]) - across[..., 1] * down[..., 0]
    return float(area.min())


def checked_field(field: Any, size: tuple[int, int]) -> np.ndarray:
    """The field as an array; raises InputError if it is not a field, or folds the picture."""
    field = np.array(field, np.float64)
    shape = field.shape
    if field.ndim != 3 or shape[2] != 2 or not all(FEWEST <= n <= MOST for n in shape[:2]):
        raise InputError(f"a field must have {FEWEST} to {MOST} rows and columns of 2 numbers")
    far = FARTHEST * max(size)
    if not (np.abs(field) <= far).all() or not least_area(field, size) > 0:
        raise InputError("a field must have finite numbers, and no folds")
    return field
