"""Converts luminance between levels in [0, 1] and (perhaps padded) planes in [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddfm.errors import InputError

__all__ = ["finite", "levels_of", "of_shape", "plane", "white_noise", "within"]


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


def white_noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Standard normal noise, the same for a seed whatever the default dtype and device are."""
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32, device="cpu")


def of_shape(x: Any, shape: Sequence[int], what: str) -> Tensor:
    """x, which `what` returned, a part that may be the user's own; it must have this shape."""
    if isinstance(x, Tensor) and x.shape == tuple(shape):
        return x
    found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
    raise InputError(f"{what} must return a tensor of shape {tuple(shape)}, not {found}")


def finite(x: Tensor, what: str) -> Tensor:
    """x, which `what` returned, a part that may be the user's own; it must be finite."""
    if not x.is_meta and not x.isfinite().all():  # meta tensors have no values
        raise InputError(f"{what} returned values that are not finite (NaN or infinity)")
    return x
