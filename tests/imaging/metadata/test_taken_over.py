"""Metadata that a result takes over, read back with Pillow, tifffile and GDAL."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from ddfm import Fuser, read_flir, read_image, write_image
from ddfm.errors import DdfmWarning, KeptWarning
from ddfm.imaging.metadata.record import read_record
from ddfm.registration.transform import Transform
from ddfm.storage.ours import check_ours
from image_files import LEFT, STEP, TOP, geotiff

SUFFIXES = ["png", "tif", "jpg", "webp", "jp2"]
TALL, WIDE = 48, 64  # as it is looked at
XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
  xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 <rdf:Description rdf:about="" xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/"
   xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
   xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
   drone-dji:RelativeAltitude="+12.50" tiff:Orientation="6" crs:Exposure2012="+0.75">
  <dc:creator xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Seq>
    <rdf:li>Ann &amp; Example</rdf:li></rdf:Seq></dc:creator>
  <xmp:Thumbnails><rdf:Alt><rdf:li>PREVIEW</rdf:li></rdf:Alt></xmp:Thumbnails>
 </rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser("gaussian", device="cpu", likelihood="paper", steps=2)


def exif_of_a_camera(orientation: int = 6) -> bytes:
    """EXIF with a position, a name, maker notes and a preview."""
    exif = Image.Exif()
    exif[271], exif[274], exif[315] = "Maker", orientation, "Ann Example"
    exif[282], exif[283], exif[296] = 300.0, 200.0, 2
    exif.get_ifd(34665).update(
        {36867: "2024:05:06 07:08:09", 33437: 2.8, 37500: b"NOTES", 40962: WIDE, 40963: TALL}
    )
    exif.get_ifd(34853).update({1: "N", 2: (48.0, 8.0, 14.5), 3: "E", 4: (11.0, 34.0, 31.0)})
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    order = "little" if block[:2] == b"II" else "big"
    end = 8 + 2 + 12 * int.from_bytes(block[8:10], order)  # where the next directory is said to be
    preview = (0).to_bytes(2, order) + bytes(4) + b"PREVIEW"
    return b"Exif\0\0" + block[:end] + len(block).to_bytes(4, order) + block[end + 4 :] + preview


def colors() -> np.ndarray:
    y, x = np.mgrid[:TALL, :WIDE]
    return np.stack([3 * x, 4 * y, 2 * (x + y)], -1).astype(np.uint8)


@pytest.fixture
def photo(tmp_path) -> Path:
    """A photograph that is stored on its side, with its orientation in EXIF."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    profile = profile[:16] + b"RGB " + profile[20:]
    path = tmp_path / "photo.jpg"
    image = Image.fromarray(np.rot90(colors()).copy())
    image.save(path, exif=exif_of_a_camera(), xmp=XMP.encode(), icc_profile=profile, quality=95)
    return path


@pytest.fixture
def thermal(tmp_path) -> Path:
    path = tmp_path / "thermal.png"
    Image.fromarray(colors()[..., 1]).save(path)
    return path


def quietly(fuser: Fuser, *sources):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DdfmWarning)
        return fuser(*sources)


def metadata_of(path: Path) -> tuple[Image.Exif, str, bytes | None]:
    """EXIF, XMP and profile, as Pillow reads them; in JPEG 2000, by the identifiers of boxes."""
    if path.suffix == ".jp2":
        data = path.read_bytes()
        exif = Image.Exif()
        at = data.find(b"JpgTiffExif->JP2")
        if at >= 0:
            exif.load(b"Exif\0\0" + data[at + 16 :])
        at = data.find(bytes.fromhex("be7acfcb97a942e89c71999491e3afac"))
        return exif, data[at + 16 :].decode("utf-8", "replace") if at >= 0 else "", None
    with Image.open(path) as image:
        image.load()
        packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        packet = packet if isinstance(packet, str) else packet.decode()
        return image.getexif(), packet, image.info.get("icc_profile")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_metadata_is_taken_over_in_every_format(tmp_path, fuser, photo, suffix, depth):
    thermal = colors()[..., 1].astype(depth) * (257 if depth == np.uint16 else 1)
    out = tmp_path / f"fused.{suffix}"
    quietly(fuser, thermal, photo).save(out)
    exif, xmp, icc = metadata_of(out)
    assert exif[271] == "Maker" and exif[315] == "Ann Example"
    taken, place = exif.get_ifd(34665), exif.get_ifd(34853)
    assert taken[36867] == "2024:05:06 07:08:09" and taken[33437] == 2.8
    assert place[2] == (48.0, 8.0, 14.5) and place[3] == "E"
    assert "drone-dji:RelativeAltitude>+12.50<" in xmp and "Ann &amp; Example" in xmp
    if suffix != "jp2":  # of which Pillow reads no profile
        assert icc == read_image(photo).icc
    assert read_image(out).icc == read_image(photo).icc
    # And what would not be true of it stays behind.
    assert (exif[274], taken[40962], taken[40963]) == (1, WIDE, TALL)
    assert (exif[282], exif[283]) == (200.0, 300.0)  # it lay on its side
    assert 37500 not in taken and "Orientation" not in xmp and "Exposure2012" not in xmp
    assert b"PREVIEW" not in out.read_bytes() and b"NOTES" not in out.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_are_the_same_each_time_and_turned_only_once(tmp_path, fuser, photo, thermal, suffix):
    paths = [tmp_path / f"{k}.{suffix}" for k in range(3)]
    fusion = quietly(fuser, thermal, photo)
    for path in paths[:2]:
        fusion.save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    first = read_image(paths[0])
    assert first.size == (TALL, WIDE)
    quietly(fuser, paths[0], paths[0]).save(paths[2])  # a result as a source
    again = read_image(paths[2])
    assert again.size == (TALL, WIDE)
    assert np.abs(again.pixels - first.pixels).mean() < 0.01
    chroma = [p.pixels[..., 0] - p.pixels[..., 2] for p in (again, read_image(photo))]
    assert np.corrcoef(*(c.ravel() for c in chroma))[0, 1] > 0.99


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_stripped_file_has_no_metadata(tmp_path, fuser, photo, thermal, suffix):
    out = tmp_path / f"fused.{suffix}"
    with pytest.warns(DdfmWarning, match="the colour profile is stripped"):
        fuser.with_config(strip=True)(thermal, photo).save(out)
    exif, xmp, icc = metadata_of(out)
    assert set(exif) <= {305} | set(range(254, 304)) | {338, 339}  # of TIFF, the picture's own
    assert not xmp and icc is None and not exif.get_ifd(34853) and read_record(out) is None
    written = out.read_bytes()
    assert not any(word in written for word in (b"Ann", b"Maker", b"2024:", b"photo", b"acsp"))
    check_ours(out)  # it is still known whose it is


def test_the_source_of_the_metadata_can_be_chosen(tmp_path, fuser, photo):
    other = tmp_path / "other.png"
    exif = Image.Exif()
    exif[271] = "Other"
    Image.fromarray(colors()[..., 1]).save(other, exif=exif)
    found = {}
    for choice in ("auto", "a", "b", "none"):
        out = tmp_path / f"{choice}.png"
        quietly(fuser.with_config(metadata_from=choice), other, photo).save(out)
        found[choice] = metadata_of(out)[0].get(271)
    assert found == {"auto": "Maker", "a": "Other", "b": "Maker", "none": None}


def test_metadata_about_persons_and_places_is_reported(fuser, photo, thermal):
    with pytest.warns(
        DdfmWarning, match=rf"kept from .*{photo.name}: GPS position, Artist, creator;"
    ):
        fuser(thermal, photo)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fuser.with_config(metadata_from="a")(thermal, photo)


# --- where it lies ------------------------------------------------------------------------------


def gdal(path: Path):
    rasterio = pytest.importorskip("rasterio")
    return rasterio.open(path)


def noise(shape=(TALL, WIDE)) -> np.ndarray:
    return np.random.default_rng(0).integers(20, 255, shape, np.uint8)


@pytest.mark.parametrize("suffix", ["tif", "jp2"])
def test_coordinates_are_taken_over(tmp_path, fuser, suffix):
    source = geotiff(tmp_path / "b.tif", noise())
    out = tmp_path / f"out.{suffix}"
    quietly(fuser, noise(), source).save(out)
    with gdal(out) as found, gdal(source) as before:
        assert found.crs.to_epsg() == 32633
        assert found.transform == before.transform and found.bounds == before.bounds


def test_coordinates_are_written_as_tifffile_reads_them(tmp_path, fuser):
    source = geotiff(tmp_path / "b.tif", noise(), nodata="7")
    quietly(fuser, noise(), source).save(tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        tags = file.pages[0].geotiff_tags
        assert tags["ModelTiepoint"] == [0, 0, 0, LEFT, TOP, 0]
        assert tags["ModelPixelScale"] == [STEP, STEP, 0] and tags["ProjectedCSTypeGeoKey"] == 32633
        assert file.pages[0].tags[42113].value == "7"


@pytest.mark.parametrize("raster", [1, 2])  # areas, points
def test_a_crop_moves_the_corner(tmp_path, fuser, raster):
    """A is shifted 5 pixels to the right and 3 down, where the common field begins."""
    source = geotiff(tmp_path / "b.tif", noise(), raster=raster)
    shift = np.array([[1, 0, 5], [0, 1, 3], [0, 0, 1.0]])
    moved = Transform(shift, (TALL, WIDE), (TALL, WIDE), "shift")
    aligned = fuser.with_config(transform=moved, crop="common")
    quietly(aligned, noise(), source).save(tmp_path / "out.tif")
    with gdal(tmp_path / "out.tif") as found, gdal(source) as before:
        assert (found.height, found.width) == (TALL - 3, WIDE - 5)
        assert found.xy(0, 0) == before.xy(3, 5)
        assert found.bounds.right == before.bounds.right


@pytest.mark.parametrize("raster", [1, 2])
def test_another_size_shows_the_same_field(tmp_path, fuser, raster):
    source = geotiff(tmp_path / "b.tif", noise(), raster=raster)
    half = fuser.with_config(resize="a")
    quietly(half, noise((TALL // 2, WIDE // 2)), source).save(tmp_path / "out.tif")
    with gdal(tmp_path / "out.tif") as found, gdal(source) as before:
        assert found.shape == (TALL // 2, WIDE // 2) and found.bounds == before.bounds


@pytest.mark.parametrize("turn", range(2, 9))
def test_a_turned_page_keeps_its_coordinates(tmp_path, turn):
    """A bright pixel has the same coordinates before and after turning."""
    pixels = np.zeros((5, 7), np.uint8)
    pixels[1, 2] = 255
    picture = read_image(geotiff(tmp_path / "b.tif", pixels, turn=turn))
    row, column = np.argwhere(picture.pixels[..., 0] == 1)[0]
    place = picture.metadata.geo.matrix @ (column + 0.5, row + 0.5, 0, 1)
    np.testing.assert_allclose(place[:2], (LEFT + 2.5 * STEP, TOP - 1.5 * STEP))


def test_a_map_that_is_not_north_up_keeps_its_place(tmp_path, fuser):
    rasterio = pytest.importorskip("rasterio")
    from rasterio.transform import Affine

    across, down = STEP * np.cos(np.radians(20)), STEP * np.sin(np.radians(20))
    turned = Affine(across, down, LEFT, down, -across, TOP)
    shape = {"height": TALL, "width": WIDE, "count": 1, "dtype": "uint8"}
    source, out = tmp_path / "b.tif", tmp_path / "out.tif"
    with rasterio.open(source, "w", crs="EPSG:32633", transform=turned, **shape) as file:
        file.write(noise(), 1)
    quietly(fuser, noise(), source).save(out)
    with gdal(out) as found:
        assert found.crs.to_epsg() == 32633 and found.transform.almost_equals(turned)


def test_a_picture_moved_onto_another_grid_loses_its_coordinates_with_a_warning(tmp_path, fuser):
    source = geotiff(tmp_path / "a.tif", noise())
    shift = np.array([[1, 0, 5], [0, 1, 3], [0, 0, 1.0]])
    moved = Transform(shift, (TALL, WIDE), (TALL, WIDE), "shift")
    with pytest.warns(DdfmWarning, match="a.tif: its coordinates are left out"):
        fusion = fuser.with_config(transform=moved, metadata_from="a")(source, noise())
    fusion.save(tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert not file.pages[0].is_geotiff


def test_coordinates_are_named_under_the_picture_that_they_are_from(tmp_path, fuser):
    """B, which gives the other metadata, is moved onto the grid of A."""
    a, b = geotiff(tmp_path / "a.tif", noise()), tmp_path / "b.tif"
    artist = (315, 2, 0, "Ann", True)
    geotiff(b, noise(), more=[artist])
    shift = np.array([[1, 0, 5], [0, 1, 3], [0, 0, 1.0]])
    moved = Transform(shift, (TALL, WIDE), (TALL, WIDE), "shift")
    with pytest.warns(KeptWarning) as noted:
        fuser.with_config(transform=moved, align_to="a")(a, b)
    end = "; strip=True (--strip) leaves it out"
    assert [str(one.message) for one in noted] == [
        f"kept from {b}: Artist{end}",
        f"kept from {a}: coordinates{end}",
    ]
    with pytest.warns(KeptWarning) as noted:
        fuser(a, b)
    assert [str(one.message) for one in noted] == [f"kept from {b}: Artist, coordinates{end}"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "j2k"])
def test_coordinates_that_a_format_cannot_hold_are_warned_of(tmp_path, fuser, suffix):
    out = tmp_path / f"o.{suffix}"
    fusion = quietly(fuser, noise(), geotiff(tmp_path / "b.tif", noise()))
    with pytest.warns(DdfmWarning) as noted:
        fusion.save(out)
    words = f"{out}: a .{suffix} file cannot hold coordinates, so they are left out; "
    assert [str(one.message) for one in noted] == [words + ".tif and .jp2 keep them"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in (tmp_path / "o.tif", tmp_path / "o.jp2"):
            fusion.save(path)
            assert read_image(path).metadata.place


def test_coordinates_are_from_another_picture_if_the_one_in_colour_has_none(tmp_path, fuser):
    """The no-data value is not: it would change pixels that happen to have it."""
    thermal = geotiff(tmp_path / "a.tif", noise(), nodata="0")
    with pytest.warns(KeptWarning, match=r"^kept from .*a\.tif: coordinates;"):
        fusion = fuser(thermal, colors())
    fusion.save(tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        tags = file.pages[0].geotiff_tags
        assert tags["ModelTiepoint"] == [0, 0, 0, LEFT, TOP, 0]
        assert tags["ProjectedCSTypeGeoKey"] == 32633 and 42113 not in file.pages[0].tags
    for choice in ("b", "none"):
        assert fuser.with_config(metadata_from=choice)(thermal, colors()).kept == ()


def test_the_numbers_of_pixels_are_no_coordinates(tmp_path, fuser):
    """As rasterio writes them for a picture without a coordinate system."""
    tag = (34264, 12, 16, (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), True)
    tifffile.imwrite(tmp_path / "b.tif", colors(), photometric="rgb", extratags=[tag])
    fusion = quietly(fuser, geotiff(tmp_path / "a.tif", noise()), tmp_path / "b.tif")
    assert fusion.picture.metadata.place.code == 32633


def test_coordinates_of_a_picture_moved_off_its_grid_are_warned_of(tmp_path, fuser):
    thermal = geotiff(tmp_path / "a.tif", noise())
    shift = np.array([[1, 0, 5], [0, 1, 3], [0, 0, 1.0]])
    moved = fuser.with_config(transform=Transform(shift, (TALL, WIDE), (TALL, WIDE), "shift"))
    with pytest.warns(DdfmWarning, match=r"a\.tif: its coordinates are left out, .*--align-to"):
        assert moved(thermal, colors()).kept == ()
    assert quietly(moved.with_config(align_to="a"), thermal, colors()).kept == ("coordinates",)


def test_rational_polynomials_are_left_out_with_a_warning(tmp_path, fuser):
    source = tmp_path / "b.tif"
    tag = (50844, 12, 92, tuple(range(92)), True)
    tifffile.imwrite(source, noise(), photometric="minisblack", extratags=[tag], metadata=None)
    with pytest.warns(DdfmWarning, match=r"b\.tif: its rational polynomials \(RPC\) are left out"):
        fuser(noise(), source)


def test_a_world_file_is_not_read_with_a_warning_if_nothing_else_gives_a_place(tmp_path, fuser):
    """Also if it belongs to the source that does not give the other metadata."""
    a, b = tmp_path / "a.tif", geotiff(tmp_path / "b.tif", noise())
    tifffile.imwrite(a, noise(), photometric="minisblack", metadata=None)
    for path in (a, b):
        path.with_suffix(".tfw").write_text("10\n0\n0\n-10\n400005\n5299995\n")
    with pytest.warns(DdfmWarning) as noted:
        fuser(a, colors())
    words = f"{a}: its world file a.tfw is not read; gdal_translate IN.tif OUT.tif writes it into "
    assert [str(one.message) for one in noted] == [words + "a GeoTIFF"]
    with pytest.warns(KeptWarning) as noted:
        fuser(a, b)
    assert len(noted) == 1


@pytest.mark.parametrize(
    ("suffix", "world"),
    [("png", "pgw"), ("jpg", "JGW"), ("JPG", "jgw"), ("jp2", "j2w"), ("png", "wld")],
)
def test_world_files_of_other_pictures_are_named_as_well(tmp_path, fuser, suffix, world):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise()).save(path)
    path.with_suffix(f".{world}").write_text("10\n0\n0\n-10\n400005\n5299995\n")
    with pytest.warns(DdfmWarning, match=rf"a\.{suffix}: its world file a\.{world} is not read"):
        fuser(path, noise())


def test_a_picture_moved_onto_a_map_gets_its_coordinates(tmp_path, fuser):
    a, b = geotiff(tmp_path / "a.tif", noise()), tmp_path / "b.tif"
    geotiff(b, noise())
    shift = np.array([[1, 0, 5], [0, 1, 3], [0, 0, 1.0]])
    moved = Transform(shift, (TALL, WIDE), (TALL, WIDE), "shift")
    quietly(fuser.with_config(transform=moved, metadata_from="a"), a, b).save(tmp_path / "out.tif")
    with gdal(tmp_path / "out.tif") as found, gdal(b) as grid:
        assert found.transform == grid.transform


def test_a_pixel_is_nodata_only_if_no_source_is_valid_there(tmp_path, fuser):
    one, two = noise(), noise()
    one[:, :9], two[:, :5] = 0, 0
    two[20, 20] = one[20, 20] = 1  # dark, and there
    a, b = (
        geotiff(tmp_path / f"{n}.tif", x, nodata="0") for n, x in zip("ab", (one, two), strict=True)
    )
    quietly(fuser, a, b).save(tmp_path / "out.tif")
    with gdal(tmp_path / "out.tif") as found:
        there = found.read_masks(1) > 0
    expected = np.ones((TALL, WIDE), bool)
    expected[:, :5] = False
    np.testing.assert_array_equal(there, expected)


# --- what is damaged, or meant to harm -----------------------------------------------------------

LAUGHS = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 10))
BOMBS = {
    "laughs": f'<!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]><x>&a9;</x>',
    "file": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    "deep": "<x>" * 100_000,
    "cut off": XMP[:500],
    "bytes": "\x00\x01\x02",
    "large": XMP.replace("Ann", "A" * 3_000_000),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_malicious_xmp_packet_is_left_out(tmp_path, fuser, bomb):
    from PIL.PngImagePlugin import PngInfo

    path = tmp_path / "a.png"
    note = PngInfo()
    note.add_itxt("XML:com.adobe.xmp", BOMBS[bomb])
    Image.fromarray(colors()).save(path, pnginfo=note)
    with pytest.warns(DdfmWarning, match=r"a.png: its XMP .*left out$"):
        fusion = fuser(path, path)
    fusion.save(tmp_path / "out.png")
    _, xmp, _ = metadata_of(tmp_path / "out.png")
    assert "ddfm image fusion" in xmp and not any(w in xmp for w in ("haha", "root:", "AAAA"))
    assert read_record(path) is None  # so that `ddfm info` tells what the picture is


def test_an_exif_block_with_bad_offsets_is_left_out(tmp_path, fuser):
    block = bytearray(exif_of_a_camera(1))
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(block)
        for at in rng.integers(14, len(block), 6):
            damaged[at] = rng.integers(0, 256)
        file = io.BytesIO()
        Image.fromarray(colors()).save(file, "PNG", exif=bytes(damaged))
        with Image.open(file) as image:
            picture = read_image(image)
        assert len(picture.metadata.exif.image) < 20
    path = tmp_path / "a.png"
    Image.fromarray(colors()).save(path, exif=b"Exif\0\0MM\0*" + b"\xff" * 50)
    with pytest.warns(DdfmWarning, match=r"a.png: its .*damaged, and left out$"):
        fuser(path, path)


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_an_exif_block_that_is_none_is_left_out(tmp_path, fuser, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(colors()).save(path, exif=b"Exif\0\0by another program")
    with pytest.warns(DdfmWarning, match=rf"a.{suffix}: its EXIF is damaged, and left out$"):
        fuser(path, path)


def test_a_radiometric_file_passes_on_its_exif(tmp_path, fuser):
    pytest.importorskip("flyr")
    from flir_files import flir_jpeg, kelvin_to_raw

    raw = np.rint(kelvin_to_raw(np.linspace(283, 323, 192).reshape(12, 16))).astype(np.uint16)
    data = flir_jpeg(raw, colors()[:24, :32])
    block = exif_of_a_camera(1)
    segment = b"\xff\xe1" + (2 + len(block)).to_bytes(2, "big") + block
    path = tmp_path / "flir.jpg"
    path.write_bytes(data[:2] + segment + data[2:])
    for k, picture in enumerate(read_flir(path)):
        assert picture.metadata.exif.gps and picture.sha256, k
    quietly(fuser, *read_flir(path)).save(tmp_path / "out.jpg")
    exif, _, _ = metadata_of(tmp_path / "out.jpg")
    assert exif[271] == "Maker" and exif.get_ifd(34665)[40962] == 32
    names = [name for name, _ in read_record(tmp_path / "out.jpg").sources]
    assert names == ["flir.jpg (thermal)", "flir.jpg (visible)"]


@pytest.mark.parametrize(
    ("dtype", "nodata", "expected"),
    [
        (np.uint8, "0", 0), (np.uint8, "255", 255), (np.uint16, "65535", 65535),
        (np.float32, "-9999", -9999.0), (np.float32, "nan", np.nan), (np.float32, "0", 0.0),
        (np.uint8, "-9999", None), (np.uint8, "1.5", None), (np.float32, "1e300", None),
        (np.uint8, "none", None),
    ],
)  # fmt: skip
def test_the_nodata_value_is_written_if_the_samples_can_have_it(tmp_path, dtype, nodata, expected):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    ramp = (np.linspace(0, 1, 100).reshape(10, 10) * top).astype(dtype)
    like = read_image(geotiff(tmp_path / "a.tif", ramp, nodata=nodata))
    like = replace(like, mask=np.arange(100).reshape(10, 10) >= 5)
    write_image(tmp_path / "b.tif", read_image(ramp).pixels, like)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        found = file.asarray()
        assert (42113 in file.pages[0].tags) == (expected is not None)
    if expected is not None:
        are = np.isnan(found) if np.isnan(expected) else found == expected
        np.testing.assert_array_equal(are, ~like.mask)
    outside = found.astype(float)[like.mask] - ramp.astype(float)[like.mask]
    assert np.abs(outside).max() <= (1 if top > 1 else 1e-6)
