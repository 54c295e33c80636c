"""How much noise there is: exactly, where there is nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddfm.numerics.noise_level import noise_level, quiet_levels


def white(sigma: float, size: tuple[int, int], seed: int) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(0, sigma, size)
    return torch.from_numpy(noise.astype(np.float32))[None, None]


@pytest.mark.parametrize("sigma", [0.01, 0.2])
def test_white_noise_is_found_to_half_a_percent(sigma):
    found = np.mean([noise_level(white(sigma, (600, 600), seed)) for seed in range(6)])
    assert found == pytest.approx(sigma, rel=0.005)


def test_it_does_not_depend_on_the_share_of_blocks_that_is_looked_at():
    """Where there is nothing but noise, calm blocks and busy ones tell the same."""
    levels, _ = quiet_levels(white(0.1, (1200, 1200), 1), (0.02, 0.1, 0.25, 0.5, 0.9))
    assert levels == pytest.approx([0.1] * 5, rel=0.015)


def test_small_pictures_tell_it_roughly():
    found = [noise_level(white(0.1, (64, 64), seed)) for seed in range(40)]
    assert np.mean(found) == pytest.approx(0.1, rel=0.02) and np.std(found) < 0.006
