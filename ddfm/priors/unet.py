"""The U-Net of guided-diffusion (ADM, Dhariwal & Nichol 2021), compatible with its checkpoints.

The names and order of modules are those of the original, so that a state dict of guided-diffusion
or improved-diffusion loads key by key. Three options go beyond the original, and their defaults
give the original: `patch` folds blocks of patch x patch pixels into channels before the first layer
and unfolds them after the last, `norm_groups` sets the number of groups of the normalisation, and
`mid_attention` may be turned off to omit the attention between encoder and decoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["UNet", "UNetConfig", "channels_last", "from_finest", "timestep_embedding", "zero"]


@dataclass(frozen=True)
class UNetConfig:
    """The architecture of the network. The defaults are those of `256x256_diffusion_uncond.pt`."""

    in_channels: int = 3
    out_channels: int = 6
    model_channels: int = 256
    channel_mult: tuple[float, ...] = (1, 1, 2, 2, 4, 4)
    num_res_blocks: int = 2
    attention: tuple[int, ...] = (8, 16, 32)  # downsampling factors with attention
    num_heads: int = 4
    num_head_channels: int = 64  # -1: every attention has num_heads heads
    num_heads_upsample: int = -1  # -1: the decoder has as many heads as the encoder
    use_scale_shift_norm: bool = True
    resblock_updown: bool = True
    conv_resample: bool = True
    use_new_attention_order: bool = False
    patch: int = 1
    norm_groups: int = 32
    mid_attention: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "channel_mult", tuple(self.channel_mult))
        object.__setattr__(self, "attention", tuple(self.attention))

    @property
    def multiple(self) -> int:
        """Height and width of an input must be multiples of this."""
        return self.patch * 2 ** (len(self.channel_mult) - 1)


def timestep_embedding(t: Tensor, dim: int) -> Tensor:
    """Cosines and sines of t at dim / 2 frequencies, from 1 down to nearly 1 / 10000."""
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * torch.exp(-math.log(10000.0) * exponent)
    embedding = torch.cat([angles.cos(), angles.sin()], dim=-1)
    return F.pad(embedding, (0, dim % 2))


class UNet(nn.Module):
    """The network: from x_t (B, C, H, W) and timesteps (B,) to a prediction (B, C or 2C, H, W)."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        width, pixels = config.model_channels, config.patch**2
        self._embed = 4 * width
        self.time_embed = nn.Sequential(
            nn.Linear(width, self._embed), nn.SiLU(), nn.Linear(self._embed, self._embed)
        )
        self.input_blocks = nn.ModuleList()
        skips = self._add_encoder(config.in_channels * pixels)
        self.middle_block = self._middle(skips[-1])
        self.output_blocks = nn.ModuleList()
        channels = self._add_decoder(skips)
        last = nn.Conv2d(channels, config.out_channels * pixels, 3, padding=1)
        self.out = nn.Sequential(GroupNorm(config.norm_groups, channels), nn.SiLU(True), last)
        zero(last)

    def _add_encoder(self, channels: int) -> list[int]:
        """Add the blocks from the input to the coarsest level; returns the channels after each."""
        c = self.config
        widths = [int(mult * c.model_channels) for mult in c.channel_mult]
        self.input_blocks.append(Stage(nn.Conv2d(channels, widths[0], 3, padding=1)))
        skips = [widths[0]]
        for level, width in enumerate(widths):
            for _ in range(c.num_res_blocks):
                layers: list[nn.Module] = [self._res(skips[-1], width)]
                if 2**level in c.attention:
                    layers.append(Attention(c, width, c.num_heads))
                self.input_blocks.append(Stage(*layers))
                skips.append(width)
            if level != len(widths) - 1:
                down = self._res(width, width, "down") if c.resblock_updown else None
                self.input_blocks.append(Stage(down or Downsample(width, c.conv_resample)))
                skips.append(width)
        return skips

    def _middle(self, channels: int) -> Stage:
        layers: list[nn.Module] = [self._res(channels, channels)]
        if self.config.mid_attention:
            layers.append(Attention(self.config, channels, self.config.num_heads))
        return Stage(*layers, self._res(channels, channels))

    def _add_decoder(self, skips: list[int]) -> int:
        """Add the blocks from the coarsest level to the finest; returns the channels there."""
        c = self.config
        heads = c.num_heads if c.num_heads_upsample == -1 else c.num_heads_upsample
        channels = skips[-1]
        for level, mult in reversed(list(enumerate(c.channel_mult))):
            width = int(mult * c.model_channels)
            for block in range(c.num_res_blocks + 1):
                layers: list[nn.Module] = [self._res(channels + skips.pop(), width)]
                channels = width
                if 2**level in c.attention:
                    layers.append(Attention(c, width, heads))
                if level and block == c.num_res_blocks:
                    up = self._res(width, width, "up") if c.resblock_updown else None
                    layers.append(up or Upsample(width, c.conv_resample))
                self.output_blocks.append(Stage(*layers))
        return channels

    def _res(self, n_in: int, n_out: int, resample: str = "") -> ResBlock:
        return ResBlock(self.config, n_in, n_out, self._embed, resample)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        *_, finest = self._scales(x, t)
        h = self.out(finest)
        return F.pixel_shuffle(h, self.config.patch) if self.config.patch > 1 else h

    def features(self, x: Tensor, t: Tensor, finest: int = 1) -> list[Tensor]:
        """The decoder's last feature maps of every scale, finest first.

        Scales finer than 1 / `finest` of the image are left out, and not computed.
        """
        sizes = [self.config.patch * 2**level for level in range(len(self.config.channel_mult))]
        return from_finest(self._scales(x, t), sizes, finest)

    def _scales(self, x: Tensor, t: Tensor) -> Iterator[Tensor]:
        """The decoder's last feature maps of every scale, coarsest first."""
        emb = self.time_embed(timestep_embedding(t, self.config.model_channels).to(x.dtype))
        h = F.pixel_unshuffle(x, self.config.patch) if self.config.patch > 1 else x
        h = channels_last(h)
        skips = []
        for block in self.input_blocks:
            h = block(h, emb)
            skips.append(h)
        h = self.middle_block(h, emb)
        for block in self.output_blocks:
            h = torch.cat([h, skips.pop()], dim=1)
            for layer in block.children():
                if _enlarges(layer):
                    yield h
                h = _apply(layer, h, emb)
        yield h


class Stage(nn.Sequential):
    """Layers in sequence; those that depend on the time embedding are given it."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = _apply(layer, x, emb)
        return x


def from_finest(scales: Iterator[Tensor], sizes: Sequence[int], finest: int) -> list[Tensor]:
    """The maps that `scales` yields, finest first, without those finer than 1 / `finest`.

    The coarsest is there in any case; those that are left out are not computed.
    """
    count = max(1, sum(size >= finest for size in sizes))
    return list(islice(scales, count))[::-1]


def zero(layer: nn.Module) -> None:
    """Initialise a layer with zeros, so that at first it adds nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def channels_last(x: Tensor) -> Tensor:
    """Convert to the memory layout in which CPUs convolve fastest; all layers keep it.

    Always a copy on CPUs: an image of one channel has that layout already, but is not marked so.
    GPUs are left alone, since their group norms support only the other layout.
    """
    return x.clone(memory_format=torch.channels_last) if x.device.type == "cpu" else x


def _apply(layer: nn.Module, x: Tensor, emb: Tensor) -> Tensor:
    return layer(x, emb) if isinstance(layer, ResBlock) else layer(x)


def _enlarges(layer: nn.Module) -> bool:
    return isinstance(layer, Upsample) or getattr(layer, "resample", "") == "up"


class GroupNorm(nn.GroupNorm):
    """Group normalisation that computes float16 in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return self._normalised(x, self.weight, self.bias, self.num_groups)

    def modulated(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """norm(x) * (1 + scale) + shift with scale and shift (B, C), in one pass over x.

        Since each image of a batch has its own weights, images are treated as further channels of
        a single image.
        """
        weight = torch.addcmul(self.weight, self.weight, scale).flatten()
        bias = torch.addcmul(self.bias + shift, self.bias, scale).flatten()
        if len(x) == 1:  # not reshaped, which would lose the memory layout
            return self._normalised(x, weight, bias, self.num_groups)
        merged = x.reshape(1, -1, *x.shape[2:])
        return self._normalised(merged, weight, bias, len(x) * self.num_groups).view(x.shape)

    def _normalised(self, x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
        if x.dtype != torch.float16:
            return F.group_norm(x, groups, weight, bias, self.eps)
        weight, bias = weight.float(), bias.float()
        return F.group_norm(x.float(), groups, weight, bias, self.eps).to(x.dtype)


class ResBlock(nn.Module):
    """Two convolutions with the time embedding in between, and a shortcut; may halve or double."""

    def __init__(self, c: UNetConfig, n_in: int, n_out: int, embed: int, resample: str) -> None:
        super().__init__()
        self.resample = resample
        self.scale_shift = c.use_scale_shift_norm
        # Activations work in place where possible, since memory traffic dominates the run time.
        self.in_layers = nn.Sequential(
            GroupNorm(c.norm_groups, n_in), nn.SiLU(True), nn.Conv2d(n_in, n_out, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(embed, 2 * n_out if self.scale_shift else n_out)
        )
        # Identity replaces the original's dropout, to keep the numbers in the keys.
        self.out_layers = nn.Sequential(
            GroupNorm(c.norm_groups, n_out),
            nn.SiLU(True),
            nn.Identity(),
            nn.Conv2d(n_out, n_out, 3, padding=1),
        )
        zero(self.out_layers[3])
        self.skip_connection = nn.Identity() if n_in == n_out else Conv1x1(n_in, n_out, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        norm, activation, conv = self.in_layers
        h = activation(norm(x))
        if self.resample == "up":
            h, x = conv_of_doubled(cast(nn.Conv2d, conv), h), doubled(x)
        elif self.resample == "down":
            h, x = conv(F.avg_pool2d(h, 2)), F.avg_pool2d(x, 2)
        else:
            h = conv(h)
        emb = self.emb_layers(emb)
        norm = cast(GroupNorm, self.out_layers[0])
        if self.scale_shift:
            h = norm.modulated(h, *emb.chunk(2, dim=1))
        else:
            h = norm(h + emb[:, :, None, None])
        return self.out_layers[1:](h).add_(self.skip_connection(x))


class Conv1x1(nn.Conv2d):
    """A 1 x 1 convolution, computed as a linear layer over channels, which is faster."""

    def forward(self, x: Tensor) -> Tensor:
        return _linear(self, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _linear(conv: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1 x 1 convolution to pixels with channels last, (..., C)."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


def doubled(x: Tensor) -> Tensor:
    """The image at twice the size, each pixel repeated 2 x 2 times."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def conv_of_doubled(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """conv(doubled(x)) for a 3 x 3 convolution, with four ninths of the multiplications.

    The nine pixels under the kernel are at most four different pixels of x. With their weights
    added, the result is a transposed convolution with 4 x 4 weights and stride 2.
    """
    # Row r of the new weights is the sum of rows 2 - r and 3 - r of the old ones, if they exist.
    rows = conv.weight.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.float32)
    weight = torch.einsum("rk,sl,oikl->iors", rows, rows, conv.weight.float()).to(x.dtype)
    return F.conv_transpose2d(x, weight, conv.bias, stride=2, padding=1)


class Downsample(nn.Module):
    """Halves the size, by a strided convolution or by averaging 2 x 2 pixels."""

    def __init__(self, channels: int, learned: bool) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, 2, 1) if learned else nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Doubles the size by repeating pixels, followed by a convolution if learned."""

    def __init__(self, channels: int, learned: bool) -> None:
        super().__init__()
        if learned:
            self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.learned = learned

    def forward(self, x: Tensor) -> Tensor:
        return conv_of_doubled(self.conv, x) if self.learned else doubled(x)


class Attention(nn.Module):
    """Self-attention over all pixels, with PyTorch's fused kernels."""

    def __init__(self, c: UNetConfig, channels: int, num_heads: int) -> None:
        super().__init__()
        per_head = c.num_head_channels
        self.heads = num_heads if per_head == -1 else channels // per_head
        self.new_order = c.use_new_attention_order
        self.norm = GroupNorm(c.norm_groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)
        zero(self.proj_out)

    def forward(self, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        pixels = _linear(self.qkv, self.norm(x).permute(0, 2, 3, 1)).flatten(1, 2)
        per_head = c // self.heads
        if self.new_order:  # rows of the projection: (q, k, v), each split into heads
            q, k, v = pixels.view(b, -1, 3, self.heads, per_head).unbind(2)
        else:  # legacy: (heads), each split into q, k, v
            q, k, v = pixels.view(b, -1, self.heads, 3, per_head).unbind(3)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        h = _linear(self.proj_out, h.reshape(b, height, width, c))
        return x + h.permute(0, 3, 1, 2)
