"""One fuser for any number of pairs: seeds, batches, shared priors, recorded settings."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import ddfm
from ddfm import Fuser, fuse
from ddfm.config import RECIPES, TASKS
from ddfm.dmfuse.weights import shipped_head
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.schedule import alphas_bar
from scenes import PLAIN, image, network


def test_the_same_seed_gives_the_same_pixels_alone_and_in_any_batch():
    pairs = [(image(k), image(k + 10)) for k in range(3)]
    pairs.append((image(3, 9, 30), image(13, 9, 30)))
    fuser = Fuser(network(), sampler="ddpm", **PLAIN)
    alone = [fuse(*pair, prior=network(), sampler="ddpm", **PLAIN).image for pair in pairs]
    batch = [fusion.image for fusion in fuser.batch(pairs)]
    turned = [fusion.image for fusion in fuser.batch(iter(pairs[::-1]))][::-1]
    for k in range(4):
        assert np.array_equal(alone[k], batch[k])
        assert np.array_equal(alone[k], turned[k])
    other = fuse(*pairs[0], prior=network(), sampler="ddpm", seed=1, **PLAIN).image
    assert not np.array_equal(alone[0], other)


def test_consecutive_pairs_of_one_size_can_be_fused_together():
    shapes = []

    class Counted(GaussianPrior):
        def __call__(self, x_t, t):
            shapes.append(tuple(x_t.shape[:1]) + tuple(x_t.shape[2:]))
            return super().__call__(x_t, t)

    sizes = [(8, 8)] * 3 + [(6, 8)] + [(8, 8)] * 2
    pairs = [
        (image(k, *size, dtype=np.float32), image(k + 10, *size, dtype=np.float32))
        for k, size in enumerate(sizes)
    ]
    fuser = Fuser(Counted(), **PLAIN)
    together = list(fuser.batch(pairs, together=2, trajectory=True))
    assert list(dict.fromkeys(shapes)) == [(2, 8, 8), (1, 8, 8), (1, 6, 8)]
    assert len(shapes) == 4 * (1 + 1 + 1 + 1)
    for pair, fused in zip(pairs, together, strict=True):
        alone = fuser(*pair, trajectory=True)
        np.testing.assert_allclose(fused.image, alone.image, atol=1e-6)
        assert fused.settings == alone.settings
        np.testing.assert_allclose(fused.trajectory[2].x0, alone.trajectory[2].x0, atol=1e-5)


def test_a_batch_is_read_lazily():
    """A long batch must not fill the memory."""
    read = []

    def pairs():
        for k in range(9):
            read.append(k)
            yield image(k, 8, 8), image(k + 10, 8, 8)

    results = Fuser("gaussian", **PLAIN).stream(pairs())
    assert read == []
    assert next(results).image.shape == (8, 8) and len(read) <= 2
    assert len(list(results)) == 8 and len(read) == 9
    assert len(Fuser("gaussian", **PLAIN).batch(pairs())) == 9, "and a batch is a list"


def test_fusers_that_share_a_prior_are_independent():
    prior, pair = network(), (image(0, dtype=np.float32), image(1, dtype=np.float32))
    first = Fuser(prior, **PLAIN)
    before, weights = first(*pair).image, next(prior.network.parameters())
    assert first.prior is prior, "where nothing is to change, a large network is not copied"
    half = Fuser(prior, dtype="bfloat16", **PLAIN)(*pair).image
    assert np.array_equal(first(*pair).image, before) and not np.array_equal(half, before)
    assert weights.dtype == torch.float32
    assert Fuser(prior, **PLAIN).prior.network is prior.network


@pytest.mark.filterwarnings("ignore:float16 is much slower")
def test_a_prior_of_a_plain_function_is_shared_too():
    seen = []

    def x0(x, t):
        seen.append(x.dtype)
        return 0 * x

    prior = FunctionPrior(x0, alphas_bar(), kind="x0", channels=1)
    first = Fuser(prior, **PLAIN)
    Fuser(prior, dtype="float16", **PLAIN)(image(0), image(1))
    assert set(seen) == {torch.float16}
    seen.clear()
    first(image(0), image(1))
    assert set(seen) == {torch.float32} and prior.dtype is None


def test_settings_are_json_and_reproduce_the_result():
    a, b = image(0), image(1)
    fusion = fuse(a, b, prior="gaussian", likelihood="paper", steps=3, seed=5, options={"psi": 0.2})
    settings = json.loads(json.dumps(fusion.settings))
    assert settings == fusion.settings
    assert settings["sources"] == ["the first image", "the second image"]
    assert settings["ddfm"] == ddfm.__version__
    for key in ("ddfm", "weights", "sources", "sha256", "source_noise", "alignment"):
        del settings[key]
    assert np.array_equal(fuse(a, b, **settings).image, fusion.image)
    assert Fuser(**settings).settings(settings["task"]) | settings == Fuser(**settings).settings(
        settings["task"]
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("likelihood", RECIPES)
def test_settings_of_every_recipe_are_json(task, likelihood):
    settings = Fuser("gaussian", likelihood=likelihood, device="cpu").settings(task)
    assert json.loads(json.dumps(settings)) == settings
    del settings["ddfm"], settings["weights"]
    again = fuse(image(0), image(1), **settings | {"steps": 2}).settings
    assert again["options"] == settings["options"]


def test_progress_is_shown_on_terminals_or_on_request(capfd):
    fuse(image(0), image(1), prior="gaussian", **PLAIN)
    assert capfd.readouterr() == ("", "")


def test_a_series_shares_its_contrast():
    """Three levels of contrast; the middle one is used for all, unless the caller sets another."""
    pairs = [(factor * image(0) / 255, factor * image(1) / 255) for factor in (0.1, 0.7, 1)]
    fuser = Fuser("gaussian", steps=1, device="cpu")
    chosen = [fuser(a, b).chosen for a, b in pairs]
    series = fuser.with_shared_estimates(pairs)
    middle = np.median([one["curve"] for one in chosen], axis=0)
    assert (
        series.config.options == {"curve": pytest.approx(tuple(middle))}
        and fuser.config.options == {}
    )
    assert series(*pairs[0]).settings["options"]["curve"] == list(series.config.options["curve"])
    given = Fuser("gaussian", steps=1, device="cpu", options={"curve": (-1, 0.5, 1)})
    assert given.with_shared_estimates(pairs).config.options == {"curve": (-1, 0.5, 1)}
    assert (
        Fuser("gaussian", likelihood="paper", device="cpu")
        .with_shared_estimates(pairs)
        .config.options
        == {}
    )


def test_numbers_of_numpy_and_in_text_become_plain_numbers():
    given = {"steps": np.int64(3), "start": "50", "seed": np.uint8(7), "tile": np.int32(0)}
    options = {"alpha": np.float32(0.5), "gains": np.array([1.0, 1.25]), "phi": None}
    settings = Fuser("gaussian", device="cpu", options=options, **given).settings("ir-visible")
    assert json.loads(json.dumps(settings)) == settings
    assert (settings["steps"], settings["start"], settings["seed"]) == (3, 50, 7)
    assert settings["options"] == {"alpha": 0.5, "gains": [1.0, 1.25], "phi": None, "spread": 0.48}
    plain = {"alpha": 0.5, "gains": (1.0, 1.25)}
    expected = fuse(image(0), image(1), prior="gaussian", steps=3, start=50, seed=7, options=plain)
    assert np.array_equal(fuse(image(0), image(1), **again(settings)).image, expected.image)


def again(settings: dict) -> dict:
    return {k: v for k, v in settings.items() if k not in ("ddfm", "weights")}


def test_an_unknown_task_is_not_suggested_as_itself():
    with pytest.raises(ddfm.InputError, match="^unknown task 'auto'; known: ir-visible, medical"):
        Fuser("gaussian").resolved("auto")


def test_an_unknown_setting_of_a_variant_is_named():
    with pytest.raises(ddfm.InputError, match="unknown setting of a fusion 'sed'; did you mean"):
        ddfm.Fuser("gaussian").with_config(sed=3)


@pytest.mark.parametrize("name", ["prior", "device", "dtype", "head"])
def test_a_variant_shares_what_is_loaded(name):
    with pytest.raises(ddfm.InputError, match=f"^a variant shares the {name} of its fuser"):
        ddfm.Fuser("gaussian").with_config(**{name: "cpu"})


VARIANTS = [
    ({}, {"method": "dmfuse"}),
    ({"method": "dmfuse"}, {"method": "ddfm"}),
    ({}, {"likelihood": "paper", "steps": 2}),
    ({"likelihood": "paper", "steps": 2}, {"likelihood": "default", "steps": 1}),
    ({"dtype": "float32"}, {"likelihood": "paper", "steps": 2}),
    ({}, {"task": "medical"}),
]


@pytest.mark.parametrize(("first", "changes"), VARIANTS)
def test_a_variant_is_what_a_new_fuser_would_be(first, changes, monkeypatch):
    """Also where the processor has bfloat16, which only loops with a warm start use."""
    monkeypatch.setattr("ddfm.fusing.checks.fast_dtype", lambda device: torch.bfloat16)
    pair = image(0), image(1)
    fuser = Fuser(device="cpu", **first)
    before = fuser(*pair)
    variant, new = fuser.with_config(**changes), Fuser(device="cpu", **first | changes)
    for one, other in ((variant(*pair), new(*pair)), (fuser(*pair), before)):
        assert one.settings == other.settings
        assert np.array_equal(one.image, other.image)


def test_variants_share_the_prior_and_the_head_unless_they_need_others(monkeypatch):
    monkeypatch.setattr("ddfm.fusing.checks.fast_dtype", lambda device: torch.bfloat16)
    fuser = Fuser(device="cpu")
    assert fuser.with_config(task="medical", seed=1).prior is fuser.prior
    head = fuser.with_config(method="dmfuse")
    assert head.prior is not fuser.prior and head.with_config(tone="none").dmfuse is head.dmfuse
    mine = network()
    warm = Fuser(mine, device="cpu")
    assert warm.with_config(likelihood="paper").prior is mine, "not what was rounded to bfloat16"


def test_a_variant_keeps_the_head_of_its_fuser(tmp_path):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(shipped_head().read_bytes())
    fuser = Fuser(method="dmfuse", head=mine, device="cpu")
    loop = fuser.with_config(method="ddfm")
    assert "head" not in loop.settings("ir-visible")
    mine.unlink()
    assert fuser.with_config(tone="none").dmfuse is fuser.dmfuse
    with pytest.raises(ddfm.DdfmError, match="mine.safetensors"):
        loop.with_config(method="dmfuse")


@pytest.mark.parametrize(
    ("first", "changes"),
    [
        ({"method": "dmfuse"}, {"options": {"kappa": 1}}),
        ({}, {"method": "dmfuse", "options": {"kappa": 1}}),
        ({"method": "dmfuse"}, {"tile": 100}),
        ({"steps": 3}, {"method": "dmfuse"}),
    ],
)
def test_a_variant_is_checked_as_a_new_fuser_is(first, changes):
    with pytest.raises(ddfm.InputError) as expected:
        Fuser(**first | changes)
    fuser = Fuser(**first)
    with pytest.raises(ddfm.InputError) as found:
        fuser.with_config(**changes)
    assert str(found.value) == str(expected.value)
