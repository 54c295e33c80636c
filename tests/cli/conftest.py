"""Fixtures for the tests of several commands."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pair(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / "ir.png", tmp_path / "vis.png"]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (16, 20), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def out(tmp_path):
    """The folder for results. A failed command has left nothing there."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "fused.png"
