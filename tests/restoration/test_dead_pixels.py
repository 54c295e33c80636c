"""Dead pixels: detected by their neighbours, and mended."""

from __future__ import annotations

import numpy as np

from ddfm.restoration.dead_pixels import find_dead, mended
from degraded import INFRARED, VISIBLE
from scenes import psnr


def test_dead_pixels_are_detected_and_no_others():
    rng = np.random.default_rng(0)
    dead = rng.random(INFRARED.shape) < 0.001
    plane = np.where(dead, 255 * rng.integers(0, 2, dead.shape), INFRARED) / 255
    found = find_dead(plane)
    assert not (found & ~dead).any() and found.sum() > 0.2 * dead.sum()
    assert psnr(255 * mended(plane, found), INFRARED) > psnr(255 * plane, INFRARED) + 1
    assert not find_dead(INFRARED / 255).any() and not find_dead(VISIBLE / 255).any()
