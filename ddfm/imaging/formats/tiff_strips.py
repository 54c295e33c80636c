"""Unpacks the strips or tiles of a TIFF page, each of which is compressed by itself.

Python decompresses Deflate; for LZW and similar methods, a strip is wrapped as a small TIFF of grey
bytes, which libtiff decodes within Pillow. No strip unpacks to more than its place in the page.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ddfm.errors import InputError
from ddfm.imaging.formats.tags import LONG, Entry, block
from ddfm.imaging.formats.tiff_pages import bytes_at
from ddfm.imaging.quiet import silence_libtiff
from ddfm.storage.budget import ask_pixels

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = ["BY_LIBTIFF", "DEFLATE", "UNCOMPRESSED", "is_packed", "sample_type", "unpacked"]

UNCOMPRESSED, DEFLATE = {1}, {8, 32946}  # values of the tag for compression
BY_LIBTIFF = {5, 32773, 34925, 50000}  # LZW, PackBits, LZMA, Zstandard
_BLACK_IS_ZERO, _FILL_ORDER = 1, 266
_LOWEST_FIRST = 2  # the fill order in which the first pixel is in the lowest bit of a byte
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def unpacked(sheet: TiffPage, name: str) -> np.ndarray:
    """The samples of the page as (H, W, C)."""
    file, kind = sheet.parent.filehandle, sample_type(sheet)
    if sheet.is_tiled:
        ask_pixels(sheet.tilewidth, sheet.tilelength, f"{name}: a tile of it")
    silence_libtiff()
    array = np.zeros((sheet.imagelength, sheet.imagewidth, sheet.samplesperpixel), kind)
    grid = _grid(sheet)
    found = min(len(sheet.dataoffsets), len(sheet.databytecounts))
    if found < prod(grid):
        raise InputError(f"{name} is damaged: it has {found} of its {prod(grid)} strips")
    for (top, left, planes, shape), offset, size in zip(
        _places(sheet, grid), sheet.dataoffsets, sheet.databytecounts, strict=False
    ):
        if not size:
            continue  # a sparse file leaves out strips of zeros
        room = shape[0] * _row_bytes(sheet, shape)
        size = room if sheet.compression in UNCOMPRESSED else min(size, file.size)
        packed = bytes_at(file, offset, size)
        data = _decompress(packed, sheet, shape, room)
        if len(data) < room:
            raise InputError(f"{name} is truncated: {len(data)} of {room} bytes in a strip")
        stored = np.frombuffer(data, np.uint8)[:room]
        piece = (_in_words if is_packed(sheet) else _undo_predictor)(stored, sheet, shape)
        target = array[top : top + shape[0], left : left + shape[1], planes]
        target[...] = piece[: target.shape[0], : target.shape[1]]
    return array


def sample_type(sheet: TiffPage) -> np.dtype:
    """The type of samples, in native byte order; readers check that there is one."""
    assert sheet.dtype is not None
    return sheet.dtype


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


def is_packed(sheet: TiffPage) -> bool:
    """Whether samples are no whole bytes; there are gaps only at the ends of rows."""
    return bool(sheet.bitspersample % 8)


def _row_bytes(sheet: TiffPage, shape: tuple[int, int, int]) -> int:
    """The bytes of a row of a strip or tile, unpacked."""
    return ceil(shape[1] * shape[2] * sheet.bitspersample / 8)


def _decompress(packed: bytes, sheet: TiffPage, shape: tuple[int, int, int], room: int) -> bytes:
    if sheet.fillorder == _LOWEST_FIRST and sheet.compression not in BY_LIBTIFF:
        packed = packed.translate(_MIRRORED)
    if sheet.compression in UNCOMPRESSED:
        return packed
    if sheet.compression in DEFLATE:
        return zlib.decompressobj().decompress(packed, room)
    with Image.open(BytesIO(_grey_bytes(packed, sheet, shape)), formats=["TIFF"]) as image:
        return image.tobytes()


def _grey_bytes(packed: bytes, sheet: TiffPage, shape: tuple[int, int, int]) -> bytes:
    """A small TIFF file around one strip, with each byte of its samples as a grey pixel."""
    tall = shape[0]
    fields = {
        256: _row_bytes(sheet, shape),
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


def _in_words(data: np.ndarray, sheet: TiffPage, shape: tuple[int, int, int]) -> np.ndarray:
    """The samples of a strip, in its shape, from up to 15 bits each, highest bit first."""
    tall, columns, depth = shape
    length = sheet.bitspersample
    worth = np.uint16(1) << np.arange(length, dtype=np.uint16)[::-1]  # of each bit
    values = np.zeros((tall, columns * depth), np.uint16)
    for row, line in zip(values, data.reshape(tall, -1), strict=True):
        # Row by row, since each unpacked bit takes a byte.
        row[:] = np.unpackbits(line, count=len(row) * length).reshape(-1, length) @ worth
    return values.reshape(shape)


def _undo_predictor(data: np.ndarray, sheet: TiffPage, shape: tuple[int, int, int]) -> np.ndarray:
    """The samples of a strip, in its shape, with differences between neighbours summed up."""
    tall, columns, depth = shape
    kind = sample_type(sheet)
    size = kind.itemsize
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
