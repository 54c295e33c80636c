"""Slices of volumes side by side, as an image to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ddfm.errors import InputError
from ddfm.imaging.files import write_drawing
from ddfm.volumes.volume import Volume, find_axis, rows_and_columns, slices

__all__ = ["montage"]

GAP = 2  # pixels of black between slices
LONGEST = 50  # times as long as wide is what a voxel may be drawn


def montage(
    volumes: Sequence[Volume],
    path: str | os.PathLike[str],
    *,
    axis: int | str | None = None,
    count: int = 8,
) -> None:
    """Writes one row per volume, of `count` slices at equal distances, in true proportions.

    Args:
        volumes: on one grid, with values from 0 to 1, from 0 to 65535 in uint16, or in colour.
        axis: as for `find_axis`.
    """
    if count < 1:
        raise InputError(f"a montage has at least 1 slice, not {count}")
    first = volumes[0]
    axis = find_axis(first, axis)
    stacks = [slices(volume.values, first.affine, axis) for volume in volumes]
    many = len(stacks[0])
    # The middles of `count` equal parts, so that neither end, which is often empty, is shown.
    shown = np.unique(np.floor((np.arange(count) + 0.5) * many / count).astype(int))
    row, column = (first.spacing[index] for index in rows_and_columns(first.affine, axis))
    height, width = stacks[0].shape[1:3]
    unit = min(row, column)
    across, down = (min(spacing / unit, LONGEST) for spacing in (column, row))
    size = max(1, round(width * across)), max(1, round(height * down))
    lines = [np.concatenate([_tile(stack[k], size) for k in shown], 1) for stack in stacks]
    write_drawing(path, Image.fromarray(np.concatenate(lines, 0)))


def _tile(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 of that width and height, with a black border to the right and below."""
    top = 65535 if plane.dtype == np.uint16 else 1
    plane = np.rint(np.clip(plane / top, 0, 1) * 255).astype(np.uint8)
    if plane.ndim == 2:
        plane = np.repeat(plane[..., None], 3, -1)
    image = Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)
    return np.pad(np.asarray(image), ((0, GAP), (0, GAP), (0, 0)))
