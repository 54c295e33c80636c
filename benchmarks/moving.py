#!/usr/bin/env python3
"""How often what moves between two exposures is found, and what the result gains by it.

    python benchmarks/moving.py MEFB/over MEFB/under [--things 4] [--side 480] [--look DIR]

The two folders contain two real exposures of each scene. Unchanged, shifted by 4 pixels, and with
noise of 10 levels, nothing should be found in them. Then an ellipse, cut out of the scene, is
pasted into both exposures at two places; each exposure shows it at another place. PSNR and MEF-SSIM
compare the fusion of these two with the bracket in which it stays at one place, whichever of the
two is closer. PSNR is that of the two places alone.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from ddfm import Fuser
from ddfm.errors import DdfmWarning
from ddfm.imaging.pairing import find_pairs
from ddfm.imaging.picture import from_array
from ddfm.metrics import mef_ssim
from ddfm.restoration.moving import moved_between

Scene = list[np.ndarray]  # both exposures


def share(pair: Scene) -> float:
    """The percentage of a pair of exposures where something moved."""
    moved = moved_between([from_array(exposure) for exposure in pair])
    return 0.0 if moved is None else 100 * moved.share


def eight_bit(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def with_thing(pair: Scene, rng: np.random.Generator) -> tuple[Scene, Scene, np.ndarray]:
    """The pair with a thing at one place, and at another, and where these two differ."""
    h, w = pair[0].shape[:2]
    ry, rx = (int(min(h, w) * rng.uniform(*part)) for part in ((0.05, 0.12), (0.03, 0.08)))
    y, x = np.mgrid[-ry : ry + 1, -rx : rx + 1]
    shape = ((y / ry) ** 2 + (x / rx) ** 2 <= 1).astype(float)
    shape = ndimage.gaussian_filter(shape, 0.7)[..., None]

    def anywhere() -> tuple[int, int]:
        return int(rng.integers(0, h - 2 * ry)), int(rng.integers(0, w - 2 * rx))

    origin, one = anywhere(), anywhere()
    other = anywhere()
    while abs(other[1] - one[1]) < 2 * rx:
        other = anywhere()
    scenes = []
    for top, left in (one, other):
        at = np.s_[top : top + 2 * ry + 1, left : left + 2 * rx + 1]
        of = np.s_[origin[0] : origin[0] + 2 * ry + 1, origin[1] : origin[1] + 2 * rx + 1]
        scene = [exposure.astype(float) for exposure in pair]
        for pixels, exposure in zip(scene, pair, strict=True):
            pixels[at] = shape * exposure[of] + (1 - shape) * exposure[at]
        scenes.append([eight_bit(pixels) for pixels in scene])
    changes = [np.abs(a.astype(float) - b).max(2) > 8 for a, b in zip(*scenes, strict=True)]
    return scenes[0], scenes[1], ndimage.binary_dilation(changes[0] | changes[1], iterations=4)


def psnr(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    error = (one.astype(float) - other)[where]
    return float(10 * np.log10(255**2 / max(1e-9, (error**2).mean())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs=2, type=Path)
    parser.add_argument("--things", type=int, default=4, help="for each scene")
    parser.add_argument("--side", type=int, default=480, help="longest side that is fused")
    parser.add_argument("--look", type=Path, help="write both exposures, keep and once, in a row")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DdfmWarning)
    once = Fuser(task="multi-exposure", look=False)
    keep, rng = once.with_config(moving="keep"), np.random.default_rng(5)
    gains, tried = [], 0
    for pair in find_pairs(*options.folders).pairs:
        files = [Image.open(file).convert("RGB") for file in pair.files]
        whole = [np.asarray(file) for file in files]
        noisy = [eight_bit(pixels + rng.normal(0, 10, pixels.shape)) for pixels in whole]
        shifted = [whole[0][:, 4:], whole[1][:, :-4]]
        found = [share(some) for some in (whole, shifted, noisy)]
        print(f"{pair.name}: still {found[0]:.2f} %, shifted {found[1]:.2f} %, noisy ", end="")
        print(f"{found[2]:.2f} %", flush=True)
        for file in files:
            file.thumbnail((options.side, options.side))
        small = [np.asarray(file) for file in files]
        for k in range(options.things):
            here, there, where = with_thing(small, rng)
            seen, tried = [here[0], there[1]], tried + 1
            if not share(seen):
                continue
            truths = [(keep(*scene).image, scene) for scene in (here, there)]
            results = [fuser(*seen).image for fuser in (keep, once)]
            rates = [
                (
                    max(psnr(result, truth, where) for truth, _ in truths),
                    max(mef_ssim(result, *scene) for _, scene in truths),
                )
                for result in results
            ]
            gains.append(np.ravel(rates))
            print("  PSNR {:.1f} MEF-SSIM {:.4f}, once {:.1f} {:.4f}".format(*gains[-1]))
            if options.look:
                options.look.mkdir(parents=True, exist_ok=True)
                row = Image.fromarray(np.hstack([*seen, *results]))
                row.save(options.look / f"{pair.name}_{k}.png")
    means = np.mean(gains, axis=0)
    fallen = sum(gain[2] < gain[0] for gain in gains)
    print(f"{len(gains)} of {tried} found; PSNR fell for {fallen}; means of those found:")
    print("  PSNR {:.1f} MEF-SSIM {:.4f}, once {:.1f} {:.4f}".format(*means))


if __name__ == "__main__":
    main()
