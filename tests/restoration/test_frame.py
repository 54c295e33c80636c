"""Frames of padded pictures: detected, and without influence on the fusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ddfm import Observation, read_image
from ddfm.imaging.levels import with_levels
from ddfm.imaging.picture import Picture
from ddfm.imaging.thermal.flir import read_thermal
from ddfm.restoration.frame import find_frame
from ddfm.restoration.restore import restored
from degraded import INFRARED, VISIBLE, slice_in_black
from flir_files import flir_jpeg, kelvin_to_raw
from places import EXAMPLES

CORNERS = {"upright": None, "turned": [[40, 20], [430, 45], [410, 300], [15, 280]]}


@pytest.mark.parametrize("kind", CORNERS)
def test_frames_are_detected(kind):
    h, w = INFRARED.shape
    truth = np.zeros((h, w), bool)
    truth[30:-40, 50:-30] = True
    if CORNERS[kind] is not None:
        mask = Image.new("1", (w, h))
        scaled = [(x * w / 480, y * h / 330) for x, y in CORNERS[kind]]
        ImageDraw.Draw(mask).polygon(scaled, fill=1)
        truth = np.array(mask)
    found = find_frame(np.where(truth, INFRARED / 255, 0))
    assert found is not None
    assert not (found & ~truth).sum() > 0.001 * truth.sum()
    assert (truth & ~found).sum() < 0.03 * truth.sum()


@pytest.mark.parametrize("name", ["olinda_infrared", "olinda_visible", "brain_t1", "brain_pd"])
def test_scenes_are_not_detected_as_frames(name):
    plane = np.asarray(Image.open(EXAMPLES / f"{name}.png").convert("L")) / 255
    assert find_frame(plane) is None


def test_a_round_object_on_black_is_not_a_frame():
    """A brain on black, with so few pixels that its outline has eight straight parts."""
    y, x = np.mgrid[:128, :128] - 63.5
    head = np.maximum(np.maximum(abs(x), abs(y)), (abs(x) + abs(y)) / 1.35) < 30
    assert find_frame(np.where(head, 0.6, 0)) is None


def degrees_beside_a_cold_wall() -> np.ndarray:
    """A warm scene, and to its right a wall of 20 to 22 degrees, with a straight edge."""
    degrees = 26 + 6 * np.random.default_rng(0).random((96, 128))
    degrees[:, 90:] = np.linspace(20, 22, 38)
    return degrees


@pytest.mark.parametrize("kind", ["numbers", "16 bits", "radiometric"])
def test_what_a_chosen_range_makes_black_is_no_frame(tmp_path, kind):
    """The cold wall would be filled in from the photograph, and appear in an overlay as warm."""
    degrees, levels = degrees_beside_a_cold_wall(), (24.0, 32.0)
    if kind == "radiometric":
        raw = np.rint(kelvin_to_raw(degrees + 273.15)).astype(np.uint16)
        (tmp_path / "wall.jpg").write_bytes(flir_jpeg(raw, None))
        picture = read_thermal(tmp_path / "wall.jpg", celsius=levels)
    elif kind == "16 bits":
        counts = np.rint(100 * degrees).astype(np.uint16)
        picture = read_image(counts, levels=(2400, 3200))
    else:
        picture = read_image(degrees, levels=levels)
    assert find_frame(picture.pixels[..., 0]) is not None  # which it looks like
    assert "frame" not in found(picture)
    assert found(picture, frame=True)["frame"] == pytest.approx(90 / 128, abs=0.01)


def test_padding_stays_a_frame_in_a_chosen_range():
    padded = degrees_beside_a_cold_wall()
    padded[:, 90:] = 0
    picture = read_image(padded, levels=(24, 32))
    assert found(picture)["frame"] == pytest.approx(90 / 128, abs=0.01)


def test_a_few_hot_pixels_along_the_border_hide_no_frame():
    """A tenth of a percent of a 16-bit picture is clipped by default."""
    counts = np.rint(100 * degrees_beside_a_cold_wall()).astype(np.uint16)
    counts[:, 90:] = 0
    counts[0, 3:6] = 4000, 4200, 4600
    picture = with_levels(read_image(counts))
    assert picture.range is not None
    assert found(picture)["frame"] == pytest.approx(90 / 128, abs=0.01)


def found(picture: Picture, **given: bool) -> dict[str, Any]:
    """What is found in a picture that is fused."""
    size, observations = [picture.size], [Observation(**given)]
    return restored([picture], observations, size, lambda x, _: x, clean=1)[1][0]


@pytest.mark.filterwarnings("ignore:.* of the pixels have no data")  # where both have a frame
@pytest.mark.parametrize(
    ("task", "given", "framed"),
    [("ir-visible", None, True), ("medical", None, False), ("medical", True, True)],
)
def test_a_head_in_air_has_no_frame(fuser, task, given, framed):
    """A slice cropped at the head has dark corners, as a rotated picture has."""
    t1, pd = slice_in_black("t1"), slice_in_black("pd")
    rows, columns = (np.flatnonzero(t1.any(axis=axis)) for axis in (1, 0))
    cut = slice(rows[0] + 16, rows[-1] - 15), slice(columns[0] + 16, columns[-1] - 15)
    fuser = fuser.with_config(task=task, observations=[Observation(frame=given), None])
    settings = fuser(t1[cut], pd[cut]).settings
    assert ("frame" in settings.get("observed", [{}])[0]) == framed


def test_a_frame_shows_no_rim(fuser):
    """Levels jump no more at the frame's border than in the fusion of pictures without a frame."""
    framed = np.zeros_like(INFRARED)
    framed[40:-40, 60:-60] = INFRARED[40:-40, 60:-60]

    def jump(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image[40:-40, [59, 60]].astype(float), axis=1)).mean())

    whole, cut = fuser(INFRARED, VISIBLE).image, fuser(framed, VISIBLE)
    assert cut.settings["observed"][0]["frame"] == pytest.approx((framed > 0).mean(), abs=0.01)
    assert jump(cut.image) < jump(whole) + 1
    blind = fuser.with_config(observations=[Observation(frame=False), None])(framed, VISIBLE)
    assert jump(blind.image) > jump(whole) + 5
