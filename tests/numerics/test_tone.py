"""Curves of levels: against closed forms, and what they promise."""

import pytest
import torch

from ddfm.numerics import tone
from ddfm.numerics.tone import along, fold, good_curve, knots

WIDE = (1.0, 1.5)


def waves(size=(24, 32)) -> torch.Tensor:
    """Levels from -0.8 to 0.8."""
    y, x = (torch.arange(float(n), dtype=torch.float64) for n in size)
    return 0.8 * (torch.sin(0.21 * y)[:, None] * torch.cos(0.17 * x))[None, None]


def night(share: float = 0.8) -> torch.Tensor:
    """Levels from -1 to 1, as far as `share` of them lie evenly in the lowest quarter."""
    count = 10_000
    dark = torch.linspace(-1, -0.5, int(share * count), dtype=torch.float64)
    light = torch.linspace(-0.5, 1, count - len(dark), dtype=torch.float64)
    return torch.cat([dark, light]).view(1, 1, 100, 100)


def test_a_curve_is_straight_between_its_numbers_and_goes_on_as_it_ends():
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
    assert float(curve.diff().mean()) * (tone.KNOTS - 1) > 2
    torch.testing.assert_close(along(curve, darkest), darkest)
    white = torch.linspace(-0.5, 1, 24 * 32, dtype=torch.float64).view(1, 1, 24, 32).clamp(max=0.9)
    white = white + 0.1
    torch.testing.assert_close(along(good_curve(white, 0.1, WIDE), white), white)


def test_evening_makes_all_levels_equally_frequent(monkeypatch):
    monkeypatch.setattr(tone, "CROWDED", 1e9)
    u = night()
    even = along(good_curve(u, 0.1, (1.0, 1.0), even=1.0), u).flatten()
    low, high = u.flatten().quantile(torch.tensor([0.01, 0.99], dtype=u.dtype))
    rank = torch.linspace(0, 1, len(even), dtype=u.dtype)
    expected = low + (high - low) * rank
    inside = (rank > 0.01) & (rank < 0.99)
    torch.testing.assert_close(even[inside], expected[inside], atol=0.02, rtol=0)


def test_what_many_pixels_have_is_drawn_apart_but_not_far():
    """Eight tenths of the pixels are in a quarter of the range: 3.2 times as many as on average."""
    u = night()
    curve = good_curve(u, 0.1, (1.0, 1.0), even=0.4)
    slope = curve[0].diff() * (tone.KNOTS - 1) / 2
    assert bool((slope > 0).all())
    # A share of 0.6 of a straight line; the rest up to the limit, and what that leaves to all.
    left = 1 - 0.25 * tone.CROWDED - 0.2
    expected = 0.6 + 0.4 * (tone.CROWDED + left)
    assert float(slope[1:7].mean()) == pytest.approx(expected, rel=0.05) and expected < 1.5


@pytest.mark.parametrize("ends", [(-0.8, 0.8), (0.01, 0.05), (0.05, 0.11), (0.055, 0.07)])
def test_evening_keeps_both_ends_and_what_is_even(ends):
    """However few bins the levels are in, and however their ends lie in them."""
    ramp = torch.linspace(*ends, 64 * 64, dtype=torch.float64).view(1, 1, 64, 64)
    evened = along(good_curve(ramp, 0.1, (1.0, 1.0), even=1.0), ramp)
    inside = ramp.flatten()[41:-41], evened.flatten()[41:-41]
    torch.testing.assert_close(inside[1], inside[0], atol=0.05 * (ends[1] - ends[0]), rtol=0)
    assert float((inside[1] - inside[0])[[0, -1]].abs().max()) < 1e-3 * (ends[1] - ends[0])


def test_each_image_of_a_batch_has_the_curve_that_it_has_alone():
    both = torch.cat([night(), night(0.3)])
    curves = good_curve(both, 0.5, WIDE, even=0.3)
    alone = torch.cat([good_curve(both[k : k + 1], 0.5, WIDE, even=0.3) for k in (0, 1)])
    torch.testing.assert_close(curves, alone)
    assert float((curves[0] - curves[1]).abs().max()) > 0.05


def test_the_gain_is_for_what_was_evened():
    u = 0.4 * night() + 0.1
    curve = good_curve(u, 0.3, (1.0, 2.0), even=0.5)
    assert float(along(curve, u).std()) == pytest.approx(0.3, rel=1e-3)
    assert 1.05 < 0.3 / float(u.std()) < 1.95, "neither gain is at its bounds"


def test_no_gain_goes_beyond_the_range_or_below_one():
    dark = torch.full((1, 1, 100, 50), -0.5, dtype=torch.float64)
    bimodal = torch.cat([dark, -dark], dim=-1)
    spread = along(good_curve(bimodal, 9.0, (1.0, 10.0)), bimodal)
    assert float(spread.max() - spread.min()) == pytest.approx(2, rel=1e-6)
    narrowed = good_curve(bimodal, 0.1, (0.2, 1.5))
    torch.testing.assert_close(along(narrowed, bimodal), bimodal)


def test_what_is_no_number_is_not_hidden():
    u = torch.tensor([[0.0, float("nan"), float("inf")]])
    out = along(torch.tensor([[-1.0, 0.0, 1.0]]), u)
    assert out[0].isfinite().tolist() == [True, False, False]


@pytest.mark.parametrize("level", [-1.0, 0.3, 1.0])
def test_one_level_stays_what_it_is(level):
    flat = torch.full((1, 1, 9, 9), level)
    torch.testing.assert_close(along(good_curve(flat, 0.5, WIDE, even=0.5), flat), flat)


def test_folding_is_smooth_monotone_and_below_white():
    f = torch.linspace(-1.5, 3, 1000, dtype=torch.float64)
    folded = fold(f, 0.1)
    assert bool((folded.diff() >= 0).all())
    assert float(folded.max()) <= 1 and float(folded.min()) == -1
    inside = (f > -1) & (f < 0.9)
    torch.testing.assert_close(folded[inside], f[inside])
    assert float((folded.diff() / f.diff())[f[1:] > -1].max()) < 1 + 1e-9
