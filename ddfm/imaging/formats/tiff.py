"""TIFF files of any depth and layout: tifffile reads the header, and the pixels are unpacked here.

So depths and layouts that Pillow has no mode for are read at full depth. Palettes, single bits, fax
compression and JPEG are left to Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ddfm.errors import InputError, warn
from ddfm.imaging.formats.tags import ORIENTATION, Entry, with_entries
from ddfm.imaging.formats.tiff_pages import MASK, REDUCED, XMP
from ddfm.imaging.formats.tiff_strips import (
    BY_LIBTIFF,
    DEFLATE,
    UNCOMPRESSED,
    is_packed,
    sample_type,
    unpacked,
)
from ddfm.imaging.metadata import Metadata
from ddfm.imaging.metadata.exif import entries_for
from ddfm.imaging.metadata.geo import NODATA
from ddfm.imaging.picture import INKS, Picture, from_array, inks_to_rgb, orient
from ddfm.storage.budget import ask_pixels
from ddfm.storage.inputs import BoundedFile
from ddfm.storage.ours import MARK

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = [
    "page_mask",
    "page_nodata",
    "read_page",
    "unread_compression",
    "write_pages",
    "write_tiff",
]

_UNPACKED = UNCOMPRESSED | DEFLATE | BY_LIBTIFF
_BY_PILLOW = {2, 3, 4, 6, 7, 32771, 32809, 34676, 34677}  # fax, JPEG, ..., SGI
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_ICC = 34675
_UNSPECIFIED, _PREMULTIPLIED = 0, 1
_BYTE = 1
_LARGEST_PLAIN = 2**32 - 2**20  # bytes of a TIFF file with offsets of 32 bits
_MOST_COPIES = 50  # pages after a page that are searched for its mask


def read_page(path: Path, page: int, name: str) -> Picture | None:
    """One page as a picture; None if Pillow must decode it, for its colours or compression."""
    with _opened(path) as file:
        sheet = file.pages[page]
        _check_numbers(sheet, name)
        if not _is_ours(sheet):
            return None
        _check_layout(sheet, name)
        size = sheet.imagewidth, sheet.imagelength
        ask_pixels(*size, name, _bytes_needed(sheet), path.stat().st_size)
        array = unpacked(sheet, name)
        orientation, icc = _orientation(sheet), sheet.tags.valueof(_ICC)
        nodata = _number(sheet.tags.valueof(NODATA))
        if nodata is not None and sheet.photometric == _WHITE_IS_ZERO and array.dtype.kind == "u":
            nodata = np.iinfo(array.dtype).max - nodata
    array = _as_light(_with_true_alpha(array, sheet, name), sheet)
    array = orient(array, orientation)
    nodata = _if_stored(nodata, sheet.photometric != _CMYK, name)
    if icc and sheet.photometric == _CMYK:
        warn(INKS.format(name))
        icc = None
    return from_array(array, name, icc=bytes(icc) if icc else None, nodata=nodata)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import tifffile

    with BoundedFile(path) as opened, tifffile.TiffFile(opened) as file:
        yield file


def page_nodata(path: Path, page: int, name: str) -> float | None:
    """The value without data of an existing page that Pillow decodes; None if it has none.

    Pillow changes the values of single bits, inks and pictures whose zero is white.
    """
    with _opened(path) as file:
        sheet = file.pages[page]
        nodata = _number(sheet.tags.valueof(NODATA))
        stored = sheet.photometric in (_BLACK_IS_ZERO, _RGB, _YCBCR) and sheet.bitspersample >= 8
        return _if_stored(nodata, stored or sheet.photometric == _PALETTE, name)


def _if_stored(nodata: float | None, stored: bool, name: str) -> float | None:
    """A value without data; None, with a warning, if the pixels that are read are not as stored."""
    if nodata is None or stored:
        return nodata
    warn(
        f"{name}: its no-data value ({nodata:g}) cannot be applied to pixels stored as these are; "
        "a mask (--mask-a, --mask-b) can mark them"
    )
    return None


def unread_compression(path: Path, page: int) -> str:
    """What an existing page is compressed by, if it is rarely read; empty for usual methods."""
    with _opened(path) as file:
        found = file.pages[page].compression
    return "" if found in _UNPACKED | _BY_PILLOW else str(getattr(found, "name", found))


def page_mask(path: Path, page: int, name: str) -> np.ndarray | None:
    """True where an existing page has data, (H, W), by its mask page; None if it has none.

    GDAL writes a mask page after a page without a nodata value, such as an orthophoto in JPEG.
    """
    with _opened(path) as file:
        sheet = file.pages[page]
        for number in range(page + 1, min(len(file.pages), page + 1 + _MOST_COPIES)):
            other = file.pages[number]
            kind = int(other.subfiletype or 0)
            if not kind & (REDUCED | MASK):
                return None
            if kind == MASK and _size(other) == _size(sheet) and other.dtype == np.bool_:
                _check_numbers(other, name)
                if other.compression not in _UNPACKED:
                    return None
                return orient(unpacked(other, name)[:, :, 0], _orientation(sheet))
    return None


def _orientation(sheet: TiffPage) -> int:
    """By which the page is turned; 1, upright, if a damaged tag is not a number."""
    orientation = sheet.tags.valueof(ORIENTATION)
    return orientation if isinstance(orientation, int) else 1


def _number(text: object) -> float | None:
    """The nodata value, which GDAL writes as text; None if it is not a number."""
    try:
        return float(str(text)) if text is not None else None
    except ValueError:
        return None


def write_tiff(
    file: BytesIO,
    array: np.ndarray,
    icc: bytes | None,
    metadata: Metadata,
    xmp: bytes | None,
) -> None:
    """Write an array (H, W) or (H, W, C), with alpha if C is 2 or 4, as an uncompressed TIFF."""
    import tifffile

    channels = 1 if array.ndim == 2 else array.shape[2]
    tifffile.imwrite(
        file,
        array,
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        iccprofile=icc,
        software=MARK,
        metadata=None,
        byteorder="<",
    )
    entries, below = entries_for(metadata.exif, array.shape[:2])
    entries |= {} if metadata.geo is None else metadata.geo.entries(array.dtype)
    entries |= {} if xmp is None else {XMP: Entry(_BYTE, xmp)}
    if len(entries) > 1 and file.tell() < _LARGEST_PLAIN:  # larger is BigTIFF: entries are left out
        with_entries(file, entries, below)


def write_pages(file: BinaryIO, pages: Sequence[tuple[str, np.ndarray]]) -> None:
    """Write planes (H, W) of one depth, each as a page with its name as the description."""
    import tifffile

    with tifffile.TiffWriter(file) as writer:
        for name, plane in pages:
            writer.write(
                plane,
                photometric="minisblack",
                description=name.encode("ascii", "replace").decode(),
                software=MARK,
                metadata=None,
            )


def _is_ours(sheet: TiffPage) -> bool:
    if sheet.compression not in _UNPACKED:
        return False
    if 8 < sheet.bitspersample < 16:  # white is not that of 16 bits, so alpha and inks are refused
        return sheet.photometric in (_BLACK_IS_ZERO, _RGB) and sheet.samplesperpixel in (1, 3)
    known = sheet.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK)
    return known and sheet.bitspersample in (8, 16, 32, 64)


def _check_numbers(sheet: TiffPage, name: str) -> None:
    """Raise if a damaged tag holds text or a list instead of a number."""
    names = ["imagewidth", "imagelength", "imagedepth", "samplesperpixel", "bitspersample"]
    names += ["rowsperstrip"] if not sheet.is_tiled else ["tilewidth", "tilelength"]
    for each in [*names, "planarconfig", "predictor", "fillorder", "compression", "photometric"]:
        value = getattr(sheet, each)
        if value is not None and not isinstance(value, int):
            raise InputError(f"{name} is damaged: its {each} is not a number")


def _check_layout(sheet: TiffPage, name: str) -> None:
    if sheet.dtype is None or sheet.dtype.kind not in "uif":
        raise InputError(f"{name}: its samples are of a type that images cannot have")
    if sheet.dtype.itemsize * 8 != sheet.bitspersample and not is_packed(sheet):
        raise InputError(f"{name} is damaged: {sheet.bitspersample} bits for {sheet.dtype} samples")
    channels = sheet.samplesperpixel
    if channels > 4 and sheet.imagedepth == 1:
        raise InputError(
            f"{name} has {channels} bands, but a picture has one or three; choose them first: "
            "gdal_translate -b 3 -b 2 -b 1 IN.tif OUT.tif"
        )
    if channels > 4 or (sheet.photometric == _CMYK and channels != 4) or sheet.imagedepth > 1:
        raise InputError(
            f"{name}: {channels} channels, {sheet.imagedepth} planes deep; "
            "an image has 1 to 4 channels in one plane"
        )
    if 0 in sheet.shape:
        raise InputError(f"{name}: the image is empty, {sheet.imagewidth} x {sheet.imagelength}")
    if not any(sheet.databytecounts):
        raise InputError(f"{name} is damaged: there are no pixels in it")


def _bytes_needed(sheet: TiffPage) -> int:
    """Bytes of memory for the page, a strip of it packed and unpacked, and the page as float32."""
    samples = sheet.imagewidth * sheet.imagelength * sheet.samplesperpixel
    return samples * (3 * sample_type(sheet).itemsize + 4)


def _size(sheet: TiffPage) -> tuple[int, int]:
    return sheet.imagelength, sheet.imagewidth


def _with_true_alpha(array: np.ndarray, sheet: TiffPage, name: str) -> np.ndarray:
    """Drop unspecified extra channels, with a warning; divide premultiplied colours by alpha."""
    channels = array.shape[2]
    if channels not in (2, 4) or sheet.photometric == _CMYK or not sheet.extrasamples:
        return array
    if sheet.extrasamples[0] == _UNSPECIFIED:
        taken = "the first three are" if channels == 4 else "the first is"
        warn(f"{name}: of its {channels} bands only {taken} used; gdal_translate -b selects others")
        return array[:, :, : channels - 1]
    return _divide_by_alpha(array) if sheet.extrasamples[0] == _PREMULTIPLIED else array


def _divide_by_alpha(array: np.ndarray) -> np.ndarray:
    top = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1.0
    values = array.astype(np.float64)
    color, alpha = values[:, :, :-1], values[:, :, -1:] / top
    np.divide(color, alpha, out=color, where=alpha > 0)
    if array.dtype.kind == "u":
        values = np.rint(np.clip(values, 0, top))
    return values.astype(array.dtype)


def _as_light(array: np.ndarray, sheet: TiffPage) -> np.ndarray:
    """Make larger values brighter: CMYK to RGB, and white-is-zero inverted.

    Only for unsigned integers; the other types have no white.
    """
    if array.dtype.kind != "u":
        return array
    if sheet.photometric == _CMYK:
        return inks_to_rgb(array)
    if sheet.photometric == _WHITE_IS_ZERO:
        array[:, :, 0] = ~array[:, :, 0]
    return array
