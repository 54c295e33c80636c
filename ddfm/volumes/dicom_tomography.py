"""The positions of the slices in a DICOM file of nuclear medicine, as SPECT is stored.

One file holds all slices, but gives the position of the first alone, with its detector (PS3.3
C.8.4.11). The others follow along the normal of the first, Spacing Between Slices apart, whose sign
gives the direction (PS3.3 C.8.4.15).
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["slice_groups"]

RECONSTRUCTED = "RECON TOMO"  # third value of the image's type, if it is a volume


def slice_groups(head: Any, frames: int) -> list[Any] | None:
    """For each frame, a data set like its functional groups in newer files, with its position.

    None if the file does not give the positions, or is no reconstructed volume.
    """
    kind = list(head.get("ImageType") or ())
    detectors = list(head.get("DetectorInformationSequence") or ())
    gap = head.get("SpacingBetweenSlices")
    if kind[2:3] != [RECONSTRUCTED] or len(detectors) != 1 or not gap:
        return None
    first = _numbers(detectors[0].get("ImagePositionPatient"))
    orientation = detectors[0].get("ImageOrientationPatient")
    turned = _numbers(orientation)
    places, gaps = _places(head, frames), _numbers(gap)
    if places is None or (len(first), len(turned), len(gaps)) != (3, 6, 1):
        return None
    positions = first + np.outer(places, gaps[0] * np.cross(turned[:3], turned[3:]))
    return [_groups(position, orientation) for position in positions]


def _numbers(value: Any) -> np.ndarray:
    """The values of an element that may be missing, or have more or fewer than it should."""
    return np.atleast_1d(np.array([] if value is None else value, float))


def _places(head: Any, frames: int) -> np.ndarray | None:
    """How many slices each frame is from the first; None unless each slice has one frame."""
    vector = head.get("SliceVector")
    if vector is None:
        return np.arange(frames)
    numbers = np.atleast_1d(np.array(vector, int))
    return numbers - 1 if sorted(numbers) == list(range(1, frames + 1)) else None


def _groups(position: np.ndarray, orientation: Any) -> Any:
    from pydicom.dataset import Dataset

    place, plane, groups = Dataset(), Dataset(), Dataset()
    # Decimal strings have at most 16 characters, and pydicom warns of longer ones.
    place.ImagePositionPatient = [round(float(x), 6) for x in position]
    plane.ImageOrientationPatient = list(orientation)
    groups.PlanePositionSequence, groups.PlaneOrientationSequence = [place], [plane]
    return groups
