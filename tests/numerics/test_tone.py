"""Tone curves: against closed forms, and their guarantees."""

import pytest
import torch

from ddfm.numerics.tone import Tone, along, fold, good_curve, knots, toned

WIDE = (1.0, 1.5)


def waves(size=(24, 32)) -> torch.Tensor:
    """Levels from -0.8 to 0.8."""
    y, x = (torch.arange(float(n), dtype=torch.float64) for n in size)
    return 0.8 * (torch.sin(0.21 * y)[:, None] * torch.cos(0.17 * x))[None, None]


def night(share: float = 0.8) -> torch.Tensor:
    """Levels from -1 to 1; a share of them lies evenly in the lowest quarter."""
    count = 10_000
    dark = torch.linspace(-1, -0.5, int(share * count), dtype=torch.float64)
    light = torch.linspace(-0.5, 1, count - len(dark), dtype=torch.float64)
    return torch.cat([dark, light]).view(1, 1, 100, 100)


def test_a_curve_is_interpolated_linearly_and_extrapolated():
    curve = torch.tensor([[-1.0, 0.5, 1.0], [-1.0, 0.0, 1.0]])
    u = torch.tensor([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]).expand(2, -1)
    expected = torch.tensor([-1.75, -1.0, -0.25, 0.5, 0.75, 1.0, 1.25])
    torch.testing.assert_close(along(curve, u), torch.stack([expected, u[1]]))
    torch.testing.assert_close(along(knots(3, curve).expand(2, -1), u), u)


def test_levels_are_spread_into_the_range_and_never_narrowed():
    dull = 0.2 * waves() + 0.7
    spread = along(good_curve(dull, 0.45, WIDE), dull)
    assert float(spread.std()) == pytest.approx(1.5 * float(dull.std()), rel=1e-6)
    assert float(spread.max()) <= 1.01
    full = waves() / 0.8
    torch.testing.assert_close(along(good_curve(full, 0.1, WIDE), full), full)
    grey = waves()
    darkest = grey.flatten().quantile(0.01).view(1, 1)
    curve = good_curve(grey, 0.475, (1.0, 1.1))
    assert float(curve.diff().mean()) > 2
    torch.testing.assert_close(along(curve, darkest), darkest)
    white = torch.linspace(-0.5, 1, 24 * 32, dtype=torch.float64).view(1, 1, 24, 32).clamp(max=0.9)
    white = white + 0.1
    torch.testing.assert_close(along(good_curve(white, 0.1, WIDE), white), white)


def test_each_image_of_a_batch_has_the_curve_that_it_has_alone():
    both = torch.cat([night(), night(0.3)])
    curves = good_curve(both, 0.5, WIDE)
    alone = torch.cat([good_curve(both[k : k + 1], 0.5, WIDE) for k in (0, 1)])
    torch.testing.assert_close(curves, alone)
    assert float((curves[0] - curves[1]).abs().max()) > 0.05


def test_gains_are_at_least_one_and_keep_within_the_range():
    dark = torch.full((1, 1, 100, 50), -0.5, dtype=torch.float64)
    bimodal = torch.cat([dark, -dark], dim=-1)
    spread = along(good_curve(bimodal, 9.0, (1.0, 10.0)), bimodal)
    assert float(spread.max() - spread.min()) == pytest.approx(2, rel=1e-6)
    narrowed = good_curve(bimodal, 0.1, (0.2, 1.5))
    torch.testing.assert_close(along(narrowed, bimodal), bimodal)


def test_nan_is_not_hidden():
    u = torch.tensor([[0.0, float("nan"), float("inf")]])
    out = along(torch.tensor([[-1.0, 0.0, 1.0]]), u)
    assert out[0].isfinite().tolist() == [True, False, False]


@pytest.mark.parametrize("level", [-1.0, 0.3, 1.0])
def test_a_constant_image_keeps_its_level(level):
    flat = torch.full((1, 1, 9, 9), level)
    torch.testing.assert_close(along(good_curve(flat, 0.5, WIDE), flat), flat)


def test_folding_is_smooth_monotone_and_below_white():
    f = torch.linspace(-1.5, 3, 1000, dtype=torch.float64)
    folded = fold(f, 0.1)
    assert bool((folded.diff() >= 0).all())
    assert float(folded.max()) <= 1 and float(folded.min()) == -1
    inside = (f > -1) & (f < 0.9)
    torch.testing.assert_close(folded[inside], f[inside])
    assert float((folded.diff() / f.diff())[f[1:] > -1].max()) < 1 + 1e-9


def test_a_tone_spreads_levels_or_keeps_them():
    dull = (0.4 * waves() + 1) / 2
    left, none = Tone()(dull)
    assert left is dull and none == [{}]
    spread, chosen = Tone(spread=0.5, gains=(1.0, 1.5))(dull)
    assert float(spread.std()) == pytest.approx(1.5 * float(dull.std()), rel=1e-3)
    assert chosen[0]["curve"] == pytest.approx(
        tuple(good_curve(2 * dull - 1, 0.5, WIDE)[0].tolist())
    )
    given, own = Tone(spread=0.5, gains=(1.0, 1.5), curve=(-1, 0.5))(dull)
    assert own == chosen, "what it finds does not depend on what it was told"
    torch.testing.assert_close(given, 0.75 * dull)


def test_an_image_that_needs_no_tone_keeps_its_white():
    f = torch.tensor([[[[-1.0, 0.2, 1.0]]]])
    assert torch.equal(toned(f, knots(2, f)[None]), f)
    assert float(toned(f, torch.tensor([[-1.0, 1.5]])).max()) < 1


def test_options_belong_to_the_tone_or_to_the_likelihood():
    options = {"alpha": 1.0, "spread": 0.3, "curve": None}
    assert Tone.among(options) == Tone(spread=0.3) and Tone.others(options) == {"alpha": 1.0}
