"""Noise that neighbours share: detected only where there is some, and removed as white noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage

from ddfm import Fuser
from ddfm.numerics.noise_level import noise_level, peaks
from ddfm.restoration.shared_noise import (
    deviation_in,
    find_shared,
    of_shared,
    without_shared_noise,
)
from places import EXAMPLES
from scenes import as_jpeg, rounded

SIZE = 400, 520
LEAST = 16 / 255


def as_seen(plane: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rounded(plane).astype(np.float32) * 2 / 255 - 1)[None, None]


def noise(
    deviation: float, width: float, size: tuple[int, int] = SIZE, seed: int = 0
) -> np.ndarray:
    """White noise blurred by a Gaussian, by FFT."""
    waves = np.fft.fft2(np.random.default_rng(seed).standard_normal(size))
    plane = np.fft.ifft2(ndimage.fourier_gaussian(waves, width)).real
    return deviation * plane / plane.std()


def scene(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A ramp, with boxes of all sizes in front of it."""
    rng = np.random.default_rng(1)
    plane = np.tile(np.linspace(60, 190, size[1]), (size[0], 1))
    for _ in range(40):
        top, left, height, width = (rng.integers(0, n) for n in (*size, 120, 120))
        plane[top : top + height, left : left + width] = rng.uniform(40, 210)
    return plane


def leaves(size: tuple[int, int]) -> np.ndarray:
    """Small discs that hide each other, as leaves seen from above."""
    rng = np.random.default_rng(0)
    plane = np.full(size, 128.0)
    y, x = np.mgrid[:9, :9] - 4
    for _ in range(size[0] * size[1] // 8):
        disc = (x**2 + y**2) <= rng.uniform(1, 9)
        i, j = rng.integers(0, size[0] - 9), rng.integers(0, size[1] - 9)
        plane[i : i + 9, j : j + 9][disc] = rng.uniform(70, 185)
    return ndimage.gaussian_filter(plane, 0.7)


@pytest.mark.parametrize("width", [0.5, 0.7, 1.0, 1.4])
def test_deviation_and_width_are_found_on_a_flat_picture(width):
    found = find_shared(as_seen(128 + noise(12, width)), LEAST)
    assert found is not None
    kind, deviation, wide = found
    assert kind == "shared"
    assert deviation == pytest.approx(12, rel=0.12)
    assert wide == pytest.approx(width, abs=0.08)


@pytest.mark.parametrize("width", [0.7, 1.0])
def test_shared_noise_is_found_in_a_scene(width):
    plane = scene()
    found = find_shared(as_seen(plane + noise(12, width, plane.shape)), LEAST)
    assert found is not None
    assert found[1] == pytest.approx(12, rel=0.25)


def test_no_shared_noise_is_found_in_clean_pictures():
    for file in EXAMPLES.glob("*.png"):
        plane = np.asarray(Image.open(file).convert("L"), float)
        assert find_shared(as_seen(plane), LEAST) is None
        assert find_shared(as_seen(np.pad(plane, 200, mode="symmetric")), LEAST) is None


def test_white_noise_is_not_detected_as_shared():
    for plane in (np.full(SIZE, 128.0), scene()):
        assert find_shared(as_seen(plane + noise(15, 0, plane.shape)), LEAST) is None


@pytest.mark.parametrize("quality", [75, 50])
def test_white_noise_is_detected_after_jpeg_compression(quality):
    """Half of it or less remains in single pixels; at coarser scales it is as strong as before."""
    plane = as_seen(as_jpeg(rounded(scene() + noise(12, 0)), quality))
    assert noise_level(plane) < 0.6 * 12 * 2 / 255
    found = find_shared(plane, LEAST)
    assert isinstance(found, float)
    assert found == pytest.approx(11, abs=2)  # a part of it is gone


def test_jpeg_compression_is_not_detected_as_noise():
    for plane in [
        scene(),
        *(np.asarray(Image.open(f).convert("L")) for f in EXAMPLES.glob("*.png")),
    ]:
        assert find_shared(as_seen(as_jpeg(rounded(plane), 50)), LEAST) is None


def test_leaves_are_not_detected_as_noise():
    """They are as uniform as noise, and fade with size as it does; but their details stand out."""
    plane = as_seen(leaves(SIZE))
    assert noise_level(F.avg_pool2d(plane, 2)) > LEAST / 2
    assert peaks(F.avg_pool2d(plane, 2)) > 3.1 > peaks(F.avg_pool2d(as_seen(128 + noise(12, 1)), 2))
    assert find_shared(plane, LEAST) is None


def test_faint_noise_and_small_pictures_are_not_changed():
    assert find_shared(as_seen(128 + noise(6, 0.8)), LEAST) is None
    assert find_shared(as_seen(128 + noise(12, 0.8, (120, 120))), LEAST) is None


def test_the_deviation_of_chroma_is_found_where_the_width_is_known():
    seen = torch.from_numpy(noise(5, 0.8) * 2 / 255)[None, None].float()
    assert deviation_in(seen, 0.8) * 255 / 2 == pytest.approx(5, rel=0.08)


@pytest.mark.parametrize("width", [0.4, 0.6])
def test_the_denoiser_gets_white_noise_and_its_level(width):
    seen: list[float] = []

    def denoise(x: torch.Tensor, level: float) -> torch.Tensor:
        beside = (x[..., 1:] * x[..., :-1]).mean() / x.square().mean()
        seen.extend([float(x.std()) / level, float(beside)])
        return torch.zeros_like(x)

    y = torch.from_numpy(noise(12, width) * 2 / 255)[None, None].float()
    x = without_shared_noise(y, 24 / 255, width, denoise)
    # The finest of it is held back, so that the scene's is not made too much of.
    assert seen[0] == pytest.approx(1, abs=0.06) and abs(seen[1]) < 0.06
    assert float(x.abs().max()) < 1e-5


def test_a_denoiser_without_effect_leaves_the_picture_unchanged():
    y = as_seen(scene())
    for width in (0.7, 1.2, 3.0):
        x = without_shared_noise(y, 24 / 255, width, lambda x, level: x)
        assert float((x - y).abs().max()) < 1e-3


def test_wide_noise_is_removed_at_half_the_size():
    sizes = []

    def denoise(x: torch.Tensor, level: float) -> torch.Tensor:
        sizes.append(tuple(x.shape[-2:]))
        return x

    without_shared_noise(as_seen(scene()[:301, :401]), 24 / 255, 1.2, denoise)
    assert sizes == [(151, 201), (301, 401)]


def test_the_usual_width_is_the_default():
    assert of_shared(("shared", 12.0)) == (24 / 255, 0.8)
    assert of_shared(("shared", 12.0, 1.1)) == (24 / 255, 1.1)


def test_a_fusion_detects_and_removes_it():
    """In colour: luminance and chroma come out with less of it."""
    fuser = Fuser("gaussian", device="cpu", look=False)
    plane = scene()
    colors = np.stack([plane, 0.8 * plane, 0.6 * plane], axis=2)
    noisy = colors + np.stack([noise(20, 0.8, plane.shape, k) for k in range(3)], axis=2)
    noisy = np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)
    fusion = fuser(plane.astype(np.uint8), noisy)
    assert fusion.settings["observed"][1]["noise"][0] == "shared"
    after = 255 * fusion.sources[1].pixels
    for k in range(3):
        assert np.abs(after - colors)[..., k].mean() < 0.8 * np.abs(noisy - colors)[..., k].mean()
