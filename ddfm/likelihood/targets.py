"""Targets: what one source shows far brighter than its surroundings, and the others do not.

A pixel x of a target is brighter than its surroundings on all four sides, and than the mean of the
image. In standard deviations of source k, it stands out by

    o_k(x) = (smooth_1(s_k)(x) - max(mean s_k, min_r max_d smooth_w(s_k)(x + r d))) / std s_k,

where the direction d is left, right, up or down, the distance r is a sixteenth, an eighth or a
quarter of the shorter side, and w = 2 r / 3. The edge of something warm and large, such as a roof
or trees in front of a cold sky, stands out on one side only and is no target. The pixel is a target
of source k with the probability

    T_k = exp(SHARP o_k) / (exp(SHARP theta) + sum_j exp(SHARP o_j)),

so that with one source standing out by theta, a target is as probable as none. The sum over all
sources keeps a pixel from being a target of two sources: a lamp in front of a warm wall belongs to
the lamp's source alone. Pixels within `MARGIN` of a target are its outline and belong to it; where
outlines meet, those of the first source come first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ddfm.numerics.bands import in_bands, sum_in_bands
from ddfm.numerics.filters import largest_within, per_image_mean, reach_of, shares_of, smooth
from ddfm.numerics.poisson import PoissonSolver
from ddfm.progress import stage

__all__ = ["find_targets"]

SHARP = 8.0  # how sharply T changes from 0 to 1 around theta
AWAY = (16, 8, 4)  # the shorter side divided by these: distances r of the surroundings
MARGIN = 3  # pixels; width of a target's outline
REACH = MARGIN + reach_of(MARGIN / 2)  # pixels away from a target that T is still affected
LEAST = 0.02  # lower bound of std s_k, so that noise in an even image makes no targets


def find_targets(sources: Sequence[Tensor], theta: float, solver: PoissonSolver) -> Tensor:
    """T (B, K, H, W); 1 minus the sum over K is the probability of no target."""
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
    stage("looking for targets", detail=True)
    nearest, *others = (torch.sym_min(*s.shape[-2:]) // parts for parts in AWAY)
    surround = _most_around(s, nearest, solver)
    for away in others:
        surround = torch.minimum(surround, _most_around(s, away, solver))
    mean = per_image_mean(s)
    surround = torch.maximum(surround, mean)
    variance = sum_in_bands(lambda band: (band.around(s) - mean) ** 2, s) / s[0].numel()
    deviation = variance.sqrt().clamp(min=LEAST)
    reach = reach_of(1.0)
    stands_out = in_bands(lambda band: smooth(band.around(s), 1.0), s, reach)
    return stands_out.sub_(surround).div_(deviation)


def _most_around(s: Tensor, away: int, solver: PoissonSolver) -> Tensor:
    """The brightest of the four sides at a distance of `away` pixels, each side smoothed."""
    wide = solver.blur(s, 2 * away / 3)
    most = _moved(wide, away, -1)
    for by, dim in ((-away, -1), (away, -2), (-away, -2)):
        most = torch.maximum(most, _moved(wide, by, dim))
    return most


def _moved(x: Tensor, by: int, dim: int) -> Tensor:
    """x shifted by this many pixels; the border is repeated beyond the picture."""
    places = torch.arange(x.shape[dim], device=x.device) + by
    return x.index_select(dim, places.clamp(min=0).clamp(max=x.shape[dim] - 1))
