"""Finds the frame of a picture that is surrounded by a flat rim, with straight edges between both.

A thermal image that was placed on the wider field of view of a photograph is padded with a single
level. This rim shows nothing of the scene, and the other source alone decides there.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import ndimage

__all__ = ["find_frame"]

FLAT = 1.5 / 255  # most that levels of the rim may differ by
LEAST = 0.02  # least share of the picture for the rim, and for the frame
# Most corners of a frame. It is a quadrilateral, but dark corners look cut off, and so do those
# beyond the border of the picture; the second number is for frames that reach the border.
CORNERS = 6, 8
CUT = 0.02  # share of its area that a frame may lose when it is reduced to these corners
SMALLEST = 32  # pixels; in a picture with a shorter side, corners would be found by chance
LOOK = 160  # pixels of each side that are examined first
FULL = 0.9  # least share of the frame that differs from the rim; dark parts of the scene may not


def find_frame(plane: np.ndarray) -> np.ndarray | None:
    """A mask (H, W) of the frame, if a frame with straight edges is found.

    If the frame is not parallel to rows and columns, its outermost pixels may be blended with the
    rim and are excluded.
    """
    if min(plane.shape) < SMALLEST:
        return None
    coarse = plane[:: -(-len(plane) // LOOK), :: -(-plane.shape[1] // LOOK)]
    if _frame(coarse) is None:  # a quick test, since most pictures have no frame
        return None
    frame = _frame(plane)
    if frame is None or _is_upright(frame):
        return frame
    return ndimage.binary_erosion(frame, border_value=1)


def _frame(plane: np.ndarray) -> np.ndarray | None:
    rim = _rim(plane)
    share = rim.mean()
    if not LEAST < share < 1 - LEAST:
        return None
    from scipy.spatial import ConvexHull, QhullError  # slow to import, and few pictures get here

    y, x = np.nonzero(~rim & ndimage.binary_dilation(rim))
    if len(x) < 3:
        return None
    corners = np.concatenate(
        [np.column_stack([x + dx, y + dy]) for dx in (-0.5, 0.5) for dy in (-0.5, 0.5)]
    )
    # Where a frame reaches the border, it may have corners there.
    inside = np.argwhere(~rim & _border(rim.shape))[:, ::-1]
    corners = np.concatenate([corners, *(inside + s for s in ([-0.5, -0.5], [0.5, 0.5]))])
    try:
        hull = corners[ConvexHull(corners).vertices]
    except QhullError:
        return None
    polygon = _simplified(hull, CORNERS[int(len(inside) > 0)])
    area = _area(hull)
    frame = _filled(hull, rim.shape)
    if _area(polygon) < (1 - CUT) * area or (~rim & frame).sum() < FULL * frame.sum():
        return None
    return frame if frame.mean() < 1 - LEAST else None


def _rim(plane: np.ndarray) -> np.ndarray:
    """The pixels at the level of the rim that are connected to the border.

    This level is the median of the border if the border is flat, else its darkest level.
    """
    edge = np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])
    level = np.median(edge) if np.ptp(edge) < FLAT else edge.min()
    flat = np.abs(plane - level) <= FLAT
    if flat[_border(plane.shape)].mean() < LEAST:
        return np.zeros(plane.shape, bool)
    parts, _ = ndimage.label(flat)
    touching = np.unique(parts[_border(plane.shape) & flat])
    return np.isin(parts, touching)


def _is_upright(frame: np.ndarray) -> bool:
    rows, columns = frame.any(axis=1), frame.any(axis=0)
    return bool(frame.sum() == rows.sum() * columns.sum())


def _border(shape: tuple[int, ...]) -> np.ndarray:
    border = np.zeros(shape, bool)
    border[[0, -1]] = border[:, [0, -1]] = True
    return border


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _simplified(polygon: np.ndarray, corners: int) -> np.ndarray:
    """The polygon with at most `corners` corners; those that cost least area are removed first."""
    points = list(polygon)
    while len(points) > corners:
        before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
        a, b = before - points, after - points
        lost = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
        points.pop(int(lost.argmin()))
    return np.array(points)


def _filled(polygon: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of the pixels whose centres are inside a convex polygon."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    sides = list(pairwise(np.concatenate([polygon, polygon[:1]])))
    turn = np.sign(sum(p[0] * q[1] - p[1] * q[0] for p, q in sides))
    inside = np.ones(shape, bool)
    for (x0, y0), (x1, y1) in sides:
        inside &= turn * ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) >= 0
    return inside
