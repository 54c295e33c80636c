"""Finds by how much the sensor's values must be turned to match their rendering.

When users turn a portrait upright, the program turns the rendering, but not the sensor's values.
Whatever the palette, the colours of a rendering depend on temperature: if both have the same
orientation, the mean colour at a temperature predicts the colour of each pixel well.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ddfm.imaging.thermal.renderings import explained_by

__all__ = ["quarter_turns"]

BINS = 24  # bins of temperature
CLEARLY = 0.2  # how much more of the colours' variance must be explained upside down, to turn


def quarter_turns(values: np.ndarray, rendering: Image.Image) -> int:
    """How many anticlockwise quarter turns bring values (H, W) into the rendering's orientation.

    If both are landscapes or both portraits, they are assumed to match, unless turning the values
    upside down explains clearly more of the colours.
    """
    (tall, wide), (broad, high) = values.shape, rendering.size
    if (tall - wide) * (high - broad) < 0:
        return max((1, 3), key=lambda turns: _explained(np.rot90(values, turns), rendering))
    upright, upside_down = (_explained(np.rot90(values, k), rendering) for k in (0, 2))
    return 2 if upside_down > upright + CLEARLY else 0


def _explained(values: np.ndarray, rendering: Image.Image) -> float:
    """The share of the variance of the rendering's colours that the values explain."""
    size = values.shape[1], values.shape[0]
    colors = np.asarray(rendering.convert("RGB").resize(size, Image.Resampling.BOX), np.float64)
    colors = colors.reshape(-1, 3) - colors.mean(axis=(0, 1))
    return explained_by(values.ravel(), colors, BINS) / max(float((colors**2).sum()), 1e-9)
