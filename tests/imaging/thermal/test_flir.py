"""Radiometric JPEG: temperatures against Planck's law, alignment against flyr's own overlay."""

from __future__ import annotations

import sys
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from ddfm.errors import DdfmError
from ddfm.imaging.reading import read_image, read_source
from ddfm.imaging.sources import read_sources
from ddfm.imaging.thermal.flir import has_photograph, is_flir, read_flir, read_thermal
from ddfm.restoration.operators import AreaAverage
from flir_files import (
    camera,
    container,
    flir_jpeg,
    in_segments,
    kelvin_to_raw,
    raw_to_kelvin,
    sized,
)

flyr = pytest.importorskip("flyr")

WIDE, TALL, SENSOR = 192, 144, (24, 32)


def scene(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Brightness in [0.1, 0.9] at a point of the photograph; smooth on a pixel of the sensor."""
    return 0.5 + 0.2 * np.sin(x / 17 + 0.3) + 0.2 * np.cos(y / 13 - x / 40)


def grid(left, top, width, height, columns, rows) -> tuple[np.ndarray, np.ndarray]:
    x = left + (np.arange(columns) + 0.5) * width / columns
    y = top + (np.arange(rows) + 0.5) * height / rows
    return np.meshgrid(x, y)


def scene_file(path, ratio: float, dx: int, dy: int, **kwargs):
    photograph = np.rint(scene(*grid(0, 0, WIDE, TALL, WIDE, TALL)) * 255).astype(np.uint8)
    photograph = np.dstack([photograph, photograph, 255 - photograph])
    width = WIDE / ratio
    height = width * SENSOR[0] / SENSOR[1]
    left, top = (WIDE - width) / 2 + dx, (TALL - height) / 2 + dy
    warmth = scene(*grid(left, top, width, height, SENSOR[1], SENSOR[0]))
    raw = np.rint(kelvin_to_raw(273.15 + 20 + 10 * warmth)).astype(np.uint16)
    path.write_bytes(flir_jpeg(raw, photograph, (ratio, dx, dy), **kwargs))
    return path


@pytest.mark.parametrize("png", [False, True])
@pytest.mark.parametrize("segment", [65000, 700])
def test_temperatures_follow_plancks_law(tmp_path, png, segment):
    raw = np.random.default_rng(0).integers(14000, 16000, (48, 64)).astype(np.uint16)
    photograph = np.zeros((48, 64, 3), np.uint8)
    (tmp_path / "a.jpg").write_bytes(flir_jpeg(raw, photograph, png=png, segment=segment))
    pair = read_flir(tmp_path / "a.jpg", percentiles=(0, 100))
    celsius = raw_to_kelvin(raw) - 273.15
    np.testing.assert_allclose(pair.celsius, (celsius.min(), celsius.max()), atol=1e-3)
    expected = (celsius - celsius.min()) / np.ptp(celsius)
    np.testing.assert_allclose(pair.thermal.pixels[:, :, 0], expected, atol=1e-5)
    assert not pair.aligned and pair.thermal.dtype == np.uint16


def test_the_range_of_temperatures_can_be_given(tmp_path):
    celsius = np.linspace(10, 50, 48).reshape(6, 8)
    raw = np.rint(kelvin_to_raw(celsius + 273.15)).astype(np.uint16)
    (tmp_path / "a.jpg").write_bytes(flir_jpeg(raw, np.zeros((6, 8, 3), np.uint8)))
    pair = read_flir(tmp_path / "a.jpg", celsius=(20, 40))
    expected = np.clip((celsius - 20) / 20, 0, 1)
    np.testing.assert_allclose(pair.thermal.pixels[:, :, 0], expected, atol=2e-3)
    pair = read_flir(tmp_path / "a.jpg", percentiles=(10, 90))
    np.testing.assert_allclose(pair.celsius, np.percentile(celsius, (10, 90)), atol=0.02)


PLACES = [(1.0, 0, 0), (1.6, 0, 0), (1.35, 14, -9), (1.2, 60, 40)]


@pytest.mark.parametrize("ratio, dx, dy", [*PLACES, (4.0, 3, -5)])
@pytest.mark.parametrize("which", ["visible", "thermal"])
def test_both_pictures_show_the_same_scene(tmp_path, ratio, dx, dy, which):
    pair = read_flir(scene_file(tmp_path / "a.jpg", ratio, dx, dy), celsius=(20, 30), grid=which)
    thermal, visible = pair
    assert pair.aligned and visible.is_color
    seen = visible.pixels[:, :, 0]
    if thermal.size != visible.size:
        means = AreaAverage(visible.size, thermal.size)
        seen = means.forward(torch.from_numpy(seen.copy())[None, None])[0, 0].numpy()
    inner = (slice(1, -1), slice(1, -1))
    assert np.abs(thermal.pixels[:, :, 0] - seen)[inner].max() < 0.02
    shifted = np.roll(seen, seen.shape[1] // 12, axis=1)
    assert np.abs(thermal.pixels[:, :, 0] - shifted)[inner].max() > 0.05  # it would show


@pytest.mark.parametrize("ratio, dx, dy", PLACES)
def test_a_coarse_thermal_image_keeps_the_sensors_pixels(tmp_path, ratio, dx, dy):
    path = scene_file(tmp_path / "a.jpg", ratio, dx, dy)
    thermal, visible = read_flir(path, celsius=(20, 30))
    sensor = read_thermal(path, celsius=(20, 30)).pixels
    windows = np.lib.stride_tricks.sliding_window_view(sensor, thermal.pixels.shape)
    assert (windows == thermal.pixels).all(axis=(-3, -2, -1)).any()
    height = WIDE / ratio / SENSOR[1] * thermal.size[0]
    assert abs(visible.size[0] - height) <= 1  # what the sensor's pixels cover, in whole pixels


def test_a_thermal_image_of_similar_resolution_is_resampled(tmp_path):
    thermal, visible = read_flir(scene_file(tmp_path / "a.jpg", 4.0, 3, -5))
    assert thermal.size == visible.size == (36, 48)


def test_visible_pixels_are_cropped_and_not_resampled(tmp_path):
    path = scene_file(tmp_path / "a.jpg", 1.6, 4, -6, spare=2)
    photograph = (flyr.unpack(str(path)).optical / 255).astype(np.float32)
    left, top, right, bottom = 40, 21, 160, 111  # 192 / 1.6 wide, about (96 + 4, 72 - 6)
    visible = read_flir(path).visible
    assert np.array_equal(visible.pixels, photograph[top:bottom, left:right])


def test_alignment_agrees_with_flyrs_overlay(tmp_path):
    thermogram = flyr.unpack(str(scene_file(tmp_path / "a.jpg", 1.6, 4, -6, spare=2)))
    white = Image.new("RGB", SENSOR[::-1], "white")
    overlay = np.asarray(thermogram.picture_in_picture_pil(render=white, render_crop=False))
    rows, columns = np.nonzero((overlay == 255).all(axis=2))
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (21, 111, 40, 160)


def test_without_alignment_both_are_taken_whole(tmp_path):
    path = scene_file(tmp_path / "a.jpg", 1.6, 4, -6)
    pair = read_flir(path, align=False)
    assert not pair.aligned and pair.visible.size == (TALL, WIDE)
    assert pair.thermal.size == SENSOR
    assert read_flir(path, align=False, grid="thermal").visible.size == SENSOR


def test_a_flir_file_is_distinguished_from_others(tmp_path):
    path = scene_file(tmp_path / "a.jpg", 1.2, 0, 0)
    assert is_flir(path)
    assert read_image(path).size == (16, 16)  # to other readers it is its preview
    Image.new("L", (9, 9)).save(tmp_path / "b.jpg")
    Image.new("L", (9, 9)).save(tmp_path / "b.png")
    assert not is_flir(tmp_path / "b.jpg") and not is_flir(tmp_path / "b.png")
    with pytest.raises(DdfmError, match="no radiometric data"):
        read_flir(tmp_path / "b.jpg")


def test_a_truncated_container_is_refused(tmp_path):
    whole = container([(32, camera()), (1, sized(np.zeros((6, 8)), bytes(96)))])
    (tmp_path / "a.fff").write_bytes(whole[:-20])
    with pytest.raises(DdfmError, match="is cut off: its raw values would end beyond the end"):
        read_thermal(tmp_path / "a.fff")


@pytest.mark.parametrize("end", [4, 5000, 9026, 15000, -2000, -5])
def test_a_truncated_copy_is_refused(tmp_path, end):
    """The file is cut off before its FLIR data, in a segment, between two, or after them."""
    shade = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    raw = np.full((60, 80), 17000, np.uint16)
    whole = flir_jpeg(raw, shade, (1.2, 0, 0), segment=9000, rendering=Image.fromarray(shade))
    path = tmp_path / "a.jpg"
    path.write_bytes(whole)
    assert has_photograph(path)
    path.write_bytes(whole[:end])
    assert has_photograph(path)  # so that a folder counts it among its pairs
    assert is_flir(path) == (end != 4)
    with pytest.raises(DdfmError, match=r"a\.jpg is (cut off|truncated)"):
        read_flir(path)


def test_a_file_that_lost_some_of_its_segments_is_not_called_cut_off(tmp_path):
    shade = np.zeros((60, 80, 3), np.uint8)
    whole = flir_jpeg(np.full((60, 80), 17000, np.uint16), shade, segment=3000)
    count = whole.count(b"FLIR\0\x01")
    second = whole.index(b"FLIR\0\x01\x01") - 4
    path = tmp_path / "a.jpg"
    path.write_bytes(whole[:second] + whole[second + 3012 :])
    with pytest.raises(DdfmError, match=rf"has lost 1 of the {count} segments .* original file$"):
        read_flir(path)


def test_bad_files_and_arguments_are_refused(tmp_path):
    raw = np.full((6, 8), 17000, np.uint16)
    path = tmp_path / "a.jpg"

    def fails(words: str, **kwargs) -> None:
        with pytest.raises(DdfmError, match=words) as caught:
            read_flir(path, **kwargs)
        assert "\n" not in str(caught.value)

    path.write_bytes(b"")
    fails("a.jpg is empty$")
    path.write_bytes(flir_jpeg(raw, None))
    fails("no visible photograph")
    photograph = np.zeros((12, 16, 3), np.uint8)
    path.write_bytes(flir_jpeg(raw, photograph, (1.0, 500, 0)))
    fails("outside the photograph")
    assert read_flir(path, align=False).thermal.pixels.max() == 0  # the same everywhere: no range
    fails("degrees Celsius", celsius=(30, 30))
    fails("degrees Celsius", celsius=(float("nan"), 30))
    fails("percentiles", percentiles=(99, 1))
    fails("did you mean thermal", grid="thermall")
    path.write_bytes(flir_jpeg(np.zeros((6, 8), np.uint16), photograph))
    fails("none of its temperatures")
    data = flir_jpeg(raw, photograph)
    path.write_bytes(data.replace(b"\0\x01\0\x02\0\0\0\x64", b"\0\x07\0\x02\0\0\0\x64"))
    fails("record of the raw")


def test_an_endless_directory_is_limited(tmp_path):
    data = bytearray(flir_jpeg(np.full((6, 8), 17000, np.uint16), np.zeros((6, 8, 3), np.uint8)))
    at = data.index(b"FFF\0") + 28
    data[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.jpg").write_bytes(data)
    assert read_flir(tmp_path / "a.jpg").thermal.size == (6, 8)


def test_an_impossibly_large_sensor_is_refused(tmp_path):
    stored = BytesIO()
    Image.new("I;16", (2100, 2100)).save(stored, "PNG")
    raw = sized(np.broadcast_to(np.uint16(0), (2100, 2100)), stored.getvalue())
    (tmp_path / "a.jpg").write_bytes(in_segments(container([(32, camera()), (1, raw)])))
    with pytest.raises(DdfmError, match="2100 x 2100"):
        read_flir(tmp_path / "a.jpg")


def test_a_missing_package_names_its_extra(tmp_path, monkeypatch):
    path = scene_file(tmp_path / "a.jpg", 1.2, 0, 0)
    monkeypatch.setitem(sys.modules, "flyr.flyr", None)
    with pytest.raises(DdfmError, match=r"ddfm\[thermal\]"):
        read_flir(path)


# --- as other cameras write it --------------------------------------------------------------------


@pytest.mark.parametrize("directory", ["big", "little"])
@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("png", [False, True])
def test_either_order_of_bytes_gives_the_same_temperatures(tmp_path, directory, order, png):
    raw = np.arange(14000, 14000 + 30 * 40, dtype=np.uint16).reshape(30, 40)
    photograph = np.random.default_rng(1).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    path = tmp_path / "a.jpg"
    path.write_bytes(flir_jpeg(raw, photograph, png=png, order=order, directory=directory))
    pair = read_flir(path, percentiles=(0, 100))
    celsius = raw_to_kelvin(raw) - 273.15
    np.testing.assert_allclose(pair.celsius, (celsius.min(), celsius.max()), atol=1e-3)
    assert np.abs(pair.visible.pixels - photograph / 255).max() < 1e-6


def test_a_photograph_in_luminance_and_differences_gets_its_colours(tmp_path):
    raw = np.full((12, 16), 15000, np.uint16) + np.arange(16, dtype=np.uint16)
    x, y = np.meshgrid(np.arange(16), np.arange(12))
    photograph = np.stack([40 + 12 * x, 30 + 12 * x + y, 10 + 12 * x], 2).astype(np.uint8)
    for ycbcr in (False, True):
        (tmp_path / "a.jpg").write_bytes(flir_jpeg(raw, photograph, ycbcr=ycbcr))
        visible = read_flir(tmp_path / "a.jpg").visible
        assert np.abs(visible.pixels * 255 - photograph).max() < 4  # rounded on the way


def test_black_margins_of_the_photograph_are_invalid(tmp_path):
    raw = np.random.default_rng(0).integers(14000, 16000, (12, 16)).astype(np.uint16)
    photograph = np.zeros((24, 32, 3), np.uint8)
    photograph[3:20, 2:31] = np.random.default_rng(1).integers(60, 256, (17, 29, 3))
    (tmp_path / "a.jpg").write_bytes(flir_jpeg(raw, photograph))
    mask = read_flir(tmp_path / "a.jpg").visible.mask
    expected = np.zeros((24, 32), bool)
    expected[3:20, 2:31] = True
    assert np.array_equal(mask, expected)


def test_a_digital_zoom_widens_the_field(tmp_path):
    """At a zoom of 2, the thermal field is twice as wide as Real2IR states."""
    path = scene_file(tmp_path / "a.jpg", 1.5, 0, 0)
    size = read_flir(path).visible.size
    data = path.read_bytes()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA404] = 2.0
    block = b"Exif\0\0" + exif.tobytes()[6:] if exif.tobytes()[:4] == b"Exif" else exif.tobytes()
    segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    path.write_bytes(data[:2] + segment + data[2:])
    zoomed = read_flir(path).visible.size
    assert zoomed[1] == pytest.approx(min(WIDE, 2 * size[1]), abs=1)


def test_temperatures_alone_are_read_if_there_is_a_separate_photograph(tmp_path):
    path = scene_file(tmp_path / "a.jpg", 1.5, 0, 0)
    thermal = read_thermal(path, celsius=(20, 30))
    assert thermal.size == SENSOR and thermal.range == (20, 30)
    photograph = np.random.default_rng(0).integers(0, 256, SENSOR, np.uint8)
    seen, _ = read_sources((str(path), photograph))
    assert np.array_equal(seen.pixels, read_thermal(path).pixels)  # not the rendering of 16 x 16


def test_sizes_that_differ_within_one_file_are_no_error(tmp_path):
    path = scene_file(tmp_path / "a.jpg", 1.5, 0, 0)
    pair = tuple(read_flir(path))
    assert pair[0].size != pair[1].size
    thermal, visible = read_sources(pair, "error")
    assert thermal.size == visible.size == pair[1].size
    with pytest.raises(DdfmError, match=r"a\.jpg \(thermal\) has 32 x 24 pixels and the second"):
        read_sources((str(path), visible.pixels), "error")


def test_a_bare_container_is_read_as_temperatures(tmp_path):
    raw = np.random.default_rng(0).integers(14000, 16000, (12, 16)).astype(np.uint16)
    path = tmp_path / "a.fff"
    path.write_bytes(container([(32, camera()), (1, sized(raw, raw.astype("<u2").tobytes()))]))
    assert is_flir(path)
    celsius = raw_to_kelvin(raw) - 273.15
    low, high = read_thermal(path, percentiles=(0, 100)).range
    assert (low, high) == pytest.approx((celsius.min(), celsius.max()), abs=1e-3)
    with pytest.raises(DdfmError, match="no visible photograph in it"):
        read_flir(path)


def test_a_film_is_not_read_as_its_first_frame(tmp_path):
    raw = np.full((8, 8), 15000, np.uint16)
    frame = container([(32, camera()), (1, sized(raw, raw.astype("<u2").tobytes()))])
    (tmp_path / "a.seq").write_bytes(2 * frame)
    assert not is_flir(tmp_path / "a.seq")
    with pytest.raises(DdfmError, match="is a FLIR film; export its frames"):
        read_source(tmp_path / "a.seq")


def test_a_rendering_that_was_turned_upright_turns_the_temperatures(tmp_path):
    """Also upside down, and for any palette, even if its brightness does not rise with warmth."""
    y, x = np.mgrid[:24, :32]
    warmth = 20 + 10 * scene(6.0 * x, 6.0 * y) + 4 * ((x - 4) ** 2 + (y - 4) ** 2 < 9)
    raw = np.rint(kelvin_to_raw(273.15 + warmth)).astype(np.uint16)
    photograph = np.dstack([np.uint8(40 + x), np.uint8(90 + 3 * y), np.uint8(250 - 2 * x)])
    phase = 6 * (warmth - 20) / 14
    palette = np.stack([np.sin(phase), np.cos(phase), np.sin(2 * phase)], axis=2)
    rendering = np.uint8(127 + 120 * palette).repeat(4, axis=0).repeat(4, axis=1)
    plain, *others = (
        read_flir(
            _written(tmp_path, raw, photograph, rendering=Image.fromarray(np.rot90(rendering, k)))
        )
        for k in range(4)
    )
    for k, pair in enumerate(others, 1):
        for upright, turned in zip(plain, pair, strict=True):
            np.testing.assert_array_equal(turned.pixels, np.rot90(upright.pixels, k))
    alone = read_thermal(tmp_path / "a.jpg")  # the last of them
    np.testing.assert_array_equal(alone.pixels[..., 0], np.rot90(_scaled(raw), 3))


def _written(folder, raw, photograph, **how):
    (folder / "a.jpg").write_bytes(flir_jpeg(raw, photograph, **how))
    return folder / "a.jpg"


def _scaled(raw: np.ndarray) -> np.ndarray:
    celsius = raw_to_kelvin(raw) - 273.15
    low, high = np.percentile(celsius, (1, 99))
    return np.clip((celsius - low) / (high - low), 0, 1).astype(np.float32)


def test_the_range_can_be_that_of_the_camera(tmp_path):
    raw = np.linspace(14000, 16000, 48).reshape(6, 8).astype(np.uint16)
    photograph = np.zeros((6, 8, 3), np.uint8)
    path = _written(tmp_path, raw, photograph, level_and_span=(15000, 1000))
    low, high = raw_to_kelvin(np.array([14500, 15500])) - 273.15
    assert read_flir(path, celsius="camera").celsius == pytest.approx((low, high), abs=1e-3)
    path = _written(tmp_path, raw, photograph)
    with pytest.raises(DdfmError, match="level and span of the camera"):
        read_thermal(path, celsius="camera")
