"""Renderings of temperatures in false colours, fused with a photograph."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import spearmanr

import ddfm
from ddfm.errors import DdfmWarning
from ddfm.imaging.colormaps import colored
from ddfm.imaging.picture import from_array
from ddfm.imaging.sources import read_sources
from ddfm.imaging.thermal.palettes import levels_along_palette
from ddfm.imaging.thermal.renderings import in_false_colors, is_grey_with_marks


@pytest.fixture
def photograph() -> np.ndarray:
    """Colours of a scene: each field has its own hue, and any brightness."""
    rng = np.random.default_rng(0)
    hues = rng.uniform(0.35, 0.65, (6, 8, 3)).repeat(8, 0).repeat(8, 1)
    return (hues * rng.uniform(0.4, 1.4, (48, 64, 1))).clip(0, 1).astype(np.float32)


def temperatures() -> np.ndarray:
    y, x = np.mgrid[:48, :64]
    return (0.5 + 0.3 * np.sin(x / 9) + 0.2 * np.cos(y / 7)).astype(np.float32)


def rainbow(values: np.ndarray) -> np.ndarray:
    """Blue, cyan, green, yellow, red, where brightness rises and falls."""
    anchors = np.array([(0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 1, 0), (1, 0, 0)], np.float32)
    channels = [np.interp(values, np.linspace(0, 1, 5), anchor) for anchor in anchors.T]
    return np.stack(channels, axis=-1).astype(np.float32)


@pytest.mark.parametrize("palette", ["ember", "hot", "iron", "rainbow"])
def test_a_rendering_is_fused_in_grey_with_a_warning(photograph, palette):
    values = temperatures()
    rendering = rainbow(values) if palette == "rainbow" else colored(values, palette)
    with pytest.warns(DdfmWarning, match="seems to be temperatures in false colours"):
        thermal, visible = read_sources((rendering, photograph))
    assert not thermal.is_color and visible.is_color
    assert spearmanr(thermal.pixels.ravel(), values.ravel()).statistic > 0.98


def test_temperatures_that_do_not_occur_leave_a_gap_in_the_palette(photograph):
    """A cold scene with something hot in it, as by night."""
    values = temperatures() * 0.3
    values[20:30, 30:40] = 1
    with pytest.warns(DdfmWarning, match="in false colours"):
        thermal, _ = read_sources((rainbow(values), photograph))
    assert spearmanr(thermal.pixels.ravel(), values.ravel()).statistic > 0.98
    assert thermal.pixels[25, 35] == 1


def test_colours_that_show_no_palette_are_fused_by_their_brightness():
    assert levels_along_palette(np.zeros((8, 8, 3), np.float32)) is None
    grey = np.repeat(temperatures()[..., None], 3, axis=2)
    partly = np.concatenate([colored(temperatures() * 0.6, "ember"), grey])  # in a photograph
    assert levels_along_palette(partly) is None


def grey_with_marks() -> np.ndarray:
    """A rendering in grey with a red logo and a blue mark, whose hottest spot is red."""
    made = np.repeat(temperatures()[..., None] * 0.9, 3, axis=2)
    made[:4, :12] = (0.8, 0.1, 0.1)
    made[30, 5:11] = made[27:33, 8] = (0.1, 0.2, 1)
    made[20:24, 30:36] = (1, 0.2, 0)
    return made


def test_a_rendering_in_grey_with_a_logo_is_fused_in_grey_with_a_warning(photograph):
    with pytest.warns(DdfmWarning, match="is grey apart from colours like those of a logo"):
        thermal, visible = read_sources((grey_with_marks(), photograph))
    assert not thermal.is_color and visible.is_color
    levels = thermal.pixels[..., 0]
    assert levels[12:, 40:] == pytest.approx(temperatures()[12:, 40:] * 0.9)
    assert (levels[20:24, 30:36] == 1).all()  # what is hot stays bright


def test_an_infrared_picture_with_marks_in_colour_is_no_exposure_of_the_photograph(photograph):
    with pytest.warns(DdfmWarning, match="is grey apart from colours"):
        fusion = ddfm.fuse(grey_with_marks(), photograph, prior="gaussian", steps=1)
    assert fusion.settings["task"] == "ir-visible"


def test_an_infrared_picture_with_marks_in_colour_comes_first_beside_a_grey_photograph(photograph):
    grey = photograph.mean(axis=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that the photograph should be given first
        ddfm.fuse(grey_with_marks(), grey, prior="gaussian", steps=1, look=False)
    with pytest.warns(DdfmWarning, match="infrared comes first"):
        ddfm.fuse(photograph, grey, prior="gaussian", steps=1, look=False)


def test_photographs_that_are_grey_in_part_are_in_colour(photograph):
    """Half of the scene has no colour, and a photograph of night is black nearly everywhere."""
    half = photograph.copy()
    half[:, :32] = half[:, :32].mean(axis=2, keepdims=True)
    night = photograph * np.float32(0.05)
    night[::12, ::12] = (1, 0.7, 0.3)
    assert is_grey_with_marks(from_array(grey_with_marks()))
    for other in (photograph, half, night):
        assert not is_grey_with_marks(from_array(other))


def test_other_coloured_sources_are_not_changed(photograph):
    """Exposures, coloured activity with a grey MRI, and two renderings are not changed."""
    assert not in_false_colors(from_array(photograph))
    hot = colored(temperatures(), "hot")
    vivid = hot * np.float32(0.9)  # of the same scene
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clipped = (photograph * np.float32(0.2), (photograph * 2).clip(0, 1))
        for pair in ((photograph**2, photograph), clipped, (hot, temperatures()), (hot, vivid)):
            for came, read in zip(pair, read_sources(pair), strict=True):
                assert read.is_color == (came.ndim == 3)
