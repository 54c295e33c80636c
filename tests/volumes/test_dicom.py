"""DICOM: series of slices are read, and new, anonymous series are written."""

from __future__ import annotations

import re
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import ddfm
from ddfm.errors import DdfmError, DdfmWarning
from ddfm.pipeline.volumes import fuse_volumes
from ddfm.volumes.files import check_volume_output, read_volume, write_volume
from ddfm.volumes.volume import Volume, slices

pydicom = pytest.importorskip("pydicom")
from dicom_files import PRIVATE, all_text, dicom_series, dicom_slice  # noqa: E402

TURNED = [0.6, 0.8, 0, 0, 0, -1]  # rows to the left and back, columns to the feet
NORMAL = np.cross(TURNED[:3], TURNED[3:])


def stored(slices=5, rows=6, columns=4, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 2000, (slices, rows, columns), np.int16)


def turned_series(folder, data, **more):
    """Slices 2.5 mm apart, in any orientation, in files whose names do not give the order."""
    positions = [np.array([7, -8, 9]) + 2.5 * k * NORMAL for k in range(len(data))]
    order = np.random.default_rng(1).permutation(len(data))
    more = {"ImageOrientationPatient": TURNED, "PixelSpacing": [0.5, 0.75]} | more
    return dicom_series(folder, data, positions, order=order, **more)


def test_voxels_are_placed_as_the_standard_defines(tmp_path):
    """PS3.3 C.7.6.2.1.1: P = S + X di i + Y dj j, with i counting columns and dj rows."""
    data = stored()
    volume = read_volume(turned_series(tmp_path / "s", data))
    assert volume.values.shape == (4, 6, 5) and volume.modality == "MR"
    for k, j, i in [(0, 0, 0), (4, 5, 3), (2, 1, 3)]:
        S = np.array([7, -8, 9]) + 2.5 * k * NORMAL
        P = S + np.array(TURNED[:3]) * 0.75 * i + np.array(TURNED[3:]) * 0.5 * j
        np.testing.assert_allclose((volume.affine @ [i, j, k, 1])[:3], P * [-1, -1, 1], atol=1e-9)
        assert volume.values[i, j, k] == data[k, j, i]


def test_an_axial_series_looks_upright(tmp_path):
    """Columns go to the patient's left, rows to the back: it is shown as it is stored."""
    data = stored()
    volume = read_volume(dicom_series(tmp_path / "s", data))
    np.testing.assert_array_equal(slices(volume.values, volume.affine, 2), data)


def test_values_are_in_hounsfield_units(tmp_path):
    data = stored()
    folder = dicom_series(
        tmp_path / "s", data, Modality="CT", RescaleSlope="2", RescaleIntercept="-1024"
    )
    np.testing.assert_array_equal(read_volume(folder).values[3, 5, 4], 2.0 * data[4, 5, 3] - 1024)


def test_slopes_may_change_from_slice_to_slice(tmp_path):
    folder = tmp_path / "pet"
    folder.mkdir()
    for k in range(3):
        dicom_slice(
            folder / f"{k}", np.full((2, 2), 100, np.int16), (0, 0, k),
            SeriesInstanceUID="1.2", RescaleSlope=f"{k + 1}", Modality="PT",
        )  # fmt: skip
    np.testing.assert_array_equal(read_volume(folder).values[0, 0], [100, 200, 300])


@pytest.mark.parametrize("grey", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("values", [[-2000], [-1900, -3000], [63536]])  # the last has lost its sign
def test_padding_around_the_field_becomes_the_lowest_value(tmp_path, values, grey):
    data = stored()
    folder = dicom_series(tmp_path / "s", data, PhotometricInterpretation=grey)
    expected = read_volume(folder).values
    data[:, :2] = data[0] = -2000
    folder = dicom_series(tmp_path / "p", data, PhotometricInterpretation=grey)
    for path in folder.iterdir():
        head = pydicom.dcmread(path)
        for element, value in zip((0x280120, 0x280121), values, strict=False):
            head.add_new(element, "SS" if value < 0 else "US", value)
        head.save_as(path)
    padded = (data == -2000).transpose(2, 1, 0)
    expected[padded] = expected[~padded].min()
    found = read_volume(folder).values
    np.testing.assert_array_equal(found - found.min(), expected - expected.min())


@pytest.mark.parametrize(
    ("modality", "grey"),
    [("MR", "MONOCHROME2"), ("MR", "MONOCHROME1"), ("CT", "MONOCHROME2"), ("CT", "MONOCHROME1")],
)
def test_values_are_looked_up_in_a_table(tmp_path, modality, grey):
    """PS3.3 C.11.1: values below the table take its first entry, those beyond its last."""
    data = np.array([[[-3, -2, 0], [1, 2, 3]]], np.int16)
    more = {"Modality": modality, "PhotometricInterpretation": grey}
    folder = dicom_series(tmp_path / "s", data, **more)
    (path,) = folder.iterdir()
    head = pydicom.dcmread(path)
    table = pydicom.Dataset()
    table.add_new(0x00283002, "SS", [5, -2, 16])  # entries, value of the first, bits
    table.add_new(0x00283006, "US", [7, 30, 500, 20, 60_000])
    head.ModalityLUTSequence = [table]
    head.save_as(path)
    expected = np.array([[7, 7, 500], [20, 60_000, 60_000]])
    if (modality, grey) == ("MR", "MONOCHROME1"):
        expected = 60_000 - expected
    np.testing.assert_array_equal(read_volume(folder).values[..., 0].T, expected)


@pytest.mark.parametrize("slope", ["0", "inf"])
def test_a_rescaling_that_leaves_nothing_is_refused(tmp_path, slope):
    folder = dicom_series(tmp_path / "s", stored(), RescaleSlope="1")
    for path in folder.iterdir():
        head = pydicom.dcmread(path)
        head["RescaleSlope"]._value = slope
        head.save_as(path)
    with pytest.raises(DdfmError, match="RescaleSlope"):
        read_volume(folder)


@pytest.mark.parametrize("modality", ["MR", "DX"])
def test_inverted_grey_of_no_unit_is_as_displayed(tmp_path, modality):
    data = np.array([[[0, 200, 1000]]], np.uint16)
    more = {"PhotometricInterpretation": "MONOCHROME1", "Modality": modality}
    folder = dicom_series(tmp_path / "s", data, RescaleSlope="2", RescaleIntercept="-7", **more)
    np.testing.assert_array_equal(read_volume(folder).values[:, 0, 0], [2000, 1600, 0])


def test_inverted_slices_of_several_slopes_stay_comparable(tmp_path):
    for k in range(3):
        dicom_slice(
            tmp_path / f"{k}", np.full((2, 2), 100, np.int16), (0, 0, k), SeriesInstanceUID="1.2",
            RescaleSlope=f"{k + 1}", PhotometricInterpretation="MONOCHROME1",
        )  # fmt: skip
    np.testing.assert_array_equal(read_volume(tmp_path).values[0, 0], [200, 100, 0])


@pytest.mark.parametrize("grey", ["MONOCHROME1", "MONOCHROME2"])
def test_hounsfield_units_do_not_depend_on_how_they_are_displayed(tmp_path, grey):
    data = np.array([[[0, 1000, 2000]]], np.int16)
    more = {"PhotometricInterpretation": grey, "Modality": "CT"}
    folder = dicom_series(tmp_path / "s", data, RescaleIntercept="-1000", RescaleSlope="1", **more)
    np.testing.assert_array_equal(read_volume(folder).values[:, 0, 0], [-1000, 0, 1000])


def test_compressed_series_are_read(tmp_path):
    data = np.abs(stored())
    plain = read_volume(dicom_series(tmp_path / "plain", data)).values
    rle = dicom_series(tmp_path / "rle", data)
    for path in rle.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    np.testing.assert_array_equal(read_volume(rle).values, plain)

    jpeg = dicom_series(tmp_path / "jpeg", np.abs(stored(2, 16, 16)).astype(np.uint16))
    expected = read_volume(jpeg).values
    for path in jpeg.iterdir():
        encapsulate(path, pydicom.uid.JPEG2000Lossless)
    np.testing.assert_array_equal(read_volume(jpeg).values, expected)


def encapsulate(path, syntax, code: bytes | None = None) -> None:
    """Replace the pixels of a file by a JPEG 2000 codestream, or other data if given."""
    dataset = pydicom.dcmread(path)
    if code is None:
        buffer = BytesIO()
        image = Image.fromarray(dataset.pixel_array)
        image.save(buffer, "JPEG2000", irreversible=False, no_jp2=True)
        code = buffer.getvalue()
    dataset.PixelData = pydicom.encaps.encapsulate([code])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless"])
def test_lossless_compression_of_scanners_is_read(tmp_path, syntax):
    gdcm = pytest.importorskip("gdcm")
    folder = dicom_series(tmp_path / "s", np.abs(stored(2, 16, 16)).astype(np.uint16))
    expected = read_volume(folder).values
    for path in folder.iterdir():
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_volume(folder).values, expected)


def test_a_syntax_without_a_decoder_names_the_package(tmp_path):
    folder = dicom_series(tmp_path / "s", stored(2))
    for path in folder.iterdir():
        encapsulate(path, pydicom.uid.MPEG2MPML, b"xx")
    with pytest.raises(DdfmError, match="compressed as MPEG2.*gdcmconv --raw"):
        read_volume(folder)


def test_colours_are_read(tmp_path):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (3, 4, 5, 3), np.uint8)
    volume = read_volume(dicom_series(tmp_path / "rgb", rgb))
    np.testing.assert_allclose(volume.values, rgb.transpose(2, 1, 0, 3) / 255, atol=1e-6)

    index = rng.integers(0, 4, (2, 4, 5), np.uint8)
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [9, 8, 7]], np.uint16) * 257
    more = {"PhotometricInterpretation": "PALETTE COLOR"}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        more[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, 16]
        more[f"{name}PaletteColorLookupTableData"] = palette[:, channel].tobytes()
    volume = read_volume(dicom_series(tmp_path / "palette", index, **more))
    np.testing.assert_allclose(volume.values[2, 1, 1], palette[index[1, 1, 2]] / 65535, atol=1e-6)


def test_a_file_of_several_frames_is_read(tmp_path):
    data = stored(4)
    path = tmp_path / "frames.dcm"
    dicom_slice(path, data[0], (0, 0, 0))
    dataset = pydicom.dcmread(path)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    dataset.NumberOfFrames = 4
    dataset.PixelData = data.tobytes()
    dataset.SharedFunctionalGroupsSequence = [group(orientation=TURNED, spacing=[2, 3])]
    dataset.PerFrameFunctionalGroupsSequence = [
        group(position=5 * k * NORMAL, slope=k + 1) for k in (3, 0, 1, 2)
    ]
    dataset.save_as(path)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.spacing, [3, 2, 5])
    np.testing.assert_array_equal(volume.values[:, :, 3], 4 * data[0].T)
    np.testing.assert_array_equal(volume.values[:, :, 0], 1 * data[1].T)

    for empty in ([], [group()]):
        dataset.SharedFunctionalGroupsSequence = empty
        dataset.save_as(path)
        with pytest.raises(DdfmError, match="does not give its orientation"):
            read_volume(path)
    dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence = []
    dataset.save_as(path)
    with pytest.raises(DdfmError, match="does not give its position"):
        read_volume(path)

    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(path)
    with pytest.raises(DdfmError, match="4 frames, but does not give the position"):
        read_volume(path)


def spect(path, data, gap, **more):
    """A reconstructed SPECT, whose frames follow the first along its normal."""
    dicom_slice(path, data[0], (0, 0, 0))
    dataset = pydicom.dcmread(path)
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    detector = pydicom.Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [7, -8, 9], TURNED
    dataset.DetectorInformationSequence = [detector]
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.20"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.Modality, dataset.ImageType = "NM", ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    dataset.NumberOfFrames, dataset.SpacingBetweenSlices = len(data), gap
    dataset.PixelSpacing, dataset.PixelData = [0.5, 0.75], data.tobytes()
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("gap", [2.5, -2.5])
@pytest.mark.parametrize("vector", [None, [2, 1, 3, 4]])
def test_spect_gives_the_position_of_its_first_slice(tmp_path, gap, vector):
    """PS3.3 C.8.4.15: the sign of the spacing is the direction of stacking along the normal."""
    data = stored(4)
    more = {} if vector is None else {"SliceVector": vector}
    volume = read_volume(spect(tmp_path / "nm.dcm", data, gap, **more))
    assert volume.modality == "NM"
    for frame, number in enumerate(vector or [1, 2, 3, 4]):
        P = np.array([7, -8, 9]) + gap * (number - 1) * NORMAL
        P = P + np.array(TURNED[:3]) * 0.75 * 3 + np.array(TURNED[3:]) * 0.5 * 5
        i, j, k = np.rint((np.linalg.inv(volume.affine) @ [*P * [-1, -1, 1], 1])[:3]).astype(int)
        np.testing.assert_allclose((volume.affine @ [i, j, k, 1])[:3], P * [-1, -1, 1], atol=1e-5)
        assert volume.values[i, j, k] == data[frame, 5, 3]


@pytest.mark.parametrize(
    "more",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "TOMO"]},  # projections
        {"SpacingBetweenSlices": None},
        {"DetectorInformationSequence": [pydicom.Dataset()]},
        {"SliceVector": [1, 1, 2, 2]},  # of two gates
    ],
)
def test_frames_of_nuclear_medicine_that_are_no_volume_are_refused(tmp_path, more):
    path = spect(tmp_path / "nm.dcm", stored(4), 2.5, **more)
    with pytest.raises(DdfmError, match=r"position of each; .* dcm2niix"):
        read_volume(path)


def test_a_series_of_files_of_a_single_frame_is_read(tmp_path):
    """As enhanced MR and CT may be stored; what is shared by all frames is in groups, too."""
    data = stored(3)
    more = {"NumberOfFrames": 1, "SeriesInstanceUID": "1.2.3"}
    more["SharedFunctionalGroupsSequence"] = [group(orientation=TURNED, spacing=[2, 3])]
    for k, plane in enumerate(data):
        own = group(position=5 * k * NORMAL, slope=k + 1)
        more["PerFrameFunctionalGroupsSequence"] = [own]
        dicom_slice(tmp_path / f"{k}.dcm", plane, (0, 0, 0), **more)
    volume = read_volume(tmp_path)
    np.testing.assert_allclose(volume.spacing, [3, 2, 5])
    np.testing.assert_array_equal(volume.values, (data * [[[1]], [[2]], [[3]]]).T)


def group(position=None, orientation=None, spacing=None, slope=None):
    from pydicom.dataset import Dataset

    result = Dataset()
    for sequence, keyword, value in [
        ("PlanePositionSequence", "ImagePositionPatient", position),
        ("PlaneOrientationSequence", "ImageOrientationPatient", orientation),
        ("PixelMeasuresSequence", "PixelSpacing", spacing),
        ("PixelValueTransformationSequence", "RescaleSlope", slope),
    ]:
        if value is not None:
            one = Dataset()
            setattr(one, keyword, list(value) if np.ndim(value) else str(value))
            setattr(result, sequence, [one])
    return result


def test_one_of_several_series_of_a_folder_can_be_chosen(tmp_path):
    root = tmp_path / "exam"
    dicom_series(root / "DICOM" / "A", stored(3), SeriesNumber=3)
    dicom_series(root / "DICOM" / "B", stored(4), SeriesNumber=15, Modality="CT")
    (root / "DICOMDIR.txt").write_text("not DICOM")
    listed = r"2 series; choose .*series-a.*: 3 \(MR, 3 files\), 15 \(CT, 4 files\)"
    with pytest.raises(DdfmError, match=listed):
        read_volume(root)
    assert read_volume(root, series=15).values.shape[2] == 4
    with pytest.raises(DdfmError, match=r"no series with the number 7; choose .* 3 .*, 15 "):
        read_volume(root, series=7)
    dicom_series(root / "DICOM" / "C", stored(3), SeriesNumber=3)
    with pytest.raises(DdfmError, match="2 series with the number 3; put the files of one into"):
        read_volume(root, series=3)
    with pytest.raises(DdfmError, match="3 series; choose one .* or put the files of one into"):
        read_volume(root)


def test_series_that_have_no_number_of_their_own_go_into_folders_of_their_own(tmp_path):
    for name in "ab":
        dicom_series(tmp_path / name, stored(2), SeriesNumber=None)
    listed = (
        r"2 series; put the files of one into a folder .*: one without a number \(MR, 2 files\)"
    )
    with pytest.raises(DdfmError, match=listed):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("PixelSpacing", r"does not give its pixel spacing \(PixelSpacing\), so"),
        ("ImagePositionPatient", r"does not give its position \(ImagePositionPatient\), so"),
        ("PixelData", "is damaged: it holds no pixels"),
    ],
)
def test_what_a_slice_lacks_is_named(tmp_path, keyword, words):
    folder = dicom_series(tmp_path, stored(2), **{keyword: None})
    with pytest.raises(DdfmError, match=words):
        read_volume(folder)


def test_one_slice_is_a_volume(tmp_path):
    folder = dicom_series(tmp_path / "s", stored(1), SliceThickness=4.0)
    np.testing.assert_allclose(read_volume(folder).spacing, [1, 1, 4])


def test_a_file_that_is_one_of_a_series_is_read_alone_with_a_warning(tmp_path):
    folder = dicom_series(tmp_path / "s", stored(3))
    with pytest.warns(DdfmWarning, match="IM0001 holds a single slice; .* give its folder"):
        assert read_volume(folder / "IM0001").shape[2] == 1


def at(*places):
    return [(0, 0, z) for z in places]


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        (at(0, 2, 4, 8, 10), "1 slice is missing between IM0002 and IM0003"),
        (at(0, 2, 4, 12, 14), "3 slices are missing between IM0002"),
        (at(0, 2, 4, 6.5, 8.5), "2.00 mm apart, but 2.50 mm between IM0002 and IM0003"),
        (at(0, 2, 2, 4, 6), "IM0001 and IM0002 are at the same place"),
        ([(0, 0, 0), (0, 0, 1), (3, 0, 2), (0, 0, 3), (0, 0, 4)], "slices are not on a line"),
        ([(0, np.inf, 0)] * 5, "position, orientation or spacing is invalid"),
    ],
)  # fmt: skip
def test_slices_without_a_regular_grid_are_refused(tmp_path, positions, words):
    if np.isinf(positions[0][1]):
        dicom_series(tmp_path / "s", stored(5))
        dicom_slice(tmp_path / "s" / "IM0000", stored(1)[0], (0, 0, 0),
                    ImageOrientationPatient=[1, 0, 0, 1, 0, 0],
                    SeriesInstanceUID=next(uids(tmp_path / "s")))  # fmt: skip
    else:
        dicom_series(tmp_path / "s", stored(5), positions)
    with pytest.raises(DdfmError, match=words) as error:
        read_volume(tmp_path / "s")
    assert "\n" not in str(error.value)


def uids(folder):
    return (pydicom.dcmread(path).SeriesInstanceUID for path in sorted(folder.iterdir())[1:])


def test_slices_that_do_not_match_are_refused(tmp_path):
    for name, shape, more, words in [
        ("size", (9, 9), {}, "4 x 6 pixels, odd 9 x 9"),
        ("spacing", (6, 4), {"PixelSpacing": [2, 2]}, "different pixel spacing"),
        ("turned", (6, 4), {"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "localizer"),
        ("nowhere", (6, 4), {"ImagePositionPatient": None}, "not a slice of a volume"),
    ]:
        folder = dicom_series(tmp_path / name, stored(3))
        uid = next(uids(folder))
        odd = np.zeros(shape, np.int16)
        dicom_slice(folder / "odd", odd, (0, 0, 3), SeriesInstanceUID=uid, **more)
        with pytest.raises(DdfmError, match=words):
            read_volume(folder)


def test_a_mosaic_is_refused(tmp_path):
    kind = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    folder = dicom_series(tmp_path / "s", stored(slices=1), ImageType=kind)
    with pytest.raises(DdfmError, match="mosaic of Siemens.*dcm2niix"):
        read_volume(folder)


def test_other_files_are_refused_as_dicom(tmp_path):
    (tmp_path / "x.dcm").write_bytes(b"no DICOM" * 99)
    with pytest.raises(DdfmError, match=r"x.dcm is not a DICOM file"):
        read_volume(tmp_path / "x.dcm")
    with pytest.raises(DdfmError, match="has no DICOM images in it"):
        read_volume(tmp_path)
    (tmp_path / "x.mnc").write_bytes(b"CDF\1" + bytes(99))
    with pytest.raises(DdfmError, match=r"x.mnc is a MINC volume; convert it .*mnc2nii"):
        read_volume(tmp_path / "x.mnc")
    path = tmp_path / "cut.dcm"
    dicom_slice(path, stored(1)[0], (0, 0, 0))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DdfmError, match="cut.dcm is truncated or damaged"):
        read_volume(path)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
@pytest.mark.parametrize("kept", [0, 132])
def test_files_without_preamble_are_read(tmp_path, syntax, kept):
    """As old archives have them: with the group of the file's meta information, or without it."""
    folder = dicom_series(tmp_path / "s", stored())
    known = read_volume(folder)
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(file)
        data = file.read_bytes()[132:]
        length = 12 + int.from_bytes(data[8:12], "little")  # of the group, PS3.10 7.1
        file.write_bytes(data if kept else data[length:])
    (folder / "notes.bin").write_bytes(b"\x08\0\x05\0CS\x04\0none" * 99)
    found = read_volume(folder)
    np.testing.assert_array_equal(found.values, known.values)
    np.testing.assert_array_equal(found.affine, known.affine)
    assert found.modality == "MR" and len(found.files) == 5


def test_a_compressed_file_that_does_not_say_so_is_refused(tmp_path):
    """Its bytes would pass for pixels."""
    path = tmp_path / "a"
    dataset = dicom_slice(path, stored()[0], (0, 0, 0))
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(path, enforce_file_format=True)
    data = path.read_bytes()[132:]
    path.write_bytes(data[12 + int.from_bytes(data[8:12], "little") :])
    with pytest.raises(DdfmError, match="does not state how it is compressed"):
        read_volume(tmp_path)


def fused(source) -> Volume:
    volume = read_volume(source)
    values = np.random.default_rng(2).integers(0, 65536, volume.shape, np.uint16)
    return Volume(values, volume.affine, source=volume.source)


def test_a_new_series_has_the_geometry_and_values(tmp_path):
    volume = fused(turned_series(tmp_path / "in", stored()))
    write_volume(tmp_path / "out", volume)
    back = read_volume(tmp_path / "out")
    np.testing.assert_array_equal(back.values, volume.values)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-9)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]
    first = pydicom.dcmread(tmp_path / "out" / "0001.dcm")
    assert first.ImageType[0] == "DERIVED" and first.Modality == "OT"
    assert first.PixelSpacing == [0.5, 0.75] and first.SpacingBetweenSlices == 2.5


def test_a_coloured_series_is_written(tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (5, 3, 3, 3)) / np.float32(255)
    volume = Volume(colors.astype(np.float32), np.diag([-1, -1, 2, 1]))
    write_volume(tmp_path / "out", volume)
    np.testing.assert_allclose(read_volume(tmp_path / "out").values, colors, atol=1e-6)


def test_a_folder_with_other_files_is_refused_before_any_work(tmp_path):
    grid = Volume(np.zeros((4, 5, 2), np.uint16), np.eye(4))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "0002.dcm").write_text("mine")
    with ddfm.overwriting():
        check_volume_output(tmp_path / "x", grid=grid)
        (tmp_path / "x" / "0003.dcm").write_text("mine")
        with pytest.raises(DdfmError, match="0003.dcm in it is not from ddfm"):
            check_volume_output(tmp_path / "x", grid=grid)


def test_other_values_are_written_with_slope_and_intercept(tmp_path):
    values = np.random.default_rng(0).normal(0, 1000, (4, 5, 3)).astype(np.float32)
    write_volume(tmp_path / "out", Volume(values, np.eye(4)))
    step = np.ptp(values) / 65535
    np.testing.assert_allclose(read_volume(tmp_path / "out").values, values, atol=0.51 * step)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_viewers_show_all_values(tmp_path, kind):
    """PS3.3 C.11.2: the window is one of values after slope and intercept."""
    values = np.linspace(0, 250, 60).reshape(4, 5, 3)
    values = values.astype(kind) if kind != "float32" else np.float32(values / 1000 - 0.1)
    write_volume(tmp_path / "out", Volume(values, np.eye(4)))
    for file in (tmp_path / "out").iterdir():
        dataset = pydicom.dcmread(file)
        rescaled = pydicom.pixels.apply_rescale(dataset.pixel_array, dataset)
        seen = pydicom.pixels.apply_voi_lut(rescaled, dataset)
        # From black to white they have their whole range, so they are as before.
        np.testing.assert_allclose(seen, rescaled, atol=1e-3 * values.max())


def test_nothing_identifies_anyone(tmp_path):
    source = dicom_series(tmp_path / "in", stored(), **PRIVATE)
    write_volume(tmp_path / "out", fused(source))
    text, before = all_text(tmp_path / "out"), all_text(source)
    for keyword, value in PRIVATE.items():
        assert value in before
        if keyword != "PatientSex":  # a letter, which is everywhere
            assert value not in text
    assert pydicom.dcmread(tmp_path / "out" / "0001.dcm").PatientSex == ""
    number = re.compile(r"\b[12]\.\d+(?:\.\d+){3,}\b")
    shared = set(number.findall(text)) & set(number.findall(before))
    assert shared <= {str(pydicom.uid.PYDICOM_IMPLEMENTATION_UID)}
    assert "PatientIdentityRemoved" not in before
    assert pydicom.dcmread(tmp_path / "out" / "0001.dcm").PatientIdentityRemoved == "YES"


def test_identity_is_kept_on_request(tmp_path):
    source = dicom_series(tmp_path / "in", stored(), **PRIVATE)
    write_volume(tmp_path / "out", fused(source), keep_identity=True)
    before = pydicom.dcmread(source / "IM0000")
    for path in (tmp_path / "out").iterdir():
        after = pydicom.dcmread(path)
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
            assert after[keyword].value == before[keyword].value
        assert after.SeriesInstanceUID != before.SeriesInstanceUID
        assert "OperatorsName" not in after and "DeviceSerialNumber" not in after


@pytest.mark.parametrize("kept", [True, False])
def test_each_slice_refers_to_those_it_is_made_of_where_identity_is_kept(tmp_path, kept):
    """The slices of the second source have half the distance, and are shifted by half a slice."""
    import ddfm

    first = dicom_series(tmp_path / "mri", np.abs(stored(3, 8, 8)))
    spots = [(0, 0, 1.25 + 0.5 * k) for k in range(5)]
    second = dicom_series(tmp_path / "ct", stored(5, 8, 8), spots, Modality="CT")
    fuser = ddfm.Fuser("gaussian", likelihood="paper", steps=2, device="cpu", task="medical")
    fusion = fuse_volumes(first, second, fuser)
    fusion.save(tmp_path / "out", keep_identity=kept)
    uids = {
        folder.name: {
            float(head.ImagePositionPatient[2]): str(head.SOPInstanceUID)
            for head in map(pydicom.dcmread, folder.iterdir())
        }
        for folder in (first, second)
    }
    for path in (tmp_path / "out").iterdir():
        head = pydicom.dcmread(path)
        assert head.DerivationCodeSequence[0].CodeMeaning == "Fusion with a diffusion prior"
        if not kept:
            assert "SourceImageSequence" not in head
            continue
        z = float(head.ImagePositionPatient[2])
        near = {uid for at, uid in uids["ct"].items() if abs(at - z) < 0.5}
        found = {str(item.ReferencedSOPInstanceUID) for item in head.SourceImageSequence}
        assert found == {uids["mri"][z]} | near and (near or z == 0)


def test_uids_are_determined_by_the_content(tmp_path):
    """The same values in the same place give the same UIDs, and identical files."""
    volume = fused(dicom_series(tmp_path / "in", stored()))
    write_volume(tmp_path / "one", volume)
    write_volume(tmp_path / "same", volume)
    write_volume(tmp_path / "two", replace(volume, values=volume.values // 2))
    for path in (tmp_path / "one").glob("*.dcm"):
        assert path.read_bytes() == (tmp_path / "same" / path.name).read_bytes()
    heads = [pydicom.dcmread(p) for n in ("one", "two") for p in (tmp_path / n).iterdir()]
    assert len({head.SOPInstanceUID for head in heads}) == 10
    assert all(h.SOPInstanceUID == h.file_meta.MediaStorageSOPInstanceUID for h in heads)
    assert len({head.SeriesInstanceUID for head in heads}) == 2
    assert len({head.StudyInstanceUID for head in heads}) == 2
    assert {int(head.InstanceNumber) for head in heads} == {1, 2, 3, 4, 5}
    write_volume(tmp_path / "kept", volume, keep_identity=True)
    kept = {pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / "kept").glob("*.dcm")}
    assert len(kept) == 5 and kept.isdisjoint(head.SOPInstanceUID for head in heads)


def test_sheared_slices_cannot_be_dicom(tmp_path):
    affine = np.eye(4)
    affine[0, 1] = 0.2
    with pytest.raises(DdfmError, match="not at right angles, which DICOM cannot"):
        write_volume(tmp_path / "out", Volume(np.zeros((2, 2, 2), np.uint16), affine))
    assert not (tmp_path / "out").exists()


def test_a_pet_series_is_overlaid_in_colours(tmp_path):
    import ddfm

    pet = np.zeros((3, 8, 8), np.int16)
    pet[1, 2:6, 2:6] = np.arange(16).reshape(4, 4) * 100 + 200
    mri = dicom_series(tmp_path / "mri", np.abs(stored(3, 8, 8)))
    pet = dicom_series(tmp_path / "pet", pet, Modality="PT")
    fuser = ddfm.Fuser("gaussian", likelihood="paper", steps=2, device="cpu", task="medical")
    fusion = fuse_volumes(mri, pet, fuser)
    assert fusion.volume.is_color
    warm = fusion.volume.values[3, 3, 1]
    assert warm[0] > warm[2] > warm[1]  # of ember, which is purple before it is orange
    fusion.save(tmp_path / "out")
    assert read_volume(tmp_path / "out").is_color


@pytest.mark.parametrize("which", [0, 1])
def test_burned_in_text_stays_declared(tmp_path, which):
    """In either source, although only the geometry of the first is taken over."""
    import ddfm

    tags = [{"BurnedInAnnotation": "YES" if k == which else "NO"} for k in range(2)]
    sources = [dicom_series(tmp_path / f"{k}", np.abs(stored()), **tags[k]) for k in range(2)]
    fuser = ddfm.Fuser("gaussian", likelihood="paper", steps=2, device="cpu", task="medical")
    fusion = fuse_volumes(*sources, fuser, progress=False)
    fusion.save(tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        head = pydicom.dcmread(path)
        assert (head.BurnedInAnnotation, head.PatientIdentityRemoved) == ("YES", "NO")


@pytest.mark.parametrize("keyword", ["SliceThickness", "NumberOfFrames", "SeriesNumber"])
def test_a_bad_value_of_an_unused_field_is_ignored(tmp_path, keyword):
    folder = dicom_series(tmp_path / "s", stored())
    expected = read_volume(folder).values
    for path in folder.iterdir():
        _spoil(path, keyword)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.values, expected)
    write_volume(tmp_path / "out", volume, keep_identity=True)
    np.testing.assert_allclose(read_volume(tmp_path / "out").values, expected, atol=0.1)


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        ("ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 144", "Иванова^Анна"),
        ("ISO_IR 100", "Müller^Jörg"),
    ],
)
def test_a_kept_name_is_legible_in_any_script(tmp_path, characters, name):
    more = {"SpecificCharacterSet": characters, "PatientName": name}
    folder = dicom_series(tmp_path / "s", stored(), **more)
    write_volume(tmp_path / "out", read_volume(folder), keep_identity=True)
    file = next((tmp_path / "out").iterdir())
    assert pydicom.dcmread(file).PatientName == name
    assert name.encode() in file.read_bytes()  # in UTF-8, and the file says so
    assert pydicom.dcmread(file).SpecificCharacterSet == "ISO_IR 192"


def test_unreadable_fields_of_a_patient_are_left_out(tmp_path):
    folder = dicom_series(tmp_path / "s", stored(), PatientName="Doe^Jane")
    for path in folder.iterdir():
        _spoil(path, "PatientWeight")
    write_volume(tmp_path / "out", read_volume(folder), keep_identity=True)
    head = pydicom.dcmread(next((tmp_path / "out").iterdir()))
    assert head.PatientName == "Doe^Jane" and "PatientWeight" not in head


def _spoil(path, keyword: str) -> None:
    """Write a word in place of a number."""
    dataset = pydicom.dcmread(path)
    tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(keyword))
    element = pydicom.dataelem.RawDataElement(
        tag, pydicom.datadict.dictionary_VR(tag), 4, b"much", 0, False, True
    )
    dataset._dict[tag] = element
    dataset.save_as(path)


def test_a_result_declares_that_it_has_no_unit(tmp_path):
    write_volume(tmp_path / "out", Volume(np.zeros((2, 2, 2), np.uint16), np.eye(4)))
    head = pydicom.dcmread(next((tmp_path / "out").iterdir()))
    assert head.RescaleType == "US" and head.Laterality == ""
