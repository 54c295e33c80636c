"""Smoothing over regions, which stops at the edges of the sources.

    argmin_y  |x - y|^2 + w^2 |V^(1/2) grad y|^2,    V = 1 / (1 + max_k |grad s_k|^2 / contour^2)

This is weighted least squares (Farbman et al. 2008), an equation like that of the M-step, and
solved like it. A coarse grid is enough, since the result decides about levels, of which the M-step
takes the low frequencies only.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.numerics.bands import Band
from ddfm.numerics.exporting import exporting
from ddfm.numerics.poisson import PoissonSolver, grad

__all__ = ["from_grid", "on_grid", "smoothed_on_grid"]

GRID = 120  # about so many points along the shorter side
POINTS = 60_000  # of the grid, at most
PASSES = 80  # of the conjugate gradients; at the default contour errors are below a hundredth


def on_grid(x: Tensor) -> Tensor:
    """The mean of x (B, K, H, W) around each point of the coarse grid."""
    step = _step(*x.shape[-2:])
    return _coarse(x, [(n + step - 1) // step for n in x.shape[-2:]])


def smoothed_on_grid(x: Tensor, sources: Tensor, width: float, contour: float) -> Tensor:
    """x, smoothed; x, the sources and the result are on the grid, (B, K, h, w).

    Args:
        sources: images whose edges stop the smoothing.
        width: w, as a fraction of the shorter side.
        contour: size of an edge, from one point of the grid to the next, that halves V.
    """
    right, below = grad(sources)
    V = 1 / (1 + (right**2 + below**2).amax(1, keepdim=True) / contour**2)
    a = (width * torch.sym_min(*x.shape[-2:])) ** -2
    even = x.mean(dim=(2, 3), keepdim=True).expand_as(x)
    return PoissonSolver().weighted(a, V, a * x, even, PASSES)


def from_grid(y: Tensor, shape: torch.Size, band: Band) -> Tensor:
    """y (B, K, h, w), interpolated from the grid, in a band of a picture of that shape."""
    if exporting():
        return F.interpolate(y, size=shape[-2:], mode="bilinear")
    columns, rows = (torch.arange(n) for n in (shape[-1], shape[-2]))
    y = _between(y, columns, shape[-1], -1)
    return _between(y, rows[band.wide], shape[-2], -2)


def _between(y: Tensor, places: Tensor, size: int, dim: int) -> Tensor:
    """y at these of `size` pixels, by linear interpolation along a dimension.

    PyTorch's own interpolation rounds in another way for the last pixels of each thread.
    """
    points = y.shape[dim]
    at = ((places + 0.5) * (points / size) - 0.5).clamp(min=0)
    before = at.long()
    after = (before + 1).clamp(max=points - 1)
    part = (at - before).to(y)
    part = part[:, None] if dim == -2 else part
    one, other = (y.index_select(dim, where.to(y.device)) for where in (before, after))
    return one.mul_(1 - part).add_(other.mul_(part))


def _step(height: int, width: int) -> int:
    """How many pixels the points of the grid lie apart, by operations that a graph can have."""
    shorter = torch.sym_min(height, width)
    # shorter / GRID, rounded to the nearest, halves to even
    by_side = (shorter + GRID // 2 - 1 + shorter // GRID % 2) // GRID
    by_area = math.ceil((height * width / POINTS) ** 0.5)
    return torch.sym_max(1, torch.sym_max(by_side, by_area))


def _coarse(x: Tensor, size: list[int]) -> Tensor:
    """x on the grid, the mean of the pixels around each point."""
    if not exporting():
        return F.interpolate(x, size=size, mode="area")
    rows, columns = (_means(n, m, x) for n, m in zip(x.shape[-2:], size, strict=True))
    return rows @ x @ columns.mT


def _means(n: int, m: int, like: Tensor) -> Tensor:
    """The mean of n pixels around each of m points, as a matrix (m, n)."""
    point = torch.arange(m, device=like.device)[:, None]
    pixel = torch.arange(n, device=like.device)
    of = torch.full_like(point, m)
    first = torch.div(point * n, of, rounding_mode="floor")
    end = torch.div((point + 1) * n + (of - 1), of, rounding_mode="floor")
    part = ((pixel >= first) & (pixel < end)).to(like.dtype)
    return part / part.sum(dim=1, keepdim=True)
