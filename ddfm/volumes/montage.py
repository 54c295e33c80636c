"""Draws slices of volumes side by side, as an image to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from PIL import Image, ImageDraw

from ddfm.errors import InputError
from ddfm.imaging.drawing import font_of, scale_bar
from ddfm.imaging.picture import in_rgb
from ddfm.imaging.writing import write_drawing
from ddfm.volumes.volume import Volume, find_axis, rows_and_columns, slices

__all__ = ["montage"]

GAP = 2  # pixels of black between slices
LEAST_LETTERS, LEAST_BAR = 48, 64  # least side of a slice, in pixels, for letters and for a scale
Scale = tuple[float, float, str | None]
LONGEST = 50  # largest ratio of sides at which a voxel is drawn


def montage(
    volumes: Sequence[Volume],
    path: str | os.PathLike[str],
    *,
    axis: int | str | None = None,
    count: int = 8,
    scales: Sequence[Scale | None] = (),
) -> None:
    """Write an image with a row for each volume, of evenly spaced slices in true proportions.

    Slices are labelled with their number in the file, from 0, and with letters for the sides of the
    patient: R and L, or in sagittal slices A (front) and P (back). Slices that are too small have
    no labels.

    Args:
        volumes: on one grid, with values from 0 to 1, from 0 to 65535 in uint16, or in colour.
        path: the image to write.
        axis: as for `find_axis`.
        count: the most slices in a row.
        scales: for each volume, the values at black and white and the colour map, to be shown as
            a bar with numbers next to its row; None for no bar.
    """
    if count < 1:
        raise InputError(f"a montage has at least 1 slice, not {count}")
    first = volumes[0]
    axis = find_axis(first, axis)
    stacks = [slices(volume.values, first.affine, axis) for volume in volumes]
    many = len(stacks[0])
    # The middles of `count` equal parts, since the ends are often empty.
    shown = np.unique(np.floor((np.arange(count) + 0.5) * many / count).astype(int))
    row, column = (first.spacing[index] for index in rows_and_columns(first.affine, axis))
    height, width = stacks[0].shape[1:3]
    unit = min(row, column)
    across, down = (min(spacing / unit, LONGEST) for spacing in (column, row))
    size = max(1, round(width * across)), max(1, round(height * down))
    numbers, sides = _numbers(first, axis), _sides(first, axis)
    lines = []
    for stack, of_row in zip_longest(stacks, scales):
        tiles = [_lettered(_tile(stack[k], size), str(numbers[k]), sides) for k in shown]
        line = np.concatenate(tiles, 1)
        if of_row is not None and line.shape[0] >= LEAST_BAR:
            low, high, colormap = of_row
            line = np.concatenate([line, scale_bar(line.shape[0], (low, high), colormap)], 1)
        lines.append(line)
    widest = max(line.shape[1] for line in lines)
    sheet = [np.pad(line, ((0, 0), (0, widest - line.shape[1]), (0, 0))) for line in lines]
    write_drawing(path, Image.fromarray(np.concatenate(sheet, 0)))


def _numbers(volume: Volume, axis: int) -> list[int]:
    """The numbers in the file of the slices, in the order in which they are shown."""
    shape = [1, 1, 1]
    shape[axis] = volume.shape[axis]
    counted = np.broadcast_to(np.arange(volume.shape[axis]).reshape(shape), volume.shape)
    return [int(number) for number in slices(counted, volume.affine, axis)[:, 0, 0]]


def _sides(volume: Volume, axis: int) -> tuple[str, str]:
    """The letters for the left and the right side of a slice."""
    _, column = rows_and_columns(volume.affine, axis)
    return ("R", "L") if find_axis(volume, "sagittal") == column else ("A", "P")


def _lettered(tile: np.ndarray, number: str, sides: tuple[str, str]) -> np.ndarray:
    height, width = tile.shape[0] - GAP, tile.shape[1] - GAP
    if min(height, width) < LEAST_LETTERS:
        return tile
    image = Image.fromarray(tile)
    draw = ImageDraw.Draw(image)
    letters = font_of(max(14, min(height, width) / 10))
    places = ((number, (width / 2, 2), "ma"), (sides[0], (2, height / 2), "lm"))
    for text, place, anchor in (*places, (sides[1], (width - 2, height / 2), "rm")):
        draw.text(
            place,
            text,
            fill="white",
            font=letters,
            anchor=anchor,
            stroke_width=1,
            stroke_fill="black",
        )
    return np.asarray(image)


def _tile(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A slice, (H, W, 3) uint8 of this width and height plus a black border right and below."""
    top = 65535 if plane.dtype == np.uint16 else 1
    plane = np.rint(np.clip(plane / top, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(in_rgb(plane)).resize(size, Image.Resampling.BILINEAR)
    return np.pad(np.asarray(image), ((0, GAP), (0, GAP), (0, 0)))
