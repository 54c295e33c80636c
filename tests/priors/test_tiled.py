"""Tiles: never more than one at a time, no seam, and the same picture as without them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddfm import DdfmError, Fuser
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.schedule import alphas_bar
from ddfm.priors.tile_sizes import LARGEST_UNTILED, OVERLAP, check_tile
from ddfm.priors.tiled import Tiled

T = torch.tensor([300])


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def function(f, **kwargs) -> FunctionPrior:
    return FunctionPrior(f, alphas_bar(), kind="x0", channels=1, **kwargs)


def blurred(reach: int):
    """A mean over (2 reach + 1)^2 pixels, zeros beyond the border: a known receptive field."""
    kernel = torch.ones(1, 1, 2 * reach + 1, 2 * reach + 1) / (2 * reach + 1) ** 2
    return function(lambda x, t: F.conv2d(x, kernel, padding=reach))


@pytest.mark.parametrize("size", [(40, 40), (41, 97), (32, 33), (100, 20), (200, 136), (1, 90)])
def test_a_prior_of_single_pixels_is_the_same_in_tiles(size):
    prior = function(lambda x, t: torch.sin(3 * x))
    x = noise(2, 1, *size)
    torch.testing.assert_close(Tiled(prior, 32, 8)(x, T), prior(x, T), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("tile", "overlap", "multiple"), [(32, 8, 1), (48, 16, 8), (50, 10, 16)])
@pytest.mark.parametrize("size", [(64, 96), (112, 240), (16, 176), (48, 48)])
def test_the_prior_sees_tiles_and_no_more(tile, overlap, multiple, size):
    seen = []

    def look(x, t):
        seen.append(tuple(x.shape[-2:]))
        return x

    tiled = Tiled(function(look, multiple=multiple), tile, overlap)
    tiled(noise(1, 1, *size), T)
    for h, w in seen:
        assert h <= tile + multiple and w <= tile + multiple
        assert h % multiple == 0 and w % multiple == 0
    for side in size:
        spans = tiled.spans(side)
        assert spans[0][0] == 0 and spans[-1][1] == side
        assert all(end - after >= tiled.overlap for (_, end), (after, _) in pairwise(spans))
        steps = np.diff([begin for begin, _ in spans])
        assert all(0 < step <= tiled.tile - tiled.overlap + multiple for step in steps)
        fewest = -(-(side - tiled.overlap) // (tiled.tile - tiled.overlap))
        assert len(spans) == max(1, fewest)


def test_tiles_are_no_larger_than_they_need_be():
    """For full HD (2.1 megapixels) in tiles of 768, the network sees 2.4 megapixels, not 3.5."""
    tiled = Tiled(function(lambda x, t: x, multiple=16), 768, 64)
    width, height = (sum(end - begin for begin, end in tiled.spans(side)) for side in (1920, 1088))
    assert (width, height) == (3 * 688, 2 * 576)


@pytest.mark.parametrize("size", [(32, 120), (120, 32), (90, 75)])
def test_tiles_that_disagree_leave_no_seam(size):
    """Even if a prior returns another constant for each tile, there is no step between pixels.

    Over the overlap of 16 pixels, one tile's weight falls by 1/17 per pixel as the other's rises.
    """
    answers = iter(range(1000))
    prior = function(lambda x, t: torch.full_like(x, next(answers) % 2))
    x0 = Tiled(prior, 32, 16)(torch.zeros(1, 1, *size), T)[0, 0]
    assert float(x0.max()) > 0.8 and float(x0.min()) == 0
    assert max(float(x0.diff(dim=dim).abs().max()) for dim in (0, 1)) < 1.5 / 17


def test_tiles_differ_only_where_the_receptive_field_crosses_a_border():
    """And there by no more than the weight of the tile that lacks its surroundings."""
    reach, tile, overlap = 3, 64, 16
    prior = blurred(reach)
    x = noise(1, 1, 64, 150)
    tiled = Tiled(prior, tile, overlap)
    error = (tiled(x, T) - prior(x, T)).abs()[0, 0]
    near = torch.zeros(150, dtype=torch.bool)
    for span in tiled.spans(150):
        for border in set(span) - {0, 150}:
            near[max(0, border - reach) : border + reach] = True
    assert float(error[:, ~near].max()) < 1e-6
    end = tiled.spans(150)[0][1]
    untold = (prior(x[..., :end], T) - prior(x, T)[..., :end]).abs()
    assert 0 < float(error.max()) < reach / (overlap + 1) * float(untold.max())


def test_a_whole_run_in_tiles_shows_no_seam():
    """Along the borders of tiles, the result is as smooth as elsewhere and as without tiles."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0.2, 0.8, (2, 1, 9, 12)))
    a, b = F.interpolate(coarse, (160, 300), mode="bicubic").clamp(0, 1)[:, 0].float()
    settings = {"likelihood": "paper", "steps": 6, "device": "cpu", "look": False}
    whole = Fuser(blurred(4), tile=0, **settings)(a, b)
    parts = Fuser(blurred(4), tile=128, **settings)(a, b)
    assert parts.settings["tile"] == 128
    difference = np.abs(whole.image - parts.image)
    assert difference.max() < 0.02 and difference.mean() < 0.001
    jumps = np.abs(np.diff(parts.image, axis=1)).mean(axis=0)
    borders = sorted({b for span in Tiled(blurred(4), 128).spans(300) for b in span} - {0, 300})
    elsewhere = np.delete(jumps, [j for s in borders for j in range(s - 2, s + 2)])
    assert jumps[[s - 1 for s in borders]].max() < elsewhere.max()


def test_tiles_are_for_images_that_need_them():
    prior = blurred(1)
    side = int(LARGEST_UNTILED**0.5)
    assert Tiled.if_needed(prior, None, (side, side)) is prior
    large = Tiled.if_needed(prior, None, (side, side + 1))
    assert isinstance(large, Tiled) and large.prior is prior
    assert Tiled.if_needed(prior, 0, (9999, 9999)) is prior
    assert Tiled.if_needed(prior, 256, (200, 256)) is prior
    assert Tiled.if_needed(prior, 256, (200, 257)).tile == 256
    assert (large.channels, large.name, large.multiple) == (1, prior.name, 1)
    assert large.to("cpu", torch.float32) is large


@pytest.mark.parametrize("tile", [1, 2 * OVERLAP - 1, -5])
def test_tiles_without_room_between_overlaps_are_refused(tile):
    with pytest.raises(DdfmError, match=f"at least {2 * OVERLAP} pixels wide .*not {tile}"):
        check_tile(tile)
    check_tile(2 * OVERLAP)
