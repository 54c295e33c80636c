"""Pictures of 16 bits that use a small part of their range."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

import ddfm
from command_line import FAST, ddfm_run, refused
from ddfm.config import FusionConfig
from ddfm.errors import DdfmWarning
from ddfm.imaging.levels import with_levels
from ddfm.imaging.opening import Opening
from ddfm.imaging.picture import from_array
from ddfm.imaging.sources import read_sources
from ddfm.video.denoising import CommonScale

SEEN = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)


def centikelvin(low: int = 28_000, high: int = 31_000, size=(40, 50)) -> np.ndarray:
    """Evenly distributed values in this range, and one dead pixel."""
    values = np.linspace(low, high, size[0] * size[1]).round().astype(np.uint16).reshape(size)
    values[0, 0] = 65535
    return values


def test_a_small_part_of_16_bits_is_spread_over_all_of_them():
    thermal, visible = read_sources((centikelvin(), SEEN))
    low, high = thermal.range
    assert 28_000 <= low < 28_010 and 30_990 < high <= 31_000  # the dead pixel has no say
    expected = np.clip((centikelvin() - low) / (high - low), 0, 1)
    assert np.abs(thermal.pixels[:, :, 0] - expected).max() < 1e-5
    assert visible.range is None


def test_zeros_far_below_all_other_values_are_missing_pixels():
    measured, gaps = centikelvin(), centikelvin()
    gaps[:, :10] = 0
    thermal = read_sources((gaps, SEEN))[0]
    assert thermal.range == read_sources((measured[:, 10:], SEEN[:, 10:]))[0].range
    assert not thermal.pixels[:, :10].any()


@pytest.mark.parametrize(
    "array",
    [
        np.where(SEEN < 64, 0, 100 * SEEN.astype(np.uint16)),
        centikelvin(10_000, 30_000),
        np.full((9, 9), 3, np.uint16),
        SEEN // 8,
        centikelvin().astype(np.int32),
    ],
    ids=[
        "zeros not far below",
        "a third",
        "one value",
        "8 bits",
        "whole numbers that have no white",
    ],
)
def test_other_pictures_keep_their_levels(array):
    picture = read_sources((array, array))[0]
    assert np.array_equal(picture.pixels, from_array(array).pixels)


def test_levels_can_be_given():
    array = centikelvin()
    full = ddfm.read_image(array, levels="full")
    assert np.array_equal(read_sources((full, SEEN))[0].pixels, from_array(array).pixels)
    cut = ddfm.read_image(array, levels=(29_000, 30_000))
    expected = np.clip((array - 29_000.0) / 1000, 0, 1)
    assert np.abs(cut.pixels[:, :, 0] - expected).max() < 1e-5
    assert np.array_equal(read_sources((cut, SEEN))[0].pixels, cut.pixels)
    degrees = np.linspace(-20, 120, 100, dtype=np.float32).reshape(10, 10)
    warm = ddfm.read_image(degrees, levels=(0, 40))
    assert np.abs(warm.pixels[:, :, 0] - np.clip(degrees / 40, 0, 1)).max() < 1e-5


@pytest.mark.parametrize(
    "levels", [(2, 1), (1, 1), (np.nan, 1), (1,), "half", "12", 3, ("a", "b"), (0, 10**400)]
)
def test_invalid_levels_are_refused(levels):
    with pytest.raises(ddfm.DdfmError, match="a range must be two numbers, LOW < HIGH"):
        with_levels(from_array(SEEN), levels)


def test_levels_from_numpy_are_recorded_as_numbers():
    opening = Opening(ranges=(np.array([1, 2], np.float32), "full", None), celsius=np.arange(2))
    assert json.loads(json.dumps(opening.plain())) == {
        "ranges": [[1, 2], "full", None],
        "celsius": [0, 1],
    }


def bracket() -> list[np.ndarray]:
    """A dark and a bright exposure of 16 bits, in colour; one of 2000 pixels is a lamp."""
    scene = np.random.default_rng(1).uniform(1000, 30_000, (40, 50, 3))
    scene[20, 20] = 400_000
    return [np.clip(scene * gain, 0, 65535).astype(np.uint16) for gain in (0.15, 4)]


@pytest.mark.parametrize("task", ["auto", "multi-exposure"])
def test_exposures_of_16_bits_are_stretched_together(task):
    """A dark one that is stretched on its own is as bright as any, and its lights are lost."""
    one_camera = FusionConfig(task=task).one_camera
    dark, bright = bracket()
    sources = read_sources((dark, bright), one_camera=one_camera)
    for source, array in zip(sources, (dark, bright), strict=True):
        assert np.abs(source.pixels - array / 65535).max() < 1e-6
    twelve = [array >> 4 for array in (dark, bright)]
    sources = read_sources(twelve, one_camera=one_camera)
    assert sources[0].range == sources[1].range
    low, high = sources[0].range
    assert low < 20 and high == 4095
    for source, array in zip(sources, twelve, strict=True):
        assert np.abs(source.pixels - np.clip((array - low) / (high - low), 0, 1)).max() < 1e-6
    given = ddfm.read_image(twelve[1], levels="full"), twelve[0]  # one range is that of all
    assert [p.range for p in read_sources(given, one_camera=one_camera)] == [(0, 65535)] * 2


def test_other_sources_of_16_bits_are_stretched_one_by_one():
    dark, bright = bracket()
    one_camera = FusionConfig(task="ir-visible").one_camera
    sources = read_sources((dark, bright), one_camera=one_camera)
    assert [p.range is None for p in sources] == [False, True]
    grey = centikelvin(), centikelvin(10_000, 12_000)
    thermal = read_sources(grey, one_camera=FusionConfig().one_camera)
    assert thermal[0].range != thermal[1].range
    stack = read_sources(grey, one_camera=FusionConfig(task="multi-focus").one_camera)
    assert stack[0].range is None  # together they use more than a fifth


def test_the_command_reports_levels_that_a_stack_shares(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        tifffile.imwrite(f"{number}.tif", centikelvin(1000 - number, 4000 + number))
    command = ["fuse", "0.tif", "1.tif", "2.tif", "-o", "o.tif", "--prior", "gaussian"]
    for more in ((), ("--range-a", "auto", "--overwrite")):  # which is the default
        told = ddfm_run(*command, "--task", "multi-focus", *more).stderr
        assert told.startswith("0.tif and the others: their values, 100")
        assert told.count("values") == 1
    unstretched = ddfm_run(*command, "--task", "multi-focus", "--range-a", "full", "--overwrite")
    assert "their values" not in unstretched.stderr
    assert tifffile.imread("o.tif")[1:].max() < 4100


def test_a_result_uses_its_whole_depth_and_records_the_levels():
    fusion = ddfm.fuse(centikelvin(), SEEN, prior="gaussian", likelihood="paper", steps=1)
    assert fusion.image.dtype == np.uint16 and fusion.image.max() > 60_000
    (low, high), other = fusion.settings["levels"]
    assert (round(low, -2), round(high, -2), other) == (28_000, 31_000, None)


def test_frames_of_a_film_keep_one_scale():
    scale = CommonScale()
    with pytest.warns(DdfmWarning, match="to the whole range, the same in all frames"):
        first = scale(from_array(centikelvin()))
    hotter = scale(from_array(centikelvin(28_000, 34_000)))
    colder = scale(from_array(centikelvin(29_000, 29_500)))
    assert hotter.range[0] == first.range[0] and hotter.range[1] > 33_900
    assert colder.range == hotter.range
    # A film that begins with all of its range is not spread when it fades.
    scale = CommonScale()
    scale(from_array(centikelvin(0, 60_000)))
    assert np.array_equal(scale(from_array(centikelvin())).pixels, from_array(centikelvin()).pixels)


def test_the_command_reports_the_levels_and_takes_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("t.tif", centikelvin())
    tifffile.imwrite("v.tif", SEEN)
    command = ["fuse", "t.tif", "v.tif", "-o", "o.png", *FAST]
    told = ddfm_run(*command).stderr
    assert told.startswith("t.tif: its values, 280") and "--range-a full" in told
    assert ddfm_run(*command, "-q").stderr == ""
    by_content = ddfm.read_image("o.png").pixels
    for words in (["--range-a", "full"], ["--range-a", "28000", "31000"], ["--range-b", "0", "99"]):
        result = ddfm_run(*command, *words)
        reported = "t.tif: its values" in result.stderr
        assert result.exit_code == 0 and reported == (words[0] == "--range-b")
        assert not np.array_equal(ddfm.read_image("o.png").pixels, by_content)
    refused(ddfm_run(*command, "--range-a", "7000"), "--range-a takes LOW HIGH, full or auto")
    refused(ddfm_run(*command, "--range-a", "9", "7"), "a range must be two numbers, LOW < HIGH")


@pytest.mark.parametrize("odd", [-273.15, 500.0])
def test_a_pixel_that_takes_the_range_of_degrees_is_reported(tmp_path, monkeypatch, odd):
    """One dead pixel makes the rest of the thermal image white, or black."""
    monkeypatch.chdir(tmp_path)
    degrees = np.linspace(15, 35, 2000).reshape(40, 50)
    tifffile.imwrite("v.tif", SEEN)
    np.save("t.npy", degrees)
    command = ["fuse", "t.npy", "v.tif", "-o", "o.png", *FAST]
    assert ddfm_run(*command).stderr == ""
    degrees[0, 0] = odd
    np.save("t.npy", degrees)
    told = ddfm_run(*command).stderr
    assert told.startswith("t.npy: nearly all of its values, 15.0") and "--range-a 15.0" in told
    advice = told.split("--range-a ")[1].split()[:2]
    assert [float(limit) for limit in advice] == pytest.approx([15, 35], abs=0.1)
    for chosen in (advice, ["full"]):
        assert "spreads them" not in ddfm_run(*command, "--range-a", *chosen).stderr
    assert f"--range-a {' '.join(advice)} spreads" in ddfm_run("info", "t.npy").stdout


def test_levels_of_8_bits_of_another_type_cause_a_warning():
    levels = np.linspace(3, 250, 600).reshape(20, 30).astype(np.uint8)
    for kind in (float, int):
        with pytest.warns(DdfmWarning, match="the second image: .* lowest, 3, becomes bl.* uint8"):
            read_sources((levels, levels.astype(kind)))
    whole = levels.astype(np.float32) * (255 / 250)
    whole[0, 0] = 0
    degrees = levels / 4
    for other in (levels / 255, whole, degrees, levels.astype(int) - 4, levels * 2.0):
        read_sources((levels, other))  # a warning would be an error
    read_sources((levels, ddfm.read_image(levels.astype(float), levels=(0, 255))))


@pytest.mark.parametrize("task", ["auto", "multi-exposure", "multi-focus"])
def test_exposures_in_counts_have_one_black_and_one_white(task):
    """As from a raw converter: floating-point values from 0 to 16383, or other integers."""
    dark, bright = (array / 4 for array in bracket())
    bright, dark = np.clip(bright, 0, 16383), dark / 8
    low, high = min(dark.min(), bright.min()), max(dark.max(), bright.max())
    for kind in (np.float32, np.int32):
        pair = dark.astype(kind), bright.astype(kind)
        sources = read_sources(pair, one_camera=FusionConfig(task=task).one_camera)
        for source, array in zip(sources, pair, strict=True):
            assert np.abs(source.pixels - (array - low) / (high - low)).max() < 1e-4
            assert np.allclose(source.range, (low, high), atol=1)
    each = read_sources(pair, one_camera=FusionConfig(task="medical").one_camera)
    assert each[0].pixels.max() == each[1].pixels.max() == 1
    unit = dark / dark.max()  # from 0 to 1, and left so
    assert read_sources((unit.astype(np.float32), pair[1]))[0].range is None
