"""Reads the pictures of one scene as they are fused, and computes luminance.

Reading does without torch, which takes longer to import than most pictures take to read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ddfm.errors import InputError, short, warn
from ddfm.imaging.levels import with_levels, with_levels_together
from ddfm.imaging.picture import Picture, as_tensor, grey_step
from ddfm.imaging.reading import read_image, read_source
from ddfm.imaging.sizes import common_size, resized
from ddfm.imaging.thermal.renderings import without_false_colors
from ddfm.storage.in_memory import as_path, has_no_path, name_of

__all__ = [
    "are_of_one_camera",
    "equally_bright",
    "grey",
    "read_any",
    "read_for_fusion",
    "read_sources",
]

FIELDS = 8  # blocks along each side in which the mean levels of pictures are compared
EQUAL = 0.02  # of the range: pictures whose blocks' means differ by less are equally bright
FOCUS = 0.06  # of the range: most that a change of focus, and of its field, alters these means by
ONE_WAY = 2 / 3  # least part of that change that is one of the whole picture, if exposure made it


def read_sources(
    sources: Sequence[Any],
    resize: str = "auto",
    *,
    alike: bool = True,
    one_camera: bool | None = None,
) -> tuple[Picture, ...]:
    """Pictures of one size, from anything that `read_image` accepts.

    Args:
        resize: what to do if sizes differ, as for `common_size`; they are resized bicubically.
        alike: whether to bring them to one size; if not, their sizes are left unchanged.
        one_camera: whether they are exposures or a focus stack, so that those of 16 bits, and
            those of floating-point values, are stretched together; None: if all are in colour.
    """
    if not isinstance(sources, list | tuple):
        raise InputError(f"the images to fuse must be a list or tuple, not {short(sources)}")
    if len(sources) < 2:
        hint = "; for a list of images, call fuse(*images)" if _holds_images(*sources) else ""
        raise InputError(f"two or more images are needed to fuse, not {len(sources)}{hint}")
    names = ["the first image", "the second image"]
    names += [f"image {k}" for k in range(3, len(sources) + 1)]
    pictures = without_false_colors(read_for_fusion(sources, names, one_camera))
    if not alike:
        return pictures
    size = common_size(pictures, resize)
    return _filled(tuple(resized(picture, size) for picture in pictures))


def _holds_images(source: Any = None) -> bool:
    """Whether a source is a list, a generator or an array of images, rather than an image."""
    if hasattr(source, "ndim"):
        channels = -1 if isinstance(source, np.ndarray) else 0
        return source.ndim > 3 or (source.ndim == 3 and source.shape[channels] > 4)
    return isinstance(source, list | tuple | Iterator)


def _filled(pictures: tuple[Picture, ...]) -> tuple[Picture, ...]:
    """The pictures, with gaps filled by the others' mean luminance, so that they do not count."""
    if all(p.mask is None for p in pictures):
        return pictures
    planes = np.stack([grey(p) for p in pictures])
    valid = np.stack([p.valid for p in pictures])
    count = valid.sum(axis=0)
    mean = ((planes * valid).sum(axis=0) / np.maximum(count, 1)).astype(np.float32)
    done = []
    for picture in pictures:
        gaps = ~picture.valid & (count > 0)
        pixels = np.where(gaps[..., None], mean[..., None], picture.pixels)
        done.append(replace(picture, samples=pixels))
    return tuple(done)


def grey(picture: Picture) -> np.ndarray:
    """Luminance of a picture, (H, W) in [0, 1]."""
    from ddfm.imaging.color import luminance

    return luminance(as_tensor(picture.pixels))[0, 0].numpy()


def equally_bright(pictures: Sequence[Picture]) -> bool:
    """Whether pictures have the same levels apart from detail: a matter of focus, not exposure.

    The levels are those of the files: once each is stretched, a dark exposure is as bright as any.
    Blur and a change of the field of view make some blocks darker and others brighter, the more so
    the more pictures there are; exposure makes all of them darker, or all brighter.
    """
    import torch
    import torch.nn.functional as F

    limits = [_limits(picture) for picture in pictures]
    means = [F.adaptive_avg_pool2d(as_tensor(grey(p)[..., None]), FIELDS) for p in pictures]
    scaled = zip(means, limits, strict=True)
    coarse = torch.cat([low + mean * (high - low) for mean, (low, high) in scaled])
    width = max(high for _, high in limits) - min(low for low, _ in limits)
    change = float((coarse.amax(0) - coarse.amin(0)).mean())
    whole = coarse.flatten(1).mean(1)
    one_way = float(whole.amax() - whole.amin())
    scene = float(coarse.mean(0).std())  # of two scenes, little is left in their mean
    refocused = change < min(FOCUS * width, scene) and one_way < ONE_WAY * change
    return change < EQUAL * width or refocused


def _limits(picture: Picture) -> tuple[float, float]:
    """Where black and white of a picture lie between those of its depth.

    Floating-point values have no depth; theirs are taken as they are.
    """
    step = grey_step(picture.dtype)
    if picture.range is None or not step:
        return 0.0, 1.0
    return picture.range[0] * step, picture.range[1] * step


def are_of_one_camera(pictures: Sequence[Picture], one_camera: bool | None) -> bool:
    """Whether pictures are exposures or a focus stack; `one_camera` as for `read_sources`."""
    return all(p.is_color for p in pictures) if one_camera is None else one_camera


def read_for_fusion(
    sources: Sequence[Any], names: Sequence[str], one_camera: bool | None = None
) -> tuple[Picture, ...]:
    """Read sources as they are fused: temperatures, not their rendering; levels by content.

    Args:
        names: their names in messages, if they have none of their own.
        one_camera: as for `read_sources`.
    """
    came = tuple(map(_unstretched, sources, names))
    if came and are_of_one_camera(came, one_camera):
        return with_levels_together(came)
    return tuple(map(with_levels, came))


def _unstretched(source: Any, name: str) -> Picture:
    picture = read_any(source, name)
    if not isinstance(source, Picture) and picture.sha256 is None and _seems_8_bit(picture):
        low, high = picture.range or (0, 1)
        warn(
            f"{picture.name}: the values are not of type uint8, so the lowest, {low:g}, becomes "
            f"black and the highest, {high:g}, white; if 0 is black and 255 white, pass them as "
            "uint8, or divided by 255"
        )
    return picture


def _seems_8_bit(picture: Picture) -> bool:
    """Whether values of another type may be the levels of 8 bits, as from `astype(float)`.

    Degrees are rarely all above 0 and some above 128.
    """
    low, high = picture.range or (0.0, 1.0)
    return low >= 0 and 128 < high <= 255 and (low, high) != (0, 255)


def read_any(source: Any, name: str, **how: Any) -> Picture:
    """Read a file with `read_source`, or anything else with `read_image`.

    Args:
        name: its name in messages, if it has none of its own.
        how: keywords of `read_source`, for files.
    """
    if has_no_path(source):
        name = name_of(source, name)
        with as_path(source, name) as made:
            picture = read_source(made, name=name, **how)
        return replace(picture, name=picture.name.replace(str(made), name))
    if isinstance(source, (str, os.PathLike)):
        return read_source(source, **how)
    return read_image(source, name=None if getattr(source, "filename", "") else name)
