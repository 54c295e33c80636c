"""First guesses: orientations are correlated over all shifts, for a grid of turns and sizes."""

from __future__ import annotations

import numpy as np
import torch
from scipy import fft
from torch import Tensor

from ddfm.registration.structure import Pyramid, orientation, shrunk, small_copy
from ddfm.registration.transform import Transform

__all__ = ["MARGIN", "Search"]

LONGEST = 128  # longer side of the `small_copy` that is searched, in pixels
SIGMA = 1.0  # smoothing before gradients are taken, in pixels of the small copies
MARGIN = 0.16  # greatest shift between the frames, as a share of the longer side
LEAST_OVERLAP = 0.45  # least overlap, as a share of the smaller frame
BORDER = 2  # pixels next to a frame's edge that are excluded: their gradients are not the scene's
FAR = 6.0  # pixels of the small copies by which guesses must differ
NOWHERE = -9.0  # correlation assigned to shifts that are ruled out


class Search:
    """Searches where a moving image lies in a fixed one, on small copies of both."""

    def __init__(self, fixed: Tensor, moving: Pyramid, margin: float) -> None:
        small = small_copy(fixed, LONGEST)
        self.height, self.width = size = (small.shape[0], small.shape[1])
        self.fixed, self.moving = (fixed.shape[0], fixed.shape[1]), moving
        self.full = Transform.framed(size, self.fixed).matrix  # small copy to fixed image
        self.pad = round(margin * max(size))
        self.grid = tuple(fft.next_fast_len(side + 2 * self.pad) for side in size)
        seen = np.zeros(size, np.float32)
        seen[BORDER:-BORDER, BORDER:-BORDER] = 1
        z = orientation(small, torch.from_numpy(seen), SIGMA)
        z = (z - _mean(z, seen)) * seen
        self.area = float(seen.sum())
        self.z = np.conj(fft.fft2(z, self.grid))
        self.energy = np.conj(fft.rfft2(np.abs(z) ** 2, self.grid))
        self.seen = np.conj(fft.rfft2(seen, self.grid))

    def correlation(self, matrix: np.ndarray) -> np.ndarray:
        """The correlation of both images at every shift up to n small pixels in each direction.

        Entry [y, x] is for the moving image, mapped by the matrix to the fixed one, and then moved
        up by y - n and left by x - n small pixels.
        """
        to_grid = np.linalg.inv(self.full) @ matrix
        to_grid = np.array([[1, 0, self.pad], [0, 1, self.pad], [0, 0, 1.0]]) @ to_grid
        image, inside = self.moving.warped(to_grid, self.grid)
        seen = shrunk(inside, BORDER, beyond=0.0)
        k = seen.numpy()
        if not k.any():
            return np.full((2 * self.pad + 1,) * 2, NOWHERE)
        z = orientation(image, seen, SIGMA)
        z = (z - _mean(z, k)) * k
        shared = fft.rfft2(k)
        product = fft.ifft2(fft.fft2(z) * self.z).real
        fixed_energy = fft.irfft2(shared * self.energy, self.grid)
        moving_energy = fft.irfft2(fft.rfft2(np.abs(z) ** 2) * self.seen, self.grid)
        overlap = fft.irfft2(shared * self.seen, self.grid)
        norm = np.sqrt(np.maximum(fixed_energy, 1e-3) * np.maximum(moving_energy, 1e-3))
        likeness = np.where(
            overlap > LEAST_OVERLAP * min(self.area, float(k.sum())), product / norm, NOWHERE
        )
        n = 2 * self.pad + 1
        return likeness[:n, :n]

    def shifted(self, matrix: np.ndarray, at: tuple[int, int]) -> np.ndarray:
        """The matrix, followed by the shift of an entry of its correlations."""
        y, x = at
        move = np.array([[1, 0, self.pad - x], [0, 1, self.pad - y], [0, 0, 1.0]])
        return self.full @ move @ np.linalg.inv(self.full) @ matrix

    def centred(self, scale: float, degrees: float) -> np.ndarray:
        """The matrix that fits the moving image into the fixed one, then scales and turns it."""
        framed = Transform.framed(self.moving.size, self.fixed).matrix
        size = np.sqrt(np.linalg.det(framed[:2, :2])) * scale
        angle = np.deg2rad(degrees)
        turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middles = [np.array([(w - 1) / 2, (h - 1) / 2]) for h, w in (self.moving.size, self.fixed)]
        matrix = np.eye(3)
        matrix[:2] = np.c_[turn, middles[1] - turn @ middles[0]]
        return matrix

    def guesses(self, scales: np.ndarray, turns: np.ndarray, count: int) -> list[np.ndarray]:
        """The matrices of the best few guesses of a grid that differ enough from each other."""
        found = []
        for scale in scales:
            for degrees in turns:
                matrix = self.centred(float(scale), float(degrees))
                surface = self.correlation(matrix)
                for _ in range(2):
                    y, x = np.unravel_index(surface.argmax(), surface.shape)
                    at = int(y), int(x)
                    found.append((float(surface[at]), self.shifted(matrix, at)))
                    surface[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5] = NOWHERE
        found.sort(key=lambda guess: -guess[0])
        return self.distinct([guess for _, guess in found], count, FAR)

    def distinct(self, matrices: list[np.ndarray], count: int, far: float) -> list[np.ndarray]:
        """The first `count` matrices that are more than `far` small pixels apart."""
        kept: list[np.ndarray] = []
        for matrix in matrices:
            if len(kept) < count and all(self.apart(matrix, other) > far for other in kept):
                kept.append(matrix)
        return kept

    def apart(self, one: np.ndarray, other: np.ndarray) -> float:
        """Mean distance, in small pixels, between the moving image's corners under two matrices."""
        a, b = (Transform(m, self.moving.size, self.fixed) for m in (one, other))
        return a.distance(b) * max(self.height, self.width) / max(self.fixed)


def _mean(z: np.ndarray, seen: np.ndarray) -> complex:
    """The mean of z over what is seen; 0 if nothing is seen."""
    return complex(z[seen > 0].mean()) if seen.any() else 0j
