"""The network of the shipped prior: a small U-Net without normalisation, made for denoising.

The first convolution reads the image at full size, the last two return to it, and all others work
on blocks of 2 x 2 pixels and coarser, where they cost a quarter and less. The noise level scales
and shifts features between the two convolutions of each block. Nothing is averaged over the image:
a pixel depends only on its surroundings, and no sum is divided among threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddfm.numerics.exporting import exporting
from ddfm.priors.unet import channels_last, from_finest, timestep_embedding, zero

__all__ = ["ResidualUNet", "ResidualUNetConfig"]

FREQUENCIES = 64  # cosines and sines of the timestep


@dataclass(frozen=True)
class ResidualUNetConfig:
    """The architecture. The defaults are those of the shipped prior."""

    in_channels: int = 1
    stem: int = 16  # channels at full size
    widths: tuple[int, ...] = (48, 96, 128, 128)  # channels at 1/2, 1/4, ... of the size
    depths: tuple[int, ...] = (2, 2, 2, 1)  # blocks on each level, in the encoder and the decoder
    embed: int = 128  # numbers that describe the noise level

    @property
    def multiple(self) -> int:
        """Height and width of an input must be multiples of this."""
        return 2 ** len(self.widths)


class ResidualUNet(nn.Module):
    """From x_t (B, C, H, W) and timesteps (B,) to a prediction of the shape of x_t."""

    def __init__(self, config: ResidualUNetConfig) -> None:
        super().__init__()
        self.config = c = config
        self.time_embed = nn.Sequential(
            nn.Linear(FREQUENCIES, c.embed), nn.SiLU(), nn.Linear(c.embed, c.embed), nn.SiLU()
        )
        self.stem = nn.Conv2d(c.in_channels, c.stem, 3, padding=1)
        self.inward = nn.Conv2d(4 * c.stem, c.widths[0], 1)
        levels = list(zip(c.widths, c.depths, strict=True))
        steps = list(pairwise(c.widths))
        self.encoder = nn.ModuleList(Level(width, depth, c.embed) for width, depth in levels)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in steps)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2) for fine, coarse in steps)
        self.decoder = nn.ModuleList(Level(width, depth, c.embed) for width, depth in levels[:-1])
        self.outward = nn.Conv2d(c.widths[0], 4 * c.stem, 1)
        self.last = nn.Sequential(
            nn.Conv2d(c.stem, c.stem, 3, padding=1),
            SiLU(),
            nn.Conv2d(c.stem, c.in_channels, 3, padding=1),
        )
        zero(self.last[2])

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        full = self.stem(channels_last(x))
        *_, finest = self._scales(full, t)
        return self.last(F.pixel_shuffle(self.outward(finest), 2).add_(full))

    def features(self, x: Tensor, t: Tensor, finest: int = 1) -> list[Tensor]:
        """The decoder's last feature maps of every scale from 1/2 on, finest first.

        Scales finer than 1 / `finest` of the image are left out, and not computed.
        """
        sizes = [2 ** (level + 1) for level in range(len(self.config.widths))]
        return from_finest(self._scales(self.stem(channels_last(x)), t), sizes, finest)

    def _scales(self, full: Tensor, t: Tensor) -> Iterator[Tensor]:
        """The decoder's last feature maps of every scale, coarsest first."""
        emb = self.time_embed(timestep_embedding(t, FREQUENCIES).to(full.dtype))
        h = self.inward(F.pixel_unshuffle(full, 2))
        skips = []
        for level, down in zip(self.encoder, self.down, strict=False):
            h = level(h, emb)
            skips.append(h)
            h = down(h)
        h = self.encoder[-1](h, emb)
        yield h
        for level, up in zip(reversed(self.decoder), reversed(self.up), strict=True):
            h = level(up(h).add_(skips.pop()), emb)
            yield h


class Level(nn.ModuleList):
    """The blocks of one level of the encoder or decoder."""

    def __init__(self, width: int, depth: int, embed: int) -> None:
        super().__init__(Block(width, embed) for _ in range(depth))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        for block in self:
            x = block(x, emb)
        return x


class Block(nn.Module):
    """x + second(SiLU((1 + scale) first(x) + shift)), with scale and shift of the noise level."""

    def __init__(self, width: int, embed: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(embed, 2 * width)
        self.silu = SiLU()
        zero(self.second)  # at first, a block adds nothing
        zero(self.modulation)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        scale, shift = self.modulation(emb)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.first(x), 1 + scale)
        return self.second(self.silu(h)).add_(x)


class SiLU(nn.Module):
    """x / (1 + exp(-x)), in place, with the same rounding for every number of threads.

    In PyTorch's own, each thread computes the last elements of its share with another exponential.
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or not x.is_cpu or exporting():
            return F.silu(x, inplace=True)
        return x.div_(x.neg().exp_().add_(1))
