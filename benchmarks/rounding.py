"""What bfloat16, the number of threads, a batch and another seed change in a fused picture.

    python benchmarks/rounding.py INFRARED VISIBLE [--pairs 3] [--crop 256] [--noise 0]
                                  [--threads 2] [--task medical] [--likelihood paper --steps 6]

The middle of each pair of the two folders is fused in float32 by one thread. This result is
compared with those of bfloat16, of several threads, of a batch of two, and of another seed; and
several threads in bfloat16 are compared with one. Differences are in grey levels of 255, of results
rounded to 8 bits; "changed" is the share of pixels that differ. With `--noise`, Gaussian noise of
this many grey levels is added to both sources first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ddfm import Fuser
from ddfm.imaging.pairing import find_pairs


def middle(path: Path, side: int, noise: float, seed: int) -> np.ndarray:
    """The middle of a picture in grey, at most (side, side), in [0, 1]."""
    array = np.asarray(Image.open(path).convert("L"), np.float64)
    top, left = (max(0, (length - side) // 2) for length in array.shape)
    array = array[top : top + side, left : left + side]
    array = array + noise * np.random.default_rng(seed).standard_normal(array.shape)
    return (np.rint(array.clip(0, 255)) / 255).astype(np.float32)


def difference(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Largest and mean difference in grey levels, and the share of pixels that differ."""
    levels = np.abs(np.rint(255.0 * first) - np.rint(255.0 * second))
    return float(levels.max()), float(levels.mean()), float((levels > 0).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("infrared", type=Path)
    parser.add_argument("visible", type=Path)
    parser.add_argument("--pairs", type=int, default=3, help="number of pairs, the first by name")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--noise", type=float, default=0, help="grey levels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--task", default="auto")
    parser.add_argument("--likelihood", default="default")
    parser.add_argument("--steps", type=int)
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in ("task", "likelihood", "steps")}
    exact, coarse = (Fuser(dtype=d, device="cpu", **settings) for d in ("float32", "bfloat16"))
    print("| pair | changed | largest | mean | changed |\n" + "| --- " * 5 + "|")
    for pair in find_pairs(options.infrared, options.visible).pairs[: options.pairs]:
        sources = [
            middle(path, options.crop, options.noise, seed) for seed, path in enumerate(pair.files)
        ]

        def fused(fuser: Fuser, threads: int, sources: list[np.ndarray] = sources) -> np.ndarray:
            torch.set_num_threads(threads)
            return fuser(*sources, progress=False).picture.pixels

        whole, half = fused(exact, 1), fused(coarse, 1)
        several, others = options.threads, [sources, sources[::-1]]
        torch.set_num_threads(1)
        batch = list(exact.stream(others, together=2, progress=False))
        rows = {
            "bfloat16": (whole, half),
            f"{several} threads": (whole, fused(exact, several)),
            f"{several} threads, bfloat16": (half, fused(coarse, several)),
            "a batch of two": (whole, batch[0].picture.pixels),
            "another seed": (whole, fused(exact.with_config(seed=1), 1)),
        }
        for name, (one, other) in rows.items():
            largest, mean, changed = difference(one, other)
            print(f"| {pair.name} | {name} | {largest:.0f} | {mean:.4f} | {changed:.2%} |")


if __name__ == "__main__":
    main()
