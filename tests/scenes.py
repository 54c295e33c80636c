"""Small smooth sources, changes of levels, a network of random weights, and quick settings."""

from __future__ import annotations

import io
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from ddfm.priors.network import UNetPrior
from ddfm.priors.schedule import alphas_bar
from ddfm.priors.unet import UNet, UNetConfig

Network = TypeVar("Network", bound=torch.nn.Module)

PLAIN = {"likelihood": "paper", "steps": 4, "device": "cpu"}
# Of the design of the shipped prior, but tiny; sizes are multiples of 4.
TINY = UNetConfig(
    in_channels=1, out_channels=1, model_channels=16, channel_mult=(1, 1), num_res_blocks=1,
    attention=(), resblock_updown=False, patch=2, norm_groups=8, mid_attention=False,
)  # fmt: skip


def network(channels: int = 1) -> UNetPrior:
    """A small network with random weights, always the same; sizes must be multiples of 4."""
    config = UNetConfig(
        in_channels=channels,
        out_channels=channels,
        model_channels=32,
        channel_mult=(1, 2, 2),
        num_res_blocks=1,
        attention=(),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet(config).eval().requires_grad_(False)
        for weight in unet.parameters():  # some of which begin as zero
            weight += 0.05 * torch.randn(weight.shape)
    return UNetPrior(unet, alphas_bar("linear"), kind="v", name="random")


def stirred(network: Network) -> Network:
    """Moves weights away from the zeros and ones with which networks start, always in one way."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return network.eval()


def image(
    seed: int, h: int = 24, w: int = 20, channels: int = 1, dtype: type = np.uint8
) -> np.ndarray:
    """Smooth, in the middle of the range, so that colours have room."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0.3, 0.7, (1, channels, 4, 4)))
    values = torch.nn.functional.interpolate(coarse, (h, w), mode="bilinear")[0].permute(1, 2, 0)
    values = values.numpy().squeeze(2) if channels == 1 else values.numpy()
    if dtype in (np.float32, np.float64):
        return values.astype(dtype)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def rounded(plane: np.ndarray) -> np.ndarray:
    """Levels from 0 to 255 as 8 bits."""
    return np.rint(np.clip(plane, 0, 255)).astype(np.uint8)


def as_jpeg(plane: np.ndarray, quality: int) -> np.ndarray:
    """A picture of 8 bits after it was stored as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(plane).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    """Of levels from 0 to 255, in dB."""
    return float(10 * np.log10(255**2 / np.mean((x.astype(float) - y.astype(float)) ** 2)))


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(float) @ [0.299, 0.587, 0.114]
