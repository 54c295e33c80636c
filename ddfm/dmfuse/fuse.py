"""Applies DMFuse: computes the features of both sources, from which the head makes one image.

Large images are fused in overlapping tiles, each with its own features, which are blended like the
tiles of a prior.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from ddfm.dmfuse.features import noise_like, read_features
from ddfm.dmfuse.weights import check_prior, load_head, shipped_head
from ddfm.priors.prior import Prior
from ddfm.priors.tile_sizes import tile_for
from ddfm.priors.tiled import in_tiles
from ddfm.storage.checksum import sha256_of

__all__ = ["OVERLAP", "DMFuse"]

# Pixels by which tiles overlap: how far around a pixel the result depends noticeably on the image.
# The deepest features and the attention along rows and columns reach farther, but change slowly.
OVERLAP = 128


class DMFuse:
    """A prior, and a head that was trained on its features.

    Args:
        head: path of the head's weights; None takes those shipped with ddfm.
    """

    def __init__(self, prior: Prior, head: str | os.PathLike[str] | None = None) -> None:
        path = shipped_head() if head is None else Path(head)
        self.head, self.about = load_head(path)
        self.fingerprint = sha256_of(path)
        check_prior(prior, self.about)
        self.prior = prior

    def to(self, device: torch.device) -> DMFuse:
        """Moves the head; the owner of the prior moves the prior."""
        self.head.to(device)
        return self

    @torch.no_grad()
    def __call__(self, i: Tensor, v: Tensor, *, seed: int = 0, tile: int | None = None) -> Tensor:
        """Fused luminance (B, 1, H, W) from i and v in [-1, 1]; it may slightly exceed this range.

        Args:
            seed: of the noise, for a head that was trained with random noise.
            tile: side of the tiles; None chooses it by size, 0 never tiles.
        """
        height, width = i.shape[-2:]
        side = tile_for(tile, (height, width))
        planes = torch.cat([i, v, *self._noises(i, seed)], dim=1)
        return in_tiles(self._fuse, planes, side, OVERLAP, self.prior.multiple)

    def _noises(self, like: Tensor, seed: int) -> list[Tensor]:
        """Noise for each source at each timestep, (B, 1, H, W) each."""
        count = 0 if self.about.network.plain else 2 * len(self.about.t)
        return [noise_like(like, self.about.noise, [seed + k] * len(like)) for k in range(count)]

    def _fuse(self, planes: Tensor) -> Tensor:
        i, v, *noises = planes.split(1, dim=1)
        if not noises:
            return self.head(i, v)
        both = zip(noises[::2], noises[1::2], strict=True)
        pairs = [torch.cat(pair) for pair in both]
        features = read_features(self.prior, torch.cat([i, v]), self.about.t, pairs)
        of_i, of_v = zip(*(f.chunk(2) for f in features), strict=True)
        return self.head(i, v, of_i, of_v)
