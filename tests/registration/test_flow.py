"""Displacement fields: as part of a transform, and estimated after one was applied."""

import numpy as np
import pytest
from scipy import ndimage

from ddfm.errors import DdfmError
from ddfm.imaging.picture import Picture
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import grey
from ddfm.registration.align import align
from ddfm.registration.field import least_area, spread_out
from ddfm.registration.register import common_of, registered
from ddfm.registration.transform import Transform
from ddfm.registration.warp import warped
from places import EXAMPLES

SIZE = (60, 80)


def with_field(pixels=3.0, seed=0, size=SIZE):
    field = np.random.default_rng(seed).uniform(-pixels, pixels, (5, 6, 2))
    return Transform(np.eye(3), size, size, "flow", field)


def test_a_field_of_one_number_is_a_shift():
    t = Transform(np.eye(3), SIZE, SIZE, "flow", np.full((4, 7, 2), 2.0))
    assert np.allclose(t(np.array([[10.0, 20.0]])), [[8.0, 18.0]])
    assert np.allclose(spread_out(t.field, SIZE), 2.0)


def test_a_point_moves_with_the_picture():
    image = np.zeros((*SIZE, 1), np.float32)
    image[30, 40] = 1.0
    image = ndimage.gaussian_filter(image, (2, 2, 0))
    moved = warped(Picture(image), with_field())[0].pixels[..., 0]
    y, x = np.indices(SIZE)
    seen = [(moved * at).sum() / moved.sum() for at in (x, y)]
    assert np.allclose(seen, with_field()(np.array([[40.0, 30.0]]))[0], atol=0.3)


def test_it_is_saved_and_applies_to_other_sizes(tmp_path):
    with_field().save(tmp_path / "flow.json")
    again = Transform.load(tmp_path / "flow.json")
    assert again.distance(with_field()) < 0.01
    large = again.at((120, 160), (120, 160))
    assert np.allclose(large(np.array([[40.5, 60.5]])), 2 * again(np.array([[20, 30]])) + 0.5)


def test_a_transform_with_a_field_cannot_be_inverted():
    with pytest.raises(DdfmError, match="neither inverted"):
        with_field().inverse()
    with pytest.raises(DdfmError, match="nor chained"):
        Transform.framed(SIZE, SIZE).then(with_field())


@pytest.mark.parametrize("field", [np.zeros((2, 2)), np.full((5, 5, 2), np.nan), "folded"])
def test_an_invalid_field_is_refused(field):
    if isinstance(field, str):
        field = np.zeros((5, 5, 2))
        field[2, 2] = -60.0
        assert least_area(field, SIZE) < 0
    with pytest.raises(DdfmError, match="a field must have"):
        Transform(np.eye(3), SIZE, SIZE, "flow", field)


@pytest.mark.parametrize(
    "broken",
    [{"moving": [float("inf"), 4]}, {"fixed": [10**400, 4]}, {"field": np.full((5, 5, 2), 1e200)}],
)
def test_a_broken_file_is_refused(broken):
    entry = with_field().to_dict() | broken
    with pytest.raises(DdfmError, match="not a transform|a field must have"):
        Transform.from_dict(entry)


def test_a_field_fits_a_picture_of_one_row():
    assert with_field().at((1, 40), (1, 40)).field is not None


@pytest.fixture(scope="module")
def displaced():
    """The example pair, the infrared picture inverted and displaced; and by what."""
    names = ("olinda_infrared.png", "olinda_visible.png")
    infrared, visible = (grey(read_image(EXAMPLES / name)) for name in names)
    moves = spread_out(np.random.default_rng(0).standard_normal((6, 7, 2)), visible.shape)
    moves = 5.0 * (moves - moves.mean((0, 1))) / np.sqrt((moves**2).sum(2).mean())
    y, x = np.indices(visible.shape)
    at = [y + moves[..., 1], x + moves[..., 0]]
    return visible, ndimage.map_coordinates(1 - infrared, at, order=3, mode="nearest"), moves


def test_an_applied_field_is_found(displaced):
    visible, infrared, moves = displaced
    found = align(visible, infrared, "flow")
    assert found.sure and found.transform.model == "flow"
    y, x = np.mgrid[20 : visible.shape[0] - 20 : 5, 20 : visible.shape[1] - 20 : 5].reshape(2, -1)
    left = found.transform(np.c_[x, y]) - (np.c_[x, y] + moves[y, x])
    assert np.linalg.norm(left, axis=1).mean() < 1.5  # of 5 pixels


def test_registered_pairs_get_no_field(displaced):
    visible = displaced[0]
    assert align(visible, 1 - visible, "flow").transform.moves == 0


def test_a_field_aligns_one_pair_and_is_refused_for_many(displaced):
    visible, infrared, _ = displaced
    pair = [Picture(x[..., None].astype(np.float32)) for x in (infrared, visible)]
    laid = registered(pair, transform=with_field(size=visible.shape))
    assert laid.about[0]["transform"]["field"]
    with pytest.raises(DdfmError, match="one pair"):
        common_of([pair], "flow", 1)
