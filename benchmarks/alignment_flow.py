#!/usr/bin/env python3
"""How well `--align flow` recovers smooth displacement fields applied to registered pairs.

    python benchmarks/alignment_flow.py RoadScene [--every 2 --first 1] [--pixels 0 3 5 8]

Each infrared image is displaced by a random cubic B-spline with 6 x 8 control points, by the given
root mean square in pixels, and aligned with the visible one, by "auto" and by "flow". An error is
the mean distance from the original position, over all pixels except a margin of 5 % at each side.
The pairs themselves are misaligned by a pixel or so; the rows for 0 pixels show by how much.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from alignment import pairs_in
from ddfm.registration.align import align
from ddfm.registration.field import spread_out
from ddfm.registration.transform import Transform

GRID = (6, 8)  # control points of the displacement
MARGIN = 0.05  # of each side, which is not measured
MODELS = ("auto", "flow")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--moving", default="ir")
    parser.add_argument("--fixed", default="vi")
    parser.add_argument("--every", type=int, default=1, help="use only every Nth pair")
    parser.add_argument("--first", type=int, default=0, help="index of the first pair")
    parser.add_argument("--pixels", nargs="+", type=float, default=[0.0, 3.0, 5.0, 8.0])
    parser.add_argument("--seed", type=int, default=0)
    how = parser.parse_args()
    torch.set_num_threads(1)
    which = slice(how.first, None, how.every)
    pairs = list(pairs_in(how.folder, how.moving, how.fixed, which))
    print(f"{len(pairs)} pairs\n")
    print("| put on px | model | median px | worst | moved | of those | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for pixels in how.pixels:
        rng = np.random.default_rng(how.seed)
        cases = [(fixed, moving, _field(fixed, pixels, rng)) for _, fixed, moving in pairs]
        for model in MODELS:
            print(_line(pixels, model, cases), flush=True)
    return 0


def _line(pixels: float, model: str, cases: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> str:
    errors, moved, began = [], [], time.process_time()
    for fixed, moving, field in cases:
        found = align(fixed, _displaced(moving, field), model)
        size = (fixed.shape[0], fixed.shape[1])
        transform = found.transform if found.sure else Transform.framed(size, size)
        errors.append(_error(transform, field))
        moved.append(found.sure and transform.moves > 0)
    seconds = (time.process_time() - began) / len(cases)
    of_those = [error for error, yes in zip(errors, moved, strict=True) if yes]
    cells = [f"{pixels:g}", model, f"{np.median(errors):.2f}", f"{max(errors):.1f}"]
    cells += [f"{sum(moved)}", f"{np.median(of_those):.2f}" if of_those else "-", f"{seconds:.1f}"]
    return "| " + " | ".join(cells) + " |"


def _field(like: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 2): the position in the original image that the displaced one shows at each pixel."""
    moves = spread_out(rng.standard_normal((*GRID, 2)), (like.shape[0], like.shape[1]))
    moves -= moves.mean((0, 1))
    return moves * pixels / np.sqrt((moves**2).sum(2).mean())


def _displaced(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    y, x = np.indices(image.shape)
    at = [y + field[..., 1], x + field[..., 0]]
    return ndimage.map_coordinates(image, at, order=3, mode="nearest").astype(np.float32)


def _error(found: Transform, field: np.ndarray) -> float:
    """Pixel x of a displaced image shows what was at x + field(x), where it belongs."""
    h, w = field.shape[:2]
    top, left = round(MARGIN * h), round(MARGIN * w)
    y, x = np.mgrid[top : h - top : 4, left : w - left : 4].reshape(2, -1)
    truth = np.c_[x, y] + field[y, x]
    return float(np.linalg.norm(found(np.c_[x, y]) - truth, axis=1).mean())


if __name__ == "__main__":
    sys.exit(main())
