"""Writes PNG files of 16 bits a sample, which Pillow can do only for grey without alpha.

A PNG is a signature and a series of chunks: length, name, data, checksum. The data of the IDAT
chunks are the rows of the picture, each filtered for better compression and preceded by the number
of its filter, and deflated together (PNG specification, third edition, sections 5, 7 and 9).
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

import numpy as np

from ddfm.storage.ours import MARK

__all__ = ["write_png16"]

_COLOR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # by number of channels: grey, with alpha, RGB, RGBA


def write_png16(
    file: BinaryIO,
    array: np.ndarray,
    icc: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
) -> None:
    """Write a uint16 array (H, W) or (H, W, C), C = 1 to 4; of 2 and 4, the last is alpha."""
    array = array.reshape(*array.shape[:2], -1)
    height, width, channels = array.shape
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", size + bytes([16, _COLOR_TYPE[channels], 0, 0, 0]))
    if icc:
        _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    _chunk(file, b"tEXt", b"Software\0" + MARK.encode())
    if exif:
        _chunk(file, b"eXIf", exif)
    if xmp:
        _chunk(file, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    _rows(file, array)
    _chunk(file, b"IEND", b"")


def _chunk(file: BinaryIO, name: bytes, data: bytes) -> None:
    file.write(len(data).to_bytes(4, "big") + name + data)
    file.write(zlib.crc32(name + data).to_bytes(4, "big"))


def _rows(file: BinaryIO, array: np.ndarray) -> None:
    packer = zlib.compressobj(6)
    above = np.zeros(array[0].size * 2, np.uint8)
    packed = b""
    for row in array:
        line = np.frombuffer(row.astype(">u2").tobytes(), np.uint8)
        packed += packer.compress(_filtered(line, above, 2 * array.shape[2]))
        above = line
        if len(packed) > 1 << 20:
            _chunk(file, b"IDAT", packed)
            packed = b""
    _chunk(file, b"IDAT", packed + packer.flush())


def _filtered(line: np.ndarray, above: np.ndarray, pixel: int) -> bytes:
    """A row after the filter that leaves the smallest differences, preceded by its number."""
    left = np.concatenate([np.zeros(pixel, np.uint8), line[:-pixel]])
    corner = np.concatenate([np.zeros(pixel, np.uint8), above[:-pixel]])
    mean = ((left.astype(np.uint16) + above) // 2).astype(np.uint8)
    paeth = _paeth(left.astype(np.int16), above.astype(np.int16), corner.astype(np.int16))
    rows = np.stack([line, line - left, line - above, line - mean, line - paeth])
    number = int(np.abs(rows.view(np.int8).astype(np.int16)).sum(axis=1).argmin())
    return bytes([number]) + rows[number].tobytes()


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The neighbour nearest to left + above - corner; in a tie, left before above before corner."""
    guess = left + above - corner
    to_left, to_above, to_corner = (np.abs(guess - each) for each in (left, above, corner))
    nearest = np.where(to_above <= to_corner, above, corner)
    nearest = np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)
    return nearest.astype(np.uint8)
