"""Sources as a whole: clean ones are unchanged, and transparent pixels have no influence."""

from __future__ import annotations

import numpy as np
import pytest

from ddfm import read_image
from ddfm.restoration.observation import AS_IT_IS
from degraded import INFRARED, VISIBLE, slice_in_black

PAIRS = {"ir-visible": (INFRARED, VISIBLE), "medical": (slice_in_black("t1"), slice_in_black("pd"))}


@pytest.mark.parametrize("task", PAIRS)
def test_clean_pairs_are_not_changed(fuser, task):
    """The same pixels, and nothing detected: the fusion is the one without detection."""
    sources = PAIRS[task]
    fuser = fuser.with_config(task=task)
    looked = fuser(*sources)
    assert "observed" not in looked.settings
    for picture, path in zip(looked.sources, sources, strict=True):
        assert np.array_equal(picture.pixels, read_image(path).pixels)
    left = fuser.with_config(observations=[AS_IT_IS, AS_IT_IS])(*sources)
    assert np.array_equal(looked.image, left.image)


def test_transparent_pixels_are_ignored(fuser):
    """As with a mask: the other source is visible there, and the result is opaque."""
    clear = np.zeros(INFRARED.shape, bool)
    clear[:, : INFRARED.shape[1] // 3] = True
    source = np.dstack([np.where(clear, 0, INFRARED), np.where(clear, 0, 255)]).astype(np.uint8)
    fusion = fuser(source, VISIBLE)
    found = fusion.settings["observed"][0]
    assert found == {"transparent": pytest.approx(clear.mean(), abs=1e-3)}
    assert (fusion.image[..., 1] == 255).all()
    inner = np.zeros_like(clear)
    inner[20:-20, 10 : INFRARED.shape[1] // 3 - 20] = True
    levels = fusion.image[..., 0]
    assert np.corrcoef(levels[inner], VISIBLE[inner])[0, 1] > 0.9
    both = fuser(source, np.dstack([VISIBLE, source[..., 1]]))
    assert (both.image[..., 1] == source[..., 1]).all()  # where both are clear, so is the result
