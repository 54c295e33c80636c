"""Tells renderings of temperatures in false colours from photographs.

A thermal camera gives pictures in the colours of a palette, often with a logo
and numbers in it. Its colours say nothing of the scene, and beside a photograph two pictures in
colour would be taken for exposures. What tells it: colours are strong, and go by the brightness,
since both go by the temperature; and they are not those of the photograph.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ddfm.errors import DdfmWarning
from ddfm.imaging.picture import LUMA, Picture

__all__ = ["explained_by", "in_false_colors", "without_false_colors"]

STRONG = 0.18  # deviation of chroma; of 106 photographs none had more than 0.14
EXPLAINED = 0.6  # share of the variance of chroma that brightness explains
ALIKE = 0.5  # correlation of the chroma of two pictures of one scene
BINS, LOOK, FIELDS = 32, 160, 24  # of brightness; pixels a side; fields a side


def without_false_colors(pictures: Sequence[Picture]) -> tuple[Picture, ...]:
    """The pictures; one in false colours beside photographs only is made grey, with a warning."""
    pictures = tuple(pictures)
    if len(pictures) < 2 or not all(p.is_color for p in pictures):
        return pictures
    found = [k for k, p in enumerate(pictures) if in_false_colors(p)]
    if len(found) != 1:
        return pictures
    (k,) = found
    rendering = pictures[k]
    if any(_alike(rendering, p) for p in pictures if p is not rendering):
        return pictures
    warnings.warn(
        f"{rendering.name} seems to be temperatures in false colours, and is fused in grey; the "
        "camera's radiometric file, or white-hot grey without a logo, makes a better picture",
        DdfmWarning,
        stacklevel=3,
    )
    grey = (rendering.pixels @ np.asarray(LUMA, np.float32))[..., None]
    return (*pictures[:k], replace(rendering, samples=grey, icc=None), *pictures[k + 1 :])


def in_false_colors(picture: Picture) -> bool:
    """Whether a picture has the strong colours of a palette, which go by its brightness."""
    if not picture.is_color:
        return False
    step = -(-max(picture.size) // LOOK)
    luma, chroma = _luma_and_chroma(picture.pixels[::step, ::step].reshape(-1, 3))
    chroma = chroma - chroma.mean(axis=0)
    total = float((chroma**2).sum())
    if np.sqrt(total / len(luma)) < STRONG:
        return False
    return explained_by(luma, chroma, BINS) > EXPLAINED * total


def explained_by(levels: np.ndarray, values: np.ndarray, count: int) -> float:
    """The share of the variance of values (N, C) that so many bins of the levels (N) explain.

    The values have none.
    """
    bins = np.digitize(levels, np.quantile(levels, np.linspace(0, 1, count + 1)[1:-1]))
    sizes = np.maximum(np.bincount(bins, minlength=count), 1)
    return sum(float((np.bincount(bins, v, count) ** 2 / sizes).sum()) for v in values.T)


def _alike(one: Picture, other: Picture) -> bool:
    """Whether colours of both go together, as in exposures of one scene."""
    a, b = (_luma_and_chroma(_fields(p))[1] for p in (one, other))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    together = float((a * b).sum())
    return together > ALIKE * np.sqrt(float((a**2).sum()) * float((b**2).sum()))


def _fields(picture: Picture) -> np.ndarray:
    """Colours of some points, spread evenly, (N, 3)."""
    rows, columns = (np.linspace(0, n - 1, FIELDS).round().astype(int) for n in picture.size)
    return picture.pixels[np.ix_(rows, columns)].reshape(-1, 3)


def _luma_and_chroma(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of (N, 3): brightness (N), and blue and red beyond it (N, 2)."""
    luma = colors @ np.asarray(LUMA, np.float32)
    return luma, np.stack([colors[:, 2] - luma, colors[:, 0] - luma], axis=1)
