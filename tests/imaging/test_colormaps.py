"""Colour maps of an activity."""

from __future__ import annotations

import numpy as np
import pytest

from ddfm.imaging.colormaps import COLORMAPS, colored


@pytest.mark.parametrize("name", COLORMAPS)
def test_luminance_of_a_colour_map_rises_with_the_activity(name):
    colors = colored(np.linspace(0, 1, 257, dtype=np.float32), name)
    luminance = colors @ [0.299, 0.587, 0.114]
    assert (np.diff(luminance) > 0).all() and luminance[0] < 0.01 and luminance[-1] > 0.95
    assert colors.min() >= 0 and colors.max() <= 1
