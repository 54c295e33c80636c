"""More than two sources: any order, exposures, focus stacks, from Python and from the terminal."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from command_line import ddfm_run, refused
from ddfm import DdfmError, Fuser, fuse
from places import EXAMPLES
from scenes import psnr


@pytest.fixture(scope="module")
def gaussian() -> Fuser:
    return Fuser("gaussian", task="multi-focus", device="cpu")


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A piece of a photograph, sharp from border to border."""
    return np.asarray(Image.open(EXAMPLES / "olinda_visible.png").convert("RGB"))[120:248, 60:220]


@pytest.fixture(scope="module")
def stack(scene) -> list[np.ndarray]:
    """The scene three times, a third of it in focus each."""
    blurred = gaussian_filter(scene.astype(float), (2.5, 2.5, 0))
    x = np.linspace(0, 1, scene.shape[1])[None, :, None]
    edges = [np.clip((x - edge) / 0.06 + 0.5, 0, 1) for edge in (1 / 3, 2 / 3)]
    in_focus = [1 - edges[0], edges[0] * (1 - edges[1]), edges[1]]
    return [np.rint(m * scene + (1 - m) * blurred).astype(np.uint8) for m in in_focus]


def test_a_stack_in_partial_focus_becomes_sharp(gaussian, stack, scene):
    fused = gaussian(*stack)
    assert fused.image.shape == scene.shape and len(fused.settings["sources"]) == 3
    assert psnr(fused.image, scene) > psnr(np.mean(stack, axis=0), scene) + 8


def test_the_order_of_the_sources_does_not_matter(gaussian, stack):
    results = [gaussian(*some).image.astype(int) for some in permutations(stack)]
    assert max(np.abs(result - results[0]).max() for result in results) <= 1


@pytest.mark.parametrize("task", ["ir-visible", "medical", "multi-exposure", "multi-focus"])
def test_a_repeated_source_changes_little(stack, task):
    fuser = Fuser("gaussian", task=task, device="cpu")
    two = fuser(stack[0], stack[1]).image.astype(int)
    four = fuser(stack[0], stack[1], stack[0], stack[1]).image.astype(int)
    assert np.abs(two - four).mean() < 4


def test_groups_of_two_and_three_are_fused_in_a_batch_as_alone(gaussian, stack):
    groups = [stack, stack[:2], stack[1:]]
    for group, fusion in zip(groups, gaussian.batch(groups), strict=True):
        assert np.array_equal(fusion.image, gaussian(*group).image)


def test_impossible_groups_are_refused(stack):
    with pytest.raises(DdfmError, match="two or more images"):
        fuse(stack[0], prior="gaussian")
    for images in (list(stack), iter(stack), np.stack(stack), np.stack(stack)[..., 0]):
        with pytest.raises(DdfmError, match=r"for a list of images, call fuse\(\*images\)"):
            fuse(images, prior="gaussian")
    with pytest.raises(DdfmError, match="image 3 100 x 128.*resize=a"):
        fuse(*stack[:2], stack[2][:, :100], prior="gaussian")
    with pytest.raises(DdfmError, match="paper needs two sources, not 3"):
        fuse(*stack, prior="gaussian", likelihood="paper")


def test_a_file_of_several_pictures_is_refused_with_a_way_to_fuse_them(stack, tmp_path):
    tifffile.imwrite(tmp_path / "z.tif", np.stack(stack), photometric="rgb")
    told = refused(ddfm_run("fuse", str(tmp_path / "z.tif"), "-o", str(tmp_path / "o.tif")))
    assert "z.tif holds 3 pictures" in told and "read_image(file, page=k)" in told


def test_three_files_are_fused_from_the_command_line(stack, tmp_path):
    files = [tmp_path / f"{k}.png" for k in range(3)]
    for path, pixels in zip(files, stack, strict=True):
        Image.fromarray(pixels).save(path)
    options = ["--prior", "gaussian", "--task", "multi-focus", "--device", "cpu"]
    out = tmp_path / "sharp.png"
    result = ddfm_run("fuse", *files, "-o", out, *options)
    assert result.exit_code == 0, result.output
    expected = fuse(*stack, prior="gaussian", task="multi-focus", device="cpu").image
    assert np.array_equal(np.asarray(Image.open(out)), expected)
    result = ddfm_run("fuse", files[0], "-o", out, *options)
    assert result.exit_code == 2 and "Traceback" not in result.output
