"""The benchmarks of big pictures detect seams and drifts where there are some, and only there."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
import torch

from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.schedule import alphas_bar
from ddfm.priors.tiled import Tiled
from places import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
tiles, prior_size, mirrored = map(importlib.import_module, ("tiles", "prior_size", "mirrored"))


def test_a_seam_is_detected_and_noise_is_not_one():
    rng = np.random.default_rng(0)
    tiled = Tiled(GaussianPrior(), 128)
    whole = rng.normal(128, 20, (300, 200))
    noise = rng.normal(0, 0.1, whole.shape)
    seam = np.zeros_like(whole)
    seam[:, tiled.spans(200)[1][0] :] = 1  # a level brighter from the second tile on
    clean, broken = (tiles.compare(whole, whole + d, tiled) for d in (noise, noise + seam))
    assert clean["their ratio"] == pytest.approx(1, abs=0.1)
    assert clean["the same of the worst border"] < 1.3
    assert broken["their ratio"] > 1.5
    assert broken["the same of the worst border"] > 5
    assert broken["difference of the means"] == pytest.approx(seam.mean(), abs=0.01)
    assert tiles.compare(whole, whole, tiled)["largest difference"] == 0


def test_a_prior_that_drifts_with_the_size_is_detected():
    """One that adds a tenth of grey to what is larger than a crop, and is perfect otherwise."""
    clean = torch.rand(1, 1, 512, 512, generator=torch.Generator().manual_seed(0)) - 0.5
    drift = {512: 0.1, 256: 0.0}
    pieces = iter([clean, clean, *(piece[None] for piece in prior_size.crops(clean))] * 3)
    prior = FunctionPrior(
        lambda x, t: next(pieces) + drift[x.shape[-1]], alphas_bar("linear"), kind="x0", channels=1
    )
    rows = [line.strip("|").split("|") for line in prior_size.table(prior, clean)[2:]]
    assert len(rows) == 9
    for _, way, shift, slow, fast in rows:
        expected = 0 if "crops" in way else 12.75
        assert float(shift) == pytest.approx(expected, abs=0.01)
        assert float(slow) == pytest.approx(expected, abs=0.01)
        assert float(fast) == pytest.approx(0, abs=0.01)


def test_mirrored_pairs_have_the_requested_size():
    infrared, visible = mirrored.mirrored_pair(mirrored.size_of("160x90"))
    assert infrared.size == visible.size == (160, 90)
    assert (infrared.mode, visible.mode) == ("L", "RGB")
