"""The estimated noise level is exact where there is only noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddfm.numerics.noise_level import noise_level, quiet_levels, refined_level


def white(sigma: float, size: tuple[int, int], seed: int) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(0, sigma, size)
    return torch.from_numpy(noise.astype(np.float32))[None, None]


@pytest.mark.parametrize("sigma", [0.01, 0.2])
def test_white_noise_is_found_to_half_a_percent(sigma):
    found = np.mean([noise_level(white(sigma, (600, 600), seed)) for seed in range(6)])
    assert found == pytest.approx(sigma, rel=0.005)


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.2])
def test_noise_in_a_smooth_picture_is_found(sigma):
    smooth = torch.sin(torch.linspace(0, 6, 200))[:, None] * torch.cos(torch.linspace(0, 9, 240))
    assert noise_level(0.6 * smooth + white(sigma, (200, 240), 3)) == pytest.approx(sigma, rel=0.08)


def test_it_is_zero_without_noise_and_in_the_smallest_pictures():
    assert noise_level(torch.zeros(1, 1, 64, 64)) == 0
    assert noise_level(torch.rand(1, 1, 3, 3)) == 0


def test_it_does_not_depend_on_the_share_of_blocks():
    """Where there is only noise, quiet and busy blocks give the same level."""
    levels, _ = quiet_levels(white(0.1, (1200, 1200), 1), (0.02, 0.1, 0.25, 0.5, 0.9))
    assert levels == pytest.approx([0.1] * 5, rel=0.015)


def test_the_level_of_small_pictures_is_a_rough_estimate():
    found = [noise_level(white(0.1, (64, 64), seed)) for seed in range(40)]
    assert np.mean(found) == pytest.approx(0.1, rel=0.02) and np.std(found) < 0.006


@pytest.mark.parametrize("sigma", [0.1, 0.2])
def test_a_denoiser_that_recognises_texture_refines_the_level(sigma):
    """The conditional mean of a Gaussian field is the Wiener filter."""
    size = (128, 128)
    down, across = (torch.fft.fftfreq(n) for n in size)
    spectrum = 0.001 / (down[:, None] ** 2 + across**2 + 1e-3) ** 1.5

    def filtered(image, gain):
        return torch.fft.ifft2(torch.fft.fft2(image) * gain).real

    def wiener(image, level):
        return filtered(image, spectrum / (spectrum + level**2))

    texture = filtered(white(1.0, size, seed=1), spectrum.sqrt())
    noisy = texture + white(sigma, size, seed=2)
    level = noise_level(noisy)
    assert level > 1.08 * sigma
    refined = refined_level(noisy, level, wiener)
    assert abs(refined - sigma) < 0.5 * (level - sigma)


def test_with_a_denoiser_that_returns_black_everything_is_noise():
    noisy = white(0.1, (82, 82), seed=3)
    refined = refined_level(noisy, 0.12, lambda image, level: torch.zeros_like(image))
    assert refined == pytest.approx(float(noisy[..., 1:-1, 1:-1].square().mean().sqrt()), rel=0.02)
