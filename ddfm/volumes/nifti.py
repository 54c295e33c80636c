"""Reads NIfTI, Analyze and MGH with nibabel, and writes NIfTI; affine and header are kept."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ddfm.errors import InputError, StorageError, warn
from ddfm.imaging.metadata.record import is_record
from ddfm.imaging.unreadable import explained
from ddfm.storage.atomic import atomic_path
from ddfm.storage.budget import ask_bytes
from ddfm.storage.inputs import existing_file, read_to_the_end
from ddfm.storage.ours import MARK
from ddfm.volumes.reading import check_bytes, library, usable, which
from ddfm.volumes.volume import Volume, check_shape, corners

__all__ = ["count", "from_image", "read", "record_in", "write", "write_planes"]

HEADER = 348  # bytes of the shorter of the two headers
COMMENT = 6  # code of a header extension that holds a comment
LENGTH, MILLIMETRE = 7, 2  # bits of `xyzt_units` that hold the unit of length, and the usual unit
OTHER_UNITS = {1: 1000.0, 3: 0.001}  # the others, metre and micrometre, in millimetres
_GZIP = b"\x1f\x8b"  # the first bytes of a compressed file
_RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def read(path: Path, volume: int | None = None) -> Volume:
    """The only volume in a file, or the one with this number, from 0."""
    found = _read(existing_file(path), volume)
    _warn_of_position(found)
    return found


def _read(path: Path, volume: int | None) -> Volume:
    with explained(str(path)):
        image = _image(path)
        if path.suffix.lower() not in (".gz", ".mgz"):
            return from_image(image, str(path), volume)
        # nibabel stops after the last voxel, and does not verify the checksum that follows.
        with gzip.open(path) as stream:
            image = type(image).from_file_map(image.make_file_map({"image": stream}))
            found = from_image(image, str(path), volume, packed=path)
            read_to_the_end(stream, str(path))
        return found


def count(path: Path) -> int:
    """The number of volumes in a file."""
    with explained(str(path)):
        return _along_time(_image(existing_file(path)).shape)[1]


def _image(path: Path) -> Any:
    """The image in a file of this very name; nibabel would look for .Nii under .nii."""
    nibabel = library("nibabel")
    _check_packing(path)
    for kind in nibabel.imageclasses.all_image_classes:
        if len(kind.files_types) == 1 and kind.path_maybe_image(path)[0]:
            return kind.from_file_map(kind.make_file_map({"image": str(path)}))
    return nibabel.load(path)  # a pair of files, or the error


def _check_packing(path: Path) -> None:
    """Raise if a file is compressed and its name does not say so, or the reverse.

    Browsers may unpack a file that they download, and keep its name.
    """
    with open(path, "rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    says = path.suffix.lower() in (".gz", ".mgz")
    if packed and not says and path.suffix.lower() in (".nii", ".mgh"):
        raise InputError(
            f"{path} is compressed with gzip, which its name does not say; rename it to "
            f"{path.with_suffix('.mgz' if path.suffix.lower() == '.mgh' else '.nii.gz').name}"
        )
    if says and not packed and path.stat().st_size >= HEADER:
        plain = path.with_suffix(".mgh" if path.suffix.lower() == ".mgz" else "").name
        raise InputError(
            f"{path} is not compressed, although its name says so; if it is not damaged, rename it "
            f"to {plain}"
        )


def from_image(
    image: Any, name: str, volume: int | None = None, *, packed: Path | None = None
) -> Volume:
    """The volume in a nibabel image.

    Args:
        image: the image.
        name: the volume's name in messages.
        volume: which of several volumes, along the fourth axis.
        packed: the compressed file that it is read from, if it is.
    """
    with explained(name):
        shape, several = _along_time(image.shape)
        dtype = image.get_data_dtype()
        in_color = several == 3 and dtype == np.uint8 and volume is None
        if not in_color:
            volume = which(volume, several, name)
            shape = shape[:3] if len(shape) == 4 else shape
        check_shape(shape, name)
        _check_file(image, dtype.itemsize, name, packed, prod(shape))
        one = several > 1 and not in_color
        # Selects a volume along the only axis beyond the third that is longer than 1.
        part = (..., *(0 if side == 1 else volume for side in image.shape[3:]))
        values = np.asarray(image.dataobj[part] if one else image.dataobj)
        values = values.reshape(shape)
        affine = np.array(image.affine, np.float64)
        affine[:3] *= OTHER_UNITS.get(_unit(image.header), 1.0)
        header = image.header.copy()
    kind = "uint8" if values.dtype.names is not None else dtype.name
    if values.dtype.names is not None:
        if not {"R", "G", "B"} <= set(values.dtype.names):
            raise InputError(f"{name}: a volume cannot have values of type {dtype}")
        values = np.stack([values[channel] for channel in "RGB"], -1)
    return Volume(usable(values, name), affine, name, source=header, stored_as=kind)


def _warn_of_position(volume: Volume) -> None:
    """Warn if a NIfTI has no affine, or two of one kind that differ by more than a voxel."""
    header = volume.source
    codes = [int(header[code]) for code in ("qform_code", "sform_code") if code in header]
    if len(codes) == 2 and not any(codes):
        warn(
            f"{volume.name}: its header gives no position, neither qform nor sform; its centre is "
            "taken for the origin, and its first index for one that goes to the patient's left"
        )
    if len(codes) < 2 or codes[0] != codes[1] or not codes[0]:
        return
    off = 0.0
    with suppress(Exception):  # a damaged qform is not used
        between = header.get_qform() - header.get_sform()
        off = np.abs(between @ corners(volume.shape)).max()
    if off > max(header.get_zooms()[:3]):
        warn(
            f"{volume.name}: its header gives two positions, qform and sform, which are up to "
            f"{off:.3g} apart; the sform is used"
        )


def _unit(header: Any) -> int:
    """NIfTI's code for the unit of length of a header; other formats have millimetres."""
    fields = header.keys() if hasattr(header, "keys") else ()
    return int(header["xyzt_units"]) & LENGTH if "xyzt_units" in fields else MILLIMETRE


def _along_time(shape: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """The shape without axes of length 1 beyond the third, and the number of volumes."""
    sides = tuple(int(side) for side in shape)
    # Some programs write a fourth axis for a single volume, or a fifth axis for vectors.
    sides = (*sides[:3], *(side for side in sides[3:] if side != 1))
    return sides, sides[3] if len(sides) == 4 else 1


def record_in(path: Path) -> str | None:
    """The text of the record of how a volume was made, if a comment in its header has one."""
    path = existing_file(path)
    with explained(str(path)):
        for extension in getattr(_image(path).header, "extensions", ()):
            text = extension.get_content()
            text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
            text = text.rstrip("\0 ")
            if extension.get_code() == COMMENT and is_record(text):
                return text
    return None


def write(path: Path, volume: Volume) -> None:
    """Write a volume: grey values unchanged, colours as RGB24."""
    values = volume.stored()
    if volume.is_color:
        values = np.ascontiguousarray(values).view(_RGB)[..., 0]
    _write(path, values, volume)


def write_planes(path: Path, names: Sequence[str], values: np.ndarray, volume: Volume) -> None:
    """Write several values at each voxel, (I, J, K, N) as float32, along the fourth axis of a file.

    Args:
        path: the file to write.
        names: what each of the N values is; written as a comment in the header, a line each.
        values: the values.
        volume: a volume on the same grid.
    """
    _write(path, values.astype(np.float32), volume, "\n".join(names))


def _write(path: Path, values: np.ndarray, volume: Volume, *comments: str) -> None:
    """Write values on the grid of a volume, with the header of its source."""
    nibabel = library("nibabel")
    header = _clean_header(nibabel, volume.source)
    wide = isinstance(header, nibabel.Nifti2Header) or max(volume.shape) > 32767
    header["descrip"] = MARK
    for text in (*comments, *([] if volume.record is None else [volume.record])):
        header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", text.encode()))
    header.set_data_dtype(values.dtype)
    kind = nibabel.Nifti2Image if wide else nibabel.Nifti1Image
    image = kind(values, volume.affine, header)
    if values.dtype == np.uint16:
        image.header["cal_max"] = 65535
    try:
        # Under a name, nibabel would write .Nii as .nii.
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            with _packing(file) if path.suffix.lower() == ".gz" else nullcontext(file) as stream:
                image.to_stream(stream)
    except (TypeError, ValueError) as error:
        raise StorageError(f"cannot write {path}: {error}") from None


def _packing(file: BinaryIO) -> gzip.GzipFile:
    """Packs what is written to it as nibabel does: at level 1, without name or time."""
    return gzip.GzipFile("", "wb", 1, file, mtime=0)


def _clean_header(nibabel: Any, source: Any) -> Any:
    """The header of the source without texts, and without what describes its values."""
    if not isinstance(source, nibabel.Nifti1Header):  # the base class of NIfTI-2 headers, too
        source = nibabel.Nifti1Header()
    header = source.copy()
    header.extensions.clear()  # these may hold whole DICOM headers, with names of persons
    for field in header.template_dtype.names:
        if header.template_dtype[field].kind == "S" and field != "magic":
            header[field] = b""  # it may hold any text
    header["intent_code"] = 0
    header["cal_min"] = header["cal_max"] = 0
    header.set_slope_inter(None, None)
    if _unit(header) in OTHER_UNITS:
        header["xyzt_units"] = int(header["xyzt_units"]) & ~LENGTH | MILLIMETRE
    return header


def _check_file(image: Any, itemsize: int, name: str, packed: Path | None, voxels: int) -> None:
    """Raise if a file cannot hold what its header promises, or if its voxels exceed the budget."""
    path = packed
    if path is None:
        holder = image.file_map.get("image") if getattr(image, "file_map", None) else None
        if holder is None or holder.filename is None or image.in_memory:
            return
        path = existing_file(holder.filename)  # the .img of a .hdr may be a pipe or missing
    # Images that the caller loaded may be from a compressed file, too.
    is_single = getattr(image.header, "is_single", False)  # not a header with a file of values
    if is_single and getattr(image.dataobj, "offset", HEADER) < HEADER:
        raise InputError(f"{name} is damaged: by its vox_offset, its values lie within its header")
    compressed = path.suffix.lower() in (".gz", ".mgz", ".bz2")
    check_bytes(image.shape, itemsize, path, compressed=compressed, name=name)
    scaled = (getattr(image.dataobj, "slope", 1), getattr(image.dataobj, "inter", 0)) != (1, 0)
    needed = itemsize + 4 + (8 if scaled else 0)  # as stored, scaled in float64, as float32
    ask_bytes(voxels * needed, name, path.stat().st_size)
