"""Dead and hot pixels of a sensor: single pixels that differ strongly from all their neighbours."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

__all__ = ["find_dead", "mended"]

FAR = 0.15  # least difference from the lightest or darkest neighbour, of levels from 0 to 1
TIMES = 3.0  # the same, relative to the range of the neighbours; both limits must be exceeded
SMALLEST = 8  # pixels; pictures with a shorter side are not searched
MANY = 4  # least number of dead pixels in a picture: a single one may be a lamp or a star
AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


def find_dead(plane: np.ndarray) -> np.ndarray:
    """A mask (H, W) of pixels that differ from their eight neighbours by more than optics allow."""
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
    """The plane with each dead pixel replaced by the median of its neighbours."""
    return np.where(dead, ndimage.median_filter(plane, footprint=AROUND), plane)
