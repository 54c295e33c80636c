"""Means of images, and Gaussian smoothing over a few pixels, with mirrored borders."""

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
    """(B, C, H, W) -> (B, 1, 1, 1)."""
    return per_image_sum(x) / x[0].numel()


def per_image_sum(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, 1, 1), the same bits for any number of threads.

    Row by row, since one large sum is split among the threads, and its rounding then depends on
    their number, while each of many small sums is computed by one thread.
    """
    return x.sum(-1, keepdim=True).sum(-2, keepdim=True).sum(1, keepdim=True)


def shares_of(x: Tensor) -> Tensor:
    """The softmax over dimension 1, the same bits for any number of threads.

    PyTorch's own softmax rounds exponentials in another way for the last pixels of each thread.
    """
    weights = (x - x.amax(dim=1, keepdim=True)).exp()
    return weights / weights.sum(dim=1, keepdim=True)


def reach_of(sigma: float) -> int:
    """How many pixels away `smooth` looks on each side."""
    return max(1, math.ceil(3 * sigma))


def smooth(x: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing of (..., H, W). A symmetric operator: <y, smooth x> = <smooth y, x>."""
    reach = reach_of(sigma)
    taps = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-reach, reach + 1)]
    for dim in (-2, -1):
        wide, size = _mirrored(x, reach, dim), x.shape[dim]
        # For a few taps, sums of shifted images are many times faster than a convolution.
        x = wide.narrow(dim, 0, size) * (taps[0] / sum(taps))
        for k in range(1, len(taps)):
            x.add_(wide.narrow(dim, k, size), alpha=taps[k] / sum(taps))
    return x


def largest_within(x: Tensor, reach: int) -> Tensor:
    """The largest value in a square around each pixel of (B, C, H, W), none of it negative."""
    sizes, x = x.shape[-2:], F.pad(x, (reach,) * 4)
    for dim in (-2, -1):
        wide = x
        # Maxima of shifted images are many times faster than pooling.
        x = wide.narrow(dim, 0, sizes[dim])
        for k in range(1, 2 * reach + 1):
            x = torch.maximum(x, wide.narrow(dim, k, sizes[dim]))
    return x


def _mirrored(x: Tensor, reach: int, dim: int) -> Tensor:
    """Continued on both sides as in a mirror at the border, the last pixel twice."""
    places = mirrored_places(x.shape[dim], reach).to(x.device)
    before, after = places[:reach], places[-reach:]
    return torch.cat([x.index_select(dim, before), x, x.index_select(dim, after)], dim)


def mirrored_places(size: int, reach: int) -> Tensor:
    """Which of `size` pixels stand at -reach to size + reach - 1."""
    places = modulo(torch.arange(-reach, size + reach), 2 * size)
    return torch.minimum(places, 2 * size - 1 - places)
