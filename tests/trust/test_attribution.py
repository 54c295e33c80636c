"""Attribution of a result to its sources: sums, known scenes, unsupported pixels, files."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from command_line import ddfm_run
from ddfm import DdfmError, Fuser, read_image
from ddfm.diffusion.observed import Observed
from ddfm.likelihood.base import Shares, share_of
from ddfm.priors.gaussian import GaussianPrior
from ddfm.registration.transform import Transform
from ddfm.trust.attribution import Attribution, attributed
from places import EXAMPLES

PAIR = (EXAMPLES / "olinda_infrared.png", EXAMPLES / "olinda_visible.png")
PLAIN = {"device": "cpu", "look": False}


def crop(name: str, size: int = 128) -> np.ndarray:
    return read_image(name).pixels[-size:, -size:]


@pytest.mark.parametrize(
    "settings",
    [{}, {"task": "medical"}, {"task": "multi-focus"}, {"likelihood": "paper", "steps": 3}],
)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_shares_sum_to_one_and_are_none_below_zero(settings, noise):
    rng = np.random.default_rng(0)
    pair = [(crop(name, 48) + noise * rng.normal(size=(48, 48, 1))).clip(0, 1) for name in PAIR]
    fuser = Fuser(GaussianPrior(), **(PLAIN | {"task": "ir-visible"} | settings))
    found = fuser(*(p.astype(np.float32) for p in pair), attribution=True).attribution
    for shares in (found.levels, found.gradients):
        assert shares.shape == (3, 48, 48)
        assert shares.min() >= 0
        np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)


def test_three_sources_have_three_shares_and_the_prior_one():
    pictures = [crop(PAIR[0], 32), crop(PAIR[1], 32), 1 - crop(PAIR[1], 32)]
    found = Fuser(GaussianPrior(), task="multi-focus", **PLAIN)(*pictures, attribution=True)
    assert found.attribution.levels.shape == (4, 32, 32)
    assert len(found.attribution.names) == 4


def test_a_source_has_no_share_where_it_is_invalid():
    """In its gaps, and outside of its moved frame."""
    thermal, visible = (crop(name, 64) for name in PAIR)
    gap = thermal.copy()
    gap[:, :20] = np.nan
    moved = np.array([[1, 0, 20.0], [0, 1, 0], [0, 0, 1]])
    there = Transform(moved, (64, 64), (64, 64), "shift")
    for source, how in ((gap, {"look": False}), (thermal, {"transform": there})):
        fuser = Fuser(GaussianPrior(), task="ir-visible", device="cpu", **how)
        found = fuser(source, visible, attribution=True).attribution
        for shares in (found.levels, found.gradients):
            assert shares[0, :, :20].max() == 0 and shares[0, :, 22:].max() > 0.01
            np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)


def test_where_all_sources_are_invalid_shares_are_unchanged():
    shares = np.full((3, 4, 4), 1 / 3, np.float32)
    blank = np.zeros((4, 4), bool)
    one = Attribution(("a", "b", "the prior"), shares, shares, blank, blank.astype(np.float32))
    assert one.among([None, None]) is one
    np.testing.assert_allclose(one.among([blank, blank]).levels, shares, atol=1e-7)
    np.testing.assert_allclose(one.among([blank, None]).levels[:, 0, 0], [0, 2 / 3, 1 / 3])


def test_details_are_attributed_to_the_source_that_has_them():
    left = np.full((64, 64), 0.5, np.float32)
    right = left.copy()
    left[:, :32] += 0.2 * np.random.default_rng(0).random((64, 32), np.float32)
    right[:, 32:] += 0.2 * np.random.default_rng(1).random((64, 32), np.float32)
    fuser = Fuser(GaussianPrior(), task="multi-focus", clean=1.0, **PLAIN)
    shares = fuser(left, right, attribution=True).attribution.gradients
    assert shares[0, :, 2:28].mean() > 0.9
    assert shares[1, :, 36:62].mean() > 0.9


def test_a_picture_fused_with_itself_gives_the_prior_no_share():
    picture = crop(PAIR[1])
    found = Fuser(task="ir-visible", **PLAIN)(picture, picture, attribution=True).attribution
    assert found.levels[2].max() == 0 and found.gradients[2].max() == 0
    assert not found.unsupported.any()


def test_smoothing_by_the_prior_is_attributed_to_the_prior():
    """In a flat noisy source, gradients are attributed to the prior, levels to the source."""
    noise = 0.1 * np.random.default_rng(0).normal(size=(2, 64, 64))
    pair = (0.5 + noise).astype(np.float32)
    found = Fuser(task="ir-visible", **PLAIN)(*pair, attribution=True).attribution
    assert found.gradients[2].mean() > 0.5
    assert found.levels[2].mean() < 0.1


def test_a_change_counts_in_proportion_to_its_size():
    f = torch.full((1, 1, 16, 16), 0.0)
    levels, _ = share_of(torch.full_like(f, 0.25), f)
    torch.testing.assert_close(levels, torch.full_like(f, 0.2))  # a quarter beside one


def plain(picture: torch.Tensor) -> Observed:
    return Observed(picture, None, 0.0, 0.0, 0.0)


def test_pixels_that_no_source_supports_are_marked():
    low, high = torch.full((1, 1, 32, 32), -0.4), torch.full((1, 1, 32, 32), 0.0)
    f = torch.full_like(low, -0.2)  # between both
    f[..., 8:24, 8:24] = 0.2  # 25 grey levels above the brighter source
    half = torch.full((1, 2, 32, 32), 0.5)
    shares = Shares.of_sources(half, half)
    luminance = ((f + 1) / 2)[0, 0].numpy()
    found = attributed(shares, [plain(low), plain(high)], f, luminance, ("a", "b"))
    assert found.unsupported[10:22, 10:22].all()
    assert not found.unsupported[:, :3].any()


@pytest.mark.parametrize("settings", [{"method": "dmfuse"}, {"likelihood": "reference"}])
def test_methods_without_attribution_are_refused(settings):
    prior = "default" if "method" in settings else GaussianPrior()
    fuser = Fuser(prior, **PLAIN, **settings)
    with pytest.raises(DdfmError, match="cannot trace its result"):
        fuser(crop(PAIR[0]), crop(PAIR[1]), attribution=True)


def test_the_command_line_writes_shares_and_a_picture(tmp_path):
    sources = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, original in zip(sources, PAIR, strict=True):
        Image.open(original).crop((200, 100, 328, 164)).save(path)
    out, shares, picture = (tmp_path / name for name in ("o.png", "map.tif", "map.png"))
    assert ddfm_run("fuse", *sources, "-o", out, "--attribution", shares, "-q").exit_code == 0
    with tifffile.TiffFile(shares) as file:
        names = [page.description for page in file.pages]
        planes = np.stack([page.asarray() for page in file.pages])
    assert [name.split()[0] for name in names] == ["levels"] * 3 + ["gradients"] * 3 + [
        "unsupported"
    ]
    np.testing.assert_allclose(planes[:3].sum(axis=0), 1, atol=1e-5)
    assert ddfm_run("fuse", *sources, "-o", out, "--attribution", picture, "-q").exit_code == 0
    with Image.open(picture) as image:
        assert image.width == 2 * 128 + 4 and image.height > 64  # two panels, and a legend
