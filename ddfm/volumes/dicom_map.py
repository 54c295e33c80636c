"""Values at each voxel as a parametric map of DICOM: one file of many frames, in floating point.

As PS3.3 A.75 has it. A viewer lays it over the series that it belongs to, with a scale of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ddfm.storage import ours
from ddfm.storage.atomic import atomic_path
from ddfm.version import __version__
from ddfm.volumes.dicom_out import code, decimals, geometry, new_series, references, uid_of
from ddfm.volumes.volume import Volume

__all__ = ["SUFFIX", "write_map"]

SUFFIX = ".dcm"
PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
UNDATED = "19000101", "000000"  # a date must be there, and nothing else here has one
KIND = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]


def write_map(path: Path, volume: Volume, what: str, keep_identity: bool = False) -> None:
    """Writes a volume of numbers without a unit.

    Args:
        what: the numbers are, in a few words.
        keep_identity: as for a series, see `ddfm.volumes.dicom_out`.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = new_series(volume, keep_identity)
    dataset.SOPClassUID = PARAMETRIC_MAP
    dataset.SOPInstanceUID = uid_of(str(dataset.SeriesInstanceUID), what)
    dataset.Modality = "OT"
    dataset.SeriesNumber += 1
    dataset.SeriesDescription = f"{ours.MARK}: {what}"
    dataset.ManufacturerModelName = "ddfm"
    dataset.DeviceSerialNumber = __version__  # there is no device, and one must be named
    dataset.ContentLabel = "UNCERTAINTY"
    dataset.ContentDescription = what
    dataset.ContentCreatorName = ""
    dataset.ContentQualification = "RESEARCH"
    dataset.ContentDate, dataset.ContentTime = UNDATED
    dataset.InstanceNumber = 1
    dataset.ImageType = KIND
    dataset.BurnedInAnnotation = "YES" if volume.burned_in else "NO"
    dataset.RecognizableVisualFeatures = "NO"
    dataset.LossyImageCompression = "00"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.AcquisitionContextSequence = []
    _frames(dataset, volume, what, keep_identity)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with atomic_path(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def _frames(dataset: Any, volume: Volume, what: str, keep_identity: bool) -> None:
    """The pixels, and where each frame lies."""
    directions, spacing, positions = geometry(volume)
    values = volume.values.astype("<f4").transpose(2, 1, 0)
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.BitsAllocated = 1, 32
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.FloatPixelData = values.tobytes()
    organization = uid_of(str(dataset.SeriesInstanceUID), "dimensions")
    dataset.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organization)]
    dataset.DimensionOrganizationType = "3D"
    place, group = 0x00200032, 0x00209113  # the position, in its sequence
    pointer = {"DimensionIndexPointer": place, "FunctionalGroupPointer": group}
    dataset.DimensionIndexSequence = [_item(DimensionOrganizationUID=organization, **pointer)]
    top = max(float(values.max(initial=0)), 1e-3)
    dataset.SharedFunctionalGroupsSequence = [
        _item(
            PixelMeasuresSequence=[
                _item(
                    PixelSpacing=decimals([spacing[1], spacing[0]]),
                    SliceThickness=decimals([spacing[2]])[0],
                    SpacingBetweenSlices=decimals([spacing[2]])[0],
                )
            ],
            PlaneOrientationSequence=[
                _item(
                    ImageOrientationPatient=decimals(np.concatenate([directions[0], directions[1]]))
                )
            ],
            ParametricMapFrameTypeSequence=[_item(FrameType=KIND)],
            PixelValueTransformationSequence=[
                _item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")
            ],
            FrameVOILUTSequence=[
                _item(
                    WindowCenter=decimals([top / 2])[0],
                    WindowWidth=decimals([top])[0],
                )
            ],
            RealWorldValueMappingSequence=[
                _item(
                    LUTLabel="STD",
                    LUTExplanation=what,
                    DoubleFloatRealWorldValueFirstValueMapped=0.0,
                    DoubleFloatRealWorldValueLastValueMapped=1.0,
                    RealWorldValueIntercept=0.0,
                    RealWorldValueSlope=1.0,
                    MeasurementUnitsCodeSequence=[code("1", "UCUM", "no units")],
                )
            ],
        )
    ]
    frames = []
    for k, position in enumerate(positions):
        frame = _item(
            FrameContentSequence=[_item(DimensionIndexValues=[k + 1])],
            PlanePositionSequence=[_item(ImagePositionPatient=decimals(position))],
        )
        if keep_identity and (sources := references(volume, k)):
            derived = dataset.DerivationCodeSequence
            derived = _item(SourceImageSequence=sources, DerivationCodeSequence=derived)
            frame.DerivationImageSequence = [derived]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames


def _item(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
