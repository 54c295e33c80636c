"""A volume has no influence where it does not reach."""

from __future__ import annotations

import numpy as np
import pytest

import ddfm
from ddfm.pipeline.volumes import fuse_volumes
from ddfm.volumes import frame
from ddfm.volumes.frame import continued
from ddfm.volumes.resample import inside_of
from ddfm.volumes.volume import Volume


def head(shape: tuple[int, int, int]) -> np.ndarray:
    """Waves around 0.5, so that there is detail everywhere."""
    i, j, k = np.indices(shape)
    waves = 0.5 + 0.2 * np.sin(i / 2) * np.cos(j / 3) + 0.05 * np.cos(k)
    return waves.astype(np.float32)


def test_a_volume_is_continued_by_the_other_one_outside_of_its_frame():
    a = head((8, 9, 60))
    inside = np.zeros(a.shape, bool)
    inside[..., :20] = True
    b = np.where(inside, a + np.float32(0.2), 0)
    same, whole = continued([a, b], [None, inside])
    assert same is a
    np.testing.assert_array_equal(whole[inside], b[inside])
    offset = (whole - a)[0, 0]
    assert 0.19 < offset[20] <= 0.2 + 1e-6  # of a difference that is one everywhere
    assert (np.diff(offset[19:]) <= 1e-6).all()  # and fades away
    assert np.abs(offset[55:]).max() < 1e-4


def test_nothing_is_continued_where_no_volume_reaches():
    a, b = head((4, 4, 4)), head((4, 4, 4)) / 2
    none = np.zeros(a.shape, bool)
    half = none.copy()
    half[:2] = True
    assert continued([a, b], [None, None])[1] is b
    left, right = continued([a, b], [half, half])
    np.testing.assert_array_equal(left, a)
    np.testing.assert_array_equal(right, b)


def test_colours_are_continued_in_grey():
    a = head((4, 4, 40))
    inside = np.zeros(a.shape, bool)
    inside[..., :10] = True
    pet = np.zeros((*a.shape, 3), np.float32)
    pet[..., 0] = 0.9
    _, whole = continued([a, pet], [None, inside])
    np.testing.assert_array_equal(whole[inside], pet[inside])
    np.testing.assert_allclose(whole[..., 39, :], np.repeat(a[..., 39, None], 3, -1), atol=1e-3)


def test_air_stays_black_beside_bone_that_the_frame_cuts():
    """A CT with a small field of view, whose border is along the skull, and an MRI of all."""
    mri = head((40, 12, 12))
    mri[17:] = 0  # the skull, and air beyond it
    mri[23:] = 0.01
    ct = np.full(mri.shape, 0.6, np.float32)
    ct[17:] = 1
    inside = np.arange(40)[:, None, None] < np.full(mri.shape, 20)
    _, whole = continued([mri, np.where(inside, ct, 0)], [None, inside])
    assert whole[20:23].max() == 0 and whole[23:].max() <= 0.02
    grid = np.eye(4)
    fuser = ddfm.Fuser("gaussian", steps=2, task="medical", device="cpu")
    volumes = Volume(mri, grid, "mri"), Volume(ct[:20], grid, "ct")
    windows = {"window_a": (0.5, 1.0), "window_b": (0.5, 1.0)}
    fused = fuse_volumes(*volumes, fuser, **windows, axis=2, progress=False).values / 65535
    assert fused[18].mean() > 0.4  # bone, which the CT shows
    assert fused[22:].max() < 0.1


def test_only_what_is_near_the_border_is_computed(monkeypatch):
    """A border at one end: the offset is as of the whole volumes, and most of them is left out."""
    a = np.random.default_rng(0).random((9, 8, 300)).astype(np.float32)
    inside = np.arange(300) < np.full(a.shape, 295)
    blurred = []
    original = frame.ndimage.gaussian_filter

    def counted(values, *how, **more):
        blurred.append(values.size)
        return original(values, *how, **more)

    monkeypatch.setattr(frame.ndimage, "gaussian_filter", counted)
    _, near = continued([a, 1 - a], [None, inside])
    assert max(blurred) < a.size / 5
    monkeypatch.setattr(frame, "_around", lambda *_: (slice(None),) * 3)
    _, whole = continued([a, 1 - a], [None, inside])
    np.testing.assert_array_equal(near, whole)


def test_the_frame_is_placed_on_the_grid():
    grid = Volume(np.zeros((4, 4, 10), np.float32), np.eye(4))
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[2, 3] = 2.5  # voxels from 1.5 to 7.5
    inside = inside_of(Volume(np.zeros((4, 4, 3), np.float32), affine), grid)
    np.testing.assert_array_equal(np.flatnonzero(inside[0, 0]), range(2, 8))
    assert inside_of(grid, grid) is None


@pytest.mark.parametrize("likelihood", ["default", "paper"])
def test_tissue_beyond_a_slab_is_kept_without_a_seam(likelihood):
    """T1 and a slab of PD; axial slices above the slab have no PD at all."""
    t1 = Volume(head((24, 24, 48)), np.eye(4), "t1")
    pd = Volume(np.full((24, 24, 12), 0.8, np.float32), np.eye(4), "pd")
    fuser = ddfm.Fuser("gaussian", likelihood=likelihood, steps=2, task="medical", device="cpu")
    window = (0.5, 1.0)
    fusion = fuse_volumes(t1, pd, fuser, window_a=window, window_b=window, axis=2, progress=False)
    fused = fusion.values / 65535
    assert np.abs(fused - t1.values)[..., 40:].max() < 0.01
    assert np.abs(fused - t1.values)[..., :12].mean() > 0.02  # where PD has a say
    steps = np.abs(np.diff(fused - t1.values, axis=2)).mean(axis=(0, 1))
    assert steps[11] < 3 * steps[:11].max() + 0.01


def test_nothing_is_seen_in_thick_slices_far_from_the_slab():
    """Three slices of 6 mm beyond a bright slab, where T1 is black, as above the head."""
    grid = np.diag([1.0, 1.0, 6.0, 1.0])
    t1 = Volume(np.where(np.arange(16) < 7, head((24, 24, 16)), np.float32(0)), grid, "t1")
    pd = Volume(np.full((24, 24, 8), 0.9, np.float32), grid, "pd")
    fuser = ddfm.Fuser("gaussian", steps=2, task="medical", device="cpu")
    fusion = fuse_volumes(
        t1, pd, fuser, window_a=(0.5, 1.0), window_b=(0.5, 1.0), axis=2, progress=False
    )
    assert fusion.values[..., 7].mean() / 65535 > 0.2  # the last slice of the slab
    assert fusion.values[..., 10:].max() / 65535 < 0.05
