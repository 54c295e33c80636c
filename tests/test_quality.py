"""`quality`: how many passes the default likelihood makes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import ddfm
from command_line import ddfm_run, refused
from ddfm import InputError
from ddfm.config import QUALITIES, FusionConfig
from ddfm.priors.gaussian import GaussianPrior


class Counting(GaussianPrior):
    """A prior that counts its evaluations."""

    calls = 0

    def __call__(self, x_t, t):
        Counting.calls += 1
        return super().__call__(x_t, t)


def pair(noise: float) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :80] / 10
    planes = [120 + 60 * np.sin(x), 120 + 60 * np.cos(y + x)]
    return [np.clip(p + rng.normal(0, noise, p.shape), 0, 255).astype(np.uint8) for p in planes]


def test_the_default_is_closer_than_fast_to_convergence():
    fuser = ddfm.Fuser("gaussian", task="ir-visible", tone="none")
    far = fuser.with_config(steps=60)(*pair(0)).image.astype(float)
    away = {q: np.abs(fuser.with_config(quality=q)(*pair(0)).image - far).mean() for q in QUALITIES}
    assert away["fast"] > away["default"]


def test_a_fast_fusion_evaluates_the_prior_only_against_noise():
    asked = {}
    for quality in QUALITIES:
        fuser = ddfm.Fuser(Counting(), task="ir-visible", quality=quality)
        Counting.calls = 0
        fuser(*pair(20))
        asked[quality] = Counting.calls
    assert asked == {"fast": 2, "default": 2 + 1}  # at the last step, of the least noise


def test_given_options_override_quality():
    config = FusionConfig(quality="fast", steps=5, options={"lam": 2.0}).resolved("ir-visible")
    assert config.steps == 5 and config.options["lam"] == 2.0
    assert FusionConfig(quality="fast", task="medical").resolved("medical").options["theta"] == 0


@pytest.mark.parametrize("other", [{"likelihood": "paper"}, {"method": "dmfuse"}])
def test_quality_is_refused_for_other_likelihoods(other):
    with pytest.raises(InputError, match="quality.*default likelihood"):
        FusionConfig(quality="fast", **other)


def test_quality_is_an_option_of_the_command_line(tmp_path):
    for name, plane in zip("ab", pair(0), strict=True):
        Image.fromarray(plane).save(tmp_path / f"{name}.png")
    sources = [tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "out.png"]
    result = ddfm_run("fuse", *sources, "--prior", "gaussian", "--quality", "fast", "--json")
    assert '"quality": "fast"' in result.stdout
    refused(ddfm_run("fuse", *sources, "--quality", "swift"), "swift", "fast")
