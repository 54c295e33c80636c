"""Large pictures, processed in bands, have the same result as in one piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddfm.config import FusionConfig
from ddfm.imaging.inherited import in_color
from ddfm.imaging.picture import from_array
from ddfm.likelihood import EvidenceLikelihood, evidence, make_likelihood
from ddfm.numerics import bands as module
from ddfm.numerics.bands import WHOLE, band_of, bands, in_bands, sum_in_bands
from ddfm.numerics.filters import per_image_sum, reach_of, smooth
from ddfm.numerics.tone import Tone


def picture(seed: int, size: tuple[int, int] = (150, 64)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = smooth(torch.randn((1, 1, *size), generator=generator), 2.0)
    return 0.9 * x / x.abs().max()


@pytest.fixture
def small_bands(monkeypatch):
    """Bands so small that a test picture has several."""
    monkeypatch.setattr(module, "AT_ONCE", 2000)
    monkeypatch.setattr(module, "FEWEST", 20)


def test_a_small_picture_is_one_band():
    assert bands(picture(0), 5) == [WHOLE]
    assert WHOLE.around(picture(0)).shape == picture(0).shape


def test_bands_have_every_row_exactly_once(small_bands):
    found = bands(picture(0), reach=7)
    assert len(found) > 3
    rows = [row for band in found for row in range(band.rows.start, band.rows.stop)]
    assert rows == list(range(150))
    for band in found:
        assert 0 <= band.wide.start <= band.rows.start and band.rows.stop <= band.wide.stop <= 150
        inner = picture(0)[..., band.wide, :][..., band.inner, :]
        assert torch.equal(inner, picture(0)[..., band.rows, :])
    assert band_of(slice(30, 40), 150, 3).wide == slice(27, 43)


def test_filters_and_sums_have_the_same_bits_in_bands(small_bands):
    x = torch.cat([picture(1), picture(2)])
    assert torch.equal(
        in_bands(lambda band: smooth(band.around(x), 1.5), x, reach_of(1.5)), smooth(x, 1.5)
    )
    assert torch.equal(sum_in_bands(lambda band: band.around(x) ** 2, x), per_image_sum(x**2))


@pytest.mark.parametrize("task", ["ir-visible", "medical", "multi-exposure", "multi-focus"])
def test_the_default_likelihood_has_the_same_bits_in_bands(task, monkeypatch):
    options = Tone.others(FusionConfig(task=task).resolved(task).options)
    found = []
    for at_once, kept in ((10**9, 10**9), (2000, 10**9), (2000, 0)):
        monkeypatch.setattr(module, "AT_ONCE", at_once)
        monkeypatch.setattr(module, "FEWEST", 20)
        monkeypatch.setattr(evidence, "KEPT", kept)
        likelihood = make_likelihood("default", [picture(k) for k in range(3)], **options)
        likelihood.noise = torch.tensor([0.01])
        f = likelihood(picture(4), torch.tensor([0.1]))
        found.append((f, likelihood.shares(slice(40, 70)), likelihood.z))
    for one, kept, anew in zip(*found, strict=True):
        assert torch.equal(one, kept) and torch.equal(one, anew)


def test_no_memory_per_source_is_kept_for_a_very_large_picture(small_bands, monkeypatch):
    monkeypatch.setattr(evidence, "KEPT", 0)
    likelihood = EvidenceLikelihood(*(picture(k) for k in range(6)))
    likelihood(picture(7))
    assert likelihood._kept is None
    held = {name: x for name, x in vars(likelihood).items() if isinstance(x, torch.Tensor)}
    allowed = ("T", "noise", "_noise_energy")  # the last two are a number of each source
    assert all(x.shape[1] == 1 for name, x in held.items() if name not in allowed)
    assert {"u", "W", "a", "f"} < set(held)


def test_colour_is_the_same_in_bands(monkeypatch):
    rng = np.random.default_rng(0)
    sources = [from_array(rng.integers(0, 256, (150, 20, 3), np.uint8)) for _ in range(2)]
    fused = rng.random((150, 20), np.float32)
    shares = torch.rand(2, 150, 20)
    whole = in_color(fused, sources, shares=lambda rows: shares[:, rows])
    monkeypatch.setattr(module, "AT_ONCE", 2000)
    monkeypatch.setattr(module, "FEWEST", 20)
    in_many = in_color(fused, sources, shares=lambda rows: shares[:, rows])
    np.testing.assert_array_equal(in_many.pixels, whole.pixels)


def test_tone_is_the_same_in_bands(monkeypatch):
    fused = (picture(1) + 1) / 2
    tone = Tone(spread=0.6, gains=(1.0, 2.0))
    whole, chosen = tone(fused)
    monkeypatch.setattr(module, "AT_ONCE", 2000)
    monkeypatch.setattr(module, "FEWEST", 20)
    in_many, also = tone(fused)
    assert torch.equal(whole, in_many) and chosen == also
    assert not torch.equal(whole, fused)
