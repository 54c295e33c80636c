"""Boxes, annotated or detected, and how much they overlap."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ddfm.errors import DdfmError, InputError
from ddfm.storage.inputs import existing_file

__all__ = ["Annotated", "Array", "Box", "Corners", "corners", "overlaps", "read_boxes"]

Array: TypeAlias = NDArray[Any]
Corners: TypeAlias = tuple[float, float, float, float]
LARGEST = 1e6  # pixels; no picture is as wide
COLUMNS = ("pair", "class", "x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Box:
    """An object in an image: its class, corners (x0, y0, x1, y1) in pixels, and score."""

    kind: str
    corners: Corners
    score: float = 1.0


@dataclass(frozen=True)
class Annotated:
    """The annotated boxes.

    Attributes:
        boxes: the boxes by the name of the pair.
        groups: groups such as day and night, by the name of the pair; pairs without one are
            missing.
    """

    boxes: dict[str, list[Box]]
    groups: dict[str, str]

    @property
    def kinds(self) -> list[str]:
        """All classes that were annotated."""
        return sorted({box.kind for some in self.boxes.values() for box in some})


def read_boxes(path: Path, on: tuple[str, ...] = ("fusion",)) -> Annotated:
    """Read a CSV file with the columns pair, class, x0, y0, x1, y1, in pixels.

    A column `group` assigns pairs to groups, such as day and night. A column `annotated_on` names
    the image in which a box was seen; then only boxes seen in one of `on` count. Names as in MSRS,
    a number followed by D or N, are assigned to day and night without a column.
    """
    boxes: dict[str, list[Box]] = {}
    groups: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 2):
        if line.get("annotated_on", on[0]) not in on:
            continue
        if any(line[key] is None for key in COLUMNS):
            raise InputError(f"{path}, line {number}: it has fewer cells than there are columns")
        name = line["pair"]
        try:
            x0, y0, x1, y1 = (float(line[key]) for key in COLUMNS[2:])
        except ValueError:
            raise InputError(f"{path}, line {number}: x0, y0, x1, y1 must be numbers") from None
        if not (-LARGEST < x0 < x1 < LARGEST and -LARGEST < y0 < y1 < LARGEST):
            raise InputError(
                f"{path}, line {number}: the box from {x0:g}, {y0:g} to {x1:g}, {y1:g} is empty, "
                "or too large"
            )
        boxes.setdefault(name, []).append(Box(line["class"], (x0, y0, x1, y1)))
        group = line.get("group") or _of_msrs(name)
        if group:
            groups[name] = group
    if not boxes:
        raise InputError(f"{path}: holds no boxes, or none whose annotated_on is {' or '.join(on)}")
    return Annotated(boxes, groups)


def corners(values: Iterable[float]) -> Corners:
    """Four numbers of any type as floats x0, y0, x1, y1."""
    x0, y0, x1, y1 = map(float, values)
    return x0, y0, x1, y1


def overlaps(boxes: Iterable[Box], others: Iterable[Box]) -> Array:
    """The intersection over union of each box with each of the others."""
    a = np.array([box.corners for box in boxes]).reshape(-1, 1, 4)
    b = np.array([box.corners for box in others]).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both: Array = sides.clip(0).prod(-1)
    areas = [(some[..., 2:] - some[..., :2]).prod(-1) for some in (a, b)]
    return both / np.maximum(areas[0] + areas[1] - both, 1e-12)


def _lines(path: Path) -> list[dict[str, str]]:
    try:
        with open(existing_file(path), newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except DdfmError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    missing = [name for name in COLUMNS if not lines or name not in lines[0]]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]}; it needs {', '.join(COLUMNS)}")
    return lines


def _of_msrs(name: str) -> str:
    return {"D": "day", "N": "night"}.get(name[-1:], "") if name[:-1].isdigit() else ""
