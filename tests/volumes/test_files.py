"""Volume files: geometry and values survive a round trip, and errors name what is wrong."""

from __future__ import annotations

import datetime
import gzip
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from ddfm.errors import DdfmError, DdfmWarning
from ddfm.imaging.unreadable import explained
from ddfm.volumes.files import (
    check_map_output,
    check_planes_output,
    check_volume_output,
    read_volume,
    volume_count,
    write_volume,
)
from ddfm.volumes.volume import Volume, axes_of

nibabel = pytest.importorskip("nibabel")

AFFINE = np.array([[-1.5, 0.1, 0, 20], [0.1, 2, 0.3, -30], [0, 0.2, -3, 40], [0, 0, 0, 1.0]])


def values(shape=(5, 6, 7), top=65535) -> np.ndarray:
    return np.random.default_rng(0).integers(0, top, shape, np.uint16, endpoint=True)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize("color", [False, True])
def test_values_and_geometry_survive(tmp_path, suffix, color):
    pytest.importorskip("nrrd")
    data = values((5, 6, 7, 3), 255) / np.float32(255) if color else values()
    path = tmp_path / f"x{suffix}"
    write_volume(path, Volume(data, AFFINE))
    back = read_volume(path)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(back.values, data, atol=1e-6)
    assert back.is_color == color and [p.name for p in tmp_path.iterdir()] == [f"x{suffix}"]


@pytest.mark.parametrize("name", ["x.Nii", "x.Nii.gz", "x.Nii.Gz", "x.nii.GZ", "x.NII.GZ"])
def test_suffixes_of_nifti_may_be_of_mixed_case(tmp_path, name):
    plain, path = tmp_path / name.lower(), tmp_path / "mixed" / name
    path.parent.mkdir()
    for each in (plain, path):
        write_volume(each, Volume(values(), AFFINE, record="{}"))
    assert path.read_bytes() == plain.read_bytes() and [*path.parent.iterdir()] == [path]
    np.testing.assert_array_equal(read_volume(path).values, values())
    assert volume_count(path) == 1


def test_nifti_is_read_as_by_nibabel(tmp_path):
    """Scaled values, a fourth axis of length 1, masked voxels; the header is kept without texts."""
    stored = values((4, 5, 6), 1000).astype(np.int16)
    image = nibabel.Nifti1Image(stored[..., None], AFFINE)
    image.header.set_slope_inter(0.5, -20)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"Doe^Jane 1970"
    image.header["db_name"] = b"ID-4711"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Jane was here"))
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 2)
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    expected = nibabel.load(tmp_path / "a.nii.gz").get_fdata()[..., 0]
    np.testing.assert_allclose(volume.values, expected, rtol=1e-6)

    fused = Volume(values((4, 5, 6)), volume.affine, source=volume.source)
    write_volume(tmp_path / "b.nii.gz", fused)
    after = nibabel.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(np.asarray(after.dataobj), fused.values)
    np.testing.assert_allclose(after.affine, AFFINE, atol=1e-5)
    assert after.header.get_xyzt_units() == ("mm", "sec")
    assert (int(after.header["qform_code"]), int(after.header["sform_code"])) == (1, 2)
    assert after.get_data_dtype() == np.uint16
    raw = gzip.decompress((tmp_path / "b.nii.gz").read_bytes())
    assert b"Jane" not in raw and b"4711" not in raw


@pytest.mark.parametrize(("unit", "per_mm"), [("meter", 0.001), ("micron", 1000.0), ("mm", 1.0)])
def test_the_unit_of_length_of_a_nifti_counts(tmp_path, unit, per_mm):
    affine = np.diag([per_mm, per_mm, per_mm, 1]) @ AFFINE
    image = nibabel.Nifti1Image(values(), affine)
    image.header.set_xyzt_units(unit, "msec")
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(volume.affine, AFFINE, rtol=1e-5, atol=1e-5)
    write_volume(tmp_path / "b.nii.gz", volume)
    after = nibabel.load(tmp_path / "b.nii.gz")
    np.testing.assert_allclose(after.affine, AFFINE, rtol=1e-5, atol=1e-5)
    assert after.header.get_xyzt_units() == ("mm", "msec")


def test_masked_voxels_become_background(tmp_path):
    data = np.float32([[[np.nan, 3], [4, np.inf]]])
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "x.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "x.nii").values, [[[3, 3], [4, 3]]])


def test_nibabel_images_are_accepted():
    volume = read_volume(nibabel.Nifti1Image(values(), AFFINE))
    np.testing.assert_array_equal(volume.values, values())
    np.testing.assert_array_equal(volume.affine, AFFINE)


def test_a_nifti_2_is_written_as_nifti_2(tmp_path):
    nibabel.save(nibabel.Nifti2Image(values(), AFFINE), tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    write_volume(tmp_path / "b.nii", Volume(values(), AFFINE, source=volume.source))
    assert isinstance(nibabel.load(tmp_path / "b.nii"), nibabel.Nifti2Image)


def test_a_missing_position_is_warned_of(tmp_path):
    """In NIfTI's words, method 1: only the spacing is known, and left and right are not."""
    image = nibabel.Nifti1Image(values(), None)
    image.header.set_zooms((1.5, 2, 3))
    nibabel.save(image, tmp_path / "x.nii")
    with pytest.warns(DdfmWarning, match=r"x\.nii: its header gives no position.* left$"):
        volume = read_volume(tmp_path / "x.nii")
    i, j, k = (np.array(volume.shape) - 1) / 2
    np.testing.assert_allclose(volume.affine @ [i, j, k, 1], [0, 0, 0, 1], atol=1e-6)
    assert axes_of(volume) == "LAS"


def test_two_positions_that_differ_are_warned_of(tmp_path, recwarn):
    image = nibabel.Nifti1Image(values(), AFFINE)
    path = tmp_path / "a.nii"
    for kinds, moved, warned in [((1, 1), 30, 1), ((1, 4), 30, 0), ((0, 1), 30, 0), ((1, 1), 0, 0)]:
        sform = AFFINE.copy()
        sform[2, 3] += moved
        image.set_qform(AFFINE, kinds[0], strip_shears=True)
        image.set_sform(sform, kinds[1])
        nibabel.save(image, path)
        recwarn.clear()
        np.testing.assert_allclose(read_volume(path).affine, sform, rtol=1e-6)
        texts = [str(one.message) for one in recwarn if one.category is DdfmWarning]
        assert len(texts) == warned and all("qform and sform" in text for text in texts)


def test_nrrd_spaces_are_converted(tmp_path):
    nrrd = pytest.importorskip("nrrd")
    directions = np.array([[2, 0, 0], [0, 3, 0], [0, 0.5, 4.0]])  # a row for each index
    for space, signs in [
        ("left-posterior-superior", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("LAS", (-1, 1, 1)),
    ]:
        header = {"space": space, "space directions": directions, "space origin": [7, 8, 9]}
        nrrd.write(str(tmp_path / "x.nrrd"), values((3, 4, 5)), header)
        affine = read_volume(tmp_path / "x.nrrd").affine
        np.testing.assert_allclose(affine[:3, 3], np.multiply(signs, [7, 8, 9]))
        np.testing.assert_allclose(affine[:3, 2], np.multiply(signs, [0, 0.5, 4]))
    nrrd.write(str(tmp_path / "y.nrrd"), values((3, 4, 5)), {"spacings": [1, 2, 3]})
    np.testing.assert_allclose(read_volume(tmp_path / "y.nrrd").affine, np.diag([1, 2, 3, 1]))


def nrrd_file(path, shape, *lines) -> Path:
    """A file of int16 with these lines in its header, and its values, the first index fastest."""
    stored = np.arange(np.prod(shape), dtype="<i2")
    head = ["NRRD0005", "type: short", "endian: little", "encoding: raw", *lines]
    head += [f"dimension: {len(shape)}", "sizes: " + " ".join(map(str, shape))]
    path.write_bytes("\n".join(head).encode() + b"\n\n" + stored.tobytes())
    return path


def test_an_nrrd_that_names_no_space_is_in_that_of_dicom(tmp_path):
    """As ITK takes it, and with it most programs; the orientation is a guess, which is told."""
    pytest.importorskip("nrrd")
    lines = "space directions: (1,0,0) (0,2,0) (0,0,3)", "space origin: (7,8,9)"
    path = nrrd_file(tmp_path / "x.nrrd", (3, 4, 5), "space dimension: 3", *lines)
    with pytest.warns(DdfmWarning, match="x.nrrd does not name the space"):
        affine = read_volume(path).affine
    expected = [[-1, 0, 0, -7], [0, -2, 0, -8], [0, 0, 3, 9], [0, 0, 0, 1]]
    np.testing.assert_allclose(affine, expected)


@pytest.mark.parametrize(
    ("lines", "spacing", "first"),
    [
        # By the definition of the format, a cell's ends are its borders, and a node's its centre.
        (["axis mins: 10 20 -30", "spacings: 1 2 4"], [1, 2, 4], [10.5, 21, -28]),
        (["axis mins: 1 2 3", "axis maxs: 7 10 13"], [2, 2, 2], [2, 3, 4]),
        (
            ["axis mins: 1 2 3", "axis maxs: 7 8 13", "centers: cell node ???"],
            [2, 2, 2],
            [2, 2, 4],
        ),
        (["axis mins: nan nan 3", "spacings: 1 2 4"], [1, 2, 4], [0, 0, 5]),
        (["axis mins: 1 2 3", "spacings: 1 1 1", 'units: "cm" "cm" "cm"'], [10] * 3, [15, 25, 35]),
        ([], [1, 1, 1], [0, 0, 0]),
    ],
)
def test_the_ends_of_the_axes_of_an_nrrd_place_it(tmp_path, lines, spacing, first):
    pytest.importorskip("nrrd")
    affine = read_volume(nrrd_file(tmp_path / "x.nrrd", (3, 4, 5), *lines)).affine
    np.testing.assert_allclose(np.diag(affine)[:3], spacing)
    np.testing.assert_allclose(affine[:3, 3], first)


@pytest.mark.parametrize(
    ("shape", "lines"),
    [
        ((1, 2, 4, 5), ["space: RAS", "space directions: none (1,0,0) (0,2,0) (0,0,3)"]),
        ((2, 4, 5, 1), ["space: RAS", "space directions: (1,0,0) (0,2,0) (0,0,3) none"]),
        ((1, 2, 4, 5), ["kinds: list domain domain domain", "spacings: nan 1 2 3"]),
        ((2, 4, 5, 1), ["kinds: domain domain domain list", "spacings: 1 2 3 nan"]),
        ((2, 4, 5, 1), ["spacings: 1 2 3 1"]),
        ((1, 2, 4, 5), ["spacings: 1 1 2 3"]),
    ],
)
def test_an_nrrd_may_have_a_list_of_one_volume(tmp_path, shape, lines):
    pytest.importorskip("nrrd")
    volume = read_volume(nrrd_file(tmp_path / "x.nrrd", shape, *lines))
    np.testing.assert_array_equal(volume.values, np.arange(40).reshape((2, 4, 5), order="F"))
    np.testing.assert_allclose(volume.affine, np.diag([1, 2, 3, 1]))


def test_an_nrrd_with_a_list_of_several_volumes_is_refused(tmp_path):
    pytest.importorskip("nrrd")
    path = nrrd_file(tmp_path / "x.nrrd", (2, 3, 4, 5), "kinds: list domain domain domain")
    with pytest.raises(DdfmError, match="extract one of its volumes first"):
        read_volume(path)


@pytest.mark.parametrize(
    "unit, millimetres",
    [("cm", 10), ("microns", 0.001), ("micrometers", 0.001), ("mm", 1), ("", 1)],
)
def test_nrrd_in_other_units_is_converted_to_millimetres(tmp_path, unit, millimetres):
    nrrd = pytest.importorskip("nrrd")
    header = {"space": "RAS", "space directions": 2 * np.eye(3), "space origin": [7, 8, 9]}
    nrrd.write(str(tmp_path / "x.nrrd"), values((3, 4, 5)), header | {"space units": [unit] * 3})
    expected = millimetres * np.array([[2, 0, 0, 7], [0, 2, 0, 8], [0, 0, 2, 9]])
    np.testing.assert_allclose(read_volume(tmp_path / "x.nrrd").affine[:3], expected)
    header = {"spacings": [1, 2, 3], "units": [unit] * 3}
    nrrd.write(str(tmp_path / "y.nrrd"), values((3, 4, 5)), header)
    np.testing.assert_allclose(
        read_volume(tmp_path / "y.nrrd").spacing, millimetres * np.array([1, 2, 3])
    )


@pytest.mark.parametrize("sign", ["\u00b5".encode(), "\u03bc".encode(), b"\xb5"])
def test_micrometres_of_an_nrrd_may_have_their_sign(tmp_path, sign):
    nrrd = pytest.importorskip("nrrd")
    header = {"spacings": [1, 2, 3], "units": ["um"] * 3}
    nrrd.write(str(tmp_path / "x.nrrd"), values((3, 4, 5)), header)
    data = (tmp_path / "x.nrrd").read_bytes()
    (tmp_path / "y.nrrd").write_bytes(data.replace(b"um", sign + b"m"))
    one, other = (read_volume(tmp_path / name) for name in ("x.nrrd", "y.nrrd"))
    np.testing.assert_allclose(other.spacing, [0.001, 0.002, 0.003])
    np.testing.assert_array_equal(other.values, one.values)


def test_a_written_nrrd_is_read_alike_by_pynrrd(tmp_path):
    nrrd = pytest.importorskip("nrrd")
    write_volume(tmp_path / "x.nrrd", Volume(values(), AFFINE))
    data, header = nrrd.read(str(tmp_path / "x.nrrd"))
    np.testing.assert_array_equal(data, values())
    assert header["space"] == "left-posterior-superior"
    np.testing.assert_allclose(header["space origin"], [-20, 30, 40])
    np.testing.assert_allclose(header["space directions"][0], [1.5, -0.1, 0])


def test_files_that_are_no_volumes_are_refused(tmp_path):
    def nifti(name, array, damage=lambda data: data):
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / name)
        path = tmp_path / name
        path.write_bytes(damage(path.read_bytes()))
        return path

    def huge(data):
        return data[:42] + np.int16([30000, 30000, 30000]).tobytes() + data[48:]

    def empty_affine(data):
        return data[:252] + np.int16([0, 1]).tobytes() + data[256:280] + bytes(48) + data[328:]

    def within_header(data):
        return data[:108] + bytes(4) + data[112:]

    for path, words in [
        (nifti("offset.nii", values(), within_header), "its values lie within its header"),
        (nifti("4d.nii", np.zeros((3, 3, 3, 5), np.int16)), "holds 5 volumes; choose one"),
        (nifti("rgb16.nii", np.zeros((3, 3, 3, 3), np.int16)), "holds 3 volumes; choose one"),
        (nifti("2d.nii", np.zeros((3, 3), np.int16)), "3 dimensions"),
        (nifti("complex.nii", np.zeros((3, 3, 3), np.complex64)), "values of type complex64"),
        (nifti("nan.nii", np.full((3, 3, 3), np.nan, np.float32)), "none of its values"),
        (nifti("cut.nii", values(), lambda d: d[:-50]), "truncated or damaged"),
        (nifti("cut.nii.gz", values(), lambda d: d[:-50]), "truncated or damaged"),
        (nifti("head.nii", values(), lambda d: d[:100]), "truncated or damaged"),
        (nifti("noise.nii", values(), lambda d: bytes(range(256)) * 4), "truncated or damaged"),
        (nifti("huge.nii", values(), huge), "more than the file can hold"),
        (
            nifti("bomb.nii.gz", values(), lambda d: gzip.compress(huge(gzip.decompress(d)))),
            "more than the file can hold",
        ),
        (nifti("flat.nii", values(), empty_affine), "its affine is invalid"),
        (tmp_path / "none.nii", "no such file"),
        (tmp_path / "none", "no such file or folder"),
    ]:
        with pytest.raises(DdfmError, match=words) as error:
            read_volume(path)
        assert "\n" not in str(error.value)


def test_bad_nrrd_files_are_refused(tmp_path):
    pytest.importorskip("nrrd")
    write_volume(tmp_path / "x.nrrd", Volume(values(), AFFINE))
    head, data = (tmp_path / "x.nrrd").read_bytes().split(b"\n\n", 1)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(1 << 24)))
    for number, (head_, data_, words) in enumerate(
        [
            (head, data[:50], "truncated or damaged"),
            (head.replace(b"gzip", b"bzip2"), data, "save it as gzip"),
            (head.replace(b"5 6 7", b"5 6 7000000"), data, "truncated or damaged"),
            (head.replace(b"left-posterior-superior", b"scanner-xyz"), data, "space 'scanner-xyz'"),
            (head + b"\nline skip: 99999999999", data, "skips more lines"),
            (head + b"\ndata file: /dev/zero", data, "outside its folder"),
            (head + b"\ndata file: ../a.raw", data, "outside its folder; move both files"),
            (head + b"\ndata file: pipe", data, "not a regular file"),
            (head + b"\ndata file: nowhere.raw", data, r"\.nhdr: cannot read .*nowhere.raw"),
            (head + b"\ndata file: a%02d.raw 1 9 1", data, "in separate files"),
            (head + b"\ndata file: LIST\na.raw", data, "in separate files"),
            (head + b"\ndata file: LISTED.raw", data, r"cannot read .*LISTED.raw"),
            (head.replace(b"encoding", b"encoded"), data, "'encoding' is missing"),
            (b"NRRD0005", data, "truncated or damaged"),
            (head, gzip.compress(bytes(1 << 24)), "unpacks to more than its header states"),
            (head + b"\ndata file: bomb.gz", b"", "bomb.gz was refused: it unpacks to more"),
        ]
    ):
        path = tmp_path / f"{number}.nhdr"
        path.write_bytes(head_ + b"\n\n" + data_)
        with pytest.raises(DdfmError, match=words):
            read_volume(path)


def test_a_percent_sign_alone_is_no_pattern_of_slices(tmp_path):
    pytest.importorskip("nrrd")
    write_volume(tmp_path / "x.nrrd", Volume(values(), AFFINE))
    head, data = (tmp_path / "x.nrrd").read_bytes().split(b"\n\n", 1)
    (tmp_path / "50%.raw").write_bytes(data)
    (tmp_path / "x.nhdr").write_bytes(head + b"\ndata file: 50%.raw\n\n")
    np.testing.assert_array_equal(read_volume(tmp_path / "x.nhdr").values, values())


@pytest.mark.parametrize("suffix", [".nii.gz", ".mgz", ".nrrd"])
def test_a_flipped_bit_in_packed_values_is_noticed(tmp_path, suffix):
    """Each flip is refused or changes no value, since gzip's header has unused bits."""
    nibabel = pytest.importorskip("nibabel")
    pytest.importorskip("nrrd")
    sound = np.random.default_rng(0).integers(0, 1000, (9, 8, 7)).astype(np.float32)
    path = tmp_path / f"a{suffix}"
    if suffix == ".mgz":
        nibabel.save(nibabel.MGHImage(sound, AFFINE), path)
    else:
        write_volume(path, Volume(sound, AFFINE))
    data = path.read_bytes()
    rng, found = np.random.default_rng(1), 0
    for at in rng.integers(data.index(b"\x1f\x8b"), len(data), 60):
        changed = bytearray(data)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            assert np.array_equal(read_volume(path).values, sound)
        except DdfmError as error:
            found += 1
            assert "\n" not in str(error)
    assert found > 50


@pytest.mark.parametrize(("packed", "plain"), [("v.nii.gz", "v.nii"), ("v.mgz", "v.mgh")])
def test_a_name_that_does_not_fit_the_compression_is_told(tmp_path, packed, plain):
    image = nibabel.Nifti1Image if plain == "v.nii" else nibabel.MGHImage
    nibabel.save(image(np.ones((6, 7, 8), np.float32), np.eye(4)), tmp_path / plain)
    data = (tmp_path / plain).read_bytes()
    (tmp_path / packed).write_bytes(data)
    with pytest.raises(DdfmError, match=f"is not compressed, .* rename it to {plain}$"):
        read_volume(tmp_path / packed)
    (tmp_path / plain).write_bytes(gzip.compress(data))
    with pytest.raises(DdfmError, match=f"is compressed with gzip, .* rename it to {packed}$"):
        read_volume(tmp_path / plain)


def test_gzip_of_several_members_is_read_to_its_end(tmp_path):
    pytest.importorskip("nibabel")
    write_volume(tmp_path / "a.nii", Volume(values(), AFFINE))
    data = (tmp_path / "a.nii").read_bytes()
    parts = b"".join(gzip.compress(data[at : at + 500]) for at in range(0, len(data), 500))
    (tmp_path / "b.nii.gz").write_bytes(parts)
    assert np.array_equal(read_volume(tmp_path / "b.nii.gz").values, values())


def test_a_masked_array_is_refused_as_a_volume():
    hidden = np.ma.masked_less(values(), 5)
    with pytest.raises(DdfmError, match="is a masked array; fill what is masked first"):
        read_volume(hidden)
    with pytest.raises(DdfmError, match="is a masked array"):
        read_volume((hidden, AFFINE))


def test_texts_of_a_header_are_not_taken_over(tmp_path):
    """All text fields, including the bytes after the end of a text."""
    image = nibabel.Nifti1Image(values().astype(np.int16), AFFINE)
    for field in ("data_type", "db_name", "aux_file", "descrip", "intent_name"):
        image.header[field] = b"x\0DOE"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"DOE^JANE"))
    nibabel.save(image, tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes().count(b"DOE") == 6
    source = read_volume(tmp_path / "a.nii")
    write_volume(tmp_path / "b.nii", source)
    data = (tmp_path / "b.nii").read_bytes()[:352]
    assert b"DOE" not in data and data[148:168] == b"ddfm image fusion\0\0\0"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
def test_the_same_volume_is_the_same_file_at_any_time(tmp_path, suffix, monkeypatch):
    pytest.importorskip("nrrd")
    path = tmp_path / f"x{suffix}"
    write_volume(path, Volume(values(), AFFINE))
    before = path.read_bytes()

    class Later(datetime.datetime):
        utcnow = classmethod(lambda cls: cls(2031, 1, 1))

    monkeypatch.setattr("nrrd.writer.datetime", Later)
    monkeypatch.setattr("time.time", lambda: 1.9e9)
    write_volume(path, Volume(values(), AFFINE))
    assert path.read_bytes() == before


def test_messages_of_nibabel_to_others_are_not_suppressed(tmp_path, caplog):
    """Two overlapping readers leave nibabel's logger as it was."""
    logger = logging.getLogger("nibabel.global")
    first, second = explained("first"), explained("second")
    first.__enter__()
    second.__enter__()
    logger.warning("within")
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    logger.warning("after")
    assert [r.message for r in caplog.records if r.name == logger.name] == ["after"]


def test_arrays_that_are_no_volumes_are_refused():
    for wrong, words in [
        (np.zeros((4, 4)), "has 3 dimensions"),
        (np.zeros((4, 4, 4, 7)), r"not the shape \(4, 4, 4, 7\); extract one"),
        (np.zeros((0, 4, 4)), "empty"),
        (np.full((2, 2, 2), np.nan), "NaN or infinite"),
        (np.zeros((2, 2, 2), complex), "a volume cannot have values of type complex128"),
        ((np.zeros((2, 2, 2)), np.zeros((4, 4))), "is invalid"),
        ((np.zeros((2, 2, 2)), np.eye(3)), "4 x 4"),
        (7, "cannot read a volume from int"),
    ]:
        with pytest.raises(DdfmError, match=words):
            read_volume(wrong)


def test_outputs_are_checked_beforehand(tmp_path):
    volume = Volume(np.zeros((2, 2, 2), np.uint16), np.eye(4))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for path, words in [
        (tmp_path / "x.nii.bz2", "unknown output suffix '.bz2'"),
        (tmp_path / "none" / "x.nii", "there is no folder"),
        (tmp_path / "full", "it exists already"),
    ]:
        with pytest.raises(DdfmError, match=words):
            write_volume(path, volume)


@pytest.mark.parametrize("name", [".nii", ".nii.gz", ".NRRD", ".dcm"])
def test_a_suffix_alone_is_no_output(tmp_path, name):
    for check in (check_volume_output, check_map_output, check_planes_output):
        with pytest.raises(DdfmError, match="is a suffix without a name; try x"):
            check(tmp_path / name)
    assert not [*tmp_path.iterdir()]
