"""AVIF, HEIC and JPEG XL: read if Pillow or a plugin can, otherwise refused with advice.

phone.heic, deep.heic (10 bits) and phone.jxl in data/files were written by pillow-heif and
pillow-jxl-plugin; the first lies on its side, the last is upright and its EXIF is ignored, as its
standard requires.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, features

import ddfm
from command_line import ddfm_run, refused
from ddfm.errors import DdfmError
from ddfm.imaging.formats import plugins
from ddfm.imaging.formats.jpegxl import jpegxl_size
from ddfm.imaging.reading import read_image
from image_files import FILES


def shown() -> np.ndarray:
    y, x = np.mgrid[:24, :40]
    return np.dstack([6 * x, 10 * y, np.full_like(x, 90)])


@pytest.fixture(params=["heic", "jxl", "avif"])
def phone(request, tmp_path):
    """The path of a photograph, and its pixels when upright."""
    kind = request.param
    if kind == "avif":
        if not features.check("avif"):
            pytest.skip("Pillow was built without AVIF")
        exif = Image.Exif()
        exif[271], exif[274] = "Phone", 6
        path = tmp_path / "photo.avif"
        Image.fromarray(shown().astype(np.uint8)).save(path, quality=95, exif=exif)
    else:
        pytest.importorskip({"heic": "pi_heif", "jxl": "pillow_jxl"}[kind])
        path = FILES / f"phone.{kind}"
    return path, shown() if kind == "jxl" else np.rot90(shown(), -1)


def test_photographs_of_phones_are_upright_and_keep_the_camera_in_exif(phone):
    path, expected = phone
    picture = read_image(path)
    assert np.abs(255 * picture.pixels - expected).mean() < 4
    assert picture.metadata.exif.image[271].data.startswith(b"Phone")
    again = read_image(path.read_bytes())  # by its content, whatever it is called
    assert np.array_equal(again.pixels, picture.pixels)


def test_heic_is_read_at_its_own_depth():
    pytest.importorskip("pi_heif")
    picture = read_image(FILES / "deep.heic")
    y, x = np.mgrid[:24, :40]
    expected = np.dstack([1600 * x, 2700 * y, np.full_like(x, 23130)])
    assert picture.dtype == np.uint16 and picture.samples.dtype == np.uint16
    assert (
        np.abs(picture.samples.astype(int) - expected).mean() < 800
    )  # of 65535; it was compressed
    assert len(np.unique(picture.samples)) > 256


def test_they_have_no_record_but_info_tells_what_they_are(phone):
    path, expected = phone
    assert ddfm.read_record(path) is None
    told = ddfm_run("info", path)
    height, width = expected.shape[:2]
    assert told.exit_code == 0 and f"{width} x {height} pixels, colour, 8 bits" in told.stdout


def test_they_are_not_written(phone, tmp_path):
    out = tmp_path / f"f{phone[0].suffix}"
    refused(ddfm_run("fuse", phone[0], phone[0], "-o", out), "it is only read; known: .bmp")


def test_a_folder_pairs_them_and_results_keep_their_metadata(phone, tmp_path):
    path, expected = phone
    for folder in ("ir", "vis"):
        (tmp_path / folder).mkdir()
    Image.fromarray(expected[..., 0].astype(np.uint8)).save(tmp_path / "ir" / "1.png")
    (tmp_path / "vis" / f"1{path.suffix}").write_bytes(path.read_bytes())
    folders = tmp_path / "ir", tmp_path / "vis"
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", "--quality", "fast")
    assert result.exit_code == 0, result.stderr
    with Image.open(tmp_path / "out" / "1.png") as image:
        exif = image.getexif()
        assert image.size == expected.shape[1::-1]
        assert exif[271] == "Phone" and exif[274] == 1


def test_damaged_photographs_are_refused_in_one_line(phone, tmp_path):
    data = phone[0].read_bytes()
    for size in (20, len(data) // 2):
        with pytest.raises(DdfmError, match="image"):
            read_image(data[:size])
    for part in (30, 90, 99):
        path = tmp_path / f"{part}{phone[0].suffix}"
        path.write_bytes(data[: len(data) * part // 100])
        with pytest.raises(DdfmError, match=rf"{path.name} is truncated or damaged") as caught:
            read_image(path)
        assert "build" not in str(caught.value)  # advice of the decoder, to programmers


def test_a_photograph_that_claims_to_be_large_is_refused_before_decoding(phone, monkeypatch):
    monkeypatch.setenv("DDFM_MAX_MEGAPIXELS", "0.0005")
    with pytest.raises(DdfmError, match="megapixels"):
        ddfm.read_image(phone[0])


def test_without_a_plugin_the_error_names_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "find_spec", lambda name: None)
    for name, package, words in (
        ("phone.heic", r"ddfm\[phone\]", "heif-convert"),
        ("phone.jxl", "pillow-jxl-plugin", "djxl"),
    ):
        with pytest.raises(DdfmError, match=f"{package}'? reads it, or .*{words}"):
            read_image(FILES / name)
        with pytest.raises(DdfmError, match=words):  # as phones send it, called a JPEG
            (tmp_path / "photo.jpg").write_bytes((FILES / name).read_bytes())
            read_image(tmp_path / "photo.jpg")


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize(
    "bits, size",
    [
        ("1 00010 011 ", (32, 24)),  # a small multiple of eight, 4:3
        ("1 11111 000 00000", (8, 256)),
        (f"0 11 {120319:030b} 111", (240640, 120320)),  # 2:1
    ],
)
def test_the_size_of_jpeg_xl_is_known_from_its_first_bits(bits, size, boxed):
    """Headers made of bit fields, the first one in the lowest bits of the first byte."""
    whole, at = 0, 0
    for field in bits.split():
        whole |= int(field, 2) << at
        at += len(field)
    head = b"\xff\x0a" + whole.to_bytes(16, "little")
    if boxed:
        led = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x0cfree1234"
        head = led + (12 + len(head)).to_bytes(4, "big") + b"jxlp\0\0\0\0" + head
    assert jpegxl_size(head, "a.jxl") == size
