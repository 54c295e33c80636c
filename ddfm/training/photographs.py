"""Photographs in memory, and random crops of them, which depend only on the number of the step.

So a killed run can be continued exactly, without saving any state of the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddfm.errors import DdfmError, InputError, StorageError, warn
from ddfm.imaging.picture import eight_bit
from ddfm.imaging.reading import is_image, read_image
from ddfm.progress import progress_bar

__all__ = ["SCALES", "Photographs", "find_photographs", "read_photograph", "warn_of_small"]

# Scale of a photograph: how often it is used.
SCALES = {1.0: 0.35, 0.6: 0.30, 0.35: 0.20, 0.2: 0.15}


def find_photographs(folder: str | Path) -> list[Path]:
    """All image files below a folder, sorted; hidden files and folders are left out."""
    folder = Path(folder)
    if not folder.is_dir():
        raise StorageError(f"{folder} is not a folder of photographs")
    files = sorted(
        path
        for path in folder.rglob("*")
        if is_image(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not files:
        raise InputError(f"no photographs in {folder}: no file has the suffix of an image")
    return files


def read_photograph(path: Path, channels: int = 1) -> Image.Image:
    """A photograph of any depth, in 8 bits: BT.601 luminance, or RGB for 3 channels."""
    try:
        image = Image.fromarray(eight_bit(read_image(path))).convert("RGB")
    except DdfmError as error:
        raise InputError(f"{error}; repair it, or remove it from the folder") from None
    return image.convert("L") if channels == 1 else image


def warn_of_small(what: str, small: Sequence[object], of: int, least: int) -> None:
    """Warns of those that crops do not fit into, if there are any."""
    if small:
        word = f"{what} too small to be used: {len(small)} of {of}, such as {small[0]} (a side has "
        warn(f"{word}less than {least} pixels)")


class Photographs:
    """Random crops in [-1, 1] of photographs at several scales, held in memory as bytes."""

    def __init__(self, files: Iterable[Path], smallest: int, progress: bool | None) -> None:
        self.levels: list[list[np.ndarray]] = [[] for _ in SCALES]
        desc = "reading photographs"
        files, small = list(files), []
        for path in progress_bar(progress, files, desc=desc, leave=True):
            full = read_photograph(path)
            if min(full.size) < smallest:
                small.append(path)
            for level, scale in zip(self.levels, SCALES, strict=True):
                size = (round(full.width * scale), round(full.height * scale))
                if min(size) >= smallest:
                    level.append(np.asarray(full.resize(size, Image.Resampling.LANCZOS)))
        if not self.levels[0]:
            raise InputError(f"no photograph is at least {smallest} pixels wide and high")
        warn_of_small("photographs", small, len(files), smallest)
        # Photographs are drawn in proportion to their pixels, so that all crops are equally likely.
        self._chances = [
            np.array([a.size for a in level], float) / max(1, sum(a.size for a in level))
            for level in self.levels
        ]
        used = np.array(
            [w if level else 0.0 for w, level in zip(SCALES.values(), self.levels, strict=True)]
        )
        self._level_chances = used / used.sum()

    def batch(self, count: int, size: int, seed: Iterable[int]) -> Tensor:
        """Crops (count, 1, size, size): rotated, mirrored, changed in contrast and brightness."""
        rng = np.random.default_rng(list(seed))
        crops = np.empty((count, 1, size, size), np.float32)
        for crop in crops:
            crop[0] = self._crop(rng, size)
        return torch.from_numpy(crops)

    def _crop(self, rng: np.random.Generator, size: int) -> np.ndarray:
        level = rng.choice(len(self.levels), p=self._level_chances)
        pictures = self.levels[level]
        picture = pictures[rng.choice(len(pictures), p=self._chances[level])]
        top = rng.integers(picture.shape[0] - size + 1)
        left = rng.integers(picture.shape[1] - size + 1)
        crop = picture[top : top + size, left : left + size].astype(np.float32) / 127.5 - 1
        crop = np.rot90(crop, int(rng.integers(4)))
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        if rng.random() < 0.5:
            mean = crop.mean()
            crop = (crop - mean) * rng.uniform(0.5, 1.2) + mean + rng.uniform(-0.2, 0.2)
        return crop.clip(-1, 1)
