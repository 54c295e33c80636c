"""TIFF files of any depth and layout: tifffile reads the header, and the pixels are unpacked here.

A page is a grid of strips or tiles, each compressed by itself. Python decompresses Deflate; for
LZW and similar methods, a strip is wrapped as a small TIFF of grey bytes, which libtiff decodes
within Pillow. So depths and layouts that Pillow has no mode for are read at full depth, and no
strip unpacks to more than its place in the page. Palettes, single bits, fax compression and JPEG
are left to Pillow.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import islice
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from ddfm.errors import DdfmWarning, InputError
from ddfm.imaging.formats.tags import (
    LONG,
    Directory,
    Entry,
    Order,
    block,
    directory_in,
    integer,
    with_entries,
)
from ddfm.imaging.metadata import Metadata, gathered
from ddfm.imaging.metadata.exif import entries_for, read_exif
from ddfm.imaging.metadata.geo import GEO_TAGS, NODATA, Geo, geo_in, turned
from ddfm.imaging.metadata.xmp import kept
from ddfm.imaging.picture import Picture, from_array, inks_to_rgb, orient
from ddfm.imaging.quiet import silence_libtiff
from ddfm.storage.budget import ask_pixels
from ddfm.storage.inputs import BoundedFile
from ddfm.storage.ours import MARK

if TYPE_CHECKING:
    from tifffile import FileHandle, TiffPage

__all__ = [
    "is_raw",
    "is_tiff",
    "page_count",
    "page_mask",
    "page_metadata",
    "page_tags",
    "read_page",
    "whole_pages",
    "write_pages",
    "write_tiff",
]

_UNCOMPRESSED, _DEFLATE = {1}, {8, 32946}
_BY_LIBTIFF = {5, 32773, 34925, 50000}  # LZW, PackBits, LZMA, Zstandard
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_WIDTH, _HEIGHT, _FILL_ORDER, _ORIENTATION, _XMP, _ICC = 256, 257, 266, 274, 700, 34675
_IPTC = 33723
_UNSPECIFIED, _PREMULTIPLIED = 0, 1
_SUBFILE, _REDUCED, _MASK = 254, 1, 4
_SUBFILES, _DNG = 330, 50706  # the tags of further images within a page, and of DNG's version
_OF_RAW = {_SUBFILE, _SUBFILES, _DNG}
_BYTE = 1
_LARGEST_PLAIN = 2**32 - 2**20  # bytes of a TIFF file with offsets of 32 bits
_MOST_COPIES = 50  # pages after a page that are searched for its mask
_MOST_PAGES = 100_000  # a longer chain is not from a real file, and takes minutes to follow


def is_tiff(head: bytes) -> bool:
    """Whether a file's first bytes are those of a TIFF or BigTIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_raw(path: Path) -> bool:
    """Whether this is a camera's raw file, whose first page is a small preview of the image.

    In DNG, NEF and ARW, the page is marked as a reduced copy of one that is within it; CR2 has two
    letters after the header.
    """
    with BoundedFile(path) as file:
        if file.read(10)[8:] == b"CR":
            return True
        offset, order, big = _page(file, 0)
        tags = directory_in(partial(_bytes_at, file), offset, order, _OF_RAW, big=big)
    kind = next(iter(tags[_SUBFILE].numbers), 0) if _SUBFILE in tags else 0
    return _DNG in tags or (_SUBFILES in tags and bool(int(kind) & _REDUCED))


def page_count(path: Path) -> int:
    """The number of pages, counted along their chain; raises if the chain is a loop."""
    with BoundedFile(path) as file:
        seen: set[int] = set()
        for offset in _pages(file):
            if offset in seen:
                raise InputError(f"{path} is damaged: its pages form a loop")
            seen.add(offset)
            if len(seen) > _MOST_PAGES:
                raise InputError(f"{path} was refused: it has more than {_MOST_PAGES:,} pages")
    return len(seen)


def whole_pages(path: Path) -> int:
    """How many pages are pictures of their own, not smaller copies of another or masks."""
    with BoundedFile(path) as file:
        read = partial(_bytes_at, file)
        order, big = _layout(file)
        count = 0
        for offset in islice(_pages(file), _MOST_PAGES):
            kind = directory_in(read, offset, order, [_SUBFILE], big=big).get(_SUBFILE)
            count += not (kind and int(next(iter(kind.numbers), 0)) & (_REDUCED | _MASK))
    return count


def page_tags(path: Path, page: int, wanted: Iterable[int]) -> Directory:
    """The wanted tags of an existing page."""
    with BoundedFile(path) as file:
        offset, order, big = _page(file, page)
        return directory_in(partial(_bytes_at, file), offset, order, wanted, big=big)


def page_metadata(path: Path, page: int) -> Metadata:
    """The metadata of an existing page."""
    with BoundedFile(path) as file:
        read = partial(_bytes_at, file)
        offset, order, big = _page(file, page)
        wanted = GEO_TAGS | {_WIDTH, _HEIGHT, _ORIENTATION, _XMP, _IPTC}
        tags = directory_in(read, offset, order, wanted, big=big)
        height, width, orientation = (
            int(next(iter(tags[tag].numbers), 1)) if tag in tags else 1
            for tag in (_HEIGHT, _WIDTH, _ORIENTATION)
        )

        def geo() -> Geo | None:
            found = geo_in(tags)
            return found and found.on_grid(turned((height, width), orientation))

        packet, iptc = (tags[tag].data if tag in tags else None for tag in (_XMP, _IPTC))
        return gathered(
            lambda: read_exif(read, offset, order, orientation, big=big),
            lambda: kept(packet, iptc) if packet or iptc else None,
            geo,
        )


def page_mask(path: Path, page: int, name: str) -> np.ndarray | None:
    """True where an existing page has data, (H, W), by its mask page; None if it has none.

    GDAL writes a mask page after a page without a nodata value, such as an orthophoto in JPEG.
    """
    import tifffile

    with BoundedFile(path) as opened, tifffile.TiffFile(opened) as file:
        sheet = file.pages[page]
        for number in range(page + 1, min(len(file.pages), page + 1 + _MOST_COPIES)):
            other = file.pages[number]
            kind = int(other.subfiletype or 0)
            if not kind & (_REDUCED | _MASK):
                return None
            if kind == _MASK and _size(other) == _size(sheet) and other.bitspersample == 1:
                _check_numbers(other, name)
                mask = _bits(other, name)
                orientation = sheet.tags.valueof(_ORIENTATION)
                turn = orientation if isinstance(orientation, int) else 1
                return None if mask is None else orient(mask, turn)
    return None


def _page(file: BinaryIO, page: int) -> tuple[int, Order, bool]:
    """The offset of the directory of a page, the byte order, and whether it is BigTIFF."""
    return next(islice(_pages(file), page, None)), *_layout(file)


def _layout(file: BinaryIO) -> tuple[Order, bool]:
    """The byte order, and whether it is BigTIFF."""
    head = _bytes_at(file, 0, 4)
    return "<" if head[:2] == b"II" else ">", head[2:] in (b"+\0", b"\0+")


def _pages(file: BinaryIO) -> Iterator[int]:
    """The offsets of the directories of the pages, along a chain that may be endless."""
    order, big = _layout(file)
    pointer, entry, count = (8, 20, 8) if big else (4, 12, 2)
    offset = integer(_bytes_at(file, pointer, pointer), order)
    while offset:
        yield offset
        entries = integer(_bytes_at(file, offset, count), order)
        offset = integer(_bytes_at(file, offset + count + entries * entry, pointer), order)


def read_page(path: Path, page: int, name: str) -> Picture | None:
    """One page as a picture; None if Pillow must decode it, for its colours or compression."""
    import tifffile

    with BoundedFile(path) as opened, tifffile.TiffFile(opened) as file:
        sheet = file.pages[page]
        _check_numbers(sheet, name)
        if not _is_ours(sheet):
            return None
        _check_layout(sheet, name)
        size = sheet.imagewidth, sheet.imagelength
        ask_pixels(*size, name, _bytes_needed(sheet), opened.length)
        array = _unpack(sheet, name)
        orientation, icc = (sheet.tags.valueof(tag) for tag in (_ORIENTATION, _ICC))
        nodata = _number(sheet.tags.valueof(NODATA))
    array = _as_light(_with_true_alpha(array, sheet, name), sheet)
    array = orient(array, orientation if isinstance(orientation, int) else 1)
    keeps_profile = icc and sheet.photometric != _CMYK
    icc = bytes(icc) if keeps_profile else None
    return from_array(array, name, icc=icc, nodata=nodata)


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
    entries |= {} if xmp is None else {_XMP: Entry(_BYTE, xmp)}
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


def _bytes_at(file: BinaryIO | FileHandle, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _is_ours(sheet: TiffPage) -> bool:
    return (
        sheet.compression in _UNCOMPRESSED | _DEFLATE | _BY_LIBTIFF
        and sheet.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK)
        and sheet.bitspersample in (8, 16, 32, 64)
    )


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
    if sheet.dtype.itemsize * 8 != sheet.bitspersample:
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
    if sheet.is_tiled:
        ask_pixels(sheet.tilewidth, sheet.tilelength, f"{name}: a tile of it")


def _sample_type(sheet: TiffPage) -> np.dtype:
    """The type of samples, in native byte order; `_check_layout` makes sure that there is one."""
    assert sheet.dtype is not None
    return sheet.dtype


def _bytes_needed(sheet: TiffPage) -> int:
    """Bytes of memory for the page, a strip of it packed and unpacked, and the page as float32."""
    samples = sheet.imagewidth * sheet.imagelength * sheet.samplesperpixel
    return samples * (3 * _sample_type(sheet).itemsize + 4)


def _unpack(sheet: TiffPage, name: str) -> np.ndarray:
    """The samples of the page as (H, W, C)."""
    file, kind = sheet.parent.filehandle, _sample_type(sheet)
    silence_libtiff()
    array = np.zeros((sheet.imagelength, sheet.imagewidth, sheet.samplesperpixel), kind)
    grid = _grid(sheet)
    found = min(len(sheet.dataoffsets), len(sheet.databytecounts))
    if found < prod(grid):
        raise InputError(f"{name} is damaged: it has {found} of its {prod(grid)} strips")
    if not any(sheet.databytecounts):
        raise InputError(f"{name} is damaged: there are no pixels in it")
    for (top, left, planes, shape), offset, size in zip(
        _places(sheet, grid), sheet.dataoffsets, sheet.databytecounts, strict=False
    ):
        if not size:
            continue  # a sparse file leaves out strips of zeros
        room = shape[0] * shape[1] * shape[2] * kind.itemsize
        size = room if sheet.compression in _UNCOMPRESSED else min(size, file.size)
        packed = _bytes_at(file, offset, size)
        data = _decompress(packed, sheet, shape, room)
        if len(data) < room:
            raise InputError(f"{name} is truncated: {len(data)} of {room} bytes in a strip")
        piece = _undo_predictor(np.frombuffer(data, np.uint8), sheet, shape)
        target = array[top : top + shape[0], left : left + shape[1], planes]
        target[...] = piece[: target.shape[0], : target.shape[1]]
    return array


def _size(sheet: TiffPage) -> tuple[int, int]:
    return sheet.imagelength, sheet.imagewidth


def _bits(sheet: TiffPage, name: str) -> np.ndarray | None:
    """A page of one bit a pixel, True where it is set; None if its compression is not supported."""
    if sheet.compression not in _UNCOMPRESSED | _DEFLATE:
        return None
    file = sheet.parent.filehandle
    plane = np.zeros((sheet.imagelength, sheet.imagewidth), bool)
    for (top, left, _, (tall, columns, _)), offset, size in zip(
        _places(sheet, _grid(sheet)), sheet.dataoffsets, sheet.databytecounts, strict=False
    ):
        if not size:
            continue
        wide = ceil(columns / 8)
        packed = _bytes_at(file, offset, min(size, file.size))
        data = _decompress(packed, sheet, (tall, wide, 1), tall * wide)
        if len(data) < tall * wide:
            raise InputError(f"{name} is truncated: {len(data)} of {tall * wide} bytes in its mask")
        lines = np.frombuffer(data, np.uint8)[: tall * wide].reshape(tall, wide)
        target = plane[top : top + tall, left : left + columns]
        target[...] = np.unpackbits(lines, axis=1)[: target.shape[0], : target.shape[1]] == 1
    return plane


def _grid(sheet: TiffPage) -> tuple[int, int, int]:
    """How many strips or tiles there should be: planes, rows of them, columns of them."""
    rows, columns = _piece(sheet)
    planes = sheet.samplesperpixel if sheet.planarconfig == 2 else 1
    return planes, ceil(sheet.imagelength / rows), ceil(sheet.imagewidth / columns)


def _piece(sheet: TiffPage) -> tuple[int, int]:
    """The height and width of a strip or tile."""
    if sheet.is_tiled:
        return sheet.tilelength, sheet.tilewidth
    return min(max(sheet.rowsperstrip, 1), sheet.imagelength), sheet.imagewidth


def _places(
    sheet: TiffPage, grid: tuple[int, int, int]
) -> Iterator[tuple[int, int, slice, tuple[int, int, int]]]:
    """Top, left, channels and shape of each strip or tile, in the order of the file."""
    rows, columns = _piece(sheet)
    depth = sheet.samplesperpixel // grid[0]
    for plane, down, across in np.ndindex(*grid):
        planes = slice(plane, plane + 1) if grid[0] > 1 else slice(None)
        top, left = down * rows, across * columns
        # Tiles are stored whole; the last strip has only the remaining rows.
        tall = rows if sheet.is_tiled else min(rows, sheet.imagelength - top)
        yield top, left, planes, (tall, columns, depth)


def _decompress(packed: bytes, sheet: TiffPage, shape: tuple[int, int, int], room: int) -> bytes:
    if sheet.compression in _UNCOMPRESSED:
        return packed
    if sheet.compression in _DEFLATE:
        return zlib.decompressobj().decompress(packed, room)
    with Image.open(BytesIO(_grey_bytes(packed, sheet, shape)), formats=["TIFF"]) as image:
        return image.tobytes()


def _grey_bytes(packed: bytes, sheet: TiffPage, shape: tuple[int, int, int]) -> bytes:
    """A small TIFF file around one strip, with each byte of its samples as a grey pixel."""
    tall, columns, depth = shape
    fields = {
        256: columns * depth * _sample_type(sheet).itemsize,
        257: tall,
        258: 8,
        259: int(sheet.compression),
        262: _BLACK_IS_ZERO,
        _FILL_ORDER: int(sheet.fillorder),
        273: 14 + 2 + 10 * 12 + 4,  # offset of the strip: after the header and this table
        277: 1,
        278: tall,
        279: len(packed),
    }
    return block({tag: Entry.of(LONG, value) for tag, value in fields.items()}) + packed


def _undo_predictor(data: np.ndarray, sheet: TiffPage, shape: tuple[int, int, int]) -> np.ndarray:
    """The samples of a strip, in its shape, with differences between neighbours summed up."""
    tall, columns, depth = shape
    kind = _sample_type(sheet)
    size = kind.itemsize
    data = data[: tall * columns * depth * size]
    if sheet.predictor == 3:  # floating point: all highest bytes of a row first, then the next
        lines = np.cumsum(data.reshape(tall, -1, depth), axis=1, dtype=np.uint8)
        lines = lines.reshape(tall, size, columns * depth).swapaxes(1, 2)
        return np.ascontiguousarray(lines).view(f">f{size}").reshape(shape)
    samples = data.view(kind.newbyteorder(sheet.parent.byteorder)).reshape(shape)
    if sheet.predictor == 2:
        whole = np.dtype(f"u{size}")
        native = samples.astype(kind).view(whole)
        return np.cumsum(native, axis=1, dtype=whole).view(kind)
    return samples


def _with_true_alpha(array: np.ndarray, sheet: TiffPage, name: str) -> np.ndarray:
    """Drop unspecified extra channels, with a warning; divide premultiplied colours by alpha."""
    channels = array.shape[2]
    if channels not in (2, 4) or sheet.photometric == _CMYK or not sheet.extrasamples:
        return array
    if sheet.extrasamples[0] == _UNSPECIFIED:
        taken = "the first three are" if channels == 4 else "the first is"
        word = (
            f"{name}: of its {channels} bands only {taken} used; gdal_translate -b selects others"
        )
        warnings.warn(word, DdfmWarning, stacklevel=2)
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
