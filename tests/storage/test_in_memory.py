"""Sources and results in memory: the same pixels, budgets and errors as for paths."""

from __future__ import annotations

import io
import tempfile

import numpy as np
import pytest

import ddfm
from ddfm.imaging.opening import Opening
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import read_sources
from ddfm.storage import budget
from flir_files import flir_jpeg, kelvin_to_raw
from places import EXAMPLES

IR, VIS = EXAMPLES / "olinda_infrared.png", EXAMPLES / "olinda_visible.png"


def test_bytes_and_open_files_read_like_their_path(tmp_path):
    with open(VIS, "rb") as file:
        opened = read_image(file)
        assert not file.closed
    for picture in (read_image(VIS.read_bytes()), opened, read_image(io.BytesIO(VIS.read_bytes()))):
        assert np.array_equal(picture.pixels, read_image(VIS).pixels)
    assert opened.name == str(VIS)


def test_tables_are_recognised_by_content_or_by_the_name_of_the_file(tmp_path):
    degrees = np.linspace(-5, 40, 12, dtype=np.float32).reshape(3, 4)
    np.save(tmp_path / "t.npy", degrees)
    assert read_image((tmp_path / "t.npy").read_bytes()).range == (-5, 40)
    np.savetxt(tmp_path / "t.csv", degrees, delimiter=",")
    with open(tmp_path / "t.csv", "rb") as file:
        assert read_image(file).range == (-5, 40)


def test_a_radiometric_file_is_recognised_in_memory(tmp_path):
    path = tmp_path / "flir.jpg"
    raw = kelvin_to_raw(273.15 + np.linspace(10, 40, 80 * 60).reshape(60, 80))
    photograph = np.zeros((120, 160, 3), np.uint8)
    path.write_bytes(flir_jpeg(raw, photograph, spare=2))
    alone = Opening().pictures([path.read_bytes()])
    assert all(
        np.array_equal(a.pixels, b.pixels)
        for a, b in zip(alone, Opening().pictures([path]), strict=True)
    )
    assert alone[0].name == "image 1 (thermal)"
    thermal = read_sources([io.BytesIO(path.read_bytes()), IR], alike=False)[0]
    assert thermal.unit == "°C"
    assert thermal.name == "the first image (thermal)"


def test_errors_give_their_names_and_no_temporary_file_remains(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ddfm.InputError, match=r"^the second image is not an image, or damaged"):
        read_sources([VIS, b"no image"])
    half = io.BytesIO(VIS.read_bytes()[:5000])
    half.name = "half.png"
    with pytest.raises(ddfm.InputError, match=r"^half\.png is truncated or damaged"):
        read_sources([half, VIS])
    with pytest.raises(ddfm.InputError, match="open for text"):
        read_image(io.StringIO("1,2\n3,4"))
    with pytest.raises(ddfm.InputError, match="image 1: a file must be a path"):
        Opening().pictures([3, VIS])
    assert list(tmp_path.iterdir()) == []


def test_budgets_apply(monkeypatch):
    monkeypatch.setenv(budget.PIXELS, "0.01")
    with pytest.raises(ddfm.InputError, match="megapixels"):
        read_image(VIS.read_bytes())
    monkeypatch.delenv(budget.PIXELS)
    monkeypatch.setenv(budget.BYTES, "5e6")

    class Endless(io.RawIOBase):
        def read(self, size=-1):
            return bytes(size)

    with pytest.raises(ddfm.InputError, match="longer than 5 MB"):
        read_image(Endless())


def test_a_result_is_written_to_a_buffer_as_it_is_to_a_path(tmp_path):
    crop = (slice(0, 48), slice(0, 64))
    a, b = (read_image(path).pixels[crop] for path in (IR, VIS))
    fusion = ddfm.fuse(a, b)
    for suffix in ("png", "tif", "jpg"):
        fusion.save(tmp_path / f"x.{suffix}")
        buffer = io.BytesIO()
        fusion.save(buffer, format=suffix)
        assert buffer.getvalue() == (tmp_path / f"x.{suffix}").read_bytes()
    with pytest.raises(ddfm.InputError, match="must be given"):
        fusion.save(buffer)
    with pytest.raises(ddfm.InputError, match="unknown output suffix"):
        fusion.save(buffer, format="heic")
    with pytest.raises(ddfm.InputError, match="the suffix of a path"):
        fusion.save(tmp_path / "x.png", format="png")
    with pytest.raises(ddfm.InputError, match="path must be a path"):
        fusion.save(3)
