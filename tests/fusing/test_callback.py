"""What a callback sees of each step, and what it cannot change."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import ddfm
from scenes import image

PAIR = image(0, 24, 32), image(1, 24, 32)


def fuse(**settings):
    return ddfm.fuse(*PAIR, prior="gaussian", device="cpu", **settings)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm-solver"])
@pytest.mark.parametrize("likelihood", ["default", "paper", "reference"])
def test_it_cannot_change_the_fusion(likelihood, sampler):
    def greedy(step):
        for x in (step.x_t, step.x0_prior, step.x0):
            x.fill_(0.5)

    how = {"likelihood": likelihood, "sampler": sampler, "steps": 3, "trajectory": True}
    changed, plain = fuse(callback=greedy, **how), fuse(**how)
    assert np.array_equal(changed.image, plain.image)
    for one, other in zip(changed.trajectory, plain.trajectory, strict=True):
        assert np.array_equal(one.x0, other.x0)


class Mean(ddfm.Likelihood):
    """f ~ N((i + v) / 2, 1 / 400), and f ~ N(x0, sigma^2)."""

    def step(self, f, sigma):
        self.sigma, self.x0 = sigma.view(-1, 1, 1, 1), f.clone()
        mean = (self.i + self.v) / 2
        return (f / self.sigma**2 + 400 * mean) / (1 / self.sigma**2 + 400)

    def objective(self, f):
        mean = (self.i + self.v) / 2
        lost = (f - self.x0) ** 2 / self.sigma**2 + 400 * (f - mean) ** 2
        return -lost.sum((1, 2, 3)) / 2


def test_it_sees_the_objective_of_a_likelihood_of_ones_own():
    seen = []
    levels = [torch.from_numpy(x / np.float32(255)) * 2 - 1 for x in PAIR]

    def watch(step):
        # With f at its optimum: the difference of the two means, by the sum of their variances.
        variance = float(step.likelihood.sigma) ** 2 + 1 / 400
        apart = (sum(levels) / 2 - step.x0_prior[0, 0]) ** 2
        seen.append((float(step.objective), -float(apart.sum()) / variance / 2))

    fuse(likelihood=Mean, steps=4, callback=watch)
    found, expected = np.array(seen).T
    assert len(found) == 4 and found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("likelihood", ["default", "paper"])
def test_a_step_raises_what_it_sees_as_the_objective(likelihood):
    """For the default likelihood and clean sources, steps raise it one after the other, too."""
    heights = []

    def watch(step):
        before = step.likelihood.objective(step.likelihood.to_luma(step.x0_prior))
        heights.append((float(before), float(step.objective)))

    fuse(likelihood=likelihood, steps=4, callback=watch)
    before, after = np.array(heights).T
    assert (after > before).all()
    if likelihood == "default":
        assert (np.diff(after) > 0).all()


def test_a_likelihood_may_have_no_objective():
    seen = []
    fuse(likelihood="reference", steps=2, callback=lambda step: seen.append(step.objective))
    assert seen == [None, None]


@pytest.mark.parametrize("likelihood", ["default", "paper"])
def test_an_objective_needs_a_step(likelihood):
    x = torch.rand(1, 1, 24, 32)
    made = ddfm.likelihood.make_likelihood(likelihood, [x, 1 - x])
    with pytest.raises(ddfm.InputError, match="call it after one"):
        made.objective(x)


def test_an_objective_that_is_asked_for_too_late_is_refused():
    steps = []
    fuse(likelihood="paper", steps=2, callback=steps.append)
    with pytest.raises(ddfm.InputError, match="only be asked for in its callback"):
        _ = steps[0].objective
    assert torch.isfinite(steps[1].objective).all()


def test_a_step_can_be_pickled_without_its_likelihood():
    steps = []
    fuse(steps=1, callback=steps.append)
    step = pickle.loads(pickle.dumps(steps[0]))
    assert (step.index, step.steps, step.t) == (0, 1, steps[0].t)
    assert torch.equal(step.x0, steps[0].x0) and step.objective is None
