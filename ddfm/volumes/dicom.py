"""Reads a series of DICOM slices as one volume.

Each file (or each frame of a file with several) gives the position of its first pixel and the
directions of its rows and columns; SPECT gives those of its first frame alone. Slices are sorted by
their position along the normal of their plane, must lie on a line at equal distances, and are
rescaled to the unit of their modality: Hounsfield units for CT, activity for PET. DICOM's space is
LPS; the volume returned is in RAS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.errors import InputError, StorageError, warn
from ddfm.imaging.unreadable import explained, not_read
from ddfm.storage.budget import ask_bytes, ask_pixels
from ddfm.storage.inputs import existing_file
from ddfm.volumes.dicom_files import frames_of, number_of, pixels_of, read_head
from ddfm.volumes.dicom_tomography import slice_groups
from ddfm.volumes.reading import LPS, check_bytes, filled, library
from ddfm.volumes.volume import Origin, Volume

__all__ = ["read", "series_in"]


APART = "put the files of one into a folder of their own"

# Modalities whose values are in a unit, which they keep where DICOM displays the lowest as white.
WITH_UNIT = ("CT", "PT", "NM")


@dataclass(frozen=True)
class _Slice:
    """One slice, without its pixels. Vectors are in LPS."""

    path: Path
    frame: int | None
    position: np.ndarray
    rows: np.ndarray  # unit vector along a row, towards the next column
    columns: np.ndarray
    spacing: tuple[float, float]  # in mm between rows, and between columns
    thickness: float
    size: tuple[int, int]
    rescale: tuple[float, float]

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.rows, self.columns)


def read(path: Path, series: int | None = None) -> Volume:
    """The volume in a file, or of the only series in a folder, or of the one with this number."""
    library("pydicom")
    # pydicom decodes elements when they are first used, so errors may be raised anywhere in here.
    with explained(str(path)):
        return _read(path, series)


def _read(path: Path, series: int | None) -> Volume:
    name, heads = _series(path, series)
    slices = sorted(
        (one for file, head in heads for one in _slices(file, head)),
        key=lambda one: float(one.normal @ one.position),
    )
    _check_alike(slices, name)
    if len(slices) == 1 and path.is_file():
        warn(f"{name} holds a single slice; if it belongs to a series, give its folder")
    step = _step(slices, name)
    first, head = slices[0], heads[0][1]
    affine = np.eye(4)
    affine[:3, 0] = first.rows * first.spacing[1]
    affine[:3, 1] = first.columns * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    modality = str(head.get("Modality", ""))
    white_is_low = head.get("PhotometricInterpretation") == "MONOCHROME1"
    values = _values(slices, name, inverted=white_is_low and modality not in WITH_UNIT)
    burned_in = any(str(one.get("BurnedInAnnotation", "")).upper() == "YES" for _, one in heads)
    affine = LPS @ affine
    named = {file: _image(head) for file, head in heads}
    origin = Origin(affine, tuple(named[one.path] for one in slices))
    files = tuple(dict.fromkeys(one.path for one in slices))
    return Volume(
        values,
        affine,
        name,
        modality,
        head,
        burned_in,
        (origin,),
        files,
        stored_as=_stored_as(head),
    )


def series_in(path: Path) -> list[tuple[int | None, str, int]]:
    """The number, modality and number of files of each series in a folder, or in a file."""
    library("pydicom")
    with explained(str(path)):
        heads = _heads(path).values()
        found = [(number_of(of[0][1]), _modality(of[0][1]), len(of)) for of in heads]
    return sorted(found, key=lambda one: (one[0] is None, one))


def _stored_as(head: Any) -> str:
    signed, bits = head.get("PixelRepresentation") == 1, head.get("BitsAllocated")
    return f"{'' if signed else 'u'}int{bits}" if bits in (8, 16, 32) else ""


def _modality(head: Any) -> str:
    return str(head.get("Modality", "?"))


def _image(head: Any) -> tuple[str, str]:
    """The UIDs of an image's class and instance."""
    return str(head.get("SOPClassUID", "")), str(head.get("SOPInstanceUID", ""))


def _series(path: Path, number: int | None) -> tuple[str, list[tuple[Path, Any]]]:
    """The name of a series, and its files, each with its header."""
    found = list(_heads(path).values())
    if not found:
        if path.is_file() and (way := not_read(path.name)):
            raise InputError(f"{path} {way}")
        what = "is not a DICOM file" if path.is_file() else "has no DICOM images in it"
        raise InputError(
            f"{path} {what}; volumes are NIfTI, NRRD, MetaImage, MGH, Analyze, or folders of DICOM"
        )
    chosen = found
    if number is not None:
        chosen = [heads for heads in found if number_of(heads[0][1]) == number]
    if len(chosen) > 1 and number is not None:
        raise InputError(f"{path} has {len(chosen)} series with the number {number}; {APART}")
    if len(chosen) != 1:
        in_order = sorted(found, key=lambda heads: number_of(heads[0][1]) or 0)
        raise InputError(
            f"{path} has "
            + (f"{len(found)} series" if number is None else f"no series with the number {number}")
            + f"; {_advice(in_order)}: "
            + ", ".join(map(_about, in_order))
        )
    return str(path), chosen[0]


def _advice(found: list[list[tuple[Path, Any]]]) -> str:
    """How to choose one of several series, some of which may have no number of their own."""
    numbers = [number_of(heads[0][1]) for heads in found]
    own = [number for number in numbers if number is not None and numbers.count(number) == 1]
    ways = ["choose one by its number (series=, --series-a, --series-b)"] if own else []
    return " or ".join([*ways, *([APART] if len(own) < len(found) else [])])


def _heads(path: Path) -> dict[str, list[tuple[Path, Any]]]:
    """The files of each series, by its UID, each with its header."""
    if not path.exists():
        raise StorageError(f"cannot read {path}: there is no such file or folder")
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    else:
        files = [existing_file(path)]
    found: dict[str, list[tuple[Path, Any]]] = {}
    for file in files:
        head = read_head(file)
        if head is not None and "Rows" in head:
            found.setdefault(str(head.get("SeriesInstanceUID", "")), []).append((file, head))
    return found


def _about(heads: list[tuple[Path, Any]]) -> str:
    head = heads[0][1]
    # Descriptions may contain names of persons; numbers and modalities do not.
    number = number_of(head)
    named = "one without a number" if number is None else number
    return f"{named} ({_modality(head)}, {len(heads)} files)"


def _slices(file: Path, head: Any) -> Iterator[_Slice]:
    with explained(str(file)):
        if "MOSAIC" in (head.get("ImageType") or ()):
            raise InputError(
                f"{file} is a mosaic of Siemens, which shows all slices of a volume in one image; "
                f"convert it to NIfTI first: dcm2niix {file.parent}"
            )
        frames = frames_of(head)
        groups = head.get("PerFrameFunctionalGroupsSequence")
        if groups is None and frames > 1:
            check_bytes((frames,), 1, file, compressed=False)  # each takes a byte, if compressed
            groups = slice_groups(head, frames)
        if frames != (1 if groups is None else len(groups)):
            raise InputError(
                f"{file} has {frames} frames, but does not give the position of each; if it is one "
                "volume, convert it to NIfTI first, as with dcm2niix"
            )
        if groups is not None:
            check_bytes((frames, int(head.Rows), int(head.Columns)), 1, file, compressed=True)
            shared = (head.get("SharedFunctionalGroupsSequence") or [{}])[0]
            for k, own in enumerate(groups):
                yield _slice(file, k if frames > 1 else None, head, [own, shared])
        else:
            yield _slice(file, None, head, [])


def _slice(file: Path, frame: int | None, head: Any, groups: list[Any]) -> _Slice:
    def get(group: str, keyword: str, default: Any = None) -> Any:
        """An element from the frame's groups, or the shared ones, or else from the file itself."""
        for holder in groups:
            if group in holder and holder[group].value and keyword in holder[group].value[0]:
                return holder[group].value[0][keyword].value
        value = head.get(keyword)
        return default if value is None or value == "" else value

    position = get("PlanePositionSequence", "ImagePositionPatient")
    turned = get("PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = get("PixelMeasuresSequence", "PixelSpacing")
    needed = {
        "position (ImagePositionPatient)": position,
        "orientation (ImageOrientationPatient)": turned,
        "pixel spacing (PixelSpacing)": spacing,
    }
    missing = " and ".join(what for what, value in needed.items() if value is None)
    if missing:
        raise InputError(f"{file} does not give its {missing}, so it is not a slice of a volume")
    position, turned = np.array(position, float), np.array(turned, float)
    distances = tuple(map(float, spacing))
    if not _is_valid(position, turned, distances):
        raise InputError(f"{file} is damaged: its position, orientation or spacing is invalid")
    size = int(head.Rows), int(head.Columns)
    ask_pixels(size[1], size[0], str(file))
    slope = float(get("PixelValueTransformationSequence", "RescaleSlope", 1))
    intercept = float(get("PixelValueTransformationSequence", "RescaleIntercept", 0))
    if not np.isfinite([slope, intercept]).all():
        raise InputError(f"{file} is damaged: its RescaleSlope or RescaleIntercept is invalid")
    return _Slice(
        file,
        frame,
        position,
        turned[:3],
        turned[3:],
        distances,  # type: ignore[arg-type]
        _thickness(get),
        size,
        (slope, intercept),
    )


def _is_valid(position: np.ndarray, turned: np.ndarray, distances: Sequence[float]) -> bool:
    """Whether a position, two orthogonal unit vectors and two distances are what they should be."""
    if (position.size, turned.size, len(distances)) != (3, 6, 2):
        return False
    if not np.isfinite([*position.flat, *turned.flat, *distances]).all():
        return False
    rows, columns = turned.reshape(2, 3)
    lengths = np.linalg.norm([rows, columns], axis=1)
    return np.abs(lengths - 1).max() <= 0.01 and abs(rows @ columns) <= 0.01 and min(distances) > 0


def _thickness(get: Callable[..., Any]) -> float:
    """The thickness of a slice, for volumes of a single one; 0 if missing or not a number."""
    try:
        return max(0.0, float(get("PixelMeasuresSequence", "SliceThickness", 0)))
    except (TypeError, ValueError):
        return 0.0


def _check_alike(slices: list[_Slice], name: str) -> None:
    first = slices[0]
    if not any(one.rescale[0] for one in slices):  # that of an empty slice may be 0
        raise InputError(f"{name} is damaged: its RescaleSlope is 0, which makes all values equal")
    for one in slices:
        if one.size != first.size:
            (h, w), (h2, w2) = first.size, one.size
            raise InputError(
                f"{name}: {first.path.name} has {w} x {h} pixels, {one.path.name} {w2} x {h2}"
            )
        if not np.allclose(one.spacing, first.spacing, rtol=1e-3):
            raise InputError(
                f"{name}: {first.path.name} and {one.path.name} have different pixel spacing"
            )
        turned = np.abs([one.rows - first.rows, one.columns - first.columns]).max()
        if turned > 1e-3:
            raise InputError(
                f"{name}: {first.path.name} and {one.path.name} have different orientations; "
                "is a localizer among the slices?"
            )


def _step(slices: list[_Slice], name: str) -> np.ndarray:
    """The step from one slice to the next, which must be the same for all."""
    first = slices[0]
    if len(slices) == 1:
        return first.normal * (first.thickness or float(np.mean(first.spacing)))
    positions = np.array([one.position for one in slices])
    places = positions @ first.normal
    gaps = np.diff(places)
    usual = float(np.median(gaps))
    if gaps.min() < 0.01 * max(usual, 1e-3):
        k = int(gaps.argmin())
        raise InputError(
            f"{name}: {slices[k].path.name} and {slices[k + 1].path.name} are at the same place; "
            "does the series have several times or echoes? Keep one slice of each place"
        )
    k = int(np.abs(gaps - usual).argmax())
    between = f"between {slices[k].path.name} and {slices[k + 1].path.name}"
    missing = round(gaps[k] / usual) - 1
    if missing > 0 and abs(gaps[k] / usual - missing - 1) < 0.1:
        what = "1 slice is" if missing == 1 else f"{missing} slices are"
        raise InputError(f"{name}: {what} missing {between}")
    if abs(gaps[k] - usual) > 0.02 * usual + 0.01:
        raise InputError(f"{name}: slices are {usual:.2f} mm apart, but {gaps[k]:.2f} mm {between}")
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    line = positions[0] + np.arange(len(slices))[:, None] * step
    if np.abs(positions - line).max() > 0.1 * min(usual, *first.spacing) + 0.05:
        raise InputError(f"{name}: the positions of the slices are not on a line")
    return step


def _values(slices: list[_Slice], name: str, *, inverted: bool) -> np.ndarray:
    """The values, (columns, rows, slices), or with colours (columns, rows, slices, 3).

    Args:
        inverted: whether the lowest value is white; the values are then turned round.
    """
    whole = len(slices) * slices[0].size[0] * slices[0].size[1]
    files = {one.path for one in slices}
    ask_bytes(4 * whole, name, sum(file.stat().st_size for file in files))
    values = None
    for k, (one, plane) in enumerate(_planes(slices)):
        if plane.shape[:2] != one.size:
            raise InputError(f"{one.path} is damaged: its header gives another number of pixels")
        if plane.ndim == 2:
            slope, intercept = one.rescale
            plane = np.ma.filled(plane * np.float64(slope) + intercept, np.nan)
        else:
            plane = plane.astype(np.float32) / np.float32(np.iinfo(plane.dtype).max)
        plane = plane.swapaxes(0, 1)
        if values is None:
            values = np.empty((*plane.shape[:2], len(slices), *plane.shape[2:]), np.float32)
        if plane.shape[2:] != values.shape[3:]:
            raise InputError(f"{name}: some slices are in colour and some are not")
        with np.errstate(over="ignore"):
            values[:, :, k] = plane
    assert values is not None  # there is at least one slice
    if inverted:  # all by the same value, since each slice may have its own slope
        highest = values.max(where=np.isfinite(values), initial=-np.inf)
        with np.errstate(invalid="ignore"):
            np.subtract(highest, values, out=values)
    return filled(values, name)


def _planes(slices: list[_Slice]) -> Iterator[tuple[_Slice, np.ndarray]]:
    """Each slice with its stored values; a file with several slices is decompressed only once."""
    for path, frames in groupby(slices, key=lambda one: one.path):
        pixels = pixels_of(path)
        for one in frames:
            yield one, pixels if one.frame is None else pixels[one.frame]
