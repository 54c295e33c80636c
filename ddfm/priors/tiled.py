"""Large images in overlapping tiles: a prior that never sees more than a tile at a time.

Tiles overlap, and are blended with weights that rise linearly from each tile's border, at every
step of the sampler. So the estimate of a step is continuous across tiles, and no seam can form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ddfm.errors import DdfmError
from ddfm.priors.prior import Prior

__all__ = ["Tiled", "check_tile"]

LARGEST_UNTILED = 1024 * 1024  # pixels; the shipped network needs about 1 GB for so many
TILE = 768
OVERLAP = 64


def check_tile(tile: int | None, overlap: int = OVERLAP) -> None:
    """Refuses tiles that leave no room between two overlaps; 0 (none) and None are fine."""
    if tile and tile < 2 * overlap:
        raise DdfmError(f"a tile must be at least {2 * overlap} pixels wide (0: none), not {tile}")


class Tiled(Prior):
    """A prior applied tile by tile."""

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
        """The prior itself where the image is small enough, or tiles are not wanted (0)."""
        if tile is None:
            tile = TILE if size[0] * size[1] > LARGEST_UNTILED else 0
        return Tiled(prior, tile) if tile and max(size) > tile else prior

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        total = torch.zeros_like(x_t)
        weights = torch.zeros_like(x_t[:1, :1])
        for top in self._starts(x_t.shape[-2]):
            for left in self._starts(x_t.shape[-1]):
                part = (..., slice(top, top + self.tile), slice(left, left + self.tile))
                x0 = self.prior(x_t[part], t)
                weight = self._ramp(x0.shape[-2], x0)[:, None] * self._ramp(x0.shape[-1], x0)
                total[part] += weight * x0
                weights[part] += weight
        return total / weights

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Tiled:
        self.prior.to(device, dtype)
        return self

    def _starts(self, side: int) -> list[int]:
        """Where tiles begin along one side: evenly spread, on the prior's grid."""
        if side <= self.tile:
            return [0]
        count = -(-(side - self.overlap) // (self.tile - self.overlap))
        grid = self.prior.multiple
        last = side - self.tile
        return sorted({round(last * k / (count - 1) / grid) * grid for k in range(count)} | {last})

    def _ramp(self, side: int, like: Tensor) -> Tensor:
        """1 inside, falling to nearly 0 over the overlap at either end."""
        steps = torch.arange(1, side + 1, dtype=like.dtype, device=like.device)
        return (torch.minimum(steps, steps.flip(0)) / (self.overlap + 1)).clamp(max=1)
