"""Registered pictures, made one size where asked, and their colours given to what they fuse to.

The rules of colour: luminance is fused. The chroma comes from whichever source has any; weighted by
saturation at each pixel, where several are in colour; from none where all are grey. Chroma that the
fused luminance leaves no room for is drawn towards grey.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ddfm.errors import DdfmError, short
from ddfm.imaging.choices import RESIZES, check_color, check_resize
from ddfm.imaging.color import fuse_chroma, limit_chroma, luminance, rgb_to_ycbcr, ycbcr_to_rgb
from ddfm.imaging.files import read_image
from ddfm.imaging.picture import Picture

__all__ = ["grey", "in_color", "read_sources"]


def read_sources(sources: Sequence[Any], resize: str = "error") -> tuple[Picture, ...]:
    """Pictures of one size, from whatever `read_image` takes.

    Args:
        resize: what to do where sizes differ: "error", or bring all to the size of the first
            ("a") or of the second ("b").
    """
    check_resize(resize)
    if not isinstance(sources, list | tuple):
        raise DdfmError(f"what is fused is a tuple of images, not {short(sources)}")
    if len(sources) < 2:
        raise DdfmError(f"two or more images are needed to fuse, not {len(sources)}")
    names = ["the first image", "the second image"]
    names += [f"image {k}" for k in range(3, len(sources) + 1)]
    pictures = tuple(map(_read, sources, names))
    if resize != "error":
        size = pictures[RESIZES.index(resize) - 1].size
        return tuple(p if p.size == size else _resized(p, size) for p in pictures)
    first = pictures[0]
    for other in pictures[1:]:
        if other.size != first.size:
            (h, w), (h2, w2) = first.size, other.size
            raise DdfmError(
                f"{first.name} has {w} x {h} pixels and {other.name} {w2} x {h2}; if they show the "
                "same scene to the same borders, resize=a (--resize a) brings all to the size of "
                "the first, b to that of the second"
            )
    return pictures


def grey(picture: Picture) -> np.ndarray:
    """Luminance of a picture, (H, W) in [0, 1]."""
    return luminance(_tensor(picture.pixels))[0, 0].numpy()


def in_color(fused: np.ndarray, pictures: Sequence[Picture], color: str = "auto") -> Picture:
    """Fused luminance (H, W) in [0, 1] with the chroma of the pictures, a picture like them.

    It is of the deepest depth among them, with the profile and the alpha of whoever gave colour.

    Args:
        color: whose chroma is kept: "auto", "a", "b", or none at all, "grey".
    """
    chosen = {"grey": (), "a": pictures[:1], "b": pictures[1:2]}.get(check_color(color), pictures)
    colored = [p for p in chosen if p.is_color]
    pixels = fused[..., None]
    if colored:
        y = 2 * _tensor(pixels) - 1
        chromas = [rgb_to_ycbcr(2 * _tensor(p.pixels) - 1)[:, 1:] for p in colored]
        cb, cr = fuse_chroma(chromas).split(1, 1)
        rgb = ycbcr_to_rgb(torch.cat([y, *limit_chroma(y, cb, cr)], 1))
        pixels = ((rgb + 1) / 2).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    return replace(_like(colored or pictures, pictures), pixels=pixels)


def _like(models: Sequence[Picture], pictures: Sequence[Picture]) -> Picture:
    """Depth, range, profile and alpha of a result that has the colour of `models`."""
    ranges = [p.range for p in pictures]
    return replace(
        models[0],
        dtype=max((p.dtype for p in pictures), key=lambda dtype: dtype.itemsize),
        # Counts beside degrees have no scale in common, nor have either beside grey levels; but
        # two sources of [-1, 1], or of 0 to 255 as floats, expect a result of that range.
        range=(min(r[0] for r in ranges), max(r[1] for r in ranges)) if all(ranges) else None,
        icc=next((p.icc for p in models if p.icc), None),
        alpha=next((p.alpha for p in [*models, *pictures] if p.alpha is not None), None),
    )


def _read(source: Any, name: str) -> Picture:
    named = isinstance(source, (str, os.PathLike)) or getattr(source, "filename", "")
    return read_image(source, name=None if named else name)


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Bicubic; what becomes smaller is smoothed first, so that no pattern appears."""

    def resized(array: np.ndarray) -> np.ndarray:
        x = F.interpolate(_tensor(array), size, mode="bicubic", antialias=True)
        return x.clamp(0, 1)[0].permute(1, 2, 0).numpy()

    alpha = picture.alpha
    return replace(
        picture,
        pixels=resized(picture.pixels),
        alpha=None if alpha is None else resized(alpha[..., None])[..., 0],
    )


def _tensor(array: np.ndarray) -> torch.Tensor:
    """(H, W, C) -> (1, C, H, W), float32."""
    return torch.from_numpy(np.asarray(array, np.float32)).permute(2, 0, 1)[None]
