"""Noise in the air around a body: detected with its law, and only where there is some."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ddfm import Fuser
from ddfm.restoration.noise_in_air import find_in_air
from places import EXAMPLES

FINE = 1 / 255
AT_MOST = 0.06  # of the deviation; a picture of 192 pixels has some 150 blocks of air


def body(air: float = 0.0) -> np.ndarray:
    """An ellipse with texture as strong as noise of six levels, in air."""
    y, x = np.mgrid[-1:1:192j, -1:1:192j]
    texture = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal(x.shape), 0.6)
    plane = 120 + 40 * x + 12 * texture / texture.std()
    return np.where(x**2 / 0.5 + y**2 / 0.7 < 1, plane, air)


def noise(shape: tuple[int, ...], sigma: float) -> np.ndarray:
    return sigma * np.random.default_rng(6).standard_normal(shape)


def found(plane: np.ndarray) -> object:
    rounded = np.rint(np.clip(plane, 0, 255)).astype(np.float32)
    return find_in_air(torch.from_numpy(rounded * 2 / 255 - 1)[None, None], FINE)


@pytest.mark.parametrize("sigma", [3.0, 5.0, 8.0, 20.0])
def test_gaussian_noise_is_estimated_from_what_clipping_at_black_leaves(sigma):
    clean = body()
    assert found(clean + noise(clean.shape, sigma)) == pytest.approx(sigma, rel=AT_MOST)


@pytest.mark.parametrize("sigma", [3.0, 5.0, 8.0, 20.0])
def test_rician_noise_is_distinguished_from_gaussian_noise(sigma):
    clean = body()
    real, imaginary = noise((2, *clean.shape), sigma)
    kind, deviation = found(np.hypot(clean + real, imaginary))
    assert kind == "rician"
    assert deviation == pytest.approx(sigma, rel=AT_MOST)


def test_air_may_be_lighter_than_black():
    clean = body(air=40)
    assert found(clean + noise(clean.shape, 5)) == pytest.approx(5, rel=AT_MOST)


def test_noise_of_a_colour_image_is_that_of_its_luminance():
    """Each channel is clipped separately, and the noise is added with luminance weights."""
    clean = body()
    channels = np.clip(clean[..., None] + noise((*clean.shape, 3), 8), 0, 255)
    luma = 8 * np.hypot(np.hypot(0.299, 0.587), 0.114)
    assert found(channels @ [0.299, 0.587, 0.114]) == pytest.approx(luma, rel=AT_MOST)


def test_texture_and_black_are_not_noise():
    assert found(body()) is None
    assert found(np.zeros((192, 192))) is None


def test_uneven_air_is_not_used():
    clean = body()
    clean = np.where(clean == 0, np.linspace(0, 30, 192), clean)  # lighter from left to right
    assert found(clean + noise(clean.shape, 5)) is None


def test_noise_that_neighbours_share_is_not_detected_as_white():
    clean = body(air=60)
    wide = ndimage.gaussian_filter(noise(clean.shape, 20), 0.8)
    assert found(clean + wide) is None


def test_too_few_blocks_give_no_estimate():
    assert found(noise((40, 40), 5)) is None


@pytest.mark.parametrize("name", ["olinda_infrared", "olinda_visible"])
def test_a_picture_without_air_gives_no_estimate(name):
    assert found(np.asarray(Image.open(EXAMPLES / f"{name}.png").convert("L"), float)) is None


@pytest.mark.parametrize(("name", "lightest"), [("t1", 142), ("pd", 222)])
def test_slices_of_a_simulated_scanner_have_noise_in_one_proportion(name, lightest):
    """BrainWeb adds it to a complex signal, as a share of the lightest tissue: 3 % is usual.

    That is white matter in T1, and the ventricles in proton density.
    """
    kind, deviation = found(np.asarray(Image.open(EXAMPLES / f"brain_{name}.png"), float))
    assert kind == "rician"
    assert deviation == pytest.approx(0.03 * lightest, rel=0.1)


def test_a_fusion_of_slices_removes_faint_noise():
    """Without air, noise below ten levels would be taken for texture."""
    clean = np.rint(np.clip(body(), 0, 255)).astype(np.uint8)
    other = np.rint(np.clip(255 - body(255.0), 0, 255)).astype(np.uint8)
    noisy = np.rint(np.clip(clean + noise(clean.shape, 6), 0, 255)).astype(np.uint8)
    fusion = Fuser(task="medical")(noisy, other, progress=False)
    (about, beside), source = fusion.settings["observed"], fusion.sources[0].pixels[..., 0]
    assert about["noise"] == pytest.approx(6, rel=AT_MOST)
    assert "noise" not in beside
    air = clean == 0
    assert 255 * source[air].mean() < 1 < 2 < noisy[air].mean()
    before, after = (x - clean.astype(float) for x in (noisy, 255 * source))
    assert np.square(after).mean() < 0.6 * np.square(before).mean()
