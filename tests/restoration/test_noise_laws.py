"""Noise that depends on the level: its stabilisation, and an inverse without bias."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ddfm.restoration.noise_laws import (
    Law,
    PoissonGaussian,
    Rician,
    deviation_of,
    find_photons,
    without_noise,
)
from places import EXAMPLES

COUNT = 40_000
SIGMA, GAIN, READ = 12.0, 5.0, 3.0


def rician(level: float, rng: np.random.Generator) -> np.ndarray:
    real, imaginary = SIGMA * rng.standard_normal((2, COUNT))
    return np.hypot(level + real, imaginary)


def photons(level: float, rng: np.random.Generator) -> np.ndarray:
    return GAIN * rng.poisson(level / GAIN, COUNT) + READ * rng.standard_normal(COUNT)


LAWS = {"rician": (Rician(SIGMA), rician), "poisson": (PoissonGaussian(GAIN, READ), photons)}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("level", [20.0, 60.0, 150.0, 240.0])
def test_the_deviation_is_one_at_every_level(name, level):
    law, draw = LAWS[name]
    even = law.even(draw(level, np.random.default_rng(1)))
    assert even.std() == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("level", [8.0, 20.0, 60.0, 150.0, 240.0])
def test_the_inverse_has_no_bias(name, level):
    """A perfect denoiser returns the mean of f(y), which is the mean of many draws."""
    law, draw = LAWS[name]
    mean = law.even(draw(level, np.random.default_rng(2))).mean(keepdims=True)
    assert law.level(mean)[0] == pytest.approx(level, abs=0.5)


def test_the_mean_of_a_magnitude_in_the_dark_is_not_its_level():
    """At level 0 it is Rayleigh's, sigma sqrt(pi / 2), which is brought back to black."""
    dark = rician(0.0, np.random.default_rng(3))
    assert dark.mean() == pytest.approx(SIGMA * np.sqrt(np.pi / 2), rel=0.02)
    law = Rician(SIGMA)
    assert law.level(law.even(dark).mean(keepdims=True))[0] < 3


@pytest.mark.parametrize("name", LAWS)
def test_a_flat_picture_keeps_its_level(name):
    law, draw = LAWS[name]
    noisy = draw(30.0, np.random.default_rng(4)).reshape(1, 1, 200, 200) * 2 / 255 - 1
    seen: list[float] = []

    def denoise(x: torch.Tensor, level: float) -> torch.Tensor:
        seen.append(float(x.std()) / level)  # white noise of the level that is told
        return x.mean().expand_as(x)

    x = without_noise(torch.from_numpy(noisy).float(), law, denoise)
    assert seen[0] == pytest.approx(1, abs=0.08)
    assert (float(x[0, 0, 0, 0]) + 1) * 127.5 == pytest.approx(30, abs=1)


def test_laws_apply_to_whole_pictures():
    laws: list[Law] = [Rician(4.0), PoissonGaussian(0.5)]
    for law in laws:
        x = np.linspace(0, 255, 12).reshape(3, 4)
        assert np.abs(law.level(law.even(x)) - x).max() < 8  # but for the noise's own bias


def scene() -> np.ndarray:
    """A scene without noise, levels from 0 to 255: a ramp with bars of all levels."""
    x = np.linspace(5, 250, 320)
    plane = np.tile(x, (240, 1))
    plane[80:160] = (
        plane[80:160]
        .reshape(80, 16, 20)
        .mean(2, keepdims=True)
        .repeat(20, 2)[:, ::-1]
        .reshape(80, 320)
    )
    return plane


def as_seen(plane: np.ndarray) -> torch.Tensor:
    rounded = np.rint(np.clip(plane, 0, 255))
    return torch.from_numpy(rounded / 127.5 - 1).float()[None, None]


def test_photon_noise_is_detected_as_it_grows_with_the_level():
    rng = np.random.default_rng(5)
    noisy = GAIN * rng.poisson(scene() / GAIN) + READ * rng.standard_normal(scene().shape)
    found = find_photons(as_seen(noisy))
    assert found is not None
    kind, gain, read = found
    assert kind == "poisson" and gain == pytest.approx(GAIN, rel=0.1)
    assert deviation_of(found, 100) == pytest.approx(np.hypot(np.sqrt(100 * GAIN), READ), rel=0.05)
    assert read < 4 * READ


@pytest.mark.parametrize("sigma", [5, 15, 40])
def test_white_noise_is_not_detected_as_photon_noise(sigma):
    rng = np.random.default_rng(6)
    planes = [np.asarray(Image.open(p).convert("L"), float) for p in EXAMPLES.glob("*.png")]
    for plane in (scene(), *planes):
        assert find_photons(as_seen(plane + sigma * rng.standard_normal(plane.shape))) is None


def test_the_deviation_of_other_noise_is_the_given_one():
    assert deviation_of(7.0, 100) == deviation_of(("rician", 7.0), 100) == 7.0
