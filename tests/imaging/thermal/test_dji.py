"""DJI's R-JPEG: the raw values are read, not the rendering."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ddfm.errors import DdfmError
from ddfm.imaging.opening import Opening
from ddfm.imaging.thermal.dji import is_dji, read_dji


def dji_jpeg(counts: np.ndarray, size: tuple[int, int], make: str = "DJI", segment=500) -> bytes:
    """A JPEG with integers in APP3 segments, and a rendering of another size."""
    exif = Image.Exif()
    exif[271] = make
    file = BytesIO()
    Image.new("RGB", size, "red").save(file, "JPEG", exif=exif)
    raw = counts.astype("<u2").tobytes()
    parts = [raw[at : at + segment] for at in range(0, len(raw), segment)]
    app3 = b"".join(b"\xff\xe3" + (len(p) + 2).to_bytes(2, "big") + p for p in parts)
    return file.getvalue()[:2] + app3 + file.getvalue()[2:]


@pytest.fixture
def counts() -> np.ndarray:
    return 2700 + np.arange(24 * 32).reshape(24, 32)


@pytest.mark.parametrize("size", [(32, 24), (64, 48)])
def test_raw_values_are_read_and_spread_over_the_range(tmp_path, counts, size):
    path = tmp_path / "a.jpg"
    path.write_bytes(dji_jpeg(counts, size))
    assert is_dji(path)
    low, high = np.percentile(counts, (1, 99))
    picture = read_dji(path)
    expected = np.clip((counts - low) / (high - low), 0, 1)
    np.testing.assert_allclose(picture.pixels[..., 0], expected, atol=1e-5)
    assert picture.range == (low, high) and picture.unit == "counts"
    scaled = read_dji(path, levels=(2700, 2900)).pixels[..., 0]
    np.testing.assert_allclose(scaled, np.clip((counts - 2700) / 200, 0, 1), atol=1e-5)


def test_a_pair_from_a_drone_is_fused(tmp_path, counts):
    (tmp_path / "a_T.jpg").write_bytes(dji_jpeg(counts, (32, 24)))
    Image.new("RGB", (32, 24), "green").save(tmp_path / "a_V.jpg")
    files = [tmp_path / "a_T.jpg", tmp_path / "a_V.jpg"]
    thermal, _ = Opening().pictures(files)
    np.testing.assert_array_equal(thermal.pixels, read_dji(files[0]).pixels)
    ranged, _ = Opening(ranges=((2700, 2900),)).pictures(files)
    assert ranged.range == (2700, 2900)
    with pytest.raises(DdfmError, match="only DJI's own Thermal SDK converts to degrees"):
        Opening(celsius=(10, 40)).pictures(files)
    with pytest.raises(DdfmError, match="but no photograph; pass the one"):
        Opening().pictures(files[:1])


def test_other_files_are_refused_as_r_jpeg(tmp_path, counts):
    (tmp_path / "a.jpg").write_bytes(dji_jpeg(counts, (32, 24), make="Another"))
    Image.new("RGB", (32, 24)).save(tmp_path / "b.jpg")
    Image.new("RGB", (32, 24)).save(tmp_path / "c.png")
    assert not any(is_dji(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.png"))
    (tmp_path / "d.jpg").write_bytes(dji_jpeg(counts[:3], (33, 25)))
    with pytest.raises(DdfmError, match="that only DJI's own Thermal SDK can read"):
        read_dji(tmp_path / "d.jpg")
