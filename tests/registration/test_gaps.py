"""Invalid pixels of a picture, unmoved and moved."""

import colorsys

import numpy as np
import pytest
from scipy import ndimage

from ddfm import Fuser
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import grey
from ddfm.registration.gaps import bridged, filled, gaussian_mean, with_gaps_filled
from ddfm.registration.register import registered
from ddfm.registration.transform import Transform

SIZE = (96, 128)
SHIFT = Transform([[1, 0, 9], [0, 1, -6], [0, 0, 1]], SIZE, SIZE, "shift")
FRAME = np.zeros(SIZE, bool)
FRAME[20:80, 24:100] = True


def texture(seed=0, colors=1):
    noise = np.random.default_rng(seed).standard_normal((*SIZE, colors))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0))
    return (0.5 + 0.3 * smooth / np.abs(smooth).max()).astype(np.float32)


def test_outside_of_the_frame_the_gradients_are_those_of_the_other_source():
    rng = np.random.default_rng(0)
    other = np.clip(0.4 + 0.05 * rng.standard_normal((60, 80)), 0, 1).astype(np.float32)
    inside = np.zeros((60, 80), bool)
    inside[:, 30:] = True
    picture = Picture((other + 0.2)[..., None].astype(np.float32))
    result = filled(picture, inside, other).pixels[..., 0]
    assert np.abs(result - other - 0.2).max() < 0.02  # inside as it was, outside with its offset


def test_in_a_gap_the_colours_are_those_of_the_other_source():
    other = texture(colors=3)
    result = filled(Picture(np.where(FRAME[..., None], other, 0)), FRAME, other)
    assert np.allclose(result.pixels, other, atol=1e-3)


def test_a_gap_of_a_dark_exposure_has_the_colour_of_the_bright_one():
    """With one offset for R, G and B, only red would be left of this brown."""
    lit, brown = (0.9, 0.75, 0.6), (0.76, 0.6, 0.45)
    bright = np.where(FRAME[..., None], lit, brown).astype(np.float32)
    dark = np.full((*SIZE, 3), (0.12, 0.1, 0.08), np.float32)
    result = filled(Picture(dark), FRAME, bright).pixels
    hue, saturation, value = colorsys.rgb_to_hsv(*result[5, 60].tolist())
    assert (hue, saturation) == pytest.approx(colorsys.rgb_to_hsv(*brown)[:2], abs=1e-3)
    assert 0.01 < value < 0.12


def test_the_reference_fills_a_gap_without_a_seam():
    """With a mean of the sources, two different levels would meet in the gap of the first."""
    flat = [np.full((*SIZE, 1), level, np.float32) for level in (0.5, 0.4, 0.8)]
    left = np.zeros(SIZE, bool)
    left[:, :64] = True
    sources = [Picture(flat[0], mask=FRAME), Picture(flat[1]), Picture(flat[2], mask=left)]
    done = with_gaps_filled(sources, 1)
    assert np.allclose(done[0].pixels, 0.5, atol=1e-3) and np.allclose(
        done[2].pixels, 0.8, atol=1e-3
    )


@pytest.mark.parametrize("overlap", [30, 0])
def test_where_both_have_gaps_only_what_both_show_is_compared(overlap):
    """Where one shows nothing, its hidden black says nothing about the other's levels."""
    left, right = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    left[:, : 64 + overlap], right[:, 64:] = True, True
    even = np.full((*SIZE, 1), 0.5, np.float32)
    a, b = (Picture(even * of[..., None], mask=of) for of in (left, right))
    for picture in with_gaps_filled((a, b), 1):
        assert np.allclose(picture.pixels, 0.5, atol=1e-3)


def test_a_bridged_gap_has_no_edge():
    pixels = np.where(FRAME, 0.7, 0.0).astype(np.float32)[..., None]
    bridge = bridged(Picture(pixels, mask=FRAME))
    assert np.abs(np.diff(bridge.pixels[..., 0], axis=0)).max() < 0.02


def test_wide_means_are_those_of_a_gaussian():
    """They are computed at a smaller size."""
    plane = np.zeros((257, 301))
    plane[40:170, 60:220] = np.random.default_rng(0).uniform(size=(130, 160))
    for sigma in (4.0, 32.0, 64.0):
        expected = ndimage.gaussian_filter(plane, sigma, mode="nearest")
        assert np.abs(gaussian_mean(plane, sigma) - expected).max() < 0.02 * expected.max()


@pytest.mark.parametrize("reference", [0, 1])
def test_the_rim_of_a_moved_or_fixed_source_is_ignored(reference):
    """Both show one texture, so the filled result must equal it, wherever the rim is."""
    whole = texture()
    rimmed = np.where(FRAME[..., None], whole, 0)
    moved = np.zeros_like(whole)
    moved[6:, :-9] = rimmed[:-6, 9:]  # what SHIFT brings back
    mask = np.zeros(SIZE, bool)
    mask[6:, :-9] = FRAME[:-6, 9:]
    pictures = [Picture(moved, mask=mask), Picture(whole)]
    by = SHIFT
    if reference == 0:
        pictures = [Picture(rimmed, mask=FRAME), Picture(np.roll(whole, (6, -9), (0, 1)))]
    done = registered(pictures, transform=by, reference=reference).pictures
    for picture in done:
        assert np.abs(grey(picture)[:-6, 9:] - whole[:-6, 9:, 0]).max() < 0.02


def test_the_common_part_ends_at_the_rims():
    whole = texture()
    pictures = [Picture(whole), Picture(whole, mask=FRAME)]
    done = registered(pictures, transform=SHIFT, crop=True)
    assert done.pictures[0].size == (60, 76)  # the frame of the one that stays
    assert np.allclose(done.pictures[1].pixels, whole[20:80, 24:100])
    moved = registered(pictures, transform=SHIFT.inverse(), reference=0, crop=True)
    assert moved.pictures[0].size == (60, 76)
    assert np.allclose(moved.pictures[0].pixels, whole[26:86, 15:91])


def test_a_fusion_has_no_rim_where_a_moved_frame_ends():
    """The step across the frame's border is no larger than the photograph's own."""
    whole = texture()
    thermal = Picture(np.where(FRAME, 1 - 0.5 * whole[..., 0], 0.0).astype(np.float32)[..., None])
    how = {"transform": SHIFT, "look": False, "tone": "none", "task": "ir-visible"}
    fused = grey(Fuser(**how)(thermal, Picture(whole), progress=False).picture)
    left = 24 + 9  # of the frame, after it was moved
    across = np.abs(np.diff(fused[20:70], axis=1))
    assert across[:, left - 2 : left + 2].mean() < 1.5 * across[:, :20].mean()


def test_a_mask_moves_with_its_picture():
    done = registered([Picture(texture(), mask=FRAME), Picture(texture(1))], transform=SHIFT)
    expected = np.zeros(SIZE, bool)
    expected[:-6, 9:] = FRAME[6:, :-9]
    assert np.array_equal(done.pictures[0].mask, expected)
    assert done.pictures[1].mask is None
