"""Fills the gaps of a picture: beyond its frame, in margins, and where data are missing.

`filled` continues the picture there by another one plus a smooth offset. Then both have the same
gradients in the gap, and no rim is visible where the frame ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from ddfm.imaging.inherited import in_color
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import grey

__all__ = ["bridged", "filled", "gaussian_mean", "with_gaps_filled"]

CLOSE = 4.0  # pixels beyond the frame over which the offset at its border decays
FINE = 16.0  # pixels; wider Gaussian means are computed at a reduced size


def with_gaps_filled(pictures: Sequence[Picture], reference: int) -> tuple[Picture, ...]:
    """The pictures, with gaps filled by the gradients of another picture, at their own levels.

    The other picture is the reference. Where that has a gap, or is itself the one to be filled, it
    is the mean of all pictures that are valid. Where no other picture is valid, nothing changes.
    """
    if all(picture.mask is None for picture in pictures):
        return tuple(pictures)
    masks = np.stack([picture.valid for picture in pictures])
    colors = all(picture.is_color for picture in pictures)
    planes = np.stack([p.pixels if colors else grey(p)[..., None] for p in pictures])
    done = []
    for k, picture in enumerate(pictures):
        used = masks.copy()  # the pixels of the others that fill the gaps of this one
        used[k] = False
        if k != reference:
            used[:, masks[reference]] = False
            used[reference] = masks[reference]
        count = used.sum(axis=0)[..., None]
        others = (planes * used[..., None]).sum(axis=0) / np.maximum(count, 1)
        seen = count[..., 0] > 0
        done.append(filled(picture, masks[k] | ~seen, others.astype(np.float32), masks[k] & seen))
    return tuple(done)


def bridged(picture: Picture) -> Picture:
    """The picture with smooth levels in its gaps, so that no edge there affects the alignment."""
    if picture.mask is None:
        return picture
    return filled(picture, picture.mask, np.zeros(picture.size, np.float32))


def filled(
    picture: Picture, inside: np.ndarray, other: np.ndarray, shared: np.ndarray | None = None
) -> Picture:
    """The picture, continued outside of its frame by another one plus an offset.

    At the border of the frame, the offset is the difference between both pictures there, so that no
    new step appears. A few pixels outside it is a smooth mean of these differences, and farther
    away it approaches their overall mean, like a membrane. Chroma is scaled with the levels, so
    that clipping changes no hue.

    Args:
        inside: the frame, (H, W).
        other: the other picture, (H, W) or (H, W, C). If it is grey, colour ends with the frame.
        shared: where both are known and can be compared, (H, W); None for all of `inside`.
    """
    if inside.all() or not inside.any():
        return picture
    other = other.reshape(*inside.shape, -1)
    difference = grey(picture) - grey(Picture(other))
    offset = _continued(difference, inside if shared is None else shared)
    levels = grey(Picture(np.clip(other + offset[..., None], 0, 1)))
    outside = in_color(levels, [Picture(other)], shares=_alone).pixels
    pixels = np.where(inside[..., None], picture.pixels, outside)
    return replace(picture, samples=pixels.astype(np.float32))


def _alone(rows: slice) -> torch.Tensor:
    """The share of a picture that is the only one: its chroma follows the levels."""
    return torch.ones(1, 1, 1, dtype=torch.float32)


def _continued(difference: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The difference at the nearest known pixel, farther away like a membrane; 0 if none is."""
    if not known.any():
        return np.zeros_like(difference)
    distance, nearest = ndimage.distance_transform_edt(~known, return_indices=True)
    near = np.exp((1 - distance) / CLOSE)
    return near * difference[tuple(nearest)] + (1 - near) * _membrane(difference, known)


def _membrane(difference: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The difference, continued smoothly beyond `inside` by Gaussian means of growing width."""
    known = ndimage.binary_erosion(inside, iterations=2, border_value=1)
    known = known if known.any() else inside
    mean = float(difference[known].mean())
    total = np.full(inside.shape, 1e-6)
    value = np.full(inside.shape, mean * 1e-6)
    sigma = 2.0
    while sigma < max(inside.shape):
        weight = gaussian_mean(known.astype(np.float64), sigma)
        part = gaussian_mean(np.where(known, difference, 0.0), sigma)
        share = sigma**-3.0  # near pixels take precedence over far ones
        value, total = value + share * part, total + share * weight
        sigma *= 2
    return value / total


def gaussian_mean(plane: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian mean; wide ones are computed at a smaller size, which is ten times faster."""
    step = max(1, int(sigma / FINE))
    height, width = plane.shape
    whole = np.pad(plane, ((0, -height % step), (0, -width % step)), mode="edge")
    small = whole.reshape(len(whole) // step, step, -1, step).mean(axis=(1, 3))
    small = ndimage.gaussian_filter(small, sigma / step, mode="nearest")
    if step == 1:
        return small
    wide = F.interpolate(torch.from_numpy(small)[None, None], scale_factor=step, mode="bilinear")
    return wide[0, 0, :height, :width].numpy()
