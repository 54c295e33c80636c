"""The transform from one picture to another: an object to save, invert, chain and apply.

Points are (x, y) in pixels; the centres of pixels are whole numbers. A transform knows the sizes of
both pictures, so that it also applies to other pairs of the same cameras, in any size: see
`Transform.at`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddfm.arguments import one_of
from ddfm.errors import InputError
from ddfm.registration.field import checked_field, displacements
from ddfm.storage.files import write_json
from ddfm.storage.inputs import json_object, read_text

__all__ = [
    "ALIGN",
    "FLOW",
    "MODELS",
    "Size",
    "Transform",
    "common_transform",
    "fitted",
    "load_transforms",
    "save_transforms",
]

# Each model adds to the one before: position; turn and size; stretch and shear; perspective.
MODELS = ("none", "shift", "similarity", "affine", "homography")
FLOW = "flow"  # one of these models, with a field on top of it
ALIGN = ("none", "auto", "once", *MODELS[1:], FLOW)  # values of the setting `align`
ROUNDS = 20  # iterations of the inversion of a field
LARGEST = 1e100  # numbers of a matrix, so that its determinant is finite
LONGEST = 10**7  # greatest side of a picture in pixels that a file may specify
FORMAT = "ddfm transform 1"
FORMAT_OF_SEVERAL = "ddfm transforms 1"

Size = tuple[int, int]  # height, width


@dataclass(frozen=True, eq=False)
class Transform:
    """From the moving picture to the fixed one.

    Attributes:
        matrix: (3, 3), for homogeneous points: fixed ~ matrix @ (x, y, 1) of the moving picture.
        moving: size of the picture that is moved, (height, width).
        fixed: size of the picture that it is aligned to.
        model: the smallest of `MODELS` that it belongs to, where "none" is `Transform.framed`;
            "flow" if there is a field.
        field: displacements of the fixed picture (`ddfm.registration.field`): a point that the
            matrix maps to x + field(x) belongs at x. A field is valid for one pair, and cannot be
            inverted.
    """

    matrix: np.ndarray
    moving: Size
    fixed: Size
    model: str = "homography"
    field: np.ndarray | None = None

    def __post_init__(self) -> None:
        one_of("model of a transform", self.model, MODELS if self.field is None else (FLOW,))
        if self.field is not None:
            object.__setattr__(self, "field", checked_field(self.field, self.fixed))
        matrix = np.array(self.matrix, np.float64)
        if matrix.shape != (3, 3) or not (np.abs(matrix) < LARGEST).all():  # nor is NaN
            raise InputError("a transform must be a matrix of 3 x 3 finite numbers")
        if not _in_front(matrix, self.moving) or abs(np.linalg.det(matrix)) < 1e-12:
            raise InputError("a transform must map the whole picture, and have an inverse")
        object.__setattr__(self, "matrix", matrix / matrix[2, 2])

    @classmethod
    def framed(cls, moving: Size, fixed: Size) -> Transform:
        """The transform of pictures with the same field of view: a change of size and no more."""
        return cls(_scaling(moving, fixed), moving, fixed, "none")

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Where points (N, 2) of the moving picture lie in the fixed one."""
        ahead = np.c_[points, np.ones(len(points))] @ self.matrix.T
        mapped: np.ndarray = ahead[:, :2] / ahead[:, 2:]
        if self.field is None:
            return mapped
        moved = mapped
        for _ in range(ROUNDS):
            moved = mapped - displacements(self.field, self.fixed, moved)
        return moved

    def inverse(self) -> Transform:
        """From the fixed picture to the moving one."""
        self._check_no_field()
        return Transform(np.linalg.inv(self.matrix), self.fixed, self.moving, self.model)

    def then(self, other: Transform) -> Transform:
        """The transform that applies this one first, and then the other one."""
        if self.fixed != other.moving:
            raise InputError(
                f"a transform to pictures of {_words(self.fixed)} pixels cannot be followed by one "
                f"from {_words(other.moving)}"
            )
        self._check_no_field()
        other._check_no_field()
        model = max(self.model, other.model, key=MODELS.index)
        return Transform(other.matrix @ self.matrix, self.moving, other.fixed, model)

    def at(self, moving: Size, fixed: Size) -> Transform:
        """The same transform for pictures with the same fields of view in other sizes."""
        if (moving, fixed) == (self.moving, self.fixed):
            return self
        matrix = _scaling(self.fixed, fixed) @ self.matrix @ _scaling(moving, self.moving)
        field = self.field
        if field is not None:
            field = field * [fixed[1] / self.fixed[1], fixed[0] / self.fixed[0]]
        return Transform(matrix, moving, fixed, self.model, field)

    def distance(self, other: Transform) -> float:
        """Mean distance in pixels between the moving picture's corners under two transforms."""
        return float(np.linalg.norm(self._corners() - other._corners(), axis=1).mean())

    @property
    def moves(self) -> float:
        """By how many pixels, on average, points are moved in addition to a change of size."""
        y, x = np.mgrid[:5, :5].reshape(2, -1) / 4
        points = np.c_[x * (self.moving[1] - 1), y * (self.moving[0] - 1)]
        framed = Transform.framed(self.moving, self.fixed)
        return float(np.linalg.norm(self(points) - framed(points), axis=1).mean())

    @property
    def offset(self) -> tuple[float, float]:
        """By how many pixels to the right and down the centre is moved."""
        height, width = self.moving
        centre = np.array([[(width - 1) / 2, (height - 1) / 2]])
        x, y = (self(centre) - Transform.framed(self.moving, self.fixed)(centre))[0]
        return float(x), float(y)

    @property
    def turn_and_size(self) -> tuple[float, float]:
        """The clockwise turn in degrees, and the factor of size on top of `Transform.framed`."""
        m = (self.matrix @ np.linalg.inv(Transform.framed(self.moving, self.fixed).matrix))[:2, :2]
        degrees = np.rad2deg(np.arctan2(m[1, 0] - m[0, 1], m[0, 0] + m[1, 1]))
        return float(degrees), float(np.sqrt(abs(np.linalg.det(m))))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        about = {
            "format": FORMAT,
            "model": self.model,
            "matrix": self.matrix.tolist(),
            "moving": list(self.moving),
            "fixed": list(self.fixed),
        }
        return about if self.field is None else about | {"field": self.field.round(3).tolist()}

    @classmethod
    def from_dict(cls, entry: Any, name: str = "the transform") -> Transform:
        """The transform from a dictionary made by `to_dict`."""
        try:
            if not isinstance(entry, Mapping) or entry["format"] != FORMAT:
                raise ValueError
            moving, fixed = ((int(h), int(w)) for h, w in (entry["moving"], entry["fixed"]))
            if min(*moving, *fixed) < 1 or max(*moving, *fixed) > LONGEST:
                raise ValueError
            matrix = np.array(entry["matrix"], np.float64)
            field = None if "field" not in entry else np.array(entry["field"], np.float64)
        except (TypeError, KeyError, ValueError, OverflowError):
            raise InputError(f"{name} is not a transform that ddfm wrote") from None
        return cls(matrix, moving, fixed, str(entry.get("model", "homography")), field)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the transform as JSON, atomically."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Transform:
        """Reads a transform that `save` wrote."""
        return cls.from_dict(json_object(read_text(path), str(path)), str(path))

    def _corners(self) -> np.ndarray:
        return self(_corners(self.moving))

    def _check_no_field(self) -> None:
        if self.field is not None:
            raise InputError("a transform with a field can be neither inverted nor chained")


def load_transforms(path: str | os.PathLike[str]) -> Transform | list[Transform | None]:
    """The transform of a pair, or those of several sources, as `save_transforms` wrote them."""
    entry = json_object(read_text(path), str(path))
    if entry.get("format") != FORMAT_OF_SEVERAL:
        return Transform.from_dict(entry, str(path))
    each = entry.get("transforms")
    if not isinstance(each, list):
        raise InputError(f"{path} is not a transform that ddfm wrote")
    return [None if one is None else Transform.from_dict(one, str(path)) for one in each]


def save_transforms(
    transforms: Transform | Sequence[Transform | None], path: str | os.PathLike[str]
) -> None:
    """Writes the transform of a pair, or one for each of several sources, as JSON.

    None is of the source that the others are aligned to.
    """
    if isinstance(transforms, Transform):
        write_json(path, transforms.to_dict())
        return
    each = [None if one is None else one.to_dict() for one in transforms]
    write_json(path, {"format": FORMAT_OF_SEVERAL, "transforms": each})


def common_transform(transforms: Sequence[Transform]) -> Transform:
    """The transform that most of these agree on, by the median position of each corner.

    They must belong to one pair of cameras. The result has the sizes of the first; a few wrong
    transforms do not matter.
    """
    if not transforms:
        raise InputError("no pair could be aligned with certainty, so there is no common transform")
    first = transforms[0]
    moved = [t.at(first.moving, first.fixed)._corners() for t in transforms]
    model = max((t.model for t in transforms), key=MODELS.index)
    return fitted(
        _corners(first.moving), np.median(moved, axis=0), first.moving, first.fixed, model
    )


def fitted(
    points: np.ndarray, moved: np.ndarray, moving: Size, fixed: Size, model: str
) -> Transform:
    """The transform of a model that maps points (N, 2) as close as possible to `moved` (N, 2)."""
    framed = Transform.framed(moving, fixed)
    x, y = framed(points).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    u, v = moved[:, 0], moved[:, 1]
    # Each row holds the coefficients of the unknowns in one linear equation for u or v.
    if model in ("none", "shift"):
        shift = (moved - framed(points)).mean(0) if model == "shift" else np.zeros(2)
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]])
    elif model == "similarity":
        rows = np.r_[np.c_[x, -y, one, zero], np.c_[y, x, zero, one]]
        a, b, c, d = np.linalg.lstsq(rows, np.r_[u, v], rcond=None)[0]
        matrix = np.array([[a, -b, c], [b, a, d], [0, 0, 1.0]])
    elif model == "affine":
        rows = np.c_[x, y, one]
        matrix = np.r_[np.linalg.lstsq(rows, np.c_[u, v], rcond=None)[0].T, [[0, 0, 1.0]]]
    else:
        side = float(max(fixed))  # scaling makes the system well-conditioned
        x, y, u, v = x / side, y / side, u / side, v / side
        rows = np.r_[
            np.c_[x, y, one, zero, zero, zero, -u * x, -u * y],
            np.c_[zero, zero, zero, x, y, one, -v * x, -v * y],
        ]
        sides = np.diag([side, side, 1.0])
        found = np.linalg.lstsq(rows, np.r_[u, v], rcond=None)[0]
        matrix = sides @ np.r_[found, 1.0].reshape(3, 3) @ np.linalg.inv(sides)
    return Transform(matrix @ framed.matrix, moving, fixed, model)


def _corners(size: Size) -> np.ndarray:
    bottom, right = size[0] - 1.0, size[1] - 1.0
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]])


def _scaling(of: Size, to: Size) -> np.ndarray:
    """The matrix from pixels of one size to those of another, with the same borders."""
    down, across = to[0] / of[0], to[1] / of[1]
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1.0]])


def _in_front(matrix: np.ndarray, size: Size) -> bool:
    """Whether no point of the picture is mapped to infinity or beyond."""
    depth = np.c_[_corners(size), np.ones(4)] @ matrix[2]
    return bool((depth * np.sign(matrix[2, 2]) > 1e-9).all())


def _words(size: Size) -> str:
    return f"{size[1]} x {size[0]}"
