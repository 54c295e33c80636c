"""Reads tables of numbers as pictures: NPY, as scripts write it, and CSV, as camera programs do.

CSV may begin with lines of text. Its numbers may be separated by commas, semicolons or tabs; with
the latter two, or in quotes, they may have decimal commas. Cells that are not numbers become
invalid pixels. A first row or column that counts from 0 or 1 is left out.
"""

from __future__ import annotations

import csv
from math import prod
from pathlib import Path

import numpy as np

from ddfm.errors import InputError
from ddfm.imaging.picture import Picture, from_array
from ddfm.storage.budget import ask_pixels
from ddfm.storage.inputs import BoundedFile, read_text

__all__ = ["TABLES", "read_table"]

TABLES = (".npy", ".csv", ".tsv")
COUNTED = 16  # least rows or columns whose numbers are recognised


def read_table(path: Path, name: str) -> Picture:
    """The picture in a file with one of the suffixes in `TABLES`."""
    if path.suffix.lower() == ".npy":
        return from_array(_npy(path, name), name)
    return from_array(_without_numbers(_csv(read_text(path, any_encoding=True), name)), name)


def _npy(path: Path, name: str) -> np.ndarray:
    with BoundedFile(path) as file:
        version = np.lib.format.read_magic(file)
        read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
        shape, _, dtype = read(file)
        if dtype.hasobject or len(shape) not in (2, 3):
            raise InputError(f"{name} is not a picture: its numbers must be (H, W) or (H, W, C)")
        needed = prod(shape) * dtype.itemsize
        if needed > file.length:
            raise InputError(f"{name} is truncated: its header announces {shape} numbers")
        ask_pixels(shape[1], shape[0], name, 3 * needed, file.length)
        file.seek(0)
        return np.load(file, allow_pickle=False)


def _csv(text: str, name: str) -> np.ndarray:
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip(" ")]
    between = max("\t;,", key=lambda sign: sum(sign in line for line in lines))
    rows = [list(map(_number, _cells(line, between))) for line in lines]
    # Lines before and after the table are notes of the program that wrote it.
    numeric = [k for k, row in enumerate(rows) if 2 * row[: _used(row)].count(None) < _used(row)]
    widths = [len(rows[k]) for k in numeric]
    width = max(set(widths), key=widths.count, default=0)
    ends = [k for k in numeric if len(rows[k]) == width] or [0]
    if odd := [k for k in numeric if ends[0] < k < ends[-1] and len(rows[k]) != width]:
        raise InputError(
            f"{name} is damaged: within its table, a row of {len(rows[odd[0]])} cells follows rows "
            f"of {width}"
        )
    # Rows in between belong to the table even if most of their cells are empty, as in a mask.
    table = [row for row in rows[ends[0] : ends[-1] + 1] if len(row) == width]
    used = max(map(_used, table), default=0)  # separators may follow, as spreadsheets add them
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is invalid, too
        array = np.array([row[:used] for row in table], np.float32)  # None becomes NaN
    if array.ndim != 2 or min(array.shape) < 2:
        raise InputError(f"{name} is not a table of numbers, such as temperatures, row by row")
    return array


def _cells(line: str, between: str) -> list[str]:
    return next(csv.reader([line], delimiter=between, skipinitialspace=True))


def _used(row: list[float | None]) -> int:
    """The number of cells of a row up to its last number, or NaN."""
    return max((k for k, cell in enumerate(row, 1) if cell is not None), default=0)


def _number(cell: str) -> float | None:
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return None


def _without_numbers(table: np.ndarray) -> np.ndarray:
    """The table without a first row and a first column that only number the others."""
    for _ in range(2):
        if _counts(table[0]) and not _counts(table[1]):
            table = table[1:]
        table = table.T
    return table


def _counts(line: np.ndarray) -> bool:
    """Whether these are 0, 1, 2, ... or 1, 2, 3, ..., where the first cell may be empty."""
    line = line[1:] if np.isnan(line[0]) else line
    return len(line) >= COUNTED and np.array_equal(line, np.arange(len(line)) + (line[0] == 1))
