"""Targets: small things that are far brighter than what is around them, and than the picture.

In standard deviations of the source, a pixel stands out by the lesser of what it has above its
surround and above the mean of the picture,

    o = min(max_w (smooth_1(s) - smooth_w(s)), smooth_1(s) - mean s) / std s,

the surrounds w being `REACH` of the shorter side and twice as much. With as many false alarms as
the tail of a picture without targets has, T = 1 / (1 + exp(-8 (o - theta))).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.numerics.poisson import PoissonSolver
from ddfm.numerics.filters import smooth

__all__ = ["find_targets"]

SURROUNDS = (0.03, 0.06, 0.12)


def find_targets(s: Tensor, theta: float, sharp: float, solver: PoissonSolver) -> Tensor:
    """T (B, K, H, W), from 0 to 1; what is left of 1 is the probability of none."""
    short = min(s.shape[-2:])
    level = smooth(s, 1.0)
    deviation = s.std(dim=(2, 3), keepdim=True, correction=0).clamp(min=0.02)
    above = torch.stack([level - solver.blur(s, w * short) for w in SURROUNDS]).amax(0)
    o = torch.minimum(above, level - s.mean(dim=(2, 3), keepdim=True)) / deviation
    T = torch.cat([o, torch.full_like(o[:, :1], theta)], dim=1).mul(sharp).softmax(dim=1)[:, :-1]
    T = smooth(F.max_pool2d(T, 7, 1, 3), 1.5)
    first, others = T[:, :1], T[:, 1:]
    return torch.cat([first, others * ((1 - first) / others.sum(1, keepdim=True).clamp(min=1e-6)).clamp(max=1)], dim=1)
