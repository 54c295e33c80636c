"""Blur that is estimated: random fields of known spectra, and the example pair."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter1d

from ddfm import Observation
from ddfm.restoration.blur import find_blur
from degraded import INFRARED, VISIBLE
from scenes import as_jpeg, psnr, rounded

SIZE = (384, 480)


def noisy(plane: np.ndarray, noise: float) -> np.ndarray:
    return rounded(plane + noise * np.random.default_rng(2).standard_normal(plane.shape))


def blurred(plane: np.ndarray, sigma: float, noise: float = 2.0) -> np.ndarray:
    return noisy(gaussian_filter(plane.astype(float), sigma), noise)


def field(alpha: float, sigma: float) -> np.ndarray:
    """A random field with the spectrum f^-alpha exp(-(2 pi sigma f)^2) + noise, in 8 bits."""
    rng = np.random.default_rng(1)
    f = np.hypot(np.fft.fftfreq(SIZE[0])[:, None], np.fft.rfftfreq(SIZE[1]))
    f[0, 0] = 1
    response = f ** (-alpha / 2) * np.exp(-((2 * np.pi * sigma * f) ** 2) / 2)
    plane = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(SIZE)) * response, SIZE)
    return noisy(128 + 35 * (plane - plane.mean()) / plane.std(), 1.0)


@pytest.mark.parametrize("alpha", [1.8, 2.4, 3.0])
@pytest.mark.parametrize("sigma", [1.5, 2.5, 3.5])
def test_the_blur_of_a_random_field_is_found(alpha, sigma):
    assert find_blur(field(alpha, sigma) / 255) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("alpha", [1.8, 2.4, 3.0])
@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_a_sharp_random_field_is_not_blurred(alpha, sigma):
    assert find_blur(field(alpha, sigma) / 255) is None


@pytest.mark.parametrize("sigma", [1.5, 2.5, 4.0])
def test_a_blur_without_noise_is_found(sigma):
    """Rounding leaves contours in smooth areas, which are not white noise."""
    rng, plane = np.random.default_rng(0), np.full(SIZE, 100.0)
    for _ in range(60):
        y, x, (h, w) = rng.integers(340), rng.integers(440), rng.integers(10, 120, 2)
        plane[y : y + h, x : x + w] = rng.integers(256)
    assert find_blur(plane / 255) is None
    seen = gaussian_filter(plane, sigma)
    assert find_blur(rounded(seen) / 255) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("plane", [INFRARED, VISIBLE], ids=["infrared", "visible"])
def test_the_example_is_blurred_only_if_it_was_blurred(plane):
    assert find_blur(blurred(plane, 1.5) / 255) == pytest.approx(1.6, abs=0.25)
    assert find_blur(blurred(plane, 2.5) / 255) == pytest.approx(2.5, abs=0.4)
    for sharp in (
        plane,
        noisy(plane, 3.0),
        noisy(plane, 15.0),
        as_jpeg(plane, 75),
        as_jpeg(plane, 30),
        rounded(255 * (plane / 255) ** 0.5),
        plane[: plane.shape[0] // 2, : plane.shape[1] // 2],
        uniform_filter1d(plane, 9, axis=1),  # a motion; other directions are sharp
        np.repeat(plane[:1], 200, axis=0),
        np.full((200, 200), 90, np.uint8),
        plane[:7, :5],
    ):
        assert find_blur(sharp / 255) is None


def test_a_picture_is_not_blurred_where_a_part_of_it_is_sharp():
    soft = blurred(INFRARED, 2.5)
    sharp = soft.copy()
    sharp[100:180, 150:250] = INFRARED[100:180, 150:250]
    assert find_blur(soft / 255) is not None and find_blur(sharp / 255) is None
    # Large pictures are examined in parts; the sharp one is in a corner.
    wide = blurred(np.tile(INFRARED, (4, 4)), 2.5)
    assert wide.shape[0] > 1024 and find_blur(wide / 255) == pytest.approx(2.5, abs=0.4)
    wide[: INFRARED.shape[0] // 2, : INFRARED.shape[1] // 2] = rounded(INFRARED)[
        : INFRARED.shape[0] // 2, : INFRARED.shape[1] // 2
    ]
    assert find_blur(wide / 255) is None


@pytest.mark.parametrize("size", [(1, 500), (2, 500), (500, 2), (63, 500)])
def test_blur_is_not_looked_for_in_narrow_pictures(size):
    walk = np.random.default_rng(0).standard_normal(SIZE[:1] + (600,)).cumsum(axis=1)
    smooth = gaussian_filter(np.tile(walk, (2, 1)), 2.5)[: size[0], : size[1]]
    assert find_blur((smooth - smooth.min()) / np.ptp(smooth)) is None


def test_a_blurred_source_is_sharpened_and_reported(fuser):
    seen = blurred(INFRARED, 1.5)
    fusion = fuser(seen, VISIBLE)
    found = fusion.settings["observed"]
    assert found[0]["blur"] == find_blur(seen / 255) and "blur" not in found[1]
    assert psnr(255 * fusion.sources[0].pixels[..., 0], INFRARED) > psnr(seen, INFRARED) + 2
    known = fuser.with_config(observations=[{"blur": 1.5, "noise": 2}, None])(seen, VISIBLE)
    own, best = (psnr(255 * f.sources[0].pixels[..., 0], INFRARED) for f in (fusion, known))
    assert own > best - 0.5


def test_blur_is_kept_on_request(fuser):
    seen = blurred(INFRARED, 1.5)
    kept = fuser.with_config(observations=[Observation(blur=0), None])(seen, VISIBLE)
    assert "observed" not in kept.settings
    assert np.array_equal(rounded(255 * kept.sources[0].pixels[..., 0]), seen)


def test_a_source_with_a_given_scale_is_not_examined(fuser):
    kept = fuser.with_config(observations=[Observation(scale=1), None])
    assert "observed" not in kept(blurred(INFRARED, 1.5), VISIBLE).settings


@pytest.mark.parametrize("task", ["medical", "multi-focus", "multi-exposure"])
def test_blur_is_not_looked_for_where_it_belongs_to_the_picture(fuser, task):
    fusion = fuser.with_config(task=task, moving="keep")(blurred(INFRARED, 1.5), VISIBLE)
    assert "observed" not in fusion.settings
