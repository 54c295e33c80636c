"""Corrects the position of a volume so that it matches another one, or warns if it is off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ddfm.arguments import one_of
from ddfm.errors import InputError, warn
from ddfm.registration.space import (
    GRIDS,
    SPACE_MODELS,
    SURE_SCORE,
    SpaceAlignment,
    align_space,
    apart,
    corners_of,
)
from ddfm.volumes.resample import check_overlap, overlap
from ddfm.volumes.volume import Volume

__all__ = ["aligned", "placed"]

LEAVE = 3.0  # millimetres, or two voxels if that is more, that are off without a warning


def aligned(moving: Volume, fixed: Volume, model: str = "none") -> tuple[Volume, dict[str, Any]]:
    """The volume with its affine corrected, and what was found, ready for JSON.

    Nothing is interpolated. With "none" the affine is unchanged: a fast check on a coarse grid
    gives a warning if the volume is certainly misplaced; volumes that do not overlap are refused.

    Args:
        moving: the volume to correct.
        fixed: the volume that it should match.
        model: the kind of motion, see `ddfm.registration.space`, or "none".
    """
    one_of("way to align volumes", model, SPACE_MODELS)
    look = model == "none"
    if look:
        check_overlap(moving, fixed)
    found = _looked(moving, fixed) if look else _found(moving, fixed, model, GRIDS[-1])
    applied = not look and found.sure
    about = _about(found.matrix, found.off, sure=found.sure, applied=applied)
    most = _most(fixed)
    if look and found.sure and found.off > most:
        warn(
            f"{moving.name} seems to be {found.off:.0f} mm off {fixed.name} in the patient's "
            "space; align=rigid (--align rigid) corrects it"
        )
    fits = found.off <= most and found.score > SURE_SCORE
    if look and not (found.sure or fits) and _of_two_frames(moving, fixed):
        warn(
            f"{moving.name} and {fixed.name} have different frames of reference in DICOM, so that "
            "their positions may not belong together; align=rigid (--align rigid) finds out"
        )
    if not look and not found.sure:
        if not overlap(moving, fixed):
            raise InputError(
                f"{moving.name} and {fixed.name} do not overlap in the patient's space, and could "
                "not be aligned reliably; are they of one patient?"
            )
        warn(
            f"{moving.name} could not be aligned with {fixed.name} reliably, and is left unchanged"
        )
    if applied:
        moving = replace(moving, affine=found.placed(moving.affine))
    return moving, about


def _looked(moving: Volume, fixed: Volume) -> SpaceAlignment:
    """The motion that is left between two volumes, found fast on a coarse grid."""
    return _found(moving, fixed, "rigid", GRIDS[1])


def _found(moving: Volume, fixed: Volume, model: str, finest: float) -> SpaceAlignment:
    return align_space(fixed.grey, fixed.affine, moving.grey, moving.affine, model, finest=finest)


def _most(fixed: Volume) -> float:
    """How far, in millimetres, a volume may be off without a warning."""
    return max(LEAVE, 2 * float(fixed.spacing.max()))


def _of_two_frames(*volumes: Volume) -> bool:
    """Whether DICOM states that positions in the volumes are counted from different origins."""
    headers = (volume.source for volume in volumes)
    frames = [getattr(header, "FrameOfReferenceUID", None) for header in headers]
    return all(frames) and frames[0] != frames[1]


def placed(moving: Volume, fixed: Volume, matrix: np.ndarray) -> tuple[Volume, dict[str, Any]]:
    """The volume with its affine corrected by a known motion, as of `SpaceAlignment.matrix`.

    A warning tells if that certainly misplaces it, as the motion from moving to fixed would.
    """
    off = apart(corners_of(fixed.shape, fixed.affine), matrix, np.eye(4))
    moved = replace(moving, affine=np.linalg.inv(matrix) @ moving.affine)
    if not overlap(moved, fixed):
        raise InputError(
            f"{moving.name} and {fixed.name} do not overlap where the transform (--transform) "
            "places them; is that of these files, and not the inverse?"
        )
    left = _looked(moved, fixed)
    if left.sure and left.off > _most(fixed):
        warn(
            f"{moving.name} seems to be {left.off:.0f} mm off {fixed.name} where its transform "
            "(--transform) places it; is that of these files, and not the inverse?"
        )
    return moved, _about(matrix, off, sure=True, applied=True)


def _about(matrix: np.ndarray, off: float, *, sure: bool, applied: bool) -> dict[str, Any]:
    return {
        "off": round(off, 2),
        "sure": sure,
        "applied": applied,
        "fixed_to_moving": matrix.tolist(),
    }
