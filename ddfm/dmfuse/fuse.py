"""DMFuse at work: read the features of both sources, and let the head make one image of them.

Large images are fused in tiles that overlap, each with its features, and blended as those of a
prior are. Last is the tone: levels are spread upwards from the darkest to a good contrast, by a
straight curve, the same for the whole image.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddfm.dmfuse.features import noise_like, read_features
from ddfm.dmfuse.weights import check_prior, load_head, shipped_head
from ddfm.errors import unknown
from ddfm.numerics.tone import given_curve, good_curve, toned
from ddfm.priors.prior import Prior
from ddfm.priors.tile_sizes import tile_for
from ddfm.priors.tiled import in_tiles
from ddfm.result import Chosen
from ddfm.storage.checksum import sha256_of

__all__ = ["OVERLAP", "DMFuse", "check_options"]

# What the prior and the head see beyond a pixel, as far as it matters: the deepest features reach
# farther, and attention along the rows and columns of a tile, but both change slowly.
OVERLAP = 128
OPTIONS = ("curve", "gains", "spread")


def check_options(names: Iterable[str]) -> None:
    """Refuses what `DMFuse` does not know when it is called."""
    for name in names:
        if name not in OPTIONS:
            raise unknown("option of dmfuse", name, OPTIONS)


class DMFuse:
    """A prior and a head that was trained on it.

    Args:
        head: path of the head's weights; None takes those that come with ddfm.
    """

    def __init__(self, prior: Prior, head: str | os.PathLike[str] | None = None) -> None:
        path = shipped_head() if head is None else Path(head)
        self.head, self.about = load_head(path)
        self.fingerprint = sha256_of(path)
        check_prior(prior, self.about)
        self.prior = prior

    def to(self, device: torch.device) -> DMFuse:
        """Moves the head; the prior has been moved by whoever owns it."""
        self.head.to(device)
        return self

    @torch.no_grad()
    def __call__(self, i: Tensor, v: Tensor, **how: Any) -> tuple[Tensor, list[Chosen]]:
        """Fused luminance of (B, 1, H, W) in [-1, 1], and the curve of each image's levels.

        Keywords are those of `toned`.
        """
        fused, own = self.toned(i, v, **how)
        return fused, [{"curve": tuple(of_one)} for of_one in own.tolist()]

    def toned(
        self,
        i: Tensor,
        v: Tensor,
        *,
        seed: int = 0,
        tile: int | None = None,
        spread: float = 0.455,
        gains: tuple[float, float] | None = None,
        curve: Sequence[float] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What is fused, and the curves (B, 2), as tensors.

        Args:
            seed: of the noise, where the head was trained with a random one.
            tile: side of the tiles; None chooses it by size, 0 never tiles.
            spread, gains, curve: of the tone, see `ddfm.numerics.tone`; gains None is what suits
                the head.
        """
        height, width = i.shape[-2:]
        side = tile_for(tile, (height, width))
        planes = torch.cat([i, v, *self._noises(i, seed)], dim=1)
        fused = in_tiles(self._fuse, planes, side, OVERLAP, self.prior.multiple)
        own = good_curve(fused, spread, gains or self.about.gains)
        # What needs no spreading stays as the head made it, white included.
        return toned(fused, given_curve(curve, own)), own

    def _noises(self, like: Tensor, seed: int) -> list[Tensor]:
        """One for each source at each timestep."""
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
