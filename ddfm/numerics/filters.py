"""Means of images, and Gaussian smoothing over a few pixels, with borders repeated."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["per_image_mean", "smooth"]


def per_image_mean(x: Tensor) -> Tensor:
    """(B, 1, H, W) -> (B, 1, 1, 1)."""
    return x.mean(dim=(1, 2, 3), keepdim=True)


def smooth(x: Tensor, sigma: float) -> Tensor:
    """(B, C, H, W), each channel on its own, by two one-dimensional convolutions."""
    reach = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    taps = torch.exp(-(offsets**2) / (2 * sigma**2))
    taps = taps / taps.sum()
    flat = x.reshape(-1, 1, *x.shape[-2:])
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), taps.view(1, 1, 1, -1))
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="replicate"), taps.view(1, 1, -1, 1))
    return flat.view(x.shape)
