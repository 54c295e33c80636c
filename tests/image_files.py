"""Images to be read and written.

The files in data/files were written by pypng, by imagecodecs' OpenJPEG, and by tifffile with
imagecodecs' LZW and predictors, from the values of `pattern`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ddfm.errors import DdfmError
from ddfm.imaging.picture import Picture, to_array
from ddfm.imaging.reading import read_image
from ddfm.imaging.writing import write_image
from places import DATA

FILES = DATA / "files"
KEYS = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)  # UTM zone 33 N
LEFT, TOP, STEP = 400_000.0, 5_300_000.0, 10.0


def pattern(dtype, channels: int, height: int = 11, width: int = 9) -> np.ndarray:
    y, x, c = np.mgrid[:height, :width, :channels]
    value = (4099 * y + 1723 * x * x + 7919 * c * (y + 1)) % 65536
    if np.dtype(dtype) == np.uint8:
        value //= 256
    value = value.astype(dtype) if np.dtype(dtype).kind == "u" else (value / 65535).astype(dtype)
    return value[:, :, 0] if channels == 1 else value


def as_array(picture: Picture) -> np.ndarray:
    return to_array(picture.pixels, picture, picture.alpha)


def write(path: Path, array: np.ndarray) -> Path:
    picture = read_image(array)
    write_image(path, picture.pixels, picture, picture.alpha)
    return path


def noise(path: Path, seed: int = 0, size: tuple[int, ...] = (12, 10)) -> Path:
    """A picture of random levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    Image.fromarray(levels).save(path, "PNG")
    return path


def geotiff(
    path: Path,
    pixels: np.ndarray,
    *,
    raster: int = 1,
    nodata: str = "",
    turn: int = 1,
    more: Sequence[tuple] = (),
) -> Path:
    """A TIFF with coordinates; `more` are further tags, as tifffile takes them."""
    keys = (*KEYS[:11], raster, *KEYS[12:])
    extra = [
        (33550, 12, 3, (STEP, STEP, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, LEFT, TOP, 0.0), True),
        (34735, 3, len(keys), keys, True),
        (274, 3, 1, turn, True),
    ]
    extra += [(42113, 2, 0, nodata, True)] if nodata else []
    extra += more
    kind = "minisblack" if pixels.ndim == 2 else "rgb"
    tifffile.imwrite(path, pixels, photometric=kind, extratags=extra, metadata=None)
    return path


def folders_of_noise(
    root: Path,
    names: Iterable[object],
    size: tuple[int, int] = (12, 10),
    words: Iterable[str] = ("ir", "vis"),
    seed: int = 0,
) -> tuple[Path, ...]:
    """Folders with a picture for each name; {} in a name is replaced by that of the folder."""
    rng = np.random.default_rng(seed)
    folders = tuple(root / word for word in words)
    for folder in folders:
        folder.mkdir(parents=True)
        for name in names:
            image = Image.fromarray(rng.integers(0, 256, size, np.uint8))
            image.save(folder / f"{name}.png".format(folder.name))
    return folders


def message(call) -> str:
    with pytest.raises(DdfmError) as caught:
        call()
    text = str(caught.value)
    assert text and "\n" not in text and len(text) < 400
    return text


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=600
    )
