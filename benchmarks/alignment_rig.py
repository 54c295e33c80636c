#!/usr/bin/env python3
"""Whether one transform is found for all pairs of a camera, as `--align once` does.

    python benchmarks/alignment_rig.py RoadScene [--pairs 20] [--kinds shift similarity]

All infrared images are cropped to one size, and one transform of each kind is applied to all of
them. The transform that the estimates have in common is then compared with it. An error is the mean
distance of the four corners in pixels: of single pairs, where they were sure, and of the common
transform.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from alignment import KINDS, disturbed, pairs_in, put_on
from ddfm.registration.align import align
from ddfm.registration.transform import common_transform

CLOSE = 3.0  # pixels


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--moving", default="ir")
    parser.add_argument("--fixed", default="vi")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["shift", "similarity"])
    parser.add_argument("--model", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    how = parser.parse_args()
    torch.set_num_threads(1)
    pairs = list(pairs_in(how.folder, how.moving, how.fixed, slice(how.pairs)))
    height, width = np.min([fixed.shape for _, fixed, _ in pairs], axis=0)
    print(f"{len(pairs)} pairs of {width} x {height} pixels")
    print("| put on | sure | median px | worst | < 3 | what is common px | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in how.kinds:
        by = put_on((height, width), kind, np.random.default_rng(how.seed))
        found, began = [], time.process_time()
        for _, fixed, moving in pairs:
            here = _middle(fixed.shape, (height, width))
            case = disturbed(fixed[here], moving[here], by)
            result = align(case.fixed, case.moving, how.model)
            if result.sure:
                found.append(result.transform)
        seconds = (time.process_time() - began) / len(pairs)
        truth = case.truth()  # of one size, and so the same for all
        errors = np.array([transform.distance(truth) for transform in found])
        common = common_transform(found).distance(truth)
        cells = [kind, f"{len(found)}", f"{np.median(errors):.2f}", f"{errors.max():.1f}"]
        cells += [f"{np.mean(errors < CLOSE):.0%}", f"{common:.2f}", f"{seconds:.1f}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    return 0


def _middle(of: tuple[int, ...], size: tuple[int, int]) -> tuple[slice, slice]:
    top, left = ((n - m) // 2 for n, m in zip(of, size, strict=True))
    return slice(top, top + size[0]), slice(left, left + size[1])


if __name__ == "__main__":
    sys.exit(main())
