"""Alignment of pairs of two sensors, moved by known transforms."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ddfm.errors import DdfmError
from ddfm.imaging.formats.tags import DOUBLE, SHORT, Entry
from ddfm.imaging.metadata import Metadata
from ddfm.imaging.metadata.geo import KEYS, Geo
from ddfm.imaging.picture import Picture
from ddfm.imaging.reading import read_image
from ddfm.imaging.sizes import reduced
from ddfm.imaging.sources import grey
from ddfm.registration import align as room
from ddfm.registration.align import align, check, turn_that_fits
from ddfm.registration.refine import Fit, deviations
from ddfm.registration.register import registered
from ddfm.registration.transform import Transform
from ddfm.registration.warp import warped
from places import EXAMPLES


@pytest.fixture(scope="module")
def pair():
    """The infrared picture is inverted, so that no level agrees with the other's."""
    names = ("olinda_infrared.png", "olinda_visible.png")
    infrared, visible = (grey(read_image(EXAMPLES / name)) for name in names)
    return 1 - infrared, visible


def scene(seed):
    rng = np.random.default_rng(seed)
    spots = ndimage.gaussian_filter(rng.standard_normal((96, 128)), 3) * 10
    return (spots > 0.1).astype(np.float32) * 0.6 + 0.2


def off(image, by):
    picture, _ = warped(Picture(image[..., None].astype(np.float32)), by)
    return picture.pixels[..., 0]


def test_a_registered_pair_causes_no_warning(pair):
    infrared, visible = pair
    found = check(visible, infrared)
    assert found.transform.moves < 2 and not found.is_off


def test_a_shifted_pair_causes_a_warning_with_its_offset(pair):
    infrared, visible = pair
    found = check(visible[:-20, 14:], infrared[20:, :-14])
    assert found.is_off and np.allclose(found.transform.offset, (-14, 20), atol=1.5)


def test_a_turned_pair_causes_a_warning_with_rotation_and_size(pair):
    infrared, visible = pair
    size = visible.shape
    angle, scale = np.deg2rad(-3.0), 1 / 1.06
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    turn = np.array([[cos, -sin], [sin, cos]])
    put_on = Transform(np.r_[np.c_[turn, middle - turn @ middle], [[0, 0, 1]]], size, size)
    found = check(visible, off(infrared, put_on))
    assert found.is_off
    assert np.allclose(found.transform.turn_and_size, (3.0, 1.06), atol=(0.4, 0.01))
    named = [
        Picture(x[..., None], name=n) for x, n in ((off(infrared, put_on), "A"), (visible, "B"))
    ]
    warning = registered(named).warnings[0]
    assert "degrees clockwise" in warning and "% larger" in warning


def test_the_spread_is_larger_where_less_is_seen(pair):
    infrared, visible = pair
    whole = align(visible, infrared, "affine")
    part = align(visible[:80, :80], infrared[:80, :80], "affine")
    assert 0 < whole.spread < part.spread < 1


def test_auto_finds_a_shift_and_keeps_registered_pairs(pair):
    infrared, visible = pair
    shifted = align(visible[:-20, 14:], infrared[20:, :-14])
    assert shifted.sure and np.allclose(shifted.transform.offset, (-14, 20), atol=1.5)
    well = align(visible, infrared)
    assert well.sure and well.transform.model == "none" and well.transform.moves == 0


@pytest.mark.parametrize("model", ["affine", "homography"])
def test_a_rotation_is_found(pair, model):
    infrared, visible = pair
    size = visible.shape
    angle = np.deg2rad(3.0)
    cos, sin = 1.06 * np.cos(angle), 1.06 * np.sin(angle)
    put_on = Transform([[cos, -sin, 2], [sin, cos, -12], [0, 0, 1]], size, size)
    found = align(visible, off(infrared, put_on), model)
    assert found.sure and found.transform.distance(put_on.inverse()) < 3


def test_sizes_may_differ(pair):
    infrared, visible = pair
    small, _ = warped(Picture(infrared[..., None]), Transform.framed(infrared.shape, (120, 119)))
    found = align(visible, small.pixels[..., 0], "similarity")
    assert found.sure and found.transform.moves < 4


def test_strips_keep_enough_rows_to_be_aligned(pair):
    infrared, visible = (ndimage.zoom(image, 2.5, order=1) for image in pair)
    found = align(visible[750:840, 34:-34], infrared[773:863, 43:-25], "shift")
    assert found.sure and np.allclose(found.transform.offset, (9, 23), atol=1)


def test_pictures_of_two_scenes_are_never_aligned():
    for seed in (0, 1):
        assert not check(scene(seed), 1 - scene(seed + 10)).sure


@pytest.mark.parametrize("level", [0.0, 0.5])
@pytest.mark.parametrize("size", [(48, 64), (480, 640), (100, 400)])
def test_flat_pictures_cause_no_error_and_are_never_aligned(size, level):
    a, b = np.full(size, level, np.float32), np.full(size, 1 - level, np.float32)
    assert not check(a, b).sure and not align(a, b).sure


def test_pictures_too_small_for_a_sure_result_are_not_searched(monkeypatch):
    monkeypatch.setattr("ddfm.registration.align.Search", None)  # raises if it is called
    a, b = scene(0)[:63, :90], 1 - scene(1)[:63, :90]
    for found in (check(a, b), align(a, b), align(a, b, "affine"), align(a, b, "flow")):
        assert not found.sure and found.transform.moves == 0


def test_an_unknown_model_is_named():
    with pytest.raises(DdfmError, match="rotation"):
        align(scene(0), scene(0), "rotation")


def pictures(pair):
    infrared, visible = pair
    a, b = infrared[20:, :-14], visible[:-20, 14:]
    return tuple(
        Picture(np.ascontiguousarray(x[..., None]), name=n) for x, n in ((a, "A"), (b, "B"))
    )


def test_misaligned_sources_cause_a_warning_or_are_aligned(pair):
    a, b = pictures(pair)
    left = registered((a, b))
    assert left.pictures == (a, b) and "14 px to the left and 20 px down" in left.warnings[0]
    moved = registered((a, b), "auto")
    assert not moved.warnings and moved.about[0]["applied"]
    assert moved.pictures[1] is b and moved.pictures[0].size == b.size
    back = check(moved.pictures[1], moved.pictures[0])
    assert back.transform.moves < 1.5


def test_the_warning_of_a_preview_counts_pixels_of_the_files(pair):
    full = pictures(pair)
    (warning,) = registered(reduced(full, max(full[0].size) // 2)).warnings
    left, down = map(int, re.findall(r"(\d+) px", warning))
    assert abs(left - 14) <= 1 and abs(down - 20) <= 1


def test_a_side_without_a_move_is_not_named(pair):
    a, b = (p[..., None] for p in (pair[0][:, :-14], pair[1][:, 14:]))
    (warning,) = registered([Picture(np.ascontiguousarray(x)) for x in (a, b)]).warnings
    assert "if moved 14 px to the left; align=auto" in warning


def test_the_common_part_is_kept(pair):
    a, b = pictures(pair)
    cropped = registered((a, b), "shift", crop=True)
    height, width = b.size
    assert np.allclose(cropped.pictures[0].size, (height - 20, width - 14), atol=2)


def test_a_given_transform_is_used_unchanged(pair):
    a, b = pictures(pair)
    known = Transform([[1, 0, -14], [0, 1, 20], [0, 0, 1]], a.size, b.size, "shift")
    done = registered((a, b), transform=known)
    assert np.allclose(done.pictures[0].pixels[20:, :-14], a.pixels[:-20, 14:], atol=1e-3)


def test_uncertain_pairs_are_left_as_they_are_with_a_warning():
    a, b = (Picture(x[..., None], name=n) for x, n in ((scene(0), "A"), (1 - scene(10), "B")))
    left = registered((a, b), "auto")
    assert left.pictures[0] is a and "stays as it is" in left.warnings[0]
    narrow = replace(b, samples=b.samples[:, 9:])
    left = registered((a, narrow), "auto")
    assert left.pictures[0].size == narrow.size and "is resized to its frame" in left.warnings[0]
    assert "rotated" not in left.warnings[0]


def test_an_uncertain_pair_that_may_be_turned_by_90_degrees_is_named():
    """A portrait thermal image would be squeezed into the frame of a landscape photograph."""
    a, b = Picture(scene(0)[:, :72, None]), Picture(1 - scene(10)[..., None])  # 72 x 96, 128 x 96
    for how in ("auto", "affine"):
        assert "if one is rotated by 90 degrees, rotate it" in registered((a, b), how).warnings[0]


@pytest.mark.parametrize(
    ("better", "apart", "spread", "sure"),
    [
        (3.2, 8.0, 1.5, False),  # better, though not by enough to be taken, and elsewhere
        (2.5, 8.0, 1.5, True),
        (3.2, 1.0, 1.5, True),  # hardly elsewhere
        (0.5, 8.0, 20.0, False),  # tiles do not tell it, and so cannot speak against it
        (-0.5, 8.0, 20.0, True),  # they do
    ],
)
def test_a_larger_model_can_make_a_smaller_one_uncertain(monkeypatch, better, apart, spread, sure):
    """A shift by 10 pixels is certain; a homography, which is not, would move it further."""
    size, tiles = (300, 400), np.random.default_rng(0).normal(0.5, 0.1, 100)
    gain = np.random.default_rng(1).normal(0, 0.05, 100)
    gain += better * gain.std() / np.sqrt(gain.size) - gain.mean()
    assert deviations(gain) == pytest.approx(better, abs=0.1)

    def moved(x):
        return np.array([[1, 0, x], [0, 1, 0], [0, 0, 1.0]])

    found = {
        "shift": Fit(moved(10.0), tiles, spread=0.3, stand=9.0),
        "homography": Fit(moved(10.0 + apart), tiles + gain, spread, stand=9.0),
    }
    monkeypatch.setattr(room._Work, "fits", lambda *_: found)
    result = align(np.zeros(size, np.float32), np.zeros(size, np.float32))
    assert result.transform.model == "shift" and result.sure is sure


@pytest.mark.parametrize("blob", [3, 6])
def test_smooth_random_fields_are_not_aligned(blob):
    fields = [
        ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((96, 128)), blob)
        for seed in range(4)
    ]
    fixed, moving, *others = [(f - f.min()) / np.ptp(f) for f in fields]
    assert not align(fixed, moving).sure and not align(*others).sure


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (lambda x: np.rot90(x, 1), "turned clockwise by 90 degrees"),
        (lambda x: x[:, ::-1], "mirrored from left to right"),
    ],
)
def test_a_picture_on_its_side_or_mirrored_is_recognised_where_it_cannot_be_aligned(
    pair, turn, words
):
    infrared, visible = (Picture(np.ascontiguousarray(x)[..., None]) for x in pair)
    wrong = replace(infrared, samples=np.ascontiguousarray(turn(infrared.samples)))
    (warning,) = registered((wrong, visible), "auto").warnings
    assert f"it fits if {words}, so turn the file first" in warning


def test_only_the_likeliest_turn_is_checked_for_the_others_would_take_long(pair, monkeypatch):
    infrared, visible = pair
    checked = []
    monkeypatch.setattr(room, "check", lambda *pair: checked.append(pair) or check(*pair))
    assert turn_that_fits(visible, np.rot90(infrared, 2), (2, 3, 4, 5, 6, 7, 8)) == 3
    assert len(checked) == 1


def test_a_turn_of_pictures_of_a_few_pixels_is_never_certain():
    for size in ((1, 1), (1, 90), (90, 1), (70, 5)):
        line = np.random.default_rng(0).random(size, np.float32)
        assert turn_that_fits(np.ones((70, 70), np.float32), line, range(2, 9)) is None
        assert turn_that_fits(line, line, range(2, 9)) is None


def placed(picture, matrix, system=None):
    geo = Geo(system or {}, np.empty((0, 6)), matrix, None)
    return replace(picture, metadata=Metadata(geo=geo))


def test_coordinates_that_place_two_pictures_apart_cause_a_warning():
    blank = Picture(np.full((60, 80, 1), 0.5, np.float32))
    # Pixels of 10 m; the second grid begins 300 m to the east and 400 m to the south.
    here, there = np.diag([10.0, -10, 0, 1]), np.diag([10.0, -10, 0, 1])
    there[:2, 3] = 300, -400
    (warning,) = registered((placed(blank, there), placed(blank, here))).warnings
    assert "place them 50 px apart" in warning
    there[:2, 3] = 10, -20  # within the tolerance
    assert not registered((placed(blank, there), placed(blank, here))).warnings
    coarser = np.diag([20.0, -20, 0, 1])  # the same corner, twice the field: 80 and 60 px more
    (warning,) = registered((placed(blank, coarser), placed(blank, here))).warnings
    assert "place them 100 px apart" in warning
    elsewhere = placed(blank, coarser, {KEYS: Entry.of(SHORT, 1, 1, 0, 0)})
    assert not registered((elsewhere, placed(blank, here))).warnings
    damaged = np.diag([np.nan, 1e308, 0, 1])
    assert not registered((placed(blank, here), placed(blank, damaged))).warnings


def utm(zone, *, raster=1, named=True):
    """The keys of a zone of UTM, by its code or by its parameters alone."""
    keys = [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, raster, 3072, 0, 1]
    middle = Entry.of(DOUBLE, 6.0 * zone - 183)  # degrees of longitude
    keys += [32600 + zone] if named else [32767, 3080, 34736, 1, 0]
    return {KEYS: Entry.of(SHORT, *keys), **({} if named else {34736: middle})}


def test_coordinates_in_different_systems_cause_a_warning():
    """The same field in two zones, whose numbers differ; systems that agree in numbers are one."""
    blank = Picture(np.full((60, 80, 1), 0.5, np.float32))
    here, there = np.diag([10.0, -10, 0, 1]), np.diag([10.0, -10, 0, 1])
    there[:2, 3] = 300, -400

    def warned(*pair):
        return registered(tuple(placed(blank, matrix, keys) for matrix, keys in pair)).warnings

    (warning,) = warned((here, utm(32)), (there, utm(33)))
    assert "are in different systems, EPSG:32632 and EPSG:32633; bring one" in warning
    (warning,) = warned((here, utm(32, named=False)), (there, utm(33, named=False)))
    assert "are in different systems; bring one" in warning
    (warning,) = warned((here, utm(32, named=False)), (there, utm(32, named=False)))
    assert "place them 50 px apart" in warning
    assert not warned((here, utm(32)), (here, utm(33)))
    assert not warned((here, utm(32)), (there, utm(32, named=False)))  # whether they differ is open
    half = Geo(utm(32, raster=2), np.empty((0, 6)), here, None)
    assert half.apart(Geo(utm(32), np.empty((0, 6)), here, None), (60, 80)) == pytest.approx(
        0.5**0.5
    )
