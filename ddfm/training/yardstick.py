"""Measures how well a prior denoises, also compared with a classical method on the same images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ddfm.numerics.planes import white_noise
from ddfm.priors.denoise import denoise, padded
from ddfm.priors.prior import Prior
from ddfm.progress import progress_bar
from ddfm.restoration.noise_laws import Denoise
from ddfm.training.photographs import find_photographs, read_photograph

__all__ = ["SIGMAS", "compare", "denoising_psnr", "middle_crops", "noisy", "psnr"]

SIGMAS = (15, 25, 50)  # standard deviations of noise, in grey levels
SIDE = 256  # side of the central crop of a photograph, in pixels
SMALLEST = 16  # least side in pixels: BM3D crashes on 8 x 8


def compare(
    prior: Prior,
    folder: str | Path,
    sigmas: Sequence[int] = SIGMAS,
    *,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
) -> dict[str, list[float]]:
    """The mean PSNR in dB of the prior, and of the best installed classical method.

    Args:
        prior: the prior.
        folder: a folder of photographs, of which the central 256 x 256 pixels are used.
        sigmas: standard deviations of the noise, in grey levels; each list has one value for each.
        device: the device of the prior.
        progress: whether to show progress bars; None shows them on a terminal.
    """
    crops = middle_crops(folder, prior.channels)
    methods: dict[str, Denoise] = {
        prior.name: lambda image, sigma: denoise(prior, image.to(device), sigma).cpu(),
        **_classical(),
    }
    return {
        name: [
            denoising_psnr(method, progress_bar(progress, crops, desc=f"{name}, sigma {s}"), s)
            for s in sigmas
        ]
        for name, method in methods.items()
    }


@torch.no_grad()
def denoising_psnr(method: Denoise, images: Iterable[Tensor], sigma: float) -> float:
    """Mean PSNR of images (1, C, H, W) denoised after adding noise of sigma 8-bit grey levels."""
    level = 2 * sigma / 255
    values = [
        psnr(method(noisy(image, level, seed), level).clamp(-1, 1), image)
        for seed, image in enumerate(images)
    ]
    return sum(values) / len(values)


def noisy(image: Tensor, sigma: float, seed: int = 0) -> Tensor:
    """image + sigma eps, with eps drawn from a seed, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return image + sigma * white_noise(image.shape, generator).to(image)


def psnr(a: Tensor, b: Tensor) -> float:
    """PSNR in dB of images in [-1, 1]."""
    return 10 * math.log10(4 / max(1e-20, float((a - b).double().square().mean())))


def middle_crops(folder: str | Path, channels: int) -> list[Tensor]:
    """The centre of every photograph, (1, C, H, W) in [-1, 1]; small ones are used whole."""
    return [_middle(path, channels) for path in find_photographs(folder)]


def _middle(path: Path, channels: int) -> Tensor:
    image = read_photograph(path, channels)
    left, top = (max(0, (size - SIDE) // 2) for size in image.size)
    right, bottom = min(left + SIDE, image.width), min(top + SIDE, image.height)
    array = np.asarray(image.crop((left, top, right, bottom)), np.float32) / 127.5 - 1
    return torch.from_numpy(array).reshape(bottom - top, right - left, -1).permute(2, 0, 1)[None]


def _classical() -> dict[str, Denoise]:
    """The best installed classical method, by its name; empty if there is none."""
    try:
        import bm3d

        def by_bm3d(image: np.ndarray, sigma: float) -> np.ndarray:
            return (bm3d.bm3d_rgb if image.ndim == 3 else bm3d.bm3d)(image, sigma)

        return {"BM3D": partial(_on_arrays, by_bm3d)}
    except ImportError:
        pass
    try:
        from skimage.restoration import denoise_nl_means

        def by_means(image: np.ndarray, sigma: float) -> np.ndarray:
            color = -1 if image.ndim == 3 else None
            how = {"patch_size": 5, "patch_distance": 6, "fast_mode": True}
            return denoise_nl_means(image, h=0.8 * sigma, sigma=sigma, channel_axis=color, **how)

        return {"non-local means": partial(_on_arrays, by_means)}
    except ImportError:
        return {}


def _on_arrays(
    method: Callable[[np.ndarray, float], np.ndarray], image: Tensor, sigma: float
) -> Tensor:
    """Applies a method for arrays (H, W) or (H, W, 3) in [0, 1] to an image in [-1, 1]."""
    height, width = image.shape[-2:]
    if min(height, width) < SMALLEST:
        image = padded(image, SMALLEST)
    array = ((image[0].permute(1, 2, 0).numpy() + 1) / 2).squeeze(-1 if image.shape[1] == 1 else ())
    result = torch.from_numpy(np.asarray(method(array, sigma / 2), np.float32))[:height, :width]
    return 2 * result.reshape(*result.shape[:2], -1).permute(2, 0, 1)[None] - 1
