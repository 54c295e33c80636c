"""The geographic position of a picture: the tags of GeoTIFF, updated when the pixel grid changes.

The tags map points of the raster to a coordinate system, by a scale and one point, by a matrix, or
by several points (OGC GeoTIFF 1.1, section 7). When the picture is cropped, resized or turned, they
are converted to the new grid, so that every pixel keeps its coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from ddfm.errors import InputError
from ddfm.imaging.formats.tags import ASCII, DOUBLE, SHORT, Directory, Entry

__all__ = ["GEO_TAGS", "Geo", "geo_in", "turned"]

Size = tuple[int, int]  # height, width

SCALE, POINTS, MATRIX, NODATA = 33550, 33922, 34264, 42113
KEYS, NUMBERS, TEXTS = 34735, 34736, 34737  # the keys, and their values that are no short integers
GEO_TAGS = frozenset((SCALE, POINTS, MATRIX, KEYS, NUMBERS, TEXTS, NODATA))
FARTHEST = 1e12  # largest coordinate that is believed, in any unit
_RASTER_TYPE, _IS_POINT = 1025, 2  # a key, and its value if pixels are points, not areas
_MODEL = 1024  # a key, whose value is 1 for projected and 2 for geographic systems
_CODES: dict[int | str, int] = {1: 3072, 2: 2048}  # the key of the code that EPSG gives them
_NAMES: dict[int | str, tuple[int, ...]] = {1: (1026, 3073), 2: (1026, 2049)}  # of texts
_OF_ITS_OWN = 32767  # instead of a code of EPSG
_NAMELESS = ("", "unknown", "unnamed")  # what GDAL writes for a name that it does not know
_LONGEST = 80  # characters of a name


@dataclass(frozen=True, eq=False)
class Geo:
    """The coordinate system of a picture, the place of its grid there, and its nodata value.

    Attributes:
        system: the keys of the coordinate system, as stored.
        points: (N, 6): x, y, z in the raster, then X, Y, Z in the coordinate system.
        matrix: (4, 4), from the raster to the coordinate system; None if only points are given.
        nodata: the value that marks pixels without data, as text.
    """

    system: Directory
    points: np.ndarray
    matrix: np.ndarray | None
    nodata: str | None

    @property
    def is_placed(self) -> bool:
        return self.matrix is not None or len(self.points) > 0

    def on_grid(self, change: np.ndarray) -> Geo:
        """The same on another grid, where point (x, y) of this one is at change @ (x, y, 1).

        Args:
            change: (3, 3), for coordinates that count from the corners of pixels.
        """
        if self._counts_centres:
            half = _shift(0.5, 0.5)
            change = np.linalg.inv(half) @ change @ half
        points = self.points.copy()
        points[:, :2] = (np.c_[points[:, :2], np.ones(len(points))] @ change.T)[:, :2]
        matrix = self.matrix
        if matrix is not None:
            whole = np.eye(4)
            whole[np.ix_([0, 1, 3], [0, 1, 3])] = change
            matrix = matrix @ np.linalg.inv(whole)
        return replace(self, points=points, matrix=matrix)

    def cropped(self, top: int, left: int) -> Geo:
        """The position of the part of the picture that begins at row `top`, column `left`."""
        return self.on_grid(_shift(-left, -top))

    def resized(self, of: Size, to: Size) -> Geo:
        """The position of the same field, border to border, at another size."""
        return self.on_grid(np.diag([to[1] / of[1], to[0] / of[0], 1.0]))

    @property
    def code(self) -> int | None:
        """The code of EPSG for the coordinate system; None if it has none."""
        keys = self._keys
        code = keys.get(_CODES.get(keys.get(_MODEL, 0), 0))
        return code if isinstance(code, int) and 0 < code < _OF_ITS_OWN else None

    @property
    def called(self) -> str:
        """The coordinate system in words."""
        keys = self._keys
        texts = [str(keys.get(key, "")) for key in _NAMES.get(keys.get(_MODEL, 0), ())]
        name = next((text for text in texts if text.lower() not in _NAMELESS), "")[:_LONGEST]
        if self.code is None:
            return name or "a system without a name"
        return f"EPSG:{self.code}" + (f" ({name})" if name else "")

    def shares_system(self, other: Geo) -> bool | None:
        """Whether both have the same coordinate system; None if neither code nor keys tell."""
        if self.code is not None and other.code is not None:
            return self.code == other.code
        if self.system.get(KEYS) != other.system.get(KEYS):
            return None
        return self.system.get(NUMBERS) == other.system.get(NUMBERS)

    @np.errstate(over="ignore", invalid="ignore")  # a damaged file may hold any numbers
    def apart(self, other: Geo, size: Size) -> float:
        """How far apart two positions place the corners of a grid, in pixels; at most, of all four.

        Numbers are compared, as of one system. 0 if it is unknown whether the coordinate systems
        differ, or if either position is given only by points.
        """
        a, b = self._of_corners, other._of_corners
        unknown = self.shares_system(other) is None
        if a is None or b is None or unknown or not np.linalg.det(b[:2, :2]):
            return 0.0
        corners = np.array([(x, y) for x in (0, size[1]) for y in (0, size[0])], float).T
        places = a[:2, :2] @ corners + a[:2, 3:]
        back = np.linalg.solve(b[:2, :2], places - b[:2, 3:])
        return float(np.hypot(*(back - corners)).max())

    def entries(self, dtype: np.dtype) -> Directory:
        """The tags for a TIFF file with samples of this type.

        A scale and a point are written where they suffice, otherwise a matrix.
        """
        tags = dict(self.system)
        matrix = self.matrix
        if matrix is not None:
            across, down = matrix[0, 0], -matrix[1, 1]
            plain = np.diag([across, -down, matrix[2, 2], 1.0])
            plain[:3, 3] = matrix[:3, 3]
            if across > 0 and down > 0 and np.array_equal(plain, matrix):
                tags[SCALE] = Entry.of(DOUBLE, across, down, abs(matrix[2, 2]))
                tags[POINTS] = Entry.of(DOUBLE, 0, 0, 0, *matrix[:3, 3])
            else:
                tags[MATRIX] = Entry.of(DOUBLE, *matrix.ravel())
        elif len(self.points):
            tags[POINTS] = Entry.of(DOUBLE, *self.points.ravel())
        if self.nodata is not None and self.nodata_for(dtype) is not None:
            tags[NODATA] = Entry(ASCII, self.nodata.encode("ascii", "replace") + b"\0")
        return tags

    def nodata_for(self, dtype: np.dtype) -> float | None:
        """The nodata value, if there is one, and samples of this type can have it."""
        try:
            value = float(self.nodata or "")
        except ValueError:
            return None
        if dtype.kind == "u":
            return value if value in range(np.iinfo(dtype).max + 1) else None
        with np.errstate(over="ignore"):
            found = float(dtype.type(value))
        return None if math.isinf(found) else found

    @property
    def _keys(self) -> dict[int, int | str]:
        """The keys of the coordinate system whose values are short integers or texts."""
        entry = self.system.get(KEYS)
        numbers = [int(n) for n in entry.numbers] if entry and entry.kind == SHORT else []
        texts = self.system[TEXTS].data.decode("latin-1") if TEXTS in self.system else ""
        found: dict[int, int | str] = {}
        for at in range(4, len(numbers) - 3, 4):
            key, place, count, value = numbers[at : at + 4]
            if place == 0:
                found[key] = value
            elif place == TEXTS:
                found[key] = texts[value : value + count].rstrip("|\0").strip()
        return found

    @property
    def _counts_centres(self) -> bool:
        return self._keys.get(_RASTER_TYPE) == _IS_POINT

    @property
    def _of_corners(self) -> np.ndarray | None:
        """The matrix for raster coordinates that count from the corners of pixels."""
        if self.matrix is None or not self._counts_centres:
            return self.matrix
        half = np.eye(4)
        half[:2, 3] = -0.5
        return self.matrix @ half


def geo_in(directory: Directory) -> Geo | None:
    """The position and nodata value from the tags of a page; None if they give neither."""
    system = {
        tag: directory[tag]
        for tag in GEO_TAGS - {SCALE, POINTS, MATRIX, NODATA}
        if tag in directory
    }
    numbers = {
        tag: np.array(directory[tag].numbers, float)
        for tag in (SCALE, POINTS, MATRIX)
        if tag in directory
    }
    if not all((np.abs(each) <= FARTHEST).all() for each in numbers.values()):
        raise InputError("its coordinates are damaged")
    flat = numbers.get(POINTS, np.empty(0))
    points = flat[: len(flat) // 6 * 6].reshape(-1, 6)
    matrix = _matrix_in(numbers, points)
    if matrix is not None:
        points = np.empty((0, 6))
        if not system and np.array_equal(matrix, np.diag([1, 1, 0, 1])):
            matrix = None  # numbers of pixels, which some programs write if they know no place
    nodata = directory[NODATA].text if NODATA in directory else None
    geo = Geo(system, points, matrix, nodata)
    return geo if geo.is_placed or nodata is not None else None


def _matrix_in(numbers: dict[int, np.ndarray], points: np.ndarray) -> np.ndarray | None:
    """The matrix (4, 4) that is given, or that a scale and the first point are; else None."""
    given, scale = numbers.get(MATRIX, np.empty(0)), numbers.get(SCALE, np.empty(0))
    if len(given) == 16:
        return given.reshape(4, 4)
    if len(scale) < 2 or not len(points):
        return None
    depth = scale[2] if len(scale) > 2 else 0.0
    matrix = np.diag([scale[0], -scale[1], depth, 1.0])
    x, y, z, *place = points[0]
    matrix[:3, 3] = np.array(place) - matrix[:3, :3] @ (x, y, z)
    return matrix


def turned(size: Size, orientation: int) -> np.ndarray:
    """The change of grid, (3, 3) as for `Geo.on_grid`, when a picture is turned upright.

    Args:
        size: height and width as stored.
        orientation: of EXIF or TIFF; the steps are those of `ddfm.imaging.picture.orient`.
    """
    height, width = (size[1], size[0]) if orientation in (5, 6, 7, 8) else size
    steps = {
        (5, 6, 7, 8): np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]]),
        (2, 3, 6, 7): np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1.0]]),
        (3, 4, 7, 8): np.array([[1, 0, 0], [0, -1, height], [0, 0, 1.0]]),
    }
    taken = [step for when, step in steps.items() if orientation in when]
    return reduce(lambda done, step: step @ done, taken, np.eye(3))


def _shift(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])
