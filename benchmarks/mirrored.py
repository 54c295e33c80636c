"""The example pair at any size, with noise if wanted: pictures for the other benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["mirrored_pair", "size_of", "with_noise"]

DATA = Path(__file__).parents[1] / "examples" / "data"


def mirrored_pair(size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """Infrared (grey) and visible (colour), (width, height): the scene and its mirror images.

    Its pixels are unchanged: an enlargement would be detected, and undone before the fusion.
    """
    files = DATA / "olinda_infrared.png", DATA / "olinda_visible.png"
    infrared, visible = (_mirrored(np.asarray(Image.open(file)), size) for file in files)
    return infrared, visible


def _mirrored(pixels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    width, height = size
    h, w = pixels.shape[:2]
    around = [(0, max(0, height - h)), (0, max(0, width - w))] + [(0, 0)] * (pixels.ndim - 2)
    return Image.fromarray(np.pad(pixels, around, mode="symmetric")[:height, :width])


def with_noise(image: Image.Image, sigma: float, seed: int) -> Image.Image:
    """The image with Gaussian noise of this many grey levels."""
    pixels = np.asarray(image, float)
    noisy = pixels + sigma * np.random.default_rng(seed).standard_normal(pixels.shape)
    return Image.fromarray(np.rint(np.clip(noisy, 0, 255)).astype(np.uint8))


def size_of(text: str) -> tuple[int, int]:
    """(width, height) of "640x480"."""
    width, height = map(int, text.lower().split("x"))
    return width, height
