"""The resolution of a scanner: the operator, its adjoint, and restoration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from command_line import ddfm_run
from ddfm import DdfmError, Fuser
from ddfm.pipeline.volumes import fuse_volumes
from ddfm.restoration.volume_sharpening import FWHM, Sampled, sharpened
from ddfm.volumes.resample import resampled
from ddfm.volumes.volume import Volume

SHAPE = (40, 36, 24)
GRID = np.eye(4)


def turned(spacing: float, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:2, :2] = spacing * np.array([[c, -s], [s, c]])
    affine[:3, 3] = 3.0, -1.0, 1.0
    return affine


@pytest.fixture(scope="module")
def phantom() -> np.ndarray:
    """Regions of one activity each, from 0 to 1."""
    field = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 3)
    z = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    inside = (z**2).sum(0) < 0.7
    return (np.where(field > 0, 0.9, 0.4) * inside).astype(np.float32)


def test_the_adjoint_is_the_transpose():
    coarse = (17, 15, 10)
    seen = Sampled(SHAPE, coarse, turned(2.2, 20), np.array([1.5, 1.2, 2.0]))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SHAPE, generator=generator)
    image = seen.forward(x)
    y = torch.randn(image.shape, generator=generator)
    assert 0 < len(image) < np.prod(coarse)  # some lie outside
    torch.testing.assert_close((image * y).sum(), (x * seen.adjoint(y)).sum(), rtol=1e-4, atol=1e-3)


def test_a_point_is_blurred_to_the_given_width():
    """Half as bright at half of the full width, four voxels away."""
    point = torch.zeros(SHAPE)
    point[20, 18, 12] = 1
    sigma = np.full(3, 8 / FWHM)
    seen = Sampled(SHAPE, SHAPE, GRID, sigma).forward(point).reshape(SHAPE)
    assert float(seen[24, 18, 12] / seen[20, 18, 12]) == pytest.approx(0.5, abs=0.01)


def test_regions_are_restored_sharper(phantom):
    affine, coarse = turned(2.0, 10), (20, 18, 12)
    sigma = np.sqrt((4 / FWHM) ** 2 + 2.0**2 / 12)  # of the scanner, and of its voxels
    blurred = ndimage.gaussian_filter(phantom, sigma, mode="reflect")
    index = np.indices(coarse).reshape(3, -1)
    places = affine[:3, :3] @ index + affine[:3, 3:]
    values = ndimage.map_coordinates(blurred, places, order=1).reshape(coarse)
    pet = Volume(values.astype(np.float32), affine, "pet")
    grid = Volume(phantom, GRID, "mri")
    sharp = sharpened(pet, grid, 4.0, np.zeros(SHAPE)).values
    linear = resampled(pet, grid, outside=0.0).values
    seen = ndimage.binary_erosion(linear > 0, iterations=2)
    error = [float(np.square((x - phantom)[seen]).mean()) for x in (sharp, linear)]
    assert error[0] < error[1] / 2
    # Nothing of a guide is copied: one that shows something else changes little.
    other = sharpened(pet, grid, 4.0, phantom[::-1]).values
    assert np.abs(other - sharp).mean() < 0.02


def test_fwhm_b_is_refused_for_colours():
    colors = Volume(np.zeros((4, 4, 4, 3), np.float32), GRID, "pet")
    with pytest.raises(DdfmError, match="pet is in colour"):
        sharpened(colors, Volume(np.zeros((8, 8, 8)), GRID), 4.0, np.zeros((8, 8, 8)))


@pytest.mark.parametrize("spacing", [(1e-3, 1e-3, 1e-3), (1e-6, 1, 1)])
def test_a_blur_far_wider_than_voxels_costs_no_time(spacing):
    """Or it is refused, where it is wider than the whole grid."""
    pet = Volume(np.random.default_rng(0).random((6, 6, 6)).astype(np.float32), GRID, "pet")
    grid = Volume(np.zeros((8, 8, 8), np.float32), np.diag([*spacing, 1.0]), "mri")
    if max(spacing) < 1:
        with pytest.raises(DdfmError, match=r"blur of 5 mm .* wider than mri, which is 0.008 mm"):
            sharpened(pet, grid, 5.0, np.zeros((8, 8, 8)))
    else:
        assert np.isfinite(sharpened(pet, grid, 5.0, np.zeros((8, 8, 8))).values).all()


def test_the_given_resolution_of_the_second_volume_is_undone(phantom):
    """It is recorded, the fused source is sharper, and without it nothing changes."""
    fuser = Fuser("gaussian", likelihood="paper", steps=2, device="cpu", task="medical")
    mri = Volume((phantom > 0.5).astype(np.float32), GRID, "mri")
    pet = Volume(ndimage.zoom(phantom, 0.5, order=1), turned(2.0, 0), "pet")
    given = fuse_volumes(mri, pet, fuser, fwhm_b=5.0, progress=False)
    left = fuse_volumes(mri, pet, fuser, progress=False)
    assert "'fwhm_b': 5.0" in str(given.record) and "fwhm_b" not in str(left.record)
    edges = [float(np.abs(np.diff(f.sources[1].values, axis=0)).max()) for f in (given, left)]
    assert edges[0] > 1.3 * edges[1]
    with pytest.raises(DdfmError, match="fwhm_b"):
        fuse_volumes(mri, pet, fuser, fwhm_b=-1.0, progress=False)


def test_an_invalid_width_is_refused_in_one_line(tmp_path):
    result = ddfm_run("volume", tmp_path, tmp_path, "-o", tmp_path / "f.nrrd", "--fwhm-b", "wide")
    assert result.exit_code == 2 and "such as 5mm" in result.stderr
