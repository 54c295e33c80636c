"""Noise schedules and the timesteps that a sampler visits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddfm.errors import DdfmError
from ddfm.priors import schedule
from ddfm.priors.respacing import timesteps
from ddfm.priors.schedule import alphas_bar
from places import DATA

# Outputs of the DDFM authors' program on synthetic inputs.
GOLDEN = np.load(DATA / "reference_ddfm.npz")


def test_linear_betas_are_those_of_ddpm():
    betas = schedule.linear_betas(1000)
    np.testing.assert_allclose(betas.numpy(), np.linspace(1e-4, 0.02, 1000), rtol=1e-12)
    np.testing.assert_allclose(alphas_bar("linear").numpy(), np.cumprod(1 - betas.numpy()))


def test_linear_schedules_of_other_lengths_end_at_the_same_noise():
    ends = [float(alphas_bar("linear", T)[-1].log()) for T in (250, 1000, 4000)]
    assert ends == pytest.approx([-10.1] * 3, rel=0.03)


def test_cosine_schedule_follows_its_formula():
    t = (np.arange(1, 1001) / 1000 + 0.008) / 1.008 * np.pi / 2
    expected = np.cos(t) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    # The last beta is clipped to 0.999.
    np.testing.assert_allclose(alphas_bar("cosine").numpy()[:-1], expected[:-1], rtol=1e-10)
    assert float(schedule.cosine_betas(1000)[-1]) == 0.999


@pytest.mark.parametrize("steps", [10, 25])
def test_timesteps_are_those_of_the_authors_program(steps):
    assert timesteps(1000, steps)[::-1] == GOLDEN[f"timesteps_respace{steps}"].tolist()


@pytest.mark.parametrize(
    ("T", "respacing", "expected"),
    [
        (1000, "5", [999, 749, 500, 250, 0]),  # 249.75 apart, rounded
        (9, 3, [8, 4, 0]),
        (10, "ddim5", [8, 6, 4, 2, 0]),
        (300, "2,3,4", [299, 266, 233, 200, 199, 150, 100, 99, 0]),
        (11, "1,1", [6, 0]),  # the first of two sections is the longer one
        (3, 3, [2, 1, 0]),
        (1000, 1, [999]),
        (1, 1, [0]),
    ],
)
def test_timesteps_by_hand(T, respacing, expected):
    assert timesteps(T, respacing) == expected


def test_timesteps_equal_those_of_guided_diffusion():
    respace = pytest.importorskip("guided_diffusion.respace")
    asked = [*(str(n) for n in range(2, 1001, 7)), "ddim50", "ddim100", "ddim250", "10,15,20"]
    asked += ["1,1,1", "90,60,60,20,20", "7,1,13"]
    for T in (1000, 999, 4000):
        for respacing in asked:
            try:
                expected = sorted(respace.space_timesteps(T, respacing), reverse=True)
            except ValueError:
                with pytest.raises(DdfmError):
                    timesteps(T, respacing)
            else:
                assert timesteps(T, respacing) == expected, (T, respacing)


@pytest.mark.parametrize(
    ("respacing", "complaint"),
    [
        (0, "at least 1"),
        (-3, "at least 1"),
        ("many", "cannot read steps 'many'"),
        ("10,,20", "cannot read steps"),
        ("ddim", "cannot read steps"),
        (1001, "1001 steps, but the schedule has 1000"),
        ("10,501", "501 steps, but the schedule has 500"),
        ("ddim300", "no integer stride gives 300"),
    ],
)
def test_impossible_timesteps_are_refused(respacing, complaint):
    with pytest.raises(DdfmError, match=complaint):
        timesteps(1000, respacing)


def test_unknown_schedule_suggests_the_nearest():
    with pytest.raises(DdfmError, match="did you mean cosine"):
        alphas_bar("cosin")


def test_a_schedule_that_is_too_short_is_named():
    with pytest.raises(DdfmError, match="schedule linear needs T of at least 20, not 19"):
        alphas_bar("linear", 19)
    with pytest.raises(DdfmError, match="schedule cosine needs T of at least 1, not 0"):
        alphas_bar("cosine", 0)
    assert len(alphas_bar("linear", 20)) == 20 and len(alphas_bar("cosine", 1)) == 1


@pytest.mark.parametrize("betas", [[], [0.1, 0.0], [0.1, 1.2], [[0.1]], [float("nan")]])
def test_invalid_betas_are_refused(betas):
    with pytest.raises(DdfmError, match="betas"):
        schedule.alphas_bar_of_betas(torch.tensor(betas))


def test_alpha_and_sigma_of_each_image():
    abar, like = alphas_bar("linear"), torch.zeros(3, 1, 2, 2, dtype=torch.float64)
    t = torch.tensor([0, 500, 999])
    alpha, sigma = schedule.alpha_sigma(abar, t, like)
    torch.testing.assert_close((alpha**2).flatten(), abar[t])
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))


def test_alpha_sigma_keeps_the_digits_of_small_noise():
    # 1 - abar_0 = 1e-4 would be off by 3e-4 of itself if it were taken in float32.
    _, sigma = schedule.alpha_sigma(alphas_bar(), torch.tensor([0]), torch.zeros(1, 3, 2, 2))
    assert sigma.shape == (1, 1, 1, 1)
    assert sigma.dtype == torch.float32
    assert float(sigma) == pytest.approx(0.01, rel=1e-6)


def test_t_of_sigma_is_the_nearest_level():
    abar = alphas_bar("cosine")
    levels = ((1 - abar) / abar).sqrt()
    for t in (0, 17, 500, 999):
        assert schedule.t_of_sigma(abar, float(levels[t])) == t
    assert schedule.t_of_sigma(abar, float(levels[40] * 0.9 + levels[41] * 0.1)) == 40
    assert schedule.t_of_sigma(abar, 0.0) == 0
    assert schedule.t_of_sigma(abar, 1e9) == 999
    with pytest.raises(DdfmError, match="noise level"):
        schedule.t_of_sigma(abar, float("nan"))
