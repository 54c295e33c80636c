r"""Aligns two volumes in the patient's space, by mutual information in 3-D.

The header of a volume places its voxels, but this is wrong if the patient moved between two
scans, or came back another day. The correction is a motion from the space of the fixed volume
(millimetres, RAS) to that of the moving one, such that the levels of both depend on each other as
much as possible:

    maximise   (H(fixed) + H(moving)) / H(fixed, moving)

first over the points of a coarse grid, and then of finer ones. The entropies are those of a joint
histogram, in which each value is shared linearly between two bins, so that the gradient is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage, optimize
from torch import Tensor

from ddfm.arguments import one_of
from ddfm.numerics.device import undisturbed

__all__ = [
    "SPACE_MODELS",
    "SURE_SCORE",
    "SpaceAlignment",
    "align_space",
    "apart",
    "corners_of",
]

SPACE_MODELS = ("none", "rigid", "affine")
GRIDS = (8.0, 4.0, 2.0)  # millimetres between points, from first to last
POINTS = 60_000  # most points of the fixed volume that are used
BINS = 32  # of the histogram, for each volume
TURNS = (-12.0, 0.0, 12.0)  # degrees about each axis from which the search starts
STARTS = 4  # how many of these starts are followed, the best ones
ARM = 80.0  # millimetres; at this distance, a turn by 1 / ARM moves a point by 1 mm
FEWEST = 1000  # least points of the coarsest grid; with fewer, nothing is certain
LEAST_SEEN = 0.25  # least share of the points that must be within the moving volume
SURE_SCORE = 1.05  # least score of a sure result; 1 is for independent volumes
AGREE = 4.0  # millimetres that the results of two starts may differ by and still agree


@dataclass(frozen=True, eq=False)
class SpaceAlignment:
    """What was found about two volumes.

    Attributes:
        matrix: (4, 4), from the fixed volume's space to the moving one's, in millimetres (RAS).
        sure: whether several starts ended there, and the levels depend on each other.
        off: error of the headers in millimetres, averaged over the corners of the fixed volume.
        score: normalised mutual information, from 1 to 2.
    """

    matrix: np.ndarray
    sure: bool
    off: float
    score: float

    def placed(self, affine: np.ndarray) -> np.ndarray:
        """The corrected affine of the moving volume; nothing is interpolated."""
        return np.linalg.inv(self.matrix) @ affine


@undisturbed()
def align_space(
    fixed: np.ndarray,
    fixed_affine: np.ndarray,
    moving: np.ndarray,
    moving_affine: np.ndarray,
    model: str = "rigid",
    *,
    finest: float,
) -> SpaceAlignment:
    """The motion between two grey volumes (I, J, K), searched from where their affines place them.

    Args:
        model: "rigid", or "affine" for volumes that also differ in size.
        finest: millimetres between the points of the last grid.
    """
    one_of("way to align volumes", model, SPACE_MODELS[1:])
    grids = [grid for grid in GRIDS if grid >= finest]
    levels = [_Level(fixed, fixed_affine, moving, moving_affine, grid) for grid in grids]
    first, rest = levels[0], levels[1:]
    if min(len(first.fixed), first.moving.numel()) < FEWEST:
        return SpaceAlignment(np.eye(4), False, 0.0, 1.0)
    starts = sorted(_starts(first), key=first.loss)[:STARTS]
    ends = sorted((_climbed(first, start, 6) for start in starts), key=first.loss)
    p = ends[0]
    # `ends` includes the result itself: at least one other start must agree with it.
    agree = (
        sum(apart(first.corners, first.matrix(p), first.matrix(end)) < AGREE for end in ends) > 1
    )
    for level in rest:
        p = _climbed(level, p, 6)
    if model == "affine":
        p = _climbed(levels[-1], p, 12)
    last = levels[-1]
    matrix = last.matrix(p)
    score = -last.loss(p)
    sure = agree and score > SURE_SCORE and score >= -last.loss(np.zeros(12))
    return SpaceAlignment(matrix, bool(sure), apart(last.corners, matrix, np.eye(4)), float(score))


def corners_of(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The positions (8, 3) of the corner voxels of a volume, in millimetres."""
    ends = np.array(list(product(*((0, n - 1) for n in shape))), np.float64)
    return ends @ affine[:3, :3].T + affine[:3, 3]


def apart(corners: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """The mean distance between corners under two motions, in millimetres."""
    ends = np.c_[corners, np.ones(len(corners))]
    return float(np.linalg.norm((ends @ (one - other).T)[:, :3], axis=1).mean())


class _Level:
    """Points of the fixed volume, and both volumes smoothed to their spacing."""

    def __init__(
        self,
        fixed: np.ndarray,
        fixed_affine: np.ndarray,
        moving: np.ndarray,
        moving_affine: np.ndarray,
        grid: float,
    ) -> None:
        levels, steps = _smoothed(fixed, fixed_affine, grid)
        levels = levels[tuple(slice(step // 2, None, step) for step in steps)]
        at = [np.arange(n) * step + step // 2 for n, step in zip(levels.shape, steps, strict=True)]
        index = np.stack(np.meshgrid(*at, indexing="ij"), -1).reshape(-1, 3).astype(np.float64)
        points = index @ fixed_affine[:3, :3].T + fixed_affine[:3, 3]
        values = levels.ravel()
        if len(values) > POINTS:
            chosen = np.random.default_rng(0).permutation(len(values))[:POINTS]
            points, values = points[chosen], values[chosen]
        self.middle = np.array(fixed_affine @ [*(np.array(fixed.shape) - 1) / 2, 1.0])[:3]
        self.corners = corners_of(fixed.shape, fixed_affine)
        self.points = torch.from_numpy(np.c_[points, np.ones(len(points))]).float()
        self.fixed = torch.from_numpy(_binned(values)).float()
        smooth, steps = _smoothed(moving, moving_affine, grid)
        # Only voxels of the grid are kept, so that they are close together in memory.
        smooth = smooth[tuple(slice(None, None, step) for step in steps)]
        self.moving = torch.from_numpy(_binned(smooth)).float()[None, None]
        to_index = np.diag([*(1 / np.array(steps)), 1.0]) @ np.linalg.inv(moving_affine)
        # Indices in the convention of grid_sample: from -1 to 1, with the last axis first.
        half = (np.array(self.moving.shape[2:]) - 1) / 2
        scale = np.eye(4)
        scale[:3, :3], scale[:3, 3] = np.diag(1 / np.maximum(half, 0.5)), -1.0
        order = np.eye(4)[[2, 1, 0, 3]]
        self.to_grid = torch.from_numpy(order @ scale @ to_index).float()
        overlap = self._sampled(torch.eye(4, dtype=torch.float32))[1].sum()
        self.enough = min(LEAST_SEEN * len(self.fixed), max(float(overlap) / 3, 1.0))

    def matrix(self, p: np.ndarray) -> np.ndarray:
        """The motion for 12 parameters: shift, turn, stretch, shear, all scaled to millimetres."""
        return self._matrix(torch.from_numpy(p).double()).numpy()

    def loss(self, p: np.ndarray) -> float:
        """Minus the normalised mutual information."""
        with torch.no_grad():
            return float(self._loss(self._matrix(torch.from_numpy(p).double())))

    def slope(self, p: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient."""
        x = torch.from_numpy(p).double().requires_grad_()
        loss = self._loss(self._matrix(x))
        (gradient,) = torch.autograd.grad(loss, x)
        return float(loss.detach()), gradient.numpy()

    def _matrix(self, p: Tensor) -> Tensor:
        zero = torch.zeros((), dtype=p.dtype)
        a, b, c = p[3:6] / ARM
        turn = torch.stack([zero, -c, b, c, zero, -a, -b, a, zero]).reshape(3, 3)
        stretch = torch.diag(p[6:9] / ARM)
        d, e, f = p[9:12] / ARM
        shear = torch.stack([zero, d, e, d, zero, f, e, f, zero]).reshape(3, 3)
        linear = torch.linalg.matrix_exp(turn) @ torch.linalg.matrix_exp(stretch + shear)
        middle = torch.from_numpy(self.middle).to(p.dtype)
        shift = middle + p[:3] - linear @ middle
        last = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=p.dtype)
        return torch.cat([torch.cat([linear, shift[:, None]], 1), last])

    def _sampled(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        grid = (self.points @ (self.to_grid @ matrix.float()).T)[:, :3]
        inside = (grid.abs() <= 1).all(1).float()
        values = F.grid_sample(self.moving, grid[None, None, None], align_corners=True)
        return values.reshape(-1), inside

    def _loss(self, matrix: Tensor) -> Tensor:
        moving, inside = self._sampled(matrix)
        if float(inside.sum()) < self.enough:
            return -1.0 + 0.0 * moving.sum().double()
        joint = torch.zeros(BINS * BINS, dtype=torch.float32)
        for row, row_share in _bins(self.fixed):
            for column, column_share in _bins(moving):
                share = row_share * column_share * inside
                joint = joint.index_add(0, row * BINS + column, share)
        joint = (joint / joint.sum()).reshape(BINS, BINS)
        whole = _entropy(joint.sum(0)) + _entropy(joint.sum(1))
        return -(whole / _entropy(joint).clamp(min=1e-6)).double()


def _bins(values: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two bins next to each value, and its share in each."""
    low = values.detach().floor().clamp(0, BINS - 2)
    # Interpolation rounds values to slightly beyond the last bin, and shares must not be negative.
    part = (values - low).clamp(0, 1)
    return (low.long(), 1 - part), (low.long() + 1, part)


def _entropy(p: Tensor) -> Tensor:
    return -(p * (p + 1e-12).log()).sum()


def _binned(values: np.ndarray) -> np.ndarray:
    """Levels from 0 to BINS - 1, between percentiles: a metal clip must not take all bins."""
    low, high = np.percentile(values, (0.5, 99.5))
    return np.clip((values - low) / max(high - low, 1e-9), 0, 1) * (BINS - 1)


def _smoothed(
    values: np.ndarray, affine: np.ndarray, grid: float
) -> tuple[np.ndarray, tuple[int, ...]]:
    """A volume smoothed for a grid, and the step of this grid in voxels along each axis."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    # A step is no longer than the volume: a single slice has one voxel across.
    sides = zip(spacing, values.shape, strict=True)
    steps = tuple(int(np.clip(round(grid / side), 1, count)) for side, count in sides)
    sigma = [0.4 * step if step > 1 else 0.0 for step in steps]
    smooth: np.ndarray = ndimage.gaussian_filter(
        np.asarray(values, np.float32), sigma, mode="nearest", truncate=2.5
    )
    return smooth, steps


def _starts(level: _Level) -> list[np.ndarray]:
    """Starts with the headers' position or with aligned centres of mass, each turned in 27 ways."""
    shifts = [np.zeros(3), _middle_shift(level)]
    starts = []
    for shift in shifts:
        for turns in product(TURNS, repeat=3):
            p = np.zeros(12)
            p[:3], p[3:6] = shift, np.deg2rad(turns) * ARM
            starts.append(p)
    return starts


def _middle_shift(level: _Level) -> np.ndarray:
    """The shift from the fixed volume's centre of mass to the moving one's, in millimetres."""
    weight = level.fixed[:, None]
    of_fixed = (level.points[:, :3] * weight).sum(0) / weight.sum().clamp(min=1e-6)
    plane = level.moving[0, 0]
    sides = [torch.linspace(-1, 1, n, dtype=plane.dtype) for n in plane.shape]
    means = []
    for axis, side in enumerate(sides):
        others = [k for k in range(3) if k != axis]
        sums = plane.sum(dim=others)
        means.append(float((sums * side).sum() / sums.sum().clamp(min=1e-6)))
    there = torch.tensor([*reversed(means), 1.0], dtype=plane.dtype)
    of_moving = (torch.linalg.inv(level.to_grid) @ there)[:3]
    return (of_moving - of_fixed).double().numpy()


def _climbed(level: _Level, start: np.ndarray, degrees: int) -> np.ndarray:
    """The parameters at the nearest maximum; only the first `degrees` are varied."""

    def of_some(q: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = level.slope(np.r_[q, start[degrees:]])
        return 100 * loss, 100 * gradient[:degrees]

    options = {"maxiter": 60, "gtol": 1e-4}
    found = optimize.minimize(of_some, start[:degrees], jac=True, method="BFGS", options=options)
    return np.r_[found.x, start[degrees:]]
