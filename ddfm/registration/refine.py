r"""The exact fit of a transform: one motion is fitted to the likeness surfaces of all tiles.

The fixed image is divided into tiles. The surface of a tile t is its likeness S_t(d): how similar
its descriptions are to those of the moving image, as warped so far, at every small shift d. One
motion u(x; p) is fitted to all surfaces at once:

    maximise   sum_t S_t(u(x_t; p)) - p' prior p

The parameters p are shift (2), size, turn | stretch, shear | perspective (2). Since whole surfaces
are used, rather than their peaks, a tile that is flat or has its peak elsewhere does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import fft, ndimage

from ddfm.registration.descriptor import describe
from ddfm.registration.structure import Pyramid, shrunk, small_copy
from ddfm.registration.transform import Size, Transform

__all__ = [
    "BELIEVED",
    "DEGREES",
    "Fit",
    "Level",
    "Surfaces",
    "centred",
    "climbed",
    "deviations",
    "likeness",
    "tiled",
]

Pair = tuple[np.ndarray, np.ndarray]
Three = tuple[np.ndarray, np.ndarray, np.ndarray]

DEGREES = {"none": 0, "shift": 2, "similarity": 4, "affine": 6, "homography": 8}
# Diagonal of the prior for stretch, shear and perspective, whose parameters are the displacement in
# pixels at the border of the longer side.
PRIOR = 0.03
BORDER = 3  # pixels next to a frame's edge that are excluded, since they depend on what is beyond
REACH, NEAR = 8, 3  # greatest shift of a surface; shifts up to which count as near its middle
FURTHER = np.ones((2 * REACH + 1,) * 2, bool)  # the part of a surface that is not near its middle
FURTHER[REACH - NEAR : REACH + NEAR + 1, REACH - NEAR : REACH + NEAR + 1] = False
FALL = 0.02  # by how much likeness falls for each squared pixel beyond the reach of a surface
STEPS, HALVINGS = 12, 5  # most Newton steps, and most halvings of each
FARTHEST = 2.0  # most pixels that a step may move a tile by
FLAT = 1e-3  # slope per tile below which the maximum is reached
TINY = 1e-12
LEAST_ENERGY = 1e-3  # added energy that keeps flat tiles unlike all; textured ones have hundreds
BELIEVED = 3.5  # least `deviations` by which a larger model must be better to be preferred
NOTHING = 1e-4  # likeness that rounding may produce in flat tiles
LEAST_SEEN = 0.08  # least share of the fixed image that must be covered for a fit


@dataclass(frozen=True, eq=False)
class Fit:
    """A transform of the moving image, and the likeness of each tile under it.

    `spread` is the standard deviation of the corners, in pixels of the fixed image; 0 if the model
    has no parameters. `stand` is by how many deviations the likeness of the tiles is higher than a
    few pixels away.
    """

    matrix: np.ndarray
    likeness: np.ndarray
    spread: float = np.inf
    stand: float = 0.0

    @property
    def score(self) -> float:
        """By how many of its own deviations the mean likeness of the tiles is above 0.

        So a motion that most tiles agree on is better than one under which a few are very similar.
        """
        return deviations(self.likeness) if self.likeness.size else -1.0


class Level:
    """Both images at one size, for fits at this size."""

    def __init__(self, fixed: torch.Tensor, moving: Pyramid, longest: int, tile: int) -> None:
        image = small_copy(fixed, longest)
        self.height, self.width = size = (image.shape[0], image.shape[1])
        self.moving, self.fixed = moving, (fixed.shape[0], fixed.shape[1])
        self.tiles = max(2, round(self.height / tile)), max(2, round(self.width / tile))
        self.tile = -(-self.height // self.tiles[0]), -(-self.width // self.tiles[1])
        self.full = Transform.framed(size, self.fixed).matrix  # from this size to the full one
        self.seen = torch.zeros(size, dtype=torch.float32)
        self.seen[BORDER:-BORDER, BORDER:-BORDER] = 1
        descriptions = centred(describe(image), self.seen)
        self.tiled = tiled(descriptions, self.tiles, self.tile, 0)
        self.waves = waves_of(self.tiled, REACH)
        self.seen_under: dict[bytes, np.ndarray] = {}  # surfaces by matrix
        self.side = max(size) / 2
        middle = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        y, x = np.mgrid[: self.tiles[0], : self.tiles[1]] + 0.5
        x, y = x * self.tile[1] - 0.5, y * self.tile[0] - 0.5
        self.centres: np.ndarray = np.c_[x.ravel(), y.ravel()]  # of the tiles
        self.places = (self.centres - middle) / self.side
        self.units = np.array([[self.side, 0, middle[0]], [0, self.side, middle[1]], [0, 0, 1.0]])

    def fit(self, matrix: np.ndarray, model: str, widths: tuple[float, ...]) -> Fit:
        """The best motion of a model on top of a matrix.

        Args:
            widths: smoothing of the surfaces, in pixels of this size, for one fit after the other.
        """
        surfaces = self.surfaces(matrix)
        if not len(surfaces):
            return Fit(matrix, np.zeros(0))
        p = np.zeros(DEGREES[model])
        across, down = _motions(self.places, len(p))
        prior = np.diag(np.where(np.arange(len(p)) < 4, 0.0, PRIOR))
        for width in widths:
            smooth = ndimage.gaussian_filter(surfaces, (0, width, width), mode="nearest")
            spline = Surfaces(smooth)
            p = climbed(spline, across, down, prior, p)
        likeness, slopes, _ = spline.curved(across @ p, down @ p)
        spread = self._spread(slopes, across, down, _objective(spline, across, down, prior, p)[2])
        stand = deviations(likeness - surfaces[:, FURTHER].mean(1))
        return Fit(self._moved(matrix, p), likeness, spread, stand)

    def _spread(
        self, slopes: Pair, across: np.ndarray, down: np.ndarray, curve: np.ndarray
    ) -> float:
        """Deviation of the corners in pixels of the fixed image, if tiles err independently.

        It is a sandwich estimate: the tiles' own slopes between inverses of the total curvature.
        """
        if not len(curve):
            return 0.0
        values, vectors = np.linalg.eigh(curve)
        inverse = (vectors / np.maximum(values, 1e-3 * max(values.max(), 1e-6))) @ vectors.T
        own = slopes[0][:, None] * across + slopes[1][:, None] * down
        corners = np.array([[x, y] for x in (-1, 1) for y in (-1, 1)], float)
        corners *= np.array([self.width, self.height]) / 2 / self.side
        moved = np.concatenate(_motions(corners, len(curve))) @ inverse @ own.T
        return float(np.sqrt((moved**2).sum() / 4)) * self.full[0, 0]

    def _moved(self, matrix: np.ndarray, p: np.ndarray) -> np.ndarray:
        """The matrix, followed by the inverse of the motion p."""
        p = np.r_[p, np.zeros(8 - len(p))] / self.side
        step = np.eye(3) + np.array(
            [[p[2] + p[4], p[5] - p[3], p[0]], [p[3] + p[5], p[2] - p[4], p[1]], [p[6], p[7], 0]]
        )
        units = self.full @ self.units
        moved = units @ np.linalg.inv(step) @ np.linalg.inv(units) @ matrix
        return moved / moved[2, 2]

    def surfaces(self, matrix: np.ndarray) -> np.ndarray:
        """Likeness (tile, dy, dx), near 1 where both images have the same structure.

        It is cached, since several fits start from the same matrix.
        """
        under = np.ascontiguousarray(matrix).tobytes()
        if under not in self.seen_under:
            self.seen_under[under] = self._surfaces(matrix)
        return self.seen_under[under]

    def _surfaces(self, matrix: np.ndarray) -> np.ndarray:
        image, inside = self.moving.warped(
            np.linalg.inv(self.full) @ matrix, (self.height, self.width)
        )
        seen = shrunk(inside, BORDER, beyond=1.0)
        if float(seen.mean()) < LEAST_SEEN:
            return np.zeros((0, *FURTHER.shape))
        g = tiled(centred(describe(image), seen), self.tiles, self.tile, REACH)
        surfaces = likeness(self.tiled, g, REACH, self.waves)
        return surfaces.reshape(-1, *FURTHER.shape).double().numpy()


def tiled(planes: torch.Tensor, tiles: Size, tile: Size, reach: int) -> torch.Tensor:
    """Planes (C, H, W) as tiles (C, rows, columns, y, x), each with a margin all around."""
    (rows, columns), (y, x) = tiles, tile
    height, width = planes.shape[-2:]
    right, below = columns * x - width + reach, rows * y - height + reach
    planes = F.pad(planes, (reach, right, reach, below))
    return planes.unfold(1, y + 2 * reach, y).unfold(2, x + 2 * reach, x)


def likeness(
    fixed: torch.Tensor, moving: torch.Tensor, reach: int, waves: torch.Tensor | None = None
) -> torch.Tensor:
    """Surfaces (rows, columns, dy, dx) from the tiles of both images, as returned by `tiled`.

    `waves` is `waves_of(fixed, reach)`, if it was computed before.
    """
    y, x = fixed.shape[-2:]
    here = moving[..., reach : reach + y, reach : reach + x]
    energy = (fixed.square().sum((0, 3, 4)) * here.square().sum((0, 3, 4)) + TINY).sqrt()
    # The mean energy enters the unit, so that likeness stays low in tiles with little structure.
    unit = (energy * energy.mean()).sqrt() + 0.1 * energy.mean() + LEAST_ENERGY
    waves = waves_of(fixed, reach) if waves is None else waves
    n, sides = 2 * reach + 1, _sides((y, x), reach)
    product = sum(w.conj() * torch.fft.rfft2(m, sides) for w, m in zip(waves, moving, strict=True))
    return torch.fft.irfft2(product, sides)[..., :n, :n] / unit[..., None, None]


def waves_of(tiles: torch.Tensor, reach: int) -> torch.Tensor:
    """The Fourier transform of tiles, padded for shifts up to `reach`."""
    return torch.fft.rfft2(tiles, _sides(tiles.shape[-2:], reach))


def _sides(tile: Sequence[int], reach: int) -> list[int]:
    return [fft.next_fast_len(side + 2 * reach, real=True) for side in tile]


def deviations(values: np.ndarray) -> float:
    """The mean of the values in units of its standard error."""
    return float(values.mean() / (values.std() + NOTHING) * np.sqrt(len(values)))


def centred(planes: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Planes (C, H, W) minus their mean, and 0 where nothing is seen."""
    # A sum by multiplication (einsum) may be off by 1e-4 here, which looks like structure.
    mean = (planes * seen).sum((1, 2)) / seen.sum().clamp(min=1)
    return (planes - mean[:, None, None]).mul_(seen)


def _motions(places: np.ndarray, degrees: int) -> tuple[np.ndarray, np.ndarray]:
    """The displacement of each place per unit of each parameter, to the right and down."""
    x, y = places.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    motions = [(one, zero), (zero, one), (x, y), (-y, x), (x, -y), (y, x)]
    motions += [(-x * x, -x * y), (-x * y, -y * y)]
    across, down = (np.stack(moved, 1)[:, :degrees] for moved in zip(*motions, strict=True))
    return across, down


def climbed(
    spline: Surfaces, across: np.ndarray, down: np.ndarray, prior: np.ndarray, p: np.ndarray
) -> np.ndarray:
    """The p at the nearest maximum, by Newton steps that are shortened where they do not climb."""
    if not len(p):
        return p
    value, slope, curve = _objective(spline, across, down, prior, p)
    for _ in range(STEPS):
        if np.abs(slope).max() < FLAT * np.abs(across).sum(0).max():
            break
        # Taking |curvature| makes the step go uphill even where the objective is convex.
        sizes, ways = np.linalg.eigh(curve)
        step = ways @ (
            (ways.T @ slope) / np.maximum(np.abs(sizes), 1e-3 * np.abs(sizes).max() + TINY)
        )
        farthest = np.hypot(across @ step, down @ step).max()
        length = min(1.0, FARTHEST / (farthest + TINY))
        for _ in range(HALVINGS):
            there = _objective(spline, across, down, prior, p + length * step)
            if there[0] > value:
                break
            length /= 2
        else:
            break
        p = p + length * step
        value, slope, curve = there
    return p


def _objective(
    spline: Surfaces, across: np.ndarray, down: np.ndarray, prior: np.ndarray, p: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """The objective, its slope, and its negative curvature."""
    values, (by_x, by_y), (xx, xy, yy) = spline.curved(across @ p, down @ p)
    slope = across.T @ by_x + down.T @ by_y - 2 * prior @ p
    mixed = (across.T * xy) @ down
    curve = (across.T * xx) @ across + (down.T * yy) @ down + mixed + mixed.T
    return float(values.sum() - p @ prior @ p), slope, 2 * prior - curve


class Surfaces:
    """Cubic splines through a stack of surfaces, each evaluated at one point."""

    def __init__(self, surfaces: np.ndarray) -> None:
        spline = ndimage.spline_filter1d(surfaces, 3, 1, mode="nearest")
        self.spline = ndimage.spline_filter1d(spline, 3, 2, mode="nearest")
        self.reach = surfaces.shape[1] // 2
        self.stack = np.arange(len(surfaces))[:, None, None]

    def curved(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, Pair, Three]:
        """Values at shifts (x, y), slopes, and second derivatives xx, xy, yy.

        Beyond the border, values fall.
        """
        most = self.reach - 1e-6
        at = np.stack([x, y])
        inner = np.clip(at, -most, most)
        out, within = at - inner, np.abs(at) < most
        points, weights, slopes, bends = _cubic(inner + self.reach)
        points = np.clip(points, 0, 2 * self.reach)
        near = self.spline[self.stack, points[1][:, :, None], points[0][:, None, :]]
        # Along x first: the value, the slope and the second derivative of every row.
        along = near @ np.stack([weights[0], slopes[0], bends[0]], 2)
        value, by_x, xx = along.transpose(2, 0, 1)
        values = (value * weights[1]).sum(1) - FALL * (out**2).sum(0)
        first = (by_x * weights[1]).sum(1), (value * slopes[1]).sum(1)
        by = tuple(one * w - 2 * FALL * o for one, w, o in zip(first, within, out, strict=True))
        both = (by_x * slopes[1]).sum(1) * within[0] * within[1]
        second = (xx * weights[1]).sum(1), (value * bends[1]).sum(1)
        xx, yy = (np.where(w, one, -2 * FALL) for one, w in zip(second, within, strict=True))
        return values, (by[0], by[1]), (xx, both, yy)


def _cubic(at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The four nearest points, and the B-spline's weights, first and second derivatives there."""
    first = np.floor(at).astype(int)
    t = at - first
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3]
    slopes = [-((1 - t) ** 2), 3 * t**2 - 4 * t, 1 + 2 * t - 3 * t**2, t**2]
    bends = [1 - t, 3 * t - 2, 1 - 3 * t, t]
    points = first[..., None] + np.arange(-1, 3)
    return points, np.stack(weights, -1) / 6, np.stack(slopes, -1) / 2, np.stack(bends, -1)
