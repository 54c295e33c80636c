"""Operations that are computed differently while `ddfm export` traces them into a graph.

A graph is for images of any size: sizes are symbols, over which no Python loop can run. ONNX has no
complex numbers, so FFTs become matrix products. The results are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["exporting", "lowest", "median", "modulo", "repeated"]


def exporting() -> bool:
    """Whether torch.export is tracing; False before PyTorch 2.6, which cannot export anyway."""
    asked = getattr(torch.compiler, "is_exporting", None)
    return bool(asked and asked())


def modulo(x: Tensor, n: int) -> Tensor:
    """x % n for integers; ONNX requires both to be tensors."""
    return torch.remainder(x, torch.full_like(x, n))


def median(x: Tensor) -> Tensor:
    """The median along the last dimension, which is kept; the lower one of two middle values."""
    return lowest(x, 2)


def lowest(x: Tensor, part: int) -> Tensor:
    """The largest of the lowest 1/part of the values along the last dimension, which is kept."""
    count = (x.shape[-1] + part - 1) // part
    if not exporting() and x.device.type != "mps":  # where PyTorch before 2.9 lacks it
        return x.kthvalue(count, dim=-1, keepdim=True).values
    return x.sort(dim=-1).values[..., count - 1 : count]


def repeated(
    step: Callable[..., tuple[Tensor, ...]], state: tuple[Tensor, ...], times: int
) -> tuple[Tensor, ...]:
    """The state after `times` steps; a graph gets a loop rather than a copy of each step."""
    if not exporting():
        for _ in range(times):
            state = step(*state)
        return state
    from torch._higher_order_ops import while_loop

    def one(count: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return count + 1, *step(*(x.clone() for x in state))  # since a step may work in place

    count = torch.zeros((), dtype=torch.int64)
    state = tuple(x.clone(memory_format=torch.contiguous_format) for x in state)
    return tuple(while_loop(lambda count, *_: count < times, one, (count, *state))[1:])
