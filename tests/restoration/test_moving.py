"""Things that moved between the exposures of a bracket."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from ddfm.imaging.picture import Picture, from_array
from ddfm.restoration.moving import moved_between, taken_from_one
from places import EXAMPLES
from scenes import psnr

Box = tuple[slice, slice]
LEFT, RIGHT = np.s_[100:160, 60:90], np.s_[100:160, 180:210]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    file = Image.open(EXAMPLES / "olinda_visible.png").convert("RGB")
    return np.asarray(file, float)[:256, :320] / 255


def with_person(photo: np.ndarray, at: Box) -> np.ndarray:
    """The scene with somebody in bright clothes in it."""
    scene = photo.copy()
    scene[at] = 0.6 + 0.3 * photo[20:80, 200:230][::-1]
    return scene


def exposure(scene: np.ndarray, stops: float) -> np.ndarray:
    """A photograph: light, clipped at white, a curve of tone, and 8 bits."""
    light = np.clip(scene**2.2 * 2.0**stops, 0, 1)
    return np.rint(255 * light ** (1 / 2.2)).astype(np.uint8)


def bracket(*scenes: np.ndarray, stops: tuple[float, ...]) -> list[Picture]:
    pairs = zip(scenes, stops, strict=True)
    return [from_array(exposure(scene, by), name=f"{by:+g}") for scene, by in pairs]


@pytest.mark.parametrize("stops", [(-2, 2), (-1, 1), (0, 4)])
def test_in_a_still_bracket_nothing_moved(photo, stops):
    """Nor by noise, by two pixels of a shaking hand, by blur, or by another white balance."""
    rng = np.random.default_rng(0)
    dark, bright = (exposure(photo, by).astype(float) for by in stops)
    brackets = [
        (dark, bright),
        (dark + rng.normal(0, 4, dark.shape), bright + rng.normal(0, 4, dark.shape)),
        (dark[2:, :-2], bright[:-2, 2:]),
        (dark, gaussian_filter(bright, (1.5, 1.5, 0))),
        (dark * [1.15, 1, 0.85], bright),
        (dark.mean(axis=2), bright.mean(axis=2)),
    ]
    for pair in brackets:
        pictures = [from_array(np.clip(np.rint(p), 0, 255).astype(np.uint8)) for p in pair]
        assert moved_between(pictures) is None


@pytest.mark.parametrize("channels", ["rgb", "grey", "both"])
def test_a_moved_thing_is_found_and_shown_once(photo, channels):
    scenes = [with_person(photo, at) for at in (LEFT, RIGHT)]
    seen, truth = (bracket(*some, stops=(-2, 1)) for some in (scenes, [scenes[0]] * 2))
    if channels != "rgb":
        some = slice(None) if channels == "grey" else slice(1)
        for pictures in (seen, truth):
            for k in range(2)[some]:
                pictures[k] = from_array(
                    np.asarray(Image.fromarray(pictures[k].samples).convert("L"))
                )
    moved = moved_between(seen)
    assert moved is not None and moved.foreign is None
    other = 1 - moved.kept
    place = moved.places[other]
    assert moved.places[moved.kept] is None and 0.04 < moved.share < 0.09
    assert place[LEFT].mean() > 0.95 and place[RIGHT].mean() > 0.95
    once = taken_from_one(seen, moved)
    assert once[moved.kept] is seen[moved.kept]
    if moved.kept == 0:
        assert psnr(255 * once[1].pixels[LEFT], 255 * truth[1].pixels[LEFT]) > 25
    else:
        model = bracket(*[scenes[1]] * 2, stops=(-2, 1))[0].pixels
        model = model if channels == "rgb" else model.mean(axis=2, keepdims=True)
        assert psnr(255 * once[0].pixels[RIGHT], 255 * model[RIGHT]) > 25
    assert not once[other].valid[LEFT][5:-5, 5:-5].any()
    far = np.s_[200:, :]
    assert np.array_equal(once[other].pixels[far], seen[other].pixels[far])
    assert once[other].valid[far].all()


@pytest.mark.parametrize("gapped", [0, 1])
def test_gaps_stay_with_the_exposure_that_has_none(photo, gapped):
    """Beside what moved, one exposure has a gap: the other is kept there, and no curve uses it."""
    scenes = [with_person(photo, at) for at in (LEFT, RIGHT)]
    seen = bracket(*scenes, stops=(-4, 0))
    truth = bracket(scenes[1], stops=(-4,))[0]
    mask = np.zeros(photo.shape[:2], bool)
    mask[60:200, 70:] = True
    of_gap = np.where(mask[..., None], seen[gapped].pixels, 0)
    seen[gapped] = replace(seen[gapped], samples=of_gap, mask=mask)
    moved = moved_between(seen)
    assert moved is not None and moved.kept == 1
    once = taken_from_one(seen, moved)
    assert (once[0].valid | once[1].valid).all()
    if gapped == 1:
        assert np.array_equal(once[0].pixels[~mask], seen[0].pixels[~mask])
    assert psnr(255 * once[0].pixels[RIGHT], 255 * truth.pixels[RIGHT]) > 55


def test_an_exposure_that_has_a_gap_where_something_moved_is_not_shown(photo):
    scenes = [with_person(photo, at) for at in (LEFT, LEFT, RIGHT)]
    seen = bracket(*scenes, stops=(0, 2, 3))
    assert moved_between(seen).kept == 0
    mask = np.ones(photo.shape[:2], bool)
    mask[80:180, 40:230] = False
    seen[0] = replace(seen[0], mask=mask)
    moved = moved_between(seen)
    assert moved.kept in (1, 2) and moved.places[3 - moved.kept] is not None


def test_those_that_agree_keep_their_say(photo):
    """Of four exposures, a person is in the brightest: its neighbours agree with one another."""
    scenes = [photo, photo, photo, with_person(photo, LEFT)]
    moved = moved_between(bracket(*scenes, stops=(-3, -1.5, 0, 1)))
    found = [place is not None for place in moved.places]
    assert found in ([False, False, False, True], [True, True, True, False])


def test_pictures_of_two_scenes_are_named_and_left(photo):
    pictures = bracket(photo, photo[::-1, ::-1], stops=(-1, 1))
    assert moved_between(pictures).foreign == (0, 1)


def test_light_that_drifts_is_nothing_that_moved(photo):
    dark, bright = exposure(photo, -2), exposure(photo, 1)
    drift = 1 + 0.15 * np.sin(np.linspace(0, 2 * np.pi, 320))[None, :, None]
    drifted = np.clip(np.rint(bright * drift), 0, 255).astype(np.uint8)
    assert moved_between([from_array(dark), from_array(drifted)]) is None
