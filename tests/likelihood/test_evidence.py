"""The default likelihood: its solver against SciPy and dense algebra, its model on known scenes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from scipy.ndimage import gaussian_filter

from ddfm import DdfmError
from ddfm.likelihood import EvidenceLikelihood, make_likelihood
from ddfm.numerics.filters import smooth
from ddfm.numerics.poisson import PoissonSolver, adjoint, dct, grad, idct
from ddfm.numerics.regions import smooth_regions

PLAIN = {"curve": (-1, 1), "light": 0.0, "detail": 1.0, "restore": 0.0, "hot": 0.0}


def scene(seed: int = 0, size: tuple[int, int] = (24, 32)) -> torch.Tensor:
    """A smooth random image within [-0.8, 0.8]."""
    generator = torch.Generator().manual_seed(seed)
    x = smooth(torch.randn((1, 1, *size), generator=generator, dtype=torch.float64), 2.0)
    return 0.8 * x / x.abs().max()


@pytest.mark.parametrize("shape", [(6, 8), (7, 5), (1, 4), (1, 1)])
def test_dct_is_scipys_and_its_inverse_is_exact(shape):
    x = np.random.default_rng(0).normal(size=shape)
    y = dct(torch.from_numpy(x))
    np.testing.assert_allclose(2 * y.numpy(), scipy.fft.dct(x, axis=-1), atol=1e-12)
    np.testing.assert_allclose(idct(y).numpy(), x, atol=1e-12)


@pytest.mark.parametrize(("h", "w"), [(4, 5), (1, 3), (1, 1)])
def test_poisson_solver_against_dense_algebra(h, w):
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 1, h, w)))
    unit = torch.eye(h * w, dtype=torch.float64).view(-1, 1, h, w)
    matrix = 0.3 * torch.eye(h * w, dtype=torch.float64) + adjoint(*grad(unit)).flatten(1)
    expected = torch.linalg.solve(matrix.T, x.flatten(1).T).T.view_as(x)
    torch.testing.assert_close(PoissonSolver()(0.3, x), expected)


def test_weighted_solver_against_dense_algebra():
    rng = np.random.default_rng(1)
    x, weight = (
        torch.from_numpy(rng.normal(size=(2, 1, 4, 5))),
        torch.from_numpy(rng.random((2, 1, 4, 5))),
    )
    unit = torch.eye(20, dtype=torch.float64).view(-1, 1, 4, 5)
    expected = []
    for k in range(2):
        right, below = grad(unit)
        matrix = 0.3 * unit.flatten(1) + adjoint(weight[k] * right, weight[k] * below).flatten(1)
        expected.append(torch.linalg.solve(matrix.T, x[k].flatten()).view(1, 4, 5))
    solved = PoissonSolver().weighted(0.3, weight, x, torch.zeros_like(x), passes=20)
    torch.testing.assert_close(solved, torch.stack(expected))
    nothing = torch.zeros_like(x)  # is left to solve
    assert torch.equal(PoissonSolver().weighted(0.3, weight, nothing, nothing, passes=2), nothing)


def test_wide_blur_is_gaussian_and_keeps_the_mean():
    x = torch.zeros(1, 1, 81, 81, dtype=torch.float64)
    x[..., 40, 40] = 1
    blurred = PoissonSolver().blur(x, 6.0)
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-12)
    variance = (blurred[0, 0].sum(0) * (torch.arange(81) - 40.0) ** 2).sum()
    assert float(variance) == pytest.approx(36, rel=1e-3)


@pytest.mark.parametrize("ease", [0.0, 30.0])
def test_m_step_minimises_its_quadratic(ease):
    """Equation (8): autograd finds no slope of the objective at what steps come to."""
    still = {**PLAIN, "learn": 0.0, "room": 0.0, "faint": 0.0, "ease": ease}
    likelihood = EvidenceLikelihood(scene(1), scene(2), **still)
    x0, sigma = scene(3), torch.tensor([0.05])
    for _ in range(1 if ease == 0 else 30):
        f = likelihood(x0, sigma)
    f.requires_grad_()
    z = likelihood.log_z.softmax(1)
    g = [(z * part).sum(1, keepdim=True) for part in (likelihood.right, likelihood.below)]
    right, below = grad(f)
    rho = float(likelihood.noise**2 / 0.05**2)
    objective = (
        likelihood.alpha * (f - likelihood.b).square().sum()
        + (likelihood.weight * (right - g[0]).square()).sum()
        + (likelihood.weight * (below - g[1]).square()).sum()
        + rho * (f - x0).square().sum()
    )
    (slope,) = torch.autograd.grad(objective, f)
    assert float(slope.abs().max()) < 1e-6


def test_equal_sources_are_their_own_fusion():
    s = scene()
    likelihood = EvidenceLikelihood(s, s.clone(), s.clone(), faint=0.0, **PLAIN)
    torch.testing.assert_close(likelihood.first_guess(), s, atol=1e-9, rtol=0)
    torch.testing.assert_close(likelihood(s), s, atol=1e-9, rtol=0)


def test_what_all_sources_have_is_not_counted_twice():
    """Faint texture of each lies over the others', but what is the same in all keeps its size."""
    s = scene()
    fused = EvidenceLikelihood(s, s.clone(), **PLAIN).first_guess()
    assert float((fused - s).abs().max()) < 0.5 / 127.5


def test_faint_texture_stays_beside_a_stronger_one_and_edges_compete():
    across = torch.arange(64, dtype=torch.float64)
    strong = 0.2 * torch.sin(0.7 * across).expand(1, 1, 64, 64)
    other = torch.sin(0.7 * across)[:, None].expand(1, 1, 64, 64)

    def share(size: float, faint: float) -> float:
        """How much of the second source's waves is in the fused image."""
        options = {**PLAIN, "kappa": 0.0, "faint": faint, "p": 1.0}
        likelihood = EvidenceLikelihood(strong, size * other, **options)
        likelihood.first_guess()
        f = likelihood.step(strong, None)
        return float((f * other).mean() / (size * other.square().mean()))

    assert share(0.004, faint=0.003) > 2 * share(0.004, faint=0.0)
    assert share(0.004, faint=0.003) > 0.4
    assert share(0.1, faint=0.003) < 0.2


def test_the_prior_weighs_more_where_noise_is_low():
    i, v, x0 = scene(1), scene(2), scene(3)
    gaps = [
        float((EvidenceLikelihood(i, v)(x0, torch.tensor([sigma])) - x0).square().mean())
        for sigma in (1.0, 0.03, 0.003)
    ]
    assert gaps[0] > gaps[1] > gaps[2]


def test_the_e_step_gives_a_gradient_to_the_source_that_the_estimate_agrees_with():
    edge = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    edge[..., 8:] = 0.5
    likelihood = EvidenceLikelihood(edge, edge.transpose(-1, -2).clone(), p=0.0)
    likelihood.first_guess()
    z = likelihood._responsibilities(edge)
    torch.testing.assert_close(z.sum(1), torch.ones_like(z[:, 0]))
    assert float(z[0, 0, 3, 7]) > 0.6  # the vertical edge is the first source's


def test_a_hot_target_is_bright_before_a_bright_background():
    cold = torch.full((1, 1, 64, 64), -0.6)
    cold[..., 28:38, 30:34] = 0.6
    visible = torch.full((1, 1, 64, 64), 0.7)
    visible[..., 28:38, 30:34] = -0.5  # a dark figure before bright smoke
    fused = {}
    for options in ({}, {"hot": 0.0}):
        likelihood = make_likelihood("default", (cold, visible), **options)
        for _ in range(3):
            f = likelihood.step(cold, None)
        fused[len(options)] = float(likelihood.finish(f)[0, 0, 33, 32])
    assert fused[0] > 0.85
    assert fused[1] < 0.5


@pytest.mark.parametrize(
    "side", [1, -1], ids=["dark clouds, white sky", "bright clouds, black sea"]
)
def test_clouds_do_not_spot_what_is_white_or_black(side):
    clouds = side * (scene(2, (96, 96)).float() - 0.5)
    even = torch.full((1, 1, 96, 96), 0.97 * side)
    even[..., 64:, :] = side * (scene(3, (32, 96)).float() - 0.4)
    spots = {}
    neither = {"follow": 0.0, "room": 0.0}
    for name, options in {"neither": neither, "room": {"follow": 0.0}, "both": {}}.items():
        options = {"kappa": 46.0 * side, "light": 0.0} | options
        likelihood = make_likelihood("default", (clouds, even), **options)
        for _ in range(3):
            f = likelihood.step(even, None)
        spots[name] = float(f[..., 8:48, 8:88].std())
    # Lights before black are welcome: of them, only what would be clipped is held back.
    assert spots["room"] < (0.4 if side == 1 else 0.95) * spots["neither"]
    assert spots["both"] <= 1.05 * spots["room"]


def test_texture_of_what_is_darker_fades_and_its_edges_do_not():
    """Waves of a dark source where the level of a bright one was chosen."""
    waves = torch.sin(0.7 * torch.arange(64, dtype=torch.float64)).expand(1, 1, 64, 64)
    even = 0.5 + 0.002 * waves.transpose(-1, -2)

    def share(size: float, side: int = 1, **options: float) -> float:
        options = {**PLAIN, "kappa": 46.0 * side, "faint": 0.0, **options}
        likelihood = EvidenceLikelihood(size * waves - 0.7 * side, side * even, **options)
        for _ in range(3):
            f = likelihood.step(even, None)
        assert float(side * likelihood.b.mean()) > 0.4, "the level is the second source's"
        return float((f * waves).mean() / (size * waves.square().mean()))

    assert share(0.006, follow=0.0) > 0.6
    assert share(0.006) < 0.3
    assert share(0.4) > 0.8
    assert share(0.006, side=-1) > 0.6


def test_what_cannot_be_kept_gives_way_at_strong_edges():
    """An edge ends where the other source has more to say: no image has such gradients."""
    edge = torch.full((1, 1, 64, 64), -0.3, dtype=torch.float64)
    edge[..., 32:] = 0.3
    stripes = torch.zeros_like(edge)
    stripes[..., 34:, :] = 0.6 * torch.sin(1.1 * torch.arange(64))
    bleeding = {}
    for ease in (0.0, 37.0):
        still = {"follow": 0.0, "kappa": 0.0, "ease": ease}
        likelihood = EvidenceLikelihood(edge, stripes, **PLAIN, **still)
        for _ in range(3):
            f = likelihood.step(edge, None)
        bleeding[ease] = float(sum(part[..., 14:30, 36:].abs().mean() for part in grad(f)))
    assert bleeding[37.0] < 0.5 * bleeding[0.0], "flat in both sources, beside the end of the edge"


def test_a_few_passes_are_enough():
    likelihood = make_likelihood("default", (scene(1, (96, 96)) * 1.2, scene(2, (96, 96)) + 0.2))
    passes = [likelihood.step(scene(1, (96, 96)), None) for _ in range(40)]
    assert float((passes[2] - passes[39]).abs().mean()) < 6 / 127.5
    assert float((passes[38] - passes[39]).abs().mean()) < 0.2 / 127.5


def test_noise_of_many_sources_does_not_add_up():
    waves = (0.2 * torch.sin(0.1 * torch.arange(96.0))).expand(1, 1, 96, 96)
    generator = torch.Generator().manual_seed(5)
    noise = [0.003 * torch.randn(waves.shape, generator=generator) for _ in range(10)]
    left = {}
    for count in (2, 10):
        sources = [waves + n for n in noise[:count]]
        likelihood = make_likelihood("default", sources, curve=(-1, 1), detail=1.0)
        for _ in range(3):
            f = likelihood.step(waves, None)
        error = f - waves
        left[count] = float((error - smooth(error, 2.0)).std())
    assert left[10] < left[2] < 0.003


def test_dull_regions_are_decided_as_sharply_as_bright_ones():
    one, two = scene(1, (64, 64)), scene(2, (64, 64)).roll(7, -1)
    z = {}
    for size in (1.0, 0.1):
        likelihood = EvidenceLikelihood(size * one, size * two, faint=0.0, room=0.0, follow=0.0)
        likelihood.first_guess()
        z[size] = likelihood._responsibilities(size * one)
    torch.testing.assert_close(z[1.0], z[0.1], atol=0.02, rtol=0)
    assert float(z[1.0][:, 0].mean()) > 0.9


def test_what_mixing_loses_is_restored():
    strength = {}
    for restore in (0.0, 1.0):
        options = {**PLAIN, "restore": restore, "learn": 0.0, "room": 0.0, "p": 0.0, "faint": 0.0}
        f = EvidenceLikelihood(scene(1), scene(2), alpha=1e-3, **options).first_guess()
        strength[restore] = sum(float(part.square().sum()) for part in grad(f))
    assert strength[1.0] > 1.3 * strength[0.0]


def test_black_in_both_sources_stays_black():
    i, v = scene(1).float(), scene(2).float()
    i[..., :8], v[..., :8] = -1, -1
    likelihood = make_likelihood("default", (i, v))
    fused = likelihood.finish(likelihood(likelihood.first_guess(), torch.tensor([0.1])))
    assert float(fused[..., :2].max()) < 0.015


def test_what_is_bright_in_one_source_is_not_wholly_dark():
    dark = torch.full((1, 1, 32, 32), -0.9)
    bright = torch.full_like(dark, 0.3)
    plain = {"curve": (-1, 1), "kappa": 0.0, "hot": 0.0, "beta": 0.0}
    for light, level in ((0.0, -0.3), (0.25, -0.15), (1.0, 0.3)):
        f = EvidenceLikelihood(dark, bright, light=light, **plain).first_guess()
        torch.testing.assert_close(f, torch.full_like(f, level), atol=1e-4, rtol=0)


def test_levels_are_decided_region_by_region():
    """What (4) smooths, where it stops, and that there are no such edges without a contour."""
    sources = [scene(1, (60, 80)), scene(2, (60, 80))]
    x = torch.cat([scene(3, (60, 80)), scene(4, (60, 80))], dim=1)
    s = torch.cat(sources, dim=1)
    with_edges = EvidenceLikelihood(*sources, width=0.7, contour=0.05)
    torch.testing.assert_close(with_edges._over_regions(x, s), smooth_regions(x, s, 0.7, 0.05))
    without = EvidenceLikelihood(*sources, width=0.1, contour=0.0)
    gaussian = gaussian_filter(x.numpy(), (0, 0, 6, 6), mode="reflect", truncate=8)
    torch.testing.assert_close(
        without._over_regions(x, s), torch.from_numpy(gaussian), atol=2e-3, rtol=0
    )
    # Two halves of a sky: the one thing that stands out, a cloud, speaks for all of it.
    sky = torch.full((1, 1, 60, 80), 0.2)
    sky[..., 30:, :] = -0.6
    cloud = sky.clone()
    cloud[..., 4:26, 4:40] += 0.05 * torch.rand(22, 36, generator=torch.Generator().manual_seed(7))
    dark = sky - 0.05
    region = EvidenceLikelihood(cloud, dark, hot=0.0, curve=(-1, 1), light=0.0, kappa=2000.0)
    region.first_guess()
    assert float((region.b - cloud)[..., 2:28, 42:].abs().max()) < 0.01


def test_the_curve_is_evened_as_far_as_was_asked():
    pair = scene(1).clamp(max=-0.2), scene(2).clamp(max=-0.3)
    curves = [make_likelihood("default", pair, even=e).chosen()[0]["curve"] for e in (0, 0.2, 0.6)]
    bends = [float(torch.tensor(curve).diff().std()) for curve in curves]
    assert bends[0] < 1e-6 < bends[1] < 0.5 * bends[2]


def test_a_series_can_share_what_one_image_chose():
    dull = 0.2 * scene().float()
    full = torch.linspace(-1, 1, dull.shape[-1]).expand_as(dull)
    pair = torch.cat([dull, full]), torch.cat([0.9 * dull, full])
    gains = {"gains": (1.0, 1.5), "even": 0.0}
    one, two = make_likelihood("default", pair, **gains).chosen()
    rise = [(chosen["curve"][-1] - chosen["curve"][0]) / 2 for chosen in (one, two)]
    assert rise[0] == pytest.approx(1.5) and rise[1] < rise[0]
    own = make_likelihood("default", [source[:1] for source in pair], **gains)
    shared = make_likelihood("default", [source[:1] for source in pair], **gains, **one)
    other = make_likelihood("default", [source[:1] for source in pair], **gains, **two)
    assert torch.equal(own.first_guess(), shared.first_guess())
    assert float(other.first_guess().std()) < float(own.first_guess().std())
    assert shared.chosen() == [one], "what it chose does not depend on what it was told"


def scaled_scenes(*amplitudes: float) -> list[torch.Tensor]:
    """Sources whose gradients have energies as the squares of their amplitudes."""
    return [amplitude * scene() for amplitude in amplitudes]


@pytest.mark.parametrize(
    ("amplitudes", "c"),
    [((1, 1), 1), ((1, 3**0.5), 0.5), ((1, 0.5, 0.5), 0.5), ((1, -1, 1), 1), ((1, 0.01), 0.15)],
)
def test_competition_is_what_the_strongest_leaves_to_the_others(amplitudes, c):
    """Of energies 1 and 3 half of an even share; far from even, the least that there is."""
    (chosen,) = make_likelihood("default", scaled_scenes(*amplitudes), rivalry=1.0).chosen()
    assert chosen["competition"] == pytest.approx(c, abs=1e-3)
    assert "competition" not in make_likelihood("default", scaled_scenes(*amplitudes)).chosen()[0]


def test_levels_weigh_less_where_sources_compete_less():
    pair = scaled_scenes(0.5, -0.5 * 3**0.5)

    def steps(**options) -> torch.Tensor:
        likelihood = EvidenceLikelihood(*pair, **options)
        return likelihood(likelihood.first_guess())

    found, told = steps(alpha=0.04, rivalry=2.0), steps(alpha=0.16, rivalry=2.0, competition=0.25)
    torch.testing.assert_close(found, steps(alpha=0.01), atol=1e-4, rtol=0)
    torch.testing.assert_close(told, steps(alpha=0.01))
    assert float((found - steps(alpha=0.04)).abs().max()) > 0.01


def test_batches_are_fused_pair_by_pair():
    pairs = [(scene(1), scene(2)), (scene(3), scene(4))]
    pairs[1] = pairs[1][0], 0.3 * pairs[1][1]
    both = EvidenceLikelihood(*map(torch.cat, zip(*pairs, strict=True)), rivalry=2.0)
    together = both(both.first_guess())
    for k, pair in enumerate(pairs):
        alone = EvidenceLikelihood(*pair, rivalry=2.0)
        torch.testing.assert_close(alone(alone.first_guess())[0], together[k])


def test_wrong_options_are_named():
    with pytest.raises(DdfmError, match="alpha"):
        EvidenceLikelihood(scene(1), scene(2), alpha=0.0)
    with pytest.raises(DdfmError, match="faint"):
        EvidenceLikelihood(scene(1), scene(2), faint=-0.1)
    with pytest.raises(DdfmError, match="did you mean kappa"):
        make_likelihood("default", (scene(1), scene(2)), kapa=1.0)
