"""Dead pixels: detected by their neighbours, and mended."""

from __future__ import annotations

import numpy as np
import pytest

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


def test_small_hot_objects_on_a_map_are_no_dead_pixels(fuser, tmp_path):
    """Its pixels were resampled, and are not those of the sensor."""
    tifffile = pytest.importorskip("tifffile")
    hot = INFRARED.copy()
    hot[40:300:50, 40:400:60] = 255
    place = [(33550, "d", 3, (1.0, 1.0, 0.0), True), (33922, "d", 6, (0, 0, 0, 5e5, 5e6, 0), True)]
    found = []
    for extratags in ([], place):
        tifffile.imwrite(tmp_path / "a.tif", hot, extratags=extratags)
        fusion = fuser.with_config(metadata_from="none")(tmp_path / "a.tif", VISIBLE)
        found.append(fusion.settings.get("observed", [{}])[0].get("dead", 0))
    assert found[0] >= 4 and found[1] == 0
