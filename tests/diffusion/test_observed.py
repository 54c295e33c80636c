"""Sources with noise: their posterior under a Gaussian prior, where it is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ddfm.diffusion.observed import LEFT, LOST, TOLD, observe, with_independent_noise
from ddfm.diffusion.samplers import Noise
from ddfm.numerics.filters import smooth
from ddfm.priors.gaussian import GaussianPrior

SIGMA = 0.1


def field(std: float, size: int = 96) -> tuple[GaussianPrior, torch.Tensor]:
    """A prior of white fields of that deviation, and a field of it with noise of SIGMA."""
    prior = GaussianPrior(lambda f: torch.full_like(f, std**2))
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn((2, 1, 1, size, size), generator=generator)
    return prior, std * clean + SIGMA * noise


@pytest.mark.parametrize("left_open", [0.1, 0.3, 0.6, 0.9])
def test_samples_have_the_mean_and_the_deviation_of_the_posterior(left_open):
    """Of y = x + n with x ~ N(0, s^2): mean k y and variance k sigma^2, k = s^2/(s^2 + sigma^2).

    To this is added what a prior that knows less may have lost: LOST^2 sigma times the
    deviation, k^(1/2) sigma. And the mean is that of a little less noise.
    """
    std = SIGMA * math.sqrt(left_open / (1 - left_open))
    prior, seen = field(std)
    source = observe(seen, prior, seen.shape[-2:], clean=0.0, clipped=0.0)
    sigma = source.level
    k, told = (std**2 / (std**2 + noise**2) for noise in (sigma, TOLD * sigma))
    drawn = source.drawn(prior, Noise(range(20)))
    torch.testing.assert_close(source.mean, told * seen, atol=0.05 * sigma, rtol=0)
    off = drawn.mean(0) - k * seen[0]
    expected = (k + LOST**2 * math.sqrt(k)) * sigma**2
    assert float(off.square().mean().sqrt()) < 1.3 * math.sqrt(expected / 40)  # of 40 samples
    assert 0.85 < math.sqrt(float(drawn.var(0).mean()) / expected) < 1.1


def test_remaining_noise_is_drawn_again():
    prior, seen = field(0.5)
    source = observe(seen, prior, seen.shape[-2:], clean=math.inf, clipped=None)
    drawn = source.drawn(prior, Noise([1, 2]))
    assert source.mean is None
    assert torch.equal(source.likely, seen)
    assert float((drawn - seen).std()) == pytest.approx(source.level, rel=0.02)


def test_a_sample_does_not_depend_on_the_number_of_samples():
    prior, seen = field(0.2, size=32)
    source = observe(seen, prior, seen.shape[-2:], clean=0.0, clipped=0.0)
    together = source.drawn(prior, Noise([5, 6, 7]))
    torch.testing.assert_close(source.drawn(prior, Noise([6])), together[2:4])


def test_a_call_of_the_prior_serves_two_opposite_samples():
    """Their mean is that of the posterior, but for what each may have lost by itself."""
    prior, seen = field(0.2)
    source = replace(observe(seen, prior, seen.shape[-2:], clean=0.0, clipped=0.0), lost=0.0)
    drawn = source.drawn(prior, Noise([5, 6]))
    assert len(drawn) == 4
    for k in (0, 2):
        torch.testing.assert_close(drawn[k : k + 2].mean(0), source.mean[0])
    assert float((drawn[0] - drawn[2]).std()) > 0.5 * source.level


def test_content_common_to_two_sources_is_not_noise():
    prior, seen = field(0.01)
    size = seen.shape[-2:]
    other = seen + 0.02 * torch.randn(seen.shape, generator=torch.Generator().manual_seed(3))
    sources = [observe(x, prior, size, math.inf, None) for x in (seen, other)]
    own = with_independent_noise(sources, size, [0.0, 0.0])
    assert [source.noise for source in own] == [pytest.approx(0.02, rel=0.1)] * 2
    twice = with_independent_noise([sources[0]] * 2, size, [2 / 255, 2 / 255])
    assert twice[0].noise == pytest.approx(2 / 255 / math.sqrt(12))  # the steps of 8 bits


@pytest.mark.parametrize("left_open", [0.1, 0.6])
def test_noise_removed_before_leaves_the_same_uncertainty_as_noise_removed_now(left_open):
    prior, seen = field(SIGMA * math.sqrt(left_open / (1 - left_open)))
    size = seen.shape[-2:]
    now = observe(seen, prior, size, clean=0.0, clipped=0.0)
    before = observe(now.mean, prior, size, clean=math.inf, clipped=0.0)
    (unsure,) = with_independent_noise([before], size, [0.0], removed=[now.level])
    assert torch.equal(unsure.likely, now.mean)
    deviations = [float(x.drawn(prior, Noise(range(10))).std(0).mean()) for x in (now, unsure)]
    # More by what the prior would remove once more: it is in both of two opposite samples.
    assert deviations[1] == pytest.approx(deviations[0], rel=0.12)


def test_a_denoised_and_enlarged_source_has_lost_detail():
    seen = torch.zeros(1, 1, 32, 64)
    source = observe(seen, GaussianPrior(), (32, 64), math.inf, None)
    (unsure,) = with_independent_noise([source], (32, 64), [0.0], [2.0], [0.1])
    drawn = unsure.drawn(GaussianPrior(), Noise(range(10)))
    assert float(drawn.std()) == pytest.approx(0.1 * LEFT, rel=0.02)


def test_texture_is_not_taken_for_noise():
    """Blocks of a few pixels are as rough as noise, and their means are rougher."""
    generator = torch.Generator().manual_seed(4)
    tiles = 0.3 * torch.randn(1, 1, 64, 64, generator=generator)
    texture = torch.nn.functional.interpolate(tiles, scale_factor=2, mode="bicubic")
    noise = 0.1 * torch.randn(texture.shape, generator=generator)
    sizes = 128, 128
    rough = observe(texture, GaussianPrior(), sizes, 0.01, None)
    assert rough.level > 0.01 and rough.mean is None
    assert observe(noise, GaussianPrior(), sizes, 0.01, None).mean is not None


def test_remaining_noise_is_the_white_part_and_not_texture():
    """Texture doubles, and noise halves, in means of four pixels."""
    generator = torch.Generator().manual_seed(5)
    texture = smooth(torch.randn(1, 1, 192, 192, generator=generator), 1.5)
    texture *= 0.02 / float(texture.std())
    noise = 0.02 * torch.randn(texture.shape, generator=generator)
    for seen, white in ((texture, 0.0), (texture + noise, 0.02)):
        source = observe(seen, GaussianPrior(), (192, 192), math.inf, None)
        (own,) = with_independent_noise([source], (192, 192), [0.0])
        assert own.noise == pytest.approx(white, abs=0.002)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1)])
def test_a_single_row_or_column_has_samples(shape):
    seen = torch.zeros(1, 1, *shape)
    source = observe(seen, GaussianPrior(), shape, 0.01, None)
    (own,) = with_independent_noise([source], shape, [2 / 255])
    assert own.drawn(GaussianPrior(), Noise([0])).shape == (2, 1, *shape)


def enlarged(small: torch.Tensor) -> torch.Tensor:
    """Twice as large, with the small picture as its means, by back-projection."""
    x = F.interpolate(small, scale_factor=2, mode="bicubic")
    for _ in range(5):
        x = x + F.interpolate(small - F.avg_pool2d(x, 2), scale_factor=2, mode="bicubic")
    return x


@pytest.mark.parametrize("reach", [0.5, 1.5, 2.0])
def test_the_uncertainty_of_an_enlarged_source_is_that_of_its_missing_detail(reach):
    """Shapes with edges of one, three and four pixels, made half as large and enlarged again."""
    generator = torch.Generator().manual_seed(6)
    shapes = smooth(torch.randn(1, 1, 192, 192, generator=generator), 6.0).sign()
    clean = smooth(shapes, reach) / 2
    seen = enlarged(F.avg_pool2d(clean, 2))
    lacks = float((seen - clean).square().mean().sqrt())
    source = observe(seen, GaussianPrior(), (192, 192), math.inf, None)
    (sure,) = with_independent_noise([source], (192, 192), [0.0])
    (unsure,) = with_independent_noise([source], (192, 192), [0.0], [2.0])
    drawn = unsure.drawn(GaussianPrior(), Noise(range(20)))[:, 0]
    without = sure.drawn(GaussianPrior(), Noise(range(20)))[:, 0]
    deviation = math.sqrt(float(drawn.var(0).mean() - without.var(0).mean()))
    assert 0.67 * lacks < deviation < 2 * lacks
    steep = clean.diff(dim=-1).abs()[0, 0] > 0.5 * float(clean.diff(dim=-1).abs().max())
    assert float(drawn.std(0)[:, 1:][steep].mean()) > 1.5 * float(drawn.std(0).mean())
