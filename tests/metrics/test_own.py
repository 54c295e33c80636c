"""Metrics of the caller's own: functions, and those that other packages bring."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import ddfm_run, refused
from ddfm.errors import InputError
from ddfm.metrics import evaluate
from packages import THEIRS, install

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 48, 56), np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.png" for name in ("fused", "a", "b")]
    for path, image in zip(paths, IMAGES, strict=True):
        Image.fromarray(image).save(path)
    return paths


def distance(fused, *sources):
    return sum(np.abs(fused - source).mean() for source in sources)


def test_a_function_is_given_grey_levels_and_may_write_into_them():
    def greedy(fused, *sources):
        assert fused.dtype == np.float64
        fused[:] = 0
        return len(sources)

    fused, a, b = IMAGES
    values = evaluate(fused, a, b, metrics=[greedy, distance, "en"])
    assert list(values) == ["greedy", "distance", "EN"]
    assert values["greedy"] == 2.0
    apart = np.abs(fused.astype(float) - a).mean() + np.abs(fused.astype(float) - b).mean()
    assert values["distance"] == pytest.approx(apart, rel=1e-12)
    assert values["EN"] == evaluate(*IMAGES, metrics=["EN"])["EN"]


def named(name, function):
    function.__name__ = name
    return function


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ([lambda fused, *sources: 0.0], "needs a name of letters"),
        ([named("a/b", lambda fused, *sources: 0.0)], "needs a name of letters"),
        ([named("ssim", lambda fused, *sources: 0.0)], "the metric ssim has the name of one of"),
        ([distance, named("distance", lambda fused, *sources: 0.0)], "two metrics have the name"),
        ([named("none", lambda fused, *sources: None)], "none must return a number, not None"),
        ([named("map", lambda fused, *sources: fused)], "map must return a number, not array"),
        ([named("one", lambda fused: 0.0)], "the metric one failed: TypeError: .*1 positional"),
        ([3], "the metric 3 is no function of"),
        (["ENN"], "unknown metric 'ENN'; did you mean EN"),
    ],
)
def test_mistakes_end_in_one_line(metrics, message):
    with pytest.raises(InputError, match=message):
        evaluate(*IMAGES, metrics=metrics)


def test_a_metric_of_a_package_has_a_name_on_the_command_line(tmp_path, files, monkeypatch):
    install(monkeypatch, tmp_path / "site")
    printed = ddfm_run("metrics", *files, "--metrics", "Qabf,their-distance", "--markdown")
    assert "| pair | Qabf ↑ | their-distance ↓ |" in printed.output
    value = ddfm_run("metrics", *files, "--metrics", "their-distance").output.split()[1]
    assert float(value) == pytest.approx(distance(*IMAGES.astype(float)), rel=1e-5)
    assert evaluate(*files, metrics=["their-distance"]).keys() == {"their-distance"}


def test_metrics_of_packages_are_imported_only_by_their_names(tmp_path, files, monkeypatch):
    install(monkeypatch, tmp_path / "site", "raise RuntimeError('no licence')")
    assert "their-distance" not in evaluate(*files)
    assert THEIRS not in sys.modules
    result = ddfm_run("metrics", *files, "--metrics", "their-distance")
    refused(result, "the metric their-distance", "cannot be imported: no licence")


def test_folders_have_columns_of_their_own(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path / "site")
    for name, image in zip(("fused", "a", "b"), IMAGES, strict=True):
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / "one.png")
    folders = [tmp_path / name for name in ("fused", "a", "b")]
    printed = ddfm_run("metrics", *folders, "--metrics", "their-distance", "--latex")
    assert r"their-distance~$\downarrow$" in printed.output
