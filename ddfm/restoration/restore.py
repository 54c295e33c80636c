"""Pictures as they came in, made clean pictures of the sizes that are asked for: the door.

    dead pixels -> stripes -> JPEG -> noise, at the source's own resolution, where all of it
    happened -> blur and resolution, by least squares

What is said in an `Observation` is believed; what is left open is found out, and where nothing is
found a picture is left as it is, the very object. The prior is asked at the source's resolution,
once, and only for noise. What changes in luminance is added to R, G and B alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.errors import InputError
from ddfm.imaging.files import read_image
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import grey, resized
from ddfm.numerics.noise_level import is_noise, noise_level
from ddfm.restoration.frame import find_frame
from ddfm.restoration.jpeg import held_to_file, strength
from ddfm.restoration.latent import least_squares
from ddfm.restoration.noise import law_of, without_noise
from ddfm.restoration.observation import Observation
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
from ddfm.restoration.stripes import find_stripes

__all__ = ["restored", "with_luminance"]

Size = tuple[int, int]
Denoise = Callable[[Tensor, float], Tensor]  # (1, 1, H, W) in [-1, 1], and its noise
Found = dict[str, Any]  # what was found of a source, or was said and undone; ready for JSON

LAM = 5e-5  # weight of edges beside what is known
PER_NOISE = 0.03  # and for each unit of noise that a deblurring would strengthen


def restored(
    pictures: Sequence[Picture],
    observations: Sequence[Any],
    sizes: Sequence[Size],
    denoise: Denoise,
    *,
    clean: float,
    guided: bool = True,
) -> tuple[tuple[Picture, ...], list[Found]]:
    """Clean pictures of these sizes, and what was found of each.

    Args:
        observations: an `Observation`, a dictionary, or None for each; fewer than pictures will do.
        clean: the least noise that is removed where nobody said how much there is.
        guided: whether pictures lie on each other, so that edges of one tell of those of another.
    """
    if len(observations) > len(pictures):
        raise InputError(f"{len(observations)} observations are of {len(pictures)} sources")
    said = [Observation.of(one) for one in observations]
    said += [Observation()] * (len(pictures) - len(said))
    done, found = list(pictures), [Found() for _ in pictures]
    for k, picture in enumerate(pictures):
        done[k] = _of_the_sensor(picture, said[k], _beside(done, k), found[k])
    # Those that are sharp come first, and are guides of the others.
    order = sorted(range(len(done)), key=lambda k: _is_coarse(done[k], said[k], sizes[k]))
    for k in order:
        guides = [p for j, p in enumerate(done) if j != k and p.size == sizes[k]] if guided else []
        done[k] = _sharp(done[k], said[k], sizes[k], denoise, clean, guides, found[k])
    return tuple(done), found


def with_luminance(picture: Picture, plane: np.ndarray) -> Picture:
    """The picture with another luminance (H, W) in [0, 1], and its own chroma."""
    change = (plane - grey(picture))[..., None]
    return replace(picture, samples=np.clip(picture.pixels + change, 0, 1).astype(np.float32))


def _of_the_sensor(
    picture: Picture, said: Observation, guide: np.ndarray | None, found: Found
) -> Picture:
    """Without rim, dead pixels and stripes."""
    plane = before = grey(picture)
    mask = picture.mask
    if said.mask is not None:
        mask = grey(read_image(said.mask)) > 0.5
        if mask.shape != picture.size:
            raise InputError(f"the mask {said.mask} has not the size of {picture.name}")
    elif mask is None and picture.alpha is None and said.frame is not False:
        mask = find_frame(plane)
        if mask is not None:
            found["frame"] = round(float(mask.mean()), 3)
    if said.dead or (said.dead is None and not picture.is_color):
        dead = find_dead(plane)
        if int(dead.sum()) >= (1 if said.dead else MANY):
            plane = mended(plane, dead)
            found["dead"] = int(dead.sum())
    plane = _without_stripes(plane, said.stripes, guide, mask, found)
    if mask is not picture.mask:
        picture = replace(picture, mask=mask)
    return picture if plane is before else with_luminance(picture, plane)


def _without_stripes(
    plane: np.ndarray,
    said: str,
    guide: np.ndarray | None,
    mask: np.ndarray | None,
    found: Found,
) -> np.ndarray:
    """Rows are the columns of the transposed picture."""
    strengths: dict[str, float] = {}
    for way in ("columns", "rows"):
        if said not in ("auto", way):
            continue
        turned = _turned(plane, way)
        beside, known = (None if p is None else _turned(p, way) for p in (guide, mask))
        stripes = find_stripes(turned, beside, known)
        if stripes.sure or (said == way and stripes.sigma > 0):
            even = np.clip(turned - stripes.offsets, 0, 1).astype(np.float32)
            plane = _turned(even if known is None else np.where(known, even, turned), way)
            strengths[way] = round(255 * stripes.sigma, 2)
    if strengths:
        found["stripes"] = strengths
    return plane


def _turned(plane: np.ndarray, way: str) -> np.ndarray:
    return plane.T if way == "rows" else plane


def _beside(pictures: Sequence[Picture], k: int) -> np.ndarray | None:
    """Another picture of the same size."""
    others = (p for j, p in enumerate(pictures) if j != k and p.size == pictures[k].size)
    other = next(others, None)
    return None if other is None else grey(other)


def _is_coarse(picture: Picture, said: Observation, size: Size) -> bool:
    return said.blur is not None or _coarse(picture, said, size) != size


def _coarse(picture: Picture, said: Observation, size: Size) -> Size:
    """How many pixels the source really has."""
    if said.scale is None:
        return picture.size
    h, w = (max(1, round(n / said.scale)) for n in size)
    return min(h, picture.size[0]), min(w, picture.size[1])


def _sharp(
    picture: Picture,
    said: Observation,
    size: Size,
    denoise: Denoise,
    clean: float,
    guides: Sequence[Picture],
    found: Found,
) -> Picture:
    """Of this size, without noise and blur."""
    coarse = _coarse(picture, said, size)
    smaller = coarse[0] < size[0] or coarse[1] < size[1]
    asked = said.blur is not None or said.jpeg is not None or bool(said.noise)
    if not smaller and not asked:
        return picture if picture.size == size else resized(picture, size)
    y = _tensor(grey(picture))
    if said.jpeg is not None:
        y = held_to_file(denoise(y, strength(said.jpeg)), y, said.jpeg)
        found["jpeg"] = said.jpeg
    if coarse != picture.size:
        y = AreaAverage(picture.size, coarse).forward(y)
    y = _without_noise(y, said, denoise, clean, found)
    parts = _parts(said, size, coarse)
    wide = picture if picture.size == size else resized(picture, size)
    if parts:
        # What looks like faint noise in a coarse source is its texture.
        lam = LAM + (0.0 if said.blur is None else PER_NOISE * min(noise_level(y), clean))
        guide = next(filter(lambda g: noise_level(g) < clean, map(_plane, guides)), None)
        first = F.interpolate(y, size, mode="bicubic", antialias=True)
        mask = 1.0 if picture.mask is None else _means(picture.mask, coarse)
        y = least_squares(Chain(parts), y, first, lam, guide=guide, mask=mask)
    if smaller:
        found["scale"] = round(max(n / m for n, m in zip(size, coarse, strict=True)), 3)
    if said.blur is not None:
        found["blur"] = list(said.blur) if isinstance(said.blur, tuple) else said.blur
    return with_luminance(wide, ((y.clamp(-1, 1) + 1) / 2)[0, 0].numpy())


def _without_noise(
    y: Tensor, said: Observation, denoise: Denoise, clean: float, found: Found
) -> Tensor:
    if isinstance(said.noise, tuple):
        found["noise"] = list(said.noise)
        return without_noise(y, law_of(said.noise), denoise)
    level = noise_level(y) if said.noise is None else 2 * said.noise / 255
    if said.noise or (level >= clean and is_noise(y)):
        found["noise"] = round(255 * level / 2, 2)
        return denoise(y, level)
    return y


def _parts(said: Observation, fine: Size, coarse: Size) -> tuple[Operator, ...]:
    """A: what the lens and the pixels do. A blur is in pixels of the source."""
    parts: list[Operator] = []
    if coarse != fine:
        parts.append(AreaAverage(fine, coarse))
    if isinstance(said.blur, str):
        parts.append(KernelBlur(as_kernel(_odd(grey(read_image(said.blur))))))
    elif isinstance(said.blur, tuple):
        parts.append(KernelBlur(motion_kernel(*said.blur)))
    elif said.blur is not None:
        parts.append(GaussianBlur(said.blur))
    return tuple(parts)


def _odd(kernel: np.ndarray) -> np.ndarray:
    """With a middle pixel on each side."""
    return np.pad(kernel, [(0, 1 - n % 2) for n in kernel.shape])


def _means(mask: np.ndarray, coarse: Size) -> Tensor:
    whole = torch.from_numpy(mask.astype(np.float32))[None, None]
    return (AreaAverage(mask.shape, coarse).forward(whole) > 0.99).float()


def _tensor(plane: np.ndarray) -> Tensor:
    """(H, W) in [0, 1] as (1, 1, H, W) in [-1, 1]."""
    return torch.from_numpy(2 * np.ascontiguousarray(plane, np.float32) - 1)[None, None]


def _plane(picture: Picture) -> Tensor:
    return _tensor(grey(picture))
