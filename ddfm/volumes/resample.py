"""Resamples one volume onto the grid of another, by their affines to the patient's space.

Voxel i of the grid lies at affine_grid i, which is voxel M i = affine^-1 affine_grid i of the
volume, whose value there is interpolated linearly. If the grid is coarser than the volume, the
volume is smoothed first, to avoid aliasing.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
from scipy import ndimage

from ddfm.errors import InputError
from ddfm.storage.budget import ask_bytes
from ddfm.volumes.volume import Volume, same_grid

__all__ = ["check_overlap", "inside_of", "overlap", "resampled"]


def resampled(volume: Volume, grid: Volume, outside: float | None = None) -> Volume:
    """The volume on the grid of another one.

    Args:
        volume: the volume to resample.
        grid: the volume that has the grid.
        outside: the value outside the volume; None uses its lowest.
    """
    if same_grid(volume, grid):
        return volume
    M = _from_grid(volume, grid)
    if outside is None:
        outside = 0.0 if volume.is_color else float(volume.values.min())
    check_overlap(volume, grid)
    shape = grid.shape + volume.values.shape[3:]
    ask_bytes(4 * prod(shape), f"{volume.name} on the grid of {grid.name}")
    values = np.empty(shape, np.float32)
    for channel in np.ndindex(volume.values.shape[3:]):
        part = (..., *channel)
        smooth = _smoothed(np.asarray(volume.values[part], np.float32), M)
        # "nearest" continues border voxels outwards; their outer halves have no other neighbour.
        values[part] = ndimage.affine_transform(
            smooth, M[:3, :3], M[:3, 3], grid.shape, np.float32, order=1, mode="nearest"
        )
    for plane, inside in zip(values, _inside(volume, grid), strict=True):
        plane[~inside] = outside
    return Volume(values, grid.affine, volume.name, volume.modality)


def overlap(volume: Volume, grid: Volume) -> bool:
    """Whether any voxel of the grid lies within the volume."""
    return any(plane.any() for plane in _inside(volume, grid))


def check_overlap(volume: Volume, grid: Volume) -> None:
    """Raise unless the volumes overlap."""
    if not overlap(volume, grid):
        raise InputError(
            f"{volume.name} and {grid.name} do not overlap in the patient's space; if they are of "
            "one patient, align=rigid (--align rigid) aligns their centres of mass first"
        )


def inside_of(volume: Volume, grid: Volume) -> np.ndarray | None:
    """True for voxels of a grid that lie within a volume, (I, J, K); None if all of them do."""
    if same_grid(volume, grid):
        return None
    mask = np.stack(list(_inside(volume, grid)))
    return None if mask.all() else mask


def _from_grid(volume: Volume, grid: Volume) -> np.ndarray:
    """M, from voxels of a grid to those of a volume."""
    return np.asarray(np.linalg.inv(volume.affine) @ grid.affine)


def _inside(volume: Volume, grid: Volume) -> Iterator[np.ndarray]:
    """Which voxels of each plane (J, K) of a grid lie within a volume; by planes to save memory."""
    M, (count, J, K) = _from_grid(volume, grid), grid.shape
    j, k = np.arange(J)[:, None], np.arange(K)[None, :]
    for i in range(count):
        inside = np.ones((J, K), bool)
        for row, side in zip(M[:3], volume.shape, strict=True):
            x = row[0] * i + row[1] * j + row[2] * k + row[3]
            inside &= (x >= -0.5 - 1e-6) & (x <= side - 0.5 + 1e-6)
        yield inside


def _smoothed(values: np.ndarray, M: np.ndarray) -> np.ndarray:
    """Smooth with a Gaussian of sigma (s - 1) / 2, where s is a step of the grid in voxels.

    Sigma is at most the size of the volume, which is flat by then.
    """
    steps = np.linalg.norm(M[:3, :3], axis=1)
    sigma = np.clip((steps - 1) / 2, 0, values.shape)
    if (sigma < 0.05).all():
        return values
    return ndimage.gaussian_filter(values, sigma, mode="nearest")
