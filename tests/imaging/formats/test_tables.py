"""NPY, CSV, PGM and PFM, and files that cannot be read but are refused with advice."""

from __future__ import annotations

import numpy as np
import pytest

from ddfm.errors import DdfmError
from ddfm.imaging.reading import read_image
from ddfm.storage.budget import BYTES

DEGREES = np.round(np.random.default_rng(0).normal(20, 5, (6, 9)), 3).astype(np.float32)


def scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / np.ptp(values)


@pytest.mark.parametrize("between, point", [(",", "."), (";", ","), (";", "."), ("\t", ",")])
@pytest.mark.parametrize("about", ["", "File:;x.jpg\nEmissivity:;0.95\n\n"])
def test_a_csv_of_degrees_is_read(tmp_path, between, point, about):
    if about and between == ",":
        about = about.replace(";", ",")
    rows = (between.join(f"{v:.3f}".replace(".", point) for v in row) for row in DEGREES)
    (tmp_path / "a.csv").write_text("\ufeff" + about + "\n".join(rows) + "\n", encoding="utf-8")
    picture = read_image(tmp_path / "a.csv")
    assert picture.range == pytest.approx((DEGREES.min(), DEGREES.max()))
    assert np.abs(picture.pixels[:, :, 0] - scaled(DEGREES)).max() < 1e-5


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_csv_in_another_encoding_is_read(tmp_path, encoding):
    rows = "\n".join(";".join(map(str, row)) for row in DEGREES)
    (tmp_path / "a.csv").write_text(f"Temperatur in °C\n{rows}", encoding=encoding)
    assert read_image(tmp_path / "a.csv").range == pytest.approx((DEGREES.min(), DEGREES.max()))


@pytest.mark.parametrize("point", [".", ","])
def test_numbers_in_quotes_are_read(tmp_path, point):
    rows = (",".join(f'"{v:.3f}"'.replace(".", point) for v in row) for row in DEGREES)
    (tmp_path / "a.csv").write_text("\n".join(rows))
    assert read_image(tmp_path / "a.csv").range == pytest.approx((DEGREES.min(), DEGREES.max()))


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("begin", [0, 1])
def test_numbers_of_rows_and_columns_are_no_pixels(tmp_path, rows, columns, begin):
    """As pandas writes them; in a table of pixels, they would be the brightest."""
    degrees = np.random.default_rng(1).normal(20, 5, (30, 40)).round(2)
    lines = [[*([str(k + begin)] if rows else []), *map(str, row)] for k, row in enumerate(degrees)]
    if columns:
        lines.insert(0, [*([""] if rows else []), *(str(k + begin) for k in range(40))])
    (tmp_path / "a.csv").write_text("\n".join(map(",".join, lines)))
    picture = read_image(tmp_path / "a.csv")
    assert picture.size == (30, 40) and picture.mask is None
    assert picture.range == pytest.approx((degrees.min(), degrees.max()))


def test_a_ramp_is_not_taken_for_numbers_of_columns(tmp_path):
    np.savetxt(tmp_path / "a.csv", np.tile(np.arange(40), (30, 1)), "%d", ",")
    assert read_image(tmp_path / "a.csv").size == (30, 40)


@pytest.mark.parametrize("cell", ["n/a", "1e300", "inf"])
def test_a_cell_that_is_no_number_is_an_invalid_pixel(tmp_path, cell):
    (tmp_path / "a.csv").write_text(f"1,2,3\n4,{cell},6\n7,8,9\n")
    mask = read_image(tmp_path / "a.csv").mask
    assert not mask[1, 1] and mask.sum() == 8


@pytest.mark.parametrize("between", ["\t", ";", ","])
@pytest.mark.parametrize("empty", ["", "nan", "masked"])
def test_rows_and_cells_without_numbers_keep_their_places(tmp_path, between, empty):
    """A masked image; lines may end in separators, and notes follow the table."""
    masked = np.zeros(DEGREES.shape, bool)
    masked[2:4] = masked[4, 5:] = masked[1, :3] = True
    cells = np.where(masked, empty, DEGREES.astype(str))
    for end in ("", between, 9 * between):
        text = "".join(between.join(row) + end + "\n" for row in cells)
        notes = f"mean{between}20.1\nmade by a camera\n" if end else ""
        (tmp_path / "a.csv").write_text("Emissivity:\n" + text + notes)
        picture = read_image(tmp_path / "a.csv")
        assert np.array_equal(picture.mask, ~masked)
        assert picture.range == pytest.approx((DEGREES[~masked].min(), DEGREES[~masked].max()))


def test_a_last_column_of_nan_keeps_its_place(tmp_path):
    np.savetxt(tmp_path / "a.csv", np.where(np.arange(9) < 8, DEGREES, np.nan), delimiter=",")
    assert read_image(tmp_path / "a.csv").mask.sum(1).tolist() == 6 * [8]


@pytest.mark.parametrize("text", ["", "a,b\nc,d\n", "1\n2\n", "1,2\n", "NPY"])
def test_other_text_is_refused_as_a_table(tmp_path, text):
    for name in ("a.csv", "a.npy"):
        (tmp_path / name).write_text(text)
        with pytest.raises(DdfmError, match=name):
            read_image(tmp_path / name)


def test_a_row_that_was_cut_off_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3\n4,5\n6,7,8\n9,10,11\n")
    with pytest.raises(DdfmError, match="a.csv is damaged: .* a row of 2 cells follows rows of 3"):
        read_image(tmp_path / "a.csv")


def test_npy_is_read(tmp_path):
    np.save(tmp_path / "a.npy", DEGREES)
    assert np.abs(read_image(tmp_path / "a.npy").pixels[:, :, 0] - scaled(DEGREES)).max() < 1e-5
    colors = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.save(tmp_path / "b.npy", colors)
    assert np.array_equal(read_image(tmp_path / "b.npy").pixels, colors / np.float32(255))
    np.save(tmp_path / "c.npy", np.array([{}, 1]), allow_pickle=True)
    with pytest.raises(DdfmError, match="c.npy is not a picture"):
        read_image(tmp_path / "c.npy")
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "d.npy").write_bytes(data.replace(b"(6, 9)", b"(6000, 9)"))
    with pytest.raises(DdfmError, match="d.npy"):
        read_image(tmp_path / "d.npy")


def test_pgm_of_both_depths_and_pfm_are_read(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (4, 5)).astype(np.uint16)
    (tmp_path / "a.pgm").write_bytes(b"P5 5 4 65535\n" + deep.astype(">u2").tobytes())
    picture = read_image(tmp_path / "a.pgm")
    assert picture.dtype == np.uint16
    assert np.array_equal(picture.pixels[:, :, 0], deep / np.float32(65535))
    (tmp_path / "b.pgm").write_bytes(b"P5 5 4 255\n" + bytes(range(20)))
    assert np.array_equal(
        read_image(tmp_path / "b.pgm").pixels.ravel(),
        np.arange(20, dtype=np.float32) / np.float32(255),
    )
    # PFM begins with the lowest row.
    (tmp_path / "c.pfm").write_bytes(b"Pf\n9 6\n-1.0\n" + DEGREES[::-1].astype("<f4").tobytes())
    assert np.abs(read_image(tmp_path / "c.pfm").pixels[:, :, 0] - scaled(DEGREES)).max() < 1e-5
    (tmp_path / "d.pfm").write_bytes(b"PF\n1 1\n-1.0\n" + bytes(12))
    with pytest.raises(DdfmError, match="d.pfm is a PFM in colour, but only grey ones are read"):
        read_image(tmp_path / "d.pfm")


def test_the_budget_of_a_ppm_follows_its_depth(tmp_path, monkeypatch):
    monkeypatch.setenv(BYTES, str(20 * 40 * 50))  # a pixel takes 18 bytes at 8 bits, 24 at 16
    for white, size in ((255, 1), (4095, 2)):
        data = f"P6 40 50 {white}\n".encode() + bytes(3 * 40 * 50 * size)
        (tmp_path / f"{white}.ppm").write_bytes(data)
    assert read_image(tmp_path / "255.ppm").size == (50, 40)
    with pytest.raises(DdfmError, match="would take"):
        read_image(tmp_path / "4095.ppm")


@pytest.mark.parametrize("white", [65535, 4095])
def test_ppm_of_16_bits_keeps_its_depth(tmp_path, white):
    deep = np.random.default_rng(0).integers(0, white + 1, (4, 5, 3))
    head = f"P6 5 4 {white}\n".encode()
    (tmp_path / "a.ppm").write_bytes(head + deep.astype(">u2").tobytes())
    picture = read_image(tmp_path / "a.ppm")
    assert picture.samples.dtype == np.uint16
    assert np.abs(picture.pixels - deep / white).max() < 1e-5
    (tmp_path / "a.ppm").write_bytes(head + bytes(100))
    with pytest.raises(DdfmError, match="a.ppm is truncated"):
        read_image(tmp_path / "a.ppm")


@pytest.mark.parametrize(
    "name, words",
    [
        ("a.nef", "develop it to TIFF"),
        ("a.seq", "export its frames"),
        ("a.irg", "not what a thermal camera writes"),
        ("a.fits", "gdal_translate"),
        ("a.xyz", "known: PNG"),
    ],
)
def test_files_that_cannot_be_read_cause_an_error_with_a_remedy(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"something else altogether")
    with pytest.raises(DdfmError, match=words):
        read_image(tmp_path / name)
