"""Volumes whose slices are askew, that is, stacked obliquely, as in a CT with a tilted gantry.

Their voxels are not rectangular. Few readers of NIfTI support such a grid, and DICOM viewers show
it sheared. So before fusion, the volume is resampled onto a square grid, one with axes at right
angles, that covers all of it.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from ddfm.errors import warn
from ddfm.storage.budget import ask_bytes
from ddfm.volumes.resample import inside_of, resampled
from ddfm.volumes.volume import Volume

__all__ = ["squared"]

ASKEW = 0.25  # share of the smallest voxel side by which the far corner may be off a square grid


def squared(volume: Volume) -> tuple[Volume, np.ndarray | None]:
    """The volume on a square grid, and which voxels of that lie within the volume.

    If its grid is square already, the volume is returned unchanged, with None.
    """
    square = _square_axes(volume.affine[:3, :3])
    sides = np.array(volume.shape) - 1
    off = np.abs(volume.affine[:3, :3] - square) @ sides
    if off.max() <= ASKEW * volume.spacing.min():
        return volume, None
    grid = _around(volume, square)
    warn(
        f"{volume.name}: its slices are stacked obliquely, as from a tilted gantry; the result is "
        "on a square grid around it"
    )
    values = resampled(volume, grid).values
    return replace(volume, values=values, affine=grid.affine), inside_of(volume, grid)


def _square_axes(axes: np.ndarray) -> np.ndarray:
    """The axes at right angles: the first unchanged, and slices along the normal of their plane."""
    first = axes[:, 0]
    along = first / np.linalg.norm(first)
    second = axes[:, 1] - (axes[:, 1] @ along) * along
    normal = np.cross(first, second)
    normal /= np.linalg.norm(normal)
    return np.stack([first, second, (axes[:, 2] @ normal) * normal], axis=1)


def _around(volume: Volume, square: np.ndarray) -> Volume:
    """The grid with these axes that covers a volume, and shares its first voxel's centre."""
    corners = np.stack(np.meshgrid(*([0, side - 1] for side in volume.shape), indexing="ij"))
    places = np.linalg.inv(square) @ volume.affine[:3, :3] @ corners.reshape(3, -1)
    low, high = np.floor(places.min(axis=1) + 1e-3), np.ceil(places.max(axis=1) - 1e-3)
    affine = np.eye(4)
    affine[:3, :3] = square
    affine[:3, 3] = volume.affine[:3, 3] + square @ low
    shape = tuple(int(side) for side in high - low + 1)
    stored = sum(file.stat().st_size for file in volume.files) or None
    channels = 3 if volume.is_color else 1
    # Numbers of 4 bytes, one channel of them twice, and two masks of what lies within the volume.
    ask_bytes((4 * channels + 6) * prod(shape), f"{volume.name} on a square grid", stored)
    return Volume(np.broadcast_to(np.float32(0), shape), affine, volume.name)
