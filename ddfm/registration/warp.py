"""Resamples a picture on the grid of another one, with a mask of what it covers.

`ddfm.registration.gaps` fills what is outside of the picture's frame.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from ddfm.imaging.picture import Picture
from ddfm.registration.field import spread_out
from ddfm.registration.transform import Size, Transform

__all__ = ["common_box", "warped", "warped_plane"]

BAND = 2**18  # pixels that are processed at a time, to limit memory
EDGE = 2e-4  # tolerance, in half pixels, for points on the outer edge of border pixels


def warped(picture: Picture, transform: Transform) -> tuple[Picture, np.ndarray]:
    """The picture on the grid of the fixed one, and a mask (H, W) of what its frame covers."""
    transform = transform.at(picture.size, transform.fixed)
    everywhere = np.ones(transform.fixed, bool)
    if transform.moves < 1e-6 and picture.size == transform.fixed:
        return picture, everywhere
    extra = [plane for plane in (picture.alpha, picture.mask) if plane is not None]
    planes = np.concatenate([picture.pixels, *(plane[..., None] for plane in extra)], axis=2)
    x = torch.from_numpy(np.ascontiguousarray(planes, np.float32)).permute(2, 0, 1)
    t = transform
    moved, inside = warped_plane(x, t.matrix, t.fixed, mode="bicubic", field=t.field)
    array = moved.clamp(0, 1).permute(1, 2, 0).numpy()
    channels = picture.samples.shape[2]
    alpha = None if picture.alpha is None else array[..., channels] * inside.numpy()
    mask = None if picture.mask is None else (array[..., -1] > 0.99) & inside.numpy()
    return replace(picture, samples=array[..., :channels], alpha=alpha, mask=mask), inside.numpy()


def warped_plane(
    planes: torch.Tensor,
    matrix: np.ndarray,
    fixed: Size,
    mode: str = "bilinear",
    field: np.ndarray | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Planes (C, h, w) on a grid of size `fixed`, and a mask (H, W) of what they cover.

    A field displaces points after the matrix. If planes become smaller, they are smoothed first to
    prevent aliasing.
    """
    h, w = planes.shape[-2:]
    back = np.linalg.inv(matrix)
    centre = np.array([(fixed[1] - 1) / 2, (fixed[0] - 1) / 2, 1.0])
    depth = back[2] @ centre
    # The Jacobian at the centre: steps in the moving picture for one pixel of the fixed one.
    jacobian = (back[:2, :2] - np.outer(back[:2] @ centre / depth, back[2, :2])) / depth
    sigma = np.clip((np.linalg.norm(jacobian, axis=1) - 1) / 2, 0, max(h, w) / 4)
    if sigma.max() > 0.05:
        smooth = ndimage.gaussian_filter(planes.numpy(), (0, sigma[1], sigma[0]), mode="nearest")
        planes = torch.from_numpy(smooth)
    moved = planes.new_empty(len(planes), *fixed)
    inside = torch.empty(fixed, dtype=torch.bool)
    rows = max(1, BAND // fixed[1])
    middle = np.array([[1, 0, (1 - w) / 2], [0, 1, (1 - h) / 2], [0, 0, 1]])
    for top in range(0, fixed[0], rows):
        part = slice(top, min(top + rows, fixed[0]))
        u, v = _places(middle @ back, part, fixed, field)
        grid = torch.empty(*u.shape, 2, dtype=planes.dtype)
        grid[..., 0], grid[..., 1] = u.mul_(2 / w), v.mul_(2 / h)
        inside[part] = (u.abs() <= 1 + EDGE / w) & (v.abs() <= 1 + EDGE / h)
        moved[:, part] = F.grid_sample(
            planes[None], grid[None], mode=mode, padding_mode="border", align_corners=False
        )[0]
    return moved, inside


def _places(
    back: np.ndarray, part: slice, fixed: Size, field: np.ndarray | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions in the moving picture, from its middle, of the pixels of some fixed rows."""
    y = torch.arange(part.start, part.stop).double()[:, None]
    x = torch.arange(fixed[1]).double()[None, :]
    if field is not None:
        moves = torch.from_numpy(spread_out(field, fixed, part))
        x, y = x + moves[..., 0], y + moves[..., 1]
    u, v = (row[0] * x + (row[1] * y + row[2]) for row in back[:2])
    if back[2, :2].any():
        z = back[2, 0] * x + (back[2, 1] * y + back[2, 2])
        return u / z, v / z
    return u / back[2, 2], v / back[2, 2]


def common_box(insides: list[np.ndarray]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the largest upright rectangle within all masks (H, W)."""
    seen = np.logical_and.reduce(insides)
    height, best, box = np.zeros(seen.shape[1], int), 0, (0, 0, 0, 0)
    for row, line in enumerate(seen):
        height = np.where(line, height + 1, 0)
        # Starts of runs of columns with equal height, and the end.
        starts = np.r_[0, np.flatnonzero(np.diff(height)) + 1, len(height)].tolist()
        bars = np.r_[height, 0][starts].tolist()
        stack: list[tuple[int, int]] = []  # (left, height) of growing height, as in a histogram
        for column, here in zip(starts, bars, strict=True):
            left = column
            while stack and stack[-1][1] >= here:
                left, tall = stack.pop()
                if tall * (column - left) > best:
                    best = tall * (column - left)
                    box = (row + 1 - tall, row + 1, left, column)
            stack.append((left, here))
    return box
