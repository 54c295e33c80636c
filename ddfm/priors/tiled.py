"""Denoises large images in overlapping tiles, so that the prior never sees more than one at a time.

At every step of the sampler, tiles are blended with weights that rise linearly from each tile's
border. So the estimate of a step is continuous across tiles, and no seam can form.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ddfm.priors.prior import Prior
from ddfm.priors.tile_sizes import OVERLAP, check_tile, spans, tile_for
from ddfm.progress import part_done

__all__ = ["Tiled", "in_tiles"]


class Tiled(Prior):
    """A prior applied tile by tile."""

    tile: int

    def __init__(self, prior: Prior, tile: int, overlap: int = OVERLAP) -> None:
        super().__init__(
            prior.alphas_bar,
            channels=prior.channels,
            multiple=prior.multiple,
            name=prior.name,
            info=prior.info,
        )
        check_tile(tile, overlap)
        self.prior = prior
        self.tile = -(-tile // prior.multiple) * prior.multiple
        self.overlap = -(-overlap // prior.multiple) * prior.multiple

    @staticmethod
    def if_needed(prior: Prior, tile: int | None, size: tuple[int, int]) -> Prior:
        """The prior in tiles; the prior itself if the image is small or `tile` is 0."""
        tile = tile_for(tile, size, prior.tile)
        return Tiled(prior, tile) if tile else prior

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        grid = self.prior.multiple
        return in_tiles(lambda x: self.prior(x, t), x_t, self.tile, self.overlap, grid)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Tiled:
        self.prior.to(device, dtype)
        return self

    def _is_at(self, device: torch.device | str | None, dtype: torch.dtype | None) -> bool:
        return self.prior._is_at(device, dtype)

    def spans(self, side: int) -> list[tuple[int, int]]:
        """Begin and end of each tile along one side."""
        return spans(side, self.tile, self.overlap, self.prior.multiple)


def in_tiles(
    function: Callable[[Tensor], Tensor], x: Tensor, tile: int, overlap: int, grid: int
) -> Tensor:
    """function(x) computed tile by tile and blended; at once if tile is 0.

    The function keeps the height and width of its input. Tiles begin on multiples of `grid`, to
    which their sides and overlaps are rounded up. They are at most as large as `tile`, and smaller
    if the same number of smaller ones covers the image.
    """
    if not tile:
        return function(x)
    tile, overlap = (-(-side // grid) * grid for side in (tile, overlap))
    rows, columns = (spans(side, tile, overlap, grid) for side in x.shape[-2:])
    total, weights = None, torch.zeros_like(x[:1, :1])
    number, count = 0, len(rows) * len(columns)
    for row in rows:
        for column in columns:
            part = (..., slice(*row), slice(*column))
            y = function(x[part])
            weight = _ramp(y.shape[-2], overlap, y)[:, None] * _ramp(y.shape[-1], overlap, y)
            if total is None:
                total = y.new_zeros(*y.shape[:2], *x.shape[-2:])
            total[part] += weight * y
            weights[part] += weight
            part_done(number := number + 1, count)
    assert total is not None  # there is at least one tile
    return total / weights


def _ramp(side: int, overlap: int, like: Tensor) -> Tensor:
    """Weights along a side: 1 inside, falling to nearly 0 over the overlap at either end."""
    steps = torch.arange(1, side + 1, dtype=like.dtype, device=like.device)
    return (torch.minimum(steps, steps.flip(0)) / (overlap + 1)).clamp(max=1)
