"""Processes large pictures in bands of rows, so that intermediate results need little memory.

A band has rows of its own, and as many rows on both sides as an operation reaches; of the result,
only the band's own rows are kept. A small picture is a single band, and so is any picture while a
graph is exported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ddfm.numerics.exporting import exporting

__all__ = ["WHOLE", "Band", "band_of", "bands", "in_bands", "sum_in_bands"]

AT_ONCE = 4_000_000  # most values that are processed at once
FEWEST = 64  # least rows of a band; with fewer, most of the work would be on the rows around them


@dataclass(frozen=True)
class Band:
    """Some rows of a picture.

    Attributes:
        rows: its own rows, as a slice of the picture's rows.
        wide: these and the rows on both sides, as a slice of the picture's rows.
        inner: its own rows, as a slice of the wide ones.
    """

    rows: slice
    wide: slice
    inner: slice

    def around(self, x: Tensor) -> Tensor:
        """The wide rows of (..., H, W), or all of (..., 1, W)."""
        return x if x.shape[-2] == 1 else x[..., self.wide, :]

    def own(self, x: Tensor) -> Tensor:
        """Its own rows of (..., H, W), as a view, or all of (..., 1, W)."""
        return x if x.shape[-2] == 1 else x[..., self.rows, :]

    def within(self, x: Tensor) -> Tensor:
        """Its own rows of a result that was computed for the wide rows."""
        return x if self is WHOLE else x[..., self.inner, :]


WHOLE = Band(slice(None), slice(None), slice(None))


def bands(like: Tensor, reach: int, planes: int = 1) -> list[Band]:
    """The bands that pictures of the shape of `like`, (B, C, H, W), are processed in.

    Args:
        reach: a pixel of the result depends on pixels at most this many rows away.
        planes: how many tensors of that shape are in memory at the same time.
    """
    if exporting() or like.numel() * planes <= AT_ONCE:
        return [WHOLE]
    height = like.shape[-2]
    tall = max(FEWEST, AT_ONCE * height // (like.numel() * planes))
    tops = range(0, height, tall)
    return [band_of(slice(top, min(top + tall, height)), height, reach) for top in tops]


def band_of(rows: slice, height: int, reach: int) -> Band:
    """The band with these rows of its own, for a picture of this height."""
    if rows == slice(None):
        return WHOLE
    above = max(rows.start - reach, 0)
    wide = slice(above, min(rows.stop + reach, height))
    return Band(rows, wide, slice(rows.start - above, rows.stop - above))


def in_bands(
    function: Callable[[Band], Tensor], like: Tensor, reach: int, planes: int = 1
) -> Tensor:
    """The result of a function applied band by band; it has the shape of `like`, see `bands`."""
    all_of_it = bands(like, reach, planes)
    if len(all_of_it) == 1:
        return function(WHOLE)
    made = torch.empty_like(like)
    for band in all_of_it:
        made[..., band.rows, :] = band.within(function(band))
    return made


def sum_in_bands(function: Callable[[Band], Tensor], like: Tensor, reach: int = 0) -> Tensor:
    """The sum, over each image, of a function that is applied band by band, (B, 1, 1, 1).

    As in `per_image_sum`, it is computed row by row: the result has the same bits for any bands and
    any number of threads.
    """
    rows = [band.within(function(band)).sum(-1, keepdim=True) for band in bands(like, reach)]
    return torch.cat(rows, dim=-2).sum(-2, keepdim=True).sum(1, keepdim=True)
