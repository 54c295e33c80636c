"""Noise shared by neighbouring pixels: how often it is detected, and how much remains.

    python benchmarks/shared_noise.py FOLDER... [--pairs N] [--split report] [--noise SIGMA]
    python benchmarks/shared_noise.py FOLDER... --look

Folders are sets as for `ddfm bench`, split as in benchmarks/splits.toml. All sources are used, in
grey. The noise is one of these:

- white noise after a Gaussian filter of the given width, also with JPEG of quality 90 afterwards;
- that of a sensor's mosaic, interpolated linearly;
- that of a picture of half the size, enlarged and compressed;
- white noise after JPEG compression.

Columns are the share of pictures in which noise is detected, and the PSNR in dB relative to the
clean picture: of the noisy picture, of ddfm with the noise detected and specified, and of non-local
means of scikit-image with the noise specified.

With --look no noise is added. All pictures of the folders in which such noise is detected are
listed, unchanged and after JPEG compression; for clean pictures there should be none.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from skimage.restoration import denoise_nl_means
from torch import Tensor
from tqdm import tqdm

from ddfm import Fuser
from ddfm.bench.datasets import find_dataset
from ddfm.diffusion.observed import TOLD, denoised
from ddfm.imaging.picture import LUMA
from ddfm.restoration.jpeg import find_quality
from ddfm.restoration.observation import NoiseLaw
from ddfm.restoration.shared_noise import find_shared, of_shared, without_shared_noise
from pairs import print_table, some_pairs

Plane = np.ndarray  # (H, W), levels from 0 to 255
LEAST = 16 / 255  # as in the default recipe, for levels from -1 to 1
ROW = ("detected", "degraded", "automatic", "told", "nl means")


def blurred(x: Plane, sigma: float, width: float, rng: np.random.Generator) -> Plane:
    noise = ndimage.gaussian_filter(rng.standard_normal(x.shape), width)
    return x + sigma * noise / noise.std()


def mosaic(x: Plane, sigma: float, rng: np.random.Generator) -> Plane:
    """The luminance of a Bayer mosaic of a grey scene, with noise that is sigma afterwards."""
    red, blue = np.zeros(x.shape), np.zeros(x.shape)
    red[::2, ::2] = blue[1::2, 1::2] = 1
    straight = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    around = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    ways = (red, around), (1 - red - blue, straight), (blue, around)

    def interpolated(seen: Plane) -> Plane:
        planes = [ndimage.convolve(seen * where, kernel) for where, kernel in ways]
        return np.tensordot(LUMA, planes, 1)

    noise = interpolated(rng.standard_normal(x.shape))
    return interpolated(x) + sigma * noise / noise.std()


def enlarged(x: Plane, sigma: float, rng: np.random.Generator) -> Plane:
    """Noise at half the size, enlarged, which is sigma afterwards; the scene stays sharp."""
    half = rng.standard_normal([-(-n // 2) for n in x.shape]).astype(np.float32)
    noise = np.asarray(Image.fromarray(half).resize(x.shape[::-1], Image.Resampling.BICUBIC))
    return x + sigma * noise / noise.std()


def compressed(x: Plane, quality: int = 90) -> Plane:
    buffer = io.BytesIO()
    Image.fromarray(rounded(x).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)).astype(float)


def rounded(x: Plane) -> Plane:
    return np.rint(np.clip(x, 0, 255))


Kind = tuple[float, Callable[[Plane, float, np.random.Generator], Plane]]  # and its width
KINDS: dict[str, Kind] = {
    "0.7 px": (0.7, lambda x, s, rng: blurred(x, s, 0.7, rng)),
    "1 px": (1.0, lambda x, s, rng: blurred(x, s, 1.0, rng)),
    "1.5 px": (1.5, lambda x, s, rng: blurred(x, s, 1.5, rng)),
    "1 px, JPEG 90": (1.0, lambda x, s, rng: compressed(blurred(x, s, 1.0, rng))),
    "mosaic": (0.6, mosaic),
    "enlarged, JPEG 90": (0.75, lambda x, s, rng: compressed(enlarged(x, s, rng))),
    "white, JPEG 75": (0.0, lambda x, s, rng: compressed(blurred(x, s, 0, rng), 75)),
    "white, JPEG 50": (0.0, lambda x, s, rng: compressed(blurred(x, s, 0, rng), 50)),
}


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--pairs", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--split", type=click.Choice(["choose", "report"]), default="choose")
@click.option("--noise", type=float, default=12.0, show_default=True, help="In grey levels.")
@click.option("--look", is_flag=True, help="List the pictures in which noise is detected.")
def main(folders: tuple[Path, ...], pairs: int, split: str, noise: float, look: bool) -> None:
    if look:
        named(folders)
        return
    planes = [
        plane.astype(float)
        for folder in folders
        for pair in some_pairs(find_dataset(folder), pairs, split)
        for plane in pair
    ]
    fuser, means = Fuser(), {}
    for kind, (width, put) in tqdm(KINDS.items()):
        rows = []
        for seed, clean in enumerate(planes):
            noisy = rounded(put(clean, noise, np.random.default_rng(seed)))
            rows.append(row_of(clean, noisy, width, noise, fuser))
        means[kind] = np.mean(rows, axis=0)
    print_table(f"noise of {noise:g} levels in {len(planes)} pictures", ROW, means)


def named(folders: tuple[Path, ...]) -> None:
    """List all pictures of the folders with such noise."""
    number = 0
    for path in sorted(p for folder in folders for p in folder.rglob("*.*")):
        try:
            image = np.asarray(Image.open(path).convert("RGB"))
        except OSError:
            continue
        number += 1
        plane = image @ LUMA
        for quality in (None, 75, 50):
            seen = plane if quality is None else compressed(plane, quality)
            law = find_shared(as_seen(seen), LEAST, quality is not None)
            if law is not None:
                print(path, quality, law)
    print(f"{number} pictures")


def row_of(clean: Plane, noisy: Plane, width: float, sigma: float, fuser: Fuser) -> list[float]:
    y = as_seen(noisy)
    law = find_shared(y, LEAST, find_quality(noisy / 255) is not None)
    found = noisy if law is None else without(y, law, fuser)
    told = without(y, ("shared", sigma, width) if width else sigma, fuser)
    means = denoise_nl_means(noisy, 5, 6, h=1.2 * sigma, sigma=sigma)
    near = [psnr(x, clean) for x in (noisy, found, told, means)]
    return [float(law is not None), *near]


@torch.no_grad()
def without(y: Tensor, law: float | NoiseLaw, fuser: Fuser) -> Plane:
    def clean(x: Tensor, level: float) -> Tensor:
        return denoised(fuser.prior, x, level)

    if isinstance(law, float):
        x = clean(y, TOLD * 2 * law / 255)
    else:
        x = without_shared_noise(y, *of_shared(law), clean)
    return (x[0, 0].numpy() + 1) * 255 / 2


def as_seen(plane: Plane) -> Tensor:
    return torch.from_numpy(plane.astype(np.float32) * 2 / 255 - 1)[None, None]


def psnr(x: Plane, y: Plane) -> float:
    return float(10 * np.log10(255**2 / np.mean((np.clip(x, 0, 255) - y) ** 2)))


if __name__ == "__main__":
    main()
