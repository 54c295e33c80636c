"""Reads MetaImage (.mha, or .mhd with a separate data file), as written by ITK, Elastix, 3D Slicer.

The header consists of lines "Key = value". The last is ElementDataFile, which names the file of the
values, or is LOCAL if they follow. The space is LPS, as in DICOM; TransformMatrix is written column
by column.
"""

from __future__ import annotations

import os
import re
import zlib
from math import prod
from pathlib import Path

import numpy as np

from ddfm.errors import InputError
from ddfm.imaging.unreadable import explained
from ddfm.storage.budget import ask_bytes
from ddfm.storage.inputs import BoundedFile, existing_file
from ddfm.volumes.reading import LPS, beside, check_bytes, usable
from ddfm.volumes.volume import Volume, check_shape

__all__ = ["data_files", "read"]

_LONGEST_LINE, _MOST_LINES = 4096, 200
_LAST = "elementdatafile"
_IN_SLICES = re.compile(r"%\d*[diu]")  # numbers may follow
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}

Header = dict[str, str]


def read(path: Path) -> Volume:
    """The volume in a file."""
    path = existing_file(path)
    with explained(str(path)), BoundedFile(path) as file:
        header = _header(file, path)
        named = header[_LAST]
        if named.upper() == "LOCAL":
            values = _values(header, file, path)
        elif named.upper() == "LIST" or _IN_SLICES.search(named):
            raise InputError(f"{path}: its slices are in separate files; save it as one file")
        else:
            data = beside(path, named)
            with BoundedFile(data) as opened:
                values = _values(header, opened, data)
        affine = _affine(header, str(path))
    kind = values.dtype.name
    return Volume(usable(values, str(path)), affine, str(path), stored_as=kind)


def data_files(path: Path) -> list[Path]:
    """The separate data file that a header names, if there is one."""
    if not path.is_file():
        return []
    with explained(str(path)), BoundedFile(path) as file:
        named = _header(file, path)[_LAST]
    return [] if named.upper() == "LOCAL" else [path.parent / named]


def _header(file: BoundedFile, path: Path) -> Header:
    """Read the header, with lower-case keys, up to where the values begin if they follow."""
    header: Header = {}
    for _ in range(_MOST_LINES):
        key, equals, value = file.readline(_LONGEST_LINE).decode("latin-1").partition("=")
        if not equals:
            break
        header[key.strip().lower()] = value.strip()
        if key.strip().lower() == _LAST:
            return header
    raise InputError(f"{path} is damaged, or not a MetaImage: it does not locate its values")


def _values(header: Header, file: BoundedFile, path: Path) -> np.ndarray:
    kind = header.get("elementtype", "")
    if kind.removesuffix("_ARRAY") not in _TYPES:
        raise InputError(f"{path}: a volume cannot have values of type {kind or 'unknown'}")
    if header.get("binarydata", "true").lower() in ("false", "0"):
        raise InputError(f"{path}: its values are stored as text; save it as binary first")
    order = ">" if _is_true(header, "elementbyteordermsb", "binarydatabyteordermsb") else "<"
    dtype = np.dtype(order + _TYPES[kind.removesuffix("_ARRAY")])
    channels = int(header.get("elementnumberofchannels", 1))
    sizes = _sizes(header)
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) != 3:
        size = " x ".join(map(str, sizes)) or "missing"
        raise InputError(
            f"{path}: its size is {size}, which is not one volume in 3 dimensions; save a single "
            "volume"
        )
    shape = (*sizes, *([channels] if channels > 1 else []))
    check_shape(shape, str(path))
    packed = _is_true(header, "compresseddata")
    check_bytes(shape, dtype.itemsize, path, compressed=packed)
    length = prod(shape) * dtype.itemsize
    ask_bytes(length * (2 if packed else 1) + 4 * prod(shape), str(path), file.length)
    skipped = int(header.get("headersize", 0))
    if header[_LAST].upper() != "LOCAL":
        file.seek(*((-length, os.SEEK_END) if skipped < 0 else (skipped, os.SEEK_SET)))
    data = zlib.decompressobj().decompress(file.read(), length) if packed else file.read(length)
    if len(data) != length:
        raise InputError(f"{path} is truncated: {len(data)} of {length} bytes of values")
    # The first index varies fastest, and the channel even before it.
    values = np.frombuffer(data, dtype).reshape(*reversed(sizes), channels)
    values = values.transpose(2, 1, 0, 3).astype(dtype.newbyteorder("="))
    return values if channels > 1 else values[..., 0]


def _sizes(header: Header) -> list[int]:
    return [int(side) for side in header.get("dimsize", "").split()]


def _affine(header: Header, name: str) -> np.ndarray:
    def numbers(count: int, default: str, *keys: str) -> np.ndarray:
        text = next((header[key] for key in keys if key in header), default)
        found = np.array(text.split(), np.float64)
        if found.size < count:
            raise InputError(f"{name}: its {keys[0]} has {found.size} numbers, not {count}")
        return found

    spacing = numbers(3, "1 1 1", "elementspacing", "elementsize")[:3]
    origin = numbers(3, "0 0 0", "offset", "position", "origin")[:3]
    n = len(_sizes(header))  # a fourth axis of length 1 has a row and a column, too
    straight = " ".join(map(str, np.eye(n).ravel()))
    turned = numbers(n * n, straight, "transformmatrix", "rotation", "orientation")
    affine = np.eye(4)
    affine[:3, :3] = turned[: n * n].reshape(n, n)[:3, :3].T * spacing
    affine[:3, 3] = origin
    return LPS @ affine


def _is_true(header: Header, *keys: str) -> bool:
    return any(header.get(key, "").lower() in ("true", "1") for key in keys)
