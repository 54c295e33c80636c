"""Grids of volumes, and fields on them."""

from __future__ import annotations

import numpy as np


def turned(spacing=(1.0, 1.0, 1.0), degrees=(0.0, 0.0, 0.0), origin=(0.0, 0.0, 0.0)) -> np.ndarray:
    """An affine of some spacing, turned about each axis."""
    affine = np.eye(4)
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        c, s = np.cos(angle), np.sin(angle)
        one = np.eye(3)
        others = [k for k in range(3) if k != axis]
        one[np.ix_(others, others)] = [[c, -s], [s, c]]
        rotation = rotation @ one
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = origin
    return affine


def at(affine: np.ndarray, shape: tuple[int, ...], field) -> np.ndarray:
    """A linear field of the patient's space, at the voxels of a grid."""
    i = np.indices(shape).reshape(3, -1)
    x, y, z = affine[:3, :3] @ i + affine[:3, 3:]
    return field(x, y, z).reshape(shape).astype(np.float32)


def head(shape=(20, 18, 6)) -> np.ndarray:
    """A ball with some structure in it."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    ball = (grid**2).sum(0) < 0.8
    return (ball * (500 + 300 * np.sin(6 * grid[0]) * np.cos(5 * grid[1]))).astype(np.float32)
