"""Muon: momentum whose matrix is replaced by the nearest orthogonal one (Jordan et al. 2024).

Every direction of a weight matrix then learns at the same rate, which gets further than AdamW in
the same number of batches. Vectors and the outermost layers are left to AdamW.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["Muon", "orthogonalised"]

STEPS = 5  # number of Newton-Schulz iterations
MOMENTUM = 0.95
DECAY = 0.1  # relative to the learning rate


def orthogonalised(matrix: Tensor) -> Tensor:
    """An approximation of U V^T for the matrix U S V^T, by a quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315  # steep at 0; singular values end between about 0.7 and 1.2
    x = matrix / (matrix.norm() + 1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    # Each step multiplies x from the left by a polynomial of x x^T. So all steps together need only
    # small square matrices, and x itself is multiplied once.
    gram, product = x @ x.T, None
    for _ in range(STEPS):
        factor = b * gram + c * gram @ gram
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """For weights of two or more dimensions; a convolution counts as outputs x (inputs x taps).

    A step is as large in directions that the data never show as in all others. `DECAY` takes away
    what accumulates there.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
                ahead = weight.grad.lerp(state["momentum"], MOMENTUM)
                update = orthogonalised(ahead.flatten(1))
                rows, columns = update.shape
                scale = max(1.0, rows / columns) ** 0.5
                weight.mul_(1 - group["lr"] * DECAY)
                weight.add_(update.view_as(weight), alpha=-group["lr"] * scale)
