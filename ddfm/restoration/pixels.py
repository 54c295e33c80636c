"""Dead and hot pixels of a sensor: single ones, far from all that is around them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

__all__ = ["find_dead", "mended"]

FAR = 0.15  # of levels from 0 to 1, beyond the lightest and the darkest neighbour
TIMES = 3.0  # and so many times the range of the neighbours
SMALLEST = 8  # pixels of a side
MANY = 4  # a single one may be a lamp, or a star
AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


def find_dead(plane: np.ndarray) -> np.ndarray:
    """Where (H, W) pixels stand out from the eight around them, as nothing behind a lens does."""
    dead = np.zeros(plane.shape, bool)
    if min(plane.shape) < SMALLEST:
        return dead
    wide = np.pad(plane, 1, mode="edge")
    middle = wide[1:-1]
    y, x = np.nonzero(
        (np.abs(middle[:, 1:-1] - middle[:, :-2]) > FAR)
        & (np.abs(middle[:, 1:-1] - middle[:, 2:]) > FAR)
    )
    around = np.stack([wide[y + i, x + j] for i, j in np.argwhere(AROUND)])
    high, low = around.max(axis=0), around.min(axis=0)
    beyond = np.maximum(plane[y, x] - high, low - plane[y, x])
    dead[y, x] = beyond > np.maximum(FAR, TIMES * (high - low))
    return dead


def mended(plane: np.ndarray, dead: np.ndarray) -> np.ndarray:
    """The plane with the median of their neighbours in place of dead pixels."""
    return np.where(dead, ndimage.median_filter(plane, footprint=AROUND), plane)
