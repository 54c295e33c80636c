"""What no matrix explains: a smooth field of displacements, for parallax and for soft tissue.

Every tile has its surface S_t of likeness over small shifts, under a transform that is sure; then
control points c of a cubic B-spline (`ddfm.registration.field`) are fitted to all of them:

    maximise   sum_t S_t(B_t c) - bend |second differences of c|^2 - still |c|^2

first to smoothed surfaces, then to ever sharper ones. To see whether that is more than chance, each
half of the tiles, as on a checkerboard, is laid by a field that was fitted to the other half.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ddfm.registration.field import basis, least_area
from ddfm.registration.refine import BELIEVED, Level, Surfaces, climbed, deviations

__all__ = ["flow"]

SPACING = 64  # pixels between control points, of the level
BEND, STILL = 0.0003, 0.0001  # of likeness, a tile, for a square pixel
WIDTHS = (4.0, 2.0, 1.0, 0.5)  # of the smoothing of surfaces
LEAST_AREA = 0.3  # of what a pixel covers
SHRINK = 0.8  # of a field that would leave less


def flow(level: Level, matrix: np.ndarray) -> np.ndarray | None:
    """Control points in pixels of the fixed picture; None where no field is clearly better."""
    surfaces = level.surfaces(matrix)
    if not len(surfaces):
        return None
    sides = level.height, level.width
    grid = [max(4, round(side / SPACING) + 3) for side in sides]
    down = basis(level.centres[:, 1], sides[0], grid[0])
    across = basis(level.centres[:, 0], sides[1], grid[1])
    weights = (down[:, :, None] * across[:, None, :]).reshape(len(surfaces), -1)
    each = len(surfaces) / weights.shape[1]  # tiles of a control point
    prior = each * (BEND * _bending(*grid) + STILL * np.eye(weights.shape[1]))
    smooth = [
        Surfaces(ndimage.gaussian_filter(surfaces, (0, width, width), mode="nearest"))
        for width in WIDTHS
    ]
    half = np.indices(level.tiles).sum(0).ravel() % 2 == 0
    gain = np.zeros(len(surfaces))
    for told in (half, ~half):
        points = _fitted(smooth, weights * told[:, None], prior)
        gain[~told] = _gain(smooth[-1], weights @ points)[~told]
    if not deviations(gain) > BELIEVED:
        return None
    field = _fitted(smooth, weights, prior).reshape(*grid, 2)
    while least_area(field, sides) < LEAST_AREA:
        field = SHRINK * field
    return field * [level.full[0, 0], level.full[1, 1]]


def _fitted(smooth: list[Surfaces], weights: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Control points (N, 2) for the tiles that have weights."""
    nothing = np.zeros_like(weights)
    across, down = np.hstack([weights, nothing]), np.hstack([nothing, weights])
    p = np.zeros(across.shape[1])
    for spline in smooth:
        p = climbed(spline, across, down, np.kron(np.eye(2), prior), p)
    points: np.ndarray = p.reshape(2, -1).T
    return points


def _gain(spline: Surfaces, moved: np.ndarray) -> np.ndarray:
    """How much liker each tile is where it is moved to (N, 2)."""
    still = np.zeros(len(moved))
    return spline(*moved.T)[0] - spline(still, still)[0]


def _bending(rows: int, columns: int) -> np.ndarray:
    """c' _bending c is the sum of squared second differences on a grid."""
    terms = [
        np.kron(np.eye(rows), _differences(columns, 2)),
        np.kron(_differences(rows, 2), np.eye(columns)),
        np.sqrt(2) * np.kron(_differences(rows, 1), _differences(columns, 1)),
    ]
    total: np.ndarray = sum(term.T @ term for term in terms)
    return total


def _differences(points: int, order: int) -> np.ndarray:
    return np.diff(np.eye(points), order, axis=0)
