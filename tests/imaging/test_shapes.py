"""Sources of different shapes, and files that hold several pictures."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

import ddfm
from command_line import FAST, ddfm_run, refused
from ddfm.errors import DdfmError, DdfmWarning
from ddfm.imaging.opening import Opening
from ddfm.imaging.reading import pages_in, read_image
from ddfm.imaging.sources import read_sources


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.uint8(127 + 60 * np.sin(x / 5) + 60 * np.cos(y / 7))


@pytest.fixture(scope="module")
def fuser() -> ddfm.Fuser:
    return ddfm.Fuser("gaussian", likelihood="paper", steps=2, device="cpu", resize="b", look=False)


def test_a_picture_that_is_stretched_causes_a_warning(fuser):
    with pytest.warns(DdfmWarning, match="64 x 32 pixels become 64 x 48.*stretched by 1.50"):
        fuser(picture(32, 64), picture(48, 64))


def test_nearly_the_same_aspect_ratio_causes_no_warning(fuser):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fuser(picture(47, 64), picture(48, 64))
        fuser(picture(24, 32), picture(48, 64))


@pytest.fixture
def stack(tmp_path):
    """A TIFF of three pictures and a smaller copy of the last, as maps have."""
    pages = [np.full((20, 30), 40 * (k + 1), np.uint8) for k in range(3)]
    with tifffile.TiffWriter(tmp_path / "stack.tif") as writer:
        for page in pages:
            writer.write(page, metadata=None, contiguous=False)
        writer.write(pages[2][::2, ::2], subfiletype=1, metadata=None)
    tifffile.imwrite(tmp_path / "one.tif", pages[0])
    return tmp_path / "stack.tif", tmp_path / "one.tif"


def test_a_page_is_chosen_of_files_with_several(stack):
    assert [pages_in(file) for file in stack] == [3, 1]
    with pytest.warns(DdfmWarning, match="stack.tif holds 3 pictures, and the first is used"):
        first, one = Opening().pictures(stack)
    third, other = Opening(page=2).pictures(stack)
    levels = [round(255 * float(p.pixels.mean())) for p in (first, one, third, other)]
    assert levels == [40, 40, 120, 40]
    with pytest.raises(DdfmError, match="has 4 pages, so there is no page 9"):
        Opening(page=9).pictures(stack)
    with pytest.raises(DdfmError, match="page must be 0 or a larger number"):
        Opening(page=-1)


def test_python_warns_of_several_pages_and_takes_a_page(stack):
    with pytest.warns(DdfmWarning, match="stack.tif holds 3 pictures, and the first is used"):
        ddfm.Fuser(prior="gaussian", steps=1)(*stack, progress=False)
    with pytest.warns(DdfmWarning, match="^the first image holds 3 pictures"):
        read_sources([stack[0].read_bytes(), stack[1]], "auto")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert round(255 * float(read_image(stack[0], page=1).pixels.mean())) == 80


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animations_have_several_pages(tmp_path, suffix):
    frames = [Image.new("L", (30, 20), 60 * (k + 1)) for k in range(3)]
    path = tmp_path / f"moving.{suffix}"
    how = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **how)
    with pytest.warns(DdfmWarning, match=f"moving.{suffix} holds 3 pictures, and the first"):
        assert round(255 * float(read_image(path).pixels.mean())) == 60
    assert round(255 * float(read_image(path, page=2).pixels.mean())) == 180
    with pytest.raises(DdfmError, match="has 3 pages, so there is no page 3"):
        read_image(path, page=3)


def test_the_command_takes_a_page(tmp_path, stack):
    files, out = [str(file) for file in stack], tmp_path / "out.png"
    assert ddfm_run("fuse", *files, "-o", out, "--page", 2, *FAST).exit_code == 0
    with Image.open(out) as image:
        assert image.size == (30, 20)
    alone = ddfm_run("fuse", files[1], files[1], "-o", tmp_path / "x.png", "--page", 1, *FAST)
    refused(alone, "is for files that hold several pictures")
