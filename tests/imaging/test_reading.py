"""Images from files, arrays and Pillow: depth, colour, alpha, orientation, and what is refused."""

from __future__ import annotations

import io
import re
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps, features

from ddfm.errors import DdfmError, DdfmWarning
from ddfm.imaging.formats.jpeg2000 import add_boxes
from ddfm.imaging.formats.tags import DOUBLE, LONG, Entry, block
from ddfm.imaging.metadata.geo import Geo
from ddfm.imaging.pairing import other_files
from ddfm.imaging.picture import orient
from ddfm.imaging.reading import pages_in, read_image
from ddfm.imaging.writing import write_image
from image_files import FILES, as_array, message, pattern, run, write


@pytest.mark.parametrize(
    "name, dtype, channels",
    [
        ("rgb16_interlaced.png", np.uint16, 3),
        ("rgba16.png", np.uint16, 4),
        ("la16.png", np.uint16, 2),
        ("rgb16_lzw_bigendian.tif", np.uint16, 3),
        ("rgb16_planar_deflate.tif", np.uint16, 3),
        ("rgb16_packbits.tif", np.uint16, 3),
        ("float_lzw_tiled.tif", np.float32, 3),
    ],
)
def test_files_of_other_programs_keep_their_depth(name, dtype, channels):
    back = as_array(read_image(FILES / name))
    assert back.dtype == dtype
    np.testing.assert_allclose(
        back, pattern(dtype, channels), atol=0 if dtype != np.float32 else 1e-7
    )


def test_a_transparent_colour_of_16_bits_becomes_alpha():
    picture = read_image(FILES / "rgb16_keyed.png")
    expected = np.ones((11, 9))
    expected[3, 4] = 0
    assert np.array_equal(picture.alpha, expected)


def test_colour_of_16_bits_in_jpeg_2000_is_refused_rather_than_truncated(tmp_path):
    assert "without loss" in message(lambda: read_image(FILES / "rgb16.jp2"))
    picture = read_image(pattern(np.uint16, 3))
    write_image(tmp_path / "a.jp2", picture.pixels, picture)  # written at 8 bits, as documented
    back = read_image(tmp_path / "a.jp2")
    assert back.dtype == np.uint8
    assert np.abs(back.pixels - picture.pixels).max() <= 0.5 / 255 + 1e-6


def test_floats_within_0_and_1_are_used_unchanged():
    array = np.array([[0.25, 0.5], [0.125, 0.75]])
    picture = read_image(array)
    assert picture.range is None
    assert np.array_equal(picture.pixels[:, :, 0], array)


def test_bool_is_black_and_white():
    picture = read_image(np.array([[True, False]]))
    assert picture.dtype == np.uint8
    assert np.array_equal(as_array(picture), [[255, 0]])


def test_arrays_images_and_tensors_give_the_same_picture():
    array = pattern(np.uint8, 4)
    sources = [array, Image.fromarray(array), torch.from_numpy(array).permute(2, 0, 1)]
    for source in sources:
        picture = read_image(source)
        assert np.array_equal(as_array(picture), array)
        assert picture.is_color and picture.dtype == np.uint8 and picture.size == (11, 9)
    grey = torch.rand(5, 6, dtype=torch.bfloat16)
    assert np.array_equal(read_image(grey).pixels[:, :, 0], grey.float().numpy())


def test_no_source_is_modified():
    for array in (pattern(np.uint16, 4), pattern(np.float32, 3) * 9 - 4, pattern(np.uint8, 1)):
        kept = array.copy()
        picture = read_image(array)
        picture.pixels[...] = 0
        assert np.array_equal(array, kept)
    tensor = torch.rand(3, 4, 5)
    kept = tensor.clone()
    read_image(tensor).pixels[...] = 0
    assert torch.equal(tensor, kept)
    assert np.array_equal(read_image(torch._neg_view(-tensor)).pixels, read_image(tensor).pixels)


def test_three_equal_channels_are_grey():
    grey = pattern(np.uint8, 1)
    picture = read_image(np.dstack([grey] * 3))
    assert not picture.is_color and picture.pixels.shape == (11, 9, 1)
    assert read_image(np.dstack([grey, grey, 255 - grey])).is_color


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr", "HSV", "CMYK"])
def test_pillow_modes_look_as_pillow_shows_them(mode):
    source = Image.fromarray(pattern(np.uint8, 3))
    image = source.convert("L").convert(mode) if mode in ("LA", "PA") else source.convert(mode)
    shown = np.asarray(image.convert("RGB"), np.int16)
    pixels = read_image(image).pixels * 255
    # Pillow's own integer arithmetic for inks is off by one level at times.
    assert np.abs(pixels - shown).max() <= (1.001 if mode == "CMYK" else 1e-3)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_a_profile_of_inks_that_is_not_used_is_warned_of(tmp_path, suffix):
    inks, path = Image.fromarray(pattern(np.uint8, 3)).convert("CMYK"), tmp_path / f"a.{suffix}"
    inks.save(path)
    plain = read_image(path)  # a warning would be an error
    inks.save(path, icc_profile=b"profile of inks" * 20)
    with pytest.warns(DdfmWarning, match=f"a.{suffix}: its CMYK colour profile is not used"):
        profiled = read_image(path)
    assert profiled.icc is None and np.array_equal(profiled.pixels, plain.pixels)


@pytest.mark.parametrize("mode, dtype", [("I;16", np.uint16), ("I", np.float32), ("F", np.float32)])
def test_pillow_modes_of_greater_depth(mode, dtype):
    array = pattern(np.uint16, 1)
    image = Image.fromarray({"I;16": array, "I": array.astype("i4"), "F": array.astype("f4")}[mode])
    assert image.mode == mode
    back = as_array(read_image(image))
    assert back.dtype == dtype
    np.testing.assert_allclose(back, array, atol=0.01)


def test_transparency_of_palettes_and_keys_becomes_alpha(tmp_path):
    image = Image.fromarray(pattern(np.uint8, 3)).quantize(8)
    image.save(tmp_path / "a.png", transparency=3)
    expected = (np.asarray(image) != 3).astype(float)
    assert 0 < expected.mean() < 1
    assert np.array_equal(read_image(tmp_path / "a.png").alpha, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_orientation_is_applied(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pattern(np.uint8, 3, 24, 16)).save(path, exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert upright.shape[:2] == ((24, 16) if orientation < 5 else (16, 24))
    assert np.array_equal(as_array(read_image(path)), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_jpeg_2000_is_applied_to_picture_and_coordinates(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    stored, path = pattern(np.uint8, 4, 24, 16), tmp_path / "a.jp2"
    opened, place = io.BytesIO(), np.diag([2.0, -2.0, 1.0, 1.0])
    place[:2, 3] = 500, 900
    Image.fromarray(stored).save(opened, "JPEG2000", irreversible=False)
    add_boxes(opened, exif.tobytes(), None, Geo({}, np.empty((0, 6)), place, None))
    path.write_bytes(opened.getvalue())
    picture = read_image(path)
    assert np.array_equal(as_array(picture), orient(stored, orientation))
    found = picture.metadata.geo.matrix
    y, x = (int(n) for n in np.argwhere((as_array(picture) == stored[3, 5]).all(-1))[0])
    corners = [found @ (x + dx, y + dy, 0, 1) for dx, dy in ((0, 0), (1, 1))]
    np.testing.assert_allclose(np.mean(corners, axis=0)[:2], (500 + 2 * 5.5, 900 - 2 * 3.5))


@pytest.mark.parametrize("number", [np.nan, np.inf, 6.5, 9])
def test_an_invalid_orientation_of_jpeg_2000_is_ignored(tmp_path, number):
    stored, opened = pattern(np.uint8, 3, 24, 16), io.BytesIO()
    Image.fromarray(stored).save(opened, "JPEG2000", irreversible=False)
    add_boxes(opened, block({274: Entry.of(DOUBLE, number)}), None, None)
    (tmp_path / "a.jp2").write_bytes(opened.getvalue())
    assert np.array_equal(as_array(read_image(tmp_path / "a.jp2")), stored)


def test_orientation_of_16_bit_tiff_is_applied(tmp_path):
    array = pattern(np.uint16, 3)
    tag = (274, "H", 1, 6, True)  # the first row is the right side
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extratags=[tag], metadata=None)
    assert np.array_equal(as_array(read_image(tmp_path / "a.tif")), np.rot90(array, -1))


def test_cmyk_and_min_is_white_tiff_are_read(tmp_path):
    inks = pattern(np.uint16, 4)
    tifffile.imwrite(tmp_path / "a.tif", inks, photometric="separated", metadata=None)
    light = 1 - inks / 65535
    picture = read_image(tmp_path / "a.tif")
    np.testing.assert_allclose(picture.pixels, light[:, :, :3] * light[:, :, 3:], atol=1e-5)
    grey = pattern(np.uint8, 1)
    tifffile.imwrite(tmp_path / "b.tif", grey, photometric="miniswhite", metadata=None)
    assert np.array_equal(as_array(read_image(tmp_path / "b.tif")), 255 - grey)


def test_premultiplied_alpha_is_divided_out(tmp_path):
    color, alpha = np.array([200, 100, 50]), 0.5
    stored = np.append(np.rint(color * alpha), 255 * alpha).astype(np.uint8)[None, None]
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"], metadata=None
    )
    assert np.abs(as_array(read_image(tmp_path / "a.tif"))[0, 0, :3] - color).max() <= 1


def test_a_page_can_be_chosen(tmp_path):
    stack = np.stack([pattern(np.uint16, 1) // (k + 1) for k in range(3)])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    assert pages_in(tmp_path / "a.tif") == 3
    for k, plane in enumerate(stack):
        assert np.array_equal(as_array(read_image(tmp_path / "a.tif", page=k)), plane)
    assert "3 pages" in message(lambda: read_image(tmp_path / "a.tif", page=3))
    write(tmp_path / "b.png", stack[0])
    assert pages_in(tmp_path / "b.png") == 1
    assert "one page" in message(lambda: read_image(tmp_path / "b.png", page=1))
    assert "one page" in message(lambda: read_image((tmp_path / "b.png").read_bytes(), page=1))


def test_only_files_have_pages():
    array = pattern(np.uint8, 1)
    for source in (array, Image.fromarray(array[..., 0]), torch.zeros(4, 5), read_image(array)):
        assert read_image(source, page=0).size == read_image(source).size
        for page in (1, -1):
            words = message(lambda page=page, source=source: read_image(source, page=page))
            assert "page selects one of the pictures in a file" in words


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.gif"])
def test_an_animation_is_reported_and_each_of_its_pictures_can_be_chosen(tmp_path, name):
    planes = [pattern(np.uint8, 1) // (k + 1) for k in range(3)]
    first, *others = map(Image.fromarray, planes)
    first.save(tmp_path / name, save_all=True, append_images=others, duration=100, lossless=True)
    with pytest.warns(DdfmWarning, match="holds 3 pictures, and the first is used"):
        read_image(tmp_path / name)
    for k, plane in enumerate(planes):
        assert np.array_equal(read_image(tmp_path / name, page=k).samples[:, :, 0], plane)


@pytest.mark.skipif(not features.check("avif"), reason="Pillow is built without AVIF")
def test_a_sequence_in_avif_is_reported(tmp_path):
    first, second = (Image.fromarray(pattern(np.uint8, 3, 16, 16) // k) for k in (1, 2))
    first.save(tmp_path / "a.avif", save_all=True, append_images=[second])
    with pytest.warns(DdfmWarning, match="holds 2 pictures, and the first is used"):
        read_image(tmp_path / "a.avif")


def test_a_pillow_that_does_not_know_avif_says_how_to_convert_it(tmp_path, monkeypatch):
    monkeypatch.delitem(features.modules, "avif")  # as in Pillow before 11.3
    (tmp_path / "a.avif").write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0avifmif1")
    with pytest.raises(DdfmError, match=r"a.avif is AVIF; convert it first: avifdec"):
        read_image(tmp_path / "a.avif")


def _gdal(path, array, **options):
    """A TIFF of an array (H, W, C), written by GDAL."""
    rasterio = pytest.importorskip("rasterio")
    height, width, count = array.shape
    size = {"width": width, "height": height, "count": count}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has no coordinates
        with rasterio.open(path, "w", "GTiff", dtype=array.dtype, **size, **options) as file:
            file.write(np.moveaxis(array, 2, 0))


@pytest.mark.parametrize("compress", ["NONE", "LZW", "DEFLATE"])
@pytest.mark.parametrize("layout", [{"TILED": True, "BLOCKXSIZE": 16}, {"INTERLEAVE": "BAND"}])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_samples_between_8_and_16_bits_keep_their_values(tmp_path, bits, layout, compress):
    array = pattern(np.uint16, 3) >> (16 - bits)
    _gdal(
        tmp_path / "a.tif",
        array,
        NBITS=bits,
        COMPRESS=compress,
        PHOTOMETRIC="RGB",
        BLOCKYSIZE=16 if "TILED" in layout else 4,
        **layout,
    )
    assert np.array_equal(read_image(tmp_path / "a.tif").samples, array)


def test_unpacking_12_bits_takes_no_more_memory_than_asked_for(tmp_path):
    array = pattern(np.uint16, 1, 400, 501)[:, :, None] >> 4
    _gdal(tmp_path / "a.tif", array, NBITS=12, BLOCKYSIZE=400)  # in one strip
    tracemalloc.start()
    read_image(tmp_path / "a.tif")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * array.size + 500_000


def test_bytes_of_a_tiff_may_have_their_lowest_bit_first(tmp_path):
    array = pattern(np.uint8, 1)
    mirrored = np.packbits(np.unpackbits(array).reshape(-1, 8)[:, ::-1])
    fields = {256: 9, 257: 11, 258: 8, 259: 1, 262: 1, 266: 2, 273: 0, 277: 1, 278: 11, 279: 99}
    entries = {tag: Entry.of(LONG, value) for tag, value in fields.items()}
    entries[273] = Entry.of(LONG, len(block(entries)))
    (tmp_path / "a.tif").write_bytes(block(entries) + mirrored.tobytes())
    assert np.array_equal(as_array(read_image(tmp_path / "a.tif")), array)


def test_bilevel_palette_and_fax_tiff_are_read(tmp_path):
    image = Image.fromarray(pattern(np.uint8, 3))
    for mode, compression in [("1", "group4"), ("P", "tiff_lzw"), ("RGB", "jpeg"), ("1", None)]:
        converted = image.convert(mode)
        converted.save(tmp_path / "a.tif", compression=compression)
        with Image.open(tmp_path / "a.tif") as saved:
            shown = np.asarray(saved.convert("RGB"))
        picture = read_image(tmp_path / "a.tif")
        assert np.array_equal(picture.pixels * 255 + np.zeros(3, "f4"), shown)


@pytest.mark.parametrize(("number", "method"), [(50001, "WEBP"), (34887, "LERC")])
def test_a_tiff_of_another_compression_is_not_called_damaged(tmp_path, number, method):
    path = tmp_path / "a.tif"
    Image.fromarray(pattern(np.uint8, 3)).save(path, compression="jpeg")
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags[259].overwrite(number, dtype=3)
    words = rf"a\.tif: its compression \({method}\) cannot be read; .* gdal_translate -co COMPRESS"
    with pytest.raises(DdfmError, match=words):
        read_image(path)


@pytest.mark.parametrize(
    "array, words",
    [
        (np.zeros((0, 5)), "empty"),
        (np.full((3, 4), np.nan), "no pixel has a valid value"),
        (np.array([[-np.inf, np.inf]]), "all are NaN, infinite or no data"),
        (np.ma.masked_array(np.eye(4), True), "no pixel has a valid value"),
        (np.zeros((4, 4, 4, 3)), "(4, 4, 4, 3)"),
        (np.zeros(7), "(7,)"),
        (np.zeros((8, 8, 5)), "5 channels"),
        (np.zeros((3, 40, 50)), "channels come last"),
        (np.zeros((40, 50, 60)), "for a volume, use ddfm.fuse_volumes"),
        (np.zeros((3, 4), complex), "complex128"),
        (np.array([["a"]]), "an image cannot have values of type"),
        (np.full((2, 2), 1e300), "too large"),
        (torch.zeros(2, 3, 4, 5), "one image at a time"),
        (torch.zeros(7, 4, 5), "channels come first"),
        (torch.zeros(3, 0, 5), "empty"),
        (17, "int"),
        ([[1, 2]], "list"),
    ],
)
def test_bad_arrays_are_refused(array, words):
    text = message(lambda: read_image(array, name="image a"))
    assert words in text and text.startswith("image a")


def test_bad_paths_are_refused(tmp_path):
    assert "no such file" in message(lambda: read_image(tmp_path / "none.png"))
    assert "folder" in message(lambda: read_image(tmp_path))
    (tmp_path / "a.png").write_text("hello")
    assert "is not an image" in message(lambda: read_image(tmp_path / "a.png"))
    (tmp_path / "empty.tif").write_bytes(b"")
    assert message(lambda: read_image(tmp_path / "empty.tif")).endswith("empty.tif is empty")
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8b")
    assert "ddfm volume" in message(lambda: read_image(tmp_path / "a.nii.gz"))
    (tmp_path / "a.mha").write_bytes(b"ObjectType = Image\n")
    assert "ddfm volume" in message(lambda: read_image(tmp_path / "a.mha"))
    (tmp_path / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(20))  # as scanners call it
    assert "ddfm volume" in message(lambda: read_image(tmp_path / "IM0001"))
    assert "ddfm volume" in other_files(tmp_path)[tmp_path / "IM0001"]
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert "is a document, not an image" in message(lambda: read_image(tmp_path / "a.eps"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp", ".jp2"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_truncated_files_are_refused(tmp_path, suffix, dtype):
    noise = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (40, 40, 3)).astype(dtype)
    data = write(tmp_path / f"a{suffix}", noise).read_bytes()
    (tmp_path / f"b{suffix}").write_bytes(data[: len(data) // 2])
    assert f"b{suffix}" in message(lambda: read_image(tmp_path / f"b{suffix}"))


def test_decompression_bombs_are_refused_before_decoding(tmp_path):
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + check

    header = (60000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))
    (tmp_path / "a.png").write_bytes(png + chunk(b"IEND", b""))
    assert "limit" in message(lambda: read_image(tmp_path / "a.png"))

    tifffile.imwrite(tmp_path / "a.tif", pattern(np.uint8, 1), metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    for tag in (256, 257, 278):  # width, length, rows in a strip
        set_tag(data, tag, 60000)
    (tmp_path / "b.tif").write_bytes(data)
    assert "60000 x 60000" in message(lambda: read_image(tmp_path / "b.tif"))


def set_tag(data: bytearray, tag: int, value: int) -> None:
    """Change the value of a tag in the first table of a little-endian TIFF."""
    start = int.from_bytes(data[4:8], "little") + 2
    while int.from_bytes(data[start : start + 2], "little") != tag:
        start += 12
    data[start + 2 : start + 12] = b"\x04\0\x01\0\0\0" + value.to_bytes(4, "little")


def test_a_strip_is_inflated_no_further_than_its_size(tmp_path):
    """Sixty million zeros deflate to 60 kB; only the 99 bytes of the page are unpacked."""
    array = pattern(np.uint8, 1)
    tifffile.imwrite(tmp_path / "a.tif", array, compression="zlib", metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    bomb = zlib.compress(array.tobytes() + bytes(60_000_000))
    set_tag(data, 273, len(data))  # where the strip is
    set_tag(data, 279, len(bomb))  # and how long
    (tmp_path / "b.tif").write_bytes(bytes(data) + bomb)
    assert np.array_equal(as_array(read_image(tmp_path / "b.tif")), array)


def test_a_loop_of_pages_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", pattern(np.uint8, 1), metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    start = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[start : start + 2], "little")
    end = start + 2 + 12 * entries
    data[end : end + 4] = data[4:8]
    (tmp_path / "b.tif").write_bytes(data)
    assert "loop" in message(lambda: read_image(tmp_path / "b.tif"))


def test_warnings_of_the_decoders_are_not_passed_on(tmp_path):
    image = Image.fromarray(pattern(np.uint8, 3)).quantize(8)
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "a.tif", compression="tiff_lzw")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(data[:-6])
    code = (
        "import sys, warnings\nfrom ddfm.errors import DdfmError\n"
        "from ddfm.imaging.reading import read_image\n"
        "for p in sys.argv[1:]:\n    try: read_image(p)\n    except DdfmError: pass\n"
        "from PIL import Image\nwarnings.warn_explicit('ours', UserWarning, 'f', 1, 'PIL.Image')"
    )
    done = run(code, *(str(tmp_path / name) for name in ("a.png", "a.tif", "b.tif")))
    assert done.returncode == 0
    assert done.stderr.count("Warning") == 1 and "ours" in done.stderr  # filters are put back


def test_filters_of_warnings_are_restored():
    before = list(warnings.filters)
    read_image(FILES / "la16.png")
    message(lambda: read_image(FILES / "rgb16.jp2"))
    assert warnings.filters == before


@pytest.mark.parametrize("name", ["a.tif", "a.nef", "dng.tif", "cr2.tif"])
def test_the_preview_in_a_raw_file_is_not_taken_for_the_image(tmp_path, name):
    """As NEF, DNG and CR2 begin: a small preview, and within its page the samples of the sensor."""
    preview, samples = np.zeros((12, 16, 3), np.uint8), np.zeros((120, 160), np.uint16)
    version = [(50706, 1, 4, b"\1\4\0\0", True)] if name == "dng.tif" else []
    reduced = 0 if name == "dng.tif" else 1
    path = tmp_path / name
    with tifffile.TiffWriter(path) as file:
        file.write(preview, photometric="rgb", subfiletype=reduced, subifds=1, extratags=version)
        file.write(samples, photometric="cfa", extratags=[(33421, 3, 2, (2, 2), True)])
    if name == "cr2.tif":
        path.write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(1000))
    with pytest.raises(DdfmError, match="is a camera's raw file; develop it to TIFF first"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("a.exr", "is an OpenEXR file; convert it to TIFF first"),
        ("a.PSD", "is the document of a drawing program; export it"),
        ("a.svg", "is a document, not an image of pixels; export it"),
        ("a.mat", r"is a MATLAB file; write its image as CSV first: writematrix\("),
        ("a.h5", "is an HDF.*; convert one of them to TIFF first: gdal_translate"),
        ("a.tar.gz", "is an archive; unpack it first"),
        ("a.odd", "is not an image, or damaged"),
    ],
)
def test_an_error_tells_how_to_make_an_image_of_a_file_of_another_kind(tmp_path, name, way):
    (tmp_path / name).write_bytes(b"not a picture")
    with pytest.raises(DdfmError, match=f"{re.escape(name)} {way}"):
        read_image(tmp_path / name)


def test_the_way_to_read_an_archive_of_arrays_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("IN.npz", NAME=np.arange(12, dtype=np.uint8).reshape(3, 4))
    with pytest.raises(DdfmError, match="is an archive of arrays") as refusal:
        read_image("IN.npz")
    exec(str(refusal.value).partition("first: ")[2], {"numpy": np})
    assert (read_image("OUT.npy").samples[..., 0] == np.arange(12).reshape(3, 4)).all()


@pytest.mark.parametrize("rest", [b"\0\0\0\0", b"\xff\0\0\0", b"\x08\0\0\0", b"\x08\0\0\0\xff\xff"])
def test_an_error_names_a_tiff_without_a_first_page(tmp_path, rest):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + rest)
    with pytest.raises(DdfmError, match=r"a\.tif is truncated or damaged: (?!StopIteration)"):
        read_image(tmp_path / "a.tif")
