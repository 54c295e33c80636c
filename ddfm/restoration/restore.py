"""Turns degraded sources into clean pictures of the requested sizes: the entry point of the room.

    JPEG -> dead pixels -> stripes -> noise, all at the source's own resolution, where they arose
    -> blur and resolution, by least squares

What an `Observation` specifies is used as it is; the rest is estimated. A picture in which nothing
is found is returned unchanged, as the same object. The prior is evaluated at the source's
resolution, and only to remove noise and JPEG artefacts. Changes in luminance are added equally to
R, G and B; noise in the chroma is removed separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ddfm.imaging.picture import Picture, Size
from ddfm.imaging.sources import grey
from ddfm.numerics.noise_level import is_noise, noise_level
from ddfm.numerics.planes import plane
from ddfm.progress import stage
from ddfm.restoration.blur import find_blur
from ddfm.restoration.defects import opaque_where_filled, without_defects, without_jpeg_blocks
from ddfm.restoration.enlarged import taken_back
from ddfm.restoration.noise_laws import Denoise
from ddfm.restoration.noise_removal import law_in, noise_removed
from ddfm.restoration.observation import Found, Observation, observation_of_each
from ddfm.restoration.sharpening import coarse_size, sharp

__all__ = ["found_in", "restored"]


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
    given = _filled_up(observations, pictures, frames, blurs)
    done, coarse, found = _looked_into(pictures, given, sizes, denoise, clean)
    # Sharp pictures come first, since they guide the others.
    order = sorted(range(len(done)), key=lambda k: bool(given[k].blur) or coarse[k] != sizes[k])
    for k in order:
        guides = [p for j, p in enumerate(done) if j != k and p.size == sizes[k]] if guided else []
        done[k] = sharp(done[k], given[k], sizes[k], coarse[k], denoise, clean, guides, found[k])
    return tuple(opaque_where_filled(done, k, found[k]) for k in range(len(done))), found


def found_in(
    picture: Picture, denoise: Denoise, *, clean: float, frames: bool, blurs: bool
) -> Found:
    """What would be detected and corrected in one picture, as far as it shows without the others.

    Args:
        denoise, clean, frames, blurs: as for `restored`.
    """
    given = _filled_up([], [picture], frames, blurs)
    (done,), (coarse,), (found,) = _looked_into([picture], given, [picture.size], denoise, clean)
    y, law = plane(grey(done)), given[0].noise
    level = noise_level(y)
    if coarse != picture.size:
        noise_removed(taken_back(y, coarse)[0], given[0], True, denoise, clean, found)
    elif law is not None:
        found["noise"] = list(law) if isinstance(law, tuple) else law
    elif is_noise(y, level, clean):
        found["noise"] = round(255 * level / 2, 2)
    if given[0].blur:
        found["blur"] = given[0].blur
    return found


def _filled_up(
    observations: Sequence[Any], pictures: Sequence[Picture], frames: bool, blurs: bool
) -> list[Observation]:
    """An observation for each picture, which specifies what is not to be detected."""
    given = observation_of_each(observations, len(pictures))
    given = [
        replace(one, frame=frames and not picture.clipped_border) if one.frame is None else one
        for one, picture in zip(given, pictures, strict=True)
    ]
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
    coarse = list(map(coarse_size, pictures, given, sizes, found))
    for k, picture in enumerate(pictures):
        done[k] = without_jpeg_blocks(picture, given[k], denoise, found[k])
        done[k] = without_defects(done[k], given[k], _beside(done, k), found[k])
        if coarse[k] == picture.size:
            given[k] = _estimated(done[k], picture, given[k], clean, "jpeg" in found[k])
    return done, coarse, found


def _estimated(
    picture: Picture, file: Picture, given: Observation, clean: float, is_jpeg: bool
) -> Observation:
    """What is given of a picture, with its blur, and its noise if that is not white, estimated.

    Args:
        file: the picture as it was read, whose noise counts if it is a JPEG.
    """
    levels = grey(picture)
    y = plane(levels)
    if given.noise is None:
        stage(f"looking for noise in {picture.name}", detail=True)
        law = law_in(y, plane(grey(file)) if is_jpeg else y, is_jpeg, clean)
        given = replace(given, noise=law)
    # Noise, JPEG blocks and frames would hide a blur.
    hidden = given.noise or is_jpeg or picture.mask is not None
    if given.blur is None and given.scale is None and not hidden:
        stage(f"looking for a blur of {picture.name}", detail=True)
        blur = find_blur(levels)
        if blur is not None and not is_noise(y, noise_level(y), clean):
            given = replace(given, blur=blur)
    return given


def _beside(pictures: Sequence[Picture], k: int) -> np.ndarray | None:
    """Another picture of the same size as picture k, in grey, if there is one."""
    others = (p for j, p in enumerate(pictures) if j != k and p.size == pictures[k].size)
    other = next(others, None)
    return None if other is None else grey(other)
