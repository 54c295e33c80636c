"""Converts luminance between levels in [0, 1] and (perhaps padded) planes in [-1, 1]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["levels_of", "plane", "within"]


def plane(levels: np.ndarray) -> Tensor:
    """Levels (H, W) in [0, 1] as a plane (1, 1, H, W) in [-1, 1]."""
    return torch.from_numpy(2 * np.ascontiguousarray(levels, np.float32) - 1)[None, None]


def levels_of(x: Tensor) -> Tensor:
    """A plane in [-1, 1] as levels in [0, 1], clipped."""
    return ((x + 1) / 2).clamp(0, 1)


def within(x: Tensor, size: tuple[int, int]) -> Tensor:
    """x without its padding."""
    height, width = size
    return x[..., :height, :width]
