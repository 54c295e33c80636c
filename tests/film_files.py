"""Films to be fused: smooth scenes with noise, and video files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ddfm.imaging.picture import from_array
from ddfm.video.files import VideoWriter
from scenes import rounded

H, W = 48, 64


def scene(seed: int = 0, low: float = 60, high: float = 180) -> np.ndarray:
    """A smooth scene, with levels from low to high."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:H, :W]
    a, b, c = rng.uniform(0.05, 0.15, 3)
    waves = np.sin(a * x + seed) + np.cos(b * y) + np.sin(c * (x + y))
    return low + (high - low) * (waves - waves.min()) / np.ptp(waves)


def noisy(clean: np.ndarray, seed: int, sigma: float = 8) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, clean.shape)
    return rounded(clean + noise)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def write_film(path: Path, frames: Iterable[np.ndarray], rate: float = 25) -> Path:
    """A video of these frames."""
    with VideoWriter(path, path, rate) as video:
        for number, frame in enumerate(frames):
            video.write(from_array(frame), str(number))
        video.finish()
    return path


def two_films(folder: Path) -> tuple[Path, Path]:
    """Four frames each, in the two formats that are written."""
    frames = [[noisy(scene(seed), seed + k)[:20, :24] for k in range(4)] for seed in (0, 10)]
    return (
        write_film(folder / "ir.mkv", frames[0]),
        write_film(folder / "vis.mp4", frames[1]),
    )
