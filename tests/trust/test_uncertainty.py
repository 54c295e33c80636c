"""The uncertainty of a result: with known noise, as pictures and files, on the command line."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from command_line import ddfm_run
from ddfm import DdfmError, Fuser, read_image
from ddfm.imaging.sources import grey
from ddfm.priors.gaussian import GaussianPrior
from ddfm.trust.drawing import drawn_uncertainty
from ddfm.trust.samples import AT_ONCE
from ddfm.trust.uncertainty import Uncertainty
from places import EXAMPLES

PAIR = (EXAMPLES / "olinda_infrared.png", EXAMPLES / "olinda_visible.png")
PLAIN = {"device": "cpu", "task": "medical", "look": False}


def scene(seed: int, reach: float = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = gaussian_filter(rng.normal(size=(96, 96)), reach)
    return 0.5 + 0.25 * x / np.abs(x).max()


def noisy(plane: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    noise = sigma * np.random.default_rng(seed).normal(size=plane.shape)
    return np.rint(255 * (plane + noise).clip(0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser(GaussianPrior(), **PLAIN)


def test_intervals_of_a_noisy_pair_contain_the_fusion_of_the_clean_one(fuser):
    """The recipe of medical images keeps noise of 4 grey levels, and the prior has no influence."""
    clean = [scene(0, 2), scene(1, 2)]  # as fine as what real pictures show
    truth = fuser(*(c.astype(np.float32) for c in clean)).picture.pixels[..., 0]
    fusion = fuser(*(noisy(c, 4 / 255, k) for k, c in enumerate(clean)), samples=16)
    low, high = fusion.uncertainty.interval(0.9)
    assert 0.85 < ((low <= truth) & (truth <= high)).mean() < 0.96
    error = fusion.uncertainty.result - truth
    assert fusion.uncertainty.std.mean() == pytest.approx(error.std(), rel=0.25)


def test_samples_do_not_change_the_result(fuser):
    pair = [noisy(scene(k), 4 / 255, k) for k in (0, 1)]
    with_samples, without = fuser(*pair, samples=3), fuser(*pair)
    assert np.array_equal(with_samples.image, without.image)
    assert without.uncertainty is None
    assert with_samples.uncertainty.samples.shape == (3, 96, 96)
    again = fuser(*pair, samples=5).uncertainty.samples
    assert np.array_equal(again[:3], with_samples.uncertainty.samples)


@pytest.mark.parametrize("at_once", [1, 3, 4, 5])
def test_samples_do_not_depend_on_how_many_are_processed_at_once(fuser, monkeypatch, at_once):
    pair = [noisy(scene(k), 4 / 255, k) for k in (0, 1)]
    counts = (2, 5, 6)
    expected = [fuser(*pair, samples=count).uncertainty.samples for count in counts]
    monkeypatch.setitem(AT_ONCE, "cpu", at_once * 96 * 96)
    for count, samples in zip(counts, expected, strict=True):
        found = fuser(*pair, samples=count).uncertainty.samples
        np.testing.assert_allclose(found, samples, atol=1e-5)


def test_a_picture_fused_with_itself_is_certain_to_a_grey_level():
    picture = read_image(PAIR[1]).pixels[:128, :128]
    fusion = Fuser(**(PLAIN | {"task": "ir-visible"}))(picture, picture, samples=8)
    assert 255 * fusion.uncertainty.std.max() < 1


@pytest.mark.parametrize("settings", [{"method": "dmfuse"}, {"likelihood": "paper", "steps": 2}])
def test_every_method_has_an_uncertainty(settings):
    pair = [noisy(scene(k), 2 / 255, k)[:48, :48] for k in (0, 1)]
    prior = "default" if "method" in settings else GaussianPrior()
    task = {"task": "ir-visible"}
    sure = Fuser(prior, **(PLAIN | task | settings))(*pair, samples=2).uncertainty
    assert 0 < 255 * sure.std.mean() < 20


def test_intervals_are_of_students_t_and_quantiles_of_the_samples():
    samples = norm.ppf((np.arange(999) + 0.5) / 999)[:, None, None] * 0.01 + 0.5
    sure = Uncertainty(np.full((1, 1), 0.5), samples)
    low, high = sure.interval(0.9)
    assert high - 0.5 == pytest.approx(1.645 * 0.01, rel=0.01)
    assert 0.5 - low == pytest.approx(1.645 * 0.01, rel=0.01)
    assert sure.quantile(0.95) == pytest.approx(0.5 + 1.645 * 0.01, abs=1e-4)


@pytest.mark.parametrize("samples", [1, -1, 5000])
def test_an_invalid_number_of_samples_is_refused(fuser, samples):
    with pytest.raises(DdfmError, match="samples must be"):
        fuser(scene(0), scene(1), samples=samples)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_an_invalid_share_is_refused(share):
    with pytest.raises(DdfmError, match="share"):
        Uncertainty(np.zeros((2, 2)), np.zeros((3, 2, 2))).interval(share)


def test_the_picture_has_a_common_scale():
    std = np.full((60, 80), 1.7)
    dark, light = np.asarray(drawn_uncertainty(0.2 * std)), np.asarray(drawn_uncertainty(std))
    assert light.shape[1] > 80  # the scale, beside
    assert light[40, 40].sum() > dark[40, 40].sum()


def test_the_command_line_writes_numbers_and_pictures(tmp_path):
    sources = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, original in zip(sources, PAIR, strict=True):
        Image.open(original).crop((0, 0, 64, 48)).save(path)
    out, std, picture = (tmp_path / name for name in ("o.png", "std.tif", "std.png"))
    line = ["fuse", *sources, "-o", out, "--samples", 3, "-q", "--uncertainty"]
    assert ddfm_run(*line, std).exit_code == 0
    with tifffile.TiffFile(std) as file:
        names = [page.description for page in file.pages]
        deviation, low, high = (page.asarray() for page in file.pages)
    assert names == ["standard deviation", "90 % from", "90 % to"]
    assert deviation.dtype == np.float32 and deviation.shape == (48, 64)
    result = grey(read_image(out))
    assert ((low - 0.01 <= result) & (result <= high + 0.01)).all()
    assert ddfm_run(*line, picture).exit_code == 0
    assert read_image(picture).is_color


PROGRAM = """
import hashlib, numpy, scipy.ndimage, sys, torch, ddfm
random = numpy.random.default_rng(0)
waves, grain = random.normal(size=(2, 2, 211, 305))
pair = [0.5 + 3 * scipy.ndimage.gaussian_filter(x, 6) for x in waves]
pair += float(sys.argv[1]) / 255 * grain
for threads in map(int, sys.argv[2:]):
    torch.set_num_threads(threads)
    sharp = {"blur": 0}
    fuser = ddfm.Fuser(device="cpu", task="ir-visible", observations=[sharp, sharp])
    fusion = fuser(*pair, samples=2, progress=False)
    digest = hashlib.sha256(fusion.picture.pixels.tobytes())
    digest.update(fusion.uncertainty.samples.tobytes())
    print(torch.get_num_threads(), digest.hexdigest())
"""


@pytest.mark.parametrize("noise", [0, 15])
def test_pairs_are_the_same_bytes_for_any_number_of_threads(noise):
    """Large enough to be split among threads, of a size that does not divide evenly."""
    line = [sys.executable, "-c", PROGRAM, str(noise), "1", "2", "3", "4"]
    # More threads than cores must not spin; and convolutions differ from processor to processor.
    env = {"OMP_WAIT_POLICY": "PASSIVE", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=os.environ | env)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [number for number, _ in lines] == ["1", "2", "3", "4"]
    assert len({digest for _, digest in lines}) == 1
