"""Writes films to be fused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ddfm.imaging.picture import from_array
from ddfm.video.files import VideoWriter


def write_film(path: Path, frames: Iterable[np.ndarray], rate: float = 25) -> Path:
    """A video of these frames."""
    with VideoWriter(path, path, rate) as video:
        for number, frame in enumerate(frames):
            video.write(from_array(frame), str(number))
        video.finish()
    return path
