"""The EM likelihoods against the authors' program, quadrature, dense algebra, scipy.optimize."""

from __future__ import annotations

import math
from typing import get_type_hints

import numpy as np
import pytest
import torch
from scipy import integrate, optimize

from ddfm.diffusion.guided import GuidedDenoiser
from ddfm.diffusion.samplers import SAMPLERS, Noise, ddim
from ddfm.errors import DdfmError
from ddfm.imaging.color import luminance
from ddfm.likelihood import (
    LIKELIHOODS,
    Likelihood,
    PaperLikelihood,
    ReferenceLikelihood,
    make_likelihood,
)
from ddfm.numerics.fourier import GradientSolver, adjoint, grad
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.schedule import alphas_bar
from places import DATA

# Outputs of the DDFM authors' program on synthetic inputs. Its I is our v, its V our i.
GOLDEN = {
    name: torch.from_numpy(array) for name, array in np.load(DATA / "reference_ddfm.npz").items()
}


# --- the authors' program -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference_follows_the_program_for_six_steps(dtype):
    likelihood = ReferenceLikelihood(GOLDEN["V"], GOLDEN["I"])
    f = GOLDEN["em_f_in"].to(dtype)
    for k in range(6):
        f = likelihood.step(f, None)
        assert f.dtype == dtype
        assert float((f - GOLDEN["em_f_out"][k]).abs().max()) < 1e-5
        tau = torch.stack([likelihood.tau_a.flatten(), likelihood.tau_b.flatten()], 1)
        torch.testing.assert_close(tau[0].double(), GOLDEN["em_tau"][k], rtol=1e-5, atol=0)


def test_reference_agrees_with_other_weights():
    likelihood = ReferenceLikelihood(GOLDEN["V"], GOLDEN["I"], lamb=0.1, rho=0.01)
    error = likelihood.step(GOLDEN["em_f_in"], None) - GOLDEN["em_f_out_lamb0.1_rho0.01"]
    assert float(error.abs().max()) < 1e-5


# --- the paper ----------------------------------------------------------------------------------


def posterior_mean(of, r: float, variance: float) -> float:
    """E[of(m) | r] under r ~ N(0, m), m ~ Exp(variance), by quadrature."""

    def density(m):
        return math.exp(-r * r / (2 * m) - m / variance) / math.sqrt(m)

    total = integrate.quad(density, 0, 60 * variance, points=[r * r], limit=400)[0]
    return integrate.quad(lambda m: of(m) * density(m), 0, 60 * variance, points=[r * r],
                          limit=400)[0] / total  # fmt: skip


def test_e_step_is_the_posterior_mean():
    x = torch.tensor([0.3, -0.05, 0.8, -0.6], dtype=torch.float64).view(1, 1, 2, 2)
    y = torch.tensor([0.1, 0.4, 0.75, 0.6], dtype=torch.float64).view(1, 1, 2, 2)
    likelihood = PaperLikelihood(y, torch.zeros_like(y), eps=1e-9)
    likelihood.gamma, likelihood.rho = 0.7, 0.2
    m, n = likelihood._e_step(x, y)
    for weights, residual, variance in ((m, y - x, 0.7), (n, x, 0.2)):
        expected = [posterior_mean(lambda m: 1 / m, r, variance) for r in residual.flatten()]
        np.testing.assert_allclose(weights.flatten().numpy(), expected, rtol=1e-6)
    expected = [posterior_mean(lambda m: m, r, 0.7) for r in (y - x).flatten()]
    assert float(likelihood.gamma) == pytest.approx(np.mean(expected), rel=1e-6)
    expected = [posterior_mean(lambda m: m, r, 0.2) for r in x.flatten()]
    assert float(likelihood.rho) == pytest.approx(np.mean(expected), rel=1e-6)


def laplace_pair(h: int = 6, w: int = 7, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources drawn from the model: x and y - x Laplace."""
    rng = np.random.default_rng(seed)
    x = rng.laplace(scale=0.2, size=(1, 1, h, w))
    y = x + rng.laplace(scale=0.1, size=(1, 1, h, w))
    v = rng.uniform(-0.5, 0.5, size=(1, 1, h, w))
    return torch.from_numpy(v + y), torch.from_numpy(v)


def dense_gradient(h: int, w: int) -> np.ndarray:
    """Periodic forward differences as a matrix, pixel by pixel."""
    D = np.zeros((2 * h * w, h * w))
    for r in range(h):
        for c in range(w):
            here = r * w + c
            D[here, here] -= 1
            D[here, r * w + (c + 1) % w] += 1
            D[h * w + here, here] -= 1
            D[h * w + here, (r + 1) % h * w + c] += 1
    return D


class Toy:
    """The objective of EM in NumPy, k and u eliminated by dense algebra."""

    def __init__(self, likelihood: PaperLikelihood) -> None:
        h, w = likelihood.i.shape[-2:]
        self.y = (likelihood.i - likelihood.v).numpy().ravel()
        self.eps = likelihood.eps
        psi, eta = likelihood.psi, likelihood.eta
        D, one = dense_gradient(h, w), np.eye(h * w)
        # min over k, u of psi |u|^2 + eta/2 (|u - Dk|^2 + |k - x|^2) is x' P x.
        A = np.block([
            [eta / 2 * (one + D.T @ D), -eta / 2 * D.T],
            [-eta / 2 * D, (psi + eta / 2) * np.eye(2 * h * w)],
        ])  # fmt: skip
        b = np.vstack([eta / 2 * one, np.zeros((2 * h * w, h * w))])
        self.P = eta / 2 * one - b.T @ np.linalg.solve(A, b)

    def loss(self, x: np.ndarray, gamma: float, rho: float) -> tuple[float, np.ndarray]:
        """-log-likelihood and its gradient in x."""
        sy, sx = np.hypot(self.y - x, self.eps), np.hypot(x, self.eps)
        a, b = math.sqrt(gamma / 2), math.sqrt(rho / 2)
        value = (sy / a + np.log(2 * a)).sum() + (sx / b + np.log(2 * b)).sum()
        gradient = (x - self.y) / sy / a + x / sx / b + self.P @ x
        return value + x @ self.P @ x / 2, gradient


@pytest.mark.parametrize(("psi", "eta"), [(0.5, 0.1), (0.5, 20.0), (0.0, 1.0), (30.0, 5.0)])
def test_em_increases_its_objective_at_every_step(psi, eta):
    i, v = laplace_pair()
    likelihood = PaperLikelihood(i, v, psi=psi, eta=eta)
    f = likelihood(v + 0.5 * (i - v) + 0.05)
    heights = [float(likelihood.objective(f))]
    for _ in range(60):
        f = likelihood(f)
        heights.append(float(likelihood.objective(f)))
    assert (np.diff(heights) > -1e-9).all()
    assert heights[-1] > heights[0] + 1


@pytest.mark.parametrize(("psi", "eta"), [(0.5, 2.0), (30.0, 20.0)])
def test_fixed_point_is_the_minimiser_with_given_scales(psi, eta):
    """With gamma and rho held, the problem is convex and has one minimiser."""
    i, v = laplace_pair(5, 6)
    likelihood = PaperLikelihood(i, v, psi=psi, eta=eta, eps=0.01)
    toy = Toy(likelihood)
    gamma, rho = 0.02, 0.08

    def step(f):
        likelihood.gamma, likelihood.rho = gamma, rho
        return likelihood(f)

    f = v.clone()
    for _ in range(6000):
        f = step(f)
    assert float((step(f) - f).abs().max()) < 1e-9
    best = optimize.minimize(
        toy.loss, 0.3 * toy.y, (gamma, rho), jac=True, method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 20000, "maxfun": 40000},
    )  # fmt: skip
    np.testing.assert_allclose((f - v).numpy().ravel(), best.x, atol=2e-5)
    assert np.abs(best.x).max() > 0.1


def test_fixed_point_is_a_minimiser_with_learned_scales():
    """gamma and rho free: scipy, started near by, ends where EM rests."""
    i, v = laplace_pair(5, 6)
    likelihood = PaperLikelihood(i, v, psi=2.0, eta=5.0, eps=0.05)
    toy = Toy(likelihood)
    f = v + 0.5 * (i - v)
    for _ in range(4000):
        f = likelihood(f)
    scales = [math.log(float(likelihood.gamma)), math.log(float(likelihood.rho))]
    rest = np.append((f - v).numpy().ravel(), scales)

    def loss(z):
        return toy.loss(z[:-2], math.exp(z[-2]), math.exp(z[-1]))[0]

    start = rest + np.random.default_rng(1).normal(scale=0.01, size=rest.shape)
    best = optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(rest, best.x, atol=1e-4)
    assert loss(rest) == pytest.approx(best.fun, abs=1e-7)
    assert loss(start) > best.fun + 1e-4


def test_objective_is_the_log_likelihood_of_the_mixture():
    """One pixel, no gradient: log of the two mixtures of (2), by quadrature."""
    i = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)
    v = torch.full((1, 1, 1, 1), 0.1, dtype=torch.float64)
    likelihood = PaperLikelihood(i, v, eps=1e-9)
    f = likelihood(torch.full((1, 1, 1, 1), 0.4, dtype=torch.float64))
    gamma, rho = float(likelihood.gamma), float(likelihood.rho)

    def mixture(r, b):
        return integrate.quad(
            lambda m: math.exp(-r * r / (2 * m) - m / b) / math.sqrt(2 * math.pi * m) / b,
            0, 60 * b, points=[r * r], limit=400,
        )[0]  # fmt: skip

    x = float(f - v)
    held = likelihood.eta / 4 * (float(likelihood.k) - x) ** 2
    expected = math.log(mixture(0.4 - x, gamma)) + math.log(mixture(x, rho)) - held
    assert float(likelihood.objective(f)) == pytest.approx(expected, rel=1e-6)


def test_paper_moves_the_estimate_between_the_sources():
    i, v = laplace_pair(16, 16)
    likelihood = PaperLikelihood(i, v, psi=0.0)
    f = torch.full_like(i, 3.0)
    for _ in range(5):
        f = likelihood(f)
    low, high = torch.minimum(i, v), torch.maximum(i, v)
    assert float(torch.maximum(low - f, f - high).max()) < 0.1


def test_paper_is_finite_where_sources_and_estimate_agree():
    same = torch.zeros(2, 1, 4, 4)
    for cls in LIKELIHOODS.values():
        likelihood = cls(same, same)
        f = same.clone()
        for _ in range(5):
            f = likelihood.step(f, None)
        assert bool(f.isfinite().all())
        assert float(f.abs().max()) < 1e-4


# --- what both share ----------------------------------------------------------------------------


@pytest.mark.parametrize(("h", "w"), [(4, 6), (5, 7), (3, 1), (1, 1)])
def test_gradient_solver_against_dense_algebra(h, w):
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(2, 1, h, w)), rng.normal(size=(2, 2, h, w))
    D = dense_gradient(h, w)
    solver = GradientSolver()
    for _ in range(2):  # the second time with the kept denominator
        k = solver(torch.from_numpy(x), torch.from_numpy(u))
    for b in range(2):
        right = x[b].ravel() + D.T @ u[b].ravel()
        expected = np.linalg.solve(np.eye(h * w) + D.T @ D, right)
        np.testing.assert_allclose(k[b].numpy().ravel(), expected, atol=1e-12)
        np.testing.assert_allclose(
            grad(torch.from_numpy(x))[b].numpy().ravel(), D @ x[b].ravel(), atol=1e-12
        )
        np.testing.assert_allclose(
            adjoint(torch.from_numpy(u))[b].numpy().ravel(), D.T @ u[b].ravel(), atol=1e-12
        )
    assert solver(torch.zeros(1, 1, 2, 8), torch.zeros(1, 2, 2, 8)).shape == (1, 1, 2, 8)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_images_of_a_batch_are_independent(name):
    pairs = [laplace_pair(6, 9, seed) for seed in range(3)]
    i, v = (torch.cat(side).float() for side in zip(*pairs, strict=True))
    start = torch.randn(3, 1, 6, 9, generator=torch.Generator().manual_seed(0))
    sigma = torch.ones(3)
    batch = make_likelihood(name, (i, v))
    alone = [make_likelihood(name, (i[b : b + 1], v[b : b + 1])) for b in range(3)]
    f, singles = start, [start[b : b + 1] for b in range(3)]
    for _ in range(4):
        f = batch(f, sigma)
        singles = [one(single, sigma[:1]) for one, single in zip(alone, singles, strict=True)]
    torch.testing.assert_close(f, torch.cat(singles), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_of_the_estimate_is_kept(name, dtype):
    i, v = laplace_pair(8, 8)
    out = make_likelihood(name, (i, v))(torch.zeros(1, 1, 8, 8, dtype=dtype), torch.ones(1))
    assert out.dtype == dtype
    exact = make_likelihood(name, (i, v))(torch.zeros(1, 1, 8, 8).double(), torch.ones(1))
    torch.testing.assert_close(out.double(), exact, atol=2e-2, rtol=0)


def test_wrong_names_options_and_shapes_are_named():
    i, v = laplace_pair()
    with pytest.raises(DdfmError, match="did you mean paper"):
        make_likelihood("papper", (i, v))
    with pytest.raises(DdfmError, match="option of the likelihood paper 'ps'; did you mean psi"):
        make_likelihood("paper", (i, v), ps=0.1)
    with pytest.raises(DdfmError, match="two or more sources of one shape"):
        PaperLikelihood(i, v[..., 1:])
    with pytest.raises(DdfmError, match="the estimate has the shape"):
        PaperLikelihood(i, v)(torch.zeros(1, 1, 2, 2))
    with pytest.raises(DdfmError, match="eta and eps positive"):
        PaperLikelihood(i, v, eta=0.0)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_everything_happens_on_the_device_of_the_estimate(name):
    """The meta device refuses to be mixed with others, as an accelerator would."""
    i, v = laplace_pair()
    likelihood = make_likelihood(name, (i, v))
    rectified = GuidedDenoiser(GaussianPrior(), likelihood)
    noise = Noise([1])
    x = torch.empty(1, 1, 6, 7, device="meta")
    for sampler in SAMPLERS.values():
        out = sampler(rectified, x, [900, 500, 20], rectified.prior.alphas_bar, noise=noise)
        assert out.device.type == "meta"
    assert likelihood.i.device.type == "meta"


# --- rectifying a prior -------------------------------------------------------------------------


class Halfway(Likelihood):
    """Goes halfway to grey 0.5, and notes its arguments."""

    def __init__(self, like, luma=(1.0, 0.0)):
        super().__init__(like[:, :1], like[:, :1])
        self.gain, self.offset = luma
        self.given = []

    def to_luma(self, x0):
        return self.gain * super().to_luma(x0) + self.offset

    def from_luma(self, change):
        return change / self.gain

    def step(self, f, sigma):
        self.given.append((f, sigma))
        return (f + 0.5) / 2


def test_a_step_may_rely_on_the_noise_that_it_is_given():
    """A type checker must accept `sigma: Tensor` in a likelihood of the user."""
    assert get_type_hints(Likelihood.step)["sigma"] is torch.Tensor


def test_rgb_is_rectified_in_luminance_and_keeps_its_chroma():
    prior = FunctionPrior(lambda x, t: x, alphas_bar(), kind="x0")
    x = 2 * torch.randn(2, 3, 4, 4)
    likelihood = Halfway(x, luma=(0.8, 0.1))
    rectified = GuidedDenoiser(prior, likelihood)
    t = torch.tensor([10, 900])
    out = rectified(x, t)
    luma, sigma = likelihood.given[0]
    torch.testing.assert_close(luma, 0.8 * luminance(x) + 0.1)
    torch.testing.assert_close(0.8 * luminance(out) + 0.1, (luma + 0.5) / 2)
    torch.testing.assert_close(out - luminance(out), x - luminance(x))
    abar = prior.alphas_bar[t]
    torch.testing.assert_close(sigma.double(), ((1 - abar) / abar).sqrt(), rtol=1e-5, atol=0)
    assert torch.equal(rectified.x0_prior, x)


def test_grey_is_rectified_directly_and_clipped_on_request():
    prior = FunctionPrior(lambda x, t: x, alphas_bar(), kind="x0", channels=1)
    x = torch.tensor([-3.0, 0.0, 0.2, 5.0]).view(1, 1, 2, 2)
    t = torch.tensor([5])
    torch.testing.assert_close(GuidedDenoiser(prior, Halfway(x))(x, t), (x + 0.5) / 2)
    clipped = GuidedDenoiser(prior, Halfway(x), clip=True)
    torch.testing.assert_close(clipped(x, t), (x.clamp(-1, 1) + 0.5) / 2)
    seen = []
    ddim(clipped, x, [5], prior.alphas_bar, callback=seen.append)
    assert torch.equal(seen[0].x0_prior, x.clamp(-1, 1))
    assert not torch.equal(seen[0].x0, seen[0].x0_prior)


def test_luminance_of_rgb_is_that_of_bt_601():
    rgb = torch.tensor([1.0, -1.0, 0.5]).view(1, 3, 1, 1)
    assert float(luminance(rgb)) == pytest.approx(0.299 - 0.587 + 0.057)
    assert float(luminance(torch.ones(1, 3, 1, 1))) == pytest.approx(1)
