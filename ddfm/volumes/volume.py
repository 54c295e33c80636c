"""A volume in the patient's space, and its slices in the orientation in which they are viewed.

Voxel (i, j, k) of a volume lies at affine @ (i, j, k, 1) in the patient's space: millimetres to the
right, front and head (RAS), as in NIfTI. DICOM counts to the left, back and head, and is converted
when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.arguments import by_annotation
from ddfm.errors import InputError, unknown

__all__ = [
    "PLANES",
    "Origin",
    "Volume",
    "axes_of",
    "check_axis",
    "check_shape",
    "corners",
    "find_axis",
    "rows_and_columns",
    "same_grid",
    "slices",
]

# Each plane is named by the world axis that its slices are stacked along.
PLANES = ("sagittal", "coronal", "axial")
_INDICES = ("0", "1", "2")

# Bounds on spacing and coordinates in millimetres (or a file's own unit): beyond, they are damaged.
_NEAREST, _FARTHEST = 1e-9, 1e9


@dataclass(frozen=True, eq=False)
class Origin:
    """The DICOM images that a volume, or a source of it, was read from.

    Attributes:
        affine: the affine of the volume that was read.
        images: UIDs of class and instance of each of its slices along the last index.
    """

    affine: np.ndarray
    images: tuple[tuple[str, str], ...]

    def at_slice(self, k: int, affine: np.ndarray, shape: Sequence[int]) -> list[tuple[str, str]]:
        """The images that contain or enclose slice k, along the last index, of another volume."""
        corners = [[i, j, k, 1] for i in (0, shape[0] - 1) for j in (0, shape[1] - 1)]
        places = (np.linalg.inv(self.affine) @ affine @ np.array(corners, float).T)[2]
        first, last = np.floor(places.min() + 1e-3), np.ceil(places.max() - 1e-3)
        touched = self.images[max(int(first), 0) : max(int(last) + 1, 0)]
        return list(dict.fromkeys(touched))


@dataclass(frozen=True, eq=False, repr=False)
class Volume:
    """Values on a grid in the patient's space.

    Attributes:
        values: (I, J, K) in the scanner's units, or (I, J, K, 3) colours from 0 to 1.
        affine: (4, 4), from indices to millimetres in RAS.
        name: its name in messages.
        modality: DICOM's code for what it shows: "MR", "CT", "PT", "NM", ..., or "".
        source: the header that it was read with, for writing a volume like it.
        burned_in: whether pixels may show text, such as the name of the patient.
        origins: the DICOM images that it is made of, for each volume that was read.
        files: the files that it was read from.
        series, number: the series or number of the volume, if it was specified in `read_volume`.
        record: the text of the record of how it was made; see `ddfm.imaging.metadata.record`.
        stored_as: the type of the values in its file, such as "int16"; empty if unknown.
    """

    values: np.ndarray
    affine: np.ndarray
    name: str = "volume"
    modality: str = ""
    source: Any = None
    burned_in: bool = False
    origins: tuple[Origin, ...] = ()
    files: tuple[Path, ...] = ()
    series: int | None = None
    number: int | None = None
    record: str | None = None
    stored_as: str = ""

    def __post_init__(self) -> None:
        check_shape(self.values.shape, self.name)
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise InputError(f"{self.name}: its affine is not a 4 x 4 matrix of numbers")
        if np.abs(self.affine).max() > _FARTHEST or self.spacing.min() < _NEAREST:
            raise InputError(
                f"{self.name}: its affine is invalid: voxels are "
                f"{_listed(self.spacing)} mm apart, the first lies at {_listed(self.affine[:3, 3])}"
            )
        if abs(np.linalg.det(self.affine[:3, :3] / self.spacing)) < 1e-6:
            raise InputError(f"{self.name}: its affine maps all voxels onto a plane")

    def __repr__(self) -> str:
        return f"Volume({self.form}, {self.name})"

    @property
    def form(self) -> str:
        """Size, spacing, colour and depth in words."""
        size = " x ".join(map(str, self.shape))
        apart = " x ".join(f"{one:.3g}" for one in self.spacing)
        kind = "colour" if self.is_color else f"grey {self.values.dtype}"
        return f"{size} voxels of {apart} mm, {kind}"

    @property
    def is_color(self) -> bool:
        return self.values.ndim == 4

    @property
    def grey(self) -> np.ndarray:
        """The values; for colours, the mean of the channels."""
        return self.values.mean(3) if self.is_color else self.values

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.values.shape[:3]

    def stored(self) -> np.ndarray:
        """The values as files store them: colours as uint8."""
        if not self.is_color:
            return self.values
        return np.rint(np.clip(self.values, 0, 1) * 255).astype(np.uint8)

    @property
    def spacing(self) -> np.ndarray:
        """Millimetres between neighbouring voxels along each index."""
        with np.errstate(over="ignore"):
            return np.linalg.norm(self.affine[:3, :3], axis=0)


def _listed(numbers: np.ndarray) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers)


def check_shape(shape: Sequence[int], name: str) -> None:
    """Raise unless this is the shape of a grey or colour volume."""
    if 0 in shape:
        raise InputError(f"{name}: the volume is empty, its shape is {tuple(shape)}")
    if len(shape) == 3 or (len(shape) == 4 and shape[3] == 3):
        return
    hint = "; extract one of its volumes first" if len(shape) > 3 else ""
    raise InputError(f"{name}: a volume has 3 dimensions, not the shape {tuple(shape)}{hint}")


def corners(shape: Sequence[int]) -> np.ndarray:
    """Indices of the eight corners of a grid, up to one past the last, above a 1, (4, 8)."""
    return np.array([*product(*((0, side) for side in shape), (1,))], float).T


def same_grid(a: Volume, b: Volume) -> bool:
    """Whether both volumes have their voxels at the same places, to a hundredth of a voxel."""
    tolerance = 0.01 * min(a.spacing.min(), b.spacing.min())
    distance = np.abs((a.affine - b.affine) @ corners(a.shape)).max()
    return a.shape == b.shape and bool(distance <= tolerance)


def axes_of(volume: Volume) -> str:
    """Where each index proceeds to, as letters: R or L, A or P (front or back), S or I (up, down).

    "RAS" means that indices go to the patient's right, front and head.
    """
    index_of, direction = _orientation(volume.affine)
    letters = {index_of[w]: ("RAS", "LPI")[direction[w] < 0][w] for w in range(3)}
    return "".join(letters[index] for index in range(3))


@by_annotation
def find_axis(volume: Volume, axis: int | str | None = None) -> int:
    """The index (0, 1 or 2) along which slices are stacked.

    Args:
        volume: the volume.
        axis: such an index, or the plane of the slices, "axial", "coronal" or "sagittal", which
            gives the index nearest to it. None gives the index with the widest spacing, since
            slices across it are sharpest; if spacings are equal, that of axial slices.
    """
    index_of, _ = _orientation(volume.affine)
    if axis is None:
        spacing = volume.spacing
        widest = [w for w in (2, 1, 0) if spacing[index_of[w]] > 0.99 * spacing.max()]
        return index_of[widest[0]]
    check_axis(axis)
    return index_of[PLANES.index(str(axis))] if axis in PLANES else int(axis)


def check_axis(axis: int | str | None) -> None:
    """Raise what `find_axis` would raise."""
    if axis is not None and str(axis) not in (*_INDICES, *PLANES):
        raise unknown("axis", str(axis), [*PLANES, *_INDICES])


def slices(values: np.ndarray, affine: np.ndarray, axis: int) -> np.ndarray:
    """A view (slice, row, column, ...) of values on a grid; assigning to it changes the values.

    Slices proceed to the patient's right, front or head. Within a slice, rows proceed to the feet
    (in axial slices to the back), and columns to the left (in sagittal slices to the back), as on a
    light box.
    """
    order, steps = _layout(affine, axis)
    view = values.transpose(*order, *range(3, values.ndim))
    return view[tuple(slice(None, None, step) for step in steps)]


def rows_and_columns(affine: np.ndarray, axis: int) -> tuple[int, int]:
    """The indices of the grid along which the rows and columns of its slices are counted."""
    order, _ = _layout(affine, axis)
    return order[1], order[2]


def _layout(affine: np.ndarray, axis: int) -> tuple[list[int], list[int]]:
    """The indices for slices, rows and columns, and the direction of each, 1 or -1."""
    index_of, direction = _orientation(affine)
    stacked = index_of.index(axis)
    row, column = [world for world in (2, 1, 0) if world != stacked]
    order = [index_of[world] for world in (stacked, row, column)]
    return order, [direction[stacked], -direction[row], -direction[column]]


def _orientation(affine: np.ndarray) -> tuple[list[int], list[int]]:
    """For each world axis, the index nearest to it, and its direction along the axis, 1 or -1."""
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(permutations(range(3)), key=lambda p: sum(abs(cosines[w, p[w]]) for w in range(3)))
    return list(best), [1 if cosines[w, best[w]] >= 0 else -1 for w in range(3)]
