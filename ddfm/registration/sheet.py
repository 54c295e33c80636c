"""Draws an alignment: both pictures in a checkerboard, and edges of one on the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from ddfm.imaging.drawing import GAP, PAPER, line_height, titled
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import grey
from ddfm.imaging.writing import write_drawing
from ddfm.registration.register import motion_of
from ddfm.registration.transform import Transform
from ddfm.registration.warp import warped

__all__ = ["alignment_sheet"]

SQUARES = 12  # squares of the checkerboard along the longer side
STRONGEST = 92  # percentage of pixels that are not drawn as edges
RIM = 4  # pixels inside a frame's border in which no edges are drawn


def alignment_sheet(
    path: str | os.PathLike[str],
    fixed: Picture,
    moved: Sequence[tuple[Picture, Transform | None]],
) -> None:
    """Writes four views of each moved picture, one picture below the other, with captions.

    The checkerboard is on top and the edges are below it; before on the left, after on the right.
    A transform of None leaves a picture as it is.
    """
    views = [_views(fixed, *one) for one in moved]
    write_drawing(path, Image.fromarray(_stacked(views)))


def _views(fixed: Picture, moving: Picture, transform: Transform | None) -> np.ndarray:
    base, framed = _stretched(grey(fixed)), Transform.framed(moving.size, fixed.size)
    checkers, edges = [], []
    for step in (framed, framed if transform is None else transform):
        picture, inside = warped(moving, step)
        plane = np.where(inside, _stretched(grey(picture)), 0)
        checkers.append(np.repeat(_checkered(base, plane)[..., None], 3, 2))
        edges.append(_drawn(base, plane, inside))
    name, other = Path(moving.name).name, Path(fixed.name).name
    motion = "left as it is" if transform is None else motion_of(transform, fixed.reduced_by)
    rows = (checkers, "checkerboard of both"), (edges, f"edges of {name} in red")
    strips = [
        titled(
            [np.rint(255 * view).astype(np.uint8) for view in two],
            [f"{when}: {what}" for when in ("before", "after")],
        )
        for two, what in rows
    ]
    whole = _stacked([np.asarray(strip) for strip in strips])
    for heading in (motion, f"{name} on {other}"):  # the second stands above the first
        whole = np.asarray(titled([whole], [heading], line_height(base.shape[1])))
    return whole


def _stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Parts (H, W, 3) of one width, one below the other, with a gap between them."""
    gap = np.broadcast_to(np.array(PAPER, np.uint8), (GAP, *parts[0].shape[1:]))
    return np.concatenate([row for part in parts for row in (part, gap)][:-1])


def _stretched(plane: np.ndarray) -> np.ndarray:
    low, high = np.percentile(plane, (1, 99))
    return np.clip((plane - low) / max(high - low, 1e-6), 0, 1)


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
