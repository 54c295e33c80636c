"""Resampling onto another grid: linear fields are kept, and nothing is aliased."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ddfm.errors import DdfmError
from ddfm.volumes.montage import montage
from ddfm.volumes.resample import resampled
from ddfm.volumes.volume import Volume
from grids import at, turned


def linear(x, y, z):
    return 0.3 * x - 0.5 * y + 0.2 * z + 7


def test_a_linear_field_is_resampled_without_error():
    """Linear interpolation (and smoothing by a symmetric kernel) keeps it, whatever the grids."""
    a = turned((1.1, 0.9, 2.0), (10, -20, 30), (-3, 2, 1))
    b = turned((0.8, 1.3, 1.5), (-15, 5, 40))
    b[:3, 3] = (a @ [6, 5, 4, 1] - b @ [30, 30, 30, 1])[:3]  # centre on centre
    grid = Volume(np.zeros((12, 11, 9), np.float32), a)
    volume = Volume(at(b, (60, 60, 60), linear), b)
    result = resampled(volume, grid)
    np.testing.assert_allclose(result.values, at(a, grid.shape, linear), atol=2e-4)
    np.testing.assert_array_equal(result.affine, a)


def test_a_gaussian_blob_keeps_its_place():
    def blob(x, y, z):
        return np.exp(-((x - 8) ** 2 + (y - 9) ** 2 + (z - 10) ** 2) / (2 * 4**2))

    fine = turned((0.5, 0.5, 0.5), (0, 0, 45), (5, -10, 0))
    grid = Volume(np.zeros((20, 20, 12), np.float32), turned((1, 1, 2)))
    result = resampled(Volume(at(fine, (50, 50, 44), blob), fine), grid)
    inside = result.values > 0
    # Smoothing by (2 - 1) / 2 ... / 0.5 mm voxels widens it a little; its place does not change.
    np.testing.assert_allclose(
        result.values[inside], at(grid.affine, grid.shape, blob)[inside], atol=0.08
    )
    peak = np.unravel_index(result.values.argmax(), grid.shape)
    assert peak == (8, 9, 5)


def test_a_shift_by_whole_voxels_moves_voxels():
    values = np.random.default_rng(0).random((6, 7, 8)).astype(np.float32)
    shifted = turned(origin=(2, -1, 3))
    result = resampled(
        Volume(values, shifted), Volume(np.zeros((6, 7, 8), np.float32), np.eye(4)), -5
    )
    np.testing.assert_allclose(result.values[2:, :6, 3:], values[:4, 1:, :5], atol=1e-6)
    assert (result.values[:2] == -5).all() and (result.values[:, 6] == -5).all()
    assert (result.values[..., :3] == -5).all()


@pytest.mark.parametrize("spacing", [(1e-3, 1e-3, 1e-3), (1, 1, 1e7), (1e-8, 1, 1)])
def test_extreme_spacing_costs_neither_time_nor_memory(tmp_path, spacing):
    """Otherwise, smoothing or drawing would need as many voxels as fit into one spacing."""
    strange = Volume(np.arange(60, dtype=np.float32).reshape(3, 4, 5), turned(spacing))
    grid = Volume(np.ones((6, 7, 8), np.float32), np.eye(4))
    assert 0 <= resampled(strange, grid).values.min() <= resampled(strange, grid).values.max() < 60
    assert (resampled(grid, strange).values == 1).all()
    montage([strange], tmp_path / "a.png", count=2)
    with Image.open(tmp_path / "a.png") as image:
        assert max(image.size) < 1000


def test_fine_stripes_are_not_aliased():
    """Stripes of 2 voxels on a grid of 3: aliased they would become stripes of 6."""
    values = np.zeros((60, 4, 4), np.float32)
    values[::2] = 1
    grid = Volume(np.zeros((20, 4, 4), np.float32), turned((3, 1, 1), origin=(0.5, 0, 0)))
    result = resampled(Volume(values, np.eye(4)), grid).values[2:-2]
    assert np.ptp(result) < 0.1 and abs(result.mean() - 0.5) < 0.02


def test_equal_grids_need_no_resampling():
    volume = Volume(np.zeros((3, 3, 3), np.float32), np.eye(4))
    assert resampled(volume, Volume(np.ones((3, 3, 3), np.float32), np.eye(4) + 1e-9)) is volume


def test_a_grid_beyond_the_memory_is_refused(monkeypatch):
    colors = Volume(np.zeros((3, 3, 3, 3), np.float32), np.eye(4), "pet")
    grid = Volume(np.zeros((30, 30, 30), np.float32), turned((0.1, 0.1, 0.1)), "mri")
    monkeypatch.setenv("DDFM_MAX_BYTES", "2e5")
    with pytest.raises(DdfmError, match="pet on the grid of mri would take"):
        resampled(colors, grid)


def test_volumes_that_do_not_overlap_are_refused():
    zeros = np.zeros((3, 3, 3), np.float32)
    far = Volume(zeros, turned(origin=(100, 0, 0)), "ct")
    with pytest.raises(DdfmError, match="ct and mri do not overlap"):
        resampled(far, Volume(zeros, np.eye(4), "mri"))
