"""Defects of the sources, specified on the command line."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from command_line import ddfm_run, refused
from places import EXAMPLES

FAST = ("--prior", "gaussian", "--device", "cpu")


@pytest.fixture
def small(tmp_path):
    """The infrared example at a quarter of its size, and the visible one."""
    with Image.open(EXAMPLES / "olinda_infrared.png") as image:
        size = tuple(n // 4 * 4 for n in image.size)
        image.crop((0, 0, *size)).reduce(4).save(tmp_path / "small.png")
    with Image.open(EXAMPLES / "olinda_visible.png") as image:
        image.crop((0, 0, *size)).save(tmp_path / "large.png")
    return tmp_path / "small.png", tmp_path / "large.png", size


def test_a_small_thermal_image_is_fused_with_a_large_photograph(small, tmp_path):
    a, b, size = small
    out, folder = tmp_path / "f.png", tmp_path / "sources"
    result = ddfm_run("fuse", a, b, "-o", out, *FAST, "--save-sources", folder, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["settings"]["observed"][0]["scale"] == 4.0
    for path in (out, folder / "source-1.png", folder / "source-2.png"):
        with Image.open(path) as image:
            assert image.size == size


def test_options_reach_the_settings(small, tmp_path):
    a, b, _ = small
    options = ("--noise-a", 5, "--blur-a", "0.7", "--stripes-a", "columns", "--as-is")
    result = ddfm_run("fuse", a, b, "-o", tmp_path / "f.png", *FAST, *options, "--json")
    assert result.exit_code == 0, result.output
    settings = json.loads(result.stdout)["settings"]
    nothing = {"scale": 1, "dead": False, "frame": False, "jpeg": 0}
    kept = nothing | {"stripes": "none", "blur": 0, "noise": 0}
    assert settings["observations"] == [
        {"noise": 5.0, "blur": 0.7, "stripes": "columns"} | nothing,
        kept,
    ]
    assert settings["observed"][0]["blur"] == 0.7
    result = ddfm_run("fuse", b, b, b, "-o", tmp_path / "g.png", *FAST, "--as-is", "--json")
    assert json.loads(result.stdout)["settings"]["observations"] == [kept] * 3


def test_a_law_of_noise_is_given_with_its_numbers(small, tmp_path):
    a, b, _ = small
    for first in ("poisson,4,2", "shared,12,0.7"):
        options = ("--noise-a", first, "--noise-b", "rician,10")
        result = ddfm_run("fuse", a, b, "-o", tmp_path / "f.png", *FAST, *options, "--json")
        assert result.exit_code == 0, result.output
        settings = json.loads(result.stdout)["settings"]
        name, *numbers = first.split(",")
        law = [name, *map(float, numbers)]
        assert settings["observations"] == [{"noise": law}, {"noise": ["rician", 10]}]
        assert [one["noise"] for one in settings["observed"]] == [law, ["rician", 10]]


def test_corrections_are_printed_with_the_option_that_prevents_them(tmp_path):
    """Stripes and noise of a source, by `fuse` and by `info`; nothing for a clean pair."""
    visible, clean = EXAMPLES / "olinda_visible.png", EXAMPLES / "olinda_infrared.png"
    rng, noisy = np.random.default_rng(0), tmp_path / "noisy.png"
    with Image.open(clean) as image:
        levels = np.asarray(image.convert("L")).astype(float)
    levels += rng.normal(0, 12, levels.shape) + rng.normal(0, 5, levels.shape[1])
    Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(noisy)

    def printed(source, *options):
        result = ddfm_run("fuse", source, visible, "-o", tmp_path / "f.png", *FAST, *options)
        assert (result.exit_code, result.stdout) == (0, "")
        return result.stderr

    line = printed(noisy)
    stripes, noise = line.removeprefix(f"{noisy}: ").removesuffix("\n").split("; ")
    assert re.fullmatch(
        r"stripes \(columns of [345](\.\d+)? grey levels\) removed \(--stripes-a none keeps them\)",
        stripes,
    )
    assert re.fullmatch(r"noise of 1\d(\.\d+)? grey levels removed \(--noise-a 0 keeps it\)", noise)
    told = ddfm_run("info", tmp_path / "f.png").stdout
    assert f"  corrected  a: {stripes}; {noise}" in told
    assert printed(noisy, "--quiet") == ""
    assert printed(noisy, "--noise-a", 12, "--stripes-a", "columns") == ""  # not by itself
    assert printed(noisy, "--noise-a", 0, "--stripes-a", "none") == ""
    assert printed(clean) == ""
    assert "  corrected  " not in ddfm_run("info", tmp_path / "f.png").stdout


def test_a_kernel_and_a_mask_are_read_from_files(small, tmp_path):
    a, b, size = small
    kernel, mask = tmp_path / "kernel.png", tmp_path / "mask.png"
    Image.fromarray(np.full((3, 3), 255, np.uint8)).save(kernel)
    Image.new("L", size, 255).save(mask)
    result = ddfm_run(
        "fuse", a, b, "-o", tmp_path / "f.png", *FAST, "--blur-a", kernel, "--mask-b", mask
    )
    assert result.exit_code == 0, result.output
    for level, side in ((255, 100), (0, 3)):  # a photograph, as a rule, and nothing
        Image.new("L", (side, 3), level).save(kernel)
        wrong = ddfm_run("fuse", a, b, "-o", tmp_path / "f.png", *FAST, "--blur-a", kernel)
        refused(wrong, "kernel.png is not the kernel of a blur")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--blur-a", "none.png"), "there is no file none.png"),
        (("--blur-b", "1,2,3"), "must be given by length and angle"),
        (("--mask-a", "none.png"), "cannot read none.png: there is no such file"),
        (("--scale-b", "0.2"), "scale must be 1 or more"),
        (("--jpeg-a", "200"), "from 1 to 100"),
        (("--stripes-a", "some"), "unknown stripes"),
        (("--noise-a", "much"), "noise must be a number"),
        (("--noise-b", "rician,-3"), "noise rician must be"),
        (("--noise-b", "shared,3,1,1"), "noise shared takes its standard deviation and"),
    ],
)
def test_invalid_options_are_refused_by_name_before_any_work(monkeypatch, tmp_path, options, why):
    monkeypatch.setattr("ddfm.imaging.opening.Opening.pictures", lambda *_: pytest.fail("it read"))
    pair = tmp_path / "a.png", tmp_path / "b.png"
    for file in pair:
        file.touch()
    refused(ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", *FAST, *options), why)
    result = ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", *FAST, *options)
    assert f"Invalid value for '{options[0]}': " in result.stderr
