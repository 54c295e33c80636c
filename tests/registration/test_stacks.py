"""Exposures and focus stacks, misaligned by small known motions."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ddfm.config import FusionConfig
from ddfm.errors import DdfmError
from ddfm.imaging.picture import Picture
from ddfm.imaging.reading import read_image
from ddfm.imaging.sizes import cropped
from ddfm.registration.register import registered
from ddfm.registration.transform import Transform, fitted
from ddfm.registration.warp import warped
from places import EXAMPLES


@pytest.fixture(scope="module")
def photograph():
    return cropped(read_image(EXAMPLES / "olinda_visible.png"), (0, 300, 0, 300))


def moved(picture, scale, shift):
    """A part of a picture, and its transform to the same part of the fixed picture."""
    h, w = picture.size
    ends = np.array([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]], float)
    middle = ends.mean(0)
    by = fitted(ends, (ends - middle) * scale + middle + shift, (h, w), (h, w), "similarity")
    window = (h - 40, w - 40)
    cut = Transform([[1, 0, -20], [0, 1, -20], [0, 0, 1]], (h, w), window)
    return warped(picture, by.then(cut))[0], cut.inverse().then(by.inverse()).then(cut)


def worst(pictures, truths, model, reference):
    about = registered(pictures, model, reference=reference).about
    assert all(found["applied"] for found in about)
    return max(
        Transform.from_dict(found["transform"]).distance(truths[found["source"]]) for found in about
    )


def test_an_exposure_of_two_stops_less_is_aligned(photograph):
    pictures, truths = [], []
    for stops, shift in ((-2, (9, -5)), (0, (0, 0))):
        levels = np.clip(photograph.pixels**2.2 * 2.0**stops, 0, 1) ** (1 / 2.2)
        one, truth = moved(replace(photograph, samples=levels.astype(np.float32)), 1.0, shift)
        pictures.append(one)
        truths.append(truth)
    assert worst(pictures, truths, "shift", 1) < 1.5


def test_a_field_of_view_that_grows_with_the_focus_is_undone(photograph):
    blurred = ndimage.gaussian_filter(photograph.pixels, (3, 3, 0))
    left = (np.arange(photograph.size[1]) < photograph.size[1] / 2)[None, :, None]
    pictures, truths = [], []
    for near, scale, shift in ((left, 0.98, (4, 3)), (~left, 1.0, (0, 0))):
        pixels = np.where(near, photograph.pixels, blurred)
        one, truth = moved(replace(photograph, samples=pixels), scale, shift)
        pictures.append(one)
        truths.append(truth)
    assert worst(pictures, truths, "similarity", 1) < 1.0


@pytest.mark.parametrize(
    ("settings", "number", "which"),
    [
        ({}, 2, 1),
        ({}, 3, 1),
        ({}, 5, 2),
        ({"resize": "a"}, 3, 0),
        ({"align_to": "a", "resize": "b"}, 3, 0),
        ({"align_to": 3}, 3, 2),
        ({"align_to": "1"}, 3, 0),
    ],
)
def test_align_to_chooses_the_fixed_source(settings, number, which):
    assert FusionConfig(**settings).reference(number) == which


@pytest.mark.parametrize("which", [0, -1, "c", 1.5])
def test_an_impossible_number_of_a_source_is_refused(which):
    with pytest.raises(DdfmError, match="align_to"):
        FusionConfig(align_to=which)


def test_the_number_of_a_missing_source_is_refused():
    with pytest.raises(DdfmError, match="3, but there are 2"):
        FusionConfig(align_to=3).reference(2)


def test_a_picture_that_is_not_moved_is_returned_unchanged():
    one = Picture(np.zeros((32, 32, 1), np.float32))
    assert registered([one, one, one], look=False, reference=1).pictures == (one, one, one)
