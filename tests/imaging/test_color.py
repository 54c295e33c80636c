"""Colour against scikit-image, Pillow and closed forms."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr

from ddfm.imaging.color import (
    as_vivid,
    fuse_chroma,
    limit_chroma,
    rgb_to_ycbcr,
    ycbcr_to_rgb,
)


def random_rgb(*size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, *size, generator=generator, dtype=torch.float64) * 2 - 1


def last(image: torch.Tensor) -> np.ndarray:
    return image.permute(0, 2, 3, 1).numpy()


def test_full_range_agrees_with_scikit_image():
    rgb = random_rgb(7, 5)
    studio = rgb2ycbcr((last(rgb) + 1) / 2)  # Y in 16..235, chroma in 16..240 about 128
    expected = (studio - [16 + 219 / 2, 128, 128]) / [219 / 2, 112, 112]
    np.testing.assert_allclose(last(rgb_to_ycbcr(rgb)), expected, atol=1e-5)


def test_full_range_agrees_with_pillow():
    rgb = random_rgb(9, 8).float()
    bytes_ = ((rgb[0].permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8)
    pillow = np.asarray(Image.fromarray(bytes_.numpy()).convert("YCbCr"), np.float64)
    ours = rgb_to_ycbcr(bytes_.permute(2, 0, 1)[None] / 127.5 - 1)
    np.testing.assert_allclose(last(ours)[0] * 127.5 + [127.5, 128, 128], pillow, atol=1.01)


def test_corners_of_the_colour_cube():
    rgb = torch.tensor([[1, 1, 1], [-1, -1, -1], [1, -1, -1], [-1, -1, 1], [0.2, 0.2, 0.2]])
    y, cb, cr = rgb_to_ycbcr(rgb.double()[:, :, None, None])[:, :, 0, 0].T
    np.testing.assert_allclose(y, [1, -1, 2 * 0.299 - 1, 2 * 0.114 - 1, 0.2], atol=1e-7)
    np.testing.assert_allclose(cb, [0, 0, -2 * 0.299 / 1.772, 1, 0], atol=1e-7)
    np.testing.assert_allclose(cr, [0, 0, 1, -2 * 0.114 / 1.402, 0], atol=1e-7)


def test_conversion_to_ycbcr_and_back_is_exact():
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        rgb = random_rgb(4, 6).to(dtype)
        assert rgb_to_ycbcr(rgb).dtype == dtype
        torch.testing.assert_close(ycbcr_to_rgb(rgb_to_ycbcr(rgb)), rgb, atol=tolerance, rtol=0)


def chroma(cb: float, cr: float) -> torch.Tensor:
    return torch.tensor([cb, cr], dtype=torch.float64).view(1, 2, 1, 1)


def test_chroma_is_averaged_by_saturation():
    def fused(*pairs):
        return fuse_chroma([chroma(*pair) for pair in pairs]).flatten().tolist()

    assert fused((0, 0), (0, 0)) == [0, 0]
    assert fused((0.3, 0.4), (0, 0)) == pytest.approx([0.3, 0.4], abs=1e-5)
    assert fused((0.2, -0.1), (0.2, -0.1)) == pytest.approx([0.2, -0.1])
    # Saturations 0.5 and 0.25: two thirds of the one and a third of the other.
    assert fused((0.3, 0.4), (-0.25, 0)) == pytest.approx([0.35 / 3, 0.8 / 3], abs=1e-5)
    assert fused((0.5, 0), (-0.5, 0)) == pytest.approx([0, 0])
    assert fused((0.3, 0.4), (0, 0), (0, 0.5)) == pytest.approx([0.15, 0.45], abs=1e-5)


def test_fused_chroma_has_no_jump_at_grey():
    steps = torch.linspace(-1e-3, 1e-3, 2001, dtype=torch.float64).view(1, 1, 1, -1)
    near = torch.cat([steps, torch.zeros_like(steps)], 1)
    for other in (torch.zeros_like(near), near.flip(3) * 0.3 + 1e-4, near + 0.2):
        fused = fuse_chroma([near, other])
        assert fused.isfinite().all()
        assert fused.diff(dim=3).abs().max() < 4e-6  # for steps of 1e-6
    half = fuse_chroma([torch.zeros(1, 2, 3, 3, dtype=torch.float16)] * 2)
    assert half.isfinite().all()


def test_chroma_follows_the_luminance_as_the_saturation_of_colorsys():
    """A colour at half its brightness is the same colour in half the light."""
    colour = np.array([0.8, 0.5, 0.3])
    y, cb, cr = rgb_to_ycbcr(torch.tensor(2 * colour - 1).view(1, 3, 1, 1)).split(1, 1)
    darker = (y + 1) / 2 - 1
    chroma = as_vivid(torch.cat([cb, cr], 1), y, darker)
    half = (ycbcr_to_rgb(torch.cat([darker, chroma], 1)).flatten().numpy() + 1) / 2
    hue, saturation, value = colorsys.rgb_to_hsv(*half)
    assert (hue, saturation, 2 * value) == pytest.approx(colorsys.rgb_to_hsv(*colour))
    far = as_vivid(chroma, darker * 0 - 0.99, y)
    torch.testing.assert_close(far, 2 * chroma)


def test_limited_chroma_stays_in_range_with_luminance_and_hue():
    rgb = random_rgb(40, 40, seed=1)
    _, cb, cr = rgb_to_ycbcr(rgb).split(1, 1)
    y = random_rgb(40, 40, seed=2)[:, :1]  # another luminance: many colours leave the cube
    outside = ycbcr_to_rgb(torch.cat([y, cb, cr], 1)).abs().amax(1) > 1
    assert 0.2 < outside.double().mean() < 0.95
    new_cb, new_cr = limit_chroma(y, cb, cr)
    limited = ycbcr_to_rgb(torch.cat([y, new_cb, new_cr], 1))
    assert limited.abs().max() <= 1 + 1e-12
    torch.testing.assert_close(rgb_to_ycbcr(limited)[:, :1], y, atol=1e-12, rtol=0)
    assert ((new_cb * cr - new_cr * cb).abs() < 1e-12).all()  # on the same ray from grey
    assert (new_cb * cb + new_cr * cr >= 0).all()
    inside = ~outside.unsqueeze(1)
    assert torch.equal(new_cb[inside], cb[inside]) and torch.equal(new_cr[inside], cr[inside])
    # Just enough: what was outside now touches a face of the cube.
    assert (limited.abs().amax(1)[outside] > 1 - 1e-9).all()


def test_limited_chroma_keeps_the_hue_of_colorsys():
    y, cb, cr = (torch.full((1, 1, 1, 1), v, dtype=torch.float64) for v in (0.7, -0.5, 0.6))
    cb_in, cr_in = limit_chroma(y, cb, cr)

    def hue(*planes):
        rgb = (ycbcr_to_rgb(torch.cat(planes, 1)).flatten() + 1) / 2
        return colorsys.rgb_to_hsv(*rgb.tolist())[0]

    assert abs(cb_in) < abs(cb)
    assert hue(y, cb_in, cr_in) == pytest.approx(hue(y, cb * 0.01, cr * 0.01), abs=1e-9)


def test_black_and_white_have_no_chroma():
    for y in (-1.0, 1.0, 1.2, -1.3):
        cb, cr = limit_chroma(torch.full((1, 1), y), torch.full((1, 1), 0.4), torch.zeros(1, 1))
        assert cb.item() == 0 and cr.item() == 0
