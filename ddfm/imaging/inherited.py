"""What a result inherits from its sources: colour, depth and range, and the metadata of one.

The rules of colour: luminance is fused. The chroma comes from whichever source has any; weighted by
saturation at each pixel, where several are in colour; from none where all are grey. Chroma that the
fused luminance leaves no room for is drawn towards grey.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from ddfm.imaging.color import (
    as_vivid,
    fuse_chroma,
    limit_chroma,
    rgb_to_ycbcr,
    ycbcr_to_rgb,
)
from ddfm.imaging.metadata import NOTHING
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import as_tensor
from ddfm.numerics.bands import bands

__all__ = ["in_color", "with_metadata"]


def in_color(
    fused: np.ndarray,
    pictures: Sequence[Picture],
    color: str = "auto",
    shares: Callable[[slice], torch.Tensor | None] | None = None,
) -> Picture:
    """Fused luminance (H, W) in [0, 1] with the chroma of the pictures, a picture like them.

    It is of the deepest depth among them, with the profile and the alpha of whoever gave colour.

    Args:
        color: whose chroma is kept: "auto", "a", "b", or none at all, "grey".
        shares: of all pictures in some rows of the fused levels (K, h, W), where their colours are
            mixed so.
    """
    chosen = {"grey": (), "a": pictures[:1], "b": pictures[1:2]}.get(color, pictures)
    colored = [p for p in chosen if p.is_color]
    pixels = fused[..., None]
    if colored:
        mixed = shares if len(colored) == len(pictures) else None
        pixels = np.empty((*fused.shape, 3), np.float32)
        for band in bands(torch.from_numpy(fused)[None, None], 0, 3 * len(colored)):
            weights = None if mixed is None else mixed(band.rows)
            parts = [p.rows(band.rows) for p in colored]
            pixels[band.rows] = _colored(fused[band.rows], parts, weights)
    return replace(_like(colored or pictures, pictures), samples=pixels)


def _colored(
    fused: np.ndarray, colored: Sequence[np.ndarray], shares: torch.Tensor | None
) -> np.ndarray:
    """Luminance (H, W) with the chroma of pixels (H, W, 3), mixed by shares (K, H, W)."""
    y = 2 * as_tensor(fused[..., None]) - 1
    planes = [rgb_to_ycbcr(2 * as_tensor(part) - 1).split([1, 2], 1) for part in colored]
    chromas = [c if shares is None else as_vivid(c, own, y) for own, c in planes]
    cb, cr = fuse_chroma(chromas, None if shares is None else shares[None]).split(1, 1)
    rgb = ycbcr_to_rgb(torch.cat([y, *limit_chroma(y, cb, cr)], 1))
    colors: np.ndarray = ((rgb + 1) / 2).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    return colors


def _like(models: Sequence[Picture], pictures: Sequence[Picture]) -> Picture:
    """Depth, range, profile and alpha of a result that has the colour of `models`."""
    ranges = [p.range for p in pictures if p.range and p.dtype.kind == "f"]
    return replace(
        models[0],
        dtype=max((p.dtype for p in pictures), key=lambda dtype: dtype.itemsize),
        # Counts beside degrees have no scale in common, nor have either beside grey levels; but
        # two sources of [-1, 1], or of 0 to 255 as floats, expect a result of that range.
        range=(min(r[0] for r in ranges), max(r[1] for r in ranges))
        if len(ranges) == len(pictures)
        else None,
        unit="",
        icc=next((p.icc for p in models if p.icc), None),
        alpha=next((p.alpha for p in [*models, *pictures] if p.alpha is not None), None),
        mask=_any_mask(pictures),
        metadata=NOTHING,
        sha256=None,
    )


def _any_mask(pictures: Sequence[Picture]) -> np.ndarray | None:
    """Where any of them is valid."""
    masks = [p.mask for p in pictures if p.mask is not None]
    return np.logical_or.reduce(masks) if len(masks) == len(pictures) else None


def with_metadata(
    fused: Picture,
    pictures: Sequence[Picture],
    color: str,
    metadata_from: str,
    strip: bool,
) -> tuple[Picture, tuple[str, ...]]:
    """A result with the metadata of one of its sources, and a line for each part that is lost.

    Args:
        color: as for `in_color`.
        metadata_from: whose they are: "a", "b", "none", or "auto", whoever gives the colour; where
            nobody does, the second.
        strip: whether to leave out all there is, with the profile of colour.
    """
    if strip:
        profiled = fused.icc is not None and not _is_srgb(fused.icc)
        word = "the colour profile is stripped, and colours will be taken for those of sRGB"
        return replace(fused, icc=None), (word,) if profiled else ()
    source = _whose(pictures, color, metadata_from)
    if source is None:
        return fused, ()
    words = tuple(f"{source.name}: {word}" for word in source.metadata.lost)
    return replace(fused, metadata=source.metadata), words


def _whose(pictures: Sequence[Picture], color: str, metadata_from: str) -> Picture | None:
    if metadata_from == "none":
        return None
    chosen = metadata_from if metadata_from != "auto" else color
    if chosen in ("a", "b"):
        return pictures["ab".index(chosen)]
    return next((p for p in pictures if p.is_color), pictures[1])


def _is_srgb(icc: bytes) -> bool:
    """Whether the profile is called so, in either of the ways that profiles write names in."""
    return b"sRGB" in icc or "sRGB".encode("utf-16-be") in icc
