"""Undoes blur and low resolution of a source, by least squares, after its noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.errors import InputError
from ddfm.imaging.picture import Picture, Size
from ddfm.imaging.reading import read_image
from ddfm.imaging.sizes import resized
from ddfm.imaging.sources import grey
from ddfm.numerics.noise_level import noise_level
from ddfm.numerics.planes import levels_of, plane
from ddfm.progress import stage
from ddfm.restoration.colors import with_luminance, with_quiet_colors
from ddfm.restoration.enlarged import find_coarse, taken_back
from ddfm.restoration.least_squares import ROUNDS, least_squares
from ddfm.restoration.noise_laws import Denoise
from ddfm.restoration.noise_removal import denoiser_of_chroma, noise_removed
from ddfm.restoration.observation import Found, Observation
from ddfm.restoration.operators import (
    AreaAverage,
    Chain,
    GaussianBlur,
    KernelBlur,
    Operator,
    as_kernel,
    motion_kernel,
)

__all__ = ["LARGE", "coarse_size", "sharp"]

LARGEST_KERNEL = 99  # pixels of a side
LAM = 2e-5  # lam of `least_squares`
PER_NOISE = 0.045  # what deblurring adds to it for each unit of noise, which it would amplify
LARGE = 1_000_000  # pixels; a larger result is computed at half the size first
FEW_ROUNDS = 2  # rounds of `least_squares` after that


def coarse_size(picture: Picture, given: Observation, size: Size, found: Found) -> Size:
    """The size at which the source has all its detail, smaller than its own if it was enlarged."""
    if given.scale is not None:
        h, w = (max(1, round(n / given.scale)) for n in size)
        return min(h, picture.size[0]), min(w, picture.size[1])
    if picture.dtype != np.uint8 or picture.mask is not None:
        return picture.size
    stage(f"checking whether {picture.name} was enlarged", detail=True)
    coarse = find_coarse(grey(picture))
    if coarse is None:
        return picture.size
    found["enlarged"] = round(picture.size[0] / coarse[0], 2)
    return coarse


def sharp(
    picture: Picture,
    given: Observation,
    size: Size,
    coarse: Size,
    denoise: Denoise,
    clean: float,
    guides: Sequence[Picture],
    found: Found,
) -> Picture:
    """The picture at this size, without noise and blur.

    Args:
        given: what is known of the picture.
        size: the size of the result.
        coarse: the size before an enlargement, or its own.
        denoise, clean: removes white noise of a level, and the least one that is removed.
        guides: pictures of the size of the result whose edges may be the same.
        found: receives what is found and undone.
    """
    smaller = coarse[0] < size[0] or coarse[1] < size[1]
    asked = bool(given.blur) or bool(given.noise)
    if not smaller and not asked:
        return resized(picture, size)
    stage(f"sharpening {picture.name}", detail=True)
    y = plane(grey(picture))
    if coarse != picture.size:
        y, _ = taken_back(y, coarse)
    y = noise_removed(y, given, smaller, denoise, clean, found)
    if "noise" in found and picture.is_color:
        picture = with_quiet_colors(picture, denoiser_of_chroma(given.noise, denoise))
    wide = resized(picture, size)
    if coarse != size or given.blur:
        # What looks like faint noise in a source that is only coarse is texture, and counts as 0.
        lam = LAM + (PER_NOISE * min(noise_level(y), clean) if given.blur else 0.0)
        planes = (plane(grey(guide)) for guide in guides)
        guide = next((each for each in planes if noise_level(each) < clean), None)
        mask = 1.0 if picture.mask is None else _means(picture.mask, coarse)
        y = _solved(y, given, size, lam, guide, mask)
    if smaller:
        found["scale"] = round(max(n / m for n, m in zip(size, coarse, strict=True)), 3)
    if given.blur:
        found["blur"] = list(given.blur) if isinstance(given.blur, tuple) else given.blur
    return with_luminance(wide, levels_of(y)[0, 0].numpy())


def _solved(
    y: Tensor,
    given: Observation,
    size: Size,
    lam: float,
    guide: Tensor | None,
    mask: Tensor | float,
) -> Tensor:
    """The picture of this size that y was observed from; a large one starts from half its size."""
    coarse = (y.shape[-2], y.shape[-1])
    half = AreaAverage.halving(size).coarse
    first, rounds = y, ROUNDS
    if size[0] * size[1] > LARGE and all(n <= m / 2 for n, m in zip(coarse, half, strict=True)):
        smaller = None if guide is None else F.interpolate(guide, half, mode="area")
        first, rounds = _solved(y, given, half, lam, smaller, mask), FEW_ROUNDS
    first = F.interpolate(first, size, mode="bicubic", antialias=True)
    operator = Chain(_parts(given, size, coarse))
    return least_squares(operator, y, first, lam, guide=guide, mask=mask, rounds=rounds)


def _parts(given: Observation, fine: Size, coarse: Size) -> tuple[Operator, ...]:
    """The factors of A: averaging over pixels, then the blur, which is in pixels of the source."""
    parts: list[Operator] = []
    if coarse != fine:
        parts.append(AreaAverage(fine, coarse))
    if isinstance(given.blur, str):
        parts.append(KernelBlur(as_kernel(_kernel_in(given.blur))))
    elif isinstance(given.blur, tuple):
        parts.append(KernelBlur(motion_kernel(*given.blur)))
    elif given.blur:
        parts.append(GaussianBlur(given.blur))
    return tuple(parts)


def _kernel_in(path: str) -> np.ndarray:
    """The blur kernel in a picture file, padded to odd sides."""
    kernel = grey(read_image(path))
    if max(kernel.shape) > LARGEST_KERNEL or not kernel.any():  # a photograph would take hours
        raise InputError(
            f"{path} is not the kernel of a blur: give a picture of at most {LARGEST_KERNEL} "
            "pixels a side that is not all black"
        )
    return np.pad(kernel, [(0, 1 - n % 2) for n in kernel.shape])


def _means(mask: np.ndarray, coarse: Size) -> Tensor:
    whole = torch.from_numpy(mask.astype(np.float32))[None, None]
    return (AreaAverage(mask.shape, coarse).forward(whole) > 0.99).float()
