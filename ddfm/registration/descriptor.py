"""A small network that describes the surroundings of each pixel in the same way for all sensors.

It was trained (`ddfm.training.descriptor`) so that its descriptions of two pictures are similar
where both show the same thing, and differ a few pixels away. Most of it works at half the size,
which is faster and covers a larger area.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from ddfm.errors import HostError
from ddfm.storage.shipped import shipped

__all__ = ["CHANNELS", "WEIGHTS", "Descriptor", "describe"]

WEIGHTS = "descriptor.safetensors"
CHANNELS = 12  # numbers that describe a pixel
WIDTH, INNER = 16, 32  # channels at full and at half size
WINDOW = 9  # side in pixels of a box filter, applied twice, for the mean of the surroundings
AROUND = 10  # pixels on each side that a description depends on, at most
FLOOR = 0.05  # least local variance in the normalisation, relative to that of the picture


class Descriptor(nn.Module):
    """From grey levels (N, 1, H, W) to descriptions (N, CHANNELS, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(1, WIDTH, 5, padding=2)
        self.down = nn.Conv2d(WIDTH, INNER, 3, padding=1)
        self.wide = nn.Conv2d(INNER, INNER, 3, padding=1)
        self.wider = nn.Conv2d(INNER, INNER, 3, padding=1)
        self.back = nn.Conv2d(INNER, WIDTH, 1)
        self.last = nn.Conv2d(WIDTH, CHANNELS, 3, padding=1)

    def forward(self, levels: Tensor) -> Tensor:
        h, w = levels.shape[-2:]
        even = F.pad(_against_surroundings(levels), (0, w % 2, 0, h % 2), mode="replicate")
        # Channels last in memory, from the first layer on: three times faster.
        even = even.reshape(len(even), *even.shape[-2:], 1).permute(0, 3, 1, 2)
        fine = self.fine(even).relu_()
        x = self.down(F.avg_pool2d(fine, 2)).relu_()
        x = self.wide(x).relu_()
        x = (x + self.wider(x)).relu_()
        x = F.interpolate(self.back(x), scale_factor=2, mode="bilinear")
        return self.last((fine + x).relu_())[..., :h, :w]


def describe(image: Tensor) -> Tensor:
    """Descriptions (CHANNELS, H, W) of grey levels (H, W), by the weights shipped with ddfm."""
    # Padded, since the network would otherwise see an edge along the border of every picture.
    wide = F.pad(image[None, None], (AROUND,) * 4, mode="replicate")
    with torch.no_grad():
        return _shipped()(wide)[0, :, AROUND:-AROUND, AROUND:-AROUND].contiguous()


@lru_cache(maxsize=1)
def _shipped() -> Descriptor:
    from safetensors.torch import load_file

    path = shipped(WEIGHTS)
    if path is None:
        raise HostError("the weights for alignment are not installed; reinstall ddfm")
    weights = {name: weight.float() for name, weight in load_file(path).items()}
    with torch.device("meta"):  # no random weights first, which would move the caller's generator
        network = Descriptor()
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _against_surroundings(levels: Tensor) -> Tensor:
    """Levels relative to the local mean and contrast, so that brightness does not matter."""
    x = (levels - levels.mean((2, 3), keepdim=True)).numpy()
    usual = (x**2).mean((2, 3), keepdims=True)
    x = x - _mean_around(x)
    return torch.from_numpy(x / np.sqrt(_mean_around(x**2) + FLOOR * usual + 1e-6))


def _mean_around(x: np.ndarray) -> np.ndarray:
    for _ in range(2):
        x = ndimage.uniform_filter(x, (1, 1, WINDOW, WINDOW), mode="nearest")
    return x
