"""Fits a smooth field of displacements where no matrix is enough: for parallax and soft tissue.

Under a sure transform, each tile t has a surface S_t, its likeness at every small shift (see
`ddfm.registration.refine`). The control points c of a cubic B-spline (`ddfm.registration.field`)
are fitted to all of them:

    maximise   sum_t S_t(B_t c) - bend |second differences of c|^2 - still |c|^2

first to smoothed surfaces, then to less and less smoothed ones. Cross-validation separates a field
from chance: the tiles are split like a checkerboard, and each half is moved by a field fitted to
the other half.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ddfm.registration.field import basis, least_area
from ddfm.registration.refine import BELIEVED, Level, Surfaces, climbed, deviations

__all__ = ["flow"]

SPACING = 64  # pixels of the level between control points
BEND, STILL = 0.0003, 0.0001  # bend and still, in likeness per tile and square pixel
WIDTHS = (4.0, 2.0, 1.0, 0.5)  # smoothing of the surfaces from fit to fit, in pixels
LEAST_AREA = 0.3  # least area that a pixel may be mapped to
SHRINK = 0.8  # factor by which a field is reduced until it keeps that area


def flow(level: Level, matrix: np.ndarray) -> np.ndarray | None:
    """A field in pixels of the fixed picture, or None if no field is clearly better than none."""
    surfaces = level.surfaces(matrix)
    if not len(surfaces):
        return None
    sides = level.height, level.width
    grid = [max(4, round(side / SPACING) + 3) for side in sides]
    down = basis(level.centres[:, 1], sides[0], grid[0])
    across = basis(level.centres[:, 0], sides[1], grid[1])
    weights = (down[:, :, None] * across[:, None, :]).reshape(len(surfaces), -1)
    each = len(surfaces) / weights.shape[1]  # tiles per control point
    prior = each * (BEND * _bending(*grid) + STILL * np.eye(weights.shape[1]))
    smooth = [
        Surfaces(ndimage.gaussian_filter(surfaces, (0, width, width), mode="nearest"))
        for width in WIDTHS
    ]
    half = np.indices(level.tiles).sum(0).ravel() % 2 == 0
    gain = np.zeros(len(surfaces))
    for used in (half, ~half):
        points = _fitted(smooth, weights * used[:, None], prior)
        gain[~used] = _gain(smooth[-1], weights @ points)[~used]
    if not deviations(gain) > BELIEVED:
        return None
    field = _fitted(smooth, weights, prior).reshape(*grid, 2)
    while least_area(field, sides) < LEAST_AREA:
        field = SHRINK * field
    return field * [level.full[0, 0], level.full[1, 1]]


def _fitted(smooth: list[Surfaces], weights: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Control points (N, 2), fitted to the tiles whose weights are not 0."""
    nothing = np.zeros_like(weights)
    across, down = np.hstack([weights, nothing]), np.hstack([nothing, weights])
    p = np.zeros(across.shape[1])
    for spline in smooth:
        p = climbed(spline, across, down, np.kron(np.eye(2), prior), p)
    return p.reshape(2, -1).T


def _gain(spline: Surfaces, moved: np.ndarray) -> np.ndarray:
    """By how much the likeness of each tile grows when it is moved by `moved` (N, 2)."""
    still = np.zeros(len(moved))
    return spline.curved(*moved.T)[0] - spline.curved(still, still)[0]


def _bending(rows: int, columns: int) -> np.ndarray:
    """The matrix M for which c' M c is the sum of squared second differences on a grid."""
    terms = [
        np.kron(np.eye(rows), _differences(columns, 2)),
        np.kron(_differences(rows, 2), np.eye(columns)),
        np.sqrt(2) * np.kron(_differences(rows, 1), _differences(columns, 1)),
    ]
    return sum(term.T @ term for term in terms)


def _differences(points: int, order: int) -> np.ndarray:
    return np.diff(np.eye(points), order, axis=0)
