"""`ddfm info` of files and folders without a record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from command_line import ddfm_run, refused
from ddfm.cli.described import lines_about
from ddfm.errors import DdfmWarning
from ddfm.pipeline.describe import describe
from ddfm.pipeline.records import read_record
from ddfm.volumes.files import read_volume
from film_files import write_film
from flir_files import flir_jpeg


def lines_of(path: Path) -> list[str]:
    said = ddfm_run("info", path)
    assert (said.exit_code, said.stderr) == (0, "")
    first, *others = said.stdout.splitlines()
    assert first.startswith(f"{path}: ") and "holds no record of how" in first
    return others


def plain(path: Path) -> dict:
    return json.loads(ddfm_run("info", path, "--json").stdout)


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ("int16", "16 bits with a sign"),
        ("int32", "32 bits with a sign"),
        ("uint32", "32 bits"),
        ("uint16", "16 bits"),
        ("float32", "floating point"),
    ],
)
def test_depths_are_those_of_the_file(tmp_path, dtype, words):
    values = np.random.default_rng(0).integers(0, 9000, (24, 30)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert f"  picture   30 x 24 pixels, grey, {words}" in lines_of(tmp_path / "a.tif")
    found = plain(tmp_path / "a.tif")
    assert found["dtype"] == dtype and found["values"] == [values.min(), values.max()]


def test_the_share_without_data_is_told(tmp_path):
    values = np.full((24, 30), 7, np.uint8)
    values[:6] = 0
    values[9] = 200
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[(42113, "s", 0, "0", True)])
    lines = lines_of(tmp_path / "a.tif")
    assert "  no data   25 % of the pixels, which are ignored; a value of 0 marks them" in lines
    assert "  values    7 to 200" in lines and plain(tmp_path / "a.tif")["no_data"] == 0.25
    tifffile.imwrite(tmp_path / "b.tif", values)
    assert not any("no data" in line for line in lines_of(tmp_path / "b.tif"))


def test_the_coordinate_system_and_the_nodata_value_are_named(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    place = {"transform": rasterio.Affine(10, 0, 500000, 0, -10, 5000000), "nodata": -9999}
    profile = {"driver": "GTiff", "height": 24, "width": 30, "count": 1, "dtype": "float32"}
    albers = "+proj=aea +lat_1=29.5 +lat_2=45.5 +lon_0=-96"
    for crs, called in (
        ("EPSG:32633", "EPSG:32633 (WGS 84 / UTM zone 33N)"),
        ("EPSG:4326", "EPSG:4326 (WGS 84)"),
        (albers, "a system without a name"),
        (None, "a system without a name"),
    ):
        with rasterio.open(tmp_path / "a.tif", "w", crs=crs, **profile, **place) as file:
            file.write(np.random.default_rng(0).random((1, 24, 30), np.float32))
        lines, found = lines_of(tmp_path / "a.tif"), plain(tmp_path / "a.tif")
        assert f"  place     coordinates in {called}" in lines and found["coordinates"] == called
        mark = "  no data   marked by a value of -9999, which no pixel has"
        assert mark in lines and found["no_data_value"] == "-9999"
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((24, 30), np.uint8))
    found = plain(tmp_path / "b.tif")
    assert found["coordinates"] is found["no_data_value"] is None


def head(low: float, high: float) -> np.ndarray:
    values = np.linspace(low, high, 20 * 16 * 5).reshape(20, 16, 5)
    values[0] = values[1] = low
    return values


def test_a_volume_is_described(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    affine = np.array([[-0.5, 0, 0, 9], [0, 0, 3.0, 2], [0, 0.5, 0, 1], [0, 0, 0, 1]])
    values = head(-1000, 1500).astype(np.int16)
    image = nibabel.Nifti1Image(values, affine)
    image.header["cal_min"], image.header["cal_max"] = 0, 80
    nibabel.save(image, tmp_path / "ct.nii.gz")
    axes = "".join(nibabel.aff2axcodes(affine))
    assert axes == "LSA"
    assert lines_of(tmp_path / "ct.nii.gz") == [
        "  volume    NIfTI, grey, 16 bits with a sign",
        "  grid      20 x 16 x 5 voxels of 0.5 x 0.5 x 3 mm, together 10 x 8 x 15 mm",
        f"  axes      to the patient's left, head, front ({axes})",
        "  slices    5 coronal slices are fused; --axis chooses others",
        "  values    -1000 to 1500 HU",
        "            -160 to 240 become black and white (window soft-tissue; --window-a)",
        "  window    40/80 in the file; --window-a 40/80 applies it",
        "  corrects  nothing",
    ]
    found = plain(tmp_path / "ct.nii.gz")
    assert (found["shape"], found["spacing"], found["axes"]) == ([20, 16, 5], [0.5, 0.5, 3.0], axes)
    nibabel.save(nibabel.Nifti1Image(np.stack([values] * 4, -1), affine), tmp_path / "four.nii")
    assert lines_of(tmp_path / "four.nii")[0].endswith(
        ", the first of 4 (--volume chooses another)"
    )


def test_three_volumes_of_bytes_are_described_as_the_colours_that_are_fused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    values = head(0, 250).astype(np.uint8)
    path = tmp_path / "three.nii"
    nibabel.save(nibabel.Nifti1Image(np.stack([values] * 3, -1), np.eye(4)), path)
    assert read_volume(path).is_color
    assert lines_of(path)[0] == "  volume    NIfTI, colour, 8 bits"
    found = plain(path)
    assert (found["color"], found["volumes"]) == (True, 1)


def test_what_would_be_corrected_in_a_volume_is_what_is_corrected(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :128]
    for name, sigma in (("a", 0), ("b", 60)):
        planes = [900 + 300 * np.sin((x + k) / 13) + 300 * np.cos(y / 11) for k in range(7)]
        noisy = np.stack(planes, -1) + rng.normal(0, sigma, (96, 128, 7))
        nibabel.save(
            nibabel.Nifti1Image(noisy.astype(np.int16), np.eye(4)), tmp_path / f"{name}.nii"
        )
    (line,) = [line for line in lines_of(tmp_path / "b.nii") if "corrects" in line]
    paths = tmp_path / "a.nii", tmp_path / "b.nii"
    fast = ("--prior", "gaussian", "--steps", "1", "--device", "cpu")
    said = ddfm_run("volume", *paths, "-o", tmp_path / "f.nii", *fast).stderr.splitlines()[-1]

    def level(text: str) -> float:
        assert "(median; --noise-" in text
        return float(text.split("noise of ")[1].split()[0])

    low, high = plain(paths[1])["black_and_white"]
    assert level(line) == pytest.approx(60 / (high - low) * 255, rel=0.05)
    assert level(line) == pytest.approx(level(said), rel=0.05)
    assert "in 5 of 5 slices" in line and "in 7 of 7 slices" in said


def test_other_formats_of_volumes_are_described(tmp_path):
    nrrd = pytest.importorskip("nrrd")
    values = head(0, 800).astype(np.uint16)
    nrrd.write(str(tmp_path / "a.nrrd"), values, {"spacings": [1.0, 1.0, 2.0]})
    header = "NDims = 3\nDimSize = 20 16 5\nElementType = MET_FLOAT\nElementDataFile = LOCAL\n"
    data = values.astype("<f4").tobytes(order="F")
    (tmp_path / "a.mha").write_bytes(header.encode() + data)
    for name, kind in (
        ("a.nrrd", "NRRD, grey, 16 bits"),
        ("a.mha", "MetaImage, grey, floating point"),
    ):
        assert lines_of(tmp_path / name)[0] == f"  volume    {kind}"
        assert plain(tmp_path / name)["values"] == [0, 800]


def test_a_file_of_dicom_is_known_without_its_suffix(tmp_path):
    pytest.importorskip("pydicom")
    from dicom_files import dicom_slice

    dicom_slice(tmp_path / "IM0001", np.ones((16, 20), np.int16), (0, 0, 0))
    with pytest.warns(DdfmWarning, match="holds a single slice"):
        found = describe(tmp_path / "IM0001")
    assert read_record(tmp_path / "IM0001") is None
    assert found["format"] == "DICOM" and found["shape"] == [20, 16, 1]


@pytest.mark.parametrize(("kind", "named"), [("Nifti1Pair", "NIfTI"), ("AnalyzeImage", "Analyze")])
def test_a_pair_of_files_is_named_by_its_header(tmp_path, kind, named):
    nibabel = pytest.importorskip("nibabel")
    values = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    nibabel.save(getattr(nibabel, kind)(values, np.diag([-2, 2, 3, 1.0])), tmp_path / "a.img")
    for name in ("a.img", "a.hdr"):
        assert plain(tmp_path / name)["format"] == named


def test_a_series_of_dicom_is_described_without_names(tmp_path):
    pytest.importorskip("pydicom")
    from dicom_files import PRIVATE, dicom_slice

    about = dict(PRIVATE) | {"WindowCenter": [40, 400], "WindowWidth": [80, 1800]}
    about |= {"SeriesInstanceUID": "1.2.3", "Modality": "CT"}
    folder = tmp_path / "ct"
    folder.mkdir()
    for k in range(4):
        plane = np.full((16, 20), 100 * k, np.int16)
        dicom_slice(folder / f"{k}.dcm", plane, (0, 0, 2.5 * k), **about)
    said = lines_of(folder)
    assert said[0] == "  volume    DICOM CT, grey, 16 bits with a sign"
    assert "  grid      20 x 16 x 4 voxels of 1 x 1 x 2.5 mm, together 20 x 16 x 10 mm" in said
    assert "  axes      to the patient's left, back, head (LPS)" in said
    assert "  window    40/80 in the file; --window-a 40/80 applies it" in said
    assert not any(name in line for line in said for name in PRIVATE.values())
    other = about | {"SeriesInstanceUID": "1.2.4", "Modality": "PT", "SeriesNumber": 7}
    dicom_slice(folder / "9.dcm", plane, (0, 0, 0), **other)
    assert lines_of(folder) == [
        "  series    3: CT, 4 files",
        "  series    7: PT, 1 file",
        f"  fuse      ddfm volume {folder} {folder} -o OUT --series-a 3 --series-b 7",
    ]


@pytest.mark.parametrize(
    ("series", "advice"),
    [
        ([(1, "MR", 3), (4, "CT", 90), (5, "CT", 20), (7, "MR", 30)], "--series-a 7 --series-b 4"),
        ([(1, "CT", 3), (4, "CT", 90)], "--series-a 4 --series-b 1"),
        ([(1, "MR", 3), (1, "MR", 3), (2, "CT", 5)], "OTHER -o OUT --series-a 2"),
        ([(1, "MR", 3), (1, "CT", 3), (None, "CT", 3)], "need a folder of their own"),
    ],
)
def test_two_series_that_can_be_chosen_are_suggested(series, advice):
    *_, fuse = lines_about({"folder": "exam", "series": series}, ours=False)
    assert fuse.startswith("  fuse      ") and fuse.endswith(advice)


def test_a_folder_with_dicom_files_of_no_series_is_described_by_its_files(tmp_path):
    pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset

    index = Dataset()
    index.FileSetID, index.file_meta = "A", FileMetaDataset()
    index.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"  # a directory, as on a CD
    index.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    index.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    index.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    assert lines_of(tmp_path) == ["  holds     1 other file"]


def test_a_video_is_described(tmp_path):
    av = pytest.importorskip("av")
    frames = [np.full((48, 64, 3), (9 * k, 90, 200), np.uint8) for k in range(6)]
    write_film(tmp_path / "a.mp4", frames, rate=12.5)
    video, form, length, sound = lines_of(tmp_path / "a.mp4")
    assert video == "  video     64 x 48 pixels, colour, 8 bits" and "h264 in " in form
    assert length == "  frames    6 frames, 12.5 per second, 0.48 s" and sound == "  sound     none"
    with av.open(str(tmp_path / "b.mkv"), "w") as out:
        pictures = out.add_stream("ffv1", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "gray10le"
        heard = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        for k in range(5):
            plane = np.full((48, 64), 200 * k, np.uint16)
            out.mux(pictures.encode(av.VideoFrame.from_ndarray(plane, format="gray10le")))
        out.mux(pictures.encode(None))
        wave = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), "s16", "mono")
        wave.sample_rate, wave.pts = 8000, 0
        out.mux(heard.encode(wave))
        out.mux(heard.encode(None))
    video, form, length, sound = lines_of(tmp_path / "b.mkv")
    assert video == "  video     64 x 48 pixels, grey, 10 bits" and "ffv1 in Matroska" in form
    assert length == "  frames    about 5 frames, 10 per second, 0.5 s"
    assert sound == "  sound     pcm_s16le, 8000 Hz, mono"
    assert plain(tmp_path / "b.mkv")["sound"]["rate"] == 8000


def test_a_folder_is_described(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    assert lines_of(folder) == ["  holds     no files"]
    for name in ("2.png", "1.png", "3.jpg"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / name)
    for name in ("notes", "x.nii.gz", ".hidden"):
        (folder / name).write_bytes(b"x")
    assert lines_of(folder) == [
        "  holds     3 pictures (.png, .jpg), 1 volume (.nii.gz), 1 other file",
        "  first     1.png; ddfm info FILE describes a picture",
        f"  fuse      ddfm fuse '{folder}' OTHER -o OUT fuses its pictures with those of OTHER",
    ]
    found = plain(folder)
    assert found["files"]["picture"] == {".png": 2, ".jpg": 1} and not found["results"]


def test_a_folder_of_radiometric_files_is_fused_by_itself(tmp_path):
    raw, photograph = np.full((24, 32), 15000, np.uint16), np.zeros((48, 64, 3), np.uint8)
    (tmp_path / "a.jpg").write_bytes(flir_jpeg(raw, photograph))
    *_, fuse = lines_of(tmp_path)
    alone = f"ddfm fuse {tmp_path} -o OUT fuses the thermal image and the photograph in each"
    assert fuse == f"  fuse      {alone}"


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.mp4", "a.dcm"])
@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"NRRD0004\ntype: int\n\n"])
def test_damaged_files_are_refused_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(ddfm_run("info", tmp_path / name), name)


def test_several_files_are_described_one_after_the_other(tmp_path):
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for side, file in zip((20, 30), files, strict=True):
        Image.new("L", (side, side)).save(file)
    each = [ddfm_run("info", file).stdout for file in files]
    assert ddfm_run("info", *files).stdout == "".join(each)
    both = json.loads(ddfm_run("info", *files, "--json").stdout)
    assert both == [plain(file) for file in files]
    refused(ddfm_run("info", *files, tmp_path / "none.png"), "none.png: there is no such file")


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path):
    for name in ("a.png", "c.png"):
        Image.new("L", (30, 24)).save(tmp_path / name)
    (tmp_path / "b.png").write_text("no image")
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    said = ddfm_run("info", *files)
    assert said.exit_code == 1 and said.stdout.count("30 x 24 pixels") == 2
    assert len(said.stderr.splitlines()) == 1 and "b.png is not an image" in said.stderr
    first, second, third = json.loads(ddfm_run("info", *files, "--json").stdout)
    assert (first["width"], third["width"]) == (30, 30)
    assert second["file"] == str(files[1]) and "is not an image" in second["error"]
