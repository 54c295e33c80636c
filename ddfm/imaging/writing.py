"""Writes image files in the format of their suffix.

The depth is that of the source if the format has it, otherwise the greatest that it has: PNG 8 and
16 bits; TIFF 8, 16 and floating point, in the source's range; JPEG 2000 8 bits, and 16 for grey;
JPEG, WebP and BMP 8. WebP and JPEG 2000 are lossless; JPEG has quality 95 and full chroma. Alpha is
kept by all but JPEG and BMP; a colour profile by all but BMP and .j2k, if it is for the number of
channels written; EXIF, XMP and the record of how the picture was made by all but BMP and .j2k;
coordinates by TIFF and .jp2. All but BMP are marked as written by ddfm (see `ddfm.storage.ours`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ddfm.arguments import by_annotation
from ddfm.errors import InputError, StorageError, one_line, unknown
from ddfm.imaging.formats.jpeg2000 import add_boxes, with_profile
from ddfm.imaging.formats.plugins import suffix_is_read
from ddfm.imaging.formats.png16 import write_png16
from ddfm.imaging.formats.tiff import write_pages, write_tiff
from ddfm.imaging.metadata import NOTHING, Metadata
from ddfm.imaging.metadata.exif import exif_block
from ddfm.imaging.metadata.record import Record
from ddfm.imaging.metadata.xmp import packet
from ddfm.imaging.picture import Picture, to_array
from ddfm.imaging.quiet import quiet
from ddfm.imaging.unreadable import VOLUMES
from ddfm.storage.files import write_bytes
from ddfm.storage.ours import MARK
from ddfm.storage.outputs import check_writable

__all__ = [
    "check_output",
    "held_by",
    "image_bytes",
    "output_suffix",
    "write_drawing",
    "write_image",
    "write_planes",
]

_MOST_IN_JPEG = 65_502  # bytes of an XMP packet that fit into a segment of a JPEG


@dataclass(frozen=True)
class _Format:
    name: str
    depths: tuple[type, ...]
    alpha: bool = True
    icc: bool = True
    metadata: bool = True
    geo: bool = False
    side: int = 2**31 - 1  # the most pixels in a row or column


_PNG = _Format("PNG", (np.uint8, np.uint16))
_JPEG = _Format("JPEG", (np.uint8,), alpha=False, side=65500)
_TIFF = _Format("TIFF", (np.uint8, np.uint16, np.float32), geo=True)
_JPEG2000 = _Format("JPEG2000", (np.uint8, np.uint16), geo=True)
_WRITABLE = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _Format("WEBP", (np.uint8,), side=16383),
    ".bmp": _Format("BMP", (np.uint8,), alpha=False, icc=False, metadata=False),
    ".jp2": _JPEG2000,
    ".j2k": replace(_JPEG2000, icc=False, metadata=False, geo=False),
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
}


def check_output(path: str | os.PathLike[str], size: tuple[int, int] | None = None) -> None:
    """Raise what `write_image` would raise about this path, before any work is done.

    Args:
        size: height and width of the image, if known.
    """
    path = Path(path)
    _format_of(path, size)
    check_writable(path)


def output_suffix(text: str) -> str:
    """The suffix with its dot, ".tif" for "tif"; raises if its format cannot be written."""
    suffix = text if text.startswith(".") else f".{text}"
    if suffix.lower() not in _WRITABLE:
        raise _unknown(suffix)
    return suffix


@by_annotation
def write_image(
    path: str | os.PathLike[str],
    pixels: np.ndarray,
    like: Picture,
    alpha: np.ndarray | None = None,
    record: Record | None = None,
) -> None:
    """Write samples in [0, 1] in the format of the suffix, at the depth of `like`.

    Args:
        path: the file to write, which appears whole or not at all.
        pixels: of shape (H, W), (H, W, 1) or (H, W, 3).
        like: the picture whose depth, range, colour profile and metadata the file takes over.
        alpha: opacity in [0, 1], of shape (H, W), for formats that have it.
        record: how the picture was made, which is stored in the file.
    """
    path = Path(path)
    if pixels.ndim not in (2, 3):
        raise InputError(f"pixels are (H, W) or (H, W, C), not {pixels.shape}")
    check_output(path, pixels.shape[:2])
    write_bytes(path, image_bytes(path, pixels, like, alpha, record))


def image_bytes(
    path: str | os.PathLike[str],
    pixels: np.ndarray,
    like: Picture,
    alpha: np.ndarray | None = None,
    record: Record | None = None,
) -> bytes:
    """The content of the file that `write_image` would write."""
    path = Path(path)
    form = _format_of(path, pixels.shape[:2])
    alpha = alpha if form.alpha else None
    depth = _depth(form, like, grey=pixels.ndim == 2 or pixels.shape[2] == 1, alpha=alpha)
    if depth != like.dtype:
        like = replace(like, dtype=depth, range=None)
    array = to_array(pixels, like, alpha)
    if form is _TIFF:
        array = _with_gaps(array, like)
    icc = _fitting_profile(like.icc, array) if form.icc else None
    return _encode(path, array, form.name, icc, like.metadata, record)


def held_by(path: str | os.PathLike[str], picture: Picture) -> tuple[Picture, tuple[str, ...]]:
    """The picture with as much as the format of this path holds.

    There is a warning if transparency, a colour profile or coordinates are left out.
    """
    form, words = _format_of(Path(path)), []
    if not form.alpha and picture.alpha is not None and (picture.alpha < 1).any():
        words.append(
            f"{path}: {form.name} has no transparency, so transparent pixels become opaque; PNG, "
            "TIFF and WebP keep them"
        )
        picture = replace(picture, alpha=None)
    suffix = Path(path).suffix.lower()
    if not form.icc and picture.is_color and not picture.is_srgb:
        words.append(
            f"{path}: a {suffix} file has no colour profile, so the colours will be shown as sRGB; "
            "PNG, TIFF, JPEG and WebP keep it"
        )
        picture = replace(picture, icc=None)
    if not form.geo and picture.metadata.place is not None:
        words.append(
            f"{path}: a {suffix} file cannot hold coordinates, so they are left out; .tif and .jp2 "
            "keep them"
        )
        picture = replace(picture, metadata=replace(picture.metadata, geo=None))
    if not form.metadata:
        picture = replace(picture, metadata=NOTHING)
    return picture, tuple(words)


def _unknown(suffix: str) -> InputError:
    if not suffix_is_read(suffix):
        return unknown("output suffix", suffix, _WRITABLE)
    known = ", ".join(sorted(_WRITABLE))
    return InputError(f"unknown output suffix {suffix!r}: it is only read; known: {known}")


def write_drawing(path: str | os.PathLike[str], drawing: Image.Image) -> None:
    """Write a drawing, such as a plot or a contact sheet."""
    path = Path(path)
    check_output(path, (drawing.height, drawing.width))
    write_bytes(path, _encode(path, np.asarray(drawing), _format_of(path).name))


def write_planes(path: str | os.PathLike[str], planes: Sequence[tuple[str, np.ndarray]]) -> None:
    """Write named planes (H, W), float32, as the pages of a TIFF."""
    path = Path(path)
    check_output(path, planes[0][1].shape)
    file = BytesIO()
    write_pages(file, planes)
    write_bytes(path, file.getvalue())


def _format_of(path: Path, size: tuple[int, int] | None = None) -> _Format:
    """The format of the suffix; raises if it is unknown or too small for an image of this size."""
    suffix = path.suffix.lower()
    if suffix not in _WRITABLE:
        if not suffix:
            if path.is_dir():
                raise InputError(
                    f"cannot write {path}: it is a folder; name a file in it: {path / 'fused.png'}"
                )
            raise InputError(f"cannot write {path}: a suffix must give the format; try {path}.png")
        if path.name.lower().endswith(VOLUMES):
            raise InputError(f"cannot write {path}: volumes are for the command `ddfm volume`")
        raise _unknown(suffix)
    form = _WRITABLE[suffix]
    if size is not None and max(size) > form.side:
        raise InputError(
            f"cannot write {path}: {form.name} images have at most {form.side} pixels a side"
        )
    return form


def _depth(form: _Format, like: Picture, *, grey: bool, alpha: np.ndarray | None) -> np.dtype:
    """The depth of the source, or the deepest that the format has for such channels."""
    depths = form.depths
    if form.name == _JPEG2000.name and (not grey or alpha is not None):
        depths = (np.uint8,)  # Pillow writes 16-bit JPEG 2000 only for grey without alpha
    return like.dtype if like.dtype.type in depths else np.dtype(depths[-1])


def _fitting_profile(icc: bytes | None, array: np.ndarray) -> bytes | None:
    """The profile, if it is valid and for this number of channels; otherwise None."""
    if icc is None or len(icc) < 128 or icc[36:40] != b"acsp":
        return None
    grey = array.ndim == 2 or array.shape[2] == 2
    return icc if icc[16:20] == (b"GRAY" if grey else b"RGB ") else None


def _with_gaps(array: np.ndarray, like: Picture) -> np.ndarray:
    """Set pixels without data to the nodata value, and make sure that no other has it.

    Pixels that have this value by chance are moved to the next one.
    """
    geo = like.metadata.geo
    nodata = None if geo is None else geo.nodata_for(array.dtype)
    if nodata is None:
        return array
    channels = array.reshape(*array.shape[:2], -1)
    colors = channels[..., : 3 if channels.shape[2] > 2 else 1]  # without alpha
    value = array.dtype.type(nodata)
    top = np.iinfo(array.dtype).max if array.dtype.kind == "u" else np.inf
    step = 1 if array.dtype.kind == "u" else np.spacing(abs(value))
    colors[colors == value] = value + step if value < top else value - step
    if like.mask is not None:
        colors[~like.mask] = value
    return array


def _encode(
    path: Path,
    array: np.ndarray,
    form: str,
    icc: bytes | None = None,
    metadata: Metadata = NOTHING,
    record: Record | None = None,
) -> bytes:
    """The content of the file. Encoded in memory: some encoders hang or crash on a full disk."""
    file = BytesIO()
    size = array.shape[:2]
    xmp = _packet(form, metadata, record)
    exif = exif_block(metadata.exif, size) if metadata.exif or form == "WEBP" else None
    try:
        with quiet():
            if form == "TIFF":
                write_tiff(file, array, icc, metadata, xmp)
            elif form == "PNG" and array.dtype == np.uint16:
                write_png16(file, array, icc, exif, xmp)
            else:
                options = _OPTIONS.get(form, {}) | _marked(form, exif, xmp)
                options |= {"icc_profile": icc} if icc else {}
                Image.fromarray(array).save(file, format=form, **options)
            if path.suffix.lower() == ".jp2":
                if icc:
                    file = BytesIO(with_profile(file.getvalue(), icc))
                add_boxes(file, exif, xmp, metadata.geo)
    except Exception as error:
        raise StorageError(f"cannot write {path}: {one_line(error)}") from None
    return file.getvalue()


def _packet(form: str, metadata: Metadata, record: Record | None) -> bytes | None:
    """An XMP packet with as much as fits; None if there is nothing to write, or nothing fits."""
    text, trained = (None, False) if record is None else (record.text, record.is_trained)
    for along, made in ((metadata.xmp, text), (None, text), (None, None)):
        if along is None and made is None:
            break
        whole = packet(along, made, trained)
        if form != "JPEG" or len(whole) <= _MOST_IN_JPEG:
            return whole
    return None


def _marked(form: str, exif: bytes | None, xmp: bytes | None) -> dict[str, Any]:
    """Pillow's arguments for writing metadata and ddfm's mark, as far as the format has them."""
    if form == "PNG":
        note = PngInfo()
        note.add_text("Software", MARK)
        if xmp:
            note.add_itxt("XML:com.adobe.xmp", xmp.decode())
        return {"pnginfo": note} | ({"exif": exif} if exif else {})
    if form == "JPEG":
        data = b"http://ns.adobe.com/xap/1.0/\0" + (xmp or b"")
        extra = b"\xff\xe1" + (2 + len(data)).to_bytes(2, "big") + data if xmp else b""
        return {"comment": MARK, "extra": extra} | ({"exif": b"Exif\0\0" + exif} if exif else {})
    if form == "WEBP":
        return {"exif": exif} | ({"xmp": xmp} if xmp else {})
    return {"comment": MARK} if form == "JPEG2000" else {}
