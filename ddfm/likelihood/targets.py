"""Targets: what one source shows far brighter than its surround, its picture, and the others.

A pixel of source k stands out by the lesser of what it has above its surround and what it has above
the mean of the picture, in standard deviations of the source,

    o_k = min(max_w (smooth_1(s_k) - smooth_w(s_k)), smooth_1(s_k) - mean s_k) / std s_k,

for surrounds w from a thirtieth of the shorter side to an eighth. It is a target of k with the
posterior probability

    T_k = exp(SHARP o_k) / (exp(SHARP theta) + sum_j exp(SHARP o_j)),

theta being where none is as likely. So the false alarms are what the source has beyond theta
deviations, and no pixel is a target of two: a lamp is not given to a warm wall. What lies within
`MARGIN` of a target is its outline, and belongs to it; to that of the first source before others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ddfm.numerics.bands import in_bands, sum_in_bands
from ddfm.numerics.filters import largest_within, per_image_mean, reach_of, shares_of, smooth
from ddfm.numerics.poisson import PoissonSolver

__all__ = ["find_targets"]

SHARP = 8.0
SURROUNDS = (1 / 32, 1 / 16, 1 / 8)
MARGIN = 3  # pixels
REACH = MARGIN + reach_of(MARGIN / 2)  # of a target
LEAST = 0.02  # of a standard deviation: what is even has no targets


def find_targets(sources: Sequence[Tensor], theta: float, solver: PoissonSolver) -> Tensor:
    """T (B, K, H, W), from 0 to 1; what is missing to 1 is the probability of no target."""
    o = torch.cat([_outstanding(one, solver) for one in sources], dim=1)
    return in_bands(lambda band: _targets(band.around(o), theta), o, REACH)


def _targets(o: Tensor, theta: float) -> Tensor:
    none = torch.full_like(o[:, :1], theta)
    T = shares_of(SHARP * torch.cat([o, none], dim=1))[:, :-1]
    T = smooth(largest_within(T, MARGIN), MARGIN / 2)
    first, others = T[:, :1], T[:, 1:]
    room = (1 - first) / others.sum(dim=1, keepdim=True).clamp(min=1e-6)
    return torch.cat([first, others * room.clamp(max=1)], dim=1)


def _outstanding(s: Tensor, solver: PoissonSolver) -> Tensor:
    """o of one source."""
    least, *others = (share * torch.sym_min(*s.shape[-2:]) for share in SURROUNDS)
    surround = solver.blur(s, least)
    for width in others:
        surround = torch.minimum(surround, solver.blur(s, width))
    mean = per_image_mean(s)
    surround = torch.maximum(surround, mean)
    variance = sum_in_bands(lambda band: (band.around(s) - mean) ** 2, s) / s[0].numel()
    deviation = variance.sqrt().clamp(min=LEAST)
    reach = reach_of(1.0)
    stands_out = in_bands(lambda band: smooth(band.around(s), 1.0), s, reach)
    return stands_out.sub_(surround).div_(deviation)
