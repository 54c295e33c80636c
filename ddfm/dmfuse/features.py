"""The input of the head: the prior's decoder features of each source, noised to a few timesteps.

As published, each source gets new noise at each timestep t. Then the features of two sources differ
by their noise, too, and the result depends on the seed. With noise "fixed", all sources, timesteps
and images have the same noise, a pattern that repeats every `PERIOD` pixels: the head learns to
ignore it, results do not depend on a seed, and films do not flicker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from ddfm.arguments import one_of
from ddfm.diffusion.samplers import noised
from ddfm.errors import InputError
from ddfm.numerics.planes import white_noise
from ddfm.priors.prior import Prior

__all__ = [
    "NOISES",
    "check_timesteps",
    "device_of",
    "noise_like",
    "read_features",
    "shape_of_features",
]

NOISES = ("fixed", "random")
FINEST = 2  # features start at half the image's size; finer detail comes from the sources
PERIOD = 128  # pixels after which the fixed noise repeats


def noise_like(x: Tensor, noise: str, seeds: Sequence[int]) -> Tensor:
    """Standard normal noise for images (B, 1, H, W); random noise takes one seed per image."""
    one_of("noise", noise, NOISES)
    height, width = x.shape[-2:]
    if noise == "fixed":
        repeats = (height + PERIOD - 1) // PERIOD, (width + PERIOD - 1) // PERIOD
        return _pattern().repeat(repeats)[:height, :width].expand_as(x).to(x)
    draws = [white_noise((1, height, width), torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(draws).to(x)


@cache
def _pattern() -> Tensor:
    return white_noise((PERIOD, PERIOD), torch.Generator().manual_seed(0))


@torch.no_grad()
def read_features(
    prior: Prior, x: Tensor, timesteps: Sequence[int], noises: Sequence[Tensor]
) -> list[Tensor]:
    """Decoder features of luminance (B, 1, H, W) in [-1, 1], finest scale first.

    The features of all timesteps, each with its noise, are concatenated along the channels. Maps of
    the image's own size are left out, since they would take most of the time.
    """
    channels = (-1, prior.channels, -1, -1)
    at_each = []
    for t, noise in zip(timesteps, noises, strict=True):
        x_t = noised(x.expand(channels), t, prior.alphas_bar, noise.expand(channels))
        times = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        at_each.append(prior.features(x_t, times, FINEST))
    return [torch.cat(scale, dim=1).float() for scale in zip(*at_each, strict=True)]


def device_of(prior: Prior) -> torch.device:
    """The device of a prior's network; the CPU if it has none."""
    network = getattr(prior, "network", None)
    parameters = network.parameters() if isinstance(network, torch.nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))


def shape_of_features(prior: Prior) -> tuple[tuple[int, ...], int]:
    """Channels of each scale, finest first, and the factor from the finest to the image's size.

    Raises InputError if the prior has no features, or none that the head can use.
    """
    side = 2 * prior.multiple
    x = torch.zeros(1, 1, side, side, dtype=torch.float32, device=device_of(prior))
    maps = read_features(prior, x, (0,), (x,))
    sides = [f.shape[-1] for f in maps]
    if any(fine != 2 * coarse for fine, coarse in pairwise(sides)):
        raise InputError(f"the features of the prior {prior.name} do not halve from scale to scale")
    return tuple(f.shape[1] for f in maps), side // sides[0]


def check_timesteps(prior: Prior, timesteps: Iterable[int]) -> tuple[int, ...]:
    """The timesteps, sorted and without repeats; raises InputError if the prior lacks one."""
    chosen = tuple(sorted(set(timesteps)))
    last = len(prior.alphas_bar) - 1
    if not chosen or not 0 <= chosen[0] <= chosen[-1] <= last:
        raise InputError(
            f"timesteps of the prior {prior.name} must be from 0 to {last}, not {chosen}"
        )
    return chosen
