"""Records of volumes and films, and fusions repeated from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import FAST, ddfm_run, refused
from ddfm import read_record
from ddfm.storage.checksum import sha256_of, sha256_of_all
from dicom_files import dicom_series

nibabel = pytest.importorskip("nibabel")
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
MANY = ["--prior", "gaussian", "--device", "cpu"]  # for three sources, too


@pytest.fixture
def volumes(tmp_path) -> list[Path]:
    paths = [tmp_path / f"{name}.nii.gz" for name in ("Doe_Jane_mri", "ct", "pet")]
    for seed, path in enumerate(paths):
        values = np.random.default_rng(seed).integers(1, 900, (20, 18, 3), np.int16)
        nibabel.save(nibabel.Nifti1Image(values, AFFINE), path)
    return paths


@pytest.fixture
def films(tmp_path) -> list[Path]:
    pytest.importorskip("av")
    from film_files import write_film

    paths = [tmp_path / f"{name}.mkv" for name in ("ir", "vis")]
    for seed, path in enumerate(paths):
        rng = np.random.default_rng(seed)
        write_film(path, [rng.integers(0, 256, (24, 30), np.uint8) for _ in range(2)], rate=9)
    return paths


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
def test_a_volume_is_reproduced_from_its_record(tmp_path, volumes, suffix):
    first, again = tmp_path / f"first{suffix}", tmp_path / f"again{suffix}"
    options = ["--seed", 7, "--window-b", "300/500", "--axis", "coronal", "--window-c", "400,600"]
    assert ddfm_run("volume", *volumes, "-o", first, *MANY, *options, "-q").exit_code == 0
    done = ddfm_run("volume", "--like", first, *volumes, "-o", again, "--device", "cpu")
    assert (done.exit_code, "is not" in done.stderr) == (0, False), done.stderr
    assert first.read_bytes() == again.read_bytes()
    record = read_record(first)
    assert record.settings["seed"] == 7 and record.opening["volume"]["axis"] == "coronal"
    names = [(name, sha256_of(path)) for name, path in zip("abc", volumes, strict=True)]
    assert list(record.sources) == names, "names of files may be those of patients"
    assert "Jane" not in record.text


def test_other_sources_for_the_record_of_a_volume_cause_a_warning(tmp_path, volumes):
    first = tmp_path / "first.nii"
    assert ddfm_run("volume", *volumes[:2], "-o", first, *FAST, "-q").exit_code == 0
    result = ddfm_run("volume", "--like", first, volumes[0], volumes[2], "-o", tmp_path / "o.nii")
    assert "b is not the b that first.nii was made of" in result.stderr
    refused(ddfm_run("fuse", "--like", first, first, first, "-o", "o.png"), "was made as a volume")


def test_a_dicom_series_has_a_record(tmp_path):
    pytest.importorskip("pydicom")
    sources = [tmp_path / name for name in ("mri", "pet")]
    for seed, folder in enumerate(sources):
        values = np.random.default_rng(seed).integers(1, 900, (3, 12, 14), np.uint16)
        dicom_series(folder, values, 2.0 * np.arange(3)[:, None] * [0, 0, 1])
    out = tmp_path / "out"
    assert ddfm_run("volume", *sources, "-o", out, *FAST, "-q").exit_code == 0
    record = json.loads(ddfm_run("info", out, "--json").stdout)
    files = sorted(sources[0].iterdir())
    assert record["sources"][0] == {"name": "a", "sha256": sha256_of_all(files)}
    assert sha256_of_all(files) == sha256_of_all(files[::-1]) != sha256_of(files[0])
    assert "made by ddfm" in ddfm_run("info", next(out.iterdir())).stdout
    again = tmp_path / "again"
    line = ("volume", "--like", out, *sources, "-o", again, "--device", "cpu", "-q")
    assert ddfm_run(*line).exit_code == 0
    written, files_again = (sorted(folder.glob("*.dcm")) for folder in (out, again))
    assert [f.read_bytes() for f in files_again] == [f.read_bytes() for f in written] != []
    assert "holds no record" in ddfm_run("info", sources[0]).stdout


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_film_is_reproduced_from_its_record(tmp_path, films, suffix):
    first, again = tmp_path / f"first.{suffix}", tmp_path / f"again.{suffix}"
    options = ["--seed", 7, "--rate", 5, "--no-temporal-denoising"]
    assert ddfm_run("film", *films, "-o", first, *FAST, *options, "-q").exit_code == 0
    done = ddfm_run("film", "--like", first, *films, "-o", again, "--device", "cpu")
    assert (done.exit_code, done.stderr) == (0, "")
    assert first.read_bytes() == again.read_bytes()
    record = read_record(first)
    assert list(record.sources) == [(path.name, sha256_of(path)) for path in films]
    assert record.opening == {"film": {"rate": 5.0, "temporal_denoising": False, "warm": False}}


def test_a_folder_of_frames_is_reproduced_from_its_manifest(tmp_path, films):
    first, again = tmp_path / "first", tmp_path / "again"
    options = [*FAST, "--seed", 7, "--no-temporal-denoising", "-q"]
    assert ddfm_run("film", *films, "-o", first, *options).exit_code == 0
    done = ddfm_run("film", "--like", first, *films, "-o", again, "--device", "cpu")
    assert (done.exit_code, done.stderr) == (0, "")
    frames = sorted(path.name for path in first.glob("*.png"))
    assert len(frames) > 1
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in frames)
    assert read_record(first).sources == [(path.name, sha256_of(path)) for path in films]
    other = ddfm_run("film", "--like", first, films[0], films[0], "-o", tmp_path / "o")
    assert f"{films[0].name} is not the {films[1].name} that first was made of" in other.stderr


@pytest.mark.parametrize("sources", ["none", "5", "[1, 2]", '[{"name": "a.mp4"}]'])
def test_a_damaged_manifest_of_frames_is_refused(tmp_path, sources):
    settings = '{"ddfm": "0.11.0", "temporal_denoising": true, "warm": false}'
    beginning = "" if sources == "none" else f'"sources": {sources}, '
    line = f'{{"output": "a.png", {beginning}"settings": {settings}}}\n'
    (tmp_path / "ddfm-manifest.jsonl").write_text(line, encoding="utf-8")
    refused(ddfm_run("info", tmp_path), "its manifest is damaged")


def test_a_single_frame_cannot_be_reproduced(tmp_path, films):
    assert ddfm_run("film", *films, "-o", tmp_path / "f", *FAST, "-q").exit_code == 0
    frame = min((tmp_path / "f").glob("*.png"))
    for command, sources, out in (("fuse", (frame, frame), "o.png"), ("film", films, "o.mp4")):
        done = ddfm_run(command, "--like", frame, *sources, "-o", tmp_path / out)
        refused(done, "is a frame of a film", "ddfm film --like")


def test_stripped_results_have_no_record(tmp_path, volumes, films):
    for command, sources, out in (("volume", volumes, "o.nii"), ("film", films, "o.mp4")):
        made = ddfm_run(command, *sources[:2], "-o", tmp_path / out, *FAST, "-q", "--strip")
        assert made.exit_code == 0
        assert "settings" not in json.loads(ddfm_run("info", tmp_path / out, "--json").stdout)


def test_comments_of_others_are_not_taken_for_records(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), AFFINE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"ddfm record 1"))
    nibabel.save(image, tmp_path / "a.nii")
    assert read_record(tmp_path / "a.nii") is None
    image.header.extensions.append(
        nibabel.nifti1.Nifti1Extension("comment", b'{"format":"ddfm record 1","settings":1}')
    )
    nibabel.save(image, tmp_path / "b.nii")
    refused(ddfm_run("info", tmp_path / "b.nii"), "b.nii: its record is damaged")
