"""Volumes: their slices on a light box, their axes, and affines that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from ddfm.errors import DdfmError
from ddfm.volumes.volume import Volume, find_axis, same_grid, slices
from grids import at, turned

ORIENTATIONS = [("RAS", (1, 2, 3)), ("LPS", (-1, -2, 3)), ("PIR", (-2, -3, 1)), ("ASL", (2, 3, -1))]


@pytest.mark.parametrize(("code", "axes"), ORIENTATIONS)
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_slices_look_as_on_a_light_box(code, axes, plane):
    """Up is the head (the front in axial slices), left is the patient's right (or front)."""
    affine = np.zeros((4, 4))
    for index, axis in enumerate(axes):
        affine[abs(axis) - 1, index] = np.sign(axis) * (1 + index)
    affine[3, 3] = 1
    nibabel = pytest.importorskip("nibabel")
    assert "".join(nibabel.aff2axcodes(affine)) == code
    shape = (3, 4, 5)
    volume = Volume(np.zeros(shape, np.float32), affine)
    axis = find_axis(volume, plane)
    right, front, head = (
        slices(at(affine, shape, lambda *p, w=w: p[w]), affine, axis) for w in range(3)
    )
    along, rows, columns = {
        "axial": (head, -front, -right),
        "coronal": (front, -head, -right),
        "sagittal": (right, -head, -front),
    }[plane]
    assert (np.diff(along, axis=0) > 0).all()
    assert (np.diff(rows, axis=1) > 0).all()
    assert (np.diff(columns, axis=2) > 0).all()


def test_slices_are_a_view_that_can_be_written_to():
    values = np.zeros((3, 4, 5))
    slices(values, np.diag([-1, 1, 2, 1]), 2)[4, 0, 0] = 1
    assert values[2, 3, 4] == 0 and values.sum() == 1 and values[0, 3, 4] == 1


def test_the_default_axis_is_that_of_the_thick_slices():
    zeros = np.zeros((3, 4, 5), np.float32)
    assert find_axis(Volume(zeros, np.diag([1, 5, 1, 1]))) == 1
    assert find_axis(Volume(zeros, np.diag([1, 1, 1, 1]))) == 2
    assert find_axis(Volume(zeros, np.eye(4)[[1, 2, 0, 3]])) == 0  # index 0 goes to the head
    assert find_axis(Volume(zeros, np.eye(4)), "1") == 1
    with pytest.raises(DdfmError, match="unknown axis 'axal'; did you mean axial"):
        find_axis(Volume(zeros, np.eye(4)), "axal")


def test_permuted_axes_of_equal_sides_are_another_grid():
    """The first voxel and the last one are at the same places."""
    values = np.zeros((4, 4, 3), np.float32)
    a = Volume(values, turned((2, 2, 3), origin=(1, 2, 3)))
    assert same_grid(a, Volume(values, a.affine + 1e-3))
    assert not same_grid(a, Volume(values, a.affine[:, [1, 0, 2, 3]]))


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.diag([1e30, 1, 1, 1]), "is invalid"),
        (np.diag([0, 1, 1, 1]), "is invalid: voxels are 0, 1, 1 mm apart"),
        (turned(origin=(0, 1e40, 0)), "the first lies at 0, 1e.40, 0"),
        (np.diag([1, np.inf, 1, 1]), "not a 4 x 4 matrix of numbers"),
        (np.eye(4) + 1e7 * np.eye(4)[0][:, None] * np.eye(4)[1], "onto a plane"),
    ],
)
def test_invalid_affines_are_refused(affine, message):
    with pytest.raises(DdfmError, match=message):
        Volume(np.zeros((2, 3, 4), np.float32), affine, "a volume")
