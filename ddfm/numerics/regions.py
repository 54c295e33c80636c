"""Smooths a map within regions: the smoothing of x stops at the edges of the sources s_k.

    argmin_y  |x - y|^2 + w^2 |V^(1/2) grad y|^2,
    V = (1 + max_k |grad s_k|^2 / contour^2)^(-3/2)

This is weighted least squares (Farbman et al. 2008), and leads to an equation like that of the
M-step, which is solved in the same way. At strong edges V must be small beside w^-2, or what
surrounds a narrow region decides in it, too; so V falls with the third power of the gradient.

It is computed on a coarse grid. That is enough, since the result determines levels, and the M-step
uses only their low frequencies.
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

GRID = 120  # points of the grid along the shorter side, approximately
POINTS = 60_000  # most points of the grid
PASSES = 120  # conjugate gradient steps; shares of sources are within 0.005 on average then


def on_grid(x: Tensor) -> Tensor:
    """The mean of x (B, K, H, W) around each point of the coarse grid."""
    step = _step(*x.shape[-2:])
    return _coarse(x, [(n + step - 1) // step for n in x.shape[-2:]])


def smoothed_on_grid(x: Tensor, sources: Tensor, width: float, contour: float) -> Tensor:
    """y, the smoothed x; x, the sources and the result are on the grid, (B, K, h, w).

    Args:
        sources: s_k, whose edges stop the smoothing.
        width: w, as a fraction of the shorter side.
        contour: difference between neighbouring points of the grid at which V is 0.35.
    """
    right, below = grad(sources)
    V = (1 + (right**2 + below**2).amax(1, keepdim=True) / contour**2) ** -1.5
    a = (width * torch.sym_min(*x.shape[-2:])) ** -2
    even = x.mean(dim=(2, 3), keepdim=True).expand_as(x)
    return PoissonSolver().weighted(a, V, a * x, even, PASSES, parted=True)


def from_grid(y: Tensor, shape: torch.Size, band: Band) -> Tensor:
    """y (B, K, h, w), interpolated from the grid to a band of a picture of this shape."""
    if exporting():
        return F.interpolate(y, size=shape[-2:], mode="bilinear")
    columns, rows = (torch.arange(n) for n in (shape[-1], shape[-2]))
    y = _between(y, columns, shape[-1], -1)
    return _between(y, rows[band.wide], shape[-2], -2)


def _between(y: Tensor, places: Tensor, size: int, dim: int) -> Tensor:
    """y at these places, of `size` pixels, by linear interpolation along one dimension.

    PyTorch's interpolation rounds differently for the last pixels of each thread.
    """
    points = y.shape[dim]
    at = ((places.to(torch.float32) + 0.5) * (points / size) - 0.5).clamp(min=0)
    before = at.long()
    after = (before + 1).clamp(max=points - 1)
    part = (at - before).to(y)
    part = part[:, None] if dim == -2 else part
    one, other = (y.index_select(dim, where.to(y.device)) for where in (before, after))
    return one.mul_(1 - part).add_(other.mul_(part))


def _step(height: int, width: int) -> int:
    """Distance between points of the grid in pixels, by operations that can be exported."""
    shorter = torch.sym_min(height, width)
    # shorter / GRID, rounded to the nearest, halves to even
    by_side = (shorter + GRID // 2 - 1 + shorter // GRID % 2) // GRID
    by_area = math.ceil((height * width / POINTS) ** 0.5)
    return torch.sym_max(1, torch.sym_max(by_side, by_area))


def _coarse(x: Tensor, size: list[int]) -> Tensor:
    """x on the grid: the mean of the pixels around each point."""
    if not exporting():
        return F.interpolate(x, size=size, mode="area")
    rows, columns = (_means(n, m, x) for n, m in zip(x.shape[-2:], size, strict=True))
    return rows @ x @ columns.mT


def _means(n: int, m: int, like: Tensor) -> Tensor:
    """The matrix (m, n) that averages n pixels around each of m points."""
    point = torch.arange(m, device=like.device)[:, None]
    pixel = torch.arange(n, device=like.device)
    of = torch.full_like(point, m)
    first = torch.div(point * n, of, rounding_mode="floor")
    end = torch.div((point + 1) * n + (of - 1), of, rounding_mode="floor")
    part = ((pixel >= first) & (pixel < end)).to(like.dtype)
    return part / part.sum(dim=1, keepdim=True)
