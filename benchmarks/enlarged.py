"""The example pair at any size: big pictures for the other benchmarks."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

__all__ = ["enlarged_pair", "size_of"]

DATA = Path(__file__).parents[1] / "examples" / "data"


def enlarged_pair(size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """Infrared (grey) and visible (colour), (width, height): the scene's middle, enlarged."""
    files = DATA / "olinda_infrared.png", DATA / "olinda_visible.png"
    infrared, visible = (
        ImageOps.fit(Image.open(file), size, Image.Resampling.BICUBIC) for file in files
    )
    return infrared, visible


def size_of(text: str) -> tuple[int, int]:
    """(width, height) of "640x480"."""
    width, height = map(int, text.lower().split("x"))
    return width, height
