"""Motions of volumes in files: ours, and those that 3D Slicer and ANTs read and write."""

import json
import struct

import numpy as np
import pytest

from ddfm.errors import DdfmError
from ddfm.registration.space_files import read_space_transform, write_space_transform
from grids import turned

FLIP = np.array([-1, -1, 1])
MOTION = turned(degrees=(0, 0, 12), origin=(14, -9, 7))
POINT = np.array([10.0, 20.0, 30.0])  # in ITK's axes


def moved(matrix, point=POINT):
    """Where a motion takes a point of ITK's axes."""
    return FLIP * (matrix @ [*(FLIP * point), 1])[:3]


def itk(tmp_path, kind, parameters, fixed, suffix=".tfm"):
    path = tmp_path / f"m{suffix}"
    if suffix == ".mat":
        path.write_bytes(mat(kind, parameters) + mat("fixed", fixed))
        return path
    path.write_text(
        "#Insight Transform File V1.0\n#Transform 0\n"
        f"Transform: {kind}\nParameters: {' '.join(map(str, parameters))}\n"
        f"FixedParameters: {' '.join(map(str, fixed))}\n"
    )
    return path


def mat(name, values):
    head = struct.pack("<5i", 0, len(values), 1, 0, len(name) + 1)
    return head + name.encode() + b"\0" + struct.pack(f"<{len(values)}d", *values)


@pytest.mark.parametrize("suffix", [".tfm", ".json"])
def test_written_motions_are_read_back(tmp_path, suffix):
    write_space_transform(tmp_path / f"m{suffix}", MOTION)
    assert np.allclose(read_space_transform(tmp_path / f"m{suffix}"), MOTION)


def test_itk_reads_the_same_motion_in_its_own_axes(tmp_path):
    write_space_transform(tmp_path / "m.tfm", MOTION)
    lines = dict(
        line.split(": ") for line in (tmp_path / "m.tfm").read_text().splitlines() if ": " in line
    )
    numbers = np.array(lines["Parameters"].split(), float)
    assert np.allclose(numbers[:9].reshape(3, 3) @ POINT + numbers[9:], moved(MOTION))
    write_space_transform(tmp_path / "m.json", MOTION)
    entry = json.loads((tmp_path / "m.json").read_text())
    assert np.allclose(entry["fixed_to_moving_ras"], MOTION)


COMPOSITE = """#Insight Transform File V1.0
#Transform 0
Transform: CompositeTransform_double_3_3
#Transform 1
Transform: Euler3DTransform_double_3_3
Parameters: 0.1 0.2 0.3 4 5 6
FixedParameters: 1 2 3 0
#Transform 2
Transform: AffineTransform_double_3_3
Parameters: 1.1 0.1 0 0 0.9 0.05 0 0 1 7 -8 9
FixedParameters: 10 0 -5
#Transform 3
Transform: TranslationTransform_double_3_3
Parameters: 1 2 3
FixedParameters:
"""


def test_a_composite_transform_is_read(tmp_path):
    """SimpleITK 2.5 wrote it, and moves the point to the same place."""
    (tmp_path / "list.tfm").write_text(COMPOSITE)
    matrix = read_space_transform(tmp_path / "list.tfm")
    assert np.allclose(moved(matrix), [28.046746, 22.721401, 44.384531], atol=1e-6)


def test_transforms_that_are_not_said_to_be_composed_are_refused(tmp_path):
    lines = COMPOSITE.splitlines(keepends=True)
    (tmp_path / "many.tfm").write_text("".join(lines[:1] + lines[3:]))
    with pytest.raises(DdfmError, match="many.tfm holds 3 transforms"):
        read_space_transform(tmp_path / "many.tfm")


@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".mat"])
def test_an_affine_about_a_centre_is_read(tmp_path, suffix):
    """A doubling about (1, 2, 3), and then 10 to the left."""
    parameters = [2, 0, 0, 0, 2, 0, 0, 0, 2, 10, 0, 0]
    path = itk(tmp_path, "AffineTransform_double_3_3", parameters, [1, 2, 3], suffix)
    assert np.allclose(moved(read_space_transform(path)), [29, 38, 57])


def test_a_translation_is_read(tmp_path):
    """ITK leaves its fixed parameters empty, for it has no centre."""
    path = itk(tmp_path, "TranslationTransform_double_3_3", [3, 4, -2], [])
    assert np.allclose(moved(read_space_transform(path)), POINT + [3, 4, -2])


def test_a_similarity_is_read(tmp_path):
    """A quarter turn about z and a doubling, about (1, 2, 3), and then 10 to the left."""
    parameters = [0, 0, np.sqrt(0.5), 10, 0, 0, 2]
    path = itk(tmp_path, "Similarity3DTransform_double_3_3", parameters, [1, 2, 3])
    x, y, z = POINT - [1, 2, 3]
    assert np.allclose(moved(read_space_transform(path)), [1 - 2 * y + 10, 2 + 2 * x, 3 + 2 * z])


def test_a_quarter_turn_is_read_as_angles_and_as_a_versor(tmp_path):
    """About the third axis, x becomes y, and y becomes -x."""
    expected = [-20 + 5, 10, 30]
    angles = itk(tmp_path, "Euler3DTransform_double_3_3", [0, 0, np.pi / 2, 5, 0, 0], [0, 0, 0, 0])
    assert np.allclose(moved(read_space_transform(angles)), expected)
    versor = [0, 0, np.sqrt(0.5), 5, 0, 0]
    path = itk(tmp_path, "VersorRigid3DTransform_double_3_3", versor, [0, 0, 0])
    assert np.allclose(moved(read_space_transform(path)), expected)


@pytest.mark.parametrize(
    ("kind", "parameters", "fixed", "word"),
    [
        ("BSplineTransform_double_3_3", [1], [0, 0, 0], "BSpline"),
        ("AffineTransform_double_2_2", [1, 0, 0, 1, 0, 0], [0, 0], "three dimensions"),
        ("AffineTransform_double_3_3", [1] * 5, [0, 0, 0], "damaged"),
        ("AffineTransform_double_3_3", [0] * 12, [0, 0, 0], "inverse"),
        ("AffineTransform_double_3_3", ["nan"] * 12, [0, 0, 0], "not a motion"),
        ("AffineTransform_double_3_3", ["one"] * 12, [0, 0, 0], "not numbers"),
        ("AffineTransform_double_3_3", ["1e308"] * 12, ["1e308"] * 3, "too large"),
        ("VersorRigid3DTransform_double_3_3", ["nan"] * 6, [0, 0, 0], "too large"),
    ],
)
def test_invalid_motions_are_refused(tmp_path, kind, parameters, fixed, word):
    with pytest.raises(DdfmError, match=word):
        read_space_transform(itk(tmp_path, kind, parameters, fixed))


def test_the_kind_of_a_foreign_file_is_quoted_on_one_line(tmp_path):
    (tmp_path / "m.mat").write_bytes(mat("B\nC", [1.0] * 12) + mat("fixed", [0.0] * 3))
    with pytest.raises(DdfmError, match=r"of the kind 'B\\nC'; only"):
        read_space_transform(tmp_path / "m.mat")


def test_damaged_and_foreign_files_are_refused(tmp_path):
    whole = mat("AffineTransform_double_3_3", [1.0] * 12) + mat("fixed", [0.0] * 3)
    for name, data in {
        "m.mat": whole[:-8],
        "n.mat": b"MATLAB 5.0 MAT-file" + bytes(200),
        "o.mat": bytes(5000),
        "m.tfm": b"not ITK's",
        "m.json": b'{"format": "ddfm transform 1"}',
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DdfmError, match="is not a transform"):
            read_space_transform(tmp_path / name)
    for suffix in (".h5", ".mat"):
        with pytest.raises(DdfmError, match=r"\.json"):
            write_space_transform(tmp_path / f"m{suffix}", MOTION)
