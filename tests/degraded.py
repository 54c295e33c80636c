"""The example pictures in grey, whose degraded copies are restored in tests."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from ddfm import Fuser, Observation
from places import EXAMPLES


def example(name: str) -> np.ndarray:
    """Levels from 0 to 255; sides are multiples of 8."""
    plane = np.asarray(Image.open(EXAMPLES / f"{name}.png").convert("L"))
    h, w = (n // 8 * 8 for n in plane.shape)
    return plane[:h, :w]


INFRARED, VISIBLE = example("olinda_infrared"), example("olinda_visible")


def slice_in_black(name: str) -> np.ndarray:
    """A slice as in data sets: black around the head."""
    plane = np.asarray(Image.open(EXAMPLES / f"brain_{name}.png").convert("L"))
    return np.where(ndimage.uniform_filter(plane.astype(float), 9) > 25, plane, 0).astype(np.uint8)


def latent(fuser: Fuser, first: np.ndarray, given: Observation | None = None) -> np.ndarray:
    """The levels of a source after its restoration."""
    fusion = fuser.with_config(observations=[given, None])(first, VISIBLE)
    return 255 * fusion.sources[0].pixels[..., 0]
