"""Degradations of sources against closed forms, and how the bench rates the restored ones."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from command_line import ddfm_run
from ddfm import DdfmError
from ddfm.bench.classical import METHODS, restored_by
from ddfm.bench.degrade import find_degradation, inside
from ddfm.imaging.picture import Picture, from_array
from places import EXAMPLES

FLAT = Picture(np.full((96, 120, 1), 100 / 255, np.float32))
RAMP = Picture(np.broadcast_to(np.linspace(0, 1, 120)[:, None], (96, 120, 1)).astype(np.float32))


def degraded(text: str, *pictures: Picture) -> list[np.ndarray]:
    return [255 * p.pixels[..., 0].astype(float) for p in find_degradation(text)(pictures, "one")]


@pytest.mark.parametrize(
    ("text", "mean", "deviation"),
    [
        ("noise=15", 100, 15),
        ("poisson=4", 100, np.sqrt(4 * 100)),
        ("rician=10", np.sqrt(100**2 + 10**2), 10),  # to the first order in (10 / 100)^2
    ],
)
def test_noise_has_the_moments_of_its_law(text, mean, deviation):
    (y,) = degraded(text, FLAT)
    assert y.mean() == pytest.approx(mean, abs=4 * deviation / np.sqrt(y.size) + 0.05)
    assert y.std() == pytest.approx(deviation, rel=0.05)


def test_stripes_are_one_offset_for_each_column():
    (y,) = degraded("stripes=6", FLAT)
    assert (y == y[0]).all() and y[0].std() == pytest.approx(6, rel=0.3)


def test_a_coarser_ramp_has_the_means_of_its_pixels():
    (y,) = degraded("scale=4", RAMP)
    means = 255 * RAMP.pixels[:4, :, 0].reshape(4, 30, 4).mean((0, 2))
    assert y.shape == (24, 30) and np.abs(y - means).max() <= 0.5 + 1e-4


def test_a_frame_covers_the_specified_share():
    (y,) = degraded("frame=0.7", FLAT)
    assert (y > 0).mean() == pytest.approx(0.7, abs=0.03)
    assert np.abs(y[inside(FLAT.size, 0.7)] - 100).max() < 1e-3


def test_degradations_of_one_source_and_in_sequence():
    what = find_degradation("scale-a=4,noise-a=10")
    a, b = what((RAMP, FLAT), "one")
    assert a.size == (24, 30) and b is FLAT
    assert [o.plain() for o in what.observations((a, b))] == [{"scale": 4.0, "noise": 10.0}, {}]
    again, _ = what((RAMP, FLAT), "one")
    other, _ = what((RAMP, FLAT), "two")
    assert np.array_equal(a.pixels, again.pixels) and not np.array_equal(a.pixels, other.pixels)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nois=3", "did you mean noise"),
        ("noise", "noise must be a number from 0 to 255"),
        ("scale-a=0.5", "scale must be a number from 1 to 64"),
        ("noise-first=3", "noise-a is for the first source"),
        ("noise=nan", "noise must be a number"),
        ("mixed=3", r"mixed=3: mixed takes no amount .*; it is scale-a=4"),
        ("frame=2", r"from 0.05 to 1, as in frame-a=0.525"),
    ],
)
def test_invalid_degradations_are_refused(text, why):
    with pytest.raises(DdfmError, match=why):
        find_degradation(text)


def test_a_source_that_the_set_lacks_is_refused():
    what = find_degradation("noise-c=5")
    what.check("set", 3)
    with pytest.raises(DdfmError, match="noise-c=5: the set set has no source c; .* a to b"):
        what.check("set", 2)


@pytest.mark.parametrize("name", list(METHODS))
def test_a_restored_source_has_its_original_size(name):
    """Also if a source was degraded in other ways and then made smaller."""
    what = find_degradation("scale-a=2,blur-a=1,stripes-a=4,dead-a=0.01,frame-a=0.8,noise-a=5")
    rng = np.random.default_rng(0)
    clean = tuple(from_array(rng.integers(0, 256, (40, 48), np.uint8)) for _ in range(2))
    restored = restored_by(name, what, what(clean, "a"), [picture.size for picture in clean])
    assert [picture.size for picture in restored] == [(40, 48)] * 2
    assert np.array_equal(restored[1].pixels, clean[1].pixels)


def test_the_bench_compares_with_the_clean_pair_and_with_classical_methods(tmp_path):
    for folder, name in (("ir", "infrared"), ("vi", "visible")):
        (tmp_path / "set" / folder).mkdir(parents=True)
        with Image.open(EXAMPLES / f"olinda_{name}.png") as image:
            image.convert("L").crop((100, 100, 196, 180)).save(tmp_path / "set" / folder / "a.png")
    out = tmp_path / "out"
    command = ("bench", tmp_path / "set", "--out", out, "--prior", "gaussian", "--device", "cpu")
    command += ("--baselines", "--degrade", "scale-a=2", "--degrade", "frame-a=0.7")
    result = ddfm_run(*command, "--quiet")
    assert result.exit_code == 0, result.output
    of_set = json.loads((out / "summary.json").read_text())["default"]["set"]["degraded"]
    found = of_set["scale-a=2"]
    assert list(found) == ["", "told", "bilinear", "bicubic", "back-projection", "TV", "sTV"]
    assert found[""]["PSNR a"] > found["bicubic"]["PSNR a"] > found["bilinear"]["PSNR a"]
    assert found["told"]["PSNR a"] == found[""]["PSNR a"]  # by the sizes it is known
    assert of_set["frame-a=0.7"]["told"]["rim"] < of_set["frame-a=0.7"]["copied in"]["rim"] - 10
    with open(out / "degraded.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["configuration"] == "default"]
    assert len(rows) == 7 + 3
    bicubic = out / "degraded" / "scale-a=2" / "bicubic, default" / "set" / "a.png"
    before = bicubic.stat().st_mtime_ns
    tables = (out / "tables.md").read_text()
    assert "set after scale-a=2, means" in tables
    assert ddfm_run(*command, "--quiet").exit_code == 0
    assert bicubic.stat().st_mtime_ns == before and (out / "tables.md").read_text() == tables
