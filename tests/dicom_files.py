"""Small DICOM series, made on the fly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

__all__ = ["PRIVATE", "dicom_series", "dicom_slice"]

FRAME = generate_uid()  # all series are of one space, unless another is given

# What of a person must not come through, by keyword.
PRIVATE = {
    "PatientName": "Doe^Jane",
    "PatientID": "ID-4711",
    "PatientBirthDate": "19700102",
    "PatientSex": "F",
    "PatientAge": "055Y",
    "StudyDate": "20250102",
    "StudyTime": "111213",
    "StudyID": "ST77",
    "AccessionNumber": "ACC99",
    "ReferringPhysicianName": "House^G",
    "StudyDescription": "HEAD OF JANE",
    "InstitutionName": "General Hospital",
    "OperatorsName": "Op^Erator",
    "DeviceSerialNumber": "SN123456",
}


def dicom_slice(path: Path, stored: np.ndarray, position: Any, **more: Any) -> Dataset:
    """Writes a slice, (rows, columns) int16 or (rows, columns, 3) uint8; `more` is by keyword."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.ImagePositionPatient = [float(x) for x in position]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [1.0, 1.0]
    dataset.SliceThickness = 1.0
    dataset.Modality = "MR"
    dataset.SeriesNumber = 3
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.SamplesPerPixel = 3 if stored.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
    if stored.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * stored.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OB" if stored.itemsize == 1 else "OW"
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return dataset


def dicom_series(
    folder: Path,
    stored: np.ndarray,
    positions: Any = None,
    *,
    order: Any = None,
    **more: Any,
) -> Path:
    """Writes (slices, rows, columns), 1 mm apart towards the head unless positions are given.

    Files are named in the given order, so that names do not say where a slice lies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    positions = [(0, 0, k) for k in range(len(stored))] if positions is None else positions
    more = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()} | more
    more = {"FrameOfReferenceUID": FRAME} | more
    names = range(len(stored)) if order is None else order
    for plane, position, name in zip(stored, positions, names, strict=True):
        dicom_slice(folder / f"IM{name:04d}", plane, position, **more)
    return folder


def all_text(folder: Path) -> str:
    """All texts in the files of a folder, including UIDs."""
    return "\n".join(str(pydicom.dcmread(path)) for path in sorted(folder.iterdir()))
