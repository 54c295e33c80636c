"""The input of metrics: grey images on the 0..255 scale, with intermediate results kept for reuse.

The field measures 8-bit grey images. A picture of any depth is converted to 256 levels from its
black to its white, as ddfm fuses it; arrays must be on this scale already. Colour becomes grey as
in OpenCV, round(0.299 R + 0.587 G + 0.114 B), and transparency is dropped.

Several metrics need the same gradients, local means or histograms. `Grey.shared` keeps them with
the image, so that each is computed only once for all metrics, and a single metric computes only
what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

from ddfm.arguments import by_annotation
from ddfm.errors import InputError, short
from ddfm.imaging.picture import LUMA, Picture, eight_bit, refuse_mask
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import read_for_fusion

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Array", "Grey", "ImageLike", "as_grey", "pair_up"]

Array: TypeAlias = NDArray[Any]


class HasPicture(Protocol):
    """An object with a picture, such as a `Fusion`."""

    @property
    def picture(self) -> Picture: ...


ImageLike: TypeAlias = Union[
    "Grey", Array, "Image.Image", Picture, HasPicture, str, os.PathLike[str]
]
Made = TypeVar("Made")


class Grey:
    """A grey image (`pixels`, float64) that keeps intermediate results computed from it."""

    def __init__(self, pixels: Array) -> None:
        self.pixels = pixels
        self._made: dict[tuple[Any, ...], Any] = {}

    def shared(self, make: Callable[..., Made], *arguments: Any) -> Made:
        """`make(self, *arguments)`, computed only at the first call."""
        key = (make, *arguments)
        if key not in self._made:
            self._made[key] = make(self, *arguments)
        return self._made[key]


@by_annotation
def as_grey(image: ImageLike, name: str = "image") -> Grey:
    """A `Grey` from a file, a PIL image, a `Picture`, a `Fusion`, or an array from 0 to 255."""
    if isinstance(image, Grey):
        return image
    image = getattr(image, "picture", image)  # a Fusion has one
    if isinstance(image, (str, os.PathLike)):
        name = os.fspath(image)
    if _is_read(image):
        image = eight_bit(read_image(image, name=name))
    refuse_mask(image, name)
    try:
        pixels = np.asarray(image)
    except (TypeError, ValueError, RuntimeError):  # raised for a tensor without plain numbers
        raise InputError(f"{name} is not an array of numbers: {short(image)}") from None
    return Grey(_check_scale(_grey_levels(pixels, name), name))


def pair_up(
    fused: ImageLike, *sources: ImageLike, one_camera: bool | None = None
) -> tuple[Grey, list[Grey]]:
    """The fused image and its sources as `Grey`, all of one size.

    Args:
        one_camera: whether the sources are exposures or a focus stack, whose levels belong
            together; None: if all that are read are in colour.
    """
    if not sources:
        raise InputError("this metric compares with sources; give at least one")
    f = as_grey(fused, "fused")
    greys = _sources(sources, one_camera)
    for k, source in enumerate(greys, 1):
        if source.pixels.shape != f.pixels.shape:
            sizes = [f"{g.pixels.shape[1]}x{g.pixels.shape[0]}" for g in (source, f)]
            raise InputError(
                f"source {k} is {sizes[0]} pixels and the fused image {sizes[1]}: "
                "metrics need registered images of one size (ddfm fuse --save-sources DIR writes "
                "such sources)"
            )
    return f, greys


def _sources(sources: Sequence[ImageLike], one_camera: bool | None) -> list[Grey]:
    """The sources as `Grey`; files and pictures are read as they are fused."""
    names = [f"source {k}" for k in range(1, len(sources) + 1)]
    read = {k: source for k, source in enumerate(sources) if _is_read(source)}
    pictures = read_for_fusion(list(read.values()), [names[k] for k in read], one_camera)
    images = list(sources)
    for k, picture in zip(read, pictures, strict=True):
        images[k] = picture
    return [as_grey(image, name) for image, name in zip(images, names, strict=True)]


def _is_read(image: ImageLike) -> bool:
    """Whether this is a file, a `Picture` or a PIL image, rather than an array on its scale."""
    return isinstance(image, (str, os.PathLike, Picture)) or hasattr(image, "getbands")


def _grey_levels(pixels: Array, name: str) -> Array:
    if pixels.dtype.kind not in "uif":
        raise InputError(f"{name}: pixels of type {pixels.dtype}; give uint8 or float, 0 to 255")
    deep = pixels.dtype == np.uint16
    pixels = pixels.astype(np.float64)
    if deep:
        if pixels.size and 0 < pixels.max() <= 255:  # two levels at most; a sum of bytes, perhaps
            raise InputError(
                f"{name}: 16-bit values up to {pixels.max():g} of 65535 are nearly black; if they "
                "are on the 0..255 scale, give uint8"
            )
        pixels = np.rint(pixels / 257)
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        return np.rint(pixels[..., :3] @ LUMA)
    if pixels.ndim == 3 and pixels.shape[2] in (1, 2):
        pixels = pixels[..., 0]
    if pixels.ndim != 2 or not pixels.size:
        raise InputError(f"{name}: shape {pixels.shape}; give (H, W), (H, W, 3) or (H, W, 4)")
    return pixels


def _check_scale(pixels: Array, name: str) -> Array:
    low, high = pixels.min(), pixels.max()
    if not np.isfinite(low + high):
        raise InputError(f"{name}: some pixels are NaN or infinite")
    if low < -0.5 or high > 255.5:
        raise InputError(
            f"{name}: values from {low:g} to {high:g}; metrics are defined on the 0..255 scale"
        )
    if high <= 1 and np.any(pixels != np.rint(pixels)):
        raise InputError(f"{name}: values from {low:g} to {high:g}; multiply by 255")
    return pixels
