"""NRRD, with its space, directions and origin kept."""

from __future__ import annotations

import zlib
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ddfm.errors import DdfmError
from ddfm.imaging.reading import existing_file
from ddfm.storage.atomic import atomic_path
from ddfm.volumes.reading import finite, library, understood
from ddfm.volumes.volume import Volume, check_shape

__all__ = ["read", "write"]

LONGEST = 8  # bytes of a value
SLACK = 1 << 20  # bytes to skip before the values
PIECE = 1 << 22  # bytes to look at, at once

_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path) -> Volume:
    """The volume in a file, attached or detached."""
    nrrd = library("nrrd")
    path = existing_file(path)
    with understood(str(path)):
        with open(path, "rb") as file:
            header = nrrd.read_header(file)
            _check_header(header, path)
            if "gz" in str(header.get("encoding")) and not _detached(header):
                _refuse_bomb(file, header, path)
        values, header = nrrd.read(str(path), index_order="F")
    color = values.ndim == 4 and values.shape[0] == 3
    if color:
        values = np.moveaxis(values, 0, -1)
    check_shape(values.shape, str(path))
    if color and values.dtype != np.uint8:
        raise DdfmError(f"{path}: 3 volumes of {values.dtype}; colours are of uint8")
    with understood(str(path)):
        affine = _affine(header, color, str(path))
    values = values / np.float32(255) if color else finite(values, str(path))
    return Volume(values, affine, str(path))


def write(path: Path, volume: Volume) -> None:
    """In the space of DICOM, left-posterior-superior, which is what most programs write."""
    nrrd = library("nrrd")
    affine = _LPS @ volume.affine
    directions = affine[:3, :3].T
    kinds = ["domain"] * 3
    values = volume.stored()
    if volume.is_color:
        values = np.moveaxis(values, -1, 0)
        directions = np.vstack([np.full(3, np.nan), directions])
        kinds = ["RGB-color", *kinds]
    header = {
        "space": "left-posterior-superior",
        "space directions": directions,
        "space origin": affine[:3, 3],
        "kinds": kinds,
        "content": "ddfm fusion",
    }
    with atomic_path(path) as temporary:
        nrrd.write(str(temporary), values, header, index_order="F")


def _affine(header: dict[str, Any], color: bool, name: str) -> np.ndarray:
    affine = np.eye(4)
    directions = header.get("space directions")
    if directions is not None:
        rows = np.array([row for row in directions if row is not None], np.float64)
        affine[:3, :3] = rows[~np.isnan(rows).any(1)].T
        space = str(header.get("space", "right-anterior-superior")).lower()
        if space not in _SPACES:
            raise DdfmError(f"{name}: the space {space!r} is not one of a patient")
        affine[:3, 3] = header.get("space origin", np.zeros(3))
        return np.diag([*_SPACES[space], 1.0]) @ affine
    spacings = np.asarray(header.get("spacings", np.ones(3 + color)), np.float64)[-3:]
    affine[:3, :3] = np.diag(np.where(np.isfinite(spacings), spacings, 1))
    return affine


def _check_header(header: dict[str, Any], path: Path) -> None:
    """Refuse what would read without end: devices for data, skips past all reason, and bombs."""
    encoding = header.get("encoding", "raw")
    if encoding not in ("raw", "gzip", "gz", "ascii", "ASCII", "text", "txt"):
        raise DdfmError(f"{path}: cannot read the encoding {encoding}; save it as gzip")
    if not 0 <= int(header.get("line skip", header.get("lineskip", 0))) <= 1000:
        raise DdfmError(f"{path} is damaged: it skips more lines than a header has")
    if detached := _detached(header):
        data = existing_file(path.parent / detached)
        if "gz" in str(encoding):
            with open(data, "rb") as file:
                _refuse_bomb(file, header, data)


def _detached(header: dict[str, Any]) -> str:
    """The file of the data, where it is not in that of the header."""
    return str(header.get("data file", header.get("datafile", "")))


def _refuse_bomb(file: BinaryIO, header: dict[str, Any], path: Path) -> None:
    """The library unpacks all there is; so see, piece by piece, that it is no more than said."""
    for _ in range(int(header.get("line skip", header.get("lineskip", 0)))):
        file.readline()
    room = LONGEST * prod(int(side) for side in header["sizes"]) + SLACK
    inflater, data = zlib.decompressobj(zlib.MAX_WBITS | 16), b""
    while not inflater.eof and (data := data or file.read(PIECE)):
        room -= len(inflater.decompress(data, PIECE))
        data = inflater.unconsumed_tail
        if room < 0:
            raise DdfmError(f"{path} was refused: it unpacks to more than its header says")
