r"""Where a volume lies in the patient's space of another one: by mutual information in 3-D.

Scanners say where their voxels lie, and a patient who moved, or came back another day, makes that
wrong. What is sought is a motion of the fixed volume's space (millimetres, RAS) into that of the
moving one, so that the levels of both know most of one another:

    maximise   (H(fixed) + H(moving)) / H(fixed, moving)

over points of a coarse grid first, and of finer ones then. The entropies are of a joint histogram
with linear bins, so that the gradient is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage, optimize
from torch import Tensor

from ddfm.errors import unknown

__all__ = [
    "SPACE_MODELS",
    "SpaceAlignment",
    "align_space",
    "apart",
    "corners_of",
]

SPACE_MODELS = ("none", "rigid", "affine")
GRIDS = (8.0, 4.0, 2.0)  # millimetres between points, from first to last
POINTS = 60_000  # of the fixed volume that are looked at, at most
BINS = 32
TURNS = (-12.0, 0.0, 12.0)  # degrees about each axis that the search begins from
STARTS = 4  # of these, those that are followed
ARM = 80.0  # millimetres: a turn by 1 / ARM moves what is that far away as a shift by 1 mm does
FEWEST = 1000  # points of the coarsest grid; fewer say nothing for sure
LEAST_SEEN = 0.25  # of the points that must lie within the moving volume
SURE_SCORE = 1.05  # 1 is nothing in common
AGREE = 4.0  # millimetres that two starts may end apart and still be one answer


@dataclass(frozen=True, eq=False)
class SpaceAlignment:
    """What was found about two volumes.

    Attributes:
        matrix: (4, 4), from the fixed volume's space to the moving one's, in millimetres (RAS).
        sure: whether several starts ended there, and the levels know of one another.
        off: by how many millimetres, in the mean over the fixed volume's corners, headers are off.
        score: normalised mutual information, from 1 to 2.
    """

    matrix: np.ndarray
    sure: bool
    off: float
    score: float

    def placed(self, affine: np.ndarray) -> np.ndarray:
        """The affine of the moving volume as it should have been: nothing is interpolated."""
        placed: np.ndarray = np.linalg.inv(self.matrix) @ affine
        return placed


def align_space(
    fixed: np.ndarray,
    fixed_affine: np.ndarray,
    moving: np.ndarray,
    moving_affine: np.ndarray,
    model: str = "rigid",
    *,
    finest: float = GRIDS[-1],
) -> SpaceAlignment:
    """The motion between two grey volumes (I, J, K), from what their affines say on.

    Args:
        model: "rigid", or "affine" for what also differs in size.
        finest: millimetres between the points that are looked at last.
    """
    if model not in SPACE_MODELS[1:]:
        raise unknown("way to align volumes", model, SPACE_MODELS)
    grids = [grid for grid in GRIDS if grid >= finest]
    levels = [_Level(fixed, fixed_affine, moving, moving_affine, grid) for grid in grids]
    first, rest = levels[0], levels[1:]
    if min(len(first.fixed), first.moving.numel()) < FEWEST:
        return SpaceAlignment(np.eye(4), False, 0.0, 1.0)
    starts = sorted(_starts(first), key=first.loss)[:STARTS]
    ends = sorted((_climbed(first, start, 6) for start in starts), key=first.loss)
    p = ends[0]
    # The second answer may have come from a start of its own, and then it is a witness.
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
    """Where (8, 3) the outermost voxels of a volume lie, in millimetres."""
    ends = np.array(list(product(*((0, n - 1) for n in shape))), np.float64)
    corners: np.ndarray = ends @ affine[:3, :3].T + affine[:3, 3]
    return corners


def apart(corners: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """How far two motions take corners apart, in mean millimetres."""
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
        # Only every so many voxels are kept, so that those looked at lie near in memory.
        smooth = smooth[tuple(slice(None, None, step) for step in steps)]
        self.moving = torch.from_numpy(_binned(smooth)).float()[None, None]
        to_index = np.diag([*(1 / np.array(steps)), 1.0]) @ np.linalg.inv(moving_affine)
        # Indices as grid_sample has them: from -1 to 1, and those of the last axis first.
        half = (np.array(self.moving.shape[2:]) - 1) / 2
        scale = np.eye(4)
        scale[:3, :3], scale[:3, 3] = np.diag(1 / np.maximum(half, 0.5)), -1.0
        order = np.eye(4)[[2, 1, 0, 3]]
        self.to_grid = torch.from_numpy(order @ scale @ to_index).float()
        overlap = self._sampled(torch.eye(4))[1].sum()
        self.enough = min(LEAST_SEEN * len(self.fixed), max(float(overlap) / 3, 1.0))

    def matrix(self, p: np.ndarray) -> np.ndarray:
        """The motion of 12 parameters: shift, turn, stretch, shear, all of about a millimetre."""
        found: np.ndarray = self._matrix(torch.from_numpy(p).double()).numpy()
        return found

    def loss(self, p: np.ndarray) -> float:
        """Minus the normalised mutual information."""
        with torch.no_grad():
            return float(self._loss(self._matrix(torch.from_numpy(p).double())))

    def slope(self, p: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss, and how it grows with each parameter."""
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
        joint = torch.zeros(BINS * BINS)
        for row, row_share in _bins(self.fixed):
            for column, column_share in _bins(moving):
                share = row_share * column_share * inside
                joint = joint.index_add(0, row * BINS + column, share)
        joint = (joint / joint.sum()).reshape(BINS, BINS)
        whole = _entropy(joint.sum(0)) + _entropy(joint.sum(1))
        return -(whole / _entropy(joint).clamp(min=1e-6)).double()


def _bins(values: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two bins next to each value, and its share in them."""
    low = values.detach().floor().clamp(0, BINS - 2)
    part = values - low
    return (low.long(), 1 - part), (low.long() + 1, part)


def _entropy(p: Tensor) -> Tensor:
    return -(p * (p + 1e-12).log()).sum()


def _binned(values: np.ndarray) -> np.ndarray:
    """Levels from 0 to the last bin, between percentiles: a metal clip must not take all bins."""
    low, high = np.percentile(values, (0.5, 99.5))
    scaled: np.ndarray = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * (BINS - 1)
    return scaled


def _smoothed(
    values: np.ndarray, affine: np.ndarray, grid: float
) -> tuple[np.ndarray, tuple[int, ...]]:
    """A volume without what is finer than a grid, and by how many voxels that one goes on."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    # No further than the volume goes: a single slice has one voxel across.
    sides = zip(spacing, values.shape, strict=True)
    steps = tuple(int(np.clip(round(grid / side), 1, count)) for side, count in sides)
    sigma = [0.4 * step if step > 1 else 0.0 for step in steps]
    smooth: np.ndarray = ndimage.gaussian_filter(
        np.asarray(values, np.float32), sigma, mode="nearest", truncate=2.5
    )
    return smooth, steps


def _starts(level: _Level) -> list[np.ndarray]:
    """As the headers say, and turned about each axis; also with the middles of matter together."""
    shifts = [np.zeros(3), _middle_shift(level)]
    starts = []
    for shift in shifts:
        for turns in product(TURNS, repeat=3):
            p = np.zeros(12)
            p[:3], p[3:6] = shift, np.deg2rad(turns) * ARM
            starts.append(p)
    return starts


def _middle_shift(level: _Level) -> np.ndarray:
    """From the fixed volume's centre of matter to the moving one's, in millimetres."""
    weight = level.fixed[:, None]
    of_fixed = (level.points[:, :3] * weight).sum(0) / weight.sum().clamp(min=1e-6)
    plane = level.moving[0, 0]
    sides = [torch.linspace(-1, 1, n) for n in plane.shape]
    means = []
    for axis, side in enumerate(sides):
        others = [k for k in range(3) if k != axis]
        sums = plane.sum(dim=others)
        means.append(float((sums * side).sum() / sums.sum().clamp(min=1e-6)))
    there = torch.tensor([*reversed(means), 1.0])
    of_moving = (torch.linalg.inv(level.to_grid) @ there)[:3]
    shift: np.ndarray = (of_moving - of_fixed).double().numpy()
    return shift


def _climbed(level: _Level, start: np.ndarray, degrees: int) -> np.ndarray:
    """The parameters that a climb from a start ends at; those beyond `degrees` are kept."""

    def of_some(q: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = level.slope(np.r_[q, start[degrees:]])
        return 100 * loss, 100 * gradient[:degrees]

    options = {"maxiter": 60, "gtol": 1e-4}
    found = optimize.minimize(of_some, start[:degrees], jac=True, method="BFGS", options=options)
    ended: np.ndarray = np.r_[found.x, start[degrees:]]
    return ended
