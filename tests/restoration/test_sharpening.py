"""Small and blurred sources: enlarged and sharpened, and what they hold is unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ddfm import DdfmError, Observation, read_image
from ddfm.restoration.least_squares import tensor_power
from ddfm.restoration.observation import AS_IT_IS
from ddfm.restoration.restore import restored
from ddfm.restoration.sharpening import LARGE
from degraded import INFRARED, VISIBLE, latent
from scenes import psnr, rounded


def test_a_small_picture_is_enlarged_better_than_bicubically(fuser):
    h, w = INFRARED.shape
    small = rounded(INFRARED.reshape(h // 4, 4, w // 4, 4).mean((1, 3)))
    bicubic = Image.fromarray(small).resize((w, h), Image.Resampling.BICUBIC)
    fuser = fuser.with_config(observations=[Observation(noise=0), None])  # roofs look like noise
    fusion = fuser(small, VISIBLE)
    assert fusion.image.shape == VISIBLE.shape
    assert fusion.settings["observed"][0] == {"scale": 4.0}
    x = 255 * fusion.sources[0].pixels[..., 0]
    assert psnr(x, INFRARED) > psnr(np.asarray(bicubic), INFRARED) + 0.4
    # What it says of its own pixels still holds.
    assert np.abs(x.reshape(h // 4, 4, w // 4, 4).mean((1, 3)) - small).mean() < 1


def test_a_large_picture_is_enlarged_equally_well():
    """It starts at half the size and takes few iterations, where a smaller one takes many."""
    size = (1480, 1400)
    truth, guide = (
        np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.LANCZOS))
        for plane in (INFRARED, VISIBLE)
    )
    assert truth.size > LARGE
    small = rounded(truth.reshape(185, 8, 175, 8).mean((1, 3)))
    pictures = [read_image(small), read_image(guide)]
    given = [AS_IT_IS, AS_IT_IS]
    (done, _), found = restored(pictures, given, [size, size], None, clean=1.0)
    assert found[0] == {"scale": 8.0}
    x = 255 * done.pixels[..., 0]
    bicubic = Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)
    assert psnr(x, truth) > psnr(np.asarray(bicubic), truth) + 0.4
    assert np.abs(x.reshape(185, 8, 175, 8).mean((1, 3)) - small).mean() < 1


def test_no_detail_is_copied_from_the_guide(fuser):
    """A flat source stays flat for any photograph."""
    flat = np.full((INFRARED.shape[0] // 4, INFRARED.shape[1] // 4), 120, np.uint8)
    assert np.ptp(latent(fuser, flat)) < 1


@pytest.mark.parametrize(("size", "fits"), [((90, 120), True), ((90, 121), False)])
def test_pictures_of_one_shape_need_no_setting_for_their_sizes(fuser, size, fits):
    large = np.asarray(Image.fromarray(VISIBLE).resize((480, 360)))
    small = np.asarray(Image.fromarray(INFRARED).resize(size[::-1]))
    if fits:
        assert fuser(small, large).image.shape == (360, 480)
        return
    with pytest.raises(DdfmError, match="--resize a"):
        fuser(small, np.pad(large, ((0, 30), (0, 0))))


def test_blur_is_undone_where_it_is_given(fuser):
    blurred = rounded(ndimage.gaussian_filter(INFRARED.astype(float), 1.5))
    kept = latent(fuser, blurred, Observation(blur=0))
    assert psnr(kept, INFRARED) == pytest.approx(psnr(blurred, INFRARED))
    x = latent(fuser, blurred, Observation(blur=1.5))
    assert psnr(x, INFRARED) > psnr(blurred, INFRARED) + 2


def test_powers_of_matrices_agree_with_numpy():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((5, 2, 2))
    matrices = root @ root.transpose(0, 2, 1) + 0.01 * np.eye(2)
    field = (torch.from_numpy(matrices[:, i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    xx, xy, yy = tensor_power(tuple(field), -0.7)
    values, vectors = np.linalg.eigh(matrices)
    expected = vectors @ (values[:, :, None] ** -0.7 * vectors.transpose(0, 2, 1))
    np.testing.assert_allclose(xx, expected[:, 0, 0])
    np.testing.assert_allclose(xy, expected[:, 0, 1], atol=1e-12)
    np.testing.assert_allclose(yy, expected[:, 1, 1])
