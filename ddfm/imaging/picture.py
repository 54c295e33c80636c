"""A picture inside the library, and the way from and back to arrays of any depth.

Rules of depth, for arrays, tensors and files alike:

- uint8 and uint16 span their whole range: 0 is black, 255 or 65535 is white. bool is uint8.
- Floating-point values within [0, 1] are taken as they are. Any others (degrees, counts,
  [-1, 1]) are scaled by their own minimum and maximum, which `Picture.range` remembers; results
  are put back to that range. Other integer types (int16, int32, ...) are taken in this way too.
- Where a picture has NaN, a masked array its mask, or a GeoTIFF its value for no data, it says
  nothing: `Picture.mask` remembers it, and these places have no part in the scaling.
- Three channels that are equal everywhere are grey, and are kept as one channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ddfm.errors import InputError
from ddfm.imaging.metadata import NOTHING, Metadata

__all__ = [
    "LUMA",
    "Picture",
    "eight_bit",
    "from_array",
    "grey_step",
    "inks_to_rgb",
    "orient",
    "refuse_mask",
    "to_array",
]

LUMA = (0.299, 0.587, 0.114)  # of R, G and B in luminance, by ITU-R BT.601


@dataclass(frozen=True, eq=False)
class Picture:
    """An image: its samples, and what is needed to write a result like it.

    Attributes:
        samples: of shape (H, W, 1) for grey and (H, W, 3) for colour: float32 in [0, 1], or, as
            long as nothing was changed, the original 8 or 16 bits, which take less memory.
        alpha: float32 opacity in [0, 1], of shape (H, W), or None.
        dtype: the original depth: uint8, uint16 or float32.
        icc: the original colour profile. Pixels are as stored, not converted by it.
        name: its name in messages.
        range: the source's values at 0 and 1, if these are not 0 and the white of its depth.
            Results of floating point return to it; those of 8 and 16 bits use their whole depth.
        unit: of the values in `range`: "°C" for temperatures, or empty.
        clipped_noise: standard deviation, of levels from -1 to 1, of the noise that was clipped at
            black and white before it was averaged; None if nothing was averaged.
        mask: True where it is valid, of shape (H, W); None is everywhere.
        metadata: the EXIF, XMP and place on earth that a result takes over.
        sha256: of the file that it comes from; None if there was no file.
    """

    samples: np.ndarray
    alpha: np.ndarray | None = None
    dtype: np.dtype = np.dtype(np.uint8)
    icc: bytes | None = None
    name: str = "image"
    range: tuple[float, float] | None = None
    unit: str = ""
    clipped_noise: float | None = None
    mask: np.ndarray | None = None
    metadata: Metadata = NOTHING
    sha256: str | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.samples)
        if len(shape) != 3 or shape[2] not in (1, 3) or 0 in shape:
            raise InputError(f"pixels of a Picture are (H, W, 1) or (H, W, 3), not {shape}")

    def __repr__(self) -> str:
        return f"Picture({self.form}, {self.name})"

    @property
    def form(self) -> str:
        """Size, colour and depth in words."""
        height, width = self.size
        return f"{width} x {height} {'colour' if self.is_color else 'grey'} {self.dtype}"

    @property
    def pixels(self) -> np.ndarray:
        """The samples as float32 in [0, 1]; made anew each time where they are not kept so."""
        return self.rows(slice(None))

    def rows(self, rows: slice) -> np.ndarray:
        """Some rows of the pixels."""
        part = self.samples[rows]
        return _fraction(part) if part.dtype.kind == "u" else part

    @property
    def is_color(self) -> bool:
        """Whether the channels differ anywhere; three equal ones count as grey."""
        return self.samples.shape[2] == 3

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.samples.shape[0], self.samples.shape[1]


def from_array(
    array: np.ndarray,
    name: str = "array",
    *,
    icc: bytes | None = None,
    nodata: float | None = None,
) -> Picture:
    """A picture of an array of shape (H, W) or (H, W, C), C = 1 to 4; 2 and 4 end in alpha.

    Args:
        nodata: the value that stands for none.
    """
    gaps = _gaps(array, nodata)
    array = np.asarray(array)
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    if gaps is not None:
        array = array.copy()
        array[gaps] = array[~gaps].min()
    _check(array, name)
    if array.ndim == 2:
        array = array[:, :, None]
    channels = array.shape[2]
    color, alpha = (array[:, :, :-1], array[:, :, -1]) if channels in (2, 4) else (array, None)
    if color.shape[2] == 3 and _equal_channels(color):
        color = color[:, :, :1]
    if array.dtype.type in (np.uint8, np.uint16):
        dtype, limits = np.dtype(array.dtype.type), None
        pixels = np.array(color, dtype, order="C")  # a copy: the array is the caller's
        alpha = None if alpha is None else _fraction(alpha)
    else:
        dtype = np.dtype(np.float32)
        pixels, limits = _scale(color, name)
        alpha = None if alpha is None else _opacity(alpha)
    return Picture(pixels, alpha, dtype, icc, name, limits, mask=None if gaps is None else ~gaps)


def _gaps(array: np.ndarray, nodata: float | None) -> np.ndarray | None:
    """Where (H, W) the array has no data, if that is a part of it."""
    values = np.asarray(array)
    if values.dtype.kind not in "buif" or values.ndim not in (2, 3):
        return None
    channels = values if values.ndim == 3 else values[:, :, None]
    gaps = np.zeros(channels.shape[:2], bool)
    if isinstance(array, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(array)
        gaps |= hidden if hidden.ndim == 2 else hidden.any(axis=2)
    if values.dtype.kind == "f":
        gaps |= np.isnan(channels).any(axis=2)
    if nodata is not None:
        with np.errstate(over="ignore"):  # one that such samples cannot have
            gaps |= (channels == nodata).all(axis=2)
    return gaps if gaps.any() and not gaps.all() else None


def refuse_mask(array: object, name: str) -> None:
    """Raise for a masked array: NumPy silently drops the mask, and hidden values would show."""
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array; say what is behind the mask: array.filled(0)")


def to_array(pixels: np.ndarray, like: Picture, alpha: np.ndarray | None = None) -> np.ndarray:
    """Samples in [0, 1] as an array of the depth and range of `like`.

    Integers are rounded to the nearest. The result is (H, W) for grey, (H, W, 3) for colour,
    with alpha (in [0, 1]) appended as a last channel if it is given.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] == 3):
        raise InputError(f"a result is (H, W) or (H, W, 3), not {pixels.shape}")
    result = _at_depth(pixels, like.dtype, like.range)
    if alpha is None:
        return result
    if alpha.shape != pixels.shape[:2]:
        raise InputError(f"alpha of shape {alpha.shape} does not fit pixels of {pixels.shape[:2]}")
    return np.dstack([result, _at_depth(alpha, like.dtype, None)])


def eight_bit(picture: Picture) -> np.ndarray:
    """The picture in 256 levels from black to white, without its alpha."""
    return to_array(picture.pixels, replace(picture, dtype=np.dtype(np.uint8), range=None))


def grey_step(dtype: np.dtype) -> float:
    """The step between two levels of a picture of that depth, on a scale from 0 to 1."""
    return 1 / float(np.iinfo(dtype).max) if dtype.kind == "u" else 0.0


def orient(array: np.ndarray, orientation: int) -> np.ndarray:
    """An array turned upright, as an EXIF or TIFF orientation of 1 to 8 asks."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)  # stored on its side: columns are rows
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def inks_to_rgb(inks: np.ndarray) -> np.ndarray:
    """CMYK of shape (H, W, 4) as the light that the inks let through: R = (1 - C)(1 - K), ...

    That is what a screen shows of them without a colour profile.
    """
    top = np.iinfo(inks.dtype).max
    clear = top - inks.astype(np.float64)
    return np.rint(clear[:, :, :3] * clear[:, :, 3:] / top).astype(inks.dtype)


def _check(array: np.ndarray, name: str) -> None:
    if array.dtype.kind not in "uif":
        raise InputError(f"{name}: values of type {array.dtype} are not an image's")
    if array.ndim not in (2, 3):
        raise InputError(
            f"{name}: an image has shape (H, W) or (H, W, channels), not {array.shape}; "
            "pass one image at a time"
        )
    if array.ndim == 3 and not 1 <= array.shape[2] <= 4:
        hint = "; in NumPy arrays the channels come last" if array.shape[0] in (1, 3, 4) else ""
        raise InputError(
            f"{name}: {array.shape[2]} channels (shape {array.shape}), but 1 to 4 make an image"
            + hint
        )
    if array.size == 0:
        raise InputError(f"{name}: the image is empty, {array.shape[1]} x {array.shape[0]} pixels")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise InputError(
            f"{name}: {bad} of {array.size} values are NaN or infinite; replace them first"
        )


def _equal_channels(color: np.ndarray) -> bool:
    first = color[:, :, 0]
    return bool((first == color[:, :, 1]).all() and (first == color[:, :, 2]).all())


def _fraction(values: np.ndarray) -> np.ndarray:
    # float32 tells 65536 levels apart with room to spare, so 16 bits survive the way and back.
    fraction = values.astype(np.float32)
    fraction /= np.float32(np.iinfo(values.dtype).max)
    return fraction


def _opacity(alpha: np.ndarray) -> np.ndarray:
    opaque = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    return np.clip(alpha.astype(np.float64) / opaque, 0, 1).astype(np.float32)


def _scale(values: np.ndarray, name: str) -> tuple[np.ndarray, tuple[float, float] | None]:
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return values.astype(np.float32), None
    if max(-low, high) > float(np.finfo(np.float32).max) / 2:
        raise InputError(f"{name}: values from {low:g} to {high:g} are too large to work with")
    width = (high - low) or 1.0
    pixels = np.empty(values.shape, np.float32)
    for rows in _bands(values):
        pixels[rows] = np.clip((values[rows].astype(np.float64) - low) / width, 0, 1)
    return pixels, (low, high)


def _at_depth(
    values: np.ndarray, dtype: np.dtype, limits: tuple[float, float] | None
) -> np.ndarray:
    if not np.isfinite(values).all():
        raise InputError("the result has values that are not numbers; nothing is written")
    whole = dtype.kind == "u"
    low, high = (0, np.iinfo(dtype).max) if whole else limits or (0.0, 1.0)
    result = np.empty(values.shape, dtype)
    for rows in _bands(values):
        scaled = low + np.clip(values[rows].astype(np.float64), 0, 1) * (high - low)
        result[rows] = np.rint(scaled) if whole else scaled
    return result


def _bands(array: np.ndarray) -> Iterator[slice]:
    """The rows of a picture in bands, so that arithmetic in float64 takes little memory."""
    tall = max(1, 2**20 * len(array) // array.size)
    return (slice(top, top + tall) for top in range(0, len(array), tall))
