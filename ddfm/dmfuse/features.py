"""What the head reads: the frozen prior's decoder features of a source, noised to a few timesteps.

As published, every source is noised anew for every t. The noise then is one more thing in which
the features of two sources differ, and the result changes with the seed. Under noise "fixed" all
sources, timesteps and images see one and the same pattern, repeated every `PERIOD` pixels: the
head learns to look through it, results depend on no seed, and films do not flicker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from ddfm.diffusion.samplers import noised
from ddfm.errors import InputError, unknown
from ddfm.priors.prior import Prior

__all__ = [
    "NOISES",
    "PERIOD",
    "check_timesteps",
    "device_of",
    "noise_like",
    "read_features",
    "shape_of_features",
]

NOISES = ("fixed", "random")
FINEST = 2  # features start at half the image's size: the sources say what is finer
PERIOD = 128


def noise_like(x: Tensor, noise: str, seeds: Sequence[int]) -> Tensor:
    """Standard normal noise for images (B, 1, H, W); `seeds`, one an image, if it is random."""
    if noise not in NOISES:
        raise unknown("noise", noise, NOISES)
    height, width = x.shape[-2:]
    if noise == "fixed":
        repeats = (height + PERIOD - 1) // PERIOD, (width + PERIOD - 1) // PERIOD
        return _pattern().repeat(repeats)[:height, :width].expand_as(x).to(x)
    draws = [
        torch.randn(1, height, width, generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    return torch.stack(draws).to(x)


@cache
def _pattern() -> Tensor:
    return torch.randn(PERIOD, PERIOD, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def read_features(
    prior: Prior, x: Tensor, timesteps: Sequence[int], noises: Sequence[Tensor]
) -> list[Tensor]:
    """Decoder features of luminance (B, 1, H, W) in [-1, 1], finest scale first.

    Those of all timesteps, each with its noise, lie side by side in the channels. Maps of the
    image's own size are left out: most of the time would go into them.
    """
    channels = (-1, prior.channels, -1, -1)
    at_each = []
    for t, noise in zip(timesteps, noises, strict=True):
        x_t = noised(x.expand(channels), t, prior.alphas_bar, noise.expand(channels))
        times = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        at_each.append(prior.features(x_t, times, FINEST))
    return [torch.cat(scale, dim=1).float() for scale in zip(*at_each, strict=True)]


def device_of(prior: Prior) -> torch.device:
    """Where the weights of a prior's network are; the CPU, if it has none."""
    network = getattr(prior, "network", None)
    parameters = network.parameters() if isinstance(network, torch.nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))


def shape_of_features(prior: Prior) -> tuple[tuple[int, ...], int]:
    """Channels of each scale, finest first, and by how much the finest is coarser than the image.

    An error says so if the prior has no features, or none that the head can use.
    """
    side = 2 * prior.multiple
    x = torch.zeros(1, 1, side, side, device=device_of(prior))
    maps = read_features(prior, x, (0,), (x,))
    sides = [f.shape[-1] for f in maps]
    if any(fine != 2 * coarse for fine, coarse in pairwise(sides)):
        raise InputError(f"the features of the prior {prior.name} do not halve from scale to scale")
    return tuple(f.shape[1] for f in maps), side // sides[0]


def check_timesteps(prior: Prior, timesteps: Iterable[int]) -> tuple[int, ...]:
    """The timesteps, each once and in order, or an error if the prior does not know one."""
    chosen = tuple(sorted(set(timesteps)))
    last = len(prior.alphas_bar) - 1
    if not chosen or not 0 <= chosen[0] <= chosen[-1] <= last:
        raise InputError(f"timesteps of the prior {prior.name} are from 0 to {last}, not {chosen}")
    return chosen
