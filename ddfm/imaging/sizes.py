"""The sizes of the pictures of one scene: which is common to them, resizing to it, and crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ddfm.errors import InputError
from ddfm.imaging.picture import Picture, Size, as_tensor

__all__ = ["common_size", "cropped", "hint_at_turn", "reduced", "resized", "stretched"]

COARSER = 1.25  # least ratio of sides at which a picture is from a coarser sensor, not cropped
STRETCHED = 1.05  # change of aspect ratio that is warned of: borders move by 1/40 of the picture


def common_size(pictures: Sequence[Picture], resize: str) -> Size:
    """The size at which pictures are fused.

    Args:
        resize: "a" or "b", the size of the first or of the second; "auto", that of the finest, if
            all have the same aspect ratio; "error" refuses pictures of different sizes. For both
            pictures of one radiometric file, whose sizes differ by design, it is "auto".
    """
    if resize in ("a", "b"):
        return pictures["ab".index(resize)].size
    finest = max(pictures, key=lambda p: p.size)
    may_differ = resize == "auto" or _from_one_camera(pictures)
    for other in pictures:
        fits = may_differ and _is_coarser(other.size, finest.size)
        if other.size != finest.size and not fits:
            first, second = (p for p in pictures if p is finest or p is other)
            (h, w), (h2, w2) = first.size, second.size
            raise InputError(
                f"{first.name} has {w} x {h} pixels and {second.name} {w2} x {h2}; if one shows "
                "more of the scene than the other, align=auto (--align auto) aligns them; if both "
                "end at the same borders, resize=a (--resize a) resizes all to the first, b to "
                f"the second{hint_at_turn(first.size, second.size)}"
            )
    return finest.size


def hint_at_turn(one: Size, other: Size) -> str:
    """What to do if a picture may be lying on its side, by its proportions; empty if not."""
    (h, w), (h2, w2) = one, other
    turned = h != w and h * h2 == w * w2
    return "; if one is rotated by 90 degrees, rotate it first" if turned else ""


def _from_one_camera(pictures: Sequence[Picture]) -> bool:
    """Whether these are the thermal image and the photograph of one radiometric file."""
    return any(p.unit for p in pictures) and len({p.sha256 for p in pictures}) == 1


def _is_coarser(size: Size, finest: Size) -> bool:
    """Whether a size has the aspect ratio of the finest, up to one pixel, and is much smaller.

    If sizes differ only a little, one of the pictures was probably cropped.
    """
    (h, w), (tall, wide) = size, finest
    one_shape = abs(h - w * tall / wide) <= 1 or abs(w - h * wide / tall) <= 1
    return one_shape and COARSER * h <= tall and COARSER * w <= wide


def stretched(pictures: Sequence[Picture], size: Size) -> tuple[str, ...]:
    """A warning for each picture whose aspect ratio changes when it is resized to this size."""
    words = []
    for picture in pictures:
        (h, w), (tall, wide) = picture.size, size
        factor = (wide / w) / (tall / h)
        if max(factor, 1 / factor) > STRETCHED:
            words.append(
                f"{picture.name}: {w} x {h} pixels become {wide} x {tall}, another aspect ratio, "
                f"so the picture is stretched by {max(factor, 1 / factor):.2f} along one side; if "
                "it shows another part of the scene, use align=auto (--align auto) instead"
            )
    return tuple(words)


def cropped(picture: Picture, box: tuple[int, int, int, int]) -> Picture:
    """The part of a picture within top, bottom, left and right."""
    top, bottom, left, right = box
    part = slice(top, bottom), slice(left, right)
    return replace(
        picture,
        samples=picture.samples[part],
        alpha=None if picture.alpha is None else picture.alpha[part],
        mask=None if picture.mask is None else picture.mask[part],
        metadata=picture.metadata.cropped(top, left),
    )


def reduced(pictures: Sequence[Picture], longest: int) -> tuple[Picture, ...]:
    """Pictures reduced by a common factor, so that no side has more than `longest` pixels."""
    factor = longest / max(max(picture.size) for picture in pictures)
    if factor >= 1:
        return tuple(pictures)
    small = []
    for picture in pictures:
        height, width = (max(1, round(side * factor)) for side in picture.size)
        small.append(replace(resized(picture, (height, width)), reduced_by=1 / factor))
    return tuple(small)


def resized(picture: Picture, size: Size) -> Picture:
    """The picture resized bicubically, with antialiasing if it is reduced; itself at its size."""
    if picture.size == size:
        return picture
    import torch.nn.functional as F

    def weighed(array: np.ndarray) -> np.ndarray:
        x = F.interpolate(as_tensor(array), size, mode="bicubic", antialias=True)
        return x[0].permute(1, 2, 0).numpy()

    def of_size(array: np.ndarray) -> np.ndarray:
        return weighed(array).clip(0, 1)

    alpha = picture.alpha
    of_mask = weighed if size < picture.size else of_size
    return replace(
        picture,
        samples=of_size(picture.pixels),
        alpha=None if alpha is None else of_size(alpha[..., None])[..., 0],
        mask=None if picture.mask is None else _whole(of_mask(picture.mask[..., None])[..., 0]),
        metadata=picture.metadata.resized(picture.size, size),
    )


def _whole(mask: np.ndarray) -> np.ndarray:
    """True where a resized mask is true over the whole pixel, up to rounding.

    Values above 1 do not count either: in a reduced picture the negative lobes of the kernel lie
    outside the mask there, which would leave a bright rim.
    """
    return np.abs(mask - 1) < 0.01
