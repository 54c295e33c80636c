"""What was detected and corrected in the sources of films and volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from command_line import QUICK, ddfm_run
from ddfm.imaging.picture import from_array
from ddfm.pipeline.films import fuse_sequence
from ddfm.pipeline.found import found_in_picture, found_in_volume
from ddfm.pipeline.records import read_record
from ddfm.pipeline.volumes import fuse_volumes
from ddfm.volumes.volume import Volume
from film_files import write_film
from places import EXAMPLES

ALONE = {"temporal_denoising": False, "progress": False}  # so that the noise is that of a frame
SIGMA = 12.0
LINE = "removed in {0} of {0} {1} (median; --noise-{2} 0 keeps it)"


def planes(seed: int, count: int, sigma: float) -> list[np.ndarray]:
    """Views of a smooth scene that passes by, with white noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :128]
    clean = [127 + 40 * np.sin((x + 9 * k) / 13 + seed) + 40 * np.cos(y / 11) for k in range(count)]
    return [
        np.clip(one + rng.normal(0, sigma, one.shape), 0, 255).astype(np.uint8) for one in clean
    ]


@pytest.fixture
def folders(tmp_path) -> list[Path]:
    found = []
    for name, sigma in (("a", 0.0), ("b", SIGMA)):
        folder = tmp_path / name
        folder.mkdir()
        for k, plane in enumerate(planes(ord(name), 4, sigma)):
            Image.fromarray(plane).save(folder / f"{k}.png")
        found.append(folder)
    return found


def check(observed, count: int, unit: str, sigma: float = SIGMA) -> None:
    """The first source is clean, the second has noise."""
    first, second = observed
    assert first == {} and second["noise"] == pytest.approx(sigma, rel=0.15)
    assert second["in"] == {"noise": count} and (second["of"], second["unit"]) == (count, unit)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_film_tells_what_was_corrected(tmp_path, fuser, suffix):
    pytest.importorskip("av")
    films = [
        write_film(tmp_path / f"{name}.mkv", planes(ord(name), 4, sigma), rate=8)
        for name, sigma in (("a", 0.0), ("b", SIGMA))
    ]
    out = tmp_path / f"out{suffix}"
    summary = fuse_sequence(*films, out, fuser, **ALONE)
    check(summary.observed, 4, "frames")
    assert read_record(out).observed == summary.observed
    assert not list(tmp_path.glob(".*"))
    again = tmp_path / f"again{suffix}"
    said = ddfm_run("film", *films, "-o", again, *QUICK, "--no-temporal-denoising")
    (line,) = said.stderr.splitlines()
    assert line.startswith(f"{films[1]}: noise of 1") and line.endswith(
        LINE.format(4, "frames", "b")
    )
    assert again.read_bytes() == out.read_bytes()
    assert f"  corrected  b: {line.split(': ')[1]}" in ddfm_run("info", out).stdout
    for k, options in enumerate([("--noise-b", 0), ("--as-is",)]):
        kept = tmp_path / f"kept-{k}{suffix}"
        said = ddfm_run("film", *films, "-o", kept, *QUICK, *options)
        assert (said.exit_code, said.output) == (0, "")
        assert not read_record(kept).observed


def test_a_continued_folder_of_frames_tells_it_of_all_frames(tmp_path, fuser, folders):
    out = tmp_path / "out"
    before = fuse_sequence(*folders, out, fuser, **ALONE).observed
    check(before, 4, "frames")
    (out / "3.png").unlink()
    summary = fuse_sequence(*folders, out, fuser, **ALONE)
    assert [outcome.status for outcome in summary.outcomes] == ["skipped"] * 3 + ["fused"]
    assert list(summary.observed) == list(before) == list(read_record(out).observed)
    assert [name for name, _ in read_record(out).sources] == ["0.png to 3.png"] * 2


def volumes(color: bool) -> tuple[Volume, Volume]:
    """Clean and noisy; in colour, the clean one is an activity, which is fused first."""
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    clean, noisy = (np.stack(planes(seed, 4, s), -1) for seed, s in ((1, 0.0), (2, SIGMA)))
    if color:
        clean = np.repeat(clean[..., None], 3, -1)
        clean[..., 2] //= 2
        return Volume((clean / 255).astype(np.float32), affine), Volume(noisy, affine)
    return Volume(clean, affine), Volume(noisy, affine)


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_volumes_tell_it_in_the_order_of_the_caller(tmp_path, fuser, color, turned):
    step = -1 if turned else 1
    pair, how = volumes(color)[::step], {"axis": 2, "percentiles": (0, 100), "progress": False}
    first = fuse_volumes(*pair, fuser, keep=tmp_path / "kept", **how)
    # The scale from black to white is that of the volume, which does not use all 255 levels.
    sigma = SIGMA * 255 / float(np.ptp(volumes(color)[1].values))
    check(first.record.observed[::step], 4, "slices", sigma)
    in_order = [first.record.observed[k] for k in first.settings["order"]]
    assert first.settings["observed"] == in_order
    again = fuse_volumes(*pair, fuser, keep=tmp_path / "kept", **how)
    assert again.record.observed == first.record.observed
    given = [{}, {"noise": 0}][::step]
    kept = fuse_volumes(*pair, fuser.with_config(observations=given), **how)
    assert not kept.record.observed and "observed" not in kept.settings
    assert kept.record.settings["observations"] == given


def test_the_command_tells_it_of_volumes(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    paths = [tmp_path / "a.nii", tmp_path / "b.nii"]
    for path, volume in zip(paths, volumes(color=False), strict=True):
        nibabel.save(nibabel.Nifti1Image(volume.values, volume.affine), path)
    out = tmp_path / "out.nii"
    said = ddfm_run("volume", *paths, "-o", out, *QUICK)
    *_, line = said.stderr.splitlines()
    assert line.startswith(f"{paths[1]}: noise of 1") and line.endswith(
        LINE.format(4, "slices", "b")
    )
    assert f"  corrected  b: {line.split(': ')[1]}" in ddfm_run("info", out).stdout
    kept = ddfm_run("volume", *paths, "-o", tmp_path / "kept.nii", *QUICK, "--noise-b", 0)
    assert (
        "noise" not in kept.stderr
        and "corrected" not in ddfm_run("info", tmp_path / "kept.nii").stdout
    )
    again = tmp_path / "again.nii"
    ddfm_run("volume", "--like", tmp_path / "kept.nii", *paths, "-o", again, "--device", "cpu")
    assert again.read_bytes() == (tmp_path / "kept.nii").read_bytes()


def test_blur_is_found_in_a_picture_and_not_in_a_slice():
    """Medical images are smoother than their pixels, so a fusion of volumes leaves them so."""
    sharp = np.asarray(Image.open(EXAMPLES / "olinda_infrared.png").convert("L"), np.float32)
    noise = np.random.default_rng(0).standard_normal(sharp.shape)
    plane = np.rint(np.clip(gaussian_filter(sharp, 2.5) + noise, 0, 255))
    assert found_in_picture(from_array(plane.astype(np.uint8)))["blur"] == pytest.approx(
        2.5, abs=0.3
    )
    assert "blur" not in found_in_volume(Volume(np.stack([plane / 255] * 2, -1), np.eye(4)))
