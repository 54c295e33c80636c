"""Blur: how often it is detected, and how wide it is found to be.

    python benchmarks/blur.py FOLDER...

All pictures below the folders are examined, in grey: unchanged, and after degradations of which
some blur and others do not. Columns are the number of pictures, the share in which a blur is
detected, and the least, middle and greatest deviation found, in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from ddfm.restoration.blur import find_blur
from shared_noise import compressed, rounded

Plane = np.ndarray  # (H, W), levels from 0 to 255


def gaussian(x: Plane, rng: np.random.Generator, sigma: float, noise: float = 2.0) -> Plane:
    return with_noise(ndimage.gaussian_filter(x, sigma), rng, noise)


def with_noise(x: Plane, rng: np.random.Generator, noise: float) -> Plane:
    return x + noise * rng.standard_normal(x.shape)


def moved(x: Plane, rng: np.random.Generator) -> Plane:
    return ndimage.uniform_filter1d(x, 9, axis=1)


def reduced(x: Plane, rng: np.random.Generator) -> Plane:
    h, w = (n // 2 for n in x.shape)
    return np.asarray(Image.fromarray(x.astype(np.float32)).resize((w, h), Image.Resampling.BOX))


def enlarged(x: Plane, times: int) -> Plane:
    h, w = x.shape
    small = Image.fromarray(x.astype(np.float32)).resize(
        (w // times, h // times), Image.Resampling.BOX
    )
    return np.asarray(small.resize((w, h), Image.Resampling.BICUBIC), float)


KINDS: dict[str, Callable[[Plane, np.random.Generator], Plane]] = {
    "unchanged": lambda x, rng: x,
    "noise of 3 levels": partial(with_noise, noise=3.0),
    "JPEG 75": lambda x, rng: compressed(x, 75),
    "JPEG 30": lambda x, rng: compressed(x, 30),
    "brightened (gamma 0.5)": lambda x, rng: 255 * (x / 255) ** 0.5,
    "half the size": reduced,
    "motion of 9 pixels": moved,
    "enlarged by 4": lambda x, rng: enlarged(x, 4),
    "enlarged by 4, noise 1": lambda x, rng: with_noise(enlarged(x, 4), rng, 1.0),
    "enlarged by 4, JPEG 90": lambda x, rng: compressed(enlarged(x, 4), 90),
    "blur 1.5": partial(gaussian, sigma=1.5, noise=0.0),
    "blur 2.5": partial(gaussian, sigma=2.5, noise=0.0),
    "blur 4": partial(gaussian, sigma=4.0, noise=0.0),
    "blur 1, noise 2": partial(gaussian, sigma=1.0),
    "blur 1.5, noise 2": partial(gaussian, sigma=1.5),
    "blur 1.5, JPEG 90": lambda x, rng: compressed(gaussian(x, rng, 1.5), 90),
    "blur 2.5, noise 2": partial(gaussian, sigma=2.5),
    "blur 4, noise 2": partial(gaussian, sigma=4.0),
}


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(folders: tuple[Path, ...]) -> None:
    """Print the table of docs/restoration.md."""
    planes = list(pictures(folders))
    print(
        f"{len(planes)} pictures\n\n| | detected | least | middle | greatest |\n"
        + "| --- " * 5
        + "|"
    )
    for kind, degrade in KINDS.items():
        found = []
        for seed, plane in enumerate(tqdm(planes, desc=kind, leave=False)):
            seen = rounded(degrade(plane, np.random.default_rng(seed)))
            found.append(find_blur(seen / 255))
        sigmas = [sigma for sigma in found if sigma is not None]
        share = 100 * len(sigmas) / len(planes)
        rest = np.percentile(sigmas, [0, 50, 100]) if sigmas else []
        cells = [f"{share:.0f} %", *(f"{sigma:.2f}" for sigma in rest)]
        print(f"| {kind} | {' | '.join(cells + [''] * (4 - len(cells)))} |")


def pictures(folders: tuple[Path, ...]) -> list[Plane]:
    planes = []
    for path in sorted(p for folder in folders for p in folder.rglob("*.*")):
        try:
            planes.append(np.asarray(Image.open(path).convert("L"), float))
        except OSError:  # not a picture
            continue
    return planes


if __name__ == "__main__":
    main()
