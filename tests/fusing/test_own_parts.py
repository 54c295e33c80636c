"""Mistakes in parts of a user's own end in one line that names the part."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ddfm
from ddfm.likelihood.base import Shares

PAIR = np.random.default_rng(0).integers(0, 256, (2, 24, 32), np.uint8)
# What a part of the user's own may return by mistake, made of what it should return.
MISTAKES = {
    "another size": (lambda x: x[..., 1:], r"must return a tensor of shape \(1, 1, 24, 32\), not"),
    "no batch": (lambda x: x[0], r"must return .* not \(1, 24, 32\)"),
    "an array": (lambda x: x.numpy(), "must return .* not ndarray"),
    "nothing": (lambda x: None, "must return .* not NoneType"),
    "NaN": (lambda x: x * torch.nan, "not finite"),
    "infinity": (lambda x: x + torch.inf, "not finite"),
}


def prior_that_returns(mistake):
    told = {"kind": "x0", "channels": 1, "schedule": "linear", "T": 1000}
    return ddfm.load_prior(lambda x, t: mistake(x), name="mine", **told)


def likelihood_that_returns(mistake):
    class Mine(ddfm.Likelihood):
        def step(self, f, sigma):
            return mistake(f)

    return Mine


def likelihood_with(**hooks):
    """A likelihood that is sound but for these methods."""
    return type("Mine", (likelihood_that_returns(lambda f: f),), hooks)


def fuse(**settings):
    return ddfm.fuse(*PAIR, **{"prior": "gaussian", "likelihood": "paper", "steps": 2} | settings)


@pytest.mark.parametrize(("mistake", "message"), MISTAKES.values(), ids=MISTAKES)
class TestMistakes:
    def test_of_a_prior(self, mistake, message):
        with pytest.raises(ddfm.InputError, match=f"^the prior mine .*{message}"):
            fuse(prior=prior_that_returns(mistake))

    def test_of_a_likelihood(self, mistake, message):
        with pytest.raises(ddfm.InputError, match=f"^the step of Mine .*{message}"):
            fuse(likelihood=likelihood_that_returns(mistake))

    def test_of_the_first_guess_of_a_likelihood(self, mistake, message):
        mine = likelihood_with(first_guess=lambda self: mistake(self.i), recipe={"start": 200})
        with pytest.raises(
            ddfm.InputError, match=f"^first_guess of the likelihood Mine .*{message}"
        ):
            fuse(likelihood=mine)

    def test_of_the_end_of_a_likelihood(self, mistake, message):
        mine = likelihood_with(finish=lambda self, f: mistake(f))
        with pytest.raises(ddfm.InputError, match=f"^finish of the likelihood Mine .*{message}"):
            fuse(likelihood=mine)

    def test_of_a_sampler(self, mistake, message):
        with pytest.raises(ddfm.InputError, match=f"^the sampler .*mine .*{message}"):

            def mine(denoiser, x, timesteps, alphas_bar, *, noise, callback):
                return mistake(x)

            fuse(sampler=mine)


def test_the_shape_of_a_network_that_learned_its_variance_is_accepted():
    fuse(prior=prior_that_returns(lambda x: torch.cat([x, x], 1)))


def test_estimates_for_other_sources_by_mistake_are_refused():
    mine = likelihood_with(again=lambda self, *sources: sources[0][:1])
    with pytest.raises(ddfm.InputError, match=r"^again of the likelihood Mine .* \(2, 1, 24, 32\)"):
        fuse(likelihood=mine, samples=2)


@pytest.mark.parametrize("wrong", [lambda p: p[1:], lambda p: None, lambda p: p * np.nan])
def test_sources_prepared_by_mistake_are_refused(wrong):
    with pytest.raises(ddfm.InputError, match=r"^prepared of .*Mine must return .* \(24, 32\)"):
        fuse(likelihood=likelihood_with(prepared=staticmethod(wrong)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda self: 3, "must return ddfm.likelihood.base.Shares or None, not 3"),
        (lambda self: Shares(self.i, self.i), r"shape \(1, 3, 24, 32\), not \(1, 1, 24, 32\)"),
        (lambda self: Shares(*[self.i.expand(1, 3, 24, 32) * torch.nan] * 2), "not finite"),
    ],
)
def test_shares_by_mistake_are_refused(wrong, message):
    with pytest.raises(ddfm.InputError, match=f"^attribution of the likelihood Mine .*{message}"):
        fuse(likelihood=likelihood_with(attribution=wrong), attribution=True)


@pytest.mark.parametrize("recipe", [None, [("steps", 2)]])
def test_a_recipe_is_a_dictionary(recipe):
    with pytest.raises(ddfm.InputError, match="recipe of .*Mine must be a dictionary"):
        fuse(likelihood=likelihood_with(recipe=recipe))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict, "likelihood dict is no subclass"),
        (ddfm.Likelihood, "likelihood Likelihood does not define step"),
    ],
)
def test_classes_that_make_no_likelihood_are_refused(wrong, message):
    with pytest.raises(ddfm.InputError, match=message):
        fuse(likelihood=wrong)


def test_an_instance_of_a_likelihood_is_refused():
    mine = likelihood_that_returns(lambda f: f)(*torch.zeros(2, 1, 1, 24, 32))
    with pytest.raises(ddfm.InputError, match="^likelihood is an instance of Mine; pass the class"):
        fuse(likelihood=mine)


def test_an_unknown_setting_in_a_recipe_is_named():
    mine = likelihood_that_returns(lambda x: x)
    mine.recipe = {"stat": 250}
    with pytest.raises(ddfm.InputError, match="recipe of .*Mine 'stat'; did you mean start"):
        fuse(likelihood=mine)


@pytest.mark.parametrize("kind", ["eps", "x0", "v"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_function_may_write_into_what_it_is_given(kind, channels):
    """As a network does whose first layer is in place, such as a ReLU."""
    told = {"kind": kind, "channels": channels, "schedule": "linear", "T": 1000}

    def fused(function):
        return fuse(prior=ddfm.load_prior(function, **told), trajectory=True)

    def in_place(x, t):
        t.mul_(2)
        return x.mul_(0.5)

    found, expected = fused(in_place), fused(lambda x, t: x * 0.5)
    assert np.array_equal(found.image, expected.image)
    for ours, theirs in zip(found.trajectory, expected.trajectory, strict=True):
        assert np.array_equal(ours.x_t, theirs.x_t)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_likelihood_may_write_into_what_it_is_given(channels):
    told = {"kind": "x0", "channels": channels, "schedule": "linear", "T": 1000}
    prior = ddfm.load_prior(lambda x, t: x, **told)

    def fused(step):
        return fuse(prior=prior, likelihood=likelihood_that_returns(step), trajectory=True)

    found, expected = fused(lambda f: f.mul_(0.5)), fused(lambda f: f * 0.5)
    assert np.array_equal(found.image, expected.image)
    for ours, theirs in zip(found.trajectory, expected.trajectory, strict=True):
        assert np.array_equal(ours.x0_prior, theirs.x0_prior)


@pytest.mark.parametrize(("mistake", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_of_a_class_of_priors(mistake, message):
    class Mine(ddfm.Prior):
        def __call__(self, x_t, t):
            return mistake(x_t)

    prior = Mine(torch.linspace(0.9999, 0.01, 1000), name="mine")
    with pytest.raises(ddfm.InputError, match=f"^the prior mine .*{message}"):
        fuse(prior=prior)


def test_a_part_may_compute_gradients():
    class Descent(ddfm.Likelihood):
        def step(self, f, sigma):
            with torch.enable_grad():
                f = f.detach().requires_grad_()
                distance = ((f - self.i) ** 2 + (f - self.v) ** 2).sum()
                return f - 0.25 * torch.autograd.grad(distance, f)[0]  # their mean, exactly

    fusion = fuse(likelihood=Descent, tone="none")
    assert np.abs(fusion.image - PAIR.mean(axis=0)).max() <= 1


@pytest.mark.parametrize(
    ("t", "found"),
    [
        (5, "not 5$"),
        (torch.tensor([5.0]), r"not float32 of shape \(1,\)"),
        (torch.tensor(5), r"not int64 of shape \(\)"),
        (torch.tensor([5, 4]), r"not int64 of shape \(2,\)"),
        (torch.tensor([True]), r"not bool of shape \(1,\)"),
        (torch.tensor([-1]), r"not \[-1\]"),
        (torch.tensor([1000]), r"not \[1000\]"),
    ],
)
def test_a_sampler_that_asks_for_a_wrong_timestep_is_told(t, found):
    def mine(denoiser, x, timesteps, alphas_bar, *, noise, callback):
        return denoiser(x, t)

    with pytest.raises(ddfm.InputError, match=rf"shape \(1,\) and from 0 to 999, {found}"):
        fuse(sampler=mine)


@pytest.mark.parametrize(
    ("kind", "t"), [(torch.uint8, 240), (torch.int8, 100), (torch.int16, 999), (torch.int32, 999)]
)
def test_timesteps_may_be_of_any_type_of_integer(kind, t):
    def mine(denoiser, x, timesteps, alphas_bar, *, noise, callback):
        return denoiser(x, torch.full((len(x),), t, dtype=kind))

    def usual(denoiser, x, timesteps, alphas_bar, **more):
        return denoiser(x, torch.full((len(x),), t))

    assert np.array_equal(fuse(sampler=mine).image, fuse(sampler=usual).image)


@pytest.mark.parametrize(
    ("mine", "message"),
    [
        (lambda denoiser, x, timesteps, alphas_bar: x, "unexpected keyword argument 'noise'"),
        (lambda denoiser, x, *, noise, callback: x, "too many positional arguments"),
        (lambda a, b, c, d, e, *, noise, callback: b, "missing a required argument: 'e'"),
    ],
)
def test_a_sampler_with_other_arguments_is_refused_at_once(mine, message):
    with pytest.raises(ddfm.InputError, match=rf"^the sampler <lambda> must take .*{message}"):
        ddfm.Fuser("gaussian", sampler=mine)


def test_a_recipe_may_spread_the_tone():
    tone = {"spread": 0.9, "gains": (1.0, 1.2)}
    # Levels from 0.2 to 0.8, so that there is room for the greatest gain.
    pair = 51 + 0.6 * PAIR.astype(np.float32)
    how = {"prior": "gaussian", "steps": 2}

    def fused(recipe, **more):
        mine = type("Mine", (likelihood_that_returns(lambda f: f),), {"recipe": recipe})
        mine.step = lambda self, f, sigma: (self.i + self.v) / 2
        return ddfm.fuse(*(pair / 255), likelihood=mine, **how, **more).image

    flat, spread = fused({}), fused({"tone": tone})
    assert spread.std() == pytest.approx(1.2 * flat.std(), rel=0.02)
    assert np.array_equal(fused({"tone": tone}, tone="none"), flat)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda x: (0, 1, x), r"with a ddfm.Step, not \(0, 1, tensor"),
        (
            lambda x: ddfm.Step(0, 1, 999, x, None, x),
            "with a ddfm.Step whose x0_prior is a tensor, not None",
        ),
        (
            lambda x: ddfm.Step(0, 1, 999, x, x, x.numpy()),
            r"with .* whose x0 is a tensor, not array",
        ),
    ],
)
def test_steps_by_mistake_are_refused(step, message):
    def mine(denoiser, x, timesteps, alphas_bar, *, noise, callback):
        callback(step(x))
        return x

    for watched in ({"callback": print}, {"trajectory": True}):
        with pytest.raises(ddfm.InputError, match=f"^a sampler must call its callback {message}"):
            ddfm.fuse(*PAIR, prior="gaussian", likelihood="paper", steps=2, sampler=mine, **watched)
