"""Samplers against the closed form of a Gaussian field, and against the textbooks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ddfm.diffusion.samplers import SAMPLERS, Noise, ddim, ddpm, dpm_solver, find_sampler, noised
from ddfm.errors import DdfmError
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.respacing import timesteps
from ddfm.priors.schedule import alphas_bar


def white(seed: int):
    """A fast source of noise for tests where images need no seeds of their own."""
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator, dtype=like.dtype)


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 500), ("ddpm", 1000), ("dpm-solver", 250)])
def test_samples_have_the_mean_and_the_power_spectrum_of_the_field(sampler, steps):
    """Over n samples the standard error of a wave's mean is sqrt(S / n), of its power S sqrt(1/n).

    Where the wave is real, the latter is S sqrt(2/n). Finite steps bias the power by up to 2.5 %
    (it falls as 1 / steps, see the orders below), less than one standard error.
    """
    n, h, w, mean = 2000, 6, 8, 0.3
    prior = GaussianPrior(mean=mean, std=0.5, alphas_bar=alphas_bar("cosine"))
    noise = white(7)
    x = noise(torch.zeros(n, 1, h, w))
    out = SAMPLERS[sampler](prior, x, timesteps(1000, steps), prior.alphas_bar, noise=noise)

    waves = torch.fft.rfft2(out[:, 0].double() - mean, norm="ortho")
    S = prior.power(h, w)
    z = waves.mean(0).abs() / (S / n).sqrt()
    assert float(z.max()) < 4
    ratio = waves.abs().square().mean(0) / S
    real = torch.zeros(h, w // 2 + 1, dtype=torch.bool)
    real[:: h // 2, :: w // 2] = True
    error = torch.where(real, math.sqrt(2 / n), math.sqrt(1 / n))
    assert float(((ratio - 1) / error).abs().max()) < 4.5
    # All waves together: standard error sqrt(2 / (n h w)) = 0.5 %, bias at most 1.5 %.
    assert float(ratio.mean()) == pytest.approx(1, abs=0.03)


def flow(x: torch.Tensor, S: torch.Tensor, abar: torch.Tensor, t: int, s: int) -> torch.Tensor:
    """The probability-flow ODE from t to s: each wave goes along sqrt(alpha^2 S + sigma^2)."""
    a, b = float(abar[t]), float(abar[s])
    gain = torch.sqrt((b * S + 1 - b) / (a * S + 1 - a))
    return torch.fft.irfft2(gain * torch.fft.rfft2(x), s=x.shape[-2:])


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (dpm_solver, 2)])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_order_of_convergence_is_that_of_the_sampler(sampler, order, schedule):
    """Against the exact ODE solution from t = 900 to 100, where the exact denoiser ends both."""
    abar = alphas_bar(schedule)
    prior = GaussianPrior(alphas_bar=abar)
    x = white(3)(torch.zeros(1, 1, 16, 16, dtype=torch.float64))
    exact = prior(flow(x, prior.power(16, 16), abar, 900, 100), torch.tensor([100]))
    errors = []
    for stride in (20, 10, 5):
        out = sampler(prior, x, range(900, 99, -stride), abar)
        errors.append(float((out - exact).square().mean().sqrt()))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, order, atol=0.15)


def test_second_order_needs_fewer_steps():
    abar = alphas_bar("cosine")
    prior = GaussianPrior(alphas_bar=abar)
    x = white(3)(torch.zeros(1, 1, 16, 16, dtype=torch.float64))
    exact = prior(flow(x, prior.power(16, 16), abar, 900, 100), torch.tensor([100]))
    error = [float((s(prior, x, range(900, 99, -20), abar) - exact).norm()) for s in SOLVERS]
    assert error[1] < error[0] / 5


SOLVERS = (ddim, dpm_solver)


def test_ddpm_draws_from_the_posterior_of_ho_et_al():
    """x_s | x_t, x_0 by equations 6 and 7 of DDPM, with the betas of the respaced steps."""
    abar = alphas_bar()
    visited, drawn = [800, 300], white(0)
    x_t = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    x0 = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    seen = []
    ddpm(lambda x, t: x0, x_t, visited, abar, noise=drawn, callback=seen.append)

    before, here = float(abar[300]), float(abar[800])
    beta = 1 - here / before
    mean = (
        math.sqrt(before) * beta / (1 - here) * x0
        + math.sqrt(1 - beta) * (1 - before) / (1 - here) * x_t
    )
    variance = (1 - before) / (1 - here) * beta
    expected = mean + math.sqrt(variance) * white(0)(x_t)
    torch.testing.assert_close(seen[1].x_t, expected)


def test_ddim_between_its_extremes_keeps_the_noise_level():
    """With x_0 known, x_s is N(alpha_s x_0, sigma_s^2) for any share of fresh noise."""
    abar, seen = alphas_bar(), []
    n = 20000
    noise = white(1)
    x = noised(torch.full((n, 1, 1, 1), 0.4), 700, abar, noise(torch.zeros(n, 1, 1, 1)))
    ddim(
        lambda x, t: torch.full_like(x, 0.4), x, [700, 350], abar, eta=0.6, noise=noise,
        callback=seen.append,
    )  # fmt: skip
    x_s = seen[1].x_t
    sigma = math.sqrt(1 - float(abar[350]))
    assert float(x_s.mean()) == pytest.approx(
        0.4 * math.sqrt(float(abar[350])), abs=4.5 * sigma / math.sqrt(n)
    )
    assert float(x_s.std()) == pytest.approx(sigma, rel=4.5 / math.sqrt(2 * n))
    assert not torch.allclose(x_s, (x - x.mean()) / x.std() * sigma + x_s.mean(), atol=1e-2)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_callback_sees_every_step(sampler):
    prior, seen = GaussianPrior(), []
    x = torch.randn(2, 1, 5, 4)
    visited = timesteps(1000, 7)
    out = SAMPLERS[sampler](
        prior, x, visited, prior.alphas_bar, noise=Noise([1, 2]), callback=seen.append
    )
    assert [(step.index, step.steps, step.t) for step in seen] == [
        (index, 7, t) for index, t in enumerate(visited)
    ]
    assert torch.equal(seen[0].x_t, x)
    for step in seen:
        torch.testing.assert_close(step.x0, prior(step.x_t, torch.full((2,), step.t)))
        assert step.x0_prior is step.x0  # nothing was rectified here
    assert torch.equal(out, seen[-1].x0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_warm_start_keeps_its_guess(sampler):
    """From a little noise on a typical image, the image comes back up to what was hidden."""
    prior = GaussianPrior(alphas_bar=alphas_bar("cosine"))
    guess = prior.sample(1, 32, 32, generator=torch.Generator().manual_seed(2))
    noise = Noise([5])
    start = noised(guess, 100, prior.alphas_bar, noise(guess))
    out = SAMPLERS[sampler](prior, start, timesteps(101, 5), prior.alphas_bar, noise=noise)
    sigma = float(((1 - prior.alphas_bar[100]) / prior.alphas_bar[100]).sqrt())
    error = float((out - guess).square().mean().sqrt())
    assert 0.1 * sigma < error < 1.2 * sigma
    assert sigma < 0.2 < float(guess.std())


def test_same_seed_same_noise_alone_or_in_any_batch():
    shape = (3, 6, 5)
    alone, batch, turned = Noise([11]), Noise([4, 11, 9]), Noise([9, 4, 11])
    for _ in range(3):
        single = alone(torch.zeros(1, *shape))
        several = batch(torch.zeros(3, *shape))
        other = turned(torch.zeros(3, *shape, dtype=torch.float64))
        assert torch.equal(single[0], several[1])
        assert torch.equal(several, other[[1, 2, 0]].float())
        assert not torch.equal(several[0], several[1])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_same_seed_same_pixels_alone_or_in_any_batch(sampler):
    prior = GaussianPrior()

    def run(seeds):
        noise = Noise(seeds)
        x = noise(torch.zeros(len(seeds), 1, 9, 7))
        return SAMPLERS[sampler](prior, x, timesteps(1000, 9), prior.alphas_bar, noise=noise)

    batch = run([1, 2, 3])
    torch.testing.assert_close(batch[1:2], run([2]), atol=1e-6, rtol=0)
    torch.testing.assert_close(batch[[2, 0, 1]], run([3, 1, 2]), atol=1e-6, rtol=0)


def test_zero_terminal_snr_works():
    abar = alphas_bar("cosine").clone()
    abar[-1] = 0.0
    prior = GaussianPrior(alphas_bar=abar)
    x = white(3)(torch.zeros(1, 1, 8, 8, dtype=torch.float64))
    exact = prior(flow(x, prior.power(8, 8), abar, 999, 0), torch.tensor([0]))
    for sampler in SOLVERS:
        out = sampler(prior, x, timesteps(1000, 500), abar)
        assert float((out - exact).abs().max()) < 0.02


@pytest.mark.parametrize("visited", [[], [0, 999], [5, 5], [1000, 0], [10, -1]])
def test_timesteps_that_do_not_decrease_are_refused(visited):
    prior = GaussianPrior()
    with pytest.raises(DdfmError, match="timesteps of a sampler must decrease"):
        ddim(prior, torch.zeros(1, 1, 2, 2), visited, prior.alphas_bar)


def test_missing_noise_and_unknown_names_are_refused():
    prior = GaussianPrior()
    with pytest.raises(DdfmError, match="source of noise"):
        ddim(prior, torch.zeros(1, 1, 2, 2), [9, 0], prior.alphas_bar, eta=0.5)
    with pytest.raises(DdfmError, match="2 seeds for a batch of 3"):
        Noise([1, 2])(torch.zeros(3, 1, 2, 2))
    with pytest.raises(DdfmError, match="did you mean ddim"):
        find_sampler("dimm")
    assert find_sampler("dpm-solver") is dpm_solver
