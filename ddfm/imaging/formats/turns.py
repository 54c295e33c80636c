"""How the picture of a sensor must be turned to stand as its rendering does.

Those who turn a portrait upright turn the rendering that they see, and the values of the sensor
stay on their side. Colours of a rendering follow the temperatures, whatever the palette: where both
lie on each other, the mean colour at a temperature says most of the colour at each pixel.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ddfm.imaging.renderings import explained_by

__all__ = ["quarter_turns"]

BINS = 24  # of temperatures
CLEARLY = 0.2  # of the variance of colours: by how much another turn must explain more


def quarter_turns(values: np.ndarray, rendering: Image.Image) -> int:
    """How many quarter turns, against the clock, bring values (H, W) to lie as the rendering.

    Where both are landscapes, or both portraits, they lie on each other or are upside down; the
    latter is to be seen clearly.
    """
    (tall, wide), (broad, high) = values.shape, rendering.size
    if (tall - wide) * (high - broad) < 0:
        return max((1, 3), key=lambda turns: _explained(np.rot90(values, turns), rendering))
    upright, upside_down = (_explained(np.rot90(values, k), rendering) for k in (0, 2))
    return 2 if upside_down > upright + CLEARLY else 0


def _explained(values: np.ndarray, rendering: Image.Image) -> float:
    """The share of the variance of colours that temperatures explain."""
    size = values.shape[1], values.shape[0]
    colors = np.asarray(rendering.convert("RGB").resize(size, Image.Resampling.BOX), np.float64)
    colors = colors.reshape(-1, 3) - colors.mean(axis=(0, 1))
    return explained_by(values.ravel(), colors, BINS) / max(float((colors**2).sum()), 1e-9)
