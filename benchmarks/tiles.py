"""How much a pair fused in tiles differs from the whole, and whether seams are visible.

    python benchmarks/tiles.py [--size 1152x864] [--tile 384] [--prior default] [--noise 15]
                               [--likelihood paper --steps 6 | --method dmfuse] [--save DIR]

Differences are in grey levels of 255. A step is the difference between neighbouring pixels: across
the lines where a tile begins or ends, or elsewhere. A seam would make steps in the difference of
both results larger at those lines; a ratio of 1 is no seam at all. The default likelihood does not
call the prior for clean sources; `--noise` adds Gaussian noise of this many levels to both.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import ddfm
from ddfm.priors.tiled import Tiled
from mirrored import mirrored_pair, size_of, with_noise

__all__ = ["compare"]


def compare(whole: np.ndarray, parts: np.ndarray, tiled: Tiled) -> dict[str, float]:
    """The rows of the table for two planes in grey levels."""
    difference = parts - whole
    at, elsewhere = _steps(difference, tiled)
    in_parts, in_whole = (
        float(np.mean(lines)) / rest for lines, rest in (_steps(x, tiled) for x in (parts, whole))
    )
    return {
        "largest difference": float(np.abs(difference).max()),
        "mean difference": float(np.abs(difference).mean()),
        "difference of the means": float(difference.mean()),
        "steps of the difference, at borders": float(np.mean(at)),
        "steps of the difference, elsewhere": elsewhere,
        "their ratio": float(np.mean(at)) / max(elsewhere, 1e-12),
        "the same of the worst border": float(np.max(at)) / max(elsewhere, 1e-12),
        "steps in tiles, at borders / elsewhere": in_parts,
        "steps of the whole, at the same lines / elsewhere": in_whole,
    }


def _steps(plane: np.ndarray, tiled: Tiled) -> tuple[list[float], float]:
    """Mean absolute step across each border of a tile, and elsewhere."""
    at, elsewhere = [], []
    for axis, side in enumerate(plane.shape):
        steps = np.abs(np.diff(plane, axis=axis)).mean(axis=1 - axis)
        borders = sorted({border for span in tiled.spans(side) for border in span})
        lines = [border - 1 for border in borders if 0 < border < side]
        at += list(steps[lines])
        elsewhere += list(np.delete(steps, lines))
    return at, float(np.mean(elsewhere))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1152x864", metavar="WxH")
    parser.add_argument("--tile", type=int, default=384)
    parser.add_argument("--prior", default="default")
    parser.add_argument("--likelihood", default="default")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--noise", type=float, default=0.0, help="on both sources, in grey levels")
    parser.add_argument("--method", default="ddfm")
    parser.add_argument("--save", type=Path, help="a folder for both results")
    options = parser.parse_args()
    clean = mirrored_pair(size_of(options.size))
    pair = [with_noise(image, options.noise, seed) for seed, image in enumerate(clean)]
    prior = ddfm.load_prior(options.prior)
    given = {"method": options.method, "color": "grey"}
    if options.method == "ddfm":
        given |= {"likelihood": options.likelihood, "steps": options.steps}
    fusions = [ddfm.fuse(*pair, prior=prior, tile=tile, **given) for tile in (0, options.tile)]
    whole, parts = (255 * fusion.picture.pixels[..., 0].astype(float) for fusion in fusions)
    for name, value in compare(whole, parts, Tiled(prior, options.tile)).items():
        print(f"| {name} | {value:.4f} |")
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
        for name, fusion in zip(("whole", "tiles"), fusions, strict=True):
            fusion.save(options.save / f"{name}.png")


if __name__ == "__main__":
    main()
