"""Sums, means and maxima of images, and Gaussian smoothing with mirrored borders."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.numerics.exporting import modulo

__all__ = [
    "largest_within",
    "mirrored_places",
    "per_image_mean",
    "per_image_sum",
    "reach_of",
    "shares_of",
    "smooth",
]


def per_image_mean(x: Tensor) -> Tensor:
    """The mean of each image, (B, C, H, W) -> (B, 1, 1, 1)."""
    return per_image_sum(x) / x[0].numel()


def per_image_sum(x: Tensor) -> Tensor:
    """The sum of each image, (B, C, H, W) -> (B, 1, 1, 1), with the same bits for any threads.

    It is computed row by row. One large sum would be split among the threads, and its rounding
    would depend on their number; each of many small sums is computed by a single thread.
    """
    return x.sum(-1, keepdim=True).sum(-2, keepdim=True).sum(1, keepdim=True)


def shares_of(x: Tensor) -> Tensor:
    """The softmax over dimension 1, with the same bits for any number of threads.

    PyTorch's softmax rounds exponentials differently for the last pixels of each thread.
    """
    weights = (x - x.amax(dim=1, keepdim=True)).exp()
    return weights / weights.sum(dim=1, keepdim=True)


def reach_of(sigma: float) -> int:
    """How many pixels on each side `smooth` takes into account."""
    return max(1, math.ceil(3 * sigma))


def smooth(x: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing of (..., H, W); a symmetric operator, <y, smooth x> = <smooth y, x>."""
    reach = reach_of(sigma)
    taps = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-reach, reach + 1)]
    for dim in (-2, -1):
        wide, size = _mirrored(x, reach, dim), x.shape[dim]
        # With few taps, adding shifted images is many times faster than a convolution.
        x = wide.narrow(dim, 0, size) * (taps[0] / sum(taps))
        for k in range(1, len(taps)):
            x.add_(wide.narrow(dim, k, size), alpha=taps[k] / sum(taps))
    return x


def largest_within(x: Tensor, reach: int) -> Tensor:
    """The largest value in a square around each pixel of (B, C, H, W); x must not be negative.

    The square has 2 reach + 1 pixels a side.
    """
    sizes, x = x.shape[-2:], F.pad(x, (reach,) * 4)
    for dim in (-2, -1):
        wide = x
        # Maxima of shifted images are many times faster than pooling.
        x = wide.narrow(dim, 0, sizes[dim])
        for k in range(1, 2 * reach + 1):
            x = torch.maximum(x, wide.narrow(dim, k, sizes[dim]))
    return x


def _mirrored(x: Tensor, reach: int, dim: int) -> Tensor:
    """x, continued on both sides by reflection; the outermost pixel is repeated."""
    places = mirrored_places(x.shape[dim], reach).to(x.device)
    before, after = places[:reach], places[-reach:]
    return torch.cat([x.index_select(dim, before), x, x.index_select(dim, after)], dim)


def mirrored_places(size: int, reach: int) -> Tensor:
    """Indices of the pixels at positions -reach to size + reach - 1 of a mirrored line."""
    places = modulo(torch.arange(-reach, size + reach), 2 * size)
    return torch.minimum(places, 2 * size - 1 - places)
