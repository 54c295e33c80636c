"""Volumes whose slices do not lie straight above one another, as of a CT with a tilted gantry.

Their voxels are no boxes. Few readers of NIfTI take such a grid, and DICOM of them is shown askew;
so what is to be fused on it is brought onto a square grid first, which covers all of it.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from ddfm.errors import DdfmWarning
from ddfm.volumes.resample import inside_of, resampled
from ddfm.volumes.volume import Volume

__all__ = ["squared"]

ASKEW = 0.25  # of the smallest voxel: what the far corner may lie off a square grid


def squared(volume: Volume) -> tuple[Volume, np.ndarray | None]:
    """The volume on a square grid, and which voxels of it lie within; itself where it has one."""
    square = _square_axes(volume.affine[:3, :3])
    sides = np.array(volume.shape) - 1
    off = np.abs(volume.affine[:3, :3] - square) @ sides
    if off.max() <= ASKEW * volume.spacing.min():
        return volume, None
    warnings.warn(
        f"{volume.name}: its slices lie askew, as of a tilted gantry; the result lies on a square "
        "grid around it",
        DdfmWarning,
        stacklevel=3,
    )
    grid = _around(volume, square)
    values = resampled(volume, grid).values
    return replace(volume, values=values, affine=grid.affine), inside_of(volume, grid)


def _square_axes(axes: np.ndarray) -> np.ndarray:
    """Rows and columns as they are, and slices along what stands upright on both."""
    first = axes[:, 0]
    along = first / np.linalg.norm(first)
    second = axes[:, 1] - (axes[:, 1] @ along) * along
    normal = np.cross(first, second)
    normal /= np.linalg.norm(normal)
    return np.stack([first, second, (axes[:, 2] @ normal) * normal], axis=1)


def _around(volume: Volume, square: np.ndarray) -> Volume:
    """The grid of these axes that covers a volume, a voxel of it where the volume has its first."""
    corners = np.stack(np.meshgrid(*([0, side - 1] for side in volume.shape), indexing="ij"))
    places = np.linalg.inv(square) @ volume.affine[:3, :3] @ corners.reshape(3, -1)
    low, high = np.floor(places.min(axis=1) + 1e-3), np.ceil(places.max(axis=1) - 1e-3)
    affine = np.eye(4)
    affine[:3, :3] = square
    affine[:3, 3] = volume.affine[:3, 3] + square @ low
    shape = tuple(int(side) for side in high - low + 1)
    return Volume(np.broadcast_to(np.float32(0), shape), affine, volume.name)
