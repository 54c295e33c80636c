"""The commands for many images at once: folders, volumes, sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ddfm.cli import main

FAST = ["--prior", "gaussian", "--likelihood", "paper", "--steps", "2", "--device", "cpu"]


def ddfm_run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    """One clear line on standard error, nothing on standard output, exit code 2."""
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert result.stderr.startswith("ddfm: error: ")
    for word in words:
        assert word in result.stderr


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    for word in ("ir", "vis"):
        (tmp_path / word).mkdir()
        for name in "xy":
            image = Image.fromarray(rng.integers(0, 256, (12, 10), np.uint8))
            image.save(tmp_path / word / f"{name}_{word}.png")
    return tmp_path / "ir", tmp_path / "vis"


def test_folders(tmp_path, folders):
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 0 and "2 fused in" in result.stderr and result.stdout == ""
    assert Image.open(tmp_path / "out" / "x.png").size == (10, 12)
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 0 and "2 skipped in" in result.stderr
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", *FAST, "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_a_dry_run_prints_the_pairs_and_writes_nothing(tmp_path, folders):
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0 and result.stdout.splitlines()[-1] == "2 pairs"
    assert f"x: {folders[0] / 'x_ir.png'} + {folders[1] / 'x_vis.png'}" in result.stdout
    assert not (tmp_path / "out").exists()


def test_exit_code_1_says_that_some_pairs_failed(tmp_path, folders):
    (folders[0] / "x_ir.png").write_bytes(b"no picture")
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", *FAST, "--quiet")
    assert result.exit_code == 1 and result.stdout == ""
    assert "x_ir.png is not an image" in result.stderr and "1 fused, 1 failed" in result.stderr


def test_formats_and_patterns_of_folders(tmp_path, folders):
    pattern = "{}_ir.png:{}_vis.png"
    out = tmp_path / "out"
    result = ddfm_run("fuse", *folders, "-o", out, *FAST, "--pattern", pattern, "--format", "tif")
    assert result.exit_code == 0 and (out / "y.tif").exists()
    refused(ddfm_run("fuse", *folders, "-o", out, *FAST, "--pattern", "x"), "one {} in each")


def test_options_of_folders_are_not_for_files(tmp_path, folders):
    a, b = folders[0] / "x_ir.png", folders[1] / "x_vis.png"
    out = tmp_path / "out"
    refused(ddfm_run("fuse", a, b, "-o", out / "x.png", "--dry-run"), "are for two folders")
    refused(ddfm_run("fuse", *folders, "-o", out, "--save-steps", out), "not for folders")
    refused(ddfm_run("fuse", folders[0], b, "-o", tmp_path / "x.png"), "is a folder, not an image")
