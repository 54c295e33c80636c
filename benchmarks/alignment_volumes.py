#!/usr/bin/env python3
"""How well volumes are aligned: known rigid motions are applied to headers, and estimated again.

    python benchmarks/alignment_volumes.py T1.nii.gz PD.nii.gz [--times 4]

There are three pairs:

- Both volumes. The truth is what is found on the original headers, since those of real volumes are
  misaligned themselves: this row shows how well a motion is recovered.
- The first volume and a copy with another contrast (levels folded, so that their order is not the
  same), noise, and 256 x 256 x 128 voxels. Its truth is known.
- The first volume and that copy, unmoved, which must be left unchanged.

Errors are mean millimetres over the corners of the first volume; s are CPU seconds of one thread.
"look" is the check of a fusion without --align: whether a misaligned header is noticed, and the
seconds that this takes.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ddfm.registration.space import apart, corners_of
from ddfm.volumes.align import aligned
from ddfm.volumes.files import read_volume
from ddfm.volumes.volume import Volume

SHIFT, TURN = 20.0, 15.0  # millimetres, degrees
SHAPE = (256, 256, 128)
NOISE = 0.03


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("volumes", nargs=2, type=Path)
    parser.add_argument("--times", type=int, default=4, help="motions applied to each pair")
    parser.add_argument("--seed", type=int, default=0)
    how = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    first, second = map(read_volume, how.volumes)
    copy = _copy(first, np.random.default_rng(how.seed))
    print("| pair | put off mm | found again to mm | voxel | sure | s | look: noticed | s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, other, times in (
        ("two contrasts", second, how.times),
        ("a copy", copy, how.times),
        ("a copy, not put off", copy, 0),
    ):
        base = np.eye(4)
        if other is second:
            base = np.array(aligned(other, first, "rigid")[1]["fixed_to_moving"])
        rng = np.random.default_rng(how.seed)
        moves = [_move(first, rng) for _ in range(times)] or [np.eye(4)]
        rows = np.array([list(_row(first, other, move, base)) for move in moves])
        off, error, sure, seconds, noticed, glance = rows.T
        cells = [
            name,
            f"{off.min():.0f} to {off.max():.0f}",
            f"{error.min():.2f} to {error.max():.2f}",
        ]
        cells += [f"{other.spacing.max():.2f}", f"{sure.mean():.0%}", f"{seconds.mean():.1f}"]
        cells += [f"{noticed.mean():.0%}", f"{glance.mean():.1f}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    return 0


def _row(first: Volume, other: Volume, move: np.ndarray, base: np.ndarray) -> Iterator[float]:
    """Millimetres of motion, error, whether sure, seconds; whether a check notices it, seconds."""
    corners = corners_of(first.shape, first.affine)
    moved = Volume(other.values, move @ other.affine, other.name)
    yield apart(corners, move @ base, np.eye(4))
    began = time.process_time()
    _, found = aligned(moved, first, "rigid")
    seconds = time.process_time() - began
    yield apart(corners, np.array(found["fixed_to_moving"]), move @ base)
    yield found["sure"]
    yield seconds
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began = time.process_time()
        aligned(moved, first)
        yield bool(caught)
        yield time.process_time() - began


def _move(volume: Volume, rng: np.random.Generator) -> np.ndarray:
    """A rotation about the middle of a volume, and a shift."""
    middle = corners_of(volume.shape, volume.affine).mean(0)
    axis, way = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    turn = Rotation.from_rotvec(np.deg2rad(rng.uniform(TURN / 3, TURN)) * axis).as_matrix()
    move = np.eye(4)
    move[:3, :3] = turn
    move[:3, 3] = middle - turn @ middle + rng.uniform(SHIFT / 2, SHIFT) * way
    return move


def _copy(volume: Volume, rng: np.random.Generator) -> Volume:
    """With another contrast, and on another grid of the same space."""
    levels = volume.values.astype(np.float32)
    levels = np.clip(levels / np.percentile(levels, 99.5), 0, 1)
    folded = np.abs(levels - 0.45) * (levels > 0.05)
    steps = (np.array(volume.shape) - 1) / (np.array(SHAPE) - 1)
    values = ndimage.affine_transform(folded, steps, output_shape=SHAPE, order=1)
    values += NOISE * rng.standard_normal(SHAPE).astype(np.float32)
    return Volume(values, volume.affine @ np.diag([*steps, 1.0]), "the copy")


if __name__ == "__main__":
    sys.exit(main())
