"""Results: depth, range, colour, alpha, profile and tone, and what a notebook shows."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from ddfm import Fusion, Picture, fuse, read_image
from ddfm.errors import DdfmWarning, InputError
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.schedule import alphas_bar
from scenes import PLAIN, image, luma


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        (np.uint8, np.uint8, np.uint8),
        (np.uint16, np.uint16, np.uint16),
        (np.float32, np.float32, np.float32),
        (np.uint8, np.uint16, np.uint16),
        (np.float32, np.uint8, np.float32),
        (np.float64, np.uint16, np.float32),
    ],
)
def test_the_result_has_the_depth_of_the_deeper_source(first, second, result):
    a, b = image(0, dtype=first), image(1, dtype=second)
    fused = fuse(a, b, prior="gaussian", **PLAIN)
    assert fused.image.dtype == result
    exact = fuse(image(0, dtype=np.float32), image(1, dtype=np.float32), prior="gaussian", **PLAIN)
    white = 1.0 if result is np.float32 else np.iinfo(result).max
    np.testing.assert_allclose(fused.image / white, exact.image, atol=0.02)
    levels = len(np.unique(fused.image))
    assert (levels < 200) if result is np.uint8 else (levels > 400)  # nothing was banded


def test_floats_of_another_range_are_returned_in_that_range():
    a, b = 2 * image(0, dtype=np.float32) - 1, 2 * image(1, dtype=np.float32) - 1
    a[0, 0], b[0, 0] = -1, 1  # the sources span [-1, 1] together, neither does alone
    fused = fuse(a, b, prior="gaussian", **PLAIN).image
    assert fused.dtype == np.float32 and fused.min() < -0.05 and fused.min() >= -1
    degrees = fuse(20 + 15 * image(0, dtype=np.float32), image(1), prior="gaussian", **PLAIN).image
    assert degrees.min() >= 0 and degrees.max() <= 1  # of two that have no scale in common


def test_grey_sources_make_grey():
    rgb = np.repeat(image(1)[..., None], 3, axis=2)
    assert fuse(image(0), rgb, prior="gaussian", **PLAIN).image.ndim == 2


@pytest.mark.parametrize("colored", ["a", "b"])
def test_one_colour_source_keeps_its_chroma_and_luminance_is_fused(colored):
    color, grey = image(3, channels=3, dtype=np.float32), image(1, dtype=np.float32)
    pair = (color, grey) if colored == "a" else (grey, color)
    as_grey = luma(color).astype(np.float32)
    fused = fuse(*pair, prior="gaussian", task="ir-visible", **PLAIN).image
    uncolored = (as_grey, grey) if colored == "a" else (grey, as_grey)
    flat = fuse(*uncolored, prior="gaussian", **PLAIN)
    np.testing.assert_allclose(luma(fused), flat.image, atol=2e-6)
    # R - Y and B - Y are what chroma is; here they have room.
    for channel in (0, 2):
        np.testing.assert_allclose(
            fused[..., channel] - luma(fused), color[..., channel] - luma(color), atol=2e-6
        )


def test_two_colour_sources_share_their_chroma_by_saturation():
    a, b = (image(seed, channels=3, dtype=np.float32) for seed in (3, 4))
    fused = fuse(a, b, prior="gaussian", **PLAIN).image.astype(float)

    def chroma(rgb):  # Cb and Cr by ITU-R BT.601
        y = luma(rgb)
        return np.stack([(rgb[..., 2] - y) / 1.772, (rgb[..., 0] - y) / 1.402])

    weights = [np.hypot(*chroma(x)) for x in (a, b)]
    mixed = sum(w * chroma(x) for w, x in zip(weights, (a, b), strict=True)) / sum(weights)
    np.testing.assert_allclose(chroma(fused), mixed, atol=1e-5)
    flat = fuse(*(luma(x).astype(np.float32) for x in (a, b)), prior="gaussian", **PLAIN).image
    np.testing.assert_allclose(luma(fused), flat, atol=2e-6)


def test_the_source_of_the_colour_can_be_chosen():
    a, b = (image(seed, channels=3, dtype=np.float32) for seed in (3, 4))
    grey = fuse(a, b, prior="gaussian", color="grey", **PLAIN)
    assert grey.image.ndim == 2
    for color, source in (("a", a), ("b", b)):
        fused = fuse(a, b, prior="gaussian", color=color, **PLAIN).image
        np.testing.assert_allclose(luma(fused), grey.image, atol=2e-6)
        difference = fused[..., 0] - luma(fused)
        np.testing.assert_allclose(difference, source[..., 0] - luma(source), atol=2e-6)
    fused = fuse(a, image(1), prior="gaussian", task="ir-visible", color="b", **PLAIN)
    assert fused.image.ndim == 2  # b has none


def test_a_prior_of_rgb_gives_the_sources_no_colour_of_its_own():
    """A prior that sees orange everywhere: of its estimate only luminance comes in."""
    orange = torch.tensor([1.0, 0.3, -0.8]).view(1, 3, 1, 1)
    prior = FunctionPrior(lambda x, t: orange + 0 * x, alphas_bar(), kind="x0", channels=3)
    as_grey = float((orange.flatten() * torch.tensor([0.299, 0.587, 0.114])).sum())
    flat = FunctionPrior(lambda x, t: as_grey + 0 * x, alphas_bar(), kind="x0", channels=1)
    a, b = image(0, dtype=np.float32), image(1, dtype=np.float32)
    fused = fuse(a, b, prior=prior, **PLAIN).image
    assert fused.ndim == 2
    np.testing.assert_allclose(fused, fuse(a, b, prior=flat, **PLAIN).image, atol=1e-5)
    color = image(3, channels=3, dtype=np.float32)
    fused = fuse(a, color, prior=prior, **PLAIN).image
    difference = fused[..., 0] - luma(fused)
    np.testing.assert_allclose(difference, color[..., 0] - luma(color), atol=2e-6)


def test_alpha_is_that_of_the_colour_source(tmp_path):
    opacity = image(7)
    color = np.dstack([image(3, channels=3), opacity])
    other = np.dstack([image(1), 255 - opacity])
    for pair in ((color, other), (other, color)):
        fused = fuse(*pair, prior="gaussian", task="ir-visible", **PLAIN)
        assert fused.image.shape == (24, 20, 4)
        assert np.array_equal(fused.image[..., 3], opacity)
        fused.save(tmp_path / "f.png")
        assert np.array_equal(np.asarray(Image.open(tmp_path / "f.png")), fused.image)
    grey = fuse(image(0), other, prior="gaussian", **PLAIN).image
    assert grey.shape == (24, 20, 2) and np.array_equal(grey[..., 1], 255 - opacity)


@pytest.mark.parametrize("suffix", ["jpg", "bmp"])
def test_a_format_without_transparency_is_warned_of(tmp_path, suffix):
    clear = np.dstack([image(3, channels=3), image(7)])
    fusion = fuse(image(0), clear, prior="gaussian", **PLAIN)
    with pytest.warns(DdfmWarning, match=f"f.{suffix}: .* has no transparency"):
        fusion.save(tmp_path / f"f.{suffix}")
    with pytest.warns(DdfmWarning, match="has no transparency"):
        fusion.save(io.BytesIO(), format=suffix)
    fusion.save(tmp_path / "f.webp")
    opaque = np.dstack([image(3, channels=3), np.full((24, 20), 255, np.uint8)])
    fuse(image(0), opaque, prior="gaussian", **PLAIN).save(tmp_path / f"g.{suffix}")


def test_a_result_is_written_to_files_that_are_open_for_bytes(tmp_path):
    fusion = fuse(image(0), image(1), prior="gaussian", **PLAIN)
    with pytest.raises(InputError, match="open for text, not for bytes: open it with 'wb'"):
        fusion.save(io.StringIO(), format="png")
    with open(tmp_path / "text", "w") as file, pytest.raises(InputError, match="open for text"):
        fusion.save(file, format="png")
    with open(tmp_path / "bytes", "wb") as file:
        fusion.save(file, format="png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "bytes")), fusion.image)


def test_a_result_that_was_made_by_hand_has_a_record_without_sources():
    record = Fusion(read_image(image(0)), {"seed": 3}).record
    assert record.settings == {"seed": 3} and list(record.sources) == []


def test_the_samples_of_a_picture_are_an_array():
    for wrong in ([[[0], [1]]], torch.zeros(2, 2, 1)):
        with pytest.raises(InputError, match=f"a NumPy array, not {type(wrong).__name__}"):
            Picture(wrong)


def test_the_colour_sources_profile_is_kept(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(image(3, channels=3)).save(tmp_path / "b.png", icc_profile=profile)
    fuse(image(0), tmp_path / "b.png", prior="gaussian", **PLAIN).save(tmp_path / "f.png")
    with Image.open(tmp_path / "f.png") as written:
        assert written.info["icc_profile"] == profile


@pytest.fixture(scope="module")
def srgb():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def wide(srgb):
    return srgb.replace(b"sRGB", b"Wide").replace("sRGB".encode("utf-16-be"), b"\0W\0i\0d\0e")


@pytest.mark.parametrize("suffix", ["bmp", "j2k"])
def test_a_format_without_a_profile_is_warned_of(tmp_path, recwarn, srgb, wide, suffix):
    for name, icc, channels in (("wide", wide, 3), ("srgb", srgb, 3), ("grey", wide, 1)):
        path = tmp_path / f"{name}.png"
        Image.fromarray(image(3, channels=channels)).save(path, icc_profile=icc)
        fuse(image(0), path, prior="gaussian", **PLAIN).save(tmp_path / f"{name}.{suffix}")
    (word,) = (str(one.message) for one in recwarn)
    assert f"wide.{suffix}: a .{suffix} file has no colour profile" in word


def test_colours_of_different_profiles_are_warned_of(tmp_path, srgb, wide):
    dated = wide[:24] + b"\0" * 12 + wide[36:]  # its day and time
    profiles = {"none": None, "srgb": srgb, "wide": wide, "dated": dated}
    for name, icc in profiles.items():
        seed = list(profiles).index(name)
        Image.fromarray(image(seed, channels=3)).save(tmp_path / f"{name}.png", icc_profile=icc)
    how = {"prior": "gaussian", "task": "multi-exposure", "look": False}

    def of(a, b, **more):
        fusion = fuse(tmp_path / f"{a}.png", tmp_path / f"{b}.png", **how, **more)
        return [word for word in fusion.warnings if "profile" in word]

    assert of("none", "srgb") == of("wide", "dated") == []
    with pytest.warns(DdfmWarning, match=r"none.png and .*wide.png have different colour profiles"):
        assert len(of("none", "wide")) == 1
    with pytest.warns(DdfmWarning, match=r"if both had that of .*srgb.png"):
        of("srgb", "wide")
    assert of("none", "wide", color="b") == of("none", "wide", color="grey") == []


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_notebook_shows_the_result(channels):
    fusion = fuse(image(0), image(1, channels=channels, dtype=np.uint16), prior="gaussian", **PLAIN)
    shown = np.asarray(Image.open(io.BytesIO(fusion._repr_png_())))
    assert shown.dtype == np.uint8
    assert np.abs(shown / 255 - fusion.image / 65535).max() < 0.003


def test_tone_is_a_step_after_the_fusion():
    dull = 0.5 * image(0) / 255, 0.5 * image(1) / 255
    fused = {tone: fuse(*dull, prior="gaussian", tone=tone) for tone in ("auto", "none")}
    low, high = fused["auto"].chosen["curve"]
    assert fused["none"].chosen == {} and "spread" not in fused["none"].settings["options"]
    levels = {tone: fusion.picture.pixels[..., 0] for tone, fusion in fused.items()}
    gain, offset = (high - low) / 2, (1 + low) / 2
    np.testing.assert_allclose(levels["auto"], gain * levels["none"] + offset, atol=1e-5)
    assert gain > 1.1
    medical = {tone: fuse(*dull, prior="gaussian", tone=tone, task="medical") for tone in fused}
    assert np.array_equal(medical["auto"].image, medical["none"].image)
