"""Transforms as objects: points, inverses, chains, sizes, files."""

import itertools
import json

import numpy as np
import pytest

from ddfm.errors import DdfmError
from ddfm.imaging.picture import Picture
from ddfm.registration.transform import MODELS, Transform, common_transform, fitted
from ddfm.registration.warp import common_box, warped

SIZE = (60, 80)
CORNERS = np.array([[0, 0], [79, 0], [79, 59], [0, 59]], float)


def turned(degrees=10.0, scale=1.2, shift=(3.0, -2.0)):
    angle = np.deg2rad(degrees)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return Transform([[cos, -sin, shift[0]], [sin, cos, shift[1]], [0, 0, 1]], SIZE, SIZE)


def test_a_point_is_turned_scaled_and_shifted():
    assert np.allclose(turned(90.0, 2.0)(np.array([[1.0, 0.0]])), [[3.0, 0.0]])


def test_a_transform_and_its_inverse_cancel():
    there = turned()
    assert there.then(there.inverse()).moves < 1e-9


def test_a_change_of_size_keeps_borders_on_borders():
    framed = Transform.framed((60, 80), (30, 160))
    assert np.allclose(
        framed(np.array([[-0.5, -0.5], [79.5, 59.5]])), [[-0.5, -0.5], [159.5, 29.5]]
    )
    assert framed.moves == 0 and framed.offset == (0, 0)


def test_a_transform_applies_to_other_sizes():
    large = turned().at((120, 160), (120, 160))
    # The middle of the frame is the same place in both, a half pixel's corner apart.
    small_point = turned()(np.array([[20.0, 30.0]]))
    large_point = large(np.array([[40.5, 60.5]]))
    assert np.allclose(large_point, 2 * small_point + 0.5)


@pytest.mark.parametrize("model", MODELS[1:])
def test_a_model_is_fitted_to_points_that_it_moved(model):
    moved = {
        "shift": CORNERS + [4, -7],
        "similarity": turned()(CORNERS),
        "affine": CORNERS @ [[1.1, 0.1], [-0.2, 0.9]] + [3, 4],
        "homography": CORNERS + [[1, 2], [-3, 4], [5, -6], [7, 1]],
    }[model]
    found = fitted(CORNERS, moved, SIZE, SIZE, model)
    assert np.allclose(found(CORNERS), moved) and found.model == model


def test_the_common_transform_is_not_affected_by_an_outlier():
    bad = turned(40.0, 0.7, (30.0, 30.0))
    good = [turned(10 + e, 1.2, (3 + e, -2)) for e in (-0.1, 0.0, 0.1)]
    assert common_transform([*good, bad]).distance(turned()) < 0.3


def test_a_saved_transform_is_read_back(tmp_path):
    turned().save(tmp_path / "rig.json")
    again = Transform.load(tmp_path / "rig.json")
    assert again.distance(turned()) < 1e-9 and again.fixed == SIZE


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"format": "another"}', json.dumps({"format": "ddfm transform 1"})]
)
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "rig.json").write_text(text)
    with pytest.raises(DdfmError, match=r"rig.json (is not|must be) "):
        Transform.load(tmp_path / "rig.json")


def test_a_degenerate_transform_is_refused():
    for matrix in (
        np.zeros((3, 3)),
        [[1, 0, 0], [0, 1, 0], [0.1, 0, -1]],
        np.full((3, 3), np.nan),
        np.eye(3) * 1e308,
    ):
        with pytest.raises(DdfmError):
            Transform(matrix, SIZE, SIZE)


def test_a_shift_of_whole_pixels_moves_pixels_exactly():
    pixels = np.random.default_rng(0).random((60, 80, 1), np.float32)
    shift = Transform([[1, 0, 5], [0, 1, -3], [0, 0, 1]], SIZE, SIZE, "shift")
    moved, inside = warped(Picture(pixels), shift)
    assert np.allclose(moved.pixels[:57, 5:], pixels[3:, :75], atol=1e-5)
    assert inside[:57, 5:].all() and not inside[57:].any() and not inside[:, :5].any()


def test_the_common_part_is_the_largest_rectangle():
    one, other = np.ones((2, 9, 12), bool)
    one[:2], other[:, 10:] = False, False
    one[8, 0] = False
    assert common_box([one, other]) == (2, 9, 1, 10) or common_box([one, other]) == (2, 8, 0, 10)
    area = lambda b: (b[1] - b[0]) * (b[3] - b[2])  # noqa: E731
    assert area(common_box([one, other])) == 63


def test_the_common_part_agrees_with_an_exhaustive_search():
    rng = np.random.default_rng(0)
    for _ in range(20):
        seen = rng.random((7, 9)) < 0.8
        found = common_box([seen])
        best = max(
            (bottom - top) * (right - left)
            for top, bottom in itertools.combinations(range(8), 2)
            for left, right in itertools.combinations(range(10), 2)
            if seen[top:bottom, left:right].all()
        )
        assert seen[found[0] : found[1], found[2] : found[3]].all()
        assert (found[1] - found[0]) * (found[3] - found[2]) == best


def test_a_warp_in_bands_has_no_seams():
    size = (700, 900)  # more than are worked on at once
    picture = Picture(np.random.default_rng(0).random((*size, 1), np.float32))
    moved, inside = warped(picture, Transform([[1, 0, 3], [0, 1, 5], [0, 0, 1]], size, size))
    assert np.allclose(moved.samples[5:, 3:], picture.samples[:-5, :-3], atol=1e-4)
    assert inside[5:, 3:].all() and not inside[:5].any() and not inside[:, :3].any()
    bent = Transform(np.eye(3), size, size, "flow", np.full((4, 5, 2), [-3.0, -5.0]))
    by_field, _ = warped(picture, bent)
    assert np.allclose(by_field.samples[5:, 3:], picture.samples[:-5, :-3], atol=1e-4)
