"""Smoothing over regions: as wide as they are, and no farther than the edges of the sources.

    argmin_y  |x - y|^2 + w^2 |V^(1/2) grad y|^2,    V = 1 / (1 + max_k |grad s_k|^2 / contour^2)

This is weighted least squares (Farbman et al. 2008), an equation like that of the M-step, and
solved like it; on a coarse grid, since what is smoothed decides about levels, and of these the
M-step takes the low frequencies only.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from ddfm.numerics.poisson import PoissonSolver, grad

__all__ = ["smooth_regions"]

GRID = 120  # about so many points along the shorter side
POINTS = 60_000  # and no more than that in all
PASSES = 80  # of the conjugate gradients; at the default contour errors are below a hundredth


def smooth_regions(x: Tensor, sources: Tensor, width: float, contour: float) -> Tensor:
    """x (B, K, H, W), smoothed.

    Args:
        sources: in which the edges are, (B, K, H, W).
        width: w, as a fraction of the shorter side.
        contour: size of an edge, from one point of the grid to the next, that is half as easily
            crossed as an even place.
    """
    size = x.shape[-2:]
    step = max(1, round(min(size) / GRID), math.ceil(math.sqrt(math.prod(size) / POINTS)))
    coarse = [-(-n // step) for n in size]
    x, sources = (F.interpolate(part, size=coarse, mode="area") for part in (x, sources))
    right, below = grad(sources)
    V = 1 / (1 + (right**2 + below**2).amax(1, keepdim=True) / contour**2)
    a = (width * min(coarse)) ** -2
    y = PoissonSolver().weighted(a, V, a * x, x.mean(dim=(2, 3), keepdim=True).expand_as(x), PASSES)
    return F.interpolate(y, size=size, mode="bilinear")
