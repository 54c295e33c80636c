"""Reads and writes motions between volumes: our JSON, and ITK's files (3D Slicer, ANTs).

In all of them, a motion maps points of the fixed volume to points of the moving one, as resampling
requires. Points are (right, anterior, superior) in memory and in JSON, and (left, posterior,
superior) in ITK's files.
"""

from __future__ import annotations

import os
from functools import reduce
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ddfm.errors import InputError, short
from ddfm.storage.files import write_json, write_text
from ddfm.storage.inputs import existing_file, json_object, read_text
from ddfm.storage.ours import MARK
from ddfm.storage.outputs import check_writable

__all__ = [
    "check_space_output",
    "checked_motion",
    "read_space_transform",
    "write_space_transform",
]

# Kind, parameters and fixed parameters of a transform of ITK.
Parameters = tuple[str, np.ndarray, np.ndarray]

FORMAT = "ddfm space transform 1"
WRITTEN = (".json", ".tfm")
READ = (".json", ".tfm", ".txt", ".mat")
ITK = "#Insight Transform File"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
AFFINE = ("AffineTransform", "MatrixOffsetTransformBase")
VERSOR = ("VersorRigid3DTransform", "Similarity3DTransform")
SHIFT = "TranslationTransform"  # the only one without a centre
# How many parameters each kind has.
COUNTS = dict.fromkeys(AFFINE, 12) | {"Euler3DTransform": 6, "VersorRigid3DTransform": 6}
COUNTS |= {"Similarity3DTransform": 7, SHIFT: 3}
LARGEST = 1e9  # millimetres, radians or factors; no parameter of a transform is as large
LARGEST_MAT = 4096  # bytes; files of ANTs have about two hundred


def check_space_output(path: str | os.PathLike[str]) -> None:
    """Raises the errors of `write_space_transform` about a path before any work is done."""
    if Path(path).suffix.lower() not in WRITTEN:
        raise InputError(f"a transform of volumes is written as .json or .tfm, not as {path}")
    check_writable(Path(path))


def write_space_transform(path: str | os.PathLike[str], matrix: np.ndarray) -> None:
    """Writes a motion (4, 4) as .json, or as .tfm, ITK's text."""
    check_space_output(path)
    if Path(path).suffix.lower() == ".json":
        write_json(path, {"format": FORMAT, "fixed_to_moving_ras": matrix.tolist()})
        return
    lps = LPS @ matrix @ LPS
    numbers = [*lps[:3, :3].ravel(), *lps[:3, 3]]
    text = (
        f"{ITK} V1.0\n#{MARK}\n#Transform 0\n"
        "Transform: AffineTransform_double_3_3\n"
        f"Parameters: {' '.join(f'{number:.12g}' for number in numbers)}\n"
        "FixedParameters: 0 0 0\n"
    )
    write_text(path, text)


def read_space_transform(path: str | os.PathLike[str]) -> np.ndarray:
    """The motion (4, 4) in a file of ours, or one of ITK of affine or rigid parts.

    .tfm and .txt are ITK's text format, .mat is ANTs' `0GenericAffine.mat`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in READ:
        raise InputError(f"a transform of volumes is read from {', '.join(READ)}, not from {path}")
    if suffix == ".json":
        entry = json_object(read_text(path), str(path))
        if entry.get("format") != FORMAT:
            raise InputError(f"{path} is not a transform of volumes that ddfm wrote")
        return checked_motion(entry.get("fixed_to_moving_ras"), str(path))
    parts = [_of_mat(path)] if suffix == ".mat" else _of_text(path)
    # The last of a composite transform is the first to be applied.
    matrix = reduce(np.matmul, (_linear(*part, str(path)) for part in parts))
    return checked_motion(LPS @ matrix @ LPS, str(path))


def checked_motion(matrix: object, name: str = "the transform") -> np.ndarray:
    """A motion as an array; raises InputError unless it is a finite, invertible 4 x 4 matrix."""
    try:
        found = np.asarray(matrix).astype(np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        found = np.zeros(0)
    good = found.shape == (4, 4) and np.isfinite(found).all()
    if not good or not np.allclose(found[3], [0, 0, 0, 1]) or abs(np.linalg.det(found)) < 1e-6:
        raise InputError(f"{name} is not a motion of volumes, a 4 x 4 matrix with an inverse")
    return found


def _linear(kind: str, numbers: np.ndarray, fixed: np.ndarray, name: str) -> np.ndarray:
    """The matrix of an ITK transform from its parameters; `fixed` holds the centre of rotation."""
    family = kind.partition("_")[0]
    if not kind.endswith("_3_3") or family not in COUNTS:
        raise InputError(
            f"{name} holds a transform of the kind {short(kind)}; only affine and rigid ones in "
            "three dimensions can be read"
        )
    if len(numbers) != COUNTS[family] or (len(fixed) < 3 and family != SHIFT):
        raise InputError(f"{name} is damaged: {kind} with {len(numbers)} parameters")
    if not (np.abs([*numbers, *fixed]) < LARGEST).all():  # nor is NaN
        raise InputError(
            f"{name} is not a motion of volumes: its parameters are not finite, or too large"
        )
    shift = numbers[-3:]
    if family == SHIFT:
        linear, fixed = np.eye(3), np.zeros(3)
    elif family in AFFINE:
        linear = numbers[:9].reshape(3, 3)
    elif family in VERSOR:
        scalar = np.sqrt(max(0.0, 1.0 - float(numbers[:3] @ numbers[:3])))
        scale, shift = (*numbers[6:], 1.0)[0], numbers[3:6]
        linear = scale * Rotation.from_quat([*numbers[:3], scalar]).as_matrix()
    else:
        x, y, z = numbers[:3]
        last_first = len(fixed) > 3 and bool(fixed[3])
        turns = ("ZYX", [z, y, x]) if last_first else ("ZXY", [z, x, y])
        linear = Rotation.from_euler(*turns).as_matrix()
    motion = np.eye(4)
    centre = fixed[:3]
    motion[:3, :3] = linear
    motion[:3, 3] = shift + centre - linear @ centre
    return motion


def _of_text(path: str | os.PathLike[str]) -> list[Parameters]:
    """The transforms of ITK's text format; several if it is a composite transform."""
    text = read_text(path)
    if not text.startswith(ITK):
        raise InputError(f"{path} is not a transform of ITK: it does not begin with {ITK}")
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        name, colon, value = (part.strip() for part in line.partition(":"))
        if name == "Transform":
            found.append({})
        if found and colon:
            found[-1][name] = value
    # A composite transform begins with a line that names it and has no parameters.
    composite = bool(found) and found[0]["Transform"].startswith("CompositeTransform")
    found = found[1:] if composite else found
    if not found or (len(found) > 1 and not composite):
        raise InputError(f"{path} holds {len(found)} transforms; combine them into one")
    return [_parameters(entries, path) for entries in found]


def _parameters(entries: dict[str, str], path: str | os.PathLike[str]) -> Parameters:
    try:
        numbers, fixed = (
            np.array(entries[name].split(), np.float64)
            for name in ("Parameters", "FixedParameters")
        )
    except (KeyError, ValueError):
        raise InputError(f"{path} is damaged: its parameters are not numbers") from None
    return entries["Transform"], numbers, fixed


def _of_mat(path: str | os.PathLike[str]) -> Parameters:
    """A transform from MATLAB's format 4, in which each array has a header of five integers."""
    path = existing_file(path)
    damaged = InputError(f"{path} is not a transform that ANTs wrote")
    if path.stat().st_size > LARGEST_MAT:
        raise damaged
    data, arrays = path.read_bytes(), []
    while data:
        if len(data) < 20:
            raise damaged
        kind, rows, columns, imaginary, letters = np.frombuffer(data[:20], "<i4").tolist()
        number, width = rows * columns, {0: 8, 10: 4}.get(kind, 0)
        end = 20 + letters + number * width
        if not width or imaginary or min(rows, columns, letters) < 1 or end > len(data):
            raise damaged
        name = data[20 : 20 + letters].rstrip(b"\0").decode("ascii", "replace")
        values = np.frombuffer(data[20 + letters : end], f"<f{width}").astype(np.float64)
        arrays.append((name, values))
        data = data[end:]
    if len(arrays) != 2 or arrays[1][0] != "fixed":
        raise damaged
    return arrays[0][0], arrays[0][1], arrays[1][1]
