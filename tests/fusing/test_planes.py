"""Planes on their way through the loop: any size, and padding by reflection."""

from __future__ import annotations

import numpy as np
import pytest

from ddfm import fuse
from ddfm.likelihood import LIKELIHOODS
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.schedule import alphas_bar
from scenes import PLAIN, image, network


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (5, 4), (13, 7), (16, 16), (31, 50)])
def test_any_size_comes_back_as_it_is(size):
    fusion = fuse(image(0, *size), image(1, *size), prior=network(), **PLAIN)
    assert fusion.image.shape == size and fusion.image.dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 1), (3, 8)])
def test_any_size_with_a_prior_of_rgb_and_coarse_multiples(size):
    seen = []

    def x0(x, t):
        seen.append(tuple(x.shape))
        return 0 * x

    prior = FunctionPrior(x0, alphas_bar(), kind="x0", channels=3, multiple=32)
    assert fuse(image(0, *size), image(1, *size), prior=prior, **PLAIN).image.shape == size
    assert set(seen) == {(1, 3, 32, 32)}


def test_padding_is_by_reflection():
    """Beyond the border, the likelihood gets a mirror image of the picture."""
    seen = []
    prior = FunctionPrior(lambda x, t: 0 * x, alphas_bar(), kind="x0", channels=1, multiple=8)
    a, b = image(0, 5, 6, dtype=np.float32), image(1, 5, 6, dtype=np.float32)

    class Spy(LIKELIHOODS["paper"]):
        def __init__(self, i, v):
            seen.extend((i, v))
            super().__init__(i, v)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LIKELIHOODS, "paper", Spy)
        fuse(a, b, prior=prior, **PLAIN)
    rows, columns = [0, 1, 2, 3, 4, 3, 2, 1], [0, 1, 2, 3, 4, 5, 4, 3]
    for given, source in zip(seen, (a, b), strict=True):
        np.testing.assert_allclose(given[0, 0], 2 * source[rows][:, columns] - 1, atol=1e-6)
