"""Views: the arrangement of pictures, and the meaning of false colours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ddfm import DdfmError
from ddfm.imaging.colormaps import colored
from ddfm.imaging.drawing import font_of, shortened
from ddfm.imaging.picture import LUMA, from_array
from ddfm.imaging.views import VIEWS, before_after, overlay, path_of, side_by_side, view


def flat(level: int, size=(90, 120)):
    return from_array(np.full(size, level, np.uint8), name=f"folder/{level}.png")


def ramp(size=(90, 120)):
    return from_array(np.linspace(15.0, 40.0, size[0] * size[1]).reshape(size), name="thermal")


def test_side_by_side_has_every_source_and_the_fusion_in_order():
    shown = side_by_side(flat(200), [flat(50), flat(100)])
    top = shown.shape[0] - 90
    assert shown.shape[1] == 3 * 120 + 2 * 4
    for k, level in enumerate((50, 100, 200)):
        assert (shown[top:, k * 124 : k * 124 + 120] == level).all()
    assert shown[:top].max() > 200, "names stand above"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Wärme.png", "Warme.png"),
        ("Wa\u0308rme.png", "Warme.png"),  # as macOS writes it
        ("Straße 12°.jpg", "Strasse 12°.jpg"),
        ("écran_x²_熱.tif", "ecran_x2_?.tif"),
        ("a\nb", "a?b"),
    ],
)
def test_letters_that_the_font_lacks_are_replaced(name, shown):
    """The font draws a box for each of them, and names become hard to tell apart."""
    assert shortened(name, 1000, 20) == shown


def test_names_that_are_too_wide_are_cut():
    cut = shortened("W\u00e4rme " * 40, 200, 20)
    assert cut.startswith("Warme Warme") and cut.endswith("...")
    assert font_of(20).getlength(cut) <= 192


def test_before_is_on_the_left_and_after_on_the_right():
    shown = before_after(flat(200), [flat(50), flat(100)])
    assert (shown[:, :58] == 100).all() and (shown[:, 62:] == 200).all()


def test_an_overlay_has_the_maps_hue_and_half_of_its_luminance():
    thermal, fused = ramp(), flat(128)
    shown = overlay(fused, thermal, "iron")
    assert shown.shape[0] == 90 and shown.shape[1] > 120
    colors = colored(thermal.pixels[..., 0], "iron")
    expected = (colors @ np.float32(LUMA) + 128 / 255) / 2
    got = shown[:, :120] / 255 @ np.float64(LUMA)
    np.testing.assert_allclose(got, expected, atol=1.5 / 255)
    warm, cold = shown[-1, 100], shown[0, 10]
    assert warm[0] > warm[2] and cold[2] > cold[0], "warm is red or yellow, cold is blue"


def test_an_overlay_has_no_colours_where_the_thermal_image_has_no_values():
    """Gaps are filled from the photograph, which would be read as temperatures."""
    known = np.ones((90, 120), bool)
    known[:, 80:] = False
    whole, shown = (overlay(flat(128), replace(ramp(), mask=mask)) for mask in (None, known))
    assert (shown[:, 80:120] == 128).all()
    assert np.array_equal(shown[:, :80], whole[:, :80]) and shown[:, :80].std(axis=2).min() > 5


def test_an_overlay_shows_the_radiometric_source_wherever_it_stands():
    thermal, photo = replace(ramp(), unit="°C"), flat(50)
    expected = overlay(flat(128), thermal)
    for sources in ([thermal, photo], [photo, thermal]):
        assert np.array_equal(view("overlay", flat(128), sources), expected)


def test_the_scale_runs_from_the_coldest_below_to_the_hottest_above():
    scale = overlay(flat(0), ramp(), "iron")[:, 120:]
    bar = scale[:, 8].astype(float) @ np.float64(LUMA)
    inside = bar[16:-16]
    assert (np.diff(inside) <= 0).all() and inside[0] > 200 > 60 > inside[-1]


def test_every_view_has_a_name_and_a_path(tmp_path):
    for kind in VIEWS:
        assert view(kind, flat(9), [ramp(), flat(7)]).dtype == np.uint8
        assert path_of(Path("out/fused.tif"), kind) == Path(f"out/fused.{kind}.png")
    with pytest.raises(DdfmError, match="unknown view 'both'"):
        view("both", flat(1), [flat(2)])
    with pytest.raises(DdfmError, match="unknown colour map 'irn'; did you mean iron"):
        view("overlay", flat(1), [flat(2)], "irn")
    with pytest.raises(DdfmError, match="differ in size"):
        overlay(flat(1), flat(2, (10, 10)))
