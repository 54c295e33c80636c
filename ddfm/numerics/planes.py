"""Luminance as planes (B, 1, H, W) in about [-1, 1], perhaps padded, and as levels in [0, 1]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["levels_of", "plane", "within"]


def plane(levels: np.ndarray) -> Tensor:
    """(H, W) in [0, 1] as (1, 1, H, W) in [-1, 1]."""
    return torch.from_numpy(2 * np.ascontiguousarray(levels, np.float32) - 1)[None, None]


def levels_of(x: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1], clipped."""
    return ((x + 1) / 2).clamp(0, 1)


def within(x: Tensor, size: tuple[int, int]) -> Tensor:
    """x without its padding."""
    height, width = size
    return x[..., :height, :width]
