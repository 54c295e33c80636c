r"""The head of DMFuse: a network from the features of both sources to the fused luminance.

At every scale s, each source x in {i, v} has features F_x from the frozen prior. From them,

    E_x = scSE(ReLU(conv(F_x)))                                    encoder
    A_x = softmax over row and column of Q(E_y) K(E_x)^T / sqrt(d)     y is the other source
    X_x = E_x + gamma A_x V(E_x),   gamma = 0 at first              criss-cross attention
    D_s = ReLU(conv[ReLU(conv(up D_{s+1})), X_i, X_v])             decoder, coarsest s first

The finest features are `patch` times coarser than the image. One more stage unfolds D_0 to the full
size and joins it with the sources themselves, which provide the fine detail. As published (output
"tanh"), a 1 x 1 convolution and tanh then give the luminance, and the head has to learn what a
sharp edge is. With output "blend" the convolution gives a weight w (by a sigmoid) and a correction
r (by tanh), and the luminance is w i + (1 - w) v + r, with the edges of the sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddfm.arguments import one_of
from ddfm.numerics.exporting import exporting

__all__ = ["OUTPUTS", "Head", "HeadConfig", "criss_cross"]

SCORES = 4_000_000  # most attention scores in memory at once
QUERY = 8  # channels of queries and keys, d
OUTPUTS = ("blend", "tanh")
LAST = 16  # channels of the stage at full resolution


@dataclass(frozen=True)
class HeadConfig:
    """The architecture of the head.

    Attributes:
        channels: of the features, finest scale first; each scale is half the size of the one
            before.
        patch: the factor from the size of the finest features to that of the image.
        width: channels of each source's encoder; the decoder has twice as many.
        attention: whether the sources attend to each other.
        plain: whether the features are learned convolutions of the sources, with the same channels
            and scales, in place of the prior's.
        output: "blend", or "tanh" as published.
    """

    channels: tuple[int, ...]
    patch: int = 1
    width: int = 32
    attention: bool = True
    plain: bool = False
    output: str = "blend"

    def __post_init__(self) -> None:
        one_of("output", self.output, OUTPUTS)
        object.__setattr__(self, "channels", tuple(self.channels))

    @property
    def multiple(self) -> int:
        """Height and width of an image must be multiples of this."""
        return self.patch * 2 ** (len(self.channels) - 1)


class Head(nn.Module):
    """Sources (B, 1, H, W) in [-1, 1] and their features, finest first -> luminance (B, 1, H, W).

    With output "blend" the luminance may slightly exceed [-1, 1].
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = c = config
        wide = 2 * c.width
        self.plain = Plain(c) if c.plain else None
        self.encoders = nn.ModuleList(
            nn.ModuleList(Encoder(n, c.width) for n in c.channels) for _ in range(2)
        )
        self.attention = nn.ModuleList(
            CrissCross(c.width) if c.attention else nn.Identity() for _ in c.channels
        )
        finer = len(c.channels) - 1
        self.enlarge = nn.ModuleList(_conv(wide, wide) for _ in range(finer))
        self.join = nn.ModuleList(_conv(2 * wide, wide) for _ in range(finer))
        self.unfold = _conv(wide, LAST * c.patch**2)
        self.sharpen = _conv(LAST + 2, LAST)
        self.out = nn.Conv2d(LAST, 2 if c.output == "blend" else 1, 1)

    def forward(
        self, i: Tensor, v: Tensor, of_i: Sequence[Tensor] = (), of_v: Sequence[Tensor] = ()
    ) -> Tensor:
        if self.plain is not None:
            of_i, of_v = self.plain(i), self.plain(v)
        scales = list(zip(*self.encoders, self.attention, of_i, of_v, strict=True))
        x = None
        for level in reversed(range(len(scales))):
            encode_i, encode_v, attend, f_i, f_v = scales[level]
            both = attend(torch.cat([encode_i(f_i), encode_v(f_v)]))
            both = torch.cat(both.chunk(2), dim=1)
            if x is not None:
                x = self.enlarge[level](F.interpolate(x, scale_factor=2.0, mode="nearest"))
                both = self.join[level](torch.cat([x, both], dim=1))
            x = both
        x = F.pixel_shuffle(self.unfold(x), self.config.patch)
        x = self.out(self.sharpen(torch.cat([x, i, v], dim=1)))
        if self.config.output == "tanh":
            return torch.tanh(x)
        w, r = x.split(1, dim=1)
        return v + w.sigmoid() * (i - v) + torch.tanh(r)

    def normalise(self, features: Sequence[Tensor]) -> None:
        """Makes the encoders standardise features by the means and deviations of these."""
        encoders = [part for part in self.encoders.modules() if isinstance(part, Encoder)]
        for encoder, f in zip(encoders, [*features, *features], strict=True):
            encoder.mean.copy_(f.mean(dim=(0, 2, 3)).view(1, -1, 1, 1))
            encoder.deviation.copy_(f.std(dim=(0, 2, 3)).clamp(min=1e-3).view(1, -1, 1, 1))


def _conv(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU())


class Encoder(nn.Module):
    """3 x 3 convolution, ReLU, squeeze-and-excitation of channels and of pixels."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, n_in, 1, 1))
        self.register_buffer("deviation", torch.ones(1, n_in, 1, 1))
        self.conv = _conv(n_in, n_out)
        self.squeeze = nn.Conv2d(n_out, n_out // 2, 1)
        self.excite = nn.Conv2d(n_out // 2, n_out, 1)
        self.pixels = nn.Conv2d(n_out, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv((x - self.mean) / self.deviation)
        channels = self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3), keepdim=True))))
        return x * channels.sigmoid() + x * self.pixels(x).sigmoid()


class CrissCross(nn.Module):
    """Attention with queries from the other source; both are concatenated along the batch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, QUERY, 1)
        self.key = nn.Conv2d(channels, QUERY, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        others = torch.cat(x.chunk(2)[::-1])
        return x + self.gamma * criss_cross(self.query(others), self.key(x), self.value(x))


def criss_cross(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of each pixel to its row and its column, (B, C, H, W).

    It is softmax(q . k / sqrt(C)) over these W + H - 1 pixels, by plain matrix products. Rows are
    processed in bands, so that the scores of all pixels are never in memory at once, and memory
    grows only in proportion to the image.
    """
    batch, channels, height, width = q.shape
    # In an exported graph, sizes are symbols, and all rows are processed at once.
    spans = [slice(None)] if exporting() else _bands(batch, height, width)
    # By row and by column, (B, H, W, C) and (B, W, H, C), copied once rather than for each band.
    q_rows, k_rows, v_rows = (x.permute(0, 2, 3, 1).contiguous() for x in (q, k, v))
    q_columns, k_columns, v_columns = (x.permute(0, 3, 2, 1).contiguous() for x in (q, k, v))
    itself = torch.eye(height, dtype=torch.bool, device=q.device)
    scale = 1 / math.sqrt(channels)
    bands = []
    for rows in spans:
        in_row = (q_rows[:, rows] * scale) @ k_rows[:, rows].mT  # (B, band, W, W)
        in_column = (q_columns[:, :, rows] * scale) @ k_columns.mT  # (B, W, band, H)
        # The pixel itself is in its row already, and must not count twice.
        in_column = in_column.masked_fill_(itself[rows], -torch.inf).transpose(1, 2)
        weights = torch.cat([in_row, in_column], dim=-1).softmax(dim=-1)
        of_row, of_column = weights.split([width, height], dim=-1)
        columns = of_column.transpose(1, 2) @ v_columns
        bands.append(of_row @ v_rows[:, rows] + columns.transpose(1, 2))
    return torch.cat(bands, dim=1).permute(0, 3, 1, 2)


def _bands(batch: int, height: int, width: int) -> list[slice]:
    band = max(1, SCORES // (batch * width * (height + width)))
    return [slice(top, top + band) for top in range(0, height, band)]


class Plain(nn.Module):
    """A baseline for the prior's features: convolutions with the same channels and scales."""

    def __init__(self, c: HeadConfig) -> None:
        super().__init__()
        self.patch = c.patch
        before = (c.patch**2, *c.channels)
        self.layers = nn.ModuleList(
            nn.Sequential(_conv(n_in, n), _conv(n, n))
            for n_in, n in zip(before, c.channels, strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.pixel_unshuffle(x, self.patch)
        maps = []
        for level, layer in enumerate(self.layers):
            x = layer(F.avg_pool2d(x, 2) if level else x)
            maps.append(x)
        return maps
