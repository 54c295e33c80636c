"""A prior as a plain denoiser: what it makes of an image with Gaussian noise of known strength."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtr

from ddfm.priors.prior import Prior
from ddfm.priors.schedule import alpha_sigma, t_of_sigma

__all__ = ["denoise", "denoising_psnr", "noisy", "padded", "psnr", "unclipped"]

NEWTON = 3  # steps; to 1e-6, since the slope of what is inverted changes by a factor of two at most


def denoise(prior: Prior, image: Tensor, sigma: float) -> Tensor:
    """E[clean | image] for image = clean + sigma eps, (B, C, H, W) in [-1, 1] before the noise.

    A timestep t has x_t = alpha_t (clean + sigma_t / alpha_t eps), so the image is scaled by the
    alpha_t of the timestep with that noise. Any size: it is padded by reflection.
    """
    t = torch.full((len(image),), t_of_sigma(prior.alphas_bar, sigma), device=image.device)
    alpha, _ = alpha_sigma(prior.alphas_bar, t, image)
    height, width = image.shape[-2:]
    return prior(alpha * padded(image, prior.multiple), t)[..., :height, :width]


def unclipped(mean: Tensor, sigma: float) -> Tensor:
    """x in [-1, 1] with E[clip(x + sigma eps)] = mean, level by level.

    Noise in black is clipped where it is darker than black, and what is left of it is brighter on
    average: a denoiser, which knows nothing of it, leaves black grey, by 0.4 sigma (Foi 2009).
    """
    x = mean.clamp(-1, 1)
    if sigma <= 0:
        return x
    for _ in range(NEWTON):
        a, b = (-1 - x) / sigma, (1 - x) / sigma
        within = ndtr(b) - ndtr(a)
        expected = within * x + sigma * (_normal(a) - _normal(b)) - ndtr(a) + ndtr(-b)
        x = (x - (expected - mean) / within).clamp(-1, 1)
    return x


def _normal(x: Tensor) -> Tensor:
    return torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def padded(image: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W), continued by reflection to sides that are multiples of `multiple`."""
    for dim in (-2, -1):
        size = image.shape[dim]
        if size % multiple:
            # NumPy reflects as often as it takes, so that 1 x 1 pixels will do; torch does not.
            places = np.pad(np.arange(size), (0, -size % multiple), mode="reflect")
            image = image.index_select(dim, torch.from_numpy(places).to(image.device))
    return image


def noisy(image: Tensor, sigma: float, seed: int = 0) -> Tensor:
    """image + sigma eps with eps of a seed, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return image + sigma * torch.randn(image.shape, generator=generator).to(image)


def psnr(a: Tensor, b: Tensor) -> float:
    """In dB, of images in [-1, 1]."""
    return 10 * math.log10(4 / max(1e-20, float((a - b).double().square().mean())))


@torch.no_grad()
def denoising_psnr(prior: Prior, images: Sequence[Tensor], sigma: float) -> float:
    """Mean PSNR over images (1, C, H, W) after noise of sigma (of 255 grey levels) is removed."""
    strength = 2 * sigma / 255
    values = [
        psnr(denoise(prior, noisy(image, strength, seed), strength).clamp(-1, 1), image)
        for seed, image in enumerate(images)
    ]
    return sum(values) / len(values)
