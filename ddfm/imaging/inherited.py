"""What a result inherits from its sources: colour, depth and range, and the metadata of one.

Only luminance is fused. Chroma comes from the source that is in colour; if several are, it is their
mean at each pixel, weighted by saturation; if none is, the result is grey. Chroma that does not fit
the fused luminance within the range of RGB is reduced.
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
from ddfm.imaging.picture import Picture, as_tensor
from ddfm.numerics.bands import bands

__all__ = ["in_color", "of_profiles", "with_metadata"]


def in_color(
    fused: np.ndarray,
    pictures: Sequence[Picture],
    color: str = "auto",
    shares: Callable[[slice], torch.Tensor | None] | None = None,
) -> Picture:
    """Give fused luminance (H, W) in [0, 1] the chroma of the pictures.

    The result has the greatest depth among them, and the profile and alpha of the picture that
    the colour is from.

    Args:
        color: whose chroma is kept: "a", "b", "auto" (all that have any) or "grey" (none).
        shares: gives the shares of all pictures in the fused levels, (K, h, W), for a slice of
            rows; used as weights of the colours if all pictures are in colour.
    """
    colored = _colored_of(pictures, color)
    pixels = fused[..., None]
    if colored:
        mixed = shares if len(colored) == len(pictures) else None
        pixels = np.empty((*fused.shape, 3), np.float32)
        for band in bands(torch.from_numpy(fused)[None, None], 0, 3 * len(colored)):
            weights = None if mixed is None else mixed(band.rows)
            parts = [p.rows(band.rows) for p in colored]
            pixels[band.rows] = _colored(fused[band.rows], parts, weights)
    return replace(_like(colored or pictures, pictures), samples=pixels)


def of_profiles(pictures: Sequence[Picture], color: str) -> tuple[str, ...]:
    """A warning if colours with different profiles are mixed."""
    colored = _colored_of(pictures, color)
    model = next((p for p in colored if p.icc), None)
    other = next((p for p in colored if model and _space(p) != _space(model)), None)
    if model is None or other is None:
        return ()
    return (
        f"{other.name} and {model.name} have different colour profiles, and colours are mixed as "
        f"if both had that of {model.name}; convert one of them first, or take the colours of one: "
        "color=a (--color a)",
    )


def _space(picture: Picture) -> bytes | None:
    """What decides how colours are shown: the profile without its header, which has its date."""
    return None if picture.icc is None or picture.is_srgb else picture.icc[128:]


def _colored_of(pictures: Sequence[Picture], color: str) -> list[Picture]:
    """The pictures whose chroma is used."""
    chosen = {"grey": (), "a": pictures[:1], "b": pictures[1:2]}.get(color, pictures)
    return [p for p in chosen if p.is_color]


def _colored(
    fused: np.ndarray, colored: Sequence[np.ndarray], shares: torch.Tensor | None
) -> np.ndarray:
    """RGB of a luminance (H, W) with the chroma of pixels (H, W, 3), mixed by shares (K, H, W)."""
    y = 2 * as_tensor(fused[..., None]) - 1
    planes = [rgb_to_ycbcr(2 * as_tensor(part) - 1).split([1, 2], 1) for part in colored]
    chromas = [c if shares is None else as_vivid(c, own, y) for own, c in planes]
    cb, cr = fuse_chroma(chromas, None if shares is None else shares[None]).split(1, 1)
    rgb = ycbcr_to_rgb(torch.cat([y, *limit_chroma(y, cb, cr)], 1))
    colors: np.ndarray = ((rgb + 1) / 2).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    return colors


def _like(models: Sequence[Picture], pictures: Sequence[Picture]) -> Picture:
    """A picture with the depth, range, profile and alpha of a result coloured like `models`."""
    ranges = [p.range for p in pictures if p.range and p.dtype.kind == "f"]
    return replace(
        models[0],
        dtype=max((p.dtype for p in pictures), key=lambda dtype: dtype.itemsize),
        # Counts, degrees and grey levels have no common scale; but if all sources are floats with
        # a range, such as [-1, 1] or 0 to 255, the user expects a result in that range.
        range=(min(r[0] for r in ranges), max(r[1] for r in ranges))
        if len(ranges) == len(pictures)
        else None,
        unit="",
        icc=next((p.icc for p in models if p.icc), None),
        alpha=next((p.alpha for p in [*models, *pictures] if p.alpha is not None), None),
        mask=_any_mask(pictures),
        metadata=NOTHING,
        sha256=None,
        integers=None,
    )


def _any_mask(pictures: Sequence[Picture]) -> np.ndarray | None:
    """True where any picture is valid; None if one of them is valid everywhere."""
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
        metadata_from: which source they are from: "a", "b", "none" or "auto", the source that gives
            the colour, or the second if all are grey; with "auto", coordinates are from another
            one if that has none.
        strip: whether to leave out all metadata, including the colour profile.
    """
    if strip:
        word = "the colour profile is stripped, so the colours will be shown as sRGB"
        return replace(fused, icc=None), () if fused.is_srgb else (word,)
    source = _whose(pictures, color, metadata_from)
    if source is None:
        return fused, ()
    metadata, asked = replace(source.metadata, source=source.name), [source]
    if metadata_from == "auto" and metadata.place is None:
        # By now all are on one grid, so the position of each is true of the result.
        placed = next((p for p in pictures if p.metadata.place), None)
        if placed is not None:
            metadata = metadata.placed_like(placed.metadata, placed.name)
        asked = list(pictures)
    words = [f"{source.name}: {word}" for word in source.metadata.lost]
    if metadata.place is None:
        words += [f"{p.name}: {word}" for p in asked for word in p.metadata.unplaced]
    return replace(fused, metadata=metadata), tuple(words)


def _whose(pictures: Sequence[Picture], color: str, metadata_from: str) -> Picture | None:
    if metadata_from == "none":
        return None
    chosen = metadata_from if metadata_from != "auto" else color
    if chosen in ("a", "b"):
        return pictures["ab".index(chosen)]
    return next((p for p in pictures if p.is_color), pictures[1])
