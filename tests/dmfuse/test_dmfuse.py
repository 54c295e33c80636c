"""DMFuse: its parts against independent forms, its training, and its use from the command line."""

import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import ddfm
from command_line import ddfm_run
from ddfm.dmfuse.features import noise_like, read_features, shape_of_features
from ddfm.dmfuse.fuse import DMFuse
from ddfm.dmfuse.network import Head, HeadConfig, criss_cross
from ddfm.dmfuse.weights import load_head
from ddfm.errors import DdfmError, DdfmWarning
from ddfm.imaging.pairing import find_pairs
from ddfm.imaging.picture import from_array
from ddfm.imaging.writing import write_image
from ddfm.priors.checkpoints import save_checkpoint
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.network import UNetPrior
from ddfm.priors.schedule import alphas_bar
from ddfm.priors.unet import UNet
from ddfm.training.crops import FeatureCache, choose_crops, other_levels, targets_of
from ddfm.training.dmfuse import HeadRun, Settings, train_dmfuse
from ddfm.training.dmfuse_loss import LOSSES, loss, ssim, target
from scenes import TINY

QUICK = {"crops": 6, "size": 32, "batch": 2, "report_every": 2, "sample_every": 4, "save_every": 2}


def tiny_prior(seed=0):
    torch.manual_seed(seed)
    network = UNet(replace(TINY, model_channels=8, channel_mult=(1, 2), norm_groups=4))
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return UNetPrior(network, alphas_bar("linear"), kind="v", name=f"tiny {seed}")


def scene(seed, size=(48, 64)):
    """A smooth infrared plane with a hot spot, and a textured visible one, in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]] / 16
    hot = np.exp(-((y - rng.uniform(1, 2)) ** 2 + (x - rng.uniform(1, 3)) ** 2) * 4)
    ir = 0.2 + 0.1 * np.sin(x) + 0.6 * hot
    vi = 0.5 + 0.2 * np.sin(3 * x + rng.uniform(0, 6)) * np.cos(2 * y)
    return ir.astype(np.float32), vi.astype(np.float32)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for kind in ("ir", "vi"):
        (folder / kind).mkdir()
    for seed in range(4):
        for kind, plane in zip(("ir", "vi"), scene(seed), strict=True):
            picture = from_array((255 * plane).astype(np.uint8))
            write_image(folder / kind / f"{seed}.png", picture.pixels, picture)
    return find_pairs(folder / "ir", folder / "vi").pairs


@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    settings = Settings(**QUICK, steps=4)
    return train_dmfuse(pairs, out, tiny_prior(), settings, progress=False)


# Criss-cross attention


def dense(q, k, v):
    """Attention between all pixels, with those outside row and column masked."""
    _, channels, height, width = q.shape
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    row, column = row.flatten(), column.flatten()
    allowed = (row[:, None] == row) | (column[:, None] == column)
    q, k, v = (x.flatten(2).mT for x in (q, k, v))
    scores = (q @ k.mT / math.sqrt(channels)).masked_fill(~allowed, -torch.inf)
    return (scores.softmax(-1) @ v).mT.unflatten(2, (height, width))


@pytest.mark.parametrize("size", [(7, 5), (1, 6), (6, 1), (1, 1), (12, 9)])
@pytest.mark.parametrize("at_once", [1, 200, 10**9])
def test_criss_cross_is_dense_attention_behind_a_mask(size, at_once, monkeypatch):
    monkeypatch.setattr("ddfm.dmfuse.network.SCORES", at_once)
    q, k = (3 * torch.randn(2, 4, *size, dtype=torch.float64) for _ in range(2))
    v = torch.randn(2, 6, *size, dtype=torch.float64)
    assert torch.allclose(criss_cross(q, k, v), dense(q, k, v), atol=1e-12)


def test_criss_cross_has_the_gradients_of_dense_attention():
    inputs = [torch.randn(1, 3, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    weights = torch.randn(1, 3, 5, 4, dtype=torch.float64)
    mine = torch.autograd.grad((criss_cross(*inputs) * weights).sum(), inputs)
    theirs = torch.autograd.grad((dense(*inputs) * weights).sum(), inputs)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(mine, theirs, strict=True))


# The head


def test_attention_adds_nothing_at_first_and_mixes_the_sources_later():
    head = Head(HeadConfig((4, 6), patch=2))
    without = Head(HeadConfig((4, 6), patch=2, attention=False))
    without.load_state_dict(
        {k: v for k, v in head.state_dict().items() if not k.startswith("attention")}
    )
    i, v = torch.rand(2, 1, 1, 16, 24)
    of = [[torch.rand(1, 4, 8, 12), torch.rand(1, 6, 4, 6)] for _ in range(2)]
    assert torch.equal(head(i, v, *of), without(i, v, *of))
    torch.nn.init.ones_(head.attention[0].gamma)
    assert not torch.allclose(head(i, v, *of), without(i, v, *of))


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_the_result_has_the_size_of_the_sources_and_lies_within_the_range(patch):
    head = Head(HeadConfig((4, 6), patch=patch, plain=True, output="tanh"))
    i, v = 2 * torch.rand(2, 1, 1, 8 * patch, 6 * patch) - 1
    fused = head(i, v).detach()
    assert fused.shape == i.shape and float(fused.abs().max()) <= 1


def test_a_blend_lies_between_the_sources_but_for_its_correction():
    head = Head(HeadConfig((4, 6), patch=2, plain=True))
    torch.nn.init.zeros_(head.out.weight)
    i, v = 2 * torch.rand(2, 1, 1, 16, 24) - 1
    for weight, correction in ((-20.0, 0.0), (20.0, 0.0), (0.0, 0.25)):
        head.out.bias.data = torch.tensor([weight, math.atanh(correction)])
        expected = {-20.0: v, 20.0: i, 0.0: (i + v) / 2}[weight] + correction
        assert torch.allclose(head(i, v), expected, atol=1e-6)


# The loss


def test_similarity_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    x, y = (plane.astype(np.float64) for plane in scene(3))
    mine = float(ssim(torch.from_numpy(x)[None, None], torch.from_numpy(y)[None, None]))
    _, each = metrics.structural_similarity(
        x, y, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        full=True,
    )  # fmt: skip
    assert mine == pytest.approx(each[5:-5, 5:-5].mean(), abs=1e-9)


def test_published_loss_at_known_images():
    flat = torch.full((1, 1, 24, 24), 0.25, dtype=torch.float64)
    slope = (torch.arange(24) / 48).double().expand(1, 1, 24, 24).contiguous()
    # All three equal: nothing to gain.
    assert float(loss(slope, slope, slope, slope, "published")) == pytest.approx(0, abs=1e-4)
    # Flat images of other levels: SSIM of constants, and the levels; no gradients anywhere.
    other = torch.full_like(flat, 0.75)
    c1 = 0.01**2
    similarity = (2 * 0.25 * 0.75 + c1) / (0.25**2 + 0.75**2 + c1)
    u = target("published")(flat, other)
    assert float(u.min()) == float(u.max()) == 0.75
    expected = 10 * (1 - (1 + similarity) / 2) + 14 * 0.5
    assert float(loss(flat, flat, other, u, "published")) == pytest.approx(expected, rel=1e-5)
    # A slope that is missing: Sobel's kernel makes 8 of one level a pixel (4 at the two borders).
    missing = float(loss(flat, slope, slope, flat, "published"))
    gradient = 16 * (22 * 8 + 2 * 4) / 24 / 48
    likeness = 10 * (1 - float(ssim(flat, slope)))
    assert missing == pytest.approx(gradient + likeness, rel=1e-5)


def test_distilled_loss_is_zero_at_the_target_for_any_sources():
    slope = (torch.arange(24) / 48).expand(1, 1, 24, 24).contiguous()
    other, turned = torch.rand(1, 1, 24, 24), slope.flip(-1)
    assert float(loss(slope, other, turned, slope)) == pytest.approx(0, abs=1e-4)
    # A gradient turned round costs what both have (24 columns of 8 a level, 4 at the borders), and
    # the levels what they are apart.
    a, b, c = LOSSES["distilled"]
    gradient = 2 * (22 * 8 + 2 * 4) / 24 / 48
    expected = a * (1 - float(ssim(turned, slope))) + b * gradient
    expected += c * float((turned - slope).abs().mean())
    assert float(loss(turned, other, other, slope)) == pytest.approx(expected, rel=1e-5)


def test_the_target_is_the_result_of_the_default_likelihood():
    ir, vi = scene(0, (64, 64))
    u = target("distilled")(*(torch.from_numpy(x)[None, None] for x in (ir, vi)))
    default = ddfm.fuse(ir, vi, tone="none", look=False, progress=False)
    assert not default.settings["options"]
    assert np.abs(u[0, 0].numpy() - default.image).max() < 1e-4
    assert np.abs(u[0, 0].numpy() - np.maximum(ir, vi)).max() > 0.05


def test_gradients_reach_the_head_and_never_the_prior():
    prior = tiny_prior()
    channels, patch = shape_of_features(prior)
    head = Head(HeadConfig(channels, patch))
    i, v = (torch.from_numpy(plane)[None, None, :32, :32] for plane in scene(0))
    noise = noise_like(i, "fixed", [0])
    of = [read_features(prior, 2 * x - 1, (5,), (noise,)) for x in (i, v)]
    fused = (head(2 * i - 1, 2 * v - 1, *of) + 1) / 2
    loss(fused, i, v, torch.maximum(i, v)).backward()
    silent = [n for n, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    # gamma is 0 at first: what lies behind it learns only when it has moved.
    assert all(name.startswith("attention") and "gamma" not in name for name in silent)
    assert all(p.grad is None for p in prior.network.parameters())


# Features


def test_fixed_noise_is_the_same_for_all_images_and_random_noise_depends_on_the_seed():
    x = torch.zeros(2, 1, 150, 20)
    fixed = noise_like(x, "fixed", [1, 2])
    assert torch.equal(fixed[0], fixed[1]) and torch.equal(fixed[0, 0, 128:], fixed[0, 0, :22])
    random = noise_like(x, "random", [1, 2])
    assert not torch.equal(random[0], random[1])
    assert torch.equal(random[1:], noise_like(x[:1], "random", [2]))
    assert abs(float(random.std()) - 1) < 0.05 and abs(float(fixed.std()) - 1) < 0.05


def test_cached_features_are_those_of_the_prior(pairs, tmp_path):
    prior = tiny_prior()
    crops = choose_crops(pairs, 5, 32, 0, progress=False)
    cache = FeatureCache(tmp_path, prior, crops, "fixed", 0, progress=False)
    of_i, of_v = cache.batch([3, 1], (5, 50))
    i, v = crops.at([3, 1])
    noise = noise_like(i, "fixed", [0, 0])
    for kept, x in ((of_i, i), (of_v, v)):
        direct = read_features(prior, 2 * x - 1, (5, 50), (noise, noise))
        assert [f.shape for f in kept] == [f.shape for f in direct]
        for a, b in zip(kept, direct, strict=True):
            assert torch.allclose(a, b, rtol=2e-3, atol=2e-3 * float(b.abs().max()))


def test_cached_targets_are_those_of_the_crops(pairs, tmp_path, monkeypatch):
    crops = choose_crops(pairs, 3, 32, 0, progress=False)
    first = targets_of(tmp_path, crops, "published", progress=False)
    assert np.allclose(first, torch.maximum(*crops.at([0, 1, 2])), atol=1e-3)
    monkeypatch.setattr("ddfm.training.crops.target", lambda kind: torch.minimum)
    again = targets_of(tmp_path, crops, "published", progress=False)
    assert np.array_equal(again, first)
    others = choose_crops(pairs, 3, 32, 1, progress=False)
    anew = targets_of(tmp_path, others, "published", progress=False)
    assert np.allclose(anew, torch.minimum(*others.at([0, 1, 2])), atol=1e-3)


def test_pairs_too_small_for_crops_are_named(pairs, tmp_path):
    for kind in ("ir", "vi"):
        (tmp_path / kind).mkdir()
        picture = from_array(np.zeros((20, 90), np.uint8))
        write_image(tmp_path / kind / "low.png", picture.pixels, picture)
    both = [*find_pairs(tmp_path / "ir", tmp_path / "vi").pairs, *pairs]
    with pytest.warns(DdfmWarning, match=r"pairs too small .* 1 of 5, such as low \(.* 32 pixels"):
        assert len(choose_crops(both, 5, 32, 0, progress=False)) == 4


def test_cached_arrays_grow_as_they_are_written(pairs, tmp_path, monkeypatch):
    """A mapped file has its size at once, as a hole; a full disk then kills the process."""
    crops = choose_crops(pairs, 9, 32, 0, progress=False)
    sizes = []

    def make(*sources):
        sizes.extend(path.stat().st_size for path in tmp_path.glob(".partial-*"))
        return torch.maximum(*sources)

    monkeypatch.setattr("ddfm.training.crops.target", lambda kind: make)
    targets_of(tmp_path, crops, "published", progress=False)
    row = 2 * 32 * 32  # bytes of one target in half precision
    assert len(sizes) == 1 and sizes[0] <= 8 * row + 200  # before the ninth; 200 for the header


def test_other_levels_keep_their_order_and_their_range():
    levels = torch.linspace(0, 1, 101)
    curves = torch.stack([other_levels(levels, np.random.default_rng(k)) for k in range(50)])
    assert float(curves.min()) >= 0 and float(curves.max()) <= 1
    assert bool((curves.diff(dim=1) >= 0).all())
    # The middle level becomes a dark one here and a bright one there.
    assert float(curves[:, 50].min()) < 0.35 and float(curves[:, 50].max()) > 0.65


def test_features_are_computed_once_and_again_for_another_prior(pairs, tmp_path, monkeypatch):
    calls = []
    crops = choose_crops(pairs, 3, 32, 0, progress=False)

    def batch(prior):
        features = prior.features
        monkeypatch.setattr(prior, "features", lambda *x: calls.append(1) or features(*x))
        return FeatureCache(tmp_path, prior, crops, "fixed", 0, progress=False).batch([0], (5,))

    first, again = batch(tiny_prior()), batch(tiny_prior())
    assert len(calls) == 1 and torch.equal(first[0][0], again[0][0])
    assert not torch.equal(batch(tiny_prior(1))[0][0], first[0][0]) and len(calls) == 2


# Training


def test_a_killed_run_continues_with_the_same_result(pairs, trained, tmp_path, monkeypatch):
    settings = Settings(**QUICK, steps=4)

    def killed(self):
        report(self)
        if self.step == 3:
            raise KeyboardInterrupt

    report = HeadRun.report
    with monkeypatch.context() as patch:
        patch.setattr(HeadRun, "report", killed)
        with pytest.raises(KeyboardInterrupt):
            train_dmfuse(pairs, tmp_path, tiny_prior(), settings, progress=False)
    load_head(tmp_path / "dmfuse.safetensors")  # the weights so far are there to be used
    weights = train_dmfuse(pairs, tmp_path, tiny_prior(), settings, progress=False)
    mine, whole = load_head(weights)[0].state_dict(), load_head(trained)[0].state_dict()
    assert all(torch.equal(mine[key], whole[key]) for key in whole)
    with pytest.raises(DdfmError, match=r"other settings \(prior\)"):
        train_dmfuse(pairs, tmp_path, tiny_prior(1), settings, progress=False)
    with pytest.raises(DdfmError, match=r"other settings \(data\)"):
        train_dmfuse(pairs[1:], tmp_path, tiny_prior(), settings, progress=False)


def test_a_run_that_is_refused_leaves_the_features_of_the_other_one(pairs, trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.npy")}
    fewer = Settings(**QUICK | {"crops": 3}, steps=4)
    with pytest.raises(DdfmError, match=r"other settings \(crops\)"):
        train_dmfuse(pairs, tmp_path / "run", tiny_prior(), fewer, progress=False)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.npy")}


def test_training_starts_from_another_head_of_the_same_design(pairs, trained, tmp_path):
    still = Settings(**QUICK, steps=1, lr=1e-9)
    given = {"prior": tiny_prior(), "init": trained, "progress": False}
    weights = train_dmfuse(pairs, tmp_path / "still", settings=still, **given)
    mine, its = (load_head(path)[0].state_dict() for path in (weights, trained))
    assert all(torch.allclose(mine[key], its[key], atol=1e-3) for key in its)
    for other in ({"t": (50,)}, {"noise": "random"}, {"attention": False}, {"output": "tanh"}):
        settings = Settings(**QUICK, steps=1, **other)
        with pytest.raises(
            DdfmError, match="cannot start from the head .* must be those of this run"
        ):
            train_dmfuse(pairs, tmp_path / "other", settings=settings, **given)


def test_training_that_diverges_writes_no_head(pairs, tmp_path):
    settings = Settings(**QUICK, steps=4, lr=1e20)
    with pytest.raises(DdfmError, match="training diverged: .* not finite .* lower the learning"):
        train_dmfuse(pairs, tmp_path, tiny_prior(), settings, progress=False)
    assert not list(tmp_path.glob("*.safetensors")) and not list(tmp_path.glob("*.pt"))


def test_training_leaves_curve_sheets_and_falling_losses(pairs, tmp_path):
    settings = Settings(**(QUICK | {"report_every": 15}), steps=30, lr=3e-3)
    weights = train_dmfuse(pairs, tmp_path, tiny_prior(), settings, progress=False)
    history = json.loads((tmp_path / "history.json").read_text())["history"]
    assert [entry["step"] for entry in history] == [15, 30]
    assert history[1]["aside"] < history[0]["aside"]
    assert (tmp_path / "curve.png").exists() and (tmp_path / "samples-000030.png").exists()
    assert weights.stat().st_size < 3e6


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"loss": "publishd"}, "unknown loss 'publishd'; did you mean published"),
        ({"noise": "none"}, "unknown noise"),
        ({"output": "sigmoid"}, "unknown output"),
        ({"t": (5, 2000)}, "from 0 to 999"),
        ({"t": ()}, "from 0 to 999"),
    ],
)
def test_bad_settings_are_refused_in_one_line(pairs, tmp_path, settings, message):
    with pytest.raises(DdfmError, match=message):
        train_dmfuse(pairs, tmp_path, tiny_prior(), Settings(**(QUICK | settings)), progress=False)


# Heads and priors that do not belong together


def test_a_prior_without_features_is_refused(pairs, trained, tmp_path):
    with pytest.raises(DdfmError, match="has no inner features; use a U-Net prior"):
        train_dmfuse(pairs, tmp_path, GaussianPrior(), Settings(**QUICK), progress=False)
    with pytest.raises(DdfmError, match="has no inner features; use a U-Net prior"):
        ddfm.Fuser(GaussianPrior(), method="dmfuse", head=trained)


def test_a_head_of_other_weights_is_refused(trained):
    with pytest.raises(DdfmError, match="features of the prior tiny 0 .* not on those of tiny 1"):
        DMFuse(tiny_prior(1), trained)


DELETED = object()


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_files_that_are_no_heads_are_refused(content, tmp_path):
    path = tmp_path / "head.safetensors"
    if content is None:
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(DdfmError, match="not a head" if content is None else "not a whole safe"):
        load_head(path)
    with pytest.raises(DdfmError, match="there is no such file"):
        load_head(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"t": "5"},
        {"t": []},
        {"t": [True]},
        {"t": [1e9]},
        {"noise": ["fixed"]},
        {"prior": None},
        {"prior": DELETED},
        {"surprise": 1},
        {"network": 3},
        {"network": {"channels": []}},
        {"network": {"channels": [0.5]}},
        {"network": {"channels": [10**9]}},
        {"network": {"channels": [32], "width": 0}},
        {"network": {"channels": [32], "patch": -1}},
        {"network": {"channels": [32], "output": "wishes"}},
        {"network": {"channels": [32] * 1000}},
        {"network": {}},
    ],
)
def test_invalid_metadata_is_refused_in_one_line(trained, tmp_path, change):
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(trained, framework="pt") as file:
        about = json.loads(file.metadata()["ddfm-dmfuse"])
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    path = tmp_path / "head.safetensors"
    changed = {k: v for k, v in (about | change).items() if v is not DELETED}
    for text in (json.dumps(changed), "[" * 100_000):
        save_file(weights, path, metadata={"ddfm-dmfuse": text})
        with pytest.raises(DdfmError, match="head.safetensors") as caught:
            load_head(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


# Through the front door


def fuser(head, **kwargs):
    return ddfm.Fuser(tiny_prior(), method="dmfuse", head=head, **kwargs)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (37, 53), (64, 64)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_result_has_size_and_depth_of_the_sources(trained, size, dtype):
    scale = 1 if dtype is np.float32 else np.iinfo(dtype).max
    ir, vi = ((scale * plane).astype(dtype) for plane in scene(0, size))
    fusion = fuser(trained)(ir, vi, progress=False)
    assert fusion.image.shape == size and fusion.image.dtype == dtype


def test_colour_is_kept(trained):
    ir, vi = scene(0)
    rgb = np.stack([vi, vi / 2, vi / 4], axis=-1)
    assert fuser(trained)(ir, rgb, progress=False).image.shape == (*ir.shape, 3)
    assert fuser(trained, color="grey")(ir, rgb, progress=False).image.ndim == 2


def test_pixels_are_the_same_alone_or_in_a_batch(trained):
    some = [scene(seed) for seed in range(3)]
    each = [fuser(trained)(*pair, progress=False).image for pair in some]
    together = fuser(trained).batch(some, together=3, progress=False)
    for mine, other in zip(each, together, strict=True):
        assert np.allclose(mine, other.image, atol=1e-5)
    assert np.array_equal(each[0], fuser(trained)(*some[0], progress=False).image)


def test_the_seed_matters_only_if_the_noise_is_random(pairs, trained, tmp_path):
    ir, vi = scene(0)
    one, two = (fuser(trained, seed=seed)(ir, vi, progress=False).image for seed in (1, 2))
    assert np.array_equal(one, two)
    settings = Settings(**QUICK, steps=2, noise="random", t=(5, 300))
    head = train_dmfuse(pairs, tmp_path, tiny_prior(), settings, progress=False)
    one, same, two = (fuser(head, seed=s)(ir, vi, progress=False).image for s in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, two)


def test_tiles_show_no_seam(trained):
    ir, vi = scene(1, (64, 700))
    whole = fuser(trained, tile=0, look=False)(ir, vi, progress=False).image
    tiled = fuser(trained, tile=256, look=False)(ir, vi, progress=False).image
    assert np.abs(whole - tiled).max() < 0.05
    jumps = np.abs(np.diff(tiled - whole, axis=1)).max()
    assert jumps < 0.01
    with pytest.raises(DdfmError, match="at least 256 pixels"):
        fuser(trained, tile=200)


def test_arguments_of_the_loop_are_refused(trained):
    for given in ({"steps": 5}, {"sampler": "ddpm"}, {"likelihood": "paper"}, {"start": 3}):
        with pytest.raises(DdfmError, match=f"{next(iter(given))} .* dmfuse"):
            fuser(trained, **given)
    with pytest.raises(DdfmError, match="unknown option of dmfuse 'kappa'"):
        fuser(trained, options={"kappa": 1.0})
    with pytest.raises(DdfmError, match="unknown method 'dmfus'; did you mean dmfuse"):
        ddfm.Fuser(tiny_prior(), method="dmfus")
    with pytest.raises(DdfmError, match="two images"):
        fuser(trained)(*scene(0), scene(1)[0])
    with pytest.raises(DdfmError, match="head .* dmfuse"):
        ddfm.Fuser(tiny_prior(), head=trained)


def test_settings_describe_how_the_image_was_made(trained):
    settings = fuser(trained).settings("ir-visible")
    assert json.loads(json.dumps(settings)) == settings
    assert settings["method"] == "dmfuse" and len(settings["head"]) == 64
    assert "sampler" not in settings and "steps" not in settings


def test_a_series_shares_its_curve(trained):
    some = [scene(seed) for seed in range(3)]
    shared = fuser(trained).with_shared_estimates(some)
    curve = shared.config.options["curve"]
    assert curve[-1] - curve[0] > 2.01
    fused = [shared(*pair, progress=False) for pair in some]
    assert all(one.settings["options"]["curve"] == list(curve) for one in fused)
    given = fuser(trained, options={"curve": curve})
    assert np.array_equal(fused[0].image, given(*some[0], progress=False).image)
    assert not np.array_equal(fused[0].image, fuser(trained)(*some[0], progress=False).image)


def test_the_tone_is_that_of_the_task_and_can_be_turned_off(trained):
    ir, vi = (0.4 + 0.2 * plane for plane in scene(0))
    plain = fuser(trained, tone="none")(ir, vi, progress=False).image
    spread = fuser(trained)(ir, vi, progress=False).image
    assert spread.std() / plain.std() == pytest.approx(1.33, abs=0.01)


def test_the_shipped_head_fits_the_shipped_prior():
    fusion = ddfm.fuse(*scene(0), method="dmfuse", progress=False)
    image = fusion.image
    ir, vi = scene(0)
    assert np.corrcoef(image.ravel(), ir.ravel())[0, 1] > 0.2
    assert np.corrcoef(image.ravel(), vi.ravel())[0, 1] > 0.2


# From the command line


def test_train_fuse_folders_and_bench_from_the_command_line(pairs, tmp_path):
    weights, out = tmp_path / "prior.safetensors", tmp_path / "run"
    prior = tiny_prior()
    about = {"kind": "v", "schedule": "linear", "T": 1000} | asdict(prior.network.config)
    save_checkpoint(weights, prior.network.state_dict(), about)
    folder = pairs[0].files[0].parents[1]
    quick = ["--steps", 2, "--crops", 4, "--size", 32, "--batch", 2, "-q"]
    trained = ddfm_run(
        "train-dmfuse", folder, "--out", out, "--prior", weights, "--t", "5,50", *quick
    )
    assert trained.exit_code == 0, trained.output
    head = trained.stdout.strip()
    assert load_head(Path(head))[1].t == (5, 50)

    method = ["--method", "dmfuse", "--prior", weights, "--head", head, "-q"]
    ir, vi = folder / "ir", folder / "vi"
    one = ddfm_run("fuse", ir / "0.png", vi / "0.png", "-o", tmp_path / "one.png", *method)
    assert one.exit_code == 0, one.output
    many = ddfm_run("fuse", ir, vi, "-o", tmp_path / "many", *method)
    assert many.exit_code == 0, many.output
    alone, among = (ddfm.read_image(tmp_path / n).pixels for n in ("one.png", "many/0.png"))
    assert np.array_equal(alone, among)
    benched = ddfm_run("bench", folder, "--out", tmp_path / "bench", "--limit", 1, *method)
    assert benched.exit_code == 0, benched.output
    assert list(json.loads((tmp_path / "bench" / "summary.json").read_text())) == ["dmfuse"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--prior", "gaussian"], ["gaussian has no inner features"]),
        (["--steps", "5"], ["steps is for method ddfm"]),
        (["--head", "none.safetensors"], ["cannot read none.safetensors: there is no such file"]),
    ],
)
def test_impossible_requests_are_refused_in_one_line(pairs, tmp_path, arguments, words):
    sources = [*pairs[0].files, "-o", tmp_path / "fused.png"]
    result = ddfm_run("fuse", *sources, "--method", "dmfuse", *arguments)
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert all(word in result.stderr for word in words)
