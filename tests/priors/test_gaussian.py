"""The Gaussian prior against linear algebra, and the guarantees of every prior."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddfm.errors import DdfmError
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.prior import FunctionPrior, x0_from
from ddfm.priors.schedule import alphas_bar


def covariance(power: np.ndarray, h: int, w: int) -> np.ndarray:
    """Dense covariance of the periodic field: C[p, q] = mean over k of S(k) cos(2 pi k (p - q))."""
    rows, columns = np.divmod(np.arange(h * w), w)
    dy = rows[:, None] - rows
    dx = columns[:, None] - columns
    C = np.zeros((h * w, h * w))
    for a in range(h):
        for b in range(w):
            C += power[a, b] * np.cos(2 * np.pi * (a * dy / h + b * dx / w)) / (h * w)
    return C


def full_power(spectrum, h: int, w: int) -> np.ndarray:
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None]
    return spectrum(np.sqrt(fy**2 + fx**2))


@pytest.mark.parametrize(("h", "w"), [(4, 6), (5, 3), (1, 7), (1, 1)])
def test_it_is_the_posterior_mean(h, w):
    def spectrum(f):
        return 0.3 / (f**2 + 0.1)

    prior = GaussianPrior(spectrum, mean=0.2, channels=3)
    x_t = torch.randn(2, 3, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([30, 600])
    out = prior(x_t, t)
    C = covariance(full_power(spectrum, h, w), h, w)
    for n in range(2):
        abar = float(prior.alphas_bar[t[n]])
        gain = np.sqrt(abar) * C @ np.linalg.inv(abar * C + (1 - abar) * np.eye(h * w))
        for c in range(3):
            residual = x_t[n, c].numpy().ravel() - np.sqrt(abar) * 0.2
            expected = 0.2 + gain @ residual
            np.testing.assert_allclose(out[n, c].numpy().ravel(), expected, atol=1e-12)


@pytest.mark.parametrize(("h", "w"), [(32, 32), (33, 20), (1, 1), (3, 1)])
def test_default_spectrum_falls_as_one_over_f2_with_the_given_variance(h, w):
    power = GaussianPrior(std=0.4).power(h, w)
    assert power.shape == (h, w // 2 + 1)
    whole = torch.zeros(h, w, dtype=torch.float64)
    whole[:, : w // 2 + 1] = power
    for b in range(w // 2 + 1, w):  # the mirrored half
        whole[:, b] = power[(-torch.arange(h)) % h, w - b]
    assert float(whole.mean()) == pytest.approx(0.16)
    if h == 32:
        assert float(power[0, 2] / power[0, 8]) == pytest.approx(16)
        assert float(power[3, 4] / power[0, 5]) == pytest.approx(1)


def test_samples_have_the_mean_and_the_spectrum():
    n, h, w = 4000, 6, 9
    prior = GaussianPrior(mean=-0.1)
    x = prior.sample(n, h, w, generator=torch.Generator().manual_seed(0)).double() + 0.1
    waves = torch.fft.rfft2(x, norm="ortho")[:, 0]
    ratio = waves.abs().square().mean(0) / prior.power(h, w)
    # Standard error of a mean power: sqrt(2 / n) where a wave is real, sqrt(1 / n) elsewhere.
    assert float((ratio - 1).abs().max()) < 4.5 * np.sqrt(2 / n)
    z = waves.mean(0).abs() / (prior.power(h, w) / n).sqrt()
    assert float(z.max()) < 4.5


def test_a_spectrum_that_is_infinite_at_zero_is_refused():
    with pytest.raises(DdfmError, match="f = 0 included"):
        GaussianPrior(lambda f: 1 / f**2).power(8, 8)


def test_wrong_shapes_and_kinds_and_schedules_are_named():
    prior = FunctionPrior(lambda x, t: x[:, :2], alphas_bar(), name="mine")
    with pytest.raises(DdfmError, match="the prior mine must return"):
        prior(torch.zeros(1, 3, 4, 4), torch.tensor([0]))
    with pytest.raises(DdfmError, match="did you mean eps"):
        FunctionPrior(lambda x, t: x, alphas_bar(), kind="epsilon")
    with pytest.raises(DdfmError, match="unknown prediction kind"):
        x0_from(torch.zeros(1), "score", torch.zeros(1), 1.0, 0.0)
    with pytest.raises(DdfmError, match="decreasing vector"):
        FunctionPrior(lambda x, t: x, torch.linspace(1e-4, 0.02, 1000))  # betas by mistake
    with pytest.raises(DdfmError, match="1 channel"):
        FunctionPrior(lambda x, t: x, alphas_bar(), channels=4)
    with pytest.raises(DdfmError, match="no inner features"):
        GaussianPrior().features(torch.zeros(1, 1, 4, 4), torch.tensor([0]))
