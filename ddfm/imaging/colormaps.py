"""False colours: maps from levels to colours whose luminance rises with the level.

So when luminances are fused, the levels behind the colours are fused, and the colours match them.
"""

from __future__ import annotations

import numpy as np

from ddfm.arguments import one_of

__all__ = ["COLORMAPS", "colored"]

# Colours at equally spaced levels from 0 to 1, linear in between; luminance rises throughout.
_ANCHORS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "hot": ((0, 0, 0), (0.33, 0, 0), (0.67, 0, 0), (1, 0, 0), (1, 0.33, 0), (1, 0.67, 0))
    + ((1, 1, 0), (1, 1, 0.5), (1, 1, 1)),
    "ember": ((0, 0, 0.02), (0.17, 0.04, 0.33), (0.42, 0.09, 0.43), (0.68, 0.18, 0.37))
    + ((0.89, 0.33, 0.2), (0.98, 0.58, 0.1), (0.96, 0.83, 0.36), (1, 1, 0.75)),
    "ice": ((0, 0, 0), (0, 0.12, 0.35), (0, 0.32, 0.68), (0.05, 0.56, 0.87), (0.4, 0.8, 0.95))
    + ((1, 1, 1),),
    "green": ((0, 0, 0), (0, 0.5, 0.1), (0.15, 0.95, 0.2), (1, 1, 1)),
    "iron": ((0, 0, 0.08), (0.2, 0, 0.5), (0.55, 0, 0.6), (0.82, 0.15, 0.4), (0.95, 0.42, 0.1))
    + ((1, 0.68, 0), (1, 0.9, 0.35), (1, 1, 0.9)),
}
COLORMAPS = tuple(_ANCHORS)


def colored(values: np.ndarray, colormap: str) -> np.ndarray:
    """Colours, (..., 3) as float32, of values from 0 to 1 in a colour map."""
    one_of("colour map", colormap, COLORMAPS)
    anchors = np.array(_ANCHORS[colormap], np.float32)
    places = np.linspace(0, 1, len(anchors))
    colors = np.empty((*values.shape, 3), np.float32)
    for channel in range(3):
        colors[..., channel] = np.interp(values, places, anchors[:, channel])
    return colors
