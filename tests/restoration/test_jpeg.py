"""JPEG: its quality found in the pixels, its intervals kept, and its blocks undone."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ddfm import Fuser
from ddfm.restoration.jpeg import find_quality, held_to_file, quantisation
from degraded import INFRARED, VISIBLE
from scenes import as_jpeg, psnr, rounded


def test_quantisation_tables_are_those_of_libjpeg():
    for quality in (10, 30, 75, 95):
        buffer = io.BytesIO()
        Image.fromarray(INFRARED).save(buffer, "JPEG", quality=quality)
        table = Image.open(io.BytesIO(buffer.getvalue())).quantization[0]
        assert quantisation(quality).flatten().tolist() == list(table)


def test_a_restored_jpeg_stays_within_its_quantisation_intervals():
    """The original is within the intervals, so it is unchanged except for rounding."""
    file = as_jpeg(INFRARED, 30)
    x, y = (torch.from_numpy(p / 127.5 - 1)[None, None] for p in (INFRARED, file))
    assert (held_to_file(x, y, 30) - x).abs().mean() < 0.5 / 127.5
    flat = torch.zeros_like(y)
    assert (held_to_file(flat, y, 30) - y).abs().mean() < (flat - y).abs().mean() / 3


@pytest.mark.parametrize("quality", [10, 30, 55])
def test_the_quality_is_found_if_the_block_grid_is_intact(quality):
    file = as_jpeg(INFRARED, quality) / 255
    assert find_quality(file) == pytest.approx(quality, abs=2)  # some tables differ in little
    assert find_quality(file[3:, 5:]) is None


@pytest.mark.parametrize("plane", [INFRARED, VISIBLE], ids=["infrared", "visible"])
def test_pictures_with_little_or_no_compression_have_no_quality(plane):
    assert find_quality(plane / 255) is None
    assert find_quality(as_jpeg(plane, 90) / 255) is None


def test_jpeg_is_detected_and_undone_with_the_prior():
    fuser = Fuser(device="cpu", look=False)
    file = as_jpeg(INFRARED, 30)
    fusion = fuser(file, VISIBLE)
    assert fusion.settings["observed"][0] == {"jpeg": 30}
    x = 255 * fusion.sources[0].pixels[..., 0]
    assert psnr(x, INFRARED) > psnr(file, INFRARED) + 0.4


def test_noise_in_a_jpeg_is_removed_and_causes_no_warning_if_it_is_specified(fuser):
    clean = ndimage.gaussian_filter(VISIBLE.astype(float), 6)  # texture would hide it
    noise = 12 * np.random.default_rng(0).standard_normal(clean.shape)
    came = as_jpeg(rounded(clean + noise), 50)
    for given in (None, [None, {"noise": 12}]):
        fusion = fuser.with_config(observations=given)(INFRARED, came)
        assert fusion.settings["observed"][1]["jpeg"] == 49  # its table is that of 50
        assert fusion.settings["observed"][1]["noise"] == pytest.approx(10.5, abs=2)
        assert fusion.warnings == ()
        assert psnr(255 * fusion.sources[1].pixels[..., 0], clean) > psnr(came, clean) + 1.5
