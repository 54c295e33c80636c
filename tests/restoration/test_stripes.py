"""Stripes: the offsets of columns and rows, detected and removed, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from ddfm.restoration.stripes import find_stripes
from degraded import INFRARED, VISIBLE
from scenes import psnr, rounded


@pytest.mark.parametrize("sigma", [12, 25])
@pytest.mark.parametrize("side", [40, 120, 344])
def test_white_noise_is_not_detected_as_stripes(side, sigma):
    """The means of its columns differ, too, but only by chance."""
    noise = np.random.default_rng(side).normal(0, sigma, (side, side))
    plane = (INFRARED[:side, :side] + noise) / 255
    assert not find_stripes(plane).sure and not find_stripes(plane.T).sure
    assert find_stripes(plane + np.random.default_rng(1).normal(0, sigma, side) / 255).sure


@pytest.mark.parametrize("way", ["columns", "rows"])
@pytest.mark.parametrize(("sigma", "gain"), [(6, 8.0), (2, 4.0)])
def test_stripes_are_detected_and_removed(fuser, way, sigma, gain):
    h, w = INFRARED.shape
    size = (1, w) if way == "columns" else (h, 1)
    offsets = sigma * np.random.default_rng(0).standard_normal(size)
    striped = rounded(INFRARED + offsets)
    fusion = fuser(striped, VISIBLE)
    found = fusion.settings["observed"][0]["stripes"]
    assert list(found) == [way] and found[way] == pytest.approx(sigma, rel=0.25)
    x = 255 * fusion.sources[0].pixels[..., 0]
    assert psnr(x, INFRARED) > psnr(striped, INFRARED) + gain


@pytest.mark.parametrize("plane", [INFRARED, VISIBLE], ids=["infrared", "visible"])
def test_removal_of_absent_stripes_changes_little(plane):
    stripes = find_stripes(plane / 255)
    assert not stripes.sure
    assert psnr(plane - 255 * stripes.offsets, plane + 1e-6) > 50
