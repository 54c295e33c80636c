"""How much Gaussian noise is in an image, estimated from the image alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.numerics.planes import white_noise

__all__ = [
    "blocks_of_noise",
    "is_noise",
    "noise_level",
    "peaks",
    "quiet_levels",
    "refined_level",
    "white_deviation",
]

BLOCK = 8
LEFT = 1.0  # of the level, at most, in means of four pixels: white noise leaves 1/2 there
CLIPPED = 0.02  # of a block's pixels, at most; a tenth would take a sixth of the variance
REFINED = 2  # iterations of `refined_level`; a third one changes it by about a percent
NUDGE = 0.1  # size of the change that measures a denoiser's divergence, relative to the level
QUIET = 0.1  # share of blocks, the quietest, that are taken to have noise and nothing else


def noise_level(image: Tensor) -> float:
    """Standard deviation of white noise in one image (1, 1, H, W), in the image's own units.

    The second difference along both axes removes what is locally smooth, and multiplies the
    deviation of white noise by 6 (Immerkaer 1996). Texture and edges can only raise it, so the
    quietest blocks decide. Blocks that are clipped or constant do not count.
    """
    if min(image.shape[-2:]) < BLOCK + 2:
        return 0.0
    return float(noise_deviation(image))


def noise_deviation(image: Tensor) -> Tensor:
    """`noise_level` as a tensor of one number."""
    variance, counted = _blocks(image)
    quiet = torch.where(counted, variance, torch.nan).nanquantile(QUIET)
    return (quiet.nan_to_num(0.0) / _bias()).sqrt()


def quiet_levels(image: Tensor, shares: Sequence[float]) -> tuple[list[float], int]:
    """`noise_level` for other shares of the blocks than `QUIET`, and how many blocks count.

    All levels are alike where there is only noise, and rise with the share where there is texture.
    """
    if min(image.shape[-2:]) < BLOCK + 2:
        return [0.0] * len(shares), 0
    variance, counted = _blocks(image)
    number = int(counted.sum())
    if not number:
        return [0.0] * len(shares), 0
    quiet = variance[counted].quantile(variance.new_tensor(shares))
    return [math.sqrt(float(q) / _bias(s)) for q, s in zip(quiet, shares, strict=True)], number


def peaks(image: Tensor) -> float:
    """How much single details stand out: the fourth moment over the square of the second.

    It is 3 for Gaussian noise (2.9 in small blocks), and more for leaves, grass and stones. The
    mean is over the quieter half of the blocks that count.
    """
    variance, counted = _blocks(image)
    fourth = _block_means(_left(image) ** 4)
    quiet = counted & (variance <= variance[counted].median())
    return float((fourth / variance.square())[quiet].mean())


def refined_level(image: Tensor, level: float, denoise: Callable[[Tensor, float], Tensor]) -> float:
    """The level of white noise at which a denoiser agrees with what it removes.

    For D(y) = E[x | y] and noise of variance s^2, Tweedie's formula gives

        s^2 = mean |y - D(y)|^2 + s^2 div D(y) / N.

    `noise_level` is too high where there is texture everywhere. Iterating this equation from there
    comes nearer to the noise alone, because the denoiser recognises texture. Only blocks count that
    are smooth in D(y). The divergence is estimated along one random direction (Ramani, Blu and
    Unser 2008).

    Args:
        image: (1, 1, H, W), of 10 x 10 pixels or more.
        level: the first guess, such as `noise_level`, more than 0.
        denoise: maps an image and the level of its noise to D(y).
    """
    direction = white_noise(image.shape, torch.Generator().manual_seed(0)).to(image)
    _, counted = _blocks(image)
    for _ in range(REFINED):
        nudge = NUDGE * level
        clean = denoise(image, level)
        change = (denoise(image + nudge * direction, level) - clean) / nudge
        terms = (image - clean).square() + level**2 * direction * change
        texture = _block_means(_left(clean).square())
        smooth = counted & (texture <= texture[counted].median())
        variance = float(_block_means(terms[..., 1:-1, 1:-1])[smooth].mean())
        if variance <= 0:
            return 0.0
        level = math.sqrt(variance)
    return level


def blocks_of_noise(image: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of the blocks that count; the noise is the quantile `QUIET` of these."""
    if min(image.shape[-2:]) < BLOCK + 2:
        return np.empty(0), np.empty(0)
    variance, counted = _blocks(image)
    means = _block_means(image[..., 1:-1, 1:-1])
    return means[counted].double().numpy(), (variance[counted] / _bias()).double().numpy()


def _blocks(image: Tensor) -> tuple[Tensor, Tensor]:
    """The variance of each block's residual, and whether the block counts."""
    variance = _block_means(_left(image).square_())
    inner = image[..., 1:-1, 1:-1]
    low, high = image.min(), image.max()
    clipped = _block_means(((inner <= low) | (inner >= high)).float())
    return variance, (clipped < CLIPPED) & (variance > 0)


def is_noise(image: Tensor, level: float, least: float = 0.0) -> bool:
    """Whether the level that `noise_level` found is `least` or more, and of noise, not of texture.

    Means of four pixels keep half of the noise, but nearly all of texture, or more. They also keep
    noise that neighbours share; `ddfm.restoration.shared_noise` distinguishes that from texture.
    """
    if level < least:
        return False
    if min(image.shape[-2:]) < 2 * (BLOCK + 2):
        return level > 0  # too small to distinguish them
    return bool(_is_white(image, image.new_tensor(level)))


def white_deviation(image: Tensor) -> Tensor:
    """`noise_deviation` where that `is_noise`, else 0; of 20 x 20 pixels or more."""
    level = noise_deviation(image)
    return torch.where(_is_white(image, level), level, 0.0)


def _is_white(image: Tensor, level: Tensor) -> Tensor:
    """Means of four pixels keep half of white noise, and of texture nearly all, or more."""
    half = noise_deviation(F.avg_pool2d(image, 2))
    return (half > 0) & (half < LEFT * level)


def _left(image: Tensor) -> Tensor:
    """The residual of second differences, scaled so that white noise keeps its deviation."""
    return _bent(_bent(image, -2), -1) / 6


def _bent(x: Tensor, dim: int) -> Tensor:
    """The second difference along an axis, which loses a line at both ends."""
    n = x.shape[dim] - 2
    return x.narrow(dim, 0, n) - 2 * x.narrow(dim, 1, n) + x.narrow(dim, 2, n)


def _block_means(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, BLOCK).flatten()


def _bias(share: float = QUIET) -> float:
    """The quantile `share` of a block's mean square, for white noise of variance 1.

    The residuals of a block are correlated, along each axis as [1, -4, 6, -4, 1] / 6. So their mean
    square is a sum of chi-squares, weighted by the eigenvalues of that. Its quantiles are nearly
    those of one shifted chi-square with its first three moments (Hall 1983, Buckley and Eagleson
    1988).
    """
    from scipy.special import gammaincinv  # scipy.stats takes half a second to import

    apart = np.abs(np.subtract.outer(np.arange(BLOCK), np.arange(BLOCK)))
    along = np.linalg.eigvalsh(np.select([apart == 0, apart == 1, apart == 2], [1, -4 / 6, 1 / 6]))
    weights = np.outer(along, along)
    variance = 2 * np.mean(weights**2) / weights.size
    freedom = variance**3 / (np.mean(weights**3) / weights.size**2) ** 2 / 8
    quantile = 2 * gammaincinv(freedom / 2, share)
    return float(1 + math.sqrt(variance / (2 * freedom)) * (quantile - freedom))
