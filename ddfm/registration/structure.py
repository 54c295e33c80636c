"""Structure that two sensors see alike: edges and their direction, rather than brightness.

`orientation` doubles the angle of the gradient, z = (gx + i gy)^2 / (|g|^2 + mean |g|^2), so that
steps up and down are the same, and contrast may be inverted. It is one complex number per pixel,
which a single FFT correlates, and serves the search. Fits use the more exact
`ddfm.registration.descriptor`. `Pyramid` provides the small copies of an image.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ddfm.numerics.filters import smooth
from ddfm.registration.transform import Transform
from ddfm.registration.warp import warped_plane

__all__ = ["Pyramid", "orientation", "resized", "shrunk", "small_copy"]


def orientation(image: Tensor, seen: Tensor, sigma: float) -> np.ndarray:
    """z (H, W), complex, for an image (H, W) that is first smoothed by `sigma`."""
    x = F.pad(smooth(image[None, None], sigma), (1, 1, 1, 1), mode="replicate")[0, 0]
    across, down = (x[1:-1, 2:] - x[1:-1, :-2]) / 2, (x[2:, 1:-1] - x[:-2, 1:-1]) / 2
    g = torch.complex(across, down)
    energy = g.abs() ** 2
    usual = (energy * seen).sum() / seen.sum().clamp(min=1) + 1e-8
    return (g**2 / (energy + usual)).numpy()


def resized(image: Tensor, longest: int) -> Tensor:
    """An image (H, W), reduced to this longer side, or unchanged if it is not larger."""
    h, w = image.shape
    f = longest / max(h, w)
    if f >= 1:
        return image
    size = (max(8, round(h * f)), max(8, round(w * f)))
    return F.interpolate(image[None, None], size, mode="bilinear", antialias=True)[0, 0]


def small_copy(image: Tensor, longest: int) -> Tensor:
    """An image reduced to this longer side; a strip keeps the pixels of an image of 2:1."""
    h, w = image.shape
    return resized(image, round(longest * max(1.0, max(h, w) / (2 * min(h, w))) ** 0.5))


def shrunk(inside: Tensor, border: int, beyond: float) -> Tensor:
    """The mask of a frame without a border; `beyond` is the value of the mask outside the image."""
    size = 2 * border + 1
    least = ndimage.minimum_filter(inside.numpy(), size, mode="constant", cval=beyond)
    return torch.from_numpy(least)


class Pyramid:
    """An image at full, half, quarter size and so on, so that small copies are warped quickly."""

    def __init__(self, image: Tensor) -> None:
        self.size = (image.shape[0], image.shape[1])
        self.images = [image]
        while max(self.images[-1].shape) > 64:
            self.images.append(resized(self.images[-1], (max(self.images[-1].shape) + 1) // 2))

    def warped(self, matrix: np.ndarray, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The image, mapped by a matrix from its full size, and a mask of what it covers."""
        step = np.sqrt(abs(np.linalg.det(np.linalg.inv(matrix)[:2, :2])))
        level = int(np.clip(np.floor(np.log2(max(step, 1) * 1.2)), 0, len(self.images) - 1))
        image = self.images[level]
        to_full = Transform.framed((image.shape[0], image.shape[1]), self.size).matrix
        moved, inside = warped_plane(image[None], matrix @ to_full, size)
        return moved[0], inside.float()
