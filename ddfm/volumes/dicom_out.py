"""Writes a volume as a new series of DICOM files, marked as derived.

The values of a fusion are grey levels or colours without a unit. So slices are written as secondary
captures of modality OT, which no viewer takes for Hounsfield units, with their position in the
patient. By default, nothing of the source is kept but its geometry. If identity is kept, the series
belongs to the source's patient and study, and each slice refers to the images of all sources that
it is made of.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from ddfm.errors import InputError
from ddfm.imaging.quiet import quiet
from ddfm.storage import ours
from ddfm.storage.atomic import atomic_folder
from ddfm.storage.inputs import existing_file
from ddfm.version import __version__
from ddfm.volumes.dicom_files import number_of, read_head
from ddfm.volumes.reading import LPS, library
from ddfm.volumes.volume import Volume

__all__ = [
    "check_folder",
    "check_grid",
    "code",
    "decimals",
    "geometry",
    "new_series",
    "record_in",
    "references",
    "save",
    "sequence",
    "uid_of",
    "write",
]

BLOCK, CREATOR, RECORD = 0x0099, "DDFM", 0x01  # group, creator and element of the private record

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

# Patient and study. Copied only with `keep_identity`; otherwise the required ones are empty.
_REQUIRED = (
    "PatientName PatientID PatientBirthDate PatientSex "
    "StudyDate StudyTime StudyID AccessionNumber ReferringPhysicianName Laterality "
    "PositionReferenceIndicator"
).split()
_OPTIONAL = (
    "IssuerOfPatientID OtherPatientIDs PatientAge PatientSize PatientWeight StudyDescription "
    "InstitutionName BodyPartExamined PatientPosition"
).split()
_UIDS = ("StudyInstanceUID", "FrameOfReferenceUID")


def check_folder(path: Path, grid: Volume | None = None) -> None:
    """Raise unless a series can be written to a folder that is new, or has one written by ddfm.

    Args:
        path: the folder.
        grid: a volume on the grid of the series, if known.
    """
    ours.check_folder(path, None if grid is None else _names(grid.shape[2]))
    check_grid(grid)


def check_grid(grid: Volume | None) -> None:
    """Raise if DICOM cannot express the geometry of this grid."""
    library("pydicom")
    if grid is not None:
        geometry(grid)


def write(path: Path, volume: Volume, keep_identity: bool = False) -> None:
    """Write a file for each slice along the last index, in a folder that appears whole."""
    directions, spacing, positions = geometry(volume)
    with quiet():  # pydicom warns of each value that is not valid for its type
        series = _series(volume, keep_identity)
    values, slope, intercept = _whole_numbers(volume)
    if not volume.is_color:
        series.RescaleSlope, series.RescaleIntercept = slope, intercept
        series.RescaleType = "US"  # unspecified, which means no unit
        _set_window(series, volume)
    series.ImageOrientationPatient = decimals(np.concatenate([directions[0], directions[1]]))
    series.PixelSpacing = decimals([spacing[1], spacing[0]])
    series.SliceThickness = series.SpacingBetweenSlices = decimals([spacing[2]])[0]
    with atomic_folder(path) as temporary:
        for k, (name, position) in enumerate(zip(_names(len(positions)), positions, strict=True)):
            series.InstanceNumber = k + 1
            series.ImagePositionPatient = decimals(position)
            if keep_identity:  # references identify the patient as well as a name does
                series.SourceImageSequence = references(volume, k)
            _write_slice(temporary / name, series, values[:, :, k].swapaxes(0, 1))


def _names(count: int) -> list[str]:
    """The names of the files of a series of so many slices."""
    digits = max(4, len(str(count)))
    return [f"{number:0{digits}d}.dcm" for number in range(1, count + 1)]


def _whole_numbers(volume: Volume) -> tuple[np.ndarray, str, str]:
    """Integers that DICOM can store, and the slope and intercept that give the values again."""
    values = volume.stored()
    if _fits(values):
        return values, "1", "0"
    low, high = float(values.min()), float(values.max())
    slope = (high - low) / 65535 or 1.0
    stored = np.rint((values - np.float64(low)) / slope).astype(np.uint16)
    return stored, *decimals([slope, low])


def _fits(values: np.ndarray) -> bool:
    """Whether DICOM can store these values as they are."""
    return values.dtype.kind == "u" and values.itemsize <= 2


def _set_window(series: Any, volume: Volume) -> None:
    """Have viewers show all values: those that the type of whole numbers has, or the given ones."""
    if _fits(volume.values):
        count = int(np.iinfo(volume.values.dtype).max) + 1
        series.WindowCenter, series.WindowWidth = count // 2, count
        return
    low, high = float(volume.values.min()), float(volume.values.max())
    series.WindowCenter, series.WindowWidth = decimals([(low + high) / 2, (high - low) or 1.0])
    series.VOILUTFunction = "LINEAR_EXACT"  # it allows widths below 1


def geometry(volume: Volume) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors and spacing along the three indices, and each slice's position, in LPS."""
    affine = LPS @ volume.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = (affine[:3, :3] / spacing).T
    if abs(directions[0] @ directions[1]) > 1e-4:
        raise InputError(
            f"{volume.name}: its rows and columns are not at right angles, which DICOM cannot "
            "store; write .nii.gz instead"
        )
    positions = affine[:3, 3] + np.arange(volume.shape[2])[:, None] * affine[:3, 2]
    return directions, spacing, positions


def _series(volume: Volume, keep_identity: bool) -> Any:
    """A data set with the elements that all slices have in common."""
    series = new_series(volume, keep_identity)
    series.SOPClassUID = SECONDARY_CAPTURE
    series.Modality = "OT"
    series.ConversionType = "WSD"
    series.ImageType = ["DERIVED", "SECONDARY"]
    return series


def new_series(volume: Volume, keep_identity: bool) -> Any:
    """A data set with the elements of any new series: patient, study, and how it was made."""
    from pydicom.dataset import Dataset

    source = volume.source if isinstance(volume.source, Dataset) else Dataset()
    if not keep_identity:
        source = Dataset()
    series = Dataset()
    series.SpecificCharacterSet = "ISO_IR 192"  # UTF-8, which can store a name of any script
    for keyword in _REQUIRED:
        setattr(series, keyword, "")
    for keyword in _REQUIRED + _OPTIONAL:
        _copy(source, series, keyword)
    identity = _digest(volume, series, keep_identity)
    for keyword in _UIDS:
        setattr(series, keyword, source.get(keyword) or uid_of(keyword, identity))
    if not keep_identity:
        series.PatientName = "Anonymous"
        series.PatientIdentityRemoved = "NO" if volume.burned_in else "YES"
        series.DeidentificationMethod = "ddfm: nothing of the source is kept but its geometry"
    if volume.burned_in:
        series.BurnedInAnnotation = "YES"
    series.SeriesInstanceUID = uid_of("series", identity, str(series.StudyInstanceUID))
    series.SeriesNumber = 1000 + (number_of(source) or 0)
    series.SeriesDescription = ours.MARK
    series.DerivationDescription = f"Fusion of registered volumes by ddfm {__version__}"
    # DICOM has no code for fusion; the names of private coding schemes begin with 99.
    series.DerivationCodeSequence = code("FUSION", "99DDFM", "Fusion with a diffusion prior")
    series.Manufacturer = "ddfm"
    series.SoftwareVersions = __version__
    series.PatientOrientation = ""
    if volume.record is not None:
        block = series.private_block(BLOCK, CREATOR, create=True)
        block.add_new(RECORD, "UT", volume.record)
    return series


def uid_of(*parts: str) -> str:
    """A UID derived from the content, so that a repeated result has the same one."""
    return f"2.25.{uuid5(NAMESPACE_OID, json.dumps(['ddfm', *parts])).int}"


def _digest(volume: Volume, series: Any, keep_identity: bool) -> str:
    """A digest of the content of a series: values, grid, patient, and how it was made."""
    digest = hashlib.sha256(np.ascontiguousarray(volume.values).data)
    digest.update(np.ascontiguousarray(volume.affine).data)
    identity = [str(series.get(keyword, "")) for keyword in _REQUIRED + _OPTIONAL]
    images = [origin.images for origin in volume.origins] if keep_identity else []
    digest.update(json.dumps([__version__, volume.record, identity, images]).encode())
    return digest.hexdigest()


def _copy(source: Any, series: Any, keyword: str) -> None:
    """Copy an element of a header, unless its value is invalid."""
    with suppress(TypeError, ValueError):
        if keyword in source:
            setattr(series, keyword, source.get(keyword))


def record_in(path: Path) -> str | None:
    """The text of the record of how a series was made, from its folder or a file of it.

    None if there is none, or if the folder has no DICOM files.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
    else:
        files = [existing_file(path)]
    head = next((found for file in files if (found := read_head(file)) is not None), None)
    if head is None and path.is_dir():
        return None
    if head is None:
        raise InputError(f"cannot read {path}: it is not a DICOM file")
    try:
        return str(head.private_block(BLOCK, CREATOR)[RECORD].value)
    except KeyError:
        return None


def references(volume: Volume, k: int) -> list[Any]:
    """References to the source images that slice k is made of."""
    from pydicom.uid import UID

    why = "Source image for image processing operation"
    items = []
    for origin in volume.origins:
        for class_uid, instance_uid in origin.at_slice(k, volume.affine, volume.shape):
            if UID(class_uid).is_valid and UID(instance_uid).is_valid:
                items += sequence(
                    ReferencedSOPClassUID=class_uid,
                    ReferencedSOPInstanceUID=instance_uid,
                    PurposeOfReferenceCodeSequence=code("121322", "DCM", why),
                )
    return items


def code(value: str, scheme: str, meaning: str) -> list[Any]:
    """A sequence with one code."""
    return sequence(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def sequence(**elements: Any) -> list[Any]:
    """A sequence with one item, which has these elements."""
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return [item]


def _write_slice(file: Path, series: Any, plane: np.ndarray) -> None:
    dataset = copy(series)
    dataset.SOPInstanceUID = uid_of(str(series.SeriesInstanceUID), str(series.InstanceNumber))
    dataset.Rows, dataset.Columns = plane.shape[:2]
    dataset.PixelRepresentation = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * plane.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    if plane.ndim == 3:
        dataset.SamplesPerPixel = 3
        dataset.PhotometricInterpretation = "RGB"
        dataset.PlanarConfiguration = 0
    else:
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
    data = np.ascontiguousarray(plane).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if plane.itemsize == 2 else "OB"
    save(dataset, file)


def save(dataset: Any, file: Path) -> None:
    """Write a data set whose class and instance UIDs are set."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(file, enforce_file_format=True)


def decimals(values: Any) -> list[str]:
    """Numbers as DICOM decimal strings, which have at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value)) for value in values]
