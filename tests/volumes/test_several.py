"""Files that hold several volumes: a series in time, directions, echoes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from command_line import FAST, ddfm_run, refused
from ddfm.errors import DdfmError
from ddfm.volumes.files import read_volume

nibabel = pytest.importorskip("nibabel")


@pytest.fixture
def several() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, (5, 6, 7, 4)).astype(np.int16)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_one_of_several_volumes_can_be_chosen(tmp_path, several, suffix):
    path = tmp_path / f"a{suffix}"
    kind = nibabel.MGHImage if suffix == ".mgz" else nibabel.Nifti1Image
    nibabel.save(kind(several, np.diag([1, 2, 3, 1.0])), path)
    for number in range(4):
        volume = read_volume(path, volume=number)
        np.testing.assert_array_equal(volume.values, several[..., number])
    with pytest.raises(DdfmError, match="holds 4 volumes; choose one by its number"):
        read_volume(path)
    with pytest.raises(DdfmError, match="holds 4 volumes, so there is no volume 4"):
        read_volume(path, volume=4)


def test_a_file_of_one_volume_needs_no_number(tmp_path, several):
    nibabel.save(nibabel.Nifti1Image(several[..., :1], np.eye(4)), tmp_path / "a.nii")
    for number in (None, 0):
        one = read_volume(tmp_path / "a.nii", volume=number)
        np.testing.assert_array_equal(one.values, several[..., 0])
    with pytest.raises(DdfmError, match="holds 1 volumes, so there is no volume 1"):
        read_volume(tmp_path / "a.nii", volume=1)


def test_a_vector_of_three_is_a_colour_only_if_of_bytes(tmp_path, several):
    bytes_of_three = (several[..., :3] // 4).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(bytes_of_three, np.eye(4)), tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").is_color
    one = read_volume(tmp_path / "a.nii", volume=2)
    np.testing.assert_array_equal(one.values, bytes_of_three[..., 2])
    nibabel.save(nibabel.Nifti1Image(several[..., :3], np.eye(4)), tmp_path / "b.nii")
    with pytest.raises(DdfmError, match="holds 3 volumes"):
        read_volume(tmp_path / "b.nii")


def test_an_analyze_pair_is_read(tmp_path, several):
    """Its header has only spacing; left and right are as in nibabel."""
    image = nibabel.AnalyzeImage(several[..., 0], np.diag([-2, 2, 3, 1.0]))
    nibabel.save(image, tmp_path / "a.img")
    for name in ("a.img", "a.hdr"):
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.values, several[..., 0])
        np.testing.assert_allclose(volume.spacing, (2, 2, 3))


def test_the_command_applies_the_number_to_files_with_several_volumes(tmp_path, several):
    nibabel.save(nibabel.Nifti1Image(several, np.eye(4)), tmp_path / "a.nii")
    nibabel.save(nibabel.Nifti1Image(several[..., 0], np.eye(4)), tmp_path / "b.nii")
    files = [str(tmp_path / name) for name in ("a.nii", "b.nii")]
    out = str(tmp_path / "out.nii")
    refused(ddfm_run("volume", *files, "-o", out), "choose one by its number")
    assert ddfm_run("volume", *files, "-o", out, "--volume", 1, *FAST).exit_code == 0
    assert nibabel.load(out).shape == (5, 6, 7)
    again = str(tmp_path / "again.nii")  # --like needs no number
    assert "volume numbers" in ddfm_run("info", out).output
    assert ddfm_run("volume", *files, "-o", again, "--like", out).exit_code == 0
    assert Path(again).read_bytes() == Path(out).read_bytes()
    other = [*files, "-o", again, "--like", out, "--volume", 2]
    assert ddfm_run("volume", *other).exit_code == 0
    assert Path(again).read_bytes() != Path(out).read_bytes()
    alone = ddfm_run("volume", files[1], files[1], "-o", out, "--volume", 1)
    refused(alone, "--volume is for files that hold several volumes")
