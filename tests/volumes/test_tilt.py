"""A tilted gantry: volumes with oblique slices are resampled onto a square grid."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import ddfm
from ddfm.errors import DdfmError, DdfmWarning
from ddfm.pipeline.volumes import fuse_volumes
from ddfm.volumes.tilt import squared
from ddfm.volumes.volume import Volume


def askew(shape=(24, 20, 12), degrees: float = 15) -> Volume:
    """A volume with slices askew, of a field that is linear in the patient's space."""
    affine = np.diag([1.0, 1.2, 3.0, 1.0])
    affine[1, 2] = 3 * np.tan(np.radians(degrees))
    affine[:3, 3] = -10, 5, 7
    return Volume(field(affine, shape), affine, "ct", source="its header")


def field(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    places = affine[:3, :3] @ np.indices(shape).reshape(3, -1) + affine[:3, 3:]
    return (np.array([0.4, -0.3, 0.2]) @ places).reshape(shape).astype(np.float32)


@pytest.mark.parametrize("degrees", [-20, 8, 15])
def test_a_linear_field_is_preserved(degrees):
    volume = askew(degrees=degrees)
    with pytest.warns(DdfmWarning, match="slices are stacked obliquely"):
        square, inside = squared(volume)
    axes = square.affine[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.diag(square.spacing**2), atol=1e-9)
    np.testing.assert_allclose(square.spacing, (1, 1.2, 3))
    expected = field(square.affine, square.shape)
    well_inside = inside & np.roll(inside, 1, 1) & np.roll(inside, -1, 1)
    well_inside[:, [0, -1]] = False
    np.testing.assert_allclose(square.values[well_inside], expected[well_inside], atol=1e-3)
    assert inside.sum() == pytest.approx(volume.values.size, rel=0.02)  # nothing is cut off
    assert square.source == "its header"


def test_a_square_grid_is_not_resampled():
    turned = np.eye(4)
    c, s = np.cos(0.3), np.sin(0.3)
    turned[:2, :2] = [[c, -s], [s, c]]
    volume = Volume(np.ones((4, 5, 6), np.float32), turned)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert squared(volume) == (volume, None)


def test_a_square_grid_beyond_the_memory_is_refused(monkeypatch):
    """As around slices whose steps were damaged; the file itself is small."""
    volume = askew()
    volume.affine[0, 2] = 1e8
    with pytest.raises(DdfmError, match="ct on a square grid would take .* MB of memory"):
        squared(volume)
    monkeypatch.setenv("DDFM_MAX_BYTES", "1e6")
    volume.affine[0, 2] = 100
    with pytest.raises(DdfmError, match="ct on a square grid would take .* limit of 1 MB"):
        squared(volume)


def test_the_result_lies_on_the_square_grid(tmp_path):
    pytest.importorskip("pydicom")
    volume = askew((12, 10, 6))
    fuser = ddfm.Fuser("gaussian", likelihood="paper", steps=2, task="medical", device="cpu")
    with pytest.warns(DdfmWarning, match="stacked obliquely"):
        fusion = fuse_volumes(volume, volume, fuser, progress=False)
    fusion.save(tmp_path / "out")  # which DICOM could not have had
    assert len(list((tmp_path / "out").iterdir())) == fusion.volume.shape[2]
