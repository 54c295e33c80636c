"""Preparing the sources: their types, sizes and task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from ddfm import DdfmError, Fuser, fuse, read_image
from ddfm.errors import DdfmWarning
from ddfm.imaging.sources import equally_bright
from places import EXAMPLES
from scenes import PLAIN, image


def test_paths_images_arrays_and_tensors_are_the_same(tmp_path):
    a, b = image(0), image(1, channels=3)
    Image.fromarray(a).save(tmp_path / "a.png")
    Image.fromarray(b).save(tmp_path / "b.png")
    sources = [
        (tmp_path / "a.png", str(tmp_path / "b.png")),
        (Image.fromarray(a), Image.fromarray(b)),
        (torch.from_numpy(a), torch.from_numpy(b).permute(2, 0, 1)),
        (a[..., None], read_image(b)),
    ]
    expected = fuse(a, b, prior="gaussian", **PLAIN).image
    for first, second in sources:
        assert np.array_equal(fuse(first, second, prior="gaussian", **PLAIN).image, expected)


def test_sources_are_not_modified():
    a, b = image(0), image(1, channels=3)
    kept = a.copy(), b.copy()
    fuse(a, b, prior="gaussian", **PLAIN)
    assert np.array_equal(a, kept[0]) and np.array_equal(b, kept[1])


def test_a_swapped_pair_causes_a_warning_unless_its_task_is_given():
    """Colour first, grey second: a visible image before its infrared one, or PET before MRI."""
    color, grey = image(0, channels=3), image(1)
    with pytest.warns(DdfmWarning, match="so give the second image first.*--task medical"):
        fuse(color, grey, prior="gaussian", **PLAIN)
    with pytest.warns(DdfmWarning, match="for exposures or a focus stack task=multi-exposure"):
        fuse(color, grey, prior="gaussian", **PLAIN)
    for task in ("ir-visible", "medical", "multi-focus"):  # a warning would be an error here
        fuse(color, grey, prior="gaussian", task=task, **PLAIN)


def test_a_swapped_thermal_image_is_taken_for_no_other_task():
    color, thermal = image(0, channels=3), replace(read_image(image(1)), unit="°C", range=(0, 9))
    with pytest.warns(DdfmWarning, match="infrared comes first") as warned:
        fuse(color, thermal, prior="gaussian", **PLAIN)
    (line,) = (str(one.message) for one in warned)
    assert "medical" not in line and "multi" not in line and "task=ir-visible" in line


def test_two_thermal_images_cause_a_warning_unless_the_task_is_given():
    """As from `ddfm fuse *.jpg` on radiometric files of different scenes."""
    one, other = (
        replace(read_image(image(k)), unit="°C", sha256=str(k), range=(0, 9)) for k in (0, 1)
    )
    with pytest.warns(DdfmWarning, match="both thermal images.*a folder of such files"):
        fuse(one, other, prior="gaussian", **PLAIN)
    fuse(one, other, prior="gaussian", task="ir-visible", **PLAIN)  # a warning would be an error
    fuse(one, image(1), prior="gaussian", **PLAIN)


def test_names_of_medical_images_cause_a_warning_unless_the_task_is_given(tmp_path):
    mri, ct, pet, project = (
        tmp_path / name for name in ("MRI/7.png", "head_ct.png", "pet/1.png", "project.png")
    )
    for path in (mri, ct, pet, project):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image(0)).save(path)
    for pair in ((mri, image(1)), (image(1), ct), (pet, mri)):
        with pytest.warns(DdfmWarning, match=r"seems to be a medical .* as ir-visible; set task=m"):
            fuse(*pair, prior="gaussian", **PLAIN)
        fuse(*pair, prior="gaussian", task="medical", **PLAIN)  # a warning would be an error
    for animal in (pet, project):
        fuse(animal, image(1), prior="gaussian", **PLAIN)


@pytest.mark.parametrize(
    ("first", "second", "on_its_side"),
    [((8, 6), (30, 40), True), ((8, 6), (40, 40), False), ((20, 20), (22, 22), False)],
)
def test_a_picture_rotated_by_90_degrees_is_named(first, second, on_its_side):
    with pytest.raises(DdfmError) as refused:
        fuse(image(0, *first), image(1, *second))
    assert ("is rotated by 90 degrees, rotate it first" in str(refused.value)) is on_its_side


def test_resizing_happens_only_on_request():
    a, b = image(0, 10, 8), image(1, 20, 19)
    with pytest.raises(DdfmError, match="8 x 10 pixels and the second image 19 x 20.*--resize a"):
        fuse(a, b, prior="gaussian", **PLAIN)
    with pytest.warns(DdfmWarning, match="stretched by 1.19"):
        assert fuse(a, b, prior="gaussian", resize="a", **PLAIN).image.shape == (10, 8)
    with pytest.warns(DdfmWarning, match="stretched by 1.19"):
        assert fuse(a, b, prior="gaussian", resize="b", **PLAIN).image.shape == (20, 19)


def test_resizing_smooths_first():
    """One-pixel stripes become grey, and not a pattern of their own; alpha goes along."""
    from ddfm.imaging.sources import read_sources

    stripes = np.zeros((60, 80, 2), np.uint8)
    stripes[:, ::2, 0] = 255
    stripes[:30, :, 1] = 255
    _, b = read_sources((np.zeros((15, 20)), stripes), resize="a")
    assert b.pixels.shape == (15, 20, 1)
    inside = b.pixels[:, 3:-3]
    assert abs(inside.mean() - 0.5) < 0.02 and inside.std() < 0.03
    assert b.alpha[3, 5] == pytest.approx(1) and b.alpha[12, 5] == pytest.approx(0, abs=1e-6)


def test_a_focus_stack_in_colour_is_distinguished_from_exposures():
    scene = np.asarray(Image.open(EXAMPLES / "olinda_visible.png").convert("RGB"))[100:260, 100:300]
    blurred = gaussian_filter(scene.astype(float), (3, 3, 0)).astype(np.uint8)
    left, right = scene.copy(), scene.copy()
    left[:, 100:], right[:, :100] = blurred[:, 100:], blurred[:, :100]
    dark = (0.5 * scene).astype(np.uint8)
    fuser = Fuser("gaussian", steps=1, device="cpu")
    tasks = [fuser(*pair).settings["task"] for pair in ((left, right), (scene, dark))]
    assert tasks == ["multi-focus", "multi-exposure"]


def _photograph(side: int) -> np.ndarray:
    photo = Image.open(EXAMPLES / "olinda_visible.png").convert("RGB").crop((0, 0, 400, 400))
    return np.asarray(photo.resize((side, side)))


def _focused_at(scene: np.ndarray, place: float, field: float = 1.0) -> np.ndarray:
    """A photograph that is sharp in a column, more blurred away from it, and somewhat enlarged."""
    large = zoom(scene / 255, (field, field, 1), order=1)
    y, x = ((b - a) // 2 for a, b in zip(scene.shape[:2], large.shape[:2], strict=True))
    sharp = large[y : y + scene.shape[0], x : x + scene.shape[1]]
    columns = np.abs(np.linspace(0, 1, scene.shape[1]) - place)[:, None]
    blurred = gaussian_filter(sharp, (8, 8, 0))
    return np.rint(255 * (sharp + (blurred - sharp) * np.minimum(3 * columns, 1))).astype(np.uint8)


@pytest.mark.parametrize("field", [0.0, 0.005])  # by which the field of view grows at each step
def test_a_focus_stack_of_many_pictures_is_one_too(field):
    """The means of blocks differ by more than in a pair, but not all in one direction."""
    places = np.linspace(0, 1, 8)
    stack = [_focused_at(_photograph(200), x, 1 + field * k) for k, x in enumerate(places)]
    assert equally_bright([read_image(one) for one in stack])
    thirds_of_a_stop = [(one * 2.0 ** (-k / 6)).astype(np.uint8) for k, one in enumerate(stack)]
    assert not equally_bright([read_image(one) for one in thirds_of_a_stop])


def test_a_focus_stack_in_grey_causes_a_warning_unless_its_task_is_given():
    several = PLAIN | {"likelihood": "default"}
    stack = [_focused_at(_photograph(100), x).mean(axis=2).astype(np.uint8) for x in (0, 0.5, 1)]
    with pytest.warns(DdfmWarning, match="the first image and the others are.*multi-focus"):
        fuse(*stack, prior="gaussian", **several)
    for task in ("ir-visible", "multi-focus"):  # a warning would be an error here
        fuse(*stack, prior="gaussian", task=task, **several)


def test_a_grey_exposure_among_those_in_colour_causes_a_warning_unless_the_task_is_given():
    """A black or a white exposure has no colour either."""
    several = PLAIN | {"likelihood": "default"}
    color, other, grey = image(0, channels=3), image(1, channels=3), image(2)
    black, white = np.zeros_like(color), np.full_like(color, 255)
    for bracket in ((grey, color, other), (color, other, grey), (black, color, white)):
        with pytest.warns(DdfmWarning, match="is grey and others are in colour.*multi-exposure"):
            fuse(*bracket, prior="gaussian", **several)
        fuse(*bracket, prior="gaussian", task="multi-exposure", **several)
    fuse(grey, image(3), color, prior="gaussian", **several)  # infrared images come first


def test_dark_exposures_of_16_bits_are_exposures_though_they_are_stretched():
    scene = np.asarray(Image.open(EXAMPLES / "olinda_visible.png").convert("RGB"))[100:180, 100:200]
    whole, twelve_bits = scene.astype(np.uint16) * 257, scene.astype(np.uint16) * 16
    blurred = gaussian_filter(twelve_bits, (1, 1, 0))
    pairs = (0.15 * whole, whole), (0.3 * twelve_bits, twelve_bits), (twelve_bits, blurred)
    fuser = Fuser("gaussian", steps=1, device="cpu", look=False)
    tasks = [fuser(*(x.astype(np.uint16) for x in pair)).settings["task"] for pair in pairs]
    assert tasks == ["multi-exposure", "multi-exposure", "multi-focus"]


@pytest.mark.parametrize(
    ("task", "channels", "expected"),
    [
        ("auto", (1, 1), "ir-visible"),
        ("auto", (1, 3), "ir-visible"),
        ("auto", (3, 3), "multi-exposure"),
        ("medical", (3, 3), "medical"),
    ],
)
def test_the_task_is_the_given_or_the_detected_one(task, channels, expected, caplog):
    pair = [image(k, channels=c) for k, c in enumerate(channels)]
    with caplog.at_level("INFO", logger="ddfm"):
        assert fuse(*pair, prior="gaussian", task=task, **PLAIN).settings["task"] == expected
    assert (f"taking the task to be {expected}" in caplog.messages) == (task == "auto")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.full((4, 4), np.nan, np.float32), "the second image: no pixel has a valid value"),
        (np.zeros((0, 5), np.uint8), "the second image: the image is empty"),
        (np.zeros((4, 4, 7), np.uint8), "the second image: 7 channels"),
        ("nowhere.png", "cannot read nowhere.png: there is no such file"),
        ([1, 2], "the second image: cannot read an image from list"),
    ],
)
def test_wrong_sources_are_named(source, message):
    with pytest.raises(DdfmError) as caught:
        fuse(image(0), source, prior="gaussian", **PLAIN)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_moves_between_exposures_is_shown_once_with_a_warning():
    photo = np.asarray(Image.open(EXAMPLES / "olinda_visible.png").convert("RGB"), float)
    scenes = [photo[:256, :320] / 255 for _ in range(2)]
    for scene, left in zip(scenes, (60, 180), strict=True):
        scene[100:160, left : left + 30] = 0.8
    exposures = [scene**power for scene, power in zip(scenes, (1.8, 0.6), strict=True)]
    fuser = Fuser("gaussian", device="cpu", task="multi-exposure", look=False)
    with pytest.warns(DdfmWarning, match=r"something moved.*as in the (first|second) image.*keep"):
        once = fuser(*exposures)
    kept, gone = (60, 180) if "the first" in once.warnings[0] else (180, 60)
    there, behind = (once.image[100:160, left : left + 30] for left in (kept, gone))
    assert there.mean() - behind.mean() > 0.25
    assert max(found.get("moved", 0) for found in once.settings["observed"]) > 0.02
    for task, moving in (("multi-exposure", "keep"), ("multi-focus", "once")):  # without a warning
        fuser.with_config(task=task, moving=moving)(*exposures)
    with pytest.warns(DdfmWarning, match="first image and the second.*differ in a large part"):
        fuser(exposures[0], exposures[1][::-1, ::-1])
