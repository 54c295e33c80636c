"""Other results that the sources leave possible.

The fusion says what follows from the sources; what the sources have been is not known, for they
have noise. So a sample of the posterior is the fusion of a sample of each source. That contains
what noise leaves open, and what the prior makes of it. It does not contain the choice of the model:
which source a region has its level from, and what counts as a target, stay as they were found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ddfm.arguments import whole_number
from ddfm.diffusion.observed import Observed
from ddfm.diffusion.samplers import Noise
from ddfm.errors import InputError
from ddfm.priors.prior import Prior

__all__ = ["MOST", "check_samples", "posterior_samples"]

LEAST, MOST = 2, 1024
# Pixels at once: processors are the slower, the more lies beyond their caches.
AT_ONCE = {"cpu": 1 << 18, "other": 1 << 23}


def check_samples(count: int) -> int:
    """The count itself, 0 for none."""
    count = whole_number("samples", count)
    if count and not LEAST <= count <= MOST:
        raise InputError(f"samples must be 0 for none, or from {LEAST} to {MOST}, not {count}")
    return count


def posterior_samples(
    sources: Sequence[Observed],
    prior: Prior,
    fuse: Callable[[list[Tensor], list[int]], Tensor],
    count: int,
    seed: int,
) -> np.ndarray:
    """(count, H, W), each of its own noise: the same alone and in any batch.

    Args:
        fuse: of sources (N, 1, H, W) and N seeds, luminance (N, 1, H, W) in [0, 1].
        seed: of the result itself, which no sample has.
    """
    like = sources[0].seen
    kind = "cpu" if like.device.type == "cpu" else "other"
    together = max(1, AT_ONCE[kind] // like[0].numel())
    seeds = [(seed + 1 + k) % 2**63 for k in range(count)]
    planes = []
    for first in range(0, count, together):
        some = seeds[first : first + together]
        noise = Noise(some)
        drawn = [source.drawn(prior, noise) for source in sources]
        planes.append(fuse(drawn, some)[:, 0].float().cpu())
    return torch.cat(planes).numpy()
