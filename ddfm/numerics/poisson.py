r"""The quadratic problem of the default M-step, with free borders: a screened Poisson equation.

    argmin_f a |f - b|^2 + |grad f - g|^2    is solved by    (a + grad' grad) f = a b + grad' g

Differences across the border are zero. The cosines of the DCT-II are then the eigenvectors of
grad' grad, with the eigenvalues 2 - 2 cos(pi k / N) along each side, so that a DCT solves it.

With weights W of the gradients, grad' W grad has other eigenvectors. Then a few conjugate gradient
steps solve the equation, preconditioned by the equation with the mean weight.
"""

from __future__ import annotations

import math

import torch
from scipy.fft import dctn, idctn
from torch import Tensor

from ddfm.numerics.bands import Band, bands, in_bands, sum_in_bands
from ddfm.numerics.exporting import exporting, modulo, repeated
from ddfm.numerics.filters import per_image_mean, smooth

__all__ = ["PoissonSolver", "adjoint", "dct", "grad", "idct", "in_cosines", "steepness"]

NOTHING = 1e-30  # keeps quotients finite where the residual is zero


def grad(f: Tensor) -> tuple[Tensor, Tensor]:
    """Differences to the neighbours on the right and below; 0 at the last column and row."""
    right = torch.zeros_like(f)
    below = torch.zeros_like(f)
    right[..., :, :-1] = f[..., :, 1:] - f[..., :, :-1]
    below[..., :-1, :] = f[..., 1:, :] - f[..., :-1, :]
    return right, below


def steepness(x: Tensor, reach: float) -> Tensor:
    """The root mean square of gradients, in a Gaussian window with the deviation `reach`."""
    right, below = grad(x)
    return smooth(right**2 + below**2, reach).sqrt()


def adjoint(right: Tensor, below: Tensor) -> Tensor:
    """The transpose of `grad`, for fields that are 0 at the last column and row."""
    f = (right + below).neg_()
    f[..., :, 1:] += right[..., :, :-1]
    f[..., 1:, :] += below[..., :-1, :]
    return f


def dct(x: Tensor) -> Tensor:
    """DCT-II along the last axis, by one FFT of the same length (Makhoul 1980).

    The products are real, since complex ones are rounded differently at the end of each thread's
    share.
    """
    folded = torch.fft.fft(torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], dim=-1))
    cosine, sine = _turn(x.shape[-1], x)
    return folded.real * cosine + folded.imag * sine


def idct(y: Tensor) -> Tensor:
    """The inverse of `dct`."""
    n = y.shape[-1]
    mirrored = torch.cat([torch.zeros_like(y[..., :1]), y[..., 1:].flip(-1)], dim=-1)
    cosine, sine = _turn(n, y)
    turned = torch.complex(y * cosine + mirrored * sine, y * sine - mirrored * cosine)
    folded = torch.fft.ifft(turned).real
    x = torch.empty_like(y)
    x[..., ::2] = folded[..., : (n + 1) // 2]
    x[..., 1::2] = folded[..., (n + 1) // 2 :].flip(-1)
    return x


def in_cosines(x: Tensor, response: Tensor, *, spent: bool = False) -> Tensor:
    """x (..., H, W), with each of its DCT coefficients times a response, (H, W) or one per image.

    Args:
        spent: whether x is no longer needed, and its memory may be reused.
    """
    if exporting():
        return _in_matrices(x, response)
    if x.device.type == "cpu":  # SciPy takes a third of the time and memory there
        workers = torch.get_num_threads()
        waves = dctn(x.numpy(), axes=(-2, -1), overwrite_x=spent, workers=workers)
        waves = torch.from_numpy(waves).mul_(response).numpy()
        return torch.from_numpy(idctn(waves, axes=(-2, -1), overwrite_x=True, workers=workers))
    waves = dct(dct(x).transpose(-1, -2)).transpose(-1, -2) * response
    return idct(idct(waves.transpose(-1, -2)).transpose(-1, -2))


def _in_matrices(x: Tensor, response: Tensor) -> Tensor:
    """`in_cosines` for exported graphs, where a transform is a product with its matrix."""
    rows, columns = (_cosines(n, x) for n in x.shape[-2:])
    return rows.mT @ ((rows @ x @ columns.mT) * response) @ columns


def _cosines(n: int, like: Tensor) -> Tensor:
    """The orthonormal DCT-II as a matrix (n, n)."""
    k = torch.arange(n, device=like.device)
    turns = modulo(k[:, None] * (2 * k + 1), 4 * n)  # integers, so that angles are exact
    waves = torch.cos(torch.pi / 2 * turns.to(torch.float64) / n)
    return (waves * ((2 - (k == 0).to(torch.float64)) / n).sqrt()[:, None]).to(like.dtype)


class PoissonSolver:
    """Solves the equations above; keeps the eigenvalues along each side for the last size."""

    def __init__(self) -> None:
        self._lines = torch.empty(0), torch.empty(0)

    def __call__(self, a: Tensor | float, right_side: Tensor) -> Tensor:
        """Solves (a + grad' grad) f = right_side; a is a number, or one per image (B, 1, 1, 1)."""
        return in_cosines(right_side, (a + self._eigenvalues_for(right_side)).reciprocal_())

    def weighted(
        self,
        a: Tensor | float,
        weight: Tensor,
        right_side: Tensor,
        f: Tensor,
        passes: int,
        *,
        parted: bool = False,
    ) -> Tensor:
        """Solves (a + grad' weight grad) f = right_side for each image, starting from f.

        a is a number, one per image, or one per pixel; the preconditioner uses its mean.

        Args:
            passes: how many conjugate gradient steps are made.
            parted: whether weights are so small in places that the image falls into parts; then
                the diagonal of the equation is added to the preconditioner.
        """
        mean = per_image_mean(weight)
        if not isinstance(a, Tensor):
            a = torch.full_like(mean, a)
        inverse = (per_image_mean(a) / mean + self._eigenvalues_for(f)).reciprocal_()

        own = _diagonal(a, weight).reciprocal_() if parted else None

        def step(f: Tensor, rest: Tensor, way: Tensor, before: Tensor) -> tuple[Tensor, ...]:
            towards = in_cosines(rest / mean, inverse, spent=True)
            if own is not None:
                towards.add_(own * rest)
            gain = _product(rest, towards)
            way = towards.add_(way.mul_(gain / before.clamp(min=NOTHING)))  # 0 at first
            applied = _applied(a, weight, way)
            length = gain / _product(way, applied).clamp(min=NOTHING)
            return _moved(f, length, way), rest.sub_(applied.mul_(length)), way, gain

        rest = _applied(a, weight, f).neg_().add_(right_side)
        first = f.clone(), rest, torch.zeros_like(rest), torch.ones_like(mean)
        return repeated(step, first, passes)[0]

    def blur(self, x: Tensor, sigma: float) -> Tensor:
        """Gaussian smoothing of any width, with mirrored borders: diffusion for sigma^2 / 2."""
        return in_cosines(x, self._eigenvalues_for(x).mul_(-(sigma**2) / 2).exp_())

    def _eigenvalues_for(self, x: Tensor) -> Tensor:
        """Eigenvalues (H, W), computed at each call: storing them would take too much memory."""
        h, w = x.shape[-2:]
        if [line.shape[0] for line in self._lines] != [h, w]:  # len() would fix the size
            self._lines = _line(h), _line(w)
        down, across = self._lines

        def of(band: Band) -> Tensor:
            return (down[band.wide, None] + across).to(x.dtype)

        return in_bands(of, torch.empty((h, w), dtype=x.dtype), 0).to(x.device)


def _product(x: Tensor, y: Tensor) -> Tensor:
    """The inner product of two vectors, image by image."""
    return sum_in_bands(lambda band: band.around(x) * band.around(y), x)


def _moved(f: Tensor, length: Tensor, way: Tensor) -> Tensor:
    """f + length * way, in place."""
    for band in bands(f, 0):
        band.own(f).add_(length * band.own(way))
    return f


def _diagonal(a: Tensor, weight: Tensor) -> Tensor:
    """The diagonal of a + grad' weight grad."""
    right, below = weight.clone(), weight.clone()
    right[..., :, -1], below[..., -1, :] = 0, 0
    of = a + right + below
    of[..., :, 1:] += right[..., :, :-1]
    of[..., 1:, :] += below[..., :-1, :]
    return of


def _applied(a: Tensor, weight: Tensor, f: Tensor) -> Tensor:
    """(a + grad' weight grad) f."""

    def of(band: Band) -> Tensor:
        part, w = band.around(f), band.around(weight)
        right, below = grad(part)
        return adjoint(right.mul_(w), below.mul_(w)).add_(band.around(a) * part)

    return in_bands(of, f, 1)


def _line(n: int) -> Tensor:
    """The eigenvalues along a side of n pixels."""
    return 2 - 2 * torch.cos(torch.pi * torch.arange(n, dtype=torch.float64) / n)


def _turn(n: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angles by which the FFT of `dct` is rotated."""
    angle = math.pi / (2 * n) * torch.arange(n, dtype=torch.float64)
    cosine, sine = angle.cos(), angle.sin()
    return cosine.to(like.dtype).to(like.device), sine.to(like.dtype).to(like.device)
