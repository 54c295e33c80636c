"""Regular patterns, as no photograph shows them: screens, halftones, test charts, rows of a sensor.

A network without normalisation that never saw a checkerboard of single pixels may answer one with
values a hundred times as large as any level.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["with_pattern"]

LONGEST = 8  # pixels of a period
FAINTEST = 0.02  # amplitude on a picture in [-1, 1]


def with_pattern(rng: np.random.Generator, picture: Tensor) -> Tensor:
    """A pattern in [-1, 1] of the shape of a picture (1, H, W), alone or added to the picture."""
    tile = torch.from_numpy(_pattern(rng, *picture.shape[1:])).to(picture)[None]
    amplitude = FAINTEST ** rng.random()
    ground = picture if rng.random() < 0.5 else rng.uniform(amplitude - 1, 1 - amplitude)
    return (ground + amplitude * tile).clamp(-1, 1)


def _pattern(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A checkerboard, stripes in one of four directions, a repeated tile, or dots; in [-1, 1]."""
    rows, columns = np.indices((height, width))
    period = rng.integers(1, LONGEST, endpoint=True)
    kind = rng.integers(4)
    if kind == 0:
        return 2.0 * ((rows // period + columns // period) % 2) - 1
    if kind == 1:
        along = (rows, columns, rows + columns, rows - columns)[rng.integers(4)]
        return 2.0 * (along // period % 2) - 1
    if kind == 2:
        tile = rng.uniform(-1, 1, rng.integers(1, LONGEST, 2, endpoint=True))
        tile = np.sign(tile) if rng.random() < 0.5 else tile
        return tile[rows % tile.shape[0], columns % tile.shape[1]]
    return 2.0 * (rng.random((height, width)) < rng.random()) - 1
