"""What a benchmark compares: configurations, baselines, and others' results."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import ddfm
from command_line import ddfm_run, refused
from ddfm.bench import BASELINES
from ddfm.bench.datasets import Dataset
from ddfm.bench.methods import KEYWORDS
from ddfm.bench.results import Bench
from ddfm.bench.tables import means
from ddfm.metrics import evaluate
from image_files import folders_of_noise

QUICK = ["--prior", "gaussian", "--steps", "2"]


@pytest.fixture
def pairs(tmp_path) -> Path:
    words = ("near", "far", "fused")
    folders_of_noise(tmp_path / "set", ("one", "two"), (44, 42), words, seed=1)
    return tmp_path / "set"


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_of_equal_sources_is_the_source(name, number):
    image = np.random.default_rng(2).random((45, 38))
    np.testing.assert_allclose(BASELINES[name](*[image] * number), image, atol=1e-9)


def test_the_laplacian_pyramid_keeps_details_of_both():
    a, b = np.full((64, 64), 0.5), np.full((64, 64), 0.5)
    a[16, 16], b[48, 48] = 1.0, 0.0
    fused = BASELINES["laplacian-pyramid"](a, b)
    assert fused[16, 16] > 0.9 and fused[48, 48] < 0.1
    assert BASELINES["average"](a, b)[16, 16] == 0.75


def test_scenes_of_three_images_are_fused(pairs, tmp_path):
    shutil.copytree(pairs / "near", pairs / "middle")
    (pairs / "middle" / "two.png").unlink()
    three = ("near", "middle", "far")
    arguments = ("--subfolders", ",".join(three), "--out", tmp_path / "out", "--baselines")
    result = ddfm_run("bench", pairs, *arguments, "--task", "multi-focus", *QUICK)
    assert result.exit_code == 0, result.output
    for folder in ("near", "far"):
        assert f"{folder}/two.png has no partner in every other folder" in result.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    own = tmp_path / "out" / "fused" / "default" / "set"
    expected = evaluate(own / "one.png", *(pairs / folder / "one.png" for folder in three))
    found = summary["default"]["set"]["metrics"]
    assert found == pytest.approx(expected | {"SCD": None})
    assert set(summary) == {"default", *BASELINES}
    folders = [pairs / folder for folder in three]
    measured = json.loads(ddfm_run("metrics", own, *folders, "--json").stdout)
    assert measured["pairs"]["one"] == pytest.approx(expected)


def test_a_method_for_two_images_refuses_three_before_any_work(pairs, tmp_path):
    shutil.copytree(pairs / "near", pairs / "middle")
    arguments = ("--subfolders", "near,middle,far", "--out", tmp_path / "out", *QUICK)
    result = ddfm_run("bench", pairs, *arguments, "--likelihood", "paper")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert "two sources" in result.stderr and not (tmp_path / "out").exists()
    folders = [pairs / folder for folder in ("near", "middle", "far")]
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", "--likelihood", "paper", *QUICK)
    assert result.exit_code == 2 and "two sources" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_configuration_takes_all_arguments_of_a_fuser():
    assert set(KEYWORDS) == set(inspect.signature(ddfm.Fuser).parameters)


def test_configurations_and_results_of_others_are_compared(pairs, tmp_path):
    config = tmp_path / "variants.toml"
    config.write_text('[one]\nsteps = 1\n[paper]\nlikelihood = "paper"\n')
    result = ddfm_run(
        *("bench", pairs, "--out", tmp_path / "out", "--subfolders", "near,far", *QUICK),
        *("--config", config, "--also", f"theirs={pairs / 'fused'}", "--limit", 1, "-q"),
    )
    assert (result.exit_code, result.output) == (0, "")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary) == ["one", "paper", "theirs"]
    theirs = summary["theirs"]["set"]
    assert (theirs["pairs"], theirs["seconds_per_pair"]) == (1, None)
    expected = evaluate(*(pairs / folder / "one.png" for folder in ("fused", "near", "far")))
    assert theirs["metrics"] == pytest.approx(expected)


def test_a_result_is_not_measured_for_two_sets(pairs, tmp_path):
    """Of results in one folder, nothing tells to which of two sets with equal names they belong."""
    other = shutil.copytree(pairs, tmp_path / "other")
    results = shutil.copytree(pairs / "fused", tmp_path / "results")
    run = ["--out", tmp_path / "out", "--subfolders", "near,far", *QUICK, "-q"]
    also = ["--also", f"theirs={results}"]
    refused(
        ddfm_run("bench", pairs, other, *run, *also),
        f"{results}/one.png may be a result of set or of other, which both have a pair one; put "
        f"the results of each set into a folder of its own, such as {results}/set",
    )
    assert not (tmp_path / "out").exists()
    for name in ("set", "other"):
        shutil.copytree(pairs / "fused", results / name)
    assert ddfm_run("bench", pairs, other, *run, *also).exit_code == 0


def test_two_results_of_one_name_are_not_chosen_from(pairs, tmp_path):
    shutil.copy(pairs / "near" / "one.png", pairs / "fused" / "one.bmp")
    result = ddfm_run(
        *("bench", pairs, "--out", tmp_path / "out", "--subfolders", "near,far", *QUICK, "-q"),
        *("--also", f"theirs={pairs / 'fused'}"),
    )
    assert result.exit_code == 1
    assert "fused holds several results named one: one.bmp, one.png; leave one" in result.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["theirs"]["set"]["pairs"] == 1


def test_published_ssim_stands_in_the_column_of_its_data_range():
    dataset = Dataset("TNO", "ir-visible", ("ir", "vi"), [], {})
    for ssim_range, own in ((2.0, 0.95), (255.0, None)):
        result = Bench([dataset], [], ssim_range, ())
        name, values = means(result, dataset, {}).quoted[0]
        assert name.startswith("DDFM") and values["EN"] == 7.06
        assert (values.get("SSIM"), values["SSIM_data_range_2"]) == (own, 0.95)


def psnrs(entry: dict, what: str) -> list[float]:
    """PSNR where the degradation was estimated, and where it was specified."""
    return [entry["degraded"][what][way]["PSNR"] for way in ("", "told")]


def test_noise_is_the_same_in_every_run(pairs, tmp_path):
    for out in ("first", "second"):
        ddfm_run(
            *("bench", pairs, "--out", tmp_path / out, "--subfolders", "near,far", *QUICK),
            *("--degrade", "noise=15", "--degrade", "noise=25", "--ssim-range", 255),
        )
    first, second = (
        json.loads((tmp_path / out / "summary.json").read_text())["default"]["set"]
        for out in ("first", "second")
    )
    several = [{k: psnrs(one, k) for k in ("noise=15", "noise=25")} for one in (first, second)]
    assert several[0] == several[1]
    assert several[0]["noise=15"] > several[0]["noise=25"]
    assert first["metrics"]["SSIM"] == first["metrics"]["SSIM_data_range_255"]


@pytest.mark.parametrize("text", ["[one]\nstep = 1\n", "steps = 1\n", "[one\n"])
def test_a_bad_configuration_is_refused_in_one_line(pairs, tmp_path, text):
    (tmp_path / "c.toml").write_text(text)
    arguments = ("--subfolders", "near,far", "--config", tmp_path / "c.toml")
    result = ddfm_run("bench", pairs, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
