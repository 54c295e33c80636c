r"""The clean picture x behind an observation y = A x + n, by reweighted least squares.

    argmin_x  |m (A x - y)|^2 + lam sum_p (grad x)_p' T_p (grad x)_p,
    T = (J(x) + g J(v) + eps^2)^(-q),    J(x) = G (grad x) (grad x)'

m is a mask, J the structure tensor, and G smooths over a pixel. T makes differences across an edge
cheap and those along it expensive, so that edges are sharp, and smooth along their length. With
q = 1/2 this is the structure-tensor total variation of Lefkimmiatis et al. (2015); a larger q
prefers fewer and stronger edges. Where the guide v has edges, parallel edges of x are cheaper;
nothing else is taken from the guide. T is recomputed from the last x a few times; each time,
conjugate gradients continue from that x.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ddfm.numerics.filters import smooth
from ddfm.numerics.poisson import adjoint, grad
from ddfm.progress import part_done
from ddfm.restoration.operators import Operator

__all__ = ["ROUNDS", "conjugate_gradients", "least_squares", "tensor_power"]

EPS = 0.015  # smaller gradients, of levels from -1 to 1, are no edges
GRAIN = 1.3  # standard deviation of G, pixels
GUIDED = 0.4  # g: weight of the guide's edges
Q = 0.7
ROUNDS, PASSES = 8, 15  # how often T is computed, and conjugate gradient steps for each T

Field = tuple[Tensor, Tensor, Tensor]  # a symmetric 2 x 2 matrix at every pixel: xx, xy, yy


def least_squares(
    operator: Operator,
    y: Tensor,
    x: Tensor,
    lam: float,
    *,
    guide: Tensor | None = None,
    mask: Tensor | float = 1.0,
    rounds: int = ROUNDS,
) -> Tensor:
    """The minimiser x, starting from the given x.

    Args:
        operator: A.
        y, x: levels in [-1, 1], (1, 1, H, W).
        guide: v, registered with x and of its size.
        mask: m, 1 where y is valid, and 0 where it is not.
        rounds: how many times T is computed.
    """
    of_guide = None if guide is None else _structure(guide)
    right_side = operator.adjoint(mask * y)
    for _ in range(rounds):
        weights = _weights(x, of_guide)

        def applied(x: Tensor, weights: Field = weights) -> Tensor:
            data = operator.adjoint(mask * operator.forward(x))
            return data + lam * adjoint(*_weighted(weights, *grad(x)))

        x = conjugate_gradients(applied, right_side, x, PASSES)
    return x


def conjugate_gradients(
    applied: Callable[[Tensor], Tensor], right_side: Tensor, x: Tensor, passes: int
) -> Tensor:
    """Solves applied(x) = right_side, starting from x; `applied` is symmetric and positive."""
    x, rest = x.clone(), right_side - applied(x)
    way, norm = rest.clone(), rest.square().sum()
    for number in range(1, passes + 1):
        if norm <= 1e-20:
            break
        image = applied(way)
        step = norm / (way * image).sum()
        x.addcmul_(step, way)
        rest.addcmul_(-step, image)
        before, norm = norm, rest.square().sum()
        way.mul_(norm / before).add_(rest)
        part_done(number, passes)
    return x


def tensor_power(matrix: Field, power: float) -> Field:
    """A power of positive 2 x 2 matrices, from their eigenvalues m + d and m - d."""
    xx, xy, yy = matrix
    m, half = (xx + yy) / 2, (xx - yy) / 2
    d = (half**2 + xy**2).sqrt().clamp(min=1e-12)
    large, little = (m + d) ** power, (m - d).clamp(min=1e-12) ** power
    mean, turn = (large + little) / 2, (large - little) / (2 * d)
    return mean + turn * half, turn * xy, mean - turn * half


def _structure(x: Tensor) -> Field:
    right, below = grad(x)
    return smooth(right**2, GRAIN), smooth(right * below, GRAIN), smooth(below**2, GRAIN)


def _weights(x: Tensor, of_guide: Field | None) -> Field:
    """T for this x, and for the structure tensor of the guide."""
    xx, xy, yy = _structure(x)
    if of_guide is not None:
        xx, xy, yy = (j + GUIDED * v for j, v in zip((xx, xy, yy), of_guide, strict=True))
    return tensor_power((xx + EPS**2, xy, yy + EPS**2), -Q)


def _weighted(weights: Field, right: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """T grad x, without differences across the border."""
    xx, xy, yy = weights
    across, down = (xx * right).addcmul_(xy, below), (yy * below).addcmul_(xy, right)
    across[..., :, -1] = 0
    down[..., -1, :] = 0
    return across, down
