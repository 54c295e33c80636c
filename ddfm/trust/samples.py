"""Draws samples of the posterior: other results that are possible given the noisy sources.

The fused image follows from the clean sources, but these are not known, since the sources are
noisy. A sample of the posterior is the fusion of one sample of each source. This covers the
uncertainty that noise causes, and what the prior makes of it. It does not cover the choices of the
model: from which source a region has its level, and what counts as a target, do not vary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from ddfm.arguments import whole_number
from ddfm.diffusion.observed import Observed
from ddfm.diffusion.samplers import Noise
from ddfm.errors import InputError
from ddfm.priors.prior import Prior

__all__ = ["MOST", "check_samples", "posterior_samples"]

LEAST, MOST = 2, 1024
# Pixels that are processed at once; CPUs are slower if these exceed their caches.
AT_ONCE = {"cpu": 1 << 18, "other": 1 << 23}


def check_samples(count: int, *, needed: bool = False) -> int:
    """Returns the count; raises InputError if it is out of range. 0, for none, is, if `needed`."""
    count = whole_number("samples", count)
    if (count or needed) and not LEAST <= count <= MOST:
        none = "" if needed else "0 for none, or "
        raise InputError(f"samples must be {none}from {LEAST} to {MOST}, not {count}")
    return count


def posterior_samples(
    sources: Sequence[Observed],
    prior: Prior,
    fuse: Callable[[list[Tensor], list[int]], Tensor],
    count: int,
    seed: int,
    size: tuple[int, int],
) -> np.ndarray:
    """Samples (count, H, W), in pairs with their own noise, which does not depend on the batch.

    Args:
        fuse: makes luminance (N, 1, H, W) in [0, 1] from sources (N, 1, H, W) each, and N seeds.
        seed: that of the result itself; samples have the seeds after it.
        size: (H, W), without the padding of the sources.
    """
    like = sources[0].seen
    kind = "cpu" if like.device.type == "cpu" else "other"
    together = max(1, AT_ONCE[kind] // like[0].numel())
    seeds = [(seed + 1 + k) % 2**63 for k in range(count)]
    samples = np.empty((count, *size), np.float32)
    drawn_together = 2 * max(1, together // 2)
    for first in range(0, count, drawn_together):
        some = seeds[first : first + drawn_together]
        noise = Noise(some[::2])
        drawn = [source.drawn(prior, noise)[: len(some)] for source in sources]
        for k in range(0, len(some), together):
            now = some[k : k + together]
            fused = fuse([x[k : k + together] for x in drawn], now)
            samples[first + k : first + k + len(now)] = fused[:, 0].float().cpu().numpy()
    return samples
