"""Fusion from end to end: sizes, depths, colours, seeds, batches, the authors' whole program."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from scipy.ndimage import gaussian_filter

import ddfm
from ddfm import DdfmError, Fuser, fuse, read_image
from ddfm.config import RECIPES, TASKS, FusionConfig
from ddfm.diffusion.samplers import Noise
from ddfm.errors import DdfmWarning
from ddfm.likelihood import LIKELIHOODS, Likelihood, ReferenceLikelihood
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.network import UNetPrior
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.schedule import alphas_bar
from ddfm.priors.unet import UNet, UNetConfig
from places import DATA, EXAMPLES, ROOT

PLAIN = {"likelihood": "paper", "steps": 4, "device": "cpu"}


def network(channels: int = 1) -> UNetPrior:
    """A small network with random weights; sizes must be multiples of 4."""
    config = UNetConfig(
        in_channels=channels,
        out_channels=channels,
        model_channels=32,
        channel_mult=(1, 2, 2),
        num_res_blocks=1,
        attention=(),
    )
    unet = UNet(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for weight in unet.parameters():
        weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return UNetPrior(unet, alphas_bar("linear"), kind="v", name="random")


@pytest.fixture(scope="module")
def small() -> UNetPrior:
    return network()


def image(
    seed: int, h: int = 24, w: int = 20, channels: int = 1, dtype: type = np.uint8
) -> np.ndarray:
    """Smooth, in the middle of the range, so that colours have room."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0.3, 0.7, (1, channels, 4, 4)))
    values = torch.nn.functional.interpolate(coarse, (h, w), mode="bilinear")[0].permute(1, 2, 0)
    values = values.numpy().squeeze(2) if channels == 1 else values.numpy()
    if dtype in (np.float32, np.float64):
        return values.astype(dtype)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(float) @ [0.299, 0.587, 0.114]


# --- sizes, depths and kinds of sources ---------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (5, 4), (13, 7), (16, 16), (31, 50)])
def test_any_size_comes_back_as_it_is(small, size):
    fusion = fuse(image(0, *size), image(1, *size), prior=small, **PLAIN)
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
    """What the likelihood gets beyond the border is a mirror image of what lies before it."""
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


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        (np.uint8, np.uint8, np.uint8),
        (np.uint16, np.uint16, np.uint16),
        (np.float32, np.float32, np.float32),
        (np.uint8, np.uint16, np.uint16),
        (np.float32, np.uint8, np.float32),
        (np.float64, np.uint16, np.float32),
    ],
)
def test_the_deeper_source_says_the_depth(first, second, result):
    a, b = image(0, dtype=first), image(1, dtype=second)
    fused = fuse(a, b, prior="gaussian", **PLAIN)
    assert fused.image.dtype == result
    exact = fuse(image(0, dtype=np.float32), image(1, dtype=np.float32), prior="gaussian", **PLAIN)
    white = 1.0 if result is np.float32 else np.iinfo(result).max
    np.testing.assert_allclose(fused.image / white, exact.image, atol=0.02)
    levels = len(np.unique(fused.image))
    assert (levels < 200) if result is np.uint8 else (levels > 400)  # nothing was banded


def test_floats_of_another_range_come_back_in_it():
    a, b = 2 * image(0, dtype=np.float32) - 1, 2 * image(1, dtype=np.float32) - 1
    a[0, 0], b[0, 0] = -1, 1  # the sources span [-1, 1] together, neither does alone
    fused = fuse(a, b, prior="gaussian", **PLAIN).image
    assert fused.dtype == np.float32 and fused.min() < -0.05 and fused.min() >= -1
    degrees = fuse(20 + 15 * image(0, dtype=np.float32), image(1), prior="gaussian", **PLAIN).image
    assert degrees.min() >= 0 and degrees.max() <= 1  # of two that have no scale in common


def test_paths_images_arrays_and_tensors_are_the_same(tmp_path):
    a, b = image(0, channels=3), image(1)
    Image.fromarray(a).save(tmp_path / "a.png")
    Image.fromarray(b).save(tmp_path / "b.png")
    sources = [
        (tmp_path / "a.png", str(tmp_path / "b.png")),
        (Image.fromarray(a), Image.fromarray(b)),
        (torch.from_numpy(a).permute(2, 0, 1), torch.from_numpy(b)),
        (read_image(a), b[..., None]),
    ]
    expected = fuse(a, b, prior="gaussian", **PLAIN).image
    for first, second in sources:
        assert np.array_equal(fuse(first, second, prior="gaussian", **PLAIN).image, expected)


def test_sources_are_left_alone():
    a, b = image(0, channels=3), image(1)
    kept = a.copy(), b.copy()
    fuse(a, b, prior="gaussian", **PLAIN)
    assert np.array_equal(a, kept[0]) and np.array_equal(b, kept[1])


def test_resizing_is_asked_for():
    a, b = image(0, 10, 8), image(1, 20, 19)
    with pytest.raises(DdfmError, match="8 x 10 pixels and the second image 19 x 20.*--resize a"):
        fuse(a, b, prior="gaussian", **PLAIN)
    with pytest.warns(DdfmWarning, match="drawn out by 1.19"):
        assert fuse(a, b, prior="gaussian", resize="a", **PLAIN).image.shape == (10, 8)
    with pytest.warns(DdfmWarning, match="drawn out by 1.19"):
        assert fuse(a, b, prior="gaussian", resize="b", **PLAIN).image.shape == (20, 19)


def test_resizing_smooths_first():
    """One-pixel stripes become grey, and not a pattern of their own; alpha goes along."""
    from ddfm.imaging.sources import read_sources

    stripes = np.zeros((60, 80, 2), np.uint8)
    stripes[:, ::2, 0] = 255
    stripes[:30, :, 1] = 255
    _, b = read_sources((np.zeros((15, 20)), stripes), resize="a")
    assert b.pixels.shape == (15, 20, 1)
    inside = b.pixels[:, 3:-3]
    assert abs(inside.mean() - 0.5) < 0.02 and inside.std() < 0.03
    assert b.alpha[3, 5] == pytest.approx(1) and b.alpha[12, 5] == pytest.approx(0, abs=1e-6)


# --- colour, alpha, profile ---------------------------------------------------------------------


def test_grey_sources_make_grey():
    rgb = np.repeat(image(1)[..., None], 3, axis=2)
    assert fuse(image(0), rgb, prior="gaussian", **PLAIN).image.ndim == 2


@pytest.mark.parametrize("colored", ["a", "b"])
def test_one_colour_source_keeps_its_chroma_and_luminance_is_fused(colored):
    color, grey = image(3, channels=3, dtype=np.float32), image(1, dtype=np.float32)
    pair = (color, grey) if colored == "a" else (grey, color)
    as_grey = luma(color).astype(np.float32)
    fused = fuse(*pair, prior="gaussian", **PLAIN).image
    uncolored = (as_grey, grey) if colored == "a" else (grey, as_grey)
    flat = fuse(*uncolored, prior="gaussian", **PLAIN)
    np.testing.assert_allclose(luma(fused), flat.image, atol=2e-6)
    # R - Y and B - Y are what chroma is; here they have room.
    for channel in (0, 2):
        np.testing.assert_allclose(
            fused[..., channel] - luma(fused), color[..., channel] - luma(color), atol=2e-6
        )


def test_two_colour_sources_share_their_chroma_by_saturation():
    a, b = (image(seed, channels=3, dtype=np.float32) for seed in (3, 4))
    fused = fuse(a, b, prior="gaussian", **PLAIN).image.astype(float)

    def chroma(rgb):  # Cb and Cr by ITU-R BT.601
        y = luma(rgb)
        return np.stack([(rgb[..., 2] - y) / 1.772, (rgb[..., 0] - y) / 1.402])

    weights = [np.hypot(*chroma(x)) for x in (a, b)]
    mixed = sum(w * chroma(x) for w, x in zip(weights, (a, b), strict=True)) / sum(weights)
    np.testing.assert_allclose(chroma(fused), mixed, atol=1e-5)
    flat = fuse(*(luma(x).astype(np.float32) for x in (a, b)), prior="gaussian", **PLAIN).image
    np.testing.assert_allclose(luma(fused), flat, atol=2e-6)


def test_whose_colour_is_kept_can_be_said():
    a, b = (image(seed, channels=3, dtype=np.float32) for seed in (3, 4))
    grey = fuse(a, b, prior="gaussian", color="grey", **PLAIN)
    assert grey.image.ndim == 2
    for color, source in (("a", a), ("b", b)):
        fused = fuse(a, b, prior="gaussian", color=color, **PLAIN).image
        np.testing.assert_allclose(luma(fused), grey.image, atol=2e-6)
        difference = fused[..., 0] - luma(fused)
        np.testing.assert_allclose(difference, source[..., 0] - luma(source), atol=2e-6)
    assert fuse(a, image(1), prior="gaussian", color="b", **PLAIN).image.ndim == 2  # b has none


def test_a_prior_of_rgb_gives_the_sources_no_colour_of_its_own():
    """A prior that sees orange everywhere: of its estimate only luminance comes in."""
    orange = torch.tensor([1.0, 0.3, -0.8]).view(1, 3, 1, 1)
    prior = FunctionPrior(lambda x, t: orange + 0 * x, alphas_bar(), kind="x0", channels=3)
    as_grey = float((orange.flatten() * torch.tensor([0.299, 0.587, 0.114])).sum())
    flat = FunctionPrior(lambda x, t: as_grey + 0 * x, alphas_bar(), kind="x0", channels=1)
    a, b = image(0, dtype=np.float32), image(1, dtype=np.float32)
    fused = fuse(a, b, prior=prior, **PLAIN).image
    assert fused.ndim == 2
    np.testing.assert_allclose(fused, fuse(a, b, prior=flat, **PLAIN).image, atol=1e-5)
    color = image(3, channels=3, dtype=np.float32)
    fused = fuse(a, color, prior=prior, **PLAIN).image
    difference = fused[..., 0] - luma(fused)
    np.testing.assert_allclose(difference, color[..., 0] - luma(color), atol=2e-6)


def test_alpha_is_the_colour_sources(tmp_path):
    opacity = image(7)
    color = np.dstack([image(3, channels=3), opacity])
    other = np.dstack([image(1), 255 - opacity])
    for pair in ((color, other), (other, color)):
        fused = fuse(*pair, prior="gaussian", **PLAIN)
        assert fused.image.shape == (24, 20, 4)
        assert np.array_equal(fused.image[..., 3], opacity)
        fused.save(tmp_path / "f.png")
        assert np.array_equal(np.asarray(Image.open(tmp_path / "f.png")), fused.image)
    grey = fuse(image(0), other, prior="gaussian", **PLAIN).image
    assert grey.shape == (24, 20, 2) and np.array_equal(grey[..., 1], 255 - opacity)


def test_the_colour_sources_profile_is_kept(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(image(3, channels=3)).save(tmp_path / "b.png", icc_profile=profile)
    fuse(image(0), tmp_path / "b.png", prior="gaussian", **PLAIN).save(tmp_path / "f.png")
    with Image.open(tmp_path / "f.png") as written:
        assert written.info["icc_profile"] == profile


# --- seeds, batches, precision ------------------------------------------------------------------


def test_the_same_seed_gives_the_same_pixels_alone_and_in_any_batch(small):
    pairs = [(image(k), image(k + 10)) for k in range(3)]
    pairs.append((image(3, 9, 30), image(13, 9, 30)))
    fuser = Fuser(small, sampler="ddpm", **PLAIN)
    alone = [fuse(*pair, prior=small, sampler="ddpm", **PLAIN).image for pair in pairs]
    batch = [fusion.image for fusion in fuser.batch(pairs)]
    turned = [fusion.image for fusion in fuser.batch(iter(pairs[::-1]))][::-1]
    for k in range(4):
        assert np.array_equal(alone[k], batch[k])
        assert np.array_equal(alone[k], turned[k])
    other = fuse(*pairs[0], prior=small, sampler="ddpm", seed=1, **PLAIN).image
    assert not np.array_equal(alone[0], other)


def test_neighbours_of_one_size_may_go_through_the_network_together():
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


def test_a_batch_is_read_as_its_results_are_asked_for():
    """A long one must not fill the memory."""
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


def test_fusers_that_share_a_prior_leave_each_other_alone():
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


@pytest.mark.filterwarnings("ignore:float16 is much slower")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_network_may_compute_in_half_precision(dtype):
    """Close to float32, and not the same: the network did compute in less."""
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


# --- what a result tells ------------------------------------------------------------------------


def test_settings_are_json_and_make_the_result_again():
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


def test_the_trajectory_shows_every_step(tmp_path, small):
    steps = []
    fusion = fuse(
        image(0, 9, 6), image(1, 9, 6), prior=small, callback=steps.append, trajectory=True, **PLAIN
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
    assert fuse(image(0), image(1), prior=small, **PLAIN).trajectory == []


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("likelihood", RECIPES)
def test_settings_of_every_recipe_are_json(task, likelihood):
    settings = Fuser("gaussian", likelihood=likelihood, device="cpu").settings(task)
    assert json.loads(json.dumps(settings)) == settings
    del settings["ddfm"], settings["weights"]
    again = fuse(image(0), image(1), **settings | {"steps": 2}).settings
    assert again["options"] == settings["options"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_notebook_shows_it(channels):
    fusion = fuse(image(0), image(1, channels=channels, dtype=np.uint16), prior="gaussian", **PLAIN)
    shown = np.asarray(Image.open(io.BytesIO(fusion._repr_png_())))
    assert shown.dtype == np.uint8
    assert np.abs(shown / 255 - fusion.image / 65535).max() < 0.003


def test_progress_is_for_terminals_or_for_whom_asks(capfd):
    fuse(image(0), image(1), prior="gaussian", **PLAIN)
    assert capfd.readouterr() == ("", "")


# --- recipes ------------------------------------------------------------------------------------


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
    """Notes what it is given; its result is what its first guess says, one quarter brighter."""

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
    """It matters where the loop starts late, and takes the place of the likelihood's own."""
    a, b = np.full((5, 6), 0.25), np.full((5, 6), 0.75)
    fuser = Fuser("gaussian", start=20, steps=2, likelihood=Toy, device="cpu")
    own = fuser(a, b).image
    assert np.array_equal(fuser(a, b, first_guess=a).image, own), "the toy's own guess is a"
    assert not np.array_equal(fuser(a, b, first_guess=np.zeros((5, 6))).image, own)
    with pytest.raises(DdfmError, match=r"first guess has the shape \(6, 5\)"):
        fuser(a, b, first_guess=np.zeros((6, 5)))


def test_a_first_guess_is_a_keyword_of_fuse_and_refused_where_it_does_nothing(toy):
    a, b = np.full((5, 6), 0.25), np.full((5, 6), 0.75)
    settings = {"prior": "gaussian", "likelihood": Toy, "device": "cpu", "start": 20}
    guess = np.zeros((5, 6))
    given = fuse(a, b, first_guess=guess.tolist(), **settings).image
    assert not np.array_equal(given, fuse(a, b, **settings).image)
    with pytest.raises(DdfmError, match="first_guess .* warm start"):
        fuse(a, b, first_guess=guess, prior="gaussian", **PLAIN)


def test_a_series_shares_its_contrast():
    """Three levels of contrast; the middle one is for all, unless the caller has said otherwise."""
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


def test_tone_is_a_step_after_the_fusion():
    dull = 0.5 * image(0) / 255, 0.5 * image(1) / 255
    fused = {tone: fuse(*dull, prior="gaussian", tone=tone) for tone in ("auto", "none")}
    low, high = fused["auto"].chosen["curve"]
    assert fused["none"].chosen == {} and "spread" not in fused["none"].settings["options"]
    levels = {tone: fusion.picture.pixels[..., 0] for tone, fusion in fused.items()}
    gain, offset = (high - low) / 2, (1 + low) / 2
    np.testing.assert_allclose(levels["auto"], gain * levels["none"] + offset, atol=1e-5)
    assert gain > 1.1
    medical = {tone: fuse(*dull, prior="gaussian", tone=tone, task="medical") for tone in fused}
    assert np.array_equal(medical["auto"].image, medical["none"].image)


def counting_prior(calls: list[int]) -> GaussianPrior:
    class Counting(GaussianPrior):
        def __call__(self, x_t, t):
            calls.append(len(x_t))
            return super().__call__(x_t, t)

    return Counting()


def test_a_clean_pair_asks_no_prior_and_a_noisy_one_does():
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
    assert len(calls) == 2 + 3  # each source is cleaned, and every step asks
    together = list(fuser.stream([pair, noisy], together=2))
    assert np.array_equal(together[0].image, clean.image)
    assert np.array_equal(together[1].image, alone.image)


def test_a_focus_stack_in_colour_is_told_from_exposures():
    scene = np.asarray(Image.open(EXAMPLES / "olinda_visible.png").convert("RGB"))[100:260, 100:300]
    blurred = gaussian_filter(scene.astype(float), (3, 3, 0)).astype(np.uint8)
    left, right = scene.copy(), scene.copy()
    left[:, 100:], right[:, :100] = blurred[:, 100:], blurred[:, :100]
    dark = (0.5 * scene).astype(np.uint8)
    fuser = Fuser("gaussian", steps=1, device="cpu")
    tasks = [fuser(*pair).settings["task"] for pair in ((left, right), (scene, dark))]
    assert tasks == ["multi-focus", "multi-exposure"]


def test_steps_and_start_can_be_said(toy):
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
    with pytest.raises(DdfmError, match="ask for 9 steps where the schedule has 6"):
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


def test_sources_are_cleaned_where_the_recipe_says_so(toy, monkeypatch):
    """By the prior, of the noise that was found; and the result tells how much that was."""
    from ddfm.priors.denoise import denoise, unclipped

    found = {0: 0.2, 1: 0.0}  # the first is measured once more, when it is clean
    sizes = []

    def level(x):
        sizes.append(tuple(x.shape))
        return found.get(len(sizes) - 1, 0.05)

    monkeypatch.setattr("ddfm.diffusion.observed.noise_level", level)
    monkeypatch.setattr("ddfm.fusing.run.noise_level", level)
    monkeypatch.setitem(Toy.recipe, "clean", 0.1)
    a, b = image(0, 10, 7, dtype=np.float32), image(1, 10, 7, dtype=np.float32)
    prior = network()
    fused = fuse(a, b, prior=prior, likelihood=Toy, device="cpu", dtype="float32")
    assert sizes == [(1, 1, 10, 7)] * 3  # what is padded would not be noise
    assert fused.settings["source_noise"] == [0.2, 0.0]
    (made,) = Toy.made
    padded = np.pad(a, ((0, 2), (0, 1)), mode="reflect")
    with torch.no_grad():
        expected = denoise(prior, torch.from_numpy(2 * padded - 1)[None, None], 0.2)
    expected = unclipped(expected, 0.2)
    np.testing.assert_allclose(made.i, expected, atol=1e-5)
    np.testing.assert_allclose(made.v[0, 0, :10, :7], 2 * b - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("task", "channels", "expected"),
    [
        ("auto", (1, 1), "ir-visible"),
        ("auto", (1, 3), "ir-visible"),
        ("auto", (3, 3), "multi-exposure"),
        ("medical", (3, 3), "medical"),
    ],
)
def test_the_task_is_what_is_said_or_seen(task, channels, expected):
    pair = [image(k, channels=c) for k, c in enumerate(channels)]
    assert fuse(*pair, prior="gaussian", task=task, **PLAIN).settings["task"] == expected


# --- wrong input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"likelihood": "papr"}, "unknown likelihood 'papr'; did you mean paper"),
        ({"sampler": "dimm"}, "unknown sampler 'dimm'; did you mean ddim"),
        ({"task": "medica"}, "unknown task 'medica'; did you mean medical"),
        ({"color": "gray"}, "unknown colour mode 'gray'; did you mean grey"),
        ({"resize": "A"}, "unknown way to resize 'A'; known: a, auto, b, error"),
        ({"dtype": "float3"}, "unknown dtype 'float3'; did you mean float32"),
        ({"device": "gpu"}, "no device 'gpu' here"),
        ({"device": "meta"}, "no device 'meta' here"),
        ({"prior": "gausian"}, "unknown prior 'gausian'; did you mean gaussian"),
        ({"steps": 0}, "cannot read steps '0'"),
        ({"steps": "many"}, "cannot read steps 'many'"),
        ({"steps": 1001}, "1001 steps where the schedule has 1000"),
        ({"start": 1000}, "start must be a timestep from 0 to 999, not 1000"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"tile": 100}, "a tile must be at least 128 pixels wide"),
        ({"options": {"fi": 1}}, "unknown option of the likelihood paper 'fi'"),
        ({"options": {"psi": "x"}}, "the option psi must be a finite number, not 'x'"),
        ({"options": {"psi": (1, 2)}}, "the option psi must be a finite number"),
        ({"options": {"gains": 1.0}}, "the option gains must be two numbers, not 1.0"),
        ({"options": {"curve": [1.0]}}, "the option curve must be two or more numbers, not [1.0]"),
        ({"options": {"curve": np.array(1.0)}}, "the option curve must be two or more numbers"),
        ({"options": {"gains": [[1, 2], [3]]}}, "the option gains must be a finite number"),
        (
            {"options": {"psi": 10**400}},
            "the option psi must be a number from -1,000,000 to 1,000,000",
        ),
        ({"options": [1]}, "options must be a dictionary"),
        ({"likelihood": "default", "options": {"alpha": 0}}, "of the likelihood are positive"),
        ({"likelihood": "default", "options": {"kappa": -1}}, "not negative"),
        ({"likelihood": "default", "options": {"saliency": 2}}, "saliency must be a word, not 2"),
        ({"tone": "nice"}, "unknown tone 'nice'; did you mean none?"),
        ({"seed": "abc"}, "the seed must be a whole number from 0 to 2^63 - 1, not 'abc'"),
        ({"seed": None}, "the seed must be a whole number"),
        ({"seed": 1.5}, "the seed must be a whole number"),
        ({"start": "late"}, "start must be a whole number, not 'late'"),
        ({"steps": 2.5}, "steps must be a whole number, not 2.5"),
        ({"tile": "wide"}, "tile must be a whole number, not 'wide'"),
        ({"task": None}, "task must be a word, not None"),
        ({"likelihood": ["paper"]}, "likelihood must be a word, not ['paper']"),
        ({"sampler": 1}, "sampler must be a word, not 1"),
        ({"color": None}, "color must be a word, not None"),
        ({"resize": None}, "resize must be a word, not None"),
        ({"method": None}, "method must be a word, not None"),
        ({"device": None}, "a device is named, as cpu is"),
        ({"dtype": None}, "a dtype is named, as float32 is"),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    arguments = {"prior": "gaussian"} | PLAIN | wrong
    with pytest.raises(DdfmError) as caught:
        fuse(image(0), image(1), **arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_numbers_of_numpy_and_of_text_become_plain_ones():
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


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.full((4, 4), np.nan, np.float32), "the second image: 16 of 16 values are NaN"),
        (np.float32([[np.inf, 0], [0, 0]]), "the second image: 1 of 4 values are NaN or infinite"),
        (np.zeros((0, 5), np.uint8), "the second image: the image is empty"),
        (np.zeros((4, 4, 7), np.uint8), "the second image: 7 channels"),
        ("nowhere.png", "cannot read nowhere.png: there is no such file"),
        ([1, 2], "the second image: cannot take an image from list"),
    ],
)
def test_wrong_sources_are_named(source, message):
    with pytest.raises(DdfmError) as caught:
        fuse(image(0), source, prior="gaussian", **PLAIN)
    assert message in str(caught.value) and "\n" not in str(caught.value)


# --- the package --------------------------------------------------------------------------------


def test_importing_ddfm_imports_nothing_heavy():
    code = "import ddfm, sys; print(*{'torch', 'numpy', 'scipy', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_every_name_of_the_package_is_there():
    assert set(ddfm.__all__) <= set(dir(ddfm))
    assert all(getattr(ddfm, name) is not None for name in ddfm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fuze'"):
        ddfm.fuze  # noqa: B018


@pytest.mark.parametrize("example", ["fuse_pair", "brain", "custom_prior", "volumes", "folder"])
def test_examples_run(example, tmp_path, monkeypatch, capsys):
    import runpy

    if example == "volumes":
        pytest.importorskip("nibabel")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / f"{example}.py"))
    results = tmp_path / "pairs" / "fused" if example == "folder" else tmp_path
    written = {path.name: Image.open(path) for path in results.glob("*.png")}
    assert written and all(np.ptp(np.asarray(image)) > 50 for image in written.values())
    said = capsys.readouterr().out
    if example == "folder":
        assert "first run: 3 fused" in said and "second run: 3 skipped" in said
    assert all(name in said for name in written)
