"""Uses a prior as a denoiser of images with Gaussian noise of known strength."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtr

from ddfm.numerics.planes import finite, white_noise
from ddfm.priors.prior import Prior
from ddfm.priors.schedule import alpha_sigma, t_of_sigma

__all__ = ["denoise", "denoising_psnr", "noisy", "padded", "psnr", "unclipped"]

NEWTON = 3  # Newton steps: accurate to 1e-6, since the slope varies by a factor of two at most
POINTS = 1 << 14  # of the table from which `unclipped` interpolates, to 0.01 grey levels


def denoise(prior: Prior, image: Tensor, sigma: float) -> Tensor:
    """E[clean | image] for image = clean + sigma eps, (B, C, H, W), with clean in [-1, 1].

    At timestep t, x_t = alpha_t (clean + sigma_t / alpha_t eps). So the image is scaled by the
    alpha_t of the timestep whose sigma_t / alpha_t is nearest to sigma. The image may have any
    size; it is padded by reflection.
    """
    t = torch.full((len(image),), t_of_sigma(prior.alphas_bar, sigma), device=image.device)
    alpha, _ = alpha_sigma(prior.alphas_bar, t, image)
    height, width = image.shape[-2:]
    estimate = prior(alpha * padded(image, prior.multiple), t)
    return finite(estimate, f"the prior {prior.name}")[..., :height, :width]


def unclipped(mean: Tensor, sigma: float) -> Tensor:
    """Solve E[clip(x + sigma eps)] = mean for x in [-1, 1], at each pixel.

    Noise in black areas is clipped at black, so its mean is brighter than black. A denoiser does
    not account for that, and leaves black too bright by 0.4 sigma (Foi 2009).
    """
    mean = mean.clamp(-1, 1)
    if sigma <= 0:
        return mean
    table = _solved(torch.linspace(-1, 1, POINTS, dtype=mean.dtype, device=mean.device), sigma)
    at = (mean + 1) * ((POINTS - 1) / 2)
    below = at.long().clamp(0, POINTS - 2)  # also of NaN, which stays NaN
    return torch.lerp(table[below], table[below + 1], at - below)


def _solved(mean: Tensor, sigma: float) -> Tensor:
    """The equation of `unclipped`, solved by Newton's method."""
    x = mean
    for _ in range(NEWTON):
        a, b = (-1 - x) / sigma, (1 - x) / sigma
        within = ndtr(b) - ndtr(a)
        expected = within * x + sigma * (_normal(a) - _normal(b)) - ndtr(a) + ndtr(-b)
        x = (x - (expected - mean) / within).clamp(-1, 1)
    return x


def _normal(x: Tensor) -> Tensor:
    return torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def padded(image: Tensor, multiple: int) -> Tensor:
    """Pad (B, C, H, W) by reflection to sides that are multiples of `multiple`."""
    for dim in (-2, -1):
        size = image.shape[dim]
        if size % multiple:
            # Unlike torch, NumPy reflects repeatedly, so that even 1 x 1 pixels can be padded.
            places = np.pad(np.arange(size), (0, -size % multiple), mode="reflect")
            image = image.index_select(dim, torch.from_numpy(places).to(image.device))
    return image


def noisy(image: Tensor, sigma: float, seed: int = 0) -> Tensor:
    """image + sigma eps, with eps drawn from a seed, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return image + sigma * white_noise(image.shape, generator).to(image)


def psnr(a: Tensor, b: Tensor) -> float:
    """PSNR in dB of images in [-1, 1]."""
    return 10 * math.log10(4 / max(1e-20, float((a - b).double().square().mean())))


@torch.no_grad()
def denoising_psnr(prior: Prior, images: Sequence[Tensor], sigma: float) -> float:
    """Mean PSNR of images (1, C, H, W) denoised after adding noise of sigma 8-bit grey levels."""
    strength = 2 * sigma / 255
    values = [
        psnr(denoise(prior, noisy(image, strength, seed), strength).clamp(-1, 1), image)
        for seed, image in enumerate(images)
    ]
    return sum(values) / len(values)
