"""MetaImage, byte by byte as ITK documents it."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from ddfm.errors import DdfmError
from ddfm.volumes.files import read_volume, volume_files

HEAD = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = {msb}
CompressedData = {packed}
TransformMatrix = 0 1 0 -1 0 0 0 0 1
Offset = 10 20 30
ElementSpacing = 2 3 4
DimSize = 3 4 5
ElementType = {kind}
{more}ElementDataFile = {data}
"""
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Columns of index to place: the first index goes along y, the second along -x.
AFFINE = LPS @ np.array([[0, -3, 0, 10], [2, 0, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1.0]])


def written(path, data: bytes, kind="MET_SHORT", msb=False, packed=False, beside="", more=""):
    data = zlib.compress(data) if packed else data
    head = HEAD.format(kind=kind, msb=msb, packed=packed, data=beside or "LOCAL", more=more)
    if beside:
        (path.parent / beside).write_bytes(data)
    path.write_bytes(head.encode() + (b"" if beside else data))
    return path


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(-900, 900, (3, 4, 5))


@pytest.mark.parametrize(
    "kind, code", [("MET_SHORT", "i2"), ("MET_FLOAT", "f4"), ("MET_INT", "i4")]
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("msb", [False, True])
def test_values_and_position_are_read(tmp_path, values, kind, code, packed, msb):
    data = values.astype((">" if msb else "<") + code).tobytes(order="F")
    volume = read_volume(written(tmp_path / "a.mha", data, kind, msb, packed))
    np.testing.assert_array_equal(volume.values, values)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_a_fourth_axis_of_length_1_is_dropped_with_its_row_and_column(tmp_path, values):
    path = written(tmp_path / "a.mha", values.astype("<i2").tobytes(order="F"))
    head, last, data = path.read_bytes().partition(b"ElementDataFile")
    for three, four in [
        (b"NDims = 3", b"NDims = 4"),
        (b"0 1 0 -1 0 0 0 0 1", b"0 1 0 0 -1 0 0 0 0 0 1 0 0 0 0 1"),
        (b"10 20 30", b"10 20 30 7"),
        (b"= 2 3 4", b"= 2 3 4 1"),
        (b"= 3 4 5", b"= 3 4 5 1"),
    ]:
        assert three in head
        head = head.replace(three, four)
    path.write_bytes(head + last + data)
    np.testing.assert_array_equal(read_volume(path).values, values)
    np.testing.assert_allclose(read_volume(path).affine, AFFINE)


def test_data_in_a_separate_file_is_read(tmp_path, values):
    path = written(tmp_path / "a.mhd", values.astype("<i2").tobytes(order="F"), beside="a.raw")
    np.testing.assert_array_equal(read_volume(path).values, values)
    assert tmp_path / "a.raw" in volume_files(path)
    (tmp_path / "b").mkdir()
    path = path.rename(tmp_path / "b/a.mhd")
    path.write_text(path.read_text().replace("a.raw", f"{tmp_path}/a.raw"))
    with pytest.raises(DdfmError, match="outside its folder"):
        read_volume(path)


def test_a_percent_sign_alone_is_no_pattern_of_slices(tmp_path, values):
    data = values.astype("<i2").tobytes(order="F")
    np.testing.assert_array_equal(
        read_volume(written(tmp_path / "a.mhd", data, beside="50%.raw")).values, values
    )


def test_colours_are_read(tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    data = colors.transpose(2, 1, 0, 3).tobytes()
    more = "ElementNumberOfChannels = 3\n"
    volume = read_volume(written(tmp_path / "a.mha", data, "MET_UCHAR", more=more))
    np.testing.assert_allclose(volume.values, colors / 255, atol=1e-6)


def test_bad_files_are_refused(tmp_path, values):
    data = values.astype("<i2").tobytes(order="F")
    path = tmp_path / "a.mha"

    def fails(words: str) -> None:
        with pytest.raises(DdfmError, match=words) as caught:
            read_volume(path)
        assert "\n" not in str(caught.value)

    written(path, data[:-3])
    fails("truncated")
    written(path, data, "MET_STRING")
    fails("a volume cannot have values of type MET_STRING")
    path.write_bytes(b"ObjectType = Image\n")
    fails("does not locate its values")
    written(path, data, beside="%03d.raw")
    fails("in separate files")
    path.write_bytes(path.read_bytes().replace(b"%03d.raw", b"9" * 300))
    fails("name too long")
    written(path, data)
    path.write_bytes(path.read_bytes().replace(b"BinaryData = True", b"BinaryData = False"))
    fails("stored as text")
    written(path, data)
    path.write_bytes(path.read_bytes().replace(b"DimSize = 3 4 5", b"DimSize = 3000 4000 5000"))
    fails("more than the file can hold")
    path.write_bytes(path.read_bytes().replace(b"DimSize = 3000 4000 5000", b"DimSize = 3 4"))
    fails("3 dimensions")
    head = b"DimSize = 3 4"
    path.write_bytes(path.read_bytes().replace(head, b"DimSize = 2 2 5 3"))
    fails("its size is 2 x 2 x 5 x 3, which is not one volume in 3 dimensions")
    more = b"DimSize = 3 4\nElementNumberOfChannels = 3"
    path.write_bytes(path.read_bytes().replace(b"DimSize = 2 2 5 3", more))
    fails("its size is 3 x 4, which is not one volume in 3 dimensions")
