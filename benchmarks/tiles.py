"""One pair fused in tiles and as a whole: how far apart the results are, and whether seams show.

    python benchmarks/tiles.py [--size 1152x864] [--tile 384] [--prior default] [--save DIR]

Differences are in grey levels of 255. A step is the difference between neighbouring pixels: across
the lines where a tile begins or ends, and everywhere else. A seam would be a step in the difference
of both results that is larger at those lines; a ratio of 1 is no seam at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from enlarged import enlarged_pair, size_of

import ddfm
from ddfm.priors.tiled import Tiled

__all__ = ["compare"]


def compare(whole: np.ndarray, parts: np.ndarray, tiled: Tiled) -> dict[str, float]:
    """What the table says, of two planes in grey levels."""
    difference = parts - whole
    at, elsewhere = _steps(difference, tiled)
    in_parts = _steps(parts, tiled)
    in_whole = _steps(whole, tiled)
    return {
        "largest difference": float(np.abs(difference).max()),
        "mean difference": float(np.abs(difference).mean()),
        "difference of the means": float(difference.mean()),
        "steps of the difference, at borders": at,
        "steps of the difference, elsewhere": elsewhere,
        "their ratio": at / max(elsewhere, 1e-12),
        "steps in tiles, at borders / elsewhere": in_parts[0] / in_parts[1],
        "steps of the whole, at the same lines / elsewhere": in_whole[0] / in_whole[1],
    }


def _steps(plane: np.ndarray, tiled: Tiled) -> tuple[float, float]:
    """Mean absolute step at the borders of tiles, and elsewhere."""
    at, elsewhere = [], []
    for axis, side in enumerate(plane.shape):
        steps = np.abs(np.diff(plane, axis=axis)).mean(axis=1 - axis)
        starts = tiled.starts(side)
        borders = sorted({*starts, *(start + tiled.tile for start in starts)})
        lines = [border - 1 for border in borders if 0 < border < side]
        at += list(steps[lines])
        elsewhere += list(np.delete(steps, lines))
    return float(np.mean(at)), float(np.mean(elsewhere))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1152x864", metavar="WxH")
    parser.add_argument("--tile", type=int, default=384)
    parser.add_argument("--prior", default="default")
    parser.add_argument("--save", type=Path, help="a folder for both results")
    options = parser.parse_args()
    pair = enlarged_pair(size_of(options.size))
    prior = ddfm.load_prior(options.prior)
    fusions = [ddfm.fuse(*pair, prior=prior, color="grey", tile=tile) for tile in (0, options.tile)]
    whole, parts = (255 * fusion.picture.pixels[..., 0].astype(float) for fusion in fusions)
    for name, value in compare(whole, parts, Tiled(prior, options.tile)).items():
        print(f"| {name} | {value:.4f} |")
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
        for name, fusion in zip(("whole", "tiles"), fusions, strict=True):
            fusion.save(options.save / f"{name}.png")


if __name__ == "__main__":
    main()
