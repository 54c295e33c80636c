"""Earlier enlargement: how often it is detected, and how often where there was none.

    python benchmarks/enlarged.py FOLDER...

All pictures below the folders are examined, in grey: unchanged, blurred, and reduced and enlarged
again. Columns are the share in which an enlargement is detected, and the share in which the size
before it is found.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from blur import Plane, pictures
from ddfm.numerics.planes import plane
from ddfm.restoration.enlarged import find_coarse
from shared_noise import compressed, rounded

TIMES = 2, 2.5, 3, 4


def blurred(x: Plane, sigma: float, quality: int | None = None) -> Plane:
    x = rounded(ndimage.gaussian_filter(x, sigma))
    return x if quality is None else compressed(x, quality)


def by_pillow(small: Image.Image, size: tuple[int, int], way: Image.Resampling) -> Plane:
    return np.asarray(small.resize(size, way), float)


def by_pytorch(small: Image.Image, size: tuple[int, int]) -> Plane:
    """With the kernel that OpenCV has, too."""
    x = plane(np.asarray(small, np.float32) / 255)
    wide = F.interpolate(x, size[::-1], mode="bicubic")[0, 0].numpy()
    return 255 * (wide.astype(float) + 1) / 2


WAYS: dict[str, Callable[[Image.Image, tuple[int, int]], Plane]] = {
    "bilinear, Pillow": partial(by_pillow, way=Image.Resampling.BILINEAR),
    "bicubic, Pillow": partial(by_pillow, way=Image.Resampling.BICUBIC),
    "bicubic, PyTorch and OpenCV": by_pytorch,
}
OTHERS: dict[str, Callable[[Plane], Plane]] = {
    "unchanged": lambda x: x,
    "blur 0.8": partial(blurred, sigma=0.8),
    "blur 1.5": partial(blurred, sigma=1.5),
    "blur 3": partial(blurred, sigma=3),
    "blur 0.8, JPEG 90": partial(blurred, sigma=0.8, quality=90),
    "blur 3, JPEG 90": partial(blurred, sigma=3, quality=90),
}


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(folders: tuple[Path, ...]) -> None:
    """Print the table of docs/restoration.md."""
    planes = pictures(folders)
    print(f"{len(planes)} pictures\n\n| | detected | at the right size |\n| --- | --- | --- |")
    for kind, degrade in OTHERS.items():
        found = [
            find_coarse(rounded(degrade(x)) / 255) is not None
            for x in tqdm(planes, desc=kind, leave=False)
        ]
        print(f"| {kind} | {100 * np.mean(found):.0f} % | |", flush=True)
    for way, enlarge in WAYS.items():
        for times in TIMES:
            name = f"enlarged by {times}, {way}"
            found = [_found(x, times, enlarge) for x in tqdm(planes, desc=name, leave=False)]
            shares = 100 * np.mean(found, axis=0)
            print(f"| {name} | {shares[0]:.0f} % | {shares[1]:.0f} % |", flush=True)


def _found(x: Plane, times: float, enlarge: Callable[..., Plane]) -> tuple[bool, bool]:
    """Whether an enlargement is detected, and at the right size."""
    whole = Image.fromarray(x.astype(np.uint8))
    small = whole.resize([round(n / times) for n in whole.size], Image.Resampling.BOX)
    found = find_coarse(rounded(enlarge(small, whole.size)) / 255)
    return found is not None, found == small.size[::-1]


if __name__ == "__main__":
    main()
