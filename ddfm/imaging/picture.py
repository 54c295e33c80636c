"""A picture inside the library, and its conversion from and to arrays of any depth.

The rules are the same for arrays, tensors and files:

- uint8 and uint16 span their whole range: 0 is black, 255 or 65535 is white. bool becomes uint8.
- Floating-point values within [0, 1] are used unchanged. Any others (degrees, counts, [-1, 1]) are
  scaled by their own minimum and maximum, which are kept in `Picture.range`; results are scaled
  back to that range. Other integer types (int16, int32, ...) are treated the same.
- Pixels that are NaN or infinite, masked in a masked array, or equal to the nodata value of a
  GeoTIFF are invalid: `Picture.mask` is False there, and they are left out of the scaling.
- Three channels that are equal everywhere are grey, and are kept as one channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ddfm.errors import InputError
from ddfm.imaging.metadata import NOTHING, Metadata

if TYPE_CHECKING:
    import torch

__all__ = [
    "INKS",
    "LUMA",
    "Picture",
    "Size",
    "as_tensor",
    "eight_bit",
    "from_array",
    "grey_step",
    "in_rgb",
    "inks_to_rgb",
    "no_valid_pixel",
    "orient",
    "refuse_mask",
    "to_array",
]

Size = tuple[int, int]  # height, width
LUMA = (0.299, 0.587, 0.114)  # weights of R, G and B in luminance, by ITU-R BT.601
INKS = "{}: its CMYK colour profile is not used; convert it to RGB first for true colours"


@dataclass(frozen=True, eq=False)
class Picture:
    """An image: its samples, and what is needed to write a result like it.

    Attributes:
        samples: of shape (H, W, 1) for grey and (H, W, 3) for colour: float32 in [0, 1] or, as
            long as they are unchanged, the original 8 or 16 bits, which take less memory.
        alpha: float32 opacity in [0, 1], of shape (H, W), or None.
        dtype: the original depth: uint8, uint16 or float32.
        icc: the original colour profile. It is not applied to the pixels.
        name: the picture's name in messages.
        range: the source's values at 0 and 1, if these are not 0 and the white of its depth.
            Floating-point results are scaled to it; those of 8 and 16 bits use their whole depth.
        unit: the unit of the values in `range`, such as "°C", or empty.
        clipped_noise: standard deviation, for levels from -1 to 1, of noise that was clipped at
            black and white before frames were averaged; None if nothing was averaged.
        clipped_border: whether values along the border that differ were clipped at black or white.
            A flat rim is then no frame, but a part of the scene beyond `range`.
        mask: True where pixels are valid, of shape (H, W); None if they are valid everywhere.
        metadata: the EXIF, XMP and geographic position that a result takes over.
        sha256: checksum of the file that it is from; None if there was no file.
        integers: the type of its original values, if these are integers and `dtype` is float32.
        reduced_by: how many pixels of its file a pixel covers, along each side, in a preview.
    """

    samples: np.ndarray
    alpha: np.ndarray | None = None
    dtype: np.dtype = np.dtype(np.uint8)
    icc: bytes | None = None
    name: str = "image"
    range: tuple[float, float] | None = None
    unit: str = ""
    clipped_noise: float | None = None
    clipped_border: bool = False
    mask: np.ndarray | None = None
    metadata: Metadata = NOTHING
    sha256: str | None = None
    integers: np.dtype | None = None
    reduced_by: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.samples, np.ndarray):
            raise InputError(
                f"pixels of a Picture are a NumPy array, not {type(self.samples).__name__}"
            )
        shape = self.samples.shape
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
        """The samples as float32 in [0, 1]; if stored as 8 or 16 bits, converted at each call."""
        return self.rows(slice(None))

    def rows(self, rows: slice) -> np.ndarray:
        """Some rows of the pixels."""
        part = self.samples[rows]
        return _fraction(part) if part.dtype.kind == "u" else part

    @property
    def is_color(self) -> bool:
        """Whether it has three channels; channels that are equal everywhere were made one."""
        return self.samples.shape[2] == 3

    @property
    def is_srgb(self) -> bool:
        """Whether its colours are those of sRGB, as without a profile or with one of that name."""
        names = b"sRGB", "sRGB".encode("utf-16-be")
        return self.icc is None or any(name in self.icc for name in names)

    @property
    def size(self) -> Size:
        """Height and width."""
        return self.samples.shape[0], self.samples.shape[1]

    @property
    def valid(self) -> np.ndarray:
        """Where pixels are valid, (H, W): the mask, or everywhere."""
        return np.ones(self.size, bool) if self.mask is None else self.mask


def from_array(
    array: np.ndarray,
    name: str = "array",
    *,
    icc: bytes | None = None,
    nodata: float | None = None,
) -> Picture:
    """A picture from an array (H, W) or (H, W, C), C = 1 to 4; of 2 and 4, the last is alpha.

    Args:
        nodata: the value that marks pixels without data.
    """
    gaps = _gaps(array, nodata)
    array = np.asarray(array)
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    if gaps is not None:
        if gaps.all():
            raise no_valid_pixel(name)
        array = _without_gaps(array, gaps)
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
    mask = None if gaps is None else ~gaps
    integers = array.dtype if dtype.kind == "f" and array.dtype.kind in "iu" else None
    return Picture(pixels, alpha, dtype, icc, name, limits, mask=mask, integers=integers)


def no_valid_pixel(name: str) -> InputError:
    """The error for a picture that is all gaps."""
    return InputError(f"{name}: no pixel has a valid value; all are NaN, infinite or no data")


def _gaps(array: np.ndarray, nodata: float | None) -> np.ndarray | None:
    """True where the array has no data, (H, W); None if it has data everywhere."""
    values = np.asarray(array)
    if values.dtype.kind not in "buif" or values.ndim not in (2, 3):
        return None
    channels = values if values.ndim == 3 else values[:, :, None]
    gaps = np.zeros(channels.shape[:2], bool)
    if isinstance(array, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(array)
        gaps |= hidden if hidden.ndim == 2 else hidden.any(axis=2)
    if values.dtype.kind == "f":
        gaps |= ~np.isfinite(channels).all(axis=2)
    if nodata is not None:
        with np.errstate(over="ignore"):  # nodata may be beyond the range of the samples' type
            gaps |= (channels == nodata).all(axis=2)
    return gaps if gaps.any() else None


def _without_gaps(array: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """A copy with the least level in the gaps, and no opacity that is not a number."""
    array = array.copy()
    if array.ndim == 3 and array.shape[2] in (2, 4):
        color, alpha = array[:, :, :-1], array[:, :, -1]
        alpha[...] = np.nan_to_num(alpha, nan=0)
    else:
        color = array
    color[gaps] = color[~gaps].min()
    return array


def refuse_mask(array: object, name: str) -> None:
    """Raise for a masked array: NumPy would drop the mask silently and expose masked values."""
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array; fill what is masked first: array.filled(0)")


def to_array(pixels: np.ndarray, like: Picture, alpha: np.ndarray | None = None) -> np.ndarray:
    """Convert samples in [0, 1] to an array of the depth and range of `like`.

    Integers are rounded to the nearest. In floating point, pixels outside the mask of `like` are
    NaN. The result is (H, W) for grey and (H, W, 3) for colour, with alpha (in [0, 1]) appended as
    the last channel if given.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] == 3):
        raise InputError(f"a result is (H, W) or (H, W, 3), not {pixels.shape}")
    result = _at_depth(pixels, like.dtype, like.range)
    if like.mask is not None and result.dtype.kind == "f":
        if like.mask.shape != pixels.shape[:2]:
            raise InputError(
                f"a mask of shape {like.mask.shape} does not fit pixels of {pixels.shape[:2]}"
            )
        result[~like.mask] = np.nan
    if alpha is None:
        return result
    if alpha.shape != pixels.shape[:2]:
        raise InputError(f"alpha of shape {alpha.shape} does not fit pixels of {pixels.shape[:2]}")
    return np.dstack([result, _at_depth(alpha, like.dtype, None)])


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """(H, W, C) -> (1, C, H, W), float32."""
    if min(array.strides) < 0:  # torch refuses these; a flipped array may have them
        array = array.copy()
    import torch

    return torch.from_numpy(np.asarray(array, np.float32)).permute(2, 0, 1)[None]


def eight_bit(picture: Picture) -> np.ndarray:
    """The picture in 256 levels from black to white, without its alpha."""
    return to_array(picture.pixels, replace(picture, dtype=np.dtype(np.uint8), range=None))


def in_rgb(array: np.ndarray) -> np.ndarray:
    """Grey levels (H, W) three times, (H, W, 3); colours unchanged."""
    return array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)


def grey_step(dtype: np.dtype) -> float:
    """The step between two levels of a depth, on a scale from 0 to 1; 0 for floating point."""
    return 1 / float(np.iinfo(dtype).max) if dtype.kind == "u" else 0.0


def orient(array: np.ndarray, orientation: int) -> np.ndarray:
    """An array turned upright according to an EXIF or TIFF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)  # stored on its side: rows and columns are exchanged
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def inks_to_rgb(inks: np.ndarray) -> np.ndarray:
    """Convert CMYK (H, W, 4) to RGB: R = (1 - C)(1 - K), ..., as viewers without a profile do.

    Inks are stored with 0 for none; the result has the depth of the inks.
    """
    top = np.iinfo(inks.dtype).max
    clear = top - inks.astype(np.float64)
    return np.rint(clear[:, :, :3] * clear[:, :, 3:] / top).astype(inks.dtype)


def _check(array: np.ndarray, name: str) -> None:
    if array.dtype.kind not in "uif":
        raise InputError(f"{name}: an image cannot have values of type {array.dtype}")
    if array.ndim not in (2, 3):
        raise InputError(
            f"{name}: an image has shape (H, W) or (H, W, channels), not {array.shape}; "
            "pass one image at a time"
        )
    if array.ndim == 3 and not 1 <= array.shape[2] <= 4:
        hint = "; for a volume, use ddfm.fuse_volumes"
        if array.shape[0] in (1, 3, 4):
            hint = "; in NumPy arrays the channels come last"
        raise InputError(
            f"{name}: {array.shape[2]} channels (shape {array.shape}), but an image has 1 to 4"
            + hint
        )
    if array.size == 0:
        raise InputError(f"{name}: the image is empty, {array.shape[1]} x {array.shape[0]} pixels")


def _equal_channels(color: np.ndarray) -> bool:
    first = color[:, :, 0]
    return bool((first == color[:, :, 1]).all() and (first == color[:, :, 2]).all())


def _fraction(values: np.ndarray) -> np.ndarray:
    # float32 resolves more than 65536 levels, so 16-bit samples survive the round trip unchanged.
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
    """Slices of rows in bands, so that arithmetic in float64 takes little memory."""
    tall = max(1, 2**20 * len(array) // array.size)
    return (slice(top, top + tall) for top in range(0, len(array), tall))
