r"""Undoes the resolution of a scanner: estimates a coarse volume, such as a PET, on a finer grid.

A voxel of a PET is a mean, weighted by the scanner's point spread function: y = S G x. G is a
Gaussian blur on the fine grid, whose width is given in millimetres; S interpolates at the positions
of the PET's voxels. x minimises

    |S G x - y|^2 + lam sum_p w_p |(grad x)_p|^2,    w = (J(x) + g J(v) + eps^2)^(-1/2)

where J is the energy of the gradient, smoothed over a voxel, and v is the guide, the volume that
the fine grid belongs to. Edges of x are cheaper where v has edges; levels of v have no influence.
As in `least_squares`, the weights w are recomputed from the last x a few times.
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
from ddfm.restoration.least_squares import EPS, GRAIN, GUIDED, conjugate_gradients
from ddfm.volumes.resample import resampled
from ddfm.volumes.volume import Volume

__all__ = ["Sampled", "sharpened"]

FWHM = 2 * math.sqrt(2 * math.log(2))  # full width at half maximum of a Gaussian with sigma = 1
LAM = 2e-4  # lam without noise
PER_NOISE = 0.03  # what is added to it for each unit of noise
ROUNDS, PASSES = 4, 10  # how often w is computed, and conjugate gradient steps each time
LOOKED_AT = 9  # number of planes in which noise is estimated


@dataclass(frozen=True, eq=False)
class Sampled:
    """The operator S G: Gaussian means of a fine grid, at the voxels of a coarse one.

    Attributes:
        fine, coarse: shapes of the grids.
        to_fine: (4, 4), maps indices of the coarse grid to those of the fine one.
        sigma: standard deviation of G along each axis of the fine grid, in its voxels.
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
        """Which voxels of the coarse grid lie within the fine one, as a flat array."""
        last = np.array(self.fine)[:, None] - 1
        within = (self._places >= 0) & (self._places <= last)
        return np.asarray(within.all(axis=0))

    def _blurred(self, x: np.ndarray) -> np.ndarray:
        # With mirrored borders, the blur is its own transpose.
        return ndimage.gaussian_filter(x, self.sigma, mode="reflect", output=np.float32)

    @cached_property
    def _places(self) -> np.ndarray:
        """(3, N): positions of the coarse voxels, as indices of the fine grid."""
        indices = np.indices(self.coarse, np.float32).reshape(3, -1)
        places = self.to_fine[:3, :3].astype(np.float32) @ indices
        return places + self.to_fine[:3, 3:].astype(np.float32)

    @cached_property
    def _between(self) -> sparse.csr_matrix:
        """S: trilinear interpolation at the coarse voxels that lie inside the fine grid."""
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
    """The volume on a finer grid, with the resolution of the scanner undone.

    Args:
        volume: grey, from 0 to 1, and 0 outside of its field of view.
        grid: the volume that has the finer grid.
        fwhm: full width at half maximum of the point spread function, in millimetres, without the
            extent of a voxel, which is taken into account separately.
        guide: levels from 0 to 1 on the grid.
    """
    if volume.is_color:
        raise InputError(f"{volume.name} is in colour: its resolution (--fwhm-b) cannot be undone")
    longest = float(np.max(grid.spacing * grid.shape))
    if fwhm > longest:
        raise InputError(
            f"{volume.name}: its blur of {fwhm:g} mm (--fwhm-b) is wider than {grid.name}, which "
            f"is {longest:.3g} mm long; check the width, and the size of the voxels"
        )
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
    values[first.values == 0] = 0  # black, or outside of the field of view
    return Volume(values, grid.affine, volume.name, volume.modality)


def _sigma(volume: Volume, grid: Volume, fwhm: float) -> np.ndarray:
    """Sigma of scanner and voxel together along each axis of the grid, in voxels of the grid.

    It is at most the length of the axis, along which nothing is left by then.
    """
    sides = volume.affine[:3, :3]  # each column is a side of a voxel
    along = (grid.affine[:3, :3] / grid.spacing).T @ sides
    variance = (fwhm / FWHM) ** 2 + (along**2).sum(axis=1) / 12
    return np.minimum(np.sqrt(variance) / grid.spacing, grid.shape)


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
    """J: the energy of the gradient, smoothed over a voxel."""
    energy = torch.zeros_like(x)
    for dim in range(3):
        energy.narrow(dim, 0, x.shape[dim] - 1).add_(x.diff(dim=dim).square())
    return torch.from_numpy(ndimage.gaussian_filter(energy.numpy(), GRAIN, mode="reflect"))
