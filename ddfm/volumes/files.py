"""Reads volumes from NIfTI, Analyze, MGH, NRRD, MetaImage, DICOM and arrays, and writes them.

The path gives the format to write: .nii, .nii.gz, .nrrd, or a folder (no suffix) for a series of
DICOM files.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.arguments import by_annotation
from ddfm.errors import InputError, unknown
from ddfm.imaging.picture import refuse_mask
from ddfm.imaging.unreadable import is_dicom as has_dicom
from ddfm.storage.outputs import check_writable
from ddfm.volumes import dicom, dicom_map, dicom_out, metaimage, nifti, nrrd
from ddfm.volumes.volume import Volume

__all__ = [
    "check_map_output",
    "check_planes_output",
    "check_volume_output",
    "holds_volume",
    "is_dicom",
    "is_volume",
    "read_volume",
    "record_in",
    "suffix_of",
    "volume_count",
    "volume_files",
    "write_map",
    "write_volume",
]

_OF_NIBABEL = (".nii", ".nii.gz", ".hdr", ".img", ".mgh", ".mgz")
_READERS = {".nrrd": nrrd.read, ".nhdr": nrrd.read, ".mha": metaimage.read, ".mhd": metaimage.read}
_WRITABLE = (".nii", ".nii.gz", ".nrrd")


@by_annotation
def read_volume(
    source: Any, *, series: int | None = None, volume: int | None = None, name: str | None = None
) -> Volume:
    """Read a volume from a file, a folder, an array or a nibabel image.

    Args:
        source: a path: a file of NIfTI, Analyze, MGH, NRRD or MetaImage, a folder with a DICOM
            series, or one DICOM file with several frames; an array (I, J, K) or (I, J, K, 3); a
            tuple of an array and its affine; a nibabel image; or a `Volume`.
        series: the number of the DICOM series, if the folder has several.
        volume: which volume, counted from 0, if a file of NIfTI, Analyze or MGH has several.
        name: the volume's name in messages; by default its path.
    """
    if isinstance(source, Volume):
        return source
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        suffix = suffix_of(path)
        if is_dicom(path):
            return replace(dicom.read(path, series), series=series)
        # Path.is_file raises for a name that is too long, which a header may give.
        there = tuple(file for file in volume_files(path) if os.path.isfile(file))
        found = nifti.read(path, volume) if suffix in _OF_NIBABEL else _READERS[suffix](path)
        return replace(found, files=there, number=volume)
    if isinstance(source, np.ndarray):
        source = (source, np.eye(4))
    if isinstance(source, tuple) and len(source) == 2:
        return _from_array(*source, name or "array")
    if hasattr(source, "dataobj") and hasattr(source, "affine"):
        return nifti.from_image(source, name or "nibabel image", volume)
    raise InputError(
        f"{name or 'volume'}: cannot read a volume from {type(source).__name__}; "
        "pass a path, or an array and its affine as a tuple"
    )


def volume_count(path: Path) -> int:
    """How many volumes a file holds; 1 for DICOM, where series are chosen by their number."""
    return nifti.count(path) if suffix_of(path) in _OF_NIBABEL and not path.is_dir() else 1


def is_dicom(path: Path) -> bool:
    """Whether a path is read as DICOM: a folder, or a file without the suffix of another format."""
    return path.is_dir() or suffix_of(path) not in (*_OF_NIBABEL, *_READERS)


def is_volume(path: Path) -> bool:
    """Whether a path may be a volume, by its suffix; a folder may be a DICOM series."""
    return path.is_dir() or suffix_of(path) in (*_OF_NIBABEL, *_READERS, ".dcm")


def holds_volume(path: Path) -> bool:
    """Whether a path is a volume by its suffix, or DICOM by its content, as scanners name it."""
    return is_volume(path) or (path.is_file() and has_dicom(path))


def record_in(path: Path) -> str | None:
    """The text of the record of how a volume was made, from its file; its values are not read."""
    suffix = suffix_of(path)
    if not path.is_dir() and suffix in _OF_NIBABEL:
        return nifti.record_in(path)
    if not path.is_dir() and suffix in _READERS:  # ddfm does not write MetaImage, so has no record
        return nrrd.record_in(path) if _READERS[suffix] is nrrd.read else None
    return dicom_out.record_in(path)


def volume_files(path: Path) -> list[Path]:
    """All files that reading the volume at this path may involve."""
    if path.is_dir():
        return [path, *(file for file in path.rglob("*") if file.is_file())]
    files = [path]
    suffix = suffix_of(path)
    if suffix in (".hdr", ".img"):
        files += [path.with_suffix(other) for other in (".hdr", ".img")]
    elif suffix in (".nhdr", ".nrrd"):
        files += nrrd.data_files(path)
    elif suffix in (".mha", ".mhd"):
        files += metaimage.data_files(path)
    return files


def check_volume_output(path: str | os.PathLike[str], grid: Volume | None = None) -> None:
    """Raise what `write_volume` would raise about this path, before any work is done.

    Args:
        path: the path to write to.
        grid: a volume on the grid of the result, if known.
    """
    path = Path(path)
    _check_name(path)
    suffix = suffix_of(path)
    if suffix and suffix not in _WRITABLE:
        raise unknown("output suffix", suffix, [*_WRITABLE, "none (a folder for DICOM)"])
    check_writable(path, folder=not suffix)
    if not suffix:
        dicom_out.check_folder(path, grid)


def check_map_output(path: Path, grid: Volume | None = None) -> None:
    """Raise what `write_map` would raise about this path, before any work is done."""
    _check_name(path)
    if suffix_of(path) != dicom_map.SUFFIX:
        if not suffix_of(path):
            raise InputError(f"{path}: a map is one file: .nii.gz, .nii, .nrrd or .dcm")
        check_volume_output(path)
        return
    check_writable(path)
    dicom_out.check_grid(grid)


@by_annotation
def write_map(
    path: str | os.PathLike[str], volume: Volume, what: str, *, keep_identity: bool = False
) -> None:
    """Write values at each voxel like `write_volume`, or, to .dcm, as a DICOM parametric map.

    Args:
        path: the file to write.
        volume: the values.
        what: what the values are, in a few words.
        keep_identity: as for `write_volume`.
    """
    path = Path(path)
    check_map_output(path, volume)
    if suffix_of(path) == dicom_map.SUFFIX:
        dicom_map.write_map(path, volume, what, keep_identity)
    else:
        write_volume(path, volume)


def check_planes_output(path: Path) -> None:
    """Raise unless several values at each voxel can be written to this path."""
    _check_name(path)
    if suffix_of(path) not in (".nii", ".nii.gz"):
        raise unknown("suffix of shares", path.suffix or path.name, [".nii.gz", ".nii"])
    check_volume_output(path)


def _check_name(path: Path) -> None:
    if path.name.lower() in (*_WRITABLE, dicom_map.SUFFIX):
        raise InputError(f"cannot write {path}: it is a suffix without a name; try x{path.name}")


@by_annotation
def write_volume(
    path: str | os.PathLike[str], volume: Volume, *, keep_identity: bool = False
) -> None:
    """Write a volume in the format of its path, with its values unscaled and its source's header.

    Args:
        path: the file or folder to write, which appears whole or not at all.
        volume: the volume.
        keep_identity: for DICOM, whether the new series belongs to the patient and study of the
            source. If not, nothing that identifies anyone is copied.
    """
    path = Path(path)
    check_volume_output(path)
    suffix = suffix_of(path)
    if not suffix:
        dicom_out.write(path, volume, keep_identity)
    elif suffix == ".nrrd":
        nrrd.write(path, volume)
    else:
        nifti.write(path, volume)


def suffix_of(path: Path) -> str:
    """The suffix of a file in small letters; that of a compressed NIfTI is .nii.gz."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def _from_array(values: Any, affine: Any, name: str) -> Volume:
    refuse_mask(values, name)
    values, affine = np.asarray(values), np.asarray(affine, np.float64)
    if values.dtype.kind not in "buif":
        raise InputError(f"{name}: a volume cannot have values of type {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{name}: some of its values are NaN or infinite; replace them first")
    if values.ndim == 4:
        top = 255.0 if values.dtype == np.uint8 else float(max(1, values.max(initial=0)))
        values = values / np.float32(top)
    return Volume(values.astype(np.float32), affine, name)
