"""The loop: the authors' whole program, first guesses, steps, and when the prior is evaluated."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image

from ddfm import DdfmError, Fuser, fuse
from ddfm.config import RECIPES, FusionConfig
from ddfm.diffusion.observed import TOLD
from ddfm.diffusion.samplers import Noise
from ddfm.likelihood import LIKELIHOODS, Likelihood, ReferenceLikelihood
from ddfm.numerics.noise_level import noise_level
from ddfm.priors.denoise import denoise, unclipped
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.schedule import alphas_bar
from places import DATA
from scenes import PLAIN, image, luma, network


@pytest.mark.filterwarnings("ignore:float16 is much slower")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_network_may_compute_in_half_precision(dtype):
    """Close to float32 but not equal: the network did compute at lower precision."""
    prior, pair = network(), (image(0, dtype=np.float32), image(1, dtype=np.float32))
    full = fuse(*pair, prior=prior, **PLAIN).image
    half = fuse(*pair, prior=prior, dtype=dtype, **PLAIN)
    assert half.settings["dtype"] == dtype
    assert 0 < np.abs(half.image - full).max() < 0.05


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm-solver"])
def test_every_sampler_ends_between_the_sources(sampler):
    a, b = image(0, dtype=np.float32), image(1, dtype=np.float32)
    fused = fuse(
        a, b, prior="gaussian", sampler=sampler, likelihood="paper", steps=30, device="cpu"
    )
    low, high = np.minimum(a, b), np.maximum(a, b)
    assert np.mean((fused.image > low - 0.05) & (fused.image < high + 0.05)) > 0.95


def test_the_trajectory_shows_every_step(tmp_path):
    steps = []
    fusion = fuse(
        image(0, 9, 6),
        image(1, 9, 6),
        prior=network(),
        callback=steps.append,
        trajectory=True,
        **PLAIN,
    )
    assert [s.t for s in fusion.trajectory] == [s.t for s in steps] == [999, 666, 333, 0]
    assert [s.step for s in fusion.trajectory] == [0, 1, 2, 3]
    for shot, step in zip(fusion.trajectory, steps, strict=True):
        for name in ("x_t", "x0_prior", "x0"):
            assert np.array_equal(getattr(shot, name), getattr(step, name)[0, 0, :9, :6].numpy())
    last = (np.clip(fusion.trajectory[-1].x0, -1, 1) + 1) / 2
    np.testing.assert_allclose(fusion.picture.pixels[..., 0], last, atol=1e-6)
    fusion.save_steps(tmp_path / "deep" / "steps")
    names = sorted(p.name for p in (tmp_path / "deep" / "steps").iterdir())
    assert len(names) == 8 and names[0] == "step-000-t999-prior.png"
    written = np.asarray(Image.open(tmp_path / "deep" / "steps" / "step-003-t000-rectified.png"))
    assert np.array_equal(written, np.rint(last * 255))
    assert fuse(image(0), image(1), prior=network(), **PLAIN).trajectory == []


def golden() -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(v) for k, v in np.load(DATA / "reference_ddfm.npz").items()}


@pytest.mark.parametrize("steps", [10, 25])
def test_the_reference_recipe_is_the_authors_whole_program(monkeypatch, steps):
    """Its sources are of 8 bits; those of the golden run are not, so that alone is taken out."""
    data = golden()

    def eps(x, t):
        return 0.6 * x * (t.to(x) / 1000).view(-1, 1, 1, 1) + 0.05 * torch.sin(3 * x)

    monkeypatch.setattr(ReferenceLikelihood, "prepared", staticmethod(lambda plane: plane))
    monkeypatch.setattr(ReferenceLikelihood, "finish", Likelihood.finish)
    monkeypatch.setattr(Noise, "__call__", lambda self, like: data["x_start"].to(like))
    seen = []
    infrared, visible = ((data[k][0, 0].numpy() + 1) / 2 for k in "VI")
    prior = FunctionPrior(eps, alphas_bar("linear"))
    fuse(
        infrared, visible, prior=prior, likelihood="reference", steps=steps, device="cpu",
        callback=seen.append,
    )  # fmt: skip
    assert [step.t for step in seen[::-1]] == data[f"timesteps_respace{steps}"].tolist()
    error = seen[-1].x0 - data[f"sample_respace{steps}"]
    assert float(error.abs().max()) < 1e-4


def test_the_reference_recipe_rounds_its_sources_and_stretches_its_result(monkeypatch):
    seen = []

    class Spy(LIKELIHOODS["reference"]):
        def __init__(self, i, v):
            seen.extend((i, v))
            super().__init__(i, v)

    monkeypatch.setitem(LIKELIHOODS, "reference", Spy)
    a, b = image(0, dtype=np.uint16), image(1, channels=3)
    fused = fuse(a, b, prior="gaussian", likelihood="reference", steps=3, device="cpu")
    np.testing.assert_allclose(
        (seen[1][0, 0] + 1) / 2 * 255, np.rint(luma(b)), atol=1e-4
    )  # as OpenCV makes grey
    for plane in seen:
        levels = (plane + 1) / 2 * 255
        np.testing.assert_allclose(levels, levels.round(), atol=1e-4)
    grey = fuse(a, image(1), prior="gaussian", likelihood="reference", steps=3, device="cpu")
    assert grey.image.min() == 0 and grey.image.max() == 65535
    assert (
        fused.settings["sampler"] == "ddim"
        and FusionConfig(likelihood="reference").resolved("medical").steps == 100
    )


class Toy(Likelihood):
    """Notes its arguments; its result is its first guess, one quarter brighter."""

    made: list[Toy] = []
    recipe = {"steps": 4, "start": 250, "clip": False}

    def __init__(self, i, v):
        super().__init__(i, v)
        Toy.made.append(self)

    def first_guess(self):
        return self.i

    def step(self, f, sigma):
        return f

    def finish(self, f):
        return super().finish(f + 0.5)


@pytest.fixture
def toy():
    """A likelihood of the caller's, with a recipe of its own."""
    Toy.made.clear()


def test_a_warm_start_begins_at_the_noised_first_guess(toy):
    prior, seen = GaussianPrior(), []
    a, b = image(0, dtype=np.float32), image(1, dtype=np.float32)
    fused = fuse(a, b, prior=prior, likelihood=Toy, device="cpu", callback=seen.append)
    assert [step.t for step in seen] == [250, 167, 83, 0]
    abar = float(prior.alphas_bar[250])
    noise = Noise([3407])(torch.zeros(1, 1, 24, 20))[0, 0].numpy()
    expected = abar**0.5 * (2 * a - 1) + (1 - abar) ** 0.5 * noise
    np.testing.assert_allclose(seen[0].x_t[0, 0], expected, atol=1e-5)
    last = seen[-1].x0[0, 0].numpy() + 0.5
    np.testing.assert_allclose(fused.image, np.clip((last + 1) / 2, 0, 1), atol=1e-5)


def test_a_first_guess_can_be_given(toy):
    """It matters if the loop starts late, and replaces the likelihood's own."""
    a, b = np.full((5, 6), 0.25), np.full((5, 6), 0.75)
    fuser = Fuser("gaussian", start=20, steps=2, likelihood=Toy, device="cpu")
    own = fuser(a, b).image
    assert np.array_equal(fuser(a, b, first_guess=a).image, own), "the toy's own guess is a"
    assert not np.array_equal(fuser(a, b, first_guess=np.zeros((5, 6))).image, own)
    with pytest.raises(DdfmError, match=r"first guess has the shape \(6, 5\)"):
        fuser(a, b, first_guess=np.zeros((6, 5)))
    with pytest.raises(DdfmError, match="first guess has values that are NaN"):
        fuser(a, b, first_guess=np.full((5, 6), np.nan))


def test_a_first_guess_is_a_keyword_of_fuse_and_refused_where_it_does_nothing(toy):
    a, b = np.full((5, 6), 0.25), np.full((5, 6), 0.75)
    settings = {"prior": "gaussian", "likelihood": Toy, "device": "cpu", "start": 20}
    guess = np.zeros((5, 6))
    given = fuse(a, b, first_guess=guess.tolist(), **settings).image
    assert not np.array_equal(given, fuse(a, b, **settings).image)
    with pytest.raises(DdfmError, match="first_guess .* warm start"):
        fuse(a, b, first_guess=guess, prior="gaussian", **PLAIN)


def counting_prior(calls: list[int]) -> GaussianPrior:
    class Counting(GaussianPrior):
        def __call__(self, x_t, t):
            calls.append(len(x_t))
            return super().__call__(x_t, t)

    return Counting()


def test_the_prior_is_evaluated_for_a_noisy_pair_only():
    calls: list[int] = []
    pair = image(0), image(1)
    fuser = Fuser(counting_prior(calls), device="cpu")
    steps = []
    clean = fuser(*pair, callback=steps.append)
    assert calls == [] and len(steps) == 3
    assert np.array_equal(clean.image, Fuser("gaussian", device="cpu")(*pair).image)
    rng = np.random.default_rng(0)
    noisy = [np.clip(s + rng.normal(0, 20, s.shape), 0, 255).astype(np.uint8) for s in pair]
    alone = fuser(*noisy)
    assert len(calls) == 2 + 1  # each source is cleaned, and the last step asks
    together = list(fuser.stream([pair, noisy], together=2))
    assert np.array_equal(together[0].image, clean.image)
    assert np.array_equal(together[1].image, alone.image)


def test_steps_and_start_can_be_given(toy):
    def visited(**kwargs):
        seen = []
        kwargs = {"likelihood": Toy, "device": "cpu", "callback": seen.append} | kwargs
        fusion = fuse(image(0), image(1), prior="gaussian", **kwargs)
        assert fusion.settings["start"] == kwargs.get("start", 250)
        return [step.t for step in seen], fusion.settings["steps"]

    assert visited(start=100) == ([100, 67, 33, 0], 4)
    assert visited(start=2) == ([2, 1, 0], 3)  # the recipe's four have no room
    assert visited(start=0) == ([0], 1)
    assert visited(steps=2) == ([250, 0], 2)
    assert visited(steps="2,1") == ([126, 125, 0], "2,1")
    with pytest.raises(DdfmError, match="ask for 9 steps, but the schedule has 6"):
        visited(start=5, steps=9)


def test_the_respacings_that_are_named_work_with_every_recipe():
    """Help and docstring must not name one that the default has no room for."""
    from ddfm.cli import main

    help_of_steps = next(o.help for o in main.commands["fuse"].params if o.name == "steps")
    for text in (help_of_steps, FusionConfig.__doc__):
        named = re.findall(r"ddim\d+|\d+(?:,\d+)+", text)
        assert named
        for steps in named:
            for likelihood in RECIPES:
                Fuser("gaussian", steps=steps, likelihood=likelihood, device="cpu")


def test_sources_are_cleaned_if_the_recipe_says_so(toy, monkeypatch):
    """By the prior, from the estimated noise; the result records how much that was."""
    monkeypatch.setitem(Toy.recipe, "clean", 0.1)
    rng = np.random.default_rng(0)
    a = np.float32(np.clip(0.5 + 0.06 * rng.standard_normal((30, 31)), 0, 1))
    b = image(1, 30, 31, dtype=np.float32)
    level = noise_level(torch.from_numpy(2 * a - 1)[None, None])
    assert 0.1 < level < 0.15
    prior = network()
    how = {"observations": [{"stripes": "none"}] * 2, "device": "cpu", "dtype": "float32"}
    fused = fuse(a, b, prior=prior, likelihood=Toy, **how)
    found, clean = fused.settings["source_noise"]
    assert found == round(level, 5) and clean < 0.01  # what is padded would not be noise
    (made,) = Toy.made
    padded = np.pad(a, ((0, 2), (0, 1)), mode="reflect")
    with torch.no_grad():
        expected = denoise(prior, torch.from_numpy(2 * padded - 1)[None, None], TOLD * level)
    np.testing.assert_allclose(made.i, unclipped(expected, level), atol=1e-5)
    np.testing.assert_allclose(made.v[0, 0, :30, :31], 2 * b - 1, atol=1e-6)
