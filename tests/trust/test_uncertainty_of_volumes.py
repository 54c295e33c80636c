"""The uncertainty of a volume: slice by slice as alone, kept and resumed, on the same grid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from command_line import ddfm_run, refused
from ddfm import Fuser
from ddfm.pipeline.slices import kept_slices
from ddfm.pipeline.volumes import fuse_volumes
from ddfm.volumes.files import read_volume

nibabel = pytest.importorskip("nibabel")

AFFINE = np.diag([1.0, 1.0, 4.0, 1.0])


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser("gaussian", device="cpu", task="medical")


def volume(seed: int) -> np.ndarray:
    """Five slices with a little noise; the first is empty."""
    rng = np.random.default_rng(seed)
    values = 500 + 3000 * gaussian_filter(rng.normal(size=(40, 36, 5)), (4, 4, 0))
    values = (values + 5 * rng.normal(size=values.shape)).clip(1, None)
    values[..., 0] = 0
    return values.astype(np.float32)


def test_each_slice_has_the_same_uncertainty_as_alone(fuser):
    a, b = volume(0), volume(1)
    fusion = fuse_volumes((a, AFFINE), (b, AFFINE), fuser, samples=3)
    assert fusion.uncertainty is not None
    std = fusion.uncertainty.values
    assert std.shape == a.shape and std.dtype == np.float32
    assert not std[..., 0].any() and (std[..., 1:].mean(axis=(0, 1)) > 1e-4).all()
    np.testing.assert_allclose(fusion.uncertainty.affine, AFFINE)
    plain = fuse_volumes((a, AFFINE), (b, AFFINE), fuser)
    assert plain.uncertainty is None
    assert np.array_equal(plain.values, fusion.values)


def test_a_volume_has_no_share_where_it_does_not_reach(fuser):
    a, b = volume(0), volume(1)
    fusion = fuse_volumes((a, AFFINE), (b[:20], AFFINE), fuser, attribution=True)
    values, names = fusion.attribution.values, fusion.attribution.names
    for kind in ("levels", "gradients"):
        of_a, of_b = (values[..., names.index(f"{kind} of {source}")] for source in "ab")
        assert not of_b[20:].any() and of_b[:20, ..., 1:].mean() > 0.05
        assert of_a[20:, ..., 1:].mean() > 0.5


def test_an_interrupted_run_continues_with_its_uncertainty(fuser, tmp_path, monkeypatch):
    sources = [(volume(k), AFFINE) for k in (0, 1)]
    whole = fuse_volumes(*sources, fuser, samples=2)
    fused, once = [], Fuser.__call__

    def stops_at_the_third(self, *pair, **how):
        fused.append(pair)
        if len(fused) == 3:
            raise KeyboardInterrupt
        return once(self, *pair, **how)

    monkeypatch.setattr(Fuser, "__call__", stops_at_the_third)
    with kept_slices(tmp_path / "out.nii") as folder:
        with pytest.raises(KeyboardInterrupt):
            fuse_volumes(*sources, fuser, samples=2, keep=folder)
        resumed = fuse_volumes(*sources, fuser, samples=2, keep=folder)
    assert len(fused) == 3 + 2, "of 4 slices that are not black, 2 were there"
    assert np.array_equal(resumed.uncertainty.values, whole.uncertainty.values)
    assert np.array_equal(resumed.values, whole.values)


def test_the_command_line_writes_it_on_the_same_grid(tmp_path):
    paths = [tmp_path / f"{name}.nii.gz" for name in "ab"]
    for k, path in enumerate(paths):
        nibabel.save(nibabel.Nifti1Image(volume(k), AFFINE), path)
    out, std = tmp_path / "o.nii.gz", tmp_path / "std.nii.gz"
    line = ["volume", *paths, "-o", out, "--prior", "gaussian", "-q", "--uncertainty"]
    assert ddfm_run(*line, std, "--samples", 2).exit_code == 0
    found, fused = read_volume(std), read_volume(out)
    np.testing.assert_allclose(found.affine, fused.affine)
    assert found.values.shape == fused.values.shape and 0 < found.values.max() < 0.2
    refused(ddfm_run(*line, tmp_path / "folder"), "a map is one file")
