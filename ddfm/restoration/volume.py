r"""A volume at its own resolution, made what it may have been on a finer grid.

A voxel of a PET is a mean over what the scanner's point spread function sees around it, y = S G x:
G a Gaussian of so many millimetres on the fine grid, S the values between its voxels where those of
the PET lie. x minimises

    |S G x - y|^2 + lam sum_p w_p |(grad x)_p|^2,    w = (J(x) + g J(v) + eps^2)^(-1/2)

J being the energy of the gradient, smoothed over a voxel, and v the volume whose grid it is, whose
edges make those of x cheaper where they are; no level of v is in x. Weights are found anew from the
last x a few times, as in `latent`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
from scipy import ndimage, sparse
from torch import Tensor

from ddfm.errors import InputError
from ddfm.numerics.noise_level import noise_level
from ddfm.restoration.latent import EPS, GRAIN, GUIDED, conjugate_gradients
from ddfm.volumes.resample import resampled
from ddfm.volumes.volume import Volume

__all__ = ["Sampled", "sharpened"]

FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian, in its standard deviations
LAM = 2e-4
PER_NOISE = 0.03  # as in `restore`
ROUNDS, PASSES = 4, 10
LOOKED_AT = 9  # planes, for noise


@dataclass(frozen=True, eq=False)
class Sampled:
    """What a scanner sees of a fine grid: means by a Gaussian at the voxels of a coarse one.

    Attributes:
        fine, coarse: shapes.
        to_fine: (4, 4), from indices of the coarse grid to those of the fine one.
        sigma: of the Gaussian, along each index of the fine grid.
    """

    fine: tuple[int, ...]
    coarse: tuple[int, ...]
    to_fine: np.ndarray
    sigma: np.ndarray

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self._between @ self._blurred(x.numpy()).ravel())

    def adjoint(self, y: Tensor) -> Tensor:
        spread = self._between.T @ y.numpy()
        return torch.from_numpy(self._blurred(spread.reshape(self.fine)))

    @property
    def inside(self) -> np.ndarray:
        """Which voxels of the coarse grid lie within the fine one, of a flat array."""
        last = np.array(self.fine)[:, None] - 1
        within = (self._places >= 0) & (self._places <= last)
        return np.asarray(within.all(axis=0))

    def _blurred(self, x: np.ndarray) -> np.ndarray:
        # Mirrored borders make it its own transpose.
        return ndimage.gaussian_filter(x, self.sigma, mode="reflect", output=np.float32)

    @cached_property
    def _places(self) -> np.ndarray:
        """(3, N): where voxels of the coarse grid lie."""
        indices = np.indices(self.coarse, np.float32).reshape(3, -1)
        places = self.to_fine[:3, :3].astype(np.float32) @ indices
        return places + self.to_fine[:3, 3:].astype(np.float32)

    @cached_property
    def _between(self) -> sparse.csr_matrix:
        """Trilinear interpolation where these voxels are inside."""
        places = self._places[:, self.inside]
        first = np.clip(
            np.floor(places).astype(int), 0, np.maximum(np.array(self.fine) - 2, 0)[:, None]
        )
        share = places - first
        rows, columns, weights = [], [], []
        for corner in product((0, 1), repeat=3):
            step = np.array(corner)[:, None]
            at = np.minimum(first + step, np.array(self.fine)[:, None] - 1)
            columns.append(np.ravel_multi_index(tuple(at), self.fine))
            weights.append(np.where(step, share, 1 - share).prod(axis=0))
            rows.append(np.arange(places.shape[1]))
        entries = np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))
        return sparse.csr_matrix(entries, (places.shape[1], math.prod(self.fine)), dtype=np.float32)


def sharpened(volume: Volume, grid: Volume, fwhm: float, guide: np.ndarray) -> Volume:
    """The volume on a grid that is finer, by what a scanner of that resolution has seen of it.

    Args:
        volume: of one value, from 0 to 1, 0 where it does not reach.
        fwhm: full width at half maximum of the point spread function, in millimetres; what a voxel
            covers comes to it.
        guide: levels from 0 to 1 on the grid.
    """
    if volume.is_color:
        raise InputError(f"{volume.name} is in colour: its resolution (--fwhm-b) cannot be undone")
    first = resampled(volume, grid, outside=0.0)
    seen = Sampled(grid.shape, volume.shape, np.linalg.inv(grid.affine) @ volume.affine,
                   _sigma(volume, grid, fwhm))  # fmt: skip
    y = 2 * volume.values.astype(np.float32) - 1
    planes = y[..., np.linspace(0, y.shape[2] - 1, LOOKED_AT).round().astype(int)]
    levels = [noise_level(torch.from_numpy(p)[None, None]) for p in np.moveaxis(planes, 2, 0)]
    lam = LAM + PER_NOISE * float(np.median(levels))
    known = torch.from_numpy(y.ravel()[seen.inside])
    x = _least_squares(seen, known, torch.from_numpy(2 * first.values - 1), lam,
                       torch.from_numpy(2 * guide.astype(np.float32) - 1))  # fmt: skip
    values = ((x.numpy() + 1) / 2).clip(0, 1)
    values[first.values == 0] = 0  # black, or not seen
    return Volume(values, grid.affine, volume.name, volume.modality)


def _sigma(volume: Volume, grid: Volume, fwhm: float) -> np.ndarray:
    """Of scanner and voxels together, along each index of the grid, in its voxels."""
    sides = volume.affine[:3, :3]  # of a voxel, one in each column
    along = (grid.affine[:3, :3] / grid.spacing).T @ sides
    variance = (fwhm / FWHM) ** 2 + (along**2).sum(axis=1) / 12
    return np.sqrt(variance) / grid.spacing


def _least_squares(seen: Sampled, y: Tensor, x: Tensor, lam: float, guide: Tensor) -> Tensor:
    of_guide = GUIDED * _energy(guide)
    right_side = seen.adjoint(y)
    for _ in range(ROUNDS):
        weight = lam * (_energy(x) + of_guide + EPS**2).rsqrt()

        def applied(x: Tensor, weight: Tensor = weight) -> Tensor:
            edges = torch.zeros_like(x)
            for dim in range(3):
                step = weight.narrow(dim, 0, x.shape[dim] - 1) * x.diff(dim=dim)
                edges.narrow(dim, 1, x.shape[dim] - 1).add_(step)
                edges.narrow(dim, 0, x.shape[dim] - 1).sub_(step)
            return seen.adjoint(seen.forward(x)) + edges

        x = conjugate_gradients(applied, right_side, x, PASSES)
    return x


def _energy(x: Tensor) -> Tensor:
    """Of the gradient, smoothed over a voxel."""
    energy = torch.zeros_like(x)
    for dim in range(3):
        energy.narrow(dim, 0, x.shape[dim] - 1).add_(x.diff(dim=dim).square())
    return torch.from_numpy(ndimage.gaussian_filter(energy.numpy(), GRAIN, mode="reflect"))
