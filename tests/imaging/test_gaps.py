"""Invalid pixels: NaN or infinite, masked, or equal to a GeoTIFF's nodata value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

import ddfm
from ddfm.errors import DdfmError, DdfmWarning
from ddfm.imaging.picture import from_array
from ddfm.imaging.sizes import reduced
from ddfm.imaging.sources import read_sources

SEEN = np.random.default_rng(0).integers(0, 256, (24, 30), np.uint8)
DEGREES = (20 + 5 * np.random.default_rng(1).random((24, 30))).astype(np.float32)
GAP = np.zeros((24, 30), bool)
GAP[5:12, 8:20] = True


def with_nan() -> np.ndarray:
    return np.where(GAP, np.float32(np.nan), DEGREES)


def geotiff(path):
    tag = (42113, "s", 0, "-9999", True)
    tifffile.imwrite(path, np.where(GAP, np.float32(-9999), DEGREES), extratags=[tag])
    return path


def test_a_picture_without_any_data_is_refused():
    with pytest.raises(DdfmError, match="^tile: no pixel has a valid value"):
        from_array(np.full((4, 5), 7, np.uint8), "tile", nodata=7)


def test_a_picture_whose_mask_page_has_no_valid_pixel_is_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(SEEN, photometric="minisblack", metadata=None)
        file.write(np.zeros_like(GAP), subfiletype=4, metadata=None)
    with pytest.raises(DdfmError, match=r"a\.tif: no pixel has a valid value"):
        ddfm.read_image(tmp_path / "a.tif", page=0)


@pytest.mark.parametrize("kind", ["nan", "infinite", "mask", "nodata"])
def test_gaps_are_masked_and_ignored_in_the_scaling(tmp_path, kind):
    source = {
        "nan": with_nan,
        "infinite": lambda: np.where(GAP, np.where(GAP.cumsum(1) % 2, np.inf, -np.inf), DEGREES),
        "mask": lambda: np.ma.masked_array(np.where(GAP, 1e6, DEGREES), GAP),
        "nodata": lambda: geotiff(tmp_path / "a.tif"),
    }[kind]()
    picture = ddfm.read_image(source)
    assert np.array_equal(picture.mask, ~GAP)
    low, high = DEGREES[~GAP].min(), DEGREES[~GAP].max()
    assert picture.range == (pytest.approx(low), pytest.approx(high))
    expected = (DEGREES - low) / (high - low)
    assert np.abs(picture.pixels[:, :, 0] - expected)[~GAP].max() < 1e-5


@pytest.mark.parametrize("compress", [None, "zlib"])
def test_a_mask_page_marks_the_valid_pixels(tmp_path, compress):
    """As GDAL writes it, before or after smaller copies; it does not apply to the next picture."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(SEEN, photometric="minisblack", metadata=None)
        file.write(SEEN[::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
        file.write(~GAP, subfiletype=4, metadata=None, compression=compress, rowsperstrip=7)
        file.write((~GAP)[::2, ::2], subfiletype=5, metadata=None)
        file.write(SEEN, photometric="minisblack", metadata=None)
    picture = ddfm.read_image(tmp_path / "a.tif", page=0)
    assert np.array_equal(picture.mask, ~GAP) and np.array_equal(picture.valid, ~GAP)
    whole = ddfm.read_image(tmp_path / "a.tif", page=4)
    assert whole.mask is None and whole.valid.shape == SEEN.shape and whole.valid.all()


def test_a_mask_in_a_file_of_its_own_is_not_read_with_a_warning(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", SEEN)
    tifffile.imwrite(tmp_path / "a.tif.msk", ~GAP)
    with pytest.warns(DdfmWarning, match=r"a\.tif: a\.tif\.msk beside it is not read; gdal_tran"):
        assert ddfm.read_image(tmp_path / "a.tif").mask is None


def test_orthophotos_in_jpeg_have_gdals_mask(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    profile = {"driver": "GTiff", "height": 24, "width": 30, "count": 3, "dtype": "uint8"}
    profile |= {"compress": "jpeg", "photometric": "ycbcr", "crs": "EPSG:32633"}
    profile |= {"transform": rasterio.Affine(10, 0, 500000, 0, -10, 5000000)}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(tmp_path / "a.tif", "w", **profile) as file,
    ):
        file.write(np.stack([SEEN, SEEN // 2, SEEN]))
        file.write_mask(255 * ~GAP)
    thermal, visible = read_sources((SEEN, tmp_path / "a.tif"))
    assert np.array_equal(visible.mask, ~GAP) and visible.metadata.geo.is_placed
    assert np.abs(visible.pixels - thermal.pixels)[GAP].max() < 1e-6


def with_nodata(path, image: Image.Image, value: str, turn: int = 1, **options):
    """A TIFF by Pillow, which reads such files, too, with GDAL's tag for no data."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[42113], tags[42113], tags[274] = 2, value, turn
    image.save(path, tiffinfo=tags, **options)
    return path


def test_the_nodata_value_of_jpeg_is_compared_with_its_levels(tmp_path):
    flat = np.where(GAP, 0, 90).astype(np.uint8)  # of which a few levels by JPEG are others
    for image in (Image.fromarray(flat), Image.fromarray(np.dstack([flat, flat // 2, flat]))):
        path = with_nodata(tmp_path / "a.tif", image, "0", compression="jpeg", quality=95)
        stored = np.asarray(Image.open(path)).reshape(*GAP.shape, -1)
        picture = ddfm.read_image(path)
        assert np.array_equal(picture.mask, (stored != 0).any(axis=2))
        assert (picture.mask == ~GAP).mean() > 0.95


@pytest.mark.parametrize("turn", [1, 6])
def test_the_nodata_value_of_a_palette_is_an_index(tmp_path, turn):
    """Here it is 3; index 1 has the same colour, and index 0 a colour with this value."""
    indices = np.where(GAP, 3, 0).astype(np.uint8)
    indices[0, :4] = 1
    image = Image.fromarray(indices).convert("P")
    image.putpalette([3, 3, 3, 9, 60, 9, 0, 0, 0, 9, 60, 9])
    path = with_nodata(tmp_path / "a.tif", image, "3", turn)
    picture = ddfm.read_image(path)
    upright = (lambda array: array) if turn == 1 else (lambda array: np.rot90(array, -1))
    assert np.array_equal(picture.mask, upright(~GAP))
    found = np.rint(255 * picture.pixels)
    assert (found[upright(indices == 1)] == (9, 60, 9)).all()
    assert (found[upright(indices == 0)] == 3).all()


def test_a_nodata_value_of_single_bits_is_not_applied_with_a_warning(tmp_path):
    path = with_nodata(tmp_path / "a.tif", Image.fromarray(GAP), "1", compression="group4")
    with pytest.warns(DdfmWarning, match=r"a.tif: its no-data value \(1\) cannot be applied"):
        assert ddfm.read_image(path).mask is None


def test_a_nodata_value_of_inks_is_not_applied_with_a_warning(tmp_path):
    inks = np.stack([np.where(GAP, 0, SEEN)] * 4, -1)
    tag = (42113, "s", 0, "0", True)
    tifffile.imwrite(tmp_path / "a.tif", inks, photometric="separated", extratags=[tag])
    with pytest.warns(DdfmWarning, match=r"a.tif: its no-data value \(0\) cannot be applied"):
        assert ddfm.read_image(tmp_path / "a.tif").mask is None


def test_where_white_is_zero_the_nodata_value_is_as_stored(tmp_path):
    """As GDAL compares it, without turning black and white around."""
    tag = (42113, "s", 0, "0", True)
    stored = np.where(GAP, 0, np.maximum(SEEN, 1))
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", extratags=[tag])
    assert np.array_equal(ddfm.read_image(tmp_path / "a.tif").mask, ~GAP)


def test_bands_that_are_no_colour_are_named(tmp_path):
    deep = np.random.default_rng(2).integers(0, 65536, (24, 30, 12), np.uint16)
    for count, words in ((2, "only the first is used"), (4, "only the first three are used")):
        tifffile.imwrite(
            tmp_path / "a.tif",
            deep[..., :count],
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unspecified"] * (count - 1),
        )
        with pytest.warns(DdfmWarning, match=f"its {count} bands {words}"):
            picture = ddfm.read_image(tmp_path / "a.tif")
        assert np.allclose(picture.pixels, deep[..., : count - 1] / 65535) and not picture.alpha
    tifffile.imwrite(tmp_path / "b.tif", deep, photometric="minisblack", planarconfig="contig")
    with pytest.raises(DdfmError, match="has 12 bands, .* gdal_translate -b"):
        ddfm.read_image(tmp_path / "b.tif")


def test_an_invalid_source_agrees_with_the_other_one():
    thermal, visible = read_sources((with_nan(), SEEN))
    assert np.array_equal(thermal.pixels[GAP], visible.pixels[GAP])
    assert np.array_equal(thermal.pixels[~GAP], from_array(with_nan()).pixels[~GAP])


def test_the_other_source_is_seen_in_the_gap():
    fusion = ddfm.fuse(with_nan(), SEEN, prior="gaussian", likelihood="paper", steps=3)
    inner = np.zeros_like(GAP)
    inner[7:10, 10:18] = True  # away from the edge
    assert np.corrcoef(fusion.picture.pixels[inner, 0], SEEN[inner])[0, 1] > 0.8


def test_where_no_source_has_data_a_floating_point_result_is_nan(tmp_path):
    seen = np.where(GAP & (np.arange(30) > 12), np.nan, DEGREES / 30).astype(np.float32)
    both = np.isnan(seen)
    with pytest.warns(DdfmWarning, match=r"^6.8 % of the pixels .* has NaN in a TIFF, and made-up"):
        fusion = ddfm.fuse(with_nan(), seen, prior="gaussian", steps=1)
    assert np.array_equal(np.isnan(fusion.image), both) and both.mean() == pytest.approx(
        0.068, 0.01
    )
    fusion.save(tmp_path / "f.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "f.tif"), fusion.image, equal_nan=True)
    fusion.save(tmp_path / "f.png")  # has the depth of the sources, as far as PNG has it
    assert ddfm.read_image(tmp_path / "f.png").dtype == np.uint16
    fusion.save_sources(tmp_path)
    assert np.isfinite(tifffile.imread(tmp_path / "source-1.tif")).all()


def test_made_up_values_in_an_integer_result_are_warned_of():
    hidden = np.ma.masked_array(SEEN, GAP)
    with pytest.warns(DdfmWarning, match=r"^12 % of .*; there, the result has made-up"):
        fusion = ddfm.fuse(hidden, hidden.copy(), prior="gaussian", steps=1)
    assert fusion.image.dtype == np.uint8


def test_a_share_of_nearly_all_pixels_is_a_plain_number():
    gaps = np.arange(SEEN.size).reshape(SEEN.shape) > 0
    hidden = np.ma.masked_array(SEEN, gaps)
    with pytest.warns(DdfmWarning, match=r"^99 % of the pixels have no data"):
        ddfm.fuse(hidden, hidden.copy(), prior="gaussian", steps=1)


def test_the_warning_names_the_nodata_value_of_a_geotiff(tmp_path):
    pair = [geotiff(tmp_path / name) for name in ("a.tif", "b.tif")]
    with pytest.warns(DdfmWarning, match="has the no-data value in a TIFF, and made-up"):
        fusion = ddfm.fuse(*pair, prior="gaussian", steps=1)
    fusion.save(tmp_path / "f.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "f.tif") == -9999, GAP)


def test_transparent_gaps_are_no_made_up_values(recwarn):
    clear = np.dstack([SEEN, np.where(GAP, 0, 255).astype(np.uint8)])
    fusion = ddfm.fuse(clear, clear // 2, prior="gaussian", steps=1)
    assert not fusion.image[GAP, 1].any()
    assert not [one for one in recwarn if "no data" in str(one.message)]


def test_a_gap_keeps_its_alpha():
    """It took the least value of the picture, so the result had holes that are half transparent."""
    seen = np.where(GAP, np.nan, (SEEN / 255 + 0.3) / 1.3)
    opacity = np.full(SEEN.shape, 1.0)
    picture = from_array(np.dstack([seen, opacity]))
    assert np.array_equal(picture.mask, ~GAP) and picture.alpha.min() == 1
    opacity[0, 0] = np.nan
    picture = from_array(np.dstack([seen, opacity]))
    assert picture.alpha[0, 0] == 0 and picture.alpha.sum() == SEEN.size - 1
    clear = np.dstack([np.where(GAP, 0, SEEN // 2 + 60), np.where(GAP, 0, 90)]).astype(np.uint8)
    picture = from_array(clear, nodata=0)
    assert np.array_equal(picture.mask, ~GAP) and not picture.alpha[GAP].any()


def test_without_a_nodata_value_there_is_no_gap(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEGREES)
    assert ddfm.read_image(tmp_path / "a.tif").mask is None
    tag = (42113, "s", 0, "nonsense", True)
    tifffile.imwrite(tmp_path / "b.tif", DEGREES, extratags=[tag])
    assert ddfm.read_image(tmp_path / "b.tif").mask is None


def test_a_margin_leaves_no_rim_where_a_picture_becomes_smaller():
    pixels = np.zeros((80, 90, 1), np.float32)
    pixels[12:70, 15:80] = 0.5
    framed = replace(from_array(pixels[..., 0], "framed"), mask=pixels[..., 0] > 0)
    (small,) = reduced([framed], 83)
    assert small.mask.mean() > 0.4
    assert np.ptp(small.pixels[small.mask]) < 0.01


def test_a_gap_is_resized_with_its_picture():
    thermal, _ = read_sources((with_nan()[::2, ::2], SEEN), resize="b")
    assert thermal.mask.shape == SEEN.shape and 0.05 < (~thermal.mask).mean() < 0.25
