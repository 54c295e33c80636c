"""Reads and writes NRRD; space, directions and origin are kept."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.errors import InputError, warn
from ddfm.imaging.quiet import quiet
from ddfm.imaging.unreadable import explained
from ddfm.storage.budget import ask_bytes
from ddfm.storage.files import write_bytes
from ddfm.storage.inputs import BoundedFile, existing_file, read_to_the_end
from ddfm.storage.ours import MARK
from ddfm.volumes.reading import LPS, beside, check_bytes, library, usable
from ddfm.volumes.volume import Volume, check_shape

__all__ = ["data_files", "read", "record_in", "write"]

KEY = "ddfm record"  # the header's key for the record
LONGEST_HEADER = 1 << 16  # bytes of a header that are searched for names of files
LONGEST_NAME = 255  # bytes of a file's name
RAW, PACKED, TEXT = ("raw",), ("gzip", "gz"), ("ascii", "ASCII", "text", "txt")
MOST_LINES = 1000  # most lines to skip before the values
MOST_BYTES = 1 << 20  # most bytes to skip

_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
_MILLIMETRES = {"m": 1000.0, "meter": 1000.0, "cm": 10.0, "centimeter": 10.0}
_MILLIMETRES |= dict.fromkeys(("um", "micron", "micrometer"), 0.001)
# The pattern of a name, such as %03d.raw, is followed by its first and last number and the step.
_IN_SLICES = re.compile(rb"data ?file:(?!=) *(LIST\b|.*%\d*[diu].*( +-?\d+){3})")
_MICRO = re.compile(rb"(\xc2\xb5|\xce\xbc|\xb5)(?=m)")  # the sign and the letter, UTF-8 or Latin-1


def read(path: Path) -> Volume:
    """The volume in a file, whose values may be in a separate one."""
    nrrd = library("nrrd")
    path = existing_file(path)
    with explained(str(path)):
        with BoundedFile(path) as file:
            header = _header(nrrd, file, path)
            detached = header.get("data file", header.get("datafile"))
            if detached is None:
                values = _values(nrrd, header, file, path)
            else:
                data = beside(path, str(detached))
                with BoundedFile(data) as opened:
                    values = _values(nrrd, header, opened, data)
    with explained(str(path)):
        axes = _axes_of_space(header, values.shape)
    beside_space = [axis for axis in range(values.ndim) if axis not in axes]
    values = values.transpose(*axes, *beside_space)
    if values.shape[3:] == (1,):  # a list of one
        values = values[..., 0]
    check_shape(values.shape, str(path))
    with explained(str(path)):
        affine = _affine(header, axes, str(path))
    if header.get("space directions") is not None and "space" not in header:
        warn(
            f"{path} does not name the space of its directions; they are read as to the left, back "
            "and head, as other programs do"
        )
    kind = values.dtype.name
    return Volume(usable(values, str(path)), affine, str(path), stored_as=kind)


def _axes_of_space(header: dict[str, Any], shape: Sequence[int]) -> list[int]:
    """The axes of the values that are of space; one more may have channels, or be a list of one."""
    if len(shape) != 4:
        return list(range(len(shape)))
    directions = header.get("space directions")
    if directions is not None:
        of_space = [row is not None and not np.isnan(row).any() for row in directions]
    else:
        of_space = [kind in ("domain", "space") for kind in header.get("kinds", ())]
    if of_space.count(True) == 3 and len(of_space) == 4:
        return [axis for axis in range(4) if of_space[axis]]
    in_front = shape[0] == 3 or (shape[0] == 1 and shape[3] not in (1, 3))
    return [1, 2, 3] if in_front else [0, 1, 2]


def _header(nrrd: Any, file: BoundedFile, path: Path) -> dict[str, Any]:
    """The header, after which the file is at its values.

    The library drops what is not ASCII, and would take micrometres for metres.
    """
    size = 0

    def lines() -> Iterator[bytes]:
        nonlocal size
        for line in file:
            size += len(line)
            if _IN_SLICES.match(line):
                raise InputError(f"{path}: its slices are in separate files; save it as one file")
            yield _MICRO.sub(b"u", line)

    header: dict[str, Any] = nrrd.read_header(lines())
    file.seek(size)
    return header


def data_files(path: Path) -> list[Path]:
    """The files that a header may name, without parsing it: any line may be the name of one."""
    if not path.is_file():  # opening a pipe would block
        return []
    with open(path, "rb") as file:
        header = file.read(LONGEST_HEADER).partition(b"\n\n")[0]
    parts = (part for line in header.splitlines() for part in (line, line.partition(b":")[2]))
    names = (part.strip() for part in parts)
    return [path.parent / os.fsdecode(name) for name in names if len(name) <= LONGEST_NAME]


def record_in(path: Path) -> str | None:
    """The text of the record of how a volume was made, if its header has one."""
    nrrd = library("nrrd")
    with explained(str(path)), BoundedFile(existing_file(path)) as file:
        text = _header(nrrd, file, path).get(KEY)
    return None if text is None else str(text)


def write(path: Path, volume: Volume) -> None:
    """Write a volume in the space left-posterior-superior, as DICOM and most programs do."""
    nrrd = library("nrrd")
    affine = LPS @ volume.affine
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
        "content": MARK,
    }
    if volume.record is not None:
        header[KEY] = volume.record
    file = BytesIO()
    with quiet():
        nrrd.write(file, values, header, index_order="F")
    # The library writes the time in a comment, but identical volumes should give identical files.
    lines, _, data = file.getvalue().partition(b"\n\n")
    lines = b"\n".join(line for line in lines.split(b"\n") if not line.startswith(b"#"))
    write_bytes(path, lines + b"\n\n" + data)


def _affine(header: dict[str, Any], axes: Sequence[int], name: str) -> np.ndarray:
    affine = np.eye(4)
    directions = header.get("space directions")
    if directions is not None:
        affine[:3, :3] = np.array([directions[axis] for axis in axes], np.float64).T
        # A space that has no name is that of DICOM for ITK, and so for most programs.
        space = str(header.get("space", "left-posterior-superior")).lower()
        if space not in _SPACES:
            raise InputError(f"{name}: the space {space!r} is not that of a patient")
        affine[:3, 3] = header.get("space origin", np.zeros(3))
        return np.diag([*(_SPACES[space] * _lengths(header.get("space units"))), 1.0]) @ affine
    units = header.get("units")
    lengths = _lengths([units[axis] for axis in axes] if units else None)
    spacings, mins = (np.array(column) * lengths for column in _extents(header, axes))
    affine[:3, :3] = np.diag(spacings)
    affine[:3, 3] = mins
    return affine


def _extents(header: dict[str, Any], axes: Sequence[int]) -> tuple[list[float], list[float]]:
    """Along each axis the spacing, and the place of the first voxel's centre.

    The ends of an axis are those of its voxels, unless it states that they are their centres.
    """
    centers = header.get("centers", header.get("centerings", ""))
    centers = centers.split() if isinstance(centers, str) else centers
    spacings, places = [], []
    for axis in axes:
        low, high, spacing = (
            _along(header, axis, *keys)
            for keys in (("axis mins", "axismins"), ("axis maxs", "axismaxs"), ("spacings",))
        )
        at_centers = axis < len(centers) and centers[axis] == "node"
        if spacing is None:
            steps = int(header["sizes"][axis]) - at_centers
            spacing = 1.0
            if low is not None and high is not None and steps > 0:
                spacing = (high - low) / steps
        spacings.append(spacing)
        places.append(0.0 if low is None else low + (0.0 if at_centers else spacing / 2))
    return spacings, places


def _along(header: dict[str, Any], axis: int, *keys: str) -> float | None:
    """The number of an axis, if the header has it under one of these names."""
    for key in keys:
        if key in header and np.isfinite(header[key][axis]):
            return float(header[key][axis])
    return None


def _lengths(units: Any) -> np.ndarray:
    """The units in millimetres; those that are unknown count as these."""
    names = [str(unit).strip('"').removesuffix("s") for unit in units or ["mm"] * 3]
    return np.array([_MILLIMETRES.get(name, 1.0) for name in names])


def _values(nrrd: Any, header: dict[str, Any], file: BoundedFile, path: Path) -> np.ndarray:
    """The values that the header promises; the library would unpack all that a file has."""
    encoding = header.get("encoding", "raw")
    if encoding not in RAW + PACKED + TEXT:
        raise InputError(f"{path}: cannot read the encoding {encoding}; save it as gzip")
    dtype = np.dtype(nrrd.reader._determine_datatype(header))
    sizes = [int(side) for side in header["sizes"]]
    count, copies = prod(sizes), 1 if encoding in RAW else 2
    if len(sizes) != header["dimension"]:
        raise InputError(f"{path} is damaged: it does not have {header['dimension']} sizes")
    if encoding in RAW + PACKED:
        check_bytes(sizes, dtype.itemsize, path, compressed=encoding in PACKED)
    ask_bytes(count * (copies * dtype.itemsize + 4), str(path), file.length)
    lines, skipped = (_skip(header, "line"), _skip(header, "byte"))
    if not (0 <= lines <= MOST_LINES and -1 <= skipped <= MOST_BYTES):
        raise InputError(f"{path} is damaged: it skips more lines or bytes than a header has")
    for _ in range(lines):
        file.readline()
    if encoding in PACKED:
        values = np.frombuffer(_unpacked(file, count * dtype.itemsize, skipped, path), dtype)
    else:
        length = count * dtype.itemsize
        file.seek(*((-length, os.SEEK_END) if skipped < 0 else (skipped, os.SEEK_CUR)))
        values = np.fromfile(file, dtype, count, sep=" " if encoding in TEXT else "")
    if values.size != count:
        raise InputError(f"{path} is truncated: {values.size} of {count} values")
    return values.reshape(sizes, order="F")


def _skip(header: dict[str, Any], what: str) -> int:
    return int(header.get(f"{what} skip", header.get(f"{what}skip", 0)))


def _unpacked(file: BoundedFile, length: int, skipped: int, path: Path) -> bytes:
    """Unpack `length` bytes after skipping some; with -1, the last ones."""
    with gzip.GzipFile(fileobj=file) as stream:
        if skipped < 0:
            data = stream.read(length + MOST_BYTES)[-length:]
        else:
            stream.read(skipped)
            data = stream.read(length)
        read_to_the_end(stream, str(path))
    return data
