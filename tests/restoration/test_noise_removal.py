"""Noise of a source: detected or given, removed, and told from texture."""

from __future__ import annotations

import numpy as np
import pytest

from ddfm import Fuser, Observation
from ddfm.errors import DdfmWarning
from ddfm.numerics.noise_level import noise_level
from ddfm.numerics.planes import plane
from degraded import INFRARED, VISIBLE, latent
from scenes import rounded


def test_noise_is_kept_where_zero_is_given(fuser):
    noisy = rounded(INFRARED + np.random.default_rng(1).normal(0, 12, INFRARED.shape))
    assert np.abs(latent(fuser, noisy) - noisy).max() > 5  # found out, and removed
    assert np.array_equal(np.rint(latent(fuser, noisy, Observation(noise=0))), noisy)
    removed = [noisy - latent(fuser, noisy, Observation(noise=level)) for level in (4, 12)]
    assert removed[0].std() < 0.8 * removed[1].std()  # what is said, and no more


def test_noise_of_chroma_is_removed_with_that_of_luminance():
    fuser = Fuser(device="cpu", look=False)
    color = np.stack([VISIBLE * share for share in (1.0, 0.8, 0.6)], axis=2)
    noisy = rounded(color + 20 * np.random.default_rng(0).standard_normal(color.shape))
    y = fuser(INFRARED, noisy).sources[1].pixels * 255
    chroma = [x[..., 0].astype(float) - x[..., 2] for x in (y, noisy, color)]
    errors = [np.abs(x - chroma[2]).mean() for x in chroma[:2]]
    assert errors[0] < errors[1] / 2


def test_specified_noise_that_is_absent_causes_a_warning(fuser):
    with pytest.warns(DdfmWarning, match=r"the specified noise is 30 levels, but only \d"):
        fusion = fuser.with_config(observations=[{"noise": 30}, None])(INFRARED, VISIBLE)
    assert fusion.settings["observed"][0]["noise_there"] < 10


def test_pictures_too_small_for_an_estimate_cause_no_warning_about_noise(fuser):
    given = [{"noise": 30}, None]
    assert fuser.with_config(observations=given)(INFRARED[:8, :8], VISIBLE[:8, :8]).warnings == ()


def test_the_prior_separates_noise_from_the_texture_of_a_coarse_source():
    h, w = (n // 3 * 3 for n in INFRARED.shape)
    coarse = INFRARED[:h, :w].reshape(h // 3, 3, w // 3, 3).mean((1, 3))
    noisy = rounded(coarse + np.random.default_rng(3).normal(0, 10, coarse.shape))
    measured = 255 / 2 * noise_level(plane(noisy / np.float32(255)))
    fusion = Fuser(device="cpu", look=False)(noisy, VISIBLE[:h, :w])
    assert 9.5 < fusion.settings["observed"][0]["noise"] < 0.95 * measured
