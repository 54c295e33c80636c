#!/usr/bin/env python3
"""How well pairs are aligned: known transforms are applied to pairs, and estimated again.

    python benchmarks/alignment.py DIR... [--moving ir --fixed vi] [--every N] [--model auto]

Each DIR has two folders of images that form pairs by name. The moving image is warped by a random
transform of each kind, and cropped to what remains of its frame; then the transform is estimated.
An error is the mean distance of the four corners, in pixels of the fixed image.

There are two kinds of ground truth. "nominal" assumes that the original pairs are registered. Many
are not, by some pixels, so points of some pairs were marked by eye (correspondences.toml): "marked"
is the mean distance there, which includes about a pixel of error of the eye itself. With --own,
"nominal" is relative to what the same method finds on the original pair: this measures how
consistent a method is, regardless of its error there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ddfm.imaging.pairing import find_pairs
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import grey
from ddfm.registration.align import Alignment, align, check
from ddfm.registration.transform import Size, Transform, fitted
from ddfm.registration.warp import common_box, warped_plane
from ddfm.storage.inputs import toml_table

KINDS = ("none", "shift", "similarity", "field", "affine", "homography", "wrong")
MODEL = {"field": "similarity", "none": "homography", "wrong": "homography"}
SHIFT, TURN, SCALE, FIELD, CORNER = 40.0, 5.0, 1.1, (0.7, 1.4), 0.05
CLOSE, SURE = 3.0, 5.0  # pixels
MARKS = Path(__file__).with_name("correspondences.toml")

Pair = tuple[str, np.ndarray, np.ndarray]  # name, fixed, moving
Method = Callable[[np.ndarray, np.ndarray, str], Alignment]


@dataclass
class Row:
    """One pair under one transform, by one method."""

    kind: str
    method: str
    nominal: float
    marked: float | None
    sure: bool
    off: bool
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--moving", default="ir")
    parser.add_argument("--fixed", default="vi")
    parser.add_argument("--every", type=int, default=1, help="use only every Nth pair")
    parser.add_argument("--first", type=int, default=0, help="index of the first pair")
    parser.add_argument("--marked", action="store_true", help="use only pairs with marks")
    parser.add_argument("--own", action="store_true", help="compare with the original pair")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    how = parser.parse_args()
    torch.set_num_threads(1)
    for folder in how.folders:
        marks = toml_table(MARKS).get(folder.name, {})
        pairs = list(pairs_in(folder, how.moving, how.fixed, slice(how.first, None, how.every)))
        if how.marked:
            pairs = [pair for pair in pairs if pair[0] in marks]
        print(f"\n{folder.name}: {len(pairs)} pairs\n")
        print("| transform | method | nominal px | < 3 | marked px | < 3 | sure | sure: < 5 | s |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for method in how.methods:
            for kind in how.kinds:
                rows = list(_rows(pairs, kind, method, how, marks))
                print(_line(kind, method, rows), flush=True)
    return 0


def pairs_in(folder: Path, moving: str, fixed: str, which: slice) -> Iterator[Pair]:
    """The pairs of two subfolders, in grey."""
    for pair in find_pairs(folder / moving, folder / fixed).pairs[which]:
        a, b = (grey(read_image(path)) for path in pair.files)
        yield pair.name, b, a


def _rows(
    pairs: list[Pair],
    kind: str,
    method: str,
    how: argparse.Namespace,
    marks: dict[str, list[list[float]]],
) -> Iterator[Row]:
    rng, find, model = np.random.default_rng(how.seed), METHODS[method], MODEL.get(kind, kind)
    for k, (name, fixed, moving) in enumerate(pairs):
        if kind == "wrong":
            moving = _cut_like(pairs[(k + len(pairs) // 2) % len(pairs)][2], fixed)
        case = disturbed(fixed, moving, put_on(_size(fixed), kind, rng))
        begin = time.process_time()
        found = find(case.fixed, case.moving, model)
        seconds = time.process_time() - begin
        truth = case.truth(find(fixed, moving, model).transform if how.own else None)
        error = found.transform.distance(truth)
        known = name in marks and kind != "wrong"
        marked = case.at_marks(found.transform, np.array(marks[name])) if known else None
        yield Row(kind, method, error, marked, found.sure, found.is_off, seconds)


@dataclass
class Case:
    """A misaligned pair, and the way back."""

    fixed: np.ndarray
    moving: np.ndarray
    undo: Transform  # from the moving image to its original position
    cut: Transform  # from the fixed image to the part that is used

    def truth(self, lay: Transform | None = None) -> Transform:
        """The transform to be found, if the pair was registered before, or as `lay` describes."""
        return (self.undo if lay is None else self.undo.then(lay)).then(self.cut)

    def at_marks(self, found: Transform, marks: np.ndarray) -> float:
        """The mean distance at marks (N, 4): x and y in the fixed and in the moving image."""
        there = found(self.undo.inverse()(marks[:, 2:]))
        return float(np.linalg.norm(there - self.cut(marks[:, :2]), axis=1).mean())


def put_on(size: Size, kind: str, rng: np.random.Generator) -> Transform:
    """A random transform of a kind."""
    h, w = size
    shift = rng.uniform(-SHIFT, SHIFT, 2)
    turn, scale = np.deg2rad(rng.uniform(-TURN, TURN)), SCALE ** rng.uniform(-1, 1)
    field = float(np.exp(rng.uniform(*np.log(FIELD))))
    corners = rng.uniform(-CORNER, CORNER, (4, 2)) * [w, h]
    ends = np.array([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]], float)
    middle = ends.mean(0)
    if kind in ("none", "wrong"):
        moved = ends
    elif kind == "shift":
        moved = ends + shift
    elif kind in ("affine", "homography"):
        moved = ends + corners
    else:
        angle, size_of = (turn, scale) if kind == "similarity" else (0.0, field)
        cos, sin = np.cos(angle) * size_of, np.sin(angle) * size_of
        moved = (ends - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle + shift / 2
    return fitted(ends, moved, size, size, MODEL.get(kind, kind))


def disturbed(fixed: np.ndarray, moving: np.ndarray, by: Transform) -> Case:
    """The moving image under a transform; both images are cropped to what it then covers."""
    size = _size(fixed)
    warped, inside = warped_plane(_plane(moving), by.matrix, size, mode="bicubic")
    top, bottom, left, right = common_box([inside.numpy()])
    here = (slice(top, bottom), slice(left, right))
    corner = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1.0]])
    cut = Transform(corner, size, (bottom - top, right - left))
    undo = cut.inverse().then(by.inverse())
    return Case(fixed[here], warped[0].numpy()[here], undo, cut)


def _cut_like(image: np.ndarray, like: np.ndarray) -> np.ndarray:
    framed = Transform.framed(_size(image), _size(like))
    return warped_plane(_plane(image), framed.matrix, _size(like))[0][0].numpy()


def _plane(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image, np.float32))[None]


def _checked(fixed: np.ndarray, moving: np.ndarray, model: str) -> Alignment:
    return check(fixed, moving)


def _auto(fixed: np.ndarray, moving: np.ndarray, model: str) -> Alignment:
    return align(fixed, moving, "auto")


METHODS: dict[str, Method] = {"check": _checked, "auto": _auto, "align": align}


def _line(kind: str, method: str, rows: list[Row]) -> str:
    nominal = np.array([row.nominal for row in rows])
    marked = np.array([row.marked for row in rows if row.marked is not None])
    sure = [row for row in rows if row.sure]
    errors = [row.nominal if row.marked is None else row.marked for row in sure]
    cells = [kind, method, *_errors(nominal), *_errors(marked)]
    cells += [_share(row.sure for row in rows), _share(error < SURE for error in errors)]
    cells += [f"{np.mean([row.seconds for row in rows]):.2f}"]
    if method == "check":
        named = "alarms" if kind == "none" else "named off"
        cells[0] += f" ({named} {_share(row.off for row in rows)})"
    return "| " + " | ".join(cells) + " |"


def _errors(errors: np.ndarray) -> tuple[str, str]:
    if not errors.size:
        return "-", "-"
    return f"{np.median(errors):.2f}", f"{np.mean(errors < CLOSE):.0%}"


def _share(some: Iterable[bool]) -> str:
    values = list(some)
    return f"{np.mean(values):.0%}" if values else "-"


def _size(image: np.ndarray) -> Size:
    return image.shape[0], image.shape[1]


if __name__ == "__main__":
    sys.exit(main())
