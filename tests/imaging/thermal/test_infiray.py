"""InfiRay's .irg: the temperatures and the photograph of one file."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import FAST, ddfm_run, refused
from ddfm.errors import DdfmError
from ddfm.imaging.opening import Opening
from ddfm.imaging.reading import read_image
from ddfm.imaging.thermal.flir import read_flir
from ddfm.imaging.thermal.infiray import has_photograph, is_infiray, read_infiray, read_photograph

ROWS, COLUMNS = 32, 24
WARM = 20 + np.add.outer(np.arange(ROWS), np.arange(COLUMNS)) / 4  # degrees


def irg(
    degrees: np.ndarray = WARM,
    photograph: Image.Image | None = None,
    *,
    magic: bytes = b"\xca\xac",
    kind: int = 0,
    steps: int = 16,
    length: int = 128,
) -> bytes:
    """A file as InfiRay's cameras write it."""
    rows, columns = degrees.shape
    size = rows * columns
    head = struct.pack("<2sHIHHB", magic, length, size, rows, columns, kind)
    head += struct.pack("<IHHB", 2 * size, rows, columns, 1)
    values = np.rint(steps * (degrees + 273.15)).astype("<u2")
    stored = BytesIO()
    if photograph is not None:
        photograph.save(stored, "JPEG", quality=95)
    return head.ljust(length, b"\0") + bytes(size) + values.tobytes() + stored.getvalue()


def photograph() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((2 * COLUMNS, 2 * ROWS))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "family",
    [
        {},
        {"kind": 1, "steps": 10},
        {"magic": b"\xba\xab", "steps": 10, "length": 256},
        {"magic": b"\x04\xa0", "steps": 10},
        {"magic": b"\xb0\x0b", "steps": 10},  # not known, but its values tell the steps
        {"magic": b"\xb0\x0b", "steps": 16},
    ],
)
def test_temperatures_of_each_family_of_cameras(tmp_path, family):
    path = written(tmp_path / "a.irg", irg(**family))
    picture = read_infiray(path, celsius=(20, 40))
    half = 0.5 / family.get("steps", 16)  # a step is rounded
    np.testing.assert_allclose(20 + 20 * picture.pixels[..., 0], WARM.clip(20, 40), atol=half + 0.1)
    assert picture.unit == "°C" and picture.range == (20, 40) and picture.size == (ROWS, COLUMNS)
    assert not has_photograph(path)


def test_one_file_is_a_pair(tmp_path):
    path = written(tmp_path / "a.irg", irg(photograph=photograph()))
    assert is_infiray(path) and has_photograph(path)
    pair = read_flir(path, celsius=(20, 40))
    assert pair.celsius == (20, 40) and not pair.aligned
    thermal, visible = pair
    assert thermal.size == (ROWS, COLUMNS)  # the sensor's own pixels; the fusion enlarges them
    assert np.abs(visible.pixels - np.asarray(photograph()) / 255).mean() < 0.05
    both = Opening(grid="thermal").pictures([path])
    assert [one.size for one in both] == [(ROWS, COLUMNS)] * 2
    done = ddfm_run("fuse", tmp_path, "-o", tmp_path / "out", *FAST)
    assert done.exit_code == 0, done.output
    assert read_image(tmp_path / "out" / "a.png").size == (2 * ROWS, 2 * COLUMNS)
    told = ddfm_run("info", path).stdout
    assert "radiometric file of InfiRay, with a photograph" in told


def test_a_blank_photograph_is_none(tmp_path):
    path = written(tmp_path / "a.irg", irg(photograph=Image.new("RGB", (24, 32), (0, 90, 0))))
    assert not has_photograph(path)
    with pytest.raises(DdfmError, match="no visible photograph in it; pass one as a second image"):
        read_photograph(path)
    photograph().save(tmp_path / "b.png")
    thermal, _ = Opening().pictures([path, tmp_path / "b.png"])
    assert thermal.unit == "°C"
    refused(ddfm_run("fuse", tmp_path, "-o", "out"), "has a photograph next to its temperatures")


def test_damaged_files_are_refused_in_one_line(tmp_path):
    whole = irg(photograph=photograph())
    cut = written(tmp_path / "a.irg", whole[:1501])  # in the middle of a value
    with pytest.raises(DdfmError, match="cut off: its temperatures"):
        read_infiray(cut)
    at = 128 + 3 * ROWS * COLUMNS
    cut = written(tmp_path / "b.irg", whole[: at + 300])
    with pytest.raises(DdfmError, match="truncated or damaged"):
        read_photograph(cut)
    huge = struct.pack("<2sHIHHB", b"\xca\xac", 128, 65535 * 65535, 65535, 65535, 0)
    for content in (b"", whole[:9], huge + bytes(200), b"\x89PNG" + whole[4:]):
        other = written(tmp_path / "c.irg", content)
        assert not is_infiray(other)
        with pytest.raises(DdfmError, match="not a file of an InfiRay camera"):
            read_infiray(other)
