"""Images into files: round trips, what a format cannot carry, profiles, and what is refused."""

from __future__ import annotations

import os
import sys
import warnings
import zlib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageCms

from ddfm.imaging.picture import Picture, to_array
from ddfm.imaging.reading import SUFFIXES, read_image
from ddfm.imaging.writing import _WRITABLE, check_output, write_image
from image_files import as_array, message, pattern, run, write

LOSSLESS_8 = [".png", ".tif", ".webp", ".bmp", ".jp2", ".j2k"]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".jp2", ".j2k"])
def test_a_ramp_of_16_bits_loses_no_level(tmp_path, suffix):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(as_array(read_image(write(tmp_path / f"a{suffix}", ramp))), ramp)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(11, 9), (1, 1), (1, 7), (64, 33)])
@pytest.mark.parametrize(
    "suffix, dtype",
    [(s, np.uint8) for s in LOSSLESS_8]
    + [(".png", np.uint16), (".tif", np.uint16), (".tif", np.float32)],
)
def test_round_trip_is_exact(tmp_path, suffix, dtype, channels, size):
    array = pattern(dtype, channels, *size)
    back = as_array(read_image(write(tmp_path / f"a{suffix}", array)))
    if suffix == ".bmp" and channels in (2, 4):
        array = array[:, :, :-1].squeeze(2) if channels == 2 else array[:, :, :-1]
    assert back.dtype == dtype
    equal_channels = channels >= 3 and np.ptp(array[:, :, :3], axis=2).max() == 0
    assert not equal_channels
    assert np.array_equal(back, array)


def test_16_bit_png_is_what_the_specification_says(tmp_path):
    for channels in (1, 2, 3, 4):
        array = pattern(np.uint16, channels)
        path = write(tmp_path / "a.png", array)
        assert np.array_equal(decode_png(path.read_bytes()), array)


def decode_png(data: bytes) -> np.ndarray:
    """A PNG decoder as short as can be, for 16 bits without interlacing."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == int.from_bytes(data[at + 8 + length :][:4], "big")
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + length
    width, height = (int.from_bytes(chunks[b"IHDR"][i : i + 4], "big") for i in (0, 4))
    depth, color, *rest = chunks[b"IHDR"][8:]
    channels = {0: 1, 4: 2, 2: 3, 6: 4}[color]
    assert (depth, rest) == (16, [0, 0, 0])
    step, stride = 2 * channels, 2 * channels * width
    raw, rows = zlib.decompress(chunks[b"IDAT"]), [bytes(stride)]
    for y in range(height):
        kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1 :][:stride])
        for i in range(stride):
            left = line[i - step] if i >= step else 0
            above, corner = rows[-1][i], rows[-1][i - step] if i >= step else 0
            guess = left + above - corner
            near = min((left, above, corner), key=lambda v: abs(guess - v))
            line[i] = (line[i] + [0, left, above, (left + above) // 2, near][kind]) % 256
        rows.append(bytes(line))
    array = np.frombuffer(b"".join(rows[1:]), ">u2").reshape(height, width, channels)
    return array[:, :, 0] if channels == 1 else array


@pytest.mark.parametrize(
    "suffix, dtype", [(".png", np.uint16), (".jpg", np.uint8), (".webp", np.uint8)]
)
def test_values_are_rounded_to_the_greatest_depth_of_the_format(tmp_path, suffix, dtype):
    smooth = np.linspace(10, 30, 64 * 64, dtype=np.float32).reshape(64, 64)
    picture = read_image(write(tmp_path / f"a{suffix}", smooth))
    assert picture.dtype == dtype and picture.range is None
    expected = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    loss = 0.02 if suffix == ".jpg" else 0.5 / np.iinfo(dtype).max + 1e-6
    assert np.abs(picture.pixels[:, :, 0] - expected).max() <= loss


def test_jpeg_is_close_and_keeps_full_chroma(tmp_path):
    y, x = np.mgrid[:64, :64] / 63
    array = np.stack([x, y, 1 - x], 2)
    path = write(tmp_path / "a.jpg", (array * 255).round().astype(np.uint8))
    assert np.abs(read_image(path).pixels - array).mean() < 0.005
    with Image.open(path) as image:
        assert {component[1:3] for component in image.layer} == {(1, 1)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int64, np.float16])
def test_other_ranges_are_scaled_and_restored(tmp_path, dtype):
    array = np.array([[-40, -12], [7, 160]]).astype(dtype)
    picture = read_image(array)
    assert picture.range == (-40, 160) and picture.dtype == np.float32
    np.testing.assert_allclose(picture.pixels[:, :, 0], (array.astype(float) + 40) / 200, atol=1e-7)
    np.testing.assert_allclose(as_array(picture), array, atol=2e-5)
    back = read_image(write(tmp_path / "a.tif", array))
    np.testing.assert_allclose(as_array(back), array, atol=2e-5)


def test_a_constant_image_of_any_value_is_preserved():
    for value in (300.0, -2.0, 0.0, 1.0):
        picture = read_image(np.full((3, 4), value))
        assert np.array_equal(as_array(picture), np.full((3, 4), value, np.float32))


def test_rounding_is_to_the_nearest_level():
    like = read_image(np.zeros((1, 1), np.uint8))
    values = np.array([[0.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.0, 1.5, -0.5]])
    assert to_array(values, like).tolist() == [[0, 0, 1, 255, 255, 255, 0]]


@cache  # a new one carries the time of day
def profile(space: str) -> bytes:
    if space == "RGB":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb = bytearray(profile("RGB"))
    rgb[16:20] = b"GRAY"
    return bytes(rgb)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_profiles_are_kept(tmp_path, suffix, dtype):
    picture = read_image(pattern(dtype, 3))
    tagged = Picture(picture.pixels, None, picture.dtype, profile("RGB"))
    write_image(tmp_path / f"a{suffix}", tagged.pixels, tagged)
    back = read_image(tmp_path / f"a{suffix}")
    assert back.icc == profile("RGB")
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.info["icc_profile"] == profile("RGB")


def test_a_profile_for_other_channels_is_left_out(tmp_path):
    for space, channels, kept in [("RGB", 1, 0), ("GRAY", 3, 0), ("GRAY", 1, 1), ("RGB", 3, 1)]:
        like = Picture(np.zeros((4, 4, channels), "f4"), icc=profile(space))
        write_image(tmp_path / "a.png", np.random.default_rng(0).random((4, 4, channels)), like)
        assert (read_image(tmp_path / "a.png").icc is not None) == bool(kept)


@pytest.mark.parametrize("space, channels", [("RGB", 3), ("GRAY", 1)])
def test_a_profile_in_jpeg_2000_is_read_by_others_and_pixels_stay(tmp_path, space, channels):
    rasterio = pytest.importorskip("rasterio")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, channels), np.uint8)
    like = replace(read_image(pixels), icc=profile(space))
    write_image(tmp_path / "a.jp2", like.pixels, like)
    back = read_image(tmp_path / "a.jp2")
    assert back.icc == profile(space) and np.array_equal(back.samples, pixels)
    data = (tmp_path / "a.jp2").read_bytes()
    assert data.count(profile(space)) == 1 and data.count(b"colr") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it lies nowhere on earth
        with rasterio.open(tmp_path / "a.jp2") as file:
            assert np.array_equal(np.moveaxis(file.read(), 0, 2), pixels)
    write_image(tmp_path / "b.jp2", like.pixels, replace(like, icc=None))
    assert read_image(tmp_path / "b.jp2").icc is None


def test_written_images_are_found_in_a_folder():
    assert set(_WRITABLE) < SUFFIXES


def test_bad_outputs_are_refused(tmp_path):
    like = read_image(np.zeros((2, 2), np.uint8))
    pixels = np.zeros((2, 2))
    assert "did you mean .png" in message(lambda: write_image(tmp_path / "a.pngg", pixels, like))
    assert "try" in message(lambda: write_image(tmp_path / "a", pixels, like))
    assert "no folder" in message(lambda: check_output(tmp_path / "none" / "a.png"))
    (tmp_path / "b.png").mkdir()
    assert "folder" in message(lambda: check_output(tmp_path / "b.png"))
    nan = np.full((2, 2), np.nan)
    assert "not numbers" in message(lambda: write_image(tmp_path / "a.png", nan, like))
    wide = np.zeros((1, 20000))
    assert "16383" in message(lambda: write_image(tmp_path / "a.webp", wide, like))
    misfit = np.zeros((3, 3))
    assert "alpha" in message(lambda: write_image(tmp_path / "a.png", pixels, like, misfit))
    assert [p.name for p in tmp_path.iterdir()] == ["b.png"]


RUN_AS_NOBODY = """
import sys
import numpy as np
from ddfm.errors import DdfmError
from ddfm.imaging.reading import read_image
from ddfm.imaging.writing import write_image
import ddfm.imaging.formats.png16, os
like = read_image(np.zeros((2, 2), np.uint8))  # imports what nobody may not read afterwards
if os.geteuid() == 0:
    os.setuid(65534)
for call in (lambda: read_image(sys.argv[1] + "/a.png"),
             lambda: write_image(sys.argv[1] + "/b.png", np.zeros((2, 2)), like)):
    try:
        call()
    except DdfmError as error:
        print(error)
"""


def test_an_output_without_permission_is_refused(tmp_path):
    write(tmp_path / "a.png", pattern(np.uint8, 1))
    os.chmod(tmp_path / "a.png", 0)
    os.chmod(tmp_path, 0o555)
    try:
        done = run(RUN_AS_NOBODY, str(tmp_path))
    finally:
        os.chmod(tmp_path, 0o755)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 2, done.stderr
    assert lines[0].startswith("cannot read") and "a.png" in lines[0]
    assert lines[1].startswith("cannot write") and "b.png" in lines[1]


DISK_FULL = """
import resource, sys
import numpy as np
from pathlib import Path
from ddfm.errors import DdfmError
from ddfm.imaging.reading import read_image
from ddfm.imaging.writing import write_image
noise = np.random.default_rng(0).integers(0, 65536, (200, 200, 3)).astype(np.uint16)
like = read_image(noise)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
for suffix in (".png", ".tif", ".jp2", ".webp", ".bmp", ".jpg"):
    path = Path(sys.argv[1]) / ("a" + suffix)
    path.write_bytes(b"before")
    try:
        write_image(path, like.pixels, like)
        print("no error")
    except DdfmError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are POSIX")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    done = run(DISK_FULL, str(tmp_path))
    lines = done.stdout.splitlines()
    assert len(lines) == 6 and all(line.startswith("cannot write") for line in lines), done.stderr
    assert {p.read_bytes() for p in tmp_path.iterdir()} == {b"before"}
    assert len(list(tmp_path.iterdir())) == 6
