"""Training a prior, denoising with one, and estimating noise."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ddfm import DdfmError, StorageError, load_prior
from ddfm.errors import DdfmWarning
from ddfm.priors.denoise import denoise, padded, unclipped
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.residual_unet import ResidualUNetConfig
from ddfm.priors.schedule import alphas_bar, t_of_sigma
from ddfm.training.muon import Muon, orthogonalised
from ddfm.training.noise_levels import NoiseLevels
from ddfm.training.patterns import with_pattern
from ddfm.training.photographs import Photographs, find_photographs, read_photograph
from ddfm.training.train_prior import PriorRun, Settings, train_prior
from ddfm.training.yardstick import compare, denoising_psnr, middle_crops, noisy
from scenes import TINY

QUICK = Settings(
    steps=6, batch=2, crops=(16, 32), warmup=2, report_every=3, sample_every=99, save_every=3,
    network=TINY,
)  # fmt: skip


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(3):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        small.resize((192, 168), Image.Resampling.BICUBIC).save(folder / f"{k}.png")
    return folder


def test_a_killed_run_continues_with_the_same_result(photographs, tmp_path):
    crops = Photographs(find_photographs(photographs), 32, progress=False)

    def run(out: str) -> PriorRun:
        (tmp_path / out).mkdir(exist_ok=True)
        made = PriorRun(QUICK, tmp_path / out, torch.device("cpu"))
        made.resume()
        return made

    whole = run("whole")
    for _ in range(6):
        whole.train_step(crops)
    killed = run("killed")
    for _ in range(3):
        killed.train_step(crops)
    killed.save()
    killed.train_step(crops)  # lost
    resumed = run("killed")
    assert resumed.step == 3
    for _ in range(3):
        resumed.train_step(crops)
    for expected, got in zip(whole.average.parameters(), resumed.average.parameters(), strict=True):
        assert torch.equal(expected, got)


def test_training_writes_a_prior(photographs, tmp_path):
    out = tmp_path / "run"
    weights = train_prior(photographs, out, QUICK, validation=photographs, progress=False)
    prior = load_prior(weights)
    assert (prior.channels, prior.multiple) == (1, 4)
    x0 = prior(torch.zeros(1, 1, 8, 8), torch.tensor([10]))
    assert x0.shape == (1, 1, 8, 8) and bool(x0.isfinite().all())
    history = json.loads((out / "history.json").read_text())["history"]
    assert [entry["step"] for entry in history] == [3, 6]
    assert all(10 < entry["psnr_25"] < 40 for entry in history)
    with Image.open(out / "curve.png") as curve, Image.open(out / "samples-000006.png") as sheet:
        assert curve.size == (800, 400) and sheet.size == (512, 512)
    with pytest.raises(DdfmError, match="sources are read from"):  # and from all folders below it
        train_prior(photographs, photographs / "run", QUICK, progress=False)
    with pytest.raises(
        DdfmError, match=r"other settings \(steps\); .* --init to start from the weights"
    ):
        train_prior(photographs, out, replace(QUICK, steps=7), progress=False)
    (out / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(DdfmError, match="cannot write .*checkpoint.pt"):
        train_prior(photographs, out, QUICK, progress=False)


def test_a_checkpoint_on_a_full_disk_is_an_error_of_one_line(tmp_path):
    resource = pytest.importorskip("resource", reason="limits are tested where there are limits")
    run = PriorRun(QUICK, tmp_path, torch.device("cpu"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*checkpoint\.pt"):
            run.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_without_a_terminal_lines_tell_how_far_a_training_is(
    photographs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("ddfm.training.run.MINUTE", 0.0)
    train_prior(photographs, tmp_path / "run", QUICK)
    lines = [line for line in capsys.readouterr().err.splitlines() if "training" in line]
    numbers = dict.fromkeys(line.split(",")[0] for line in lines)  # the last one may come twice
    assert list(numbers) == [f"ddfm: training: {n} of 6" for n in range(7)]
    assert all("loss=" in line for line in lines[1:])
    monkeypatch.setattr("ddfm.training.run.MINUTE", 60.0)
    train_prior(photographs, tmp_path / "more", QUICK)
    assert capsys.readouterr().err.count("of 6") < 3


def test_drawing_samples_shows_a_progress_bar(photographs, tmp_path, capsys):
    train_prior(photographs, tmp_path / "run", QUICK, progress=True)
    assert "drawing samples:   0%|" in capsys.readouterr().err


def test_the_weights_are_there_before_samples_are_drawn(photographs, tmp_path, monkeypatch):
    """Drawing them takes minutes on a slow machine, and should not keep anyone waiting."""
    found = []
    monkeypatch.setattr(
        "ddfm.training.train_prior.sample_sheet",
        lambda prior, path, *_: found.append(load_prior(path.parent / "prior.safetensors")),
    )
    train_prior(photographs, tmp_path / "run", QUICK, progress=False)
    assert len(found) == 1


@pytest.fixture
def no_samples(monkeypatch):
    """Trainings without the samples, which take a while to draw."""
    monkeypatch.setattr("ddfm.training.train_prior.sample_sheet", lambda *a, **k: None)


@pytest.mark.usefixtures("no_samples")
def test_a_training_starts_from_weights_of_its_own_network_only(photographs, tmp_path):
    weights = train_prior(photographs, tmp_path / "run", QUICK, progress=False)
    again = train_prior(photographs, tmp_path / "more", QUICK, init=weights, progress=False)
    assert again.read_bytes() != weights.read_bytes()
    other = replace(QUICK, network=ResidualUNetConfig(stem=4, widths=(8,), depths=(1,)))
    with pytest.raises(DdfmError, match=r"prior.safetensors: they are of another network$"):
        train_prior(photographs, tmp_path / "other", other, init=weights, progress=False)


@pytest.mark.usefixtures("no_samples")
def test_weights_are_read_as_a_prior_is(photographs, tmp_path):
    """A pickle may be given; a running average is preferred; what they predict must be known."""
    weights = train_prior(photographs, tmp_path / "run", QUICK, progress=False)
    for init in (_pickled(weights, tmp_path / "weights.pt"), tmp_path / "run" / "checkpoint.pt"):
        start = PriorRun(QUICK, tmp_path, torch.device("cpu"))
        start.start_from(init)
        for name, weight in load_file(weights).items():
            torch.testing.assert_close(
                start.net.state_dict()[name], weight.float(), atol=1e-3, rtol=0
            )
    with pytest.raises(DdfmError, match="they predict v, and this run eps; choose --kind v"):
        PriorRun(replace(QUICK, kind="eps"), tmp_path, torch.device("cpu")).start_from(weights)
    broken = _pickled(weights, tmp_path / "broken.pt", factor=float("nan"))
    with pytest.raises(DdfmError, match="broken.pt has weights that are NaN or infinite, in"):
        PriorRun(QUICK, tmp_path, torch.device("cpu")).start_from(broken)


def _pickled(weights, path, factor=1.0):
    torch.save({name: factor * weight for name, weight in load_file(weights).items()}, path)
    return path


@pytest.mark.usefixtures("no_samples")
def test_training_that_diverges_stops_and_keeps_what_is_good(photographs, tmp_path, monkeypatch):
    fast = replace(QUICK, adam_lr=1e6)
    with pytest.raises(DdfmError, match="the weights are not finite .* at step 3; lower the lear"):
        train_prior(photographs, tmp_path / "fast", fast, progress=False)
    assert not list((tmp_path / "fast").iterdir())
    step = PriorRun.train_step

    def spoilt(self, data):
        if self.step == 4:
            next(self.net.parameters()).data.fill_(float("nan"))
        return step(self, data)

    monkeypatch.setattr(PriorRun, "train_step", spoilt)
    with pytest.raises(DdfmError, match="the loss is not finite .* at step 5"):
        train_prior(photographs, tmp_path / "run", QUICK, progress=False)
    monkeypatch.undo()
    weights = load_file(tmp_path / "run" / "prior.safetensors")
    assert all(bool(weight.isfinite().all()) for weight in weights.values())
    assert torch.load(tmp_path / "run" / "checkpoint.pt")["step"] == 3


@pytest.mark.usefixtures("no_samples")
def test_a_run_continues_with_the_same_photographs_and_first_weights_only(photographs, tmp_path):
    out, more = tmp_path / "run", {"progress": False}
    weights = train_prior(photographs, tmp_path / "first", QUICK, **more)
    train_prior(photographs, out, QUICK, init=weights, **more)
    train_prior(photographs.rename(tmp_path / "moved"), out, QUICK, init=weights, **more)
    with pytest.raises(DdfmError, match=r"other settings \(init\)"):
        train_prior(tmp_path / "moved", out, QUICK, **more)
    shutil.copy(tmp_path / "moved" / "0.png", tmp_path / "moved" / "3.png")
    with pytest.raises(DdfmError, match=r"other settings \(data\)"):
        train_prior(tmp_path / "moved", out, QUICK, init=weights, **more)
    # Earlier versions noted neither.
    state = torch.load(out / "checkpoint.pt")
    design = json.loads(state["design"])
    del design["data"], design["init"]
    torch.save(state | {"design": json.dumps(design)}, out / "checkpoint.pt")
    train_prior(tmp_path / "moved", out, QUICK, **more)


@pytest.mark.usefixtures("no_samples")
def test_a_finished_run_writes_its_weights_again_if_they_were_deleted(photographs, tmp_path):
    weights = train_prior(photographs, tmp_path / "run", QUICK, progress=False)
    first = weights.read_bytes()
    weights.unlink()
    assert train_prior(photographs, tmp_path / "run", QUICK, progress=False) == weights
    assert weights.read_bytes() == first


def test_bad_folders_are_refused_in_one_line(tmp_path):
    with pytest.raises(DdfmError, match="not a folder"):
        find_photographs(tmp_path / "none")
    with pytest.raises(DdfmError, match="no photographs"):
        find_photographs(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DdfmError, match="broken.png.* remove it from the folder"):
        Photographs(find_photographs(tmp_path), 16, progress=False)


def test_photographs_too_small_for_crops_are_named(photographs):
    Image.new("RGB", (300, 100)).save(photographs / "low.png")
    files = find_photographs(photographs)
    with pytest.warns(DdfmWarning, match=r"to be used: 1 of 4, such as .*low\.png \(.* 128 pixels"):
        Photographs(files, 128, progress=False)


def test_hidden_files_are_no_photographs(photographs):
    found = find_photographs(photographs)
    (photographs / ".thumbnails").mkdir()
    (photographs / "folder.png").mkdir()
    for name in ("._0.jpg", ".partial-x.png", ".thumbnails/0.png"):
        (photographs / name).write_bytes(b"")
    assert find_photographs(photographs) == found


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "grey.jpg", "alpha.png", "palette.png"])
def test_photographs_of_eight_bits_are_read_exactly(photographs, tmp_path, name):
    path = tmp_path / name
    modes = {"grey.jpg": "L", "alpha.png": "RGBA", "palette.png": "P"}
    Image.open(photographs / "0.png").convert(modes.get(name, "RGB")).save(path)
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    np.testing.assert_array_equal(read_photograph(path, 3), rgb)
    np.testing.assert_array_equal(read_photograph(path), rgb.convert("L"))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_photographs_of_sixteen_bits_keep_their_levels(tmp_path, suffix):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / f"ramp{suffix}")
    levels = np.arange(256).reshape(16, 16)
    np.testing.assert_array_equal(read_photograph(tmp_path / f"ramp{suffix}"), levels)
    (crop,) = middle_crops(tmp_path, channels=1)
    np.testing.assert_allclose(crop[0, 0], levels / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (3, 9), (17, 8)])
def test_pictures_of_any_size_are_denoised(size):
    def seen(x, t):
        assert x.shape[-2] % 8 == x.shape[-1] % 8 == 0
        return x

    prior = FunctionPrior(seen, alphas_bar("linear"), kind="x0", channels=1, multiple=8)
    image = torch.rand(1, 1, *size)
    alpha = prior.alphas_bar[t_of_sigma(prior.alphas_bar, 0.1)].sqrt()
    torch.testing.assert_close(denoise(prior, image, 0.1), alpha.float() * image)


def test_priors_are_compared_on_pictures_of_any_size(tmp_path):
    rng = np.random.default_rng(0)
    for k, size in enumerate([(1, 1), (5, 20)]):
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(tmp_path / f"{k}.png")
    prior = FunctionPrior(lambda x, t: x, alphas_bar("linear"), kind="x0", channels=1)
    scores = compare(prior, tmp_path, (25,), progress=False)
    assert all(np.isfinite(values).all() for values in scores.values())


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (5, 5), (8, 16), (9, 30)])
def test_padding_reflects_as_often_as_needed(size):
    image = torch.rand(2, 3, *size)
    margins = [(0, 0), (0, 0), *((0, -side % 8) for side in size)]
    expected = np.pad(image.numpy(), margins, mode="reflect")
    np.testing.assert_array_equal(padded(image, 8).numpy(), expected)


def test_training_makes_a_better_denoiser(photographs, tmp_path):
    crops = Photographs(find_photographs(photographs), 32, progress=False)
    settings = Settings(steps=90, batch=4, crops=(32,), warmup=5, ema=0.5, network=TINY)
    run = PriorRun(settings, tmp_path, torch.device("cpu"))
    image = crops.batch(4, 32, (7,))
    method = partial(denoise, run.prior)
    before = denoising_psnr(method, [image], 50)
    for _ in range(90):
        run.train_step(crops)
    assert denoising_psnr(method, [image], 50) > before + 1.5


def test_low_noise_is_drawn_more_often_and_every_level_counts_alike():
    rng = np.random.default_rng(0)
    levels = NoiseLevels(alphas_bar("linear"), low_noise=0.7)
    t = levels.draw(rng, 20_000)
    noise = ((1 - alphas_bar("linear")) / alphas_bar("linear")).sqrt()[t]  # sigma / alpha
    assert 0.7 < float(((noise > 0.02) & (noise < 0.7)).float().mean()) < 0.8
    assert float((noise > 10).float().mean()) > 0.08  # and the others are not forgotten
    # Errors as a network makes them: many times larger where there is little noise.
    errors = 0.5 / (1 + 10 * noise) * torch.from_numpy(rng.exponential(1.0, len(t))).float()
    weighted = []
    for some, few in zip(t.split(16), errors.split(16), strict=True):
        weighted.append(few * levels.weights(some, few))
    settled = slice(len(t) // 2, None)
    count = torch.cat(weighted)[settled]
    low, high = noise[settled] < 0.05, noise[settled] > 0.5
    assert float(errors[settled][low].mean() / errors[settled][high].mean()) > 5
    assert float(count[low].mean() / count[high].mean()) == pytest.approx(1, abs=0.15)


def test_patterns_include_the_finest_at_high_contrast_and_faint_ones_on_pictures():
    rng = np.random.default_rng(0)
    picture = torch.linspace(-1, 1, 16).expand(1, 16, 16)
    many = torch.stack([with_pattern(rng, picture) for _ in range(8000)])
    assert many.shape == (8000, 1, 16, 16) and float(many.abs().max()) <= 1
    across, down = (many.diff(dim=axis).abs().amin(dim=(1, 2, 3)) > 1 for axis in (3, 2))
    assert bool((across & down).any())  # a checkerboard of single pixels
    assert bool((across & ~down).any()) and bool((down & ~across).any())  # stripes
    change = (many - picture).abs().amax(dim=(1, 2, 3))
    assert 0.1 < float((change < 0.1).float().mean()) < 0.5


def test_muon_orthogonalises_and_descends():
    for shape in ((12, 30), (30, 12)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
        assert float(values.min()) > 0.3 and float(values.max()) < 1.5
    weight = torch.nn.Parameter(torch.randn(4, 2, 3, 3))
    optimizer = Muon([weight], lr=0.05)
    first = float(weight.square().sum().detach())
    for _ in range(20):
        weight.grad = 2 * weight.detach()
        optimizer.step()
    assert float(weight.square().sum().detach()) < 0.75 * first


def test_denoising_with_the_exact_prior_is_the_wiener_filter():
    prior = GaussianPrior()
    x = prior.sample(1, 64, 64, generator=torch.Generator().manual_seed(0))
    y = noisy(x, 0.3, seed=1)
    power = prior.power(64, 64)
    waves = torch.fft.rfft2(y.double()) * power / (power + 0.3**2)
    expected = torch.fft.irfft2(waves, s=(64, 64))
    # The timestep is the nearest to the noise asked for, not equal to it.
    torch.testing.assert_close(denoise(prior, y, 0.3).double(), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("sigma", [0.02, 0.2, 0.6, 2.0])
def test_the_bias_of_clipped_noise_is_undone(sigma):
    levels, steps = np.linspace(-1, 1, 41), np.linspace(-9, 9, 200_001)
    density = np.exp(-(steps**2) / 2) / np.sqrt(2 * np.pi) * (steps[1] - steps[0])
    means = np.array([density @ np.clip(level + sigma * steps, -1, 1) for level in levels])
    found = unclipped(torch.from_numpy(means), sigma).numpy()
    np.testing.assert_allclose(found, levels, atol=0.01 / 127.5)  # a hundredth of a grey level
    assert means[0] > -1 + 0.3 * min(sigma, 1), "it would do without"
    beyond = torch.tensor([-9.0, -1.0, 1.0, 9.0], dtype=torch.float64)
    assert unclipped(beyond, sigma).tolist() == unclipped(beyond, 0.0).tolist() == [-1, -1, 1, 1]
