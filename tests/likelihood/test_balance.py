"""The balance: more of one source, or more of the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ddfm
from command_line import ddfm_run
from ddfm.likelihood.evidence import EvidenceLikelihood
from places import EXAMPLES

PAIR = EXAMPLES / "olinda_infrared.png", EXAMPLES / "olinda_visible.png"
CROP = slice(100, 260), slice(180, 340)  # land and sea
BALANCES = (-1, -0.6, -0.3, 0, 0.3, 0.6, 1)


@pytest.fixture(scope="module")
def planes():
    return [ddfm.read_image(path).pixels[CROP].mean(axis=2) for path in PAIR]


@pytest.fixture(scope="module")
def results(planes):
    fuser = ddfm.Fuser("gaussian", look=False, tone="none")
    return [fuser.with_config(balance=b)(*planes).image for b in BALANCES]


def _gradients(x):
    return np.stack([np.diff(x, axis=1)[:-1], np.diff(x, axis=0)[:, :-1]])


def test_levels_and_gradients_move_steadily_from_the_first_source_to_the_second(planes, results):
    for of in (np.asarray, _gradients):
        to_a, to_b = ([np.abs(of(x) - of(s)).mean() for x in results] for s in planes)
        assert all(np.diff(to_a) > 0) and all(np.diff(to_b) < 0)
        assert to_a[0] < to_a[-1] / 4 and to_b[-1] < to_b[0] / 4  # and all the way


def test_a_small_change_of_it_is_a_small_change_of_the_picture(planes):
    s = [2 * torch.from_numpy(x)[None, None] - 1 for x in planes]
    guesses = [EvidenceLikelihood(*s, balance=b).first_guess() for b in (0.0, 1e-4, 0.5, 0.5001)]
    assert (guesses[0] - guesses[1]).abs().max() < 1e-3  # of levels from -1 to 1
    assert (guesses[2] - guesses[3]).abs().max() < 1e-2


def test_it_does_not_increase_flicker(planes):
    """Two frames that differ by noise of two grey levels."""
    noise = np.random.default_rng(0).normal(0, 2 / 255, (2, 2, *planes[0].shape))
    frames = [np.clip(np.stack(planes) + n, 0, 1).astype(np.float32) for n in noise]
    fuser = ddfm.Fuser("gaussian", look=False, tone="none")

    def flicker(balance):
        one, other = (fuser.with_config(balance=balance)(*frame).image for frame in frames)
        return np.abs(one - other).mean()

    usual = flicker(0)
    assert all(flicker(b) < 1.25 * usual for b in (-0.5, 0.5, 1))


def test_a_target_is_kept_at_every_balance():
    a = np.full((96, 96), 0.3, np.float32)
    a[40:56, 44:52] = 0.95
    b = np.tile(np.linspace(0.3, 0.5, 96, dtype=np.float32), (96, 1))
    fused = ddfm.fuse(a, b, prior="gaussian", balance=1, tone="none", look=False).image
    assert fused[44:52, 46:50].mean() - fused[44:52, 20:32].mean() > 0.4


def test_it_is_in_the_settings_and_refused_where_it_does_not_apply(planes, tmp_path):
    a, b = planes
    assert ddfm.fuse(a, b, prior="gaussian", balance=-0.25).settings["balance"] == -0.25
    for wrong in (1.5, float("nan"), "more", None):
        with pytest.raises(ddfm.InputError, match="balance must be a number"):
            ddfm.FusionConfig(balance=wrong)
    for config in ({"likelihood": "paper"}, {"likelihood": "reference"}, {"method": "dmfuse"}):
        (name,) = config.values()
        with pytest.raises(ddfm.InputError, match=f"for the default likelihood, not for {name}"):
            ddfm.FusionConfig(balance=0.5, **config)
    with pytest.raises(ddfm.InputError, match="between two sources, not 3"):
        ddfm.fuse(a, b, a, prior="gaussian", balance=0.5)
    with pytest.raises(ddfm.InputError, match="between two sources, not 3"):
        EvidenceLikelihood(*[torch.zeros(1, 1, 8, 8)] * 3, balance=0.5)
    result = ddfm_run("fuse", *PAIR, "-o", tmp_path / "x.png", "--balance", 2)
    assert result.exit_code == 2 and "from -1 to 1" in result.output
