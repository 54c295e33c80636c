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


@pytest.fixture
def volumes(tmp_path) -> tuple[Path, Path]:
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(0)
    for name, affine in (("mri", np.diag([1.0, 1, 4, 1])), ("ct", np.diag([2.0, 2, 2, 1]))):
        values = rng.integers(-1000 if name == "ct" else 0, 2000, (8, 9, 5)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / f"{name}.nii.gz")
    return tmp_path / "mri.nii.gz", tmp_path / "ct.nii.gz"


def test_volumes(tmp_path, volumes):
    import nibabel

    out, look = tmp_path / "fused.nii.gz", tmp_path / "look.png"
    result = ddfm_run("volume", *volumes, "-o", out, *FAST, "--montage", look, "-q")
    assert (result.exit_code, result.output) == (0, "")
    image = nibabel.load(out)
    assert image.shape == (8, 9, 5) and np.asarray(image.dataobj).max() > 1000
    np.testing.assert_allclose(image.affine, np.diag([1, 1, 4, 1]))
    assert Image.open(look).size[0] == 5 * (8 + 2)


def test_options_of_volumes(tmp_path, volumes):
    def values(*options):
        out = tmp_path / "x.nrrd"
        result = ddfm_run("volume", *volumes, "-o", out, *FAST, *options)
        assert result.exit_code == 0, result.stderr
        return nrrd.read(str(out))[0]

    nrrd = pytest.importorskip("nrrd")
    plain = values()
    assert (values("--task", "medical") == plain).all()
    for options in (
        ("--window-b", "bone"),
        ("--window-a", "900/100"),
        ("--percentiles", "20", "60"),
        ("--axis", "coronal"),
        ("--seed", "1"),
    ):
        assert (values(*options) != plain).any(), options
    assert values("--colormap-b", "ice").shape == (3, 8, 9, 5)


def test_volumes_in_and_out_of_dicom(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from dicom_files import dicom_series

    exam = tmp_path / "exam"
    planes = np.random.default_rng(0).integers(0, 900, (3, 6, 7), np.int16)
    for number in (3, 7):
        dicom_series(exam / str(number), planes, SeriesNumber=number, PatientName="Doe^Jane")
    refused(ddfm_run("volume", exam, exam, "-o", tmp_path / "out", *FAST), "--series-a")
    for name, options in (("one", []), ("two", ["--keep-identity"])):
        series = ["--series-a", 3, "--series-b", 7, *options]
        result = ddfm_run("volume", exam, exam, "-o", tmp_path / name, *FAST, *series)
        assert result.exit_code == 0, result.stderr
    names = [pydicom.dcmread(tmp_path / n / "0002.dcm").PatientName for n in ("one", "two")]
    assert names == ["Anonymous", "Doe^Jane"]


def test_volumes_that_will_not_do(tmp_path, volumes):
    mri, ct = volumes
    run = ["volume", *volumes, *FAST, "-o"]
    (tmp_path / "x.png").write_bytes(b"x")
    refused(ddfm_run(*run, tmp_path / "x.png"), "unknown output suffix '.png'")
    refused(ddfm_run(*run, tmp_path / "no" / "x.nii"), "there is no folder")
    refused(ddfm_run(*run, tmp_path / "x.nii", "--window-b", "bon"), "did you mean bone")
    refused(ddfm_run(*run, tmp_path / "x.nii", "--colormap-b", "hott"), "did you mean hot")
    refused(ddfm_run(*run, tmp_path / "x.nii", "--axis", "3"), "unknown axis '3'")
    refused(ddfm_run("volume", mri, tmp_path / "x.png", "-o", tmp_path / "x.nii"), "not a DICOM")
    refused(ddfm_run("volume", mri, tmp_path / "none", "-o", tmp_path / "x.nii"), "no such file")
