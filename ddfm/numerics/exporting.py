"""Operations that are computed in another way while `ddfm export` traces them into a graph.

A graph is for images of every size, so sizes are symbols, and no loop can run over them; and ONNX
has no complex numbers, so FFTs become matrix products. Results are the same, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["exporting", "median", "modulo", "repeated"]


def exporting() -> bool:
    """Whether torch.export is tracing; PyTorch before 2.6 cannot tell, and cannot export."""
    asked = getattr(torch.compiler, "is_exporting", None)
    return bool(asked and asked())


def modulo(x: Tensor, n: int) -> Tensor:
    """x % n of whole numbers; ONNX wants both to be tensors."""
    return torch.remainder(x, torch.full_like(x, n))


def median(x: Tensor) -> Tensor:
    """The median along the last dimension, which is kept; of two middle values the lower one."""
    if not exporting():
        return x.median(dim=-1, keepdim=True).values
    middle = (x.shape[-1] - 1) // 2
    return x.sort(dim=-1).values[..., middle : middle + 1]


def repeated(
    step: Callable[..., tuple[Tensor, ...]], state: tuple[Tensor, ...], times: int
) -> tuple[Tensor, ...]:
    """The state after this many steps; in a graph, a loop and not as many copies."""
    if not exporting():
        for _ in range(times):
            state = step(*state)
        return state
    from torch._higher_order_ops import while_loop

    def one(count: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return count + 1, *step(*(x.clone() for x in state))  # a step may work in place

    count = torch.zeros((), dtype=torch.int64)
    state = tuple(x.clone(memory_format=torch.contiguous_format) for x in state)
    return tuple(while_loop(lambda count, *_: count < times, one, (count, *state))[1:])
