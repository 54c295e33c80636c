"""Attribution of volumes and of films; both may be cancelled."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

import ddfm
from command_line import FAST, ddfm_run, refused
from ddfm.pipeline.films import fuse_sequence
from ddfm.pipeline.slices import kept_slices
from ddfm.pipeline.volumes import fuse_volumes
from ddfm.trust.drawing import drawn_uncertainty, top_for
from ddfm.video.files import VideoReader

nibabel = pytest.importorskip("nibabel")
pytest.importorskip("av")
AFFINE = np.diag([1.0, 1.0, 4.0, 1.0])


@pytest.fixture(scope="module")
def fuser() -> ddfm.Fuser:
    return ddfm.Fuser("gaussian", device="cpu", task="medical")


def volume(seed: int) -> np.ndarray:
    waves = gaussian_filter(np.random.default_rng(seed).normal(size=(32, 28, 4)), (3, 3, 0))
    return (500 + 3000 * waves).clip(1, None).astype(np.float32)


@pytest.fixture
def frames(tmp_path):
    for name, seed in (("ir", 0), ("vis", 1)):
        for k in range(3):
            plane = volume(seed)[..., k]
            pixels = np.rint(255 * plane / plane.max()).astype(np.uint8)
            path = tmp_path / name / f"{k}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / "ir", tmp_path / "vis"


def test_shares_of_a_volume_lie_on_its_grid_and_sum_to_one(fuser, tmp_path):
    a, b = volume(0), volume(1)
    a[..., 0] = b[..., 0] = 0
    fusion = fuse_volumes((a, AFFINE), (b, AFFINE), fuser, attribution=True)
    path = tmp_path / "shares.nii.gz"
    fusion.attribution.save(path)
    image = nibabel.load(path)
    np.testing.assert_allclose(image.affine, AFFINE)
    names = image.header.extensions[0].get_content()
    names = (names.decode() if isinstance(names, bytes) else names).rstrip("\0").split("\n")
    kinds = [f"{kind} of {name}" for kind in ("levels", "gradients") for name in
             ("a", "b", "the prior")]  # fmt: skip
    assert names == [*kinds, "unsupported"]
    shares = image.get_fdata()
    assert shares.shape == (32, 28, 4, 7) and not shares[..., 0, :].any()
    for kind in (slice(0, 3), slice(3, 6)):
        np.testing.assert_allclose(shares[:, :, 1:, kind].sum(-1), 1, atol=1e-5)
    assert np.array_equal(fuse_volumes((a, AFFINE), (b, AFFINE), fuser).values, fusion.values)


def test_shares_are_in_the_order_of_the_sources(fuser):
    """A source in colours is fused first, whatever its place."""
    even, fine = np.full_like(volume(0), 350), volume(1)
    even[0], even[-1] = 1, 700  # white to the full, it would be bone, whose texture is its own
    for colormap in ("none", "hot"):
        made = fuse_volumes(
            (even, AFFINE), (fine, AFFINE), fuser, colormap_b=colormap, attribution=True
        )
        of = dict(zip(made.attribution.names, np.moveaxis(made.attribution.values, -1, 0),
                      strict=True))  # fmt: skip
        assert of["gradients of b"][4:-4].mean() > 0.9


def test_shares_are_kept_with_their_slices(fuser, tmp_path, monkeypatch):
    sources = [(volume(k), AFFINE) for k in (0, 1)]
    whole = fuse_volumes(*sources, fuser, samples=2, attribution=True)
    seen = []
    how = {"samples": 2, "attribution": True}
    with kept_slices(tmp_path / "out.nii") as folder:
        with pytest.raises(ddfm.Cancelled):
            fuse_volumes(
                *sources, fuser, **how, keep=folder,
                callback=lambda outcome: seen.append(outcome.status) or len(seen) < 2,
            )  # fmt: skip
        resumed = fuse_volumes(
            *sources, fuser, **how, keep=folder, callback=lambda o: seen.append(o.status)
        )
    assert seen[:2] == ["fused"] * 2 and "skipped" in seen[2:] and len(seen) == 2 + 4
    assert np.array_equal(resumed.attribution.values, whole.attribution.values)
    assert np.array_equal(resumed.uncertainty.values, whole.uncertainty.values)


def test_windows_of_a_third_volume_are_applied_and_printed_in_order(tmp_path):
    paths = [tmp_path / f"{name}.nii" for name in "abc"]
    for seed, path in enumerate(paths):
        nibabel.save(nibabel.Nifti1Image(volume(seed), AFFINE), path)
    line = ["volume", *paths, "-o", tmp_path / "o.nii", "--prior", "gaussian", "--device", "cpu"]
    line += ["--colormap-b", "hot"]
    printed = ddfm_run(*line, "--window-c", "500/900").stderr.splitlines()
    assert [text.partition(":")[0] for text in printed] == list(map(str, paths))
    assert printed[2].endswith("black is 50, white 950 (window 500/900)")
    refused(ddfm_run(*line, "--window-c", "1/2", "--window-c", "1/2"), "(--window-c)")


def test_a_film_has_films_of_its_attribution_and_uncertainty(tmp_path, frames):
    out, shares, std = (tmp_path / f"{name}.mkv" for name in ("out", "shares", "std"))
    line = ["film", *frames, "-o", out, *FAST, "-q", "--attribution", shares]
    assert ddfm_run(*line, "--uncertainty", std, "--samples", 2).exit_code == 0
    for path in (shares, std):
        pictures = list(VideoReader(path))
        assert len(pictures) == 3 and all(picture.is_color for picture in pictures)
    refused(ddfm_run(*line[:4], tmp_path / "o", *line[5:]), "maps of films are only for videos")
    refused(ddfm_run(*line[:-1], tmp_path / "m.png"), "suffix of a film")
    assert not (tmp_path / "o").exists()


def test_a_film_may_be_cancelled(tmp_path, frames):
    fuser, out = ddfm.Fuser("gaussian", steps=2, device="cpu"), tmp_path / "out"
    with pytest.raises(ddfm.Cancelled):
        fuse_sequence(*frames, out, fuser, callback=lambda outcome: False)
    done = fuse_sequence(*frames, out, fuser)
    assert len(done.of("skipped")) >= 1 and len(done.outcomes) == 3
    with pytest.raises(ddfm.Cancelled):
        fuse_sequence(*frames, tmp_path / "o.mkv", fuser, callback=lambda outcome: False)
    assert not (tmp_path / "o.mkv").exists()


def test_all_frames_can_have_the_same_scale():
    std = np.full((60, 80), 1.7)
    assert top_for(std) == 2
    assert np.asarray(drawn_uncertainty(std, 50))[40, 40].sum() < (
        np.asarray(drawn_uncertainty(std))[40, 40].sum()
    )
