"""`ddfm metrics`: of an image, of folders, and as tables."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import ddfm_run, refused
from ddfm.metrics import evaluate
from image_files import folders_of_noise


@pytest.fixture
def pairs(tmp_path) -> Path:
    words = ("near", "far", "fused")
    folders_of_noise(tmp_path / "set", ("one", "two"), (44, 42), words, seed=1)
    return tmp_path / "set"


def test_metrics_of_an_image(pairs):
    files = [pairs / folder / "one.png" for folder in ("fused", "near", "far")]
    result = ddfm_run("metrics", *files, "--json")
    assert json.loads(result.stdout) == evaluate(*files)
    assert "Qabf" in ddfm_run("metrics", *files).stdout


def test_metrics_of_folders(pairs):
    folders = [pairs / folder for folder in ("fused", "near", "far")]
    both = [evaluate(*(f / f"{name}.png" for f in folders))["VIF"] for name in ("one", "two")]
    result = ddfm_run("metrics", *folders, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["mean"]["VIF"] == pytest.approx(np.mean(both))
    (folders[1] / "alone.png").touch()
    result = ddfm_run("metrics", *folders, "--json")
    assert result.exit_code == 0 and "unpaired: " in result.stderr and "alone" in result.stderr
    (folders[0] / "two.png").unlink()
    result = ddfm_run("metrics", *folders, "--json")
    assert result.exit_code == 1 and "two" in result.stderr
    assert json.loads(result.stdout)["mean"]["VIF"] == pytest.approx(both[0])


def test_two_results_of_one_name_are_not_chosen_from(pairs):
    """A result is found however Unicode composes its name, but never chosen from several."""
    folders = [pairs / folder for folder in ("fused", "near", "far")]
    for folder, name in zip(folders, ("Zu\u0308rich", "Z\u00fcrich", "Z\u00fcrich"), strict=True):
        (folder / "one.png").rename(folder / f"{name}.png")
    result = ddfm_run("metrics", *folders, "--json")
    assert result.exit_code == 0
    assert list(json.loads(result.stdout)["pairs"]) == ["Z\u00fcrich", "two"]
    Image.new("L", (42, 44)).save(folders[0] / "two.bmp")
    result = ddfm_run("metrics", *folders, "--json")
    assert result.exit_code == 1 and list(json.loads(result.stdout)["pairs"]) == ["Z\u00fcrich"]
    assert "fused holds several results named two: two.bmp, two.png; leave one" in result.stderr


def test_metrics_of_one_folder_by_a_pattern(pairs):
    folders = [pairs / folder for folder in ("fused", "near", "far")]
    expected = ddfm_run("metrics", *folders, "--json").stdout
    for folder in folders[1:]:
        for file in list(folder.iterdir()):
            file.rename(pairs / f"{file.stem}-{folder.name}.png")
    sources = (folders[0], pairs, pairs)
    result = ddfm_run("metrics", *sources, "--json", "--pattern", "{}-near.png:{}-far.png")
    assert (result.exit_code, result.stdout) == (0, expected)
    result = ddfm_run("metrics", *sources)
    assert result.exit_code == 2 and "pattern" in result.stderr


def test_metrics_of_more_than_two_sources(pairs):
    files = [pairs / folder / "one.png" for folder in ("fused", "near", "far", "near")]
    result = ddfm_run("metrics", *files, "--json")
    assert json.loads(result.stdout) == evaluate(*files)
    folders = [file.parent for file in files]
    result = ddfm_run("metrics", *folders[:2])
    assert result.exit_code == 2 and "two folders" in result.stderr


def test_scd_needs_two_sources(pairs):
    files = [pairs / folder / "one.png" for folder in ("fused", "near", "far", "near")]
    result = ddfm_run("metrics", *files, "--metrics", "SCD,EN")
    assert result.exit_code == 2 and "two sources" in result.stderr


def test_small_images_have_the_metrics_that_allow_them(tmp_path):
    Image.fromarray(np.arange(768, dtype=np.uint8).reshape(24, 32)).save(tmp_path / "small.png")
    files = [tmp_path / "small.png"] * 3
    result = ddfm_run("metrics", *files)
    assert result.exit_code == 2 and "VIF" in result.stderr and "--metrics" in result.stderr
    result = ddfm_run("metrics", *files, "--metrics", "EN, qabf", "--json")
    assert json.loads(result.stdout) == evaluate(*files, metrics=["EN", "Qabf"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metrics", "EN,VIFF"), "unknown metric 'VIFF'; did you mean VIF"),
        (("--metrics", ""), "an argument is empty"),
        (("--pattern", "{}.png"), "cannot read the pattern"),
    ],
)
def test_bad_options_of_metrics_are_refused_in_one_line(pairs, arguments, message):
    folders = [pairs / folder for folder in ("fused", "near", "far")]
    result = ddfm_run("metrics", *folders, *arguments)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert message in result.stderr and "one:" not in result.stderr


def test_metrics_without_a_source_are_refused(pairs):
    files = [pairs / folder / "one.png" for folder in ("fused", "near")]
    for some, message in ((files, "two sources"), (files[:1], "A B...")):
        result = ddfm_run("metrics", *some)
        assert result.exit_code == 2 and message in result.stderr


# --- tables ---------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    words = ("fused", "ir", "vis")
    return list(map(str, folders_of_noise(tmp_path, ("one", "=two"), (48, 50), words)))


def test_metrics_of_folders_are_written_in_every_format(folders):
    chosen = ["--metrics", "EN,PSNR,targets_kept"]
    values = json.loads(ddfm_run("metrics", *folders, *chosen, "--json").stdout)
    table = ddfm_run("metrics", *folders, *chosen, "--csv").stdout
    lines = list(csv.DictReader(io.StringIO(table)))
    assert table.splitlines()[0] == "pair,EN,PSNR,targets,targets_kept"
    assert {line["pair"] for line in lines} == {"one", "'=two"}
    for line in lines:
        assert float(line["EN"]) == values["pairs"][line["pair"].lstrip("'")]["EN"]
    markdown = ddfm_run("metrics", *folders, *chosen, "--markdown").stdout
    assert f"| mean | {values['mean']['EN']:.3f} |" in markdown and "EN ↑" in markdown
    assert r"\begin{tabular}{lrrrr}" in ddfm_run("metrics", *folders, *chosen, "--latex").stdout
    one = [f"{folder}/one.png" for folder in folders]
    assert "mean" not in ddfm_run("metrics", *one, *chosen, "--latex").stdout
    refused(
        ddfm_run("metrics", *one, *chosen, "--csv", "--json"), "--csv", "--json", "use only one"
    )


def test_a_format_on_the_command_line_overrides_the_default(folders, monkeypatch):
    monkeypatch.setenv("DDFM_METRICS_CSV", "1")
    one = [f"{folder}/one.png" for folder in folders]
    assert ddfm_run("metrics", *one, "--metrics", "EN").stdout.startswith("pair,EN")
    assert "EN" in json.loads(ddfm_run("metrics", *one, "--metrics", "EN", "--json").stdout)


def test_a_table_has_the_metrics_of_papers_by_default(folders):
    fused, a, b = (f"{folder}/one.png" for folder in folders)
    how = "--markdown", "--task", "ir-visible"
    usual = ["pair", "EN ↑", "SD ↑", "MI ↑", "VIF ↑", "Qabf ↑", "SSIM ↑"]
    for sources, more in (((a, b), 6), ((a, b, b), 0)):  # targets are of two sources
        table = ddfm_run("metrics", fused, *sources, *how).stdout
        head = next(line for line in table.splitlines() if line.startswith("|"))
        cells = [cell.strip() for cell in head.strip("|").split("|")]
        assert cells[:7] == usual and len(cells) == 7 + more
