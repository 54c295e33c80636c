"""Turns degraded sources into clean pictures of the requested sizes: the entry point of the room.

    JPEG -> dead pixels -> stripes -> noise, all at the source's own resolution, where they arose
    -> blur and resolution, by least squares

What an `Observation` specifies is used as it is; the rest is estimated. A picture in which nothing
is found is returned unchanged, as the same object. The prior is evaluated at the source's
resolution, and only to remove noise and JPEG artefacts. Changes in luminance are added equally to
R, G and B; noise in the chroma is removed separately.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.diffusion.observed import TOLD
from ddfm.errors import InputError
from ddfm.imaging.picture import LUMA, Picture
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import grey, resized
from ddfm.numerics.noise_level import is_noise, noise_level, refined_level
from ddfm.numerics.planes import levels_of, plane
from ddfm.priors.denoise import unclipped
from ddfm.restoration.air import find_in_air
from ddfm.restoration.blur import find_blur
from ddfm.restoration.enlarged import find_coarse, taken_back
from ddfm.restoration.frame import find_frame
from ddfm.restoration.jpeg import find_quality, without_blocks
from ddfm.restoration.latent import ROUNDS, least_squares
from ddfm.restoration.noise import deviation_of, find_photons, law_of, without_noise
from ddfm.restoration.observation import NoiseLaw, Observation, observation_of_each
from ddfm.restoration.operators import (
    AreaAverage,
    Chain,
    GaussianBlur,
    KernelBlur,
    Operator,
    as_kernel,
    motion_kernel,
)
from ddfm.restoration.pixels import MANY, find_dead, mended
from ddfm.restoration.shared_noise import (
    deviation_in,
    find_shared,
    of_shared,
    without_shared_noise,
)
from ddfm.restoration.stripes import find_stripes

__all__ = ["found_in", "restored", "with_luminance", "with_quiet_colors"]

Size = tuple[int, int]
Denoise = Callable[[Tensor, float], Tensor]  # of (1, 1, H, W) in [-1, 1], and its noise level
Found = dict[str, Any]  # what was found in a source, or specified, and undone; ready for JSON

SEEN = 0.02  # least share of transparent (and of opaque) pixels for alpha to count as a mask
LEAST = 1 / 255  # least noise level that is assumed in chroma, of levels from -1 to 1
AIR = 0.25  # least noise estimated from air, in units of `clean`
SHARED = 2.0  # least noise shared by neighbours, in units of `clean`
UNLIKELY = 3.0  # factor between the specified and the estimated noise that causes a warning
LARGEST_KERNEL = 99  # pixels of a side
LAM = 2e-5  # lam of `least_squares`
PER_NOISE = 0.045  # what deblurring adds to it for each unit of noise, which it would amplify
LARGE = 1_000_000  # pixels; a larger result is computed at half the size first
FEW_ROUNDS = 2  # rounds of `least_squares` after that


def restored(
    pictures: Sequence[Picture],
    observations: Sequence[Any],
    sizes: Sequence[Size],
    denoise: Denoise,
    *,
    clean: float,
    guided: bool = True,
    frames: bool = True,
    blurs: bool = True,
) -> tuple[tuple[Picture, ...], list[Found]]:
    """Clean pictures of these sizes, and what was found in each.

    Args:
        observations: an `Observation`, a dictionary, or None for each picture; the last may be
            missing.
        denoise: removes white noise of a given level.
        clean: the least noise that is removed where none is specified.
        guided: whether the pictures are registered, so that edges of one may guide another.
        frames: whether frames are detected where none is specified. A body in air looks like one.
        blurs: whether blur is detected where none is specified. Medical images are smoother than
            their pixels, and parts of a focus stack are blurred on purpose.
    """
    given = _filled_up(observations, len(pictures), frames, blurs)
    done, coarse, found = _looked_into(pictures, given, sizes, denoise, clean)
    # Sharp pictures come first, since they guide the others.
    order = sorted(range(len(done)), key=lambda k: bool(given[k].blur) or coarse[k] != sizes[k])
    for k in order:
        guides = [p for j, p in enumerate(done) if j != k and p.size == sizes[k]] if guided else []
        of_k = given[k], sizes[k], coarse[k]
        done[k] = _sharp(done[k], *of_k, denoise, clean, guides, found[k])
    return tuple(_opaque(done, k, found[k]) for k in range(len(done))), found


def found_in(
    picture: Picture, denoise: Denoise, *, clean: float, frames: bool = True, blurs: bool = True
) -> Found:
    """What would be detected and corrected in one picture, as far as it shows without the others.

    Args:
        denoise, clean, frames, blurs: as for `restored`.
    """
    given = _filled_up([], 1, frames, blurs)
    (done,), (coarse,), (found,) = _looked_into([picture], given, [picture.size], denoise, clean)
    y, law = _plane(done), given[0].noise
    level = noise_level(y)
    if coarse != picture.size:
        _without_noise(taken_back(y, coarse)[0], given[0], True, denoise, clean, found)
    elif law is not None:
        found["noise"] = list(law) if isinstance(law, tuple) else law
    elif is_noise(y, level, clean):
        found["noise"] = round(255 * level / 2, 2)
    if given[0].blur:
        found["blur"] = given[0].blur
    return found


def _filled_up(
    observations: Sequence[Any], number: int, frames: bool, blurs: bool
) -> list[Observation]:
    """An observation for each picture, which specifies what is not to be detected."""
    given = observation_of_each(observations, number)
    given = [replace(one, frame=frames) if one.frame is None else one for one in given]
    return [replace(one, blur=0) if one.blur is None and not blurs else one for one in given]


def _looked_into(
    pictures: Sequence[Picture],
    given: list[Observation],
    sizes: Sequence[Size],
    denoise: Denoise,
    clean: float,
) -> tuple[list[Picture], list[Size], list[Found]]:
    """Removes JPEG blocks and defects of the sensors.

    Returns the pictures, their sizes before any enlargement, and what was found. `given` receives
    blur, and the law of noise that is not white.
    """
    done, found = list(pictures), [Found() for _ in pictures]
    coarse = [_coarse(*one) for one in zip(pictures, given, sizes, found, strict=True)]
    for k, picture in enumerate(pictures):
        done[k] = _without_blocks(picture, given[k], denoise, found[k])
        done[k] = _of_the_sensor(done[k], given[k], _beside(done, k), found[k])
        if given[k].noise is None and coarse[k] == picture.size:
            file = _plane(picture if "jpeg" in found[k] else done[k])
            of_file = file, "jpeg" in found[k]
            given[k] = replace(given[k], noise=_law(_plane(done[k]), *of_file, clean))
        if given[k].blur is None and given[k].scale is None and coarse[k] == picture.size:
            given[k] = replace(given[k], blur=_blur_of(done[k], given[k].noise, clean, found[k]))
    return done, coarse, found


def _blur_of(
    picture: Picture, noise: float | NoiseLaw | None, clean: float, found: Found
) -> float | None:
    """The blur of a picture; noise, JPEG blocks and frames would hide it."""
    if noise or picture.mask is not None or "jpeg" in found:
        return None
    y = _plane(picture)
    return None if is_noise(y, noise_level(y), clean) else find_blur(grey(picture))


def with_quiet_colors(picture: Picture, denoise: Denoise) -> Picture:
    """A noisy picture without the noise in its chroma; the luminance is kept.

    Chroma is denoised at half the size, at which most files store it anyway. There, a denoiser sees
    more of the scene and half of the noise: the result is better by 2 dB, in a quarter of the time.
    """
    plane = grey(picture)
    size = picture.size
    half = AreaAverage.halving(size)
    noisy = 2 * (picture.pixels[..., (0, 2)] - plane[..., None])  # R - Y and B - Y
    quiet = []
    for part in np.moveaxis(noisy, 2, 0):
        x = half.forward(torch.from_numpy(np.ascontiguousarray(part))[None, None])
        x = F.interpolate(denoise(x, max(noise_level(x), LEAST)), size, mode="bilinear")
        quiet.append(x[0, 0].numpy() / 2)
    red, blue = quiet
    green = -(LUMA[0] * red + LUMA[2] * blue) / LUMA[1]
    pixels = plane[..., None] + np.stack([red, green, blue], axis=2)
    return replace(picture, samples=np.clip(pixels, 0, 1).astype(np.float32))


def with_luminance(picture: Picture, plane: np.ndarray) -> Picture:
    """The picture with another luminance (H, W) in [0, 1], and its own chroma."""
    change = (plane - grey(picture))[..., None]
    return replace(picture, samples=np.clip(picture.pixels + change, 0, 1).astype(np.float32))


def _without_blocks(
    picture: Picture, given: Observation, denoise: Denoise, found: Found
) -> Picture:
    quality = given.jpeg
    if quality is None:
        quality = find_quality(grey(picture)) if picture.dtype == np.uint8 else None
    if not quality:
        return picture
    found["jpeg"] = quality
    x = without_blocks(_plane(picture), quality, denoise)
    return with_luminance(picture, levels_of(x)[0, 0].numpy())


def _transparent(alpha: np.ndarray | None) -> np.ndarray | None:
    """A mask of transparent pixels, if neither they nor the others are negligibly few."""
    if alpha is None:
        return None
    clear = alpha == 0
    return clear if SEEN < clear.mean() < 1 - SEEN else None


def _opaque(pictures: Sequence[Picture], k: int, found: Found) -> Picture:
    """Picture k; if it had transparent parts, it is opaque where another picture can fill them."""
    picture = pictures[k]
    if "transparent" not in found or picture.alpha is None or picture.mask is None:
        return picture
    others = [p for j, p in enumerate(pictures) if j != k and p.size == picture.size]
    filled = np.logical_or.reduce([p.valid for p in others], initial=False) & ~picture.mask
    alpha = np.where(filled, 1, picture.alpha)
    return replace(picture, alpha=alpha.astype(np.float32))


def _of_the_sensor(
    picture: Picture, given: Observation, guide: np.ndarray | None, found: Found
) -> Picture:
    """The picture with a mask that excludes its rim, and without dead pixels and stripes."""
    plane = before = grey(picture)
    mask = picture.mask
    if given.mask is not None:
        mask = grey(read_image(given.mask)) > 0.5
        if mask.shape != picture.size:
            raise InputError(f"the mask {given.mask} does not have the size of {picture.name}")
        if not mask.any():
            raise InputError(f"the mask {given.mask} is black and leaves nothing of {picture.name}")
    elif mask is None and picture.alpha is None and given.frame:
        mask = find_frame(plane)
        if mask is not None:
            found["frame"] = round(float(mask.mean()), 3)
    if (clear := _transparent(picture.alpha)) is not None:
        mask = ~clear if mask is None else mask & ~clear
        found["transparent"] = round(float(clear.mean()), 3)
    if given.dead or (given.dead is None and not picture.is_color):
        dead = find_dead(plane)
        if int(dead.sum()) >= (1 if given.dead else MANY):
            plane = mended(plane, dead)
            found["dead"] = int(dead.sum())
    plane = _without_stripes(plane, given.stripes, guide, mask, found)
    if mask is not picture.mask:
        picture = replace(picture, mask=mask)
    return picture if plane is before else with_luminance(picture, plane)


def _without_stripes(
    plane: np.ndarray,
    given: str,
    guide: np.ndarray | None,
    mask: np.ndarray | None,
    found: Found,
) -> np.ndarray:
    """The plane without stripes along columns and rows; rows are columns of its transpose."""
    strengths: dict[str, float] = {}
    for way in ("columns", "rows"):
        if given not in ("auto", way):
            continue
        turned = _turned(plane, way)
        beside, known = (None if p is None else _turned(p, way) for p in (guide, mask))
        stripes = find_stripes(turned, beside, known)
        if stripes.sure or (given == way and stripes.sigma > 0):
            even = np.clip(turned - stripes.offsets, 0, 1).astype(np.float32)
            plane = _turned(even if known is None else np.where(known, even, turned), way)
            strengths[way] = round(255 * stripes.sigma, 2)
    if strengths:
        found["stripes"] = strengths
    return plane


def _turned(plane: np.ndarray, way: str) -> np.ndarray:
    return plane.T if way == "rows" else plane


def _beside(pictures: Sequence[Picture], k: int) -> np.ndarray | None:
    """Another picture of the same size as picture k, in grey, if there is one."""
    others = (p for j, p in enumerate(pictures) if j != k and p.size == pictures[k].size)
    other = next(others, None)
    return None if other is None else grey(other)


def _coarse(picture: Picture, given: Observation, size: Size, found: Found) -> Size:
    """The size at which the source has all its detail, smaller than its own if it was enlarged."""
    if given.scale is not None:
        h, w = (max(1, round(n / given.scale)) for n in size)
        return min(h, picture.size[0]), min(w, picture.size[1])
    if picture.dtype != np.uint8 or picture.mask is not None:
        return picture.size
    coarse = find_coarse(grey(picture))
    if coarse is None:
        return picture.size
    found["enlarged"] = round(picture.size[0] / coarse[0], 2)
    return coarse


def _sharp(
    picture: Picture,
    given: Observation,
    size: Size,
    coarse: Size,
    denoise: Denoise,
    clean: float,
    guides: Sequence[Picture],
    found: Found,
) -> Picture:
    """The picture at this size, without noise and blur."""
    smaller = coarse[0] < size[0] or coarse[1] < size[1]
    asked = bool(given.blur) or bool(given.noise)
    if not smaller and not asked:
        return picture if picture.size == size else resized(picture, size)
    y = plane(grey(picture))
    if coarse != picture.size:
        y, _ = taken_back(y, coarse)
    y = _without_noise(y, given, smaller, denoise, clean, found)
    if "noise" in found and picture.is_color:
        picture = with_quiet_colors(picture, _of_chroma(given.noise, denoise))
    wide = picture if picture.size == size else resized(picture, size)
    if coarse != size or given.blur:
        # What looks like faint noise in a source that is only coarse is texture, and counts as 0.
        lam = LAM + (PER_NOISE * min(noise_level(y), clean) if given.blur else 0.0)
        guide = next(filter(lambda g: noise_level(g) < clean, map(_plane, guides)), None)
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


def _law(y: Tensor, file: Tensor, is_jpeg: bool, clean: float) -> float | NoiseLaw | None:
    """The noise of y, if it is not white, or if only air or the file distinguishes it from texture.

    Args:
        file: the source before its JPEG artefacts were removed; after that, what the compression
            left of the noise is no longer visible.
        is_jpeg: whether the file was detected or specified to be a JPEG.
    """
    level = noise_level(y)
    white = is_noise(y, level, clean)
    in_air = find_in_air(y, AIR * clean)
    if in_air is not None and (isinstance(in_air, tuple) or not white):
        deviation = 2 / 255 * deviation_of(in_air, 0)
        if deviation <= UNLIKELY * level:  # otherwise it is only in the air
            return in_air
    if white and (photons := find_photons(y)) is not None:
        return photons
    shared = find_shared(file, SHARED * clean, is_jpeg)
    return shared if not white or isinstance(shared, float) else None


def _without_noise(
    y: Tensor, given: Observation, smaller: bool, denoise: Denoise, clean: float, found: Found
) -> Tensor:
    if isinstance(given.noise, tuple):
        found["noise"] = list(given.noise)
        if given.noise[0] != "shared":
            return without_noise(y, law_of(given.noise), denoise)
        deviation, width = of_shared(given.noise)
        return unclipped(without_shared_noise(y, deviation, width, denoise), deviation)
    if given.noise is None:
        level = _level(y, smaller, denoise, clean)
    else:
        level = 2 * given.noise / 255
    if level > 0:
        found["noise"] = round(255 * level / 2, 2)
        if _is_unlikely(level, y, found):
            found["noise_there"] = round(255 * noise_level(y) / 2, 2)
        return unclipped(denoise(y, TOLD * level), level)
    return y


def _level(y: Tensor, smaller: bool, denoise: Denoise, clean: float) -> float:
    """The level of white noise in a coarse or blurred source, 0 if less than `clean`.

    A source that is smaller than the result has texture nearly everywhere, so the prior has to
    separate it from the noise.
    """
    level = noise_level(y)
    if not is_noise(y, level, clean):
        return 0.0
    if smaller:
        level = refined_level(y, level, denoise)
    return level if level >= clean else 0.0


def _is_unlikely(level: float, y: Tensor, found: Found) -> bool:
    """Whether y has far less noise than this level; False where this cannot be decided."""
    there = noise_level(y)
    if "jpeg" in found or there == 0 or level <= UNLIKELY * there:
        return False
    return not isinstance(find_shared(y, level / UNLIKELY), float)


def _of_chroma(noise: float | NoiseLaw | None, denoise: Denoise) -> Denoise:
    """The denoiser for chroma at half the size, where shared noise is half as wide in pixels."""
    if not isinstance(noise, tuple) or noise[0] != "shared":
        return denoise
    width = of_shared(noise)[1] / 2

    def quiet(x: Tensor, _: float) -> Tensor:
        return without_shared_noise(x, max(deviation_in(x, width), LEAST), width, denoise)

    return quiet


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


def _plane(picture: Picture) -> Tensor:
    return plane(grey(picture))
