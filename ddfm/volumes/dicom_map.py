"""Writes values at each voxel as a DICOM parametric map: a file of many floating-point frames.

The format is that of PS3.3 A.75. Viewers overlay a map on its series, with a scale of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ddfm.storage import ours
from ddfm.storage.atomic import atomic_path
from ddfm.version import __version__
from ddfm.volumes.dicom_out import (
    code,
    decimals,
    geometry,
    new_series,
    references,
    save,
    sequence,
    uid_of,
)
from ddfm.volumes.volume import Volume

__all__ = ["SUFFIX", "write_map"]

SUFFIX = ".dcm"
PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
UNDATED = "19000101", "000000"  # DICOM requires a date and time, but the result has none
KIND = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]


def write_map(path: Path, volume: Volume, what: str, keep_identity: bool = False) -> None:
    """Write a volume of numbers without a unit.

    Args:
        path: the file to write, which appears whole or not at all.
        volume: the numbers.
        what: what the numbers are, in a few words.
        keep_identity: as for a series, see `ddfm.volumes.dicom_out`.
    """
    dataset = new_series(volume, keep_identity)
    dataset.SOPClassUID = PARAMETRIC_MAP
    dataset.SOPInstanceUID = uid_of(str(dataset.SeriesInstanceUID), what)
    dataset.Modality = "OT"
    dataset.SeriesNumber += 1
    dataset.SeriesDescription = f"{ours.MARK}: {what}"
    dataset.ManufacturerModelName = "ddfm"
    dataset.DeviceSerialNumber = __version__  # required, though there is no device
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
    _add_frames(dataset, volume, what, keep_identity)
    with atomic_path(path) as temporary:
        save(dataset, temporary)


def _add_frames(dataset: Any, volume: Volume, what: str, keep_identity: bool) -> None:
    """Add the pixels, what all frames share, and the position of each."""
    values = volume.values.astype("<f4").transpose(2, 1, 0)
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.BitsAllocated = 1, 32
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.FloatPixelData = values.tobytes()
    _add_dimensions(dataset)
    dataset.SharedFunctionalGroupsSequence = _shared(volume, what)
    dataset.PerFrameFunctionalGroupsSequence = _frames(dataset, volume, keep_identity)


def _add_dimensions(dataset: Any) -> None:
    """State that frames are sorted by their position."""
    organization = uid_of(str(dataset.SeriesInstanceUID), "dimensions")
    dataset.DimensionOrganizationSequence = sequence(DimensionOrganizationUID=organization)
    dataset.DimensionOrganizationType = "3D"
    dataset.DimensionIndexSequence = sequence(
        DimensionOrganizationUID=organization,
        DimensionIndexPointer=0x00200032,  # ImagePositionPatient
        FunctionalGroupPointer=0x00209113,  # PlanePositionSequence
    )


def _shared(volume: Volume, what: str) -> Any:
    """The functional groups of all frames: spacing, orientation, window and meaning."""
    directions, spacing, _ = geometry(volume)
    (apart,) = decimals([spacing[2]])
    top = max(float(volume.values.astype("<f4").max(initial=0)), 1e-3)
    return sequence(
        PixelMeasuresSequence=sequence(
            PixelSpacing=decimals([spacing[1], spacing[0]]),
            SliceThickness=apart,
            SpacingBetweenSlices=apart,
        ),
        PlaneOrientationSequence=sequence(
            ImageOrientationPatient=decimals(np.concatenate([directions[0], directions[1]]))
        ),
        ParametricMapFrameTypeSequence=sequence(FrameType=KIND),
        PixelValueTransformationSequence=sequence(
            RescaleIntercept="0", RescaleSlope="1", RescaleType="US"
        ),
        FrameVOILUTSequence=sequence(
            WindowCenter=decimals([top / 2])[0],
            WindowWidth=decimals([top])[0],
            VOILUTFunction="LINEAR_EXACT",  # it allows widths below 1
        ),
        RealWorldValueMappingSequence=sequence(
            LUTLabel="STD",
            LUTExplanation=what,
            DoubleFloatRealWorldValueFirstValueMapped=0.0,
            DoubleFloatRealWorldValueLastValueMapped=1.0,
            RealWorldValueIntercept=0.0,
            RealWorldValueSlope=1.0,
            MeasurementUnitsCodeSequence=code("1", "UCUM", "no units"),
        ),
    )


def _frames(dataset: Any, volume: Volume, keep_identity: bool) -> list[Any]:
    """The functional groups of each frame: its position, and the slices it comes from."""
    _, _, positions = geometry(volume)
    frames = []
    for k, position in enumerate(positions):
        (frame,) = sequence(
            FrameContentSequence=sequence(DimensionIndexValues=[k + 1]),
            PlanePositionSequence=sequence(ImagePositionPatient=decimals(position)),
        )
        if keep_identity and (sources := references(volume, k)):
            frame.DerivationImageSequence = sequence(
                SourceImageSequence=sources,
                DerivationCodeSequence=dataset.DerivationCodeSequence,
            )
        frames.append(frame)
    return frames
