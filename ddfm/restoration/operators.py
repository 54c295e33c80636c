"""The linear operators A of an observation y = A x + n: averaging over pixels, and blurs.

Each is a frozen object with `forward`, A x, and `adjoint`, A' y, on planes (B, 1, H, W); they
satisfy <A x, y> = <x, A' y>.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.imaging.picture import Size
from ddfm.numerics.filters import mirrored_places, smooth

__all__ = [
    "AreaAverage",
    "Chain",
    "GaussianBlur",
    "KernelBlur",
    "Operator",
    "as_kernel",
    "motion_kernel",
]


class Operator(Protocol):
    """A linear map of planes, and its transpose."""

    def forward(self, x: Tensor) -> Tensor: ...

    def adjoint(self, y: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class AreaAverage:
    """The mean over the area of each coarse pixel, for any two sizes of one field of view."""

    fine: Size
    coarse: Size

    @classmethod
    def halving(cls, size: Size) -> AreaAverage:
        """The operator that halves the size; odd sides are rounded up."""
        return cls(size, (-(-size[0] // 2), -(-size[1] // 2)))

    def forward(self, x: Tensor) -> Tensor:
        for dim, (index, weight) in zip((-2, -1), self._means, strict=True):
            x = _gathered(x, dim, index, weight)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        # Columns first, while there are few rows: gathering along a row is slow.
        for dim, (index, weight) in zip((-1, -2), reversed(self._spreads), strict=True):
            y = _gathered(y, dim, index, weight)
        return y

    @cached_property
    def _means(self) -> list[tuple[Tensor, Tensor]]:
        return [_taps(_overlaps(n, m)) for n, m in zip(self.fine, self.coarse, strict=True)]

    @cached_property
    def _spreads(self) -> list[tuple[Tensor, Tensor]]:
        return [_taps(_overlaps(n, m).T) for n, m in zip(self.fine, self.coarse, strict=True)]


@dataclass(frozen=True)
class GaussianBlur:
    """Gaussian blur with mirrored borders."""

    sigma: float

    def forward(self, x: Tensor) -> Tensor:
        return smooth(x, self.sigma)

    def adjoint(self, y: Tensor) -> Tensor:
        return smooth(y, self.sigma)


@dataclass(frozen=True)
class KernelBlur:
    """Blur by a kernel with odd sides and a sum of one, with mirrored borders."""

    kernel: tuple[tuple[float, ...], ...]

    def forward(self, x: Tensor) -> Tensor:
        kernel = self._taps(x)
        for dim, reach in self._reaches:
            x = x.index_select(dim, mirrored_places(x.shape[dim], reach).to(x.device))
        return F.conv2d(x, kernel)

    def adjoint(self, y: Tensor) -> Tensor:
        size = y.shape[-2:]
        y = F.conv_transpose2d(y, self._taps(y))
        for (dim, reach), n in zip(self._reaches, size, strict=True):
            shape = [*y.shape]
            shape[dim] = n
            places = mirrored_places(n, reach).to(y.device)
            y = y.new_zeros(shape).index_add_(dim, places, y)
        return y

    def _taps(self, like: Tensor) -> Tensor:
        return like.new_tensor(self.kernel).flip(0, 1)[None, None]

    @property
    def _reaches(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (-2, len(self.kernel) // 2), (-1, len(self.kernel[0]) // 2)


@dataclass(frozen=True)
class Chain:
    """Several operators, applied one after the other in the order of `parts`."""

    parts: tuple[Operator, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part.forward(x)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.adjoint(y)
        return y


def motion_kernel(length: float, angle: float) -> tuple[tuple[float, ...], ...]:
    """A line of `length` pixels, `angle` degrees up from the row, as a kernel for `KernelBlur`."""
    reach = math.ceil(length / 2)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    points = max(2, math.ceil(16 * length))
    for s in (np.arange(points) + 0.5) / points * length - length / 2:
        y, x = reach - s * math.sin(math.radians(angle)), reach + s * math.cos(math.radians(angle))
        i, j = int(min(y, 2 * reach - 1e-9)), int(min(x, 2 * reach - 1e-9))
        u, v = y - i, x - j
        kernel[i : i + 2, j : j + 2] += np.outer([1 - u, u], [1 - v, v])
    return as_kernel(kernel)


def as_kernel(values: np.ndarray | Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """These values as a kernel, divided by their sum."""
    array = np.asarray(values, float)
    return tuple(tuple(map(float, row)) for row in array / array.sum())


def _overlaps(n: int, m: int) -> np.ndarray:
    """(m, n): the weight of each of n fine pixels in the mean over each of m coarse pixels."""
    ends = np.arange(m + 1) * (n / m)
    low = np.maximum(ends[:-1, None], np.arange(n))
    high = np.minimum(ends[1:, None], np.arange(1, n + 1))
    return np.clip(high - low, 0, None) * (m / n)


def _taps(matrix: np.ndarray) -> tuple[Tensor, Tensor]:
    """A matrix with few adjacent entries in each row, as (places, weights), (taps, rows) each."""
    first = (matrix > 0).argmax(axis=1)
    count = int((matrix > 0).sum(axis=1).max())
    places = np.minimum(first + np.arange(count)[:, None], matrix.shape[1] - 1)
    inside = first + np.arange(count)[:, None] < matrix.shape[1]
    weights = np.take_along_axis(matrix, places.T, axis=1).T * inside
    return torch.from_numpy(places), torch.from_numpy(weights)


def _gathered(x: Tensor, dim: int, index: Tensor, weight: Tensor) -> Tensor:
    shape = (-1, 1) if dim == -2 else (-1,)
    total: Tensor | None = None
    for places, share in zip(index.to(x.device), weight.to(x), strict=True):
        part = share.view(shape) * x.index_select(dim, places)
        total = part if total is None else total + part
    assert total is not None
    return total
