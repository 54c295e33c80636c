"""The default likelihood: its solver against dense algebra, its objective, known scenes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from scipy.ndimage import gaussian_filter, maximum_filter

from ddfm import DdfmError
from ddfm.config import FusionConfig
from ddfm.likelihood import EvidenceLikelihood, make_likelihood
from ddfm.likelihood.gradients import noise_energy_of
from ddfm.likelihood.targets import find_targets
from ddfm.numerics.bands import WHOLE
from ddfm.numerics.filters import largest_within, smooth
from ddfm.numerics.poisson import PoissonSolver, adjoint, dct, grad, idct, in_cosines
from ddfm.numerics.regions import from_grid, on_grid, smoothed_on_grid
from ddfm.numerics.tone import Tone

PLAIN = {"theta": 0.0, "phi": 0.0, "faint": 0.0}  # neither targets nor what is foreign


def scene(seed: int = 0, size: tuple[int, int] = (24, 32)) -> torch.Tensor:
    """A smooth random image within [-0.8, 0.8]."""
    generator = torch.Generator().manual_seed(seed)
    x = smooth(torch.randn((1, 1, *size), generator=generator, dtype=torch.float64), 2.0)
    return 0.8 * x / x.abs().max()


@pytest.mark.parametrize("shape", [(6, 8), (7, 5), (1, 4), (1, 1)])
def test_the_dct_is_that_of_scipy_and_its_inverse_is_exact(shape):
    x = np.random.default_rng(0).normal(size=shape)
    y = dct(torch.from_numpy(x))
    np.testing.assert_allclose(2 * y.numpy(), scipy.fft.dct(x, axis=-1), atol=1e-12)
    np.testing.assert_allclose(idct(y).numpy(), x, atol=1e-12)


def test_both_implementations_weight_cosines_alike():
    """SciPy's, on a processor, and our own by FFT, for a GPU."""
    x, response = (torch.rand(2, 1, 7, 10, dtype=torch.float64) for _ in range(2))
    waves = dct(dct(x).transpose(-1, -2)).transpose(-1, -2) * response
    by_fft = idct(idct(waves.transpose(-1, -2)).transpose(-1, -2))
    torch.testing.assert_close(in_cosines(x, response), by_fft, rtol=0, atol=1e-12)


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
    hold = torch.from_numpy(rng.random((1, 1, 4, 5)))
    matrix = torch.diag(hold.flatten()) + adjoint(*(weight[0] * g for g in grad(unit))).flatten(1)
    expected = torch.linalg.solve(matrix.T, x[0].flatten()).view(1, 1, 4, 5)
    solved = PoissonSolver().weighted(hold, weight[:1], x[:1], torch.zeros_like(x[:1]), passes=30)
    torch.testing.assert_close(solved, expected)
    nothing = torch.zeros_like(x)  # is left to solve
    assert torch.equal(PoissonSolver().weighted(0.3, weight, nothing, nothing, passes=2), nothing)


def test_wide_blur_is_gaussian_and_keeps_the_mean():
    x = torch.zeros(1, 1, 81, 81, dtype=torch.float64)
    x[..., 40, 40] = 1
    blurred = PoissonSolver().blur(x, 6.0)
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-12)
    variance = (blurred[0, 0].sum(0) * (torch.arange(81) - 40.0) ** 2).sum()
    assert float(variance) == pytest.approx(36, rel=1e-3)


def test_smoothing_is_symmetric_and_keeps_the_mean():
    x, y = scene(1, (7, 3)), scene(2, (7, 3))
    assert float((y * smooth(x, 2.0)).sum()) == pytest.approx(float((x * smooth(y, 2.0)).sum()))
    assert float(smooth(x, 2.0).mean()) == pytest.approx(float(x.mean()))
    inside = smooth(scene(3, (60, 60)), 1.5)[..., 8:-8, 8:-8]
    scipys = gaussian_filter(scene(3, (60, 60)).numpy(), (0, 0, 1.5, 1.5), radius=(0, 0, 5, 5))
    np.testing.assert_allclose(inside, scipys[..., 8:-8, 8:-8], atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (33, 21)])
def test_the_maximum_filter_is_that_of_scipy(size):
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    found = [maximum_filter(plane, 7, mode="constant") for plane in x.flatten(0, 1).numpy()]
    assert np.array_equal(largest_within(x, 3).flatten(0, 1).numpy(), np.stack(found))


def wide_scene(seed: int) -> torch.Tensor:
    """With white, black, edges, and a glowing object."""
    x = scene(seed, (40, 50)) * 1.6
    x[..., 8:20, 30:38] += 0.9
    return x.clamp(-1, 1)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("task", ["ir-visible", "medical", "multi-exposure", "multi-focus"])
def test_every_pass_increases_the_objective(task, count):
    """Both steps of it, for each image of a batch."""
    sources = [torch.cat([wide_scene(k), wide_scene(k + 7)]) for k in range(count)]
    options = FusionConfig(task=task).resolved(task).options
    likelihood = make_likelihood("default", sources, **Tone.others(options))
    x0, sigma = torch.cat([scene(8, (40, 50)), scene(9, (40, 50))]), torch.tensor([0.02, 0.02])
    likelihood.noise = torch.tensor([0.02, 0.0])
    rho = ((likelihood.noise / sigma) ** 2).to(x0).view(2, 1, 1, 1)
    f, z = likelihood.first_guess(), likelihood.evidence().pi
    heights = [likelihood.log_posterior(f, z, x0, rho)]
    for _ in range(6):
        again = likelihood.evidence().labels(f)
        heights.append(likelihood.log_posterior(f, again, x0, rho))
        f, z = likelihood(x0, sigma), likelihood.z
        heights.append(likelihood.log_posterior(f, z, x0, rho))
    rises = torch.stack(heights).diff(dim=0)
    assert bool((rises >= -1e-9 * heights[0].abs()).all())
    assert bool((rises[:2].sum(0) > 0).all())


def test_the_e_step_maximises_the_objective_over_the_labels():
    likelihood = EvidenceLikelihood(wide_scene(1), wide_scene(2))
    f, nothing = likelihood.first_guess(), torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    z = likelihood.evidence().labels(f)
    best = float(likelihood.log_posterior(f, z, f, nothing))
    for seed in range(5):
        turn = 0.2 * scene(seed, (40, 50))
        other = z.log() + torch.cat([turn, -turn], dim=1)
        assert float(likelihood.log_posterior(f, other.softmax(1), f, nothing)) < best


def test_the_m_step_reaches_a_zero_gradient_of_the_objective():
    likelihood = EvidenceLikelihood(scene(1), scene(2))
    f, z = likelihood.first_guess(), likelihood.evidence().pi
    x0, rho = scene(3), torch.full((1, 1, 1, 1), 0.01, dtype=torch.float64)
    for _ in range(40):
        f = likelihood._m_step(likelihood.evidence().expected(z), f, x0, rho)
    f.requires_grad_()
    (slope,) = torch.autograd.grad(likelihood.log_posterior(f, z, x0, rho), f)
    assert float(slope.abs().max()) < 1e-6


def test_the_m_step_keeps_the_result_within_black_and_white():
    """Waves on a nearly white level: the M-step respects the range."""
    waves = (0.6 * torch.sin(0.5 * torch.arange(64.0))).expand(1, 1, 64, 64)
    white = torch.full_like(waves, 0.9) + 0.01 * waves.transpose(-1, -2)
    likelihood = EvidenceLikelihood(white, waves, kappa=0.0, **PLAIN)
    likelihood._read_sources()
    likelihood.u = torch.full_like(likelihood.u, 0.9)
    for _ in range(8):
        f = likelihood(white)
    assert float((f.abs() - 1).max()) < 0.05
    assert float(f.mean()) < 0.8 and float(f.amax() - f.amin()) > 0.6, "they stay, but darker"


@pytest.mark.parametrize("task", ["ir-visible", "medical", "multi-exposure", "multi-focus"])
def test_the_fusion_of_equal_sources_is_that_source(task):
    s = scene(0, (60, 80))
    options = Tone.others(FusionConfig(task=task).resolved(task).options)
    likelihood = make_likelihood("default", (s, s.clone(), s.clone()), **options)
    likelihood(s)
    f = likelihood(s)
    assert float((f - s).abs().max()) < 0.5 / 127.5


def test_faint_texture_is_added_to_a_stronger_one_and_edges_compete():
    across = torch.arange(64, dtype=torch.float64)
    strong = 0.2 * torch.sin(0.7 * across).expand(1, 1, 64, 64)
    other = torch.sin(0.7 * across)[:, None].expand(1, 1, 64, 64)

    def share(size: float, faint: float) -> float:
        """How much of the second source's waves is in the fused image."""
        options = {**PLAIN, "kappa": 0.0, "faint": faint}
        likelihood = EvidenceLikelihood(strong, size * other, **options)
        for _ in range(3):
            f = likelihood(strong)
        return float((f * other).mean() / (size * other.square().mean()))

    assert share(0.004, faint=0.004) > 2 * share(0.004, faint=0.0)
    assert share(0.004, faint=0.004) > 0.4
    assert share(0.1, faint=0.004) < 0.2


@pytest.mark.parametrize("turns", range(4))
def test_a_warm_pole_casts_no_shadow_to_any_side(turns):
    """It stands in front of a cold sky that is bright in the other source, and is no target."""
    thermal, visible = torch.full((1, 1, 80, 80), -0.5), torch.full((1, 1, 80, 80), 0.85)
    thermal[..., 30:34, :], visible[..., 30:34, :] = 0.6, 0.4
    thermal[..., 50:, :] = 0.3 * scene(5, (30, 80)).float() + 0.2
    visible[..., 50:, :] = 0.3 * scene(6, (30, 80)).float() - 0.3
    sources = (torch.rot90(s, turns, (-2, -1)) for s in (thermal, visible))
    likelihood = EvidenceLikelihood(*sources, theta=0.0)
    for _ in range(3):
        f = likelihood(likelihood.sources[0])
    rows = torch.rot90(f, -turns, (-2, -1)).mean(dim=-1).flatten()
    assert rows[29] == pytest.approx(0.85, abs=0.05)
    assert rows[34] == pytest.approx(0.85, abs=0.05)


def test_the_energy_of_white_noise_is_found():
    """Differences along two axes have twice the variance each."""
    for sigma in (0.01, 0.05):
        found = noise_energy_of(
            sigma * torch.randn(1, 1, 300, 400, generator=torch.Generator().manual_seed(0))
        )
        assert float(found) == pytest.approx(4 * sigma**2, rel=0.03)
    assert float(noise_energy_of(scene(0).round(decimals=0))) == 0, "where much is flat"


def of_second(first: torch.Tensor, second: torch.Tensor) -> float:
    """How much of the second source's variation is in the fused image."""
    likelihood = EvidenceLikelihood(first, second, theta=0.0)
    for _ in range(3):
        f = likelihood(first)
    second = second - second.mean()
    return float((f * second).mean() / second.square().mean())


def test_grain_does_not_displace_fainter_texture():
    grain = 0.02 * torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    waves = (0.02 * torch.sin(1.5 * torch.arange(96.0))).repeat(1, 1, 96, 1)
    waves[..., :48, :] = 0  # a photograph that is clean in places
    assert of_second(grain, waves) > 0.75
    assert of_second(waves, grain) < 0.75, "no more than where the waves leave room"


def test_texture_that_is_everywhere_is_kept():
    grass = 0.1 * torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(2))
    faint = 0.01 * scene(3, (96, 96))
    assert of_second(faint, grass) > 0.9


def test_the_prior_has_weight_only_where_there_is_noise():
    i, v, x0 = scene(1), scene(2), scene(3)
    gaps = []
    for sigma in (1.0, 0.03, 0.003):
        likelihood = EvidenceLikelihood(i, v)
        likelihood.noise = torch.tensor([0.02])
        gaps.append(float((likelihood(x0, torch.tensor([sigma])) - x0).square().mean()))
    assert gaps[0] > gaps[1] > gaps[2]
    clean = EvidenceLikelihood(i, v)
    near, far = torch.tensor([0.01]), torch.tensor([0.4])
    assert not clean.needs_prior(near)
    seen = [EvidenceLikelihood(i, v)(x, torch.tensor([0.01])) for x in (x0, -x0)]
    torch.testing.assert_close(*seen, atol=1e-12, rtol=0)
    never = EvidenceLikelihood(i, v, lam=0.0)
    never.noise = torch.tensor([0.5])
    assert likelihood.needs_prior(near) and not never.needs_prior(near)
    assert not likelihood.needs_prior(far)  # where its estimate would be worth next to nothing


def test_the_e_step_gives_a_gradient_to_the_source_that_the_estimate_agrees_with():
    edge = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    edge[..., 8:] = 0.5
    likelihood = EvidenceLikelihood(edge, edge.transpose(-1, -2).clone(), **PLAIN)
    likelihood.first_guess()
    z = likelihood.evidence().labels(edge)
    torch.testing.assert_close(z.sum(1), torch.ones_like(z[:, 0]))
    assert float(z[0, 0, 3, 7]) > 0.9  # the vertical edge is the first source's


def fused(*sources: torch.Tensor, **options: float) -> torch.Tensor:
    likelihood = make_likelihood("default", sources, **options)
    for _ in range(3):
        f = likelihood(sources[0])
    return 2 * likelihood.finish(f)[0, 0] - 1


def man(level: float, around: torch.Tensor, size: int = 160) -> torch.Tensor:
    x = around.expand(1, 1, size, size).clone()
    x[..., 60:100, 70:84] = level
    return x


def test_a_person_behind_bright_smoke_is_kept():
    cold = man(0.5, torch.tensor(-0.7)) + 0.02 * scene(1, (160, 160)).float()
    smoke = torch.full_like(cold, 0.97) + 0.02 * scene(2, (160, 160)).float()
    smoke[..., 110:, :] = -0.3
    f = fused(cold, smoke.clamp(max=1))
    inside, beside = f[66:94, 74:80], torch.cat([f[66:94, 66:68], f[66:94, 86:88]])
    assert float(inside.mean() - beside.mean()) > 0.6 * 1.2
    assert float(inside.std()) < 0.15, "all of him"
    assert float(f[5:40].mean()) > 0.8, "the smoke is white where he is not"
    lost = fused(cold, smoke.clamp(max=1), theta=0.0)
    assert float(lost[66:94, 74:80].mean() - lost[66:94, 66:68].mean()) < 0.3 * 1.2


@pytest.mark.parametrize("amplitude", [0.1, 0.25])
def test_a_target_has_its_own_contrast_and_the_detail_of_the_other_source(amplitude):
    hot = man(0.5, torch.tensor(-0.7))
    stripes = amplitude * (torch.arange(160) // 2 % 2 * 2 - 1).float().expand(160, 160)
    f = fused(hot, -0.2 + stripes[None, None])
    inside, beside = f[62:98, 72:82], f[62:98, 20:36]
    assert float(inside.mean() - beside.mean()) > 0.7 * 1.2
    seen, there = inside.mean(0), stripes[0, 72:82]
    assert float(torch.corrcoef(torch.stack([seen, there]))[0, 1]) > 0.95
    assert float(seen.std() / there.std()) > 0.7


def test_texture_continues_through_the_wide_border_of_a_blurred_target():
    """As in a thermal image that was enlarged by a large factor."""
    hot = smooth(man(0.5, torch.tensor(-0.7)), 6.0)
    stripes = 0.2 * (torch.arange(160) // 2 % 2 * 2 - 1).float().expand(160, 160)
    f = fused(hot, -0.3 + stripes[None, None])
    above = f[52:64, 72:82]  # the border, along which the stripes run
    seen = above - above.mean(1, keepdim=True)
    assert float(seen.std() / stripes[52:64, 72:82].std()) > 0.8


def test_a_lamp_in_front_of_a_warm_wall_stays_bright():
    wall = torch.full((1, 1, 160, 160), -0.8)
    wall[..., 40:120, 30:140] = 0.1
    night = torch.full_like(wall, -0.9)
    night[..., 70:78, 70:90] = 0.9
    f = fused(wall, night)
    assert float(f[72:76, 74:86].mean()) > 0.7
    assert float(f[72:76, 74:86].mean() - f[60:66, 74:86].mean()) > 0.6


def test_a_warm_roof_casts_no_shadow_on_a_bright_sky():
    """It stands out from the sky above, but not from the house below."""
    thermal = torch.full((1, 1, 160, 160), -0.3)
    thermal[..., :50, :] = -0.9
    thermal[..., 50:100, 40:120] = 0.8
    visible = torch.full_like(thermal, -0.2)
    visible[..., :50, :] = 0.7
    f = fused(thermal, visible)
    assert float(f[42:47, 70:90].mean()) > float(f[10:20, 70:90].mean()) - 0.1


def test_targets_are_small_bright_and_of_one_source():
    hot = man(0.5, torch.tensor(-0.7)).double()
    lit = torch.full_like(hot, -0.8)
    lit[..., 20:30, 20:40] = 0.9
    noisy = 0.1 * torch.randn(hot.shape, generator=torch.Generator().manual_seed(1)).double()
    T = find_targets([hot, lit], 1.5, PoissonSolver())[0]
    assert float(T[0, 65:95, 73:81].min()) > 0.99 and float(T[1, 22:28, 22:38].min()) > 0.99
    assert float(T.sum(0).max()) < 1 + 1e-6
    assert float(T[:, 120:].max()) < 1e-3 and float(T[1, 65:95, 73:81].max()) < 0.01
    # What is even, dark, or noise has none; nor has a half of the picture, nor its border.
    half = torch.full_like(hot, -0.5)
    half[..., 80:] = 0.5
    for empty in (half, -hot, torch.zeros_like(hot)):
        T = find_targets([empty, empty * 0], 1.5, PoissonSolver())[0]
        assert float(T.max()) < 0.01
    alarms = find_targets([noisy, -noisy], 1.5, PoissonSolver())
    assert float(alarms.mean()) < 0.02


def test_texture_of_the_darker_source_fades_and_its_edges_do_not():
    """Waves of a dark source where the level of a bright one was chosen."""
    waves = torch.sin(0.7 * torch.arange(64, dtype=torch.float64)).expand(1, 1, 64, 64)
    even = 0.5 + 0.002 * waves.transpose(-1, -2)

    def share(size: float, **options: float) -> float:
        options = {**PLAIN, "phi": 4.0, **options}
        likelihood = EvidenceLikelihood(size * waves - 0.7, even, **options)
        for _ in range(3):
            f = likelihood(even)
        assert float(likelihood.u.mean()) > 0.4, "the level is the second source's"
        return float((f * waves).mean() / (size * waves.square().mean()))

    assert share(0.004, phi=0.0) > 0.6
    assert share(0.004) < 0.3
    assert share(0.4) > 1.5 * share(0.004)


def of_medicine(*sources: torch.Tensor) -> torch.Tensor:
    likelihood = make_likelihood("default", sources, **FusionConfig().resolved("medical").options)
    for _ in range(3):
        f = likelihood(sources[0])
    return f


def test_bone_is_fully_white_and_bright_uptake_keeps_the_sulci():
    """Lines of tissue, once where the other picture is white, and once where it is only bright."""
    lines = torch.full((1, 1, 64, 64), -0.6, dtype=torch.float64)
    lines[..., ::8, :] = 0.0
    lines[..., 1::8, :] = 0.0

    def contrast(level: float) -> float:
        f = of_medicine(torch.full_like(lines, level), lines)[..., 12:52, 12:52]
        return float(f[lines[..., 12:52, 12:52] > -0.3].mean() - f.mean())

    assert contrast(1.0) < 0.05
    assert contrast(0.7) > 0.2


@pytest.mark.parametrize("level", [0.4, 1.0])
@pytest.mark.parametrize("diameter", [3, 4, 6])
def test_a_calcification_keeps_most_of_its_contrast(diameter, level):
    """A small bright disc of the CT in tissue that is brighter, and has texture, in the MRI."""
    y, x = torch.meshgrid(torch.arange(64) - 30.0, torch.arange(64) - 33.0, indexing="ij")
    away = (y**2 + x**2).sqrt().to(torch.float64)
    disc = (diameter / 2 - away + 0.5).clamp(0, 1)[None, None]
    ct = -0.5 * (1 - disc) + level * disc
    f = of_medicine(ct, -0.2 + 0.3 * scene(4, (64, 64)))
    inside, around = (
        away <= diameter / 2 - 0.3,
        (away > diameter / 2 + 1) & (away < diameter / 2 + 4),
    )
    kept = float(f[..., inside].mean() - f[..., around].mean())
    assert kept > 0.6 * float(ct[..., inside].mean() - ct[..., around].mean())


def test_impossible_gradients_give_way_at_strong_edges():
    """An edge ends where the other source has the stronger one: no image has such gradients."""
    edge = torch.full((1, 1, 64, 64), -0.3, dtype=torch.float64)
    edge[..., 32:] = 0.3
    stripes = torch.zeros_like(edge)
    stripes[..., 34:, :] = 0.6 * torch.sin(1.1 * torch.arange(64))
    bleeding = {}
    for size in (10.0, 0.01):
        likelihood = EvidenceLikelihood(edge, stripes, **PLAIN, kappa=0.0, edge=size)
        for _ in range(3):
            f = likelihood(edge)
        bleeding[size] = float(sum(part[..., 14:30, 36:].abs().mean() for part in grad(f)))
    assert bleeding[0.01] < 0.5 * bleeding[10.0], "flat in both sources, beside the end of the edge"


def test_a_few_passes_are_enough():
    likelihood = make_likelihood("default", (scene(1, (96, 96)) * 1.2, scene(2, (96, 96)) + 0.2))
    passes = [likelihood(scene(1, (96, 96))) for _ in range(40)]
    assert float((passes[2] - passes[39]).abs().mean()) < 8 / 127.5
    assert float((passes[38] - passes[39]).abs().mean()) < 0.2 / 127.5


def test_noise_of_many_sources_does_not_add_up():
    waves = (0.2 * torch.sin(0.1 * torch.arange(96.0))).expand(1, 1, 96, 96)
    generator = torch.Generator().manual_seed(5)
    noise = [0.003 * torch.randn(waves.shape, generator=generator) for _ in range(10)]
    left = {}
    for count in (2, 10):
        likelihood = make_likelihood("default", [waves + n for n in noise[:count]])
        for _ in range(3):
            f = likelihood(waves)
        error = f - waves
        left[count] = float((error - smooth(error, 2.0)).std())
    assert left[10] < left[2] < 0.0035


def test_black_in_both_sources_stays_black():
    i, v = scene(1).float(), scene(2).float()
    i[..., :8], v[..., :8] = -1, -1
    assert float(fused(i, v)[..., :2].max()) < -0.97


def test_levels_are_chosen_region_by_region():
    """The smoothing of (4), and where it stops."""
    sources = [scene(1, (60, 80)), scene(2, (60, 80))]
    s = torch.cat(sources, dim=1)
    with_edges = EvidenceLikelihood(*sources, width=0.7, edge=0.05, saliency="exposed")
    with_edges.first_guess()
    smoothed = smoothed_on_grid(on_grid(-(s**2) / 2), on_grid(s), 0.7, 0.05)
    expected = from_grid(smoothed, s.shape, WHOLE)
    torch.testing.assert_close(with_edges.levels.regions(), expected)
    narrow = EvidenceLikelihood(*sources, width=0.008, saliency="exposed")
    narrow.first_guess()
    torch.testing.assert_close(narrow.levels.regions(), smooth(-(s**2) / 2, 0.48))
    # Two halves of a sky: the one thing that stands out, a cloud, speaks for all of it.
    sky = torch.full((1, 1, 60, 80), 0.2)
    sky[..., 30:, :] = -0.6
    cloud = sky.clone()
    cloud[..., 4:26, 4:40] += 0.05 * torch.rand(22, 36, generator=torch.Generator().manual_seed(7))
    region = EvidenceLikelihood(cloud, sky - 0.05, kappa=2000.0, **PLAIN)
    region.first_guess()
    assert float((region.u - cloud)[..., 2:28, 42:].abs().max()) < 0.01


@pytest.mark.parametrize(
    ("saliency", "first"), [("exposed", False), ("sharp", True), ("stands out", True)]
)
def test_detail_and_exposure_decide_which_source_gives_the_level(saliency, first):
    """One source is overexposed but has the detail; the other is flat, of medium level."""
    bright = 0.9 + 0.05 * torch.sin(torch.arange(64.0)).expand(1, 1, 64, 64)
    even = torch.full_like(bright, 0.1)
    likelihood = EvidenceLikelihood(bright, even, saliency=saliency)
    share = float(likelihood.shares()[:, 0].mean())
    assert share > 0.9 if first else share < 0.1


def test_each_image_of_a_batch_comes_out_as_alone():
    a, b = wide_scene(1), wide_scene(2)
    both = torch.cat([a, b]), torch.cat([b, -a])
    together = EvidenceLikelihood(*both)
    alone = [EvidenceLikelihood(both[0][k : k + 1], both[1][k : k + 1]) for k in (0, 1)]
    for _ in range(2):
        f = together(both[0])
        ones = torch.cat([one(both[0][k : k + 1]) for k, one in enumerate(alone)])
    torch.testing.assert_close(f, ones, atol=1e-9, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 200)])
def test_any_size_is_fused(size):
    x = torch.full((1, 1, *size), 0.25)
    torch.testing.assert_close(fused(x, x.clone()), x[0, 0], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edge": 0}, "edge of the likelihood must be positive"),
        ({"phi": -1}, "must not be negative"),
        ({"full": -1}, "must not be negative"),
        ({"p": -1}, "must not be negative"),
        ({"balance": 3}, "the option balance must be a number from -1 to 1, not 3"),
        ({"saliency": "loud"}, "unknown saliency 'loud'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(DdfmError, match=message):
        make_likelihood("default", (scene(1), scene(2)), **options)
