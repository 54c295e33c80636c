"""Draws an alignment: both pictures in a checkerboard, and edges of one on the other."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import grey
from ddfm.imaging.writing import write_image
from ddfm.registration.transform import Transform
from ddfm.registration.warp import warped

__all__ = ["alignment_sheet"]

SQUARES = 12  # squares of the checkerboard along the longer side
STRONGEST = 92  # percentage of pixels that are not drawn as edges
GAP = 4  # pixels between the views
RIM = 4  # pixels inside a frame's border in which no edges are drawn


def alignment_sheet(
    path: str | os.PathLike[str], fixed: Picture, moved: Sequence[tuple[Picture, Transform]]
) -> None:
    """Writes four views of each moved picture, one picture below the other.

    The checkerboard is on top and the edges are below it; before on the left, after on the right.
    """
    base = _stretched(grey(fixed))
    rows: list[list[np.ndarray]] = []
    for moving, transform in moved:
        checkers, edges = [], []
        for step in (Transform.framed(moving.size, fixed.size), transform):
            picture, inside = warped(moving, step)
            plane = np.where(inside, _stretched(grey(picture)), 0)
            checkers.append(np.repeat(_checkered(base, plane)[..., None], 3, 2))
            edges.append(_drawn(base, plane, inside))
        rows += [checkers, edges]
    height, width = fixed.size
    sheet = np.ones((len(rows) * (height + GAP) - GAP, 2 * width + GAP, 3), np.float32)
    for i, row in enumerate(rows):
        for k, view in enumerate(row):
            top, left = i * (height + GAP), k * (width + GAP)
            sheet[top : top + height, left : left + width] = view
    write_image(path, sheet, Picture(sheet))


def _stretched(plane: np.ndarray) -> np.ndarray:
    low, high = np.percentile(plane, (1, 99))
    stretched: np.ndarray = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
    return stretched


def _checkered(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    side = max(8, max(one.shape) // SQUARES)
    y, x = np.mgrid[: one.shape[0], : one.shape[1]]
    return np.where((y // side + x // side) % 2 == 0, one, other)


def _drawn(base: np.ndarray, plane: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The strongest edges of `plane`, in red on the grey of `base`."""
    within = ndimage.binary_erosion(inside, iterations=RIM, border_value=1)
    slope = ndimage.gaussian_gradient_magnitude(plane, 1.0) * within
    edges = slope > max(float(np.percentile(slope, STRONGEST)), 1e-3)
    view = np.repeat(0.8 * base[..., None], 3, 2)
    view[edges] = (1.0, 0.2, 0.1)
    return view
