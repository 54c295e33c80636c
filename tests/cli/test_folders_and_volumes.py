"""The commands for many images at once: folders, FLIR files, volumes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddfm
from command_line import FAST, ddfm_run, refused
from flir_files import camera, container, flir_jpeg, kelvin_to_raw, sized
from image_files import folders_of_noise


@pytest.fixture
def folders(tmp_path) -> tuple[Path, ...]:
    return folders_of_noise(tmp_path, ["x_{}", "y_{}"])


def test_folders_are_fused(tmp_path, folders):
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 0 and "2 fused in" in result.stderr and result.stdout == ""
    with Image.open(tmp_path / "out" / "x.png") as image:
        assert image.size == (10, 12)
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 0 and "2 skipped in" in result.stderr
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", *FAST, "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_a_dry_run_prints_the_pairs_and_writes_nothing(tmp_path, folders, monkeypatch):
    monkeypatch.setattr("ddfm.fuser.load_prior", lambda *a: pytest.fail("weights were read"))
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0 and result.stdout.splitlines()[-1] == "2 pairs"
    assert f"x: {folders[0] / 'x_ir.png'} + {folders[1] / 'x_vis.png'}" in result.stdout
    three = (*folders, shutil.copytree(folders[1], tmp_path / "third"))
    result = ddfm_run("fuse", *three, "-o", tmp_path / "out", "--dry-run", "--likelihood", "paper")
    refused(result, "the likelihood paper needs two sources, not 3")
    result = ddfm_run("fuse", *three, "-o", tmp_path / "out", "--dry-run", "--method", "dmfuse")
    refused(result, "dmfuse fuses two images, infrared and visible, not 3")
    for option, word in (("--likelihood", "likelihood"), ("--method", "method")):
        result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", "--dry-run", option, "foo")
        refused(result, f"unknown {word} 'foo'")
    assert not (tmp_path / "out").exists()


def test_exit_code_1_says_that_some_pairs_failed(tmp_path, folders):
    (folders[0] / "x_ir.png").write_bytes(b"no picture")
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", *FAST, "--quiet")
    assert result.exit_code == 1 and result.stdout == ""
    assert "x_ir.png is not an image" in result.stderr and "1 fused, 1 failed" in result.stderr


def test_formats_and_patterns_of_folders(tmp_path, folders):
    pattern = "{}_ir.png:{}_vis.png"
    out = tmp_path / "out"
    result = ddfm_run("fuse", *folders, "-o", out, *FAST, "--pattern", pattern, "--format", "tif")
    assert result.exit_code == 0 and (out / "y.tif").exists()
    refused(ddfm_run("fuse", *folders, "-o", out, *FAST, "--pattern", "x"), "one {} in each")


def test_a_file_without_a_partner_is_reported_but_not_a_failure(tmp_path, folders):
    (folders[0] / "z_ir.png").touch()
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 0 and "unpaired: " in result.stderr and "z_ir.png" in result.stderr


def test_a_format_that_cannot_be_written_is_refused_before_any_work(tmp_path, folders, monkeypatch):
    monkeypatch.setattr("ddfm.fuser.Fuser.__init__", lambda *a, **k: pytest.fail("it worked"))
    for more in ((), ("--dry-run",)):
        result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", "--format", "gif", *more)
        refused(result, "unknown output suffix '.gif'")
    with pytest.raises(ddfm.DdfmError, match=r"suffix '\.x/y\.png'"):
        ddfm.fuse_folders(*folders, tmp_path / "out", suffix="x/y.png", dry_run=True)
    assert not (tmp_path / "out").exists()


def test_options_of_folders_are_refused_for_files(tmp_path, folders):
    a, b = folders[0] / "x_ir.png", folders[1] / "x_vis.png"
    out = tmp_path / "out"
    refused(ddfm_run("fuse", a, b, "-o", out / "x.png", "--dry-run"), "--dry-run is for folders")
    refused(ddfm_run("fuse", *folders, "-o", out, "--save-steps", out), "not for folders")
    refused(ddfm_run("fuse", folders[0], b, "-o", tmp_path / "x.png"), "is a folder, not an image")


@pytest.fixture
def flir(tmp_path) -> Path:
    """A folder with two radiometric files, 16 x 12 temperatures from 10 to 50 degrees."""
    pytest.importorskip("flyr")
    folder = tmp_path / "flir"
    folder.mkdir()
    for k in range(2):
        rng = np.random.default_rng(k)
        raw = np.rint(kelvin_to_raw(rng.uniform(283, 323, (12, 16)))).astype(np.uint16)
        photograph = rng.integers(0, 256, (24, 32, 3), np.uint8)
        (folder / f"FLIR_{k}.jpg").write_bytes(flir_jpeg(raw, photograph))
    Image.new("L", (16, 12)).save(folder / "other.jpg")
    return folder


def test_a_flir_file_holds_both_images(tmp_path, flir):
    out, file = tmp_path / "out.png", flir / "FLIR_0.jpg"

    def fused(*options: object) -> np.ndarray:
        result = ddfm_run("fuse", file, "-o", out, *FAST, *options)
        assert (result.exit_code, result.output) == (0, "")
        return ddfm.read_image(out).pixels

    plain = fused()
    settings = {"likelihood": "paper", "steps": 2, "device": "cpu"}
    expected = ddfm.fuse(*ddfm.read_flir(file), prior="gaussian", **settings)
    assert plain.shape == (24, 32, 3)  # the photograph's size and colours
    np.testing.assert_allclose(plain, expected.picture.pixels, atol=1 / 65535)
    assert (fused("--percentiles", 1, 99) == plain).all()
    for options in (("--celsius", 20, 30), ("--percentiles", 30, 60)):
        assert np.abs(fused(*options) - plain).max() > 0.05
    assert fused("--grid", "thermal").shape == (12, 16, 3)


def test_a_range_beyond_all_values_is_reported(tmp_path, flir):
    def printed(*sources: object) -> str:
        result = ddfm_run("fuse", *sources, "-o", tmp_path / "out.png", *FAST)
        assert result.exit_code == 0
        return result.stderr

    file, deep = flir / "FLIR_0.jpg", tmp_path / "deep.png"
    black = "below the range 60 to 70 °C, so it is fused as black; choose another range (--celsius)"
    assert printed(file, "--celsius", 60, 70).endswith(f"all of its values are {black}\n")
    assert "above the range -9 to -8 °C" in printed(file, "--celsius", -9, -8)
    Image.fromarray(np.full((12, 16), 900, np.uint16)).save(deep)
    with_range = printed(deep, flir / "other.jpg", "--range-a", 0, 650)
    assert "deep.png: all of its values are above the range 0 to 650, so it is" in with_range


def test_a_file_without_a_photograph_is_not_a_pair(tmp_path, flir):
    """A bare container of temperatures, and a JPEG: reported by the dry run and by the run."""
    raw = np.full((12, 16), 14000, np.uint16)
    bare = container([(32, camera()), (1, sized(raw, raw.astype("<u2").tobytes()))])
    (flir / "bare.fff").write_bytes(bare)
    damaged = bytearray((flir / "FLIR_1.jpg").read_bytes())
    damaged[damaged.index(b"FFF\0") + 31] = 0  # records, it says
    (flir / "damaged.jpg").write_bytes(damaged)
    (flir / "thermal.jpg").write_bytes(flir_jpeg(raw, None))
    planned = ddfm_run("fuse", flir, "-o", tmp_path / "out", "--dry-run")
    names = f"{flir / 'bare.fff'}, {flir / 'thermal.jpg'}"
    assert (
        f"left out, no photograph in it; put the photographs into a second folder: {names}\n"
        in (planned.stdout)
    )
    assert "3 pairs, 3 files left out\n" in planned.stdout  # the damaged one fails when it is read
    for name, has, other in (("FLIR_0", "with", ""), ("thermal", "without", " PHOTOGRAPH")):
        told = ddfm_run("info", flir / f"{name}.jpg").stdout
        assert f"radiometric file of FLIR, {has} a photograph\n" in told
        assert f"  fuse      ddfm fuse {flir / name}.jpg{other} -o OUT\n" in told
    for name in ("FLIR_0", "FLIR_1", "damaged"):
        (flir / f"{name}.jpg").unlink()
    refused(ddfm_run("fuse", flir, "-o", tmp_path / "out"), "a photograph next to its temperatures")
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    Image.new("L", (16, 12)).save(photographs / "bare.png")
    planned = ddfm_run("fuse", flir, photographs, "-o", tmp_path / "out", "--dry-run")
    assert f"bare: {flir / 'bare.fff'} + {photographs / 'bare.png'}\n" in planned.stdout


@pytest.mark.parametrize("part", [0, 0.1, 0.6, 0.9])
def test_a_truncated_flir_file_fails_and_is_not_left_out(tmp_path, flir, part):
    whole = (flir / "FLIR_1.jpg").read_bytes()
    (flir / "FLIR_1.jpg").write_bytes(whole[: int(part * len(whole))])
    done = ddfm_run("fuse", flir, "-o", tmp_path / "out", *FAST)
    assert done.exit_code == 1 and "1 fused, 1 failed, 1 file left out" in done.stderr
    failed = (tmp_path / "out" / "ddfm-failed.jsonl").read_text()
    assert any(f"FLIR_1.jpg is {what}" in failed for what in ("cut off", "truncated", "empty"))


def test_a_link_to_nothing_fails_and_is_not_left_out(tmp_path, flir):
    """As where the links of a data set lead to a disk that is not mounted."""
    (flir / "gone.jpg").symlink_to(tmp_path / "unmounted" / "gone.jpg")
    done = ddfm_run("fuse", flir, "-o", tmp_path / "out", *FAST)
    assert done.exit_code == 1 and "2 fused, 1 failed, 1 file left out" in done.stderr
    assert f"gone.png: failed: cannot read {flir / 'gone.jpg'}: " in done.stderr


def test_a_folder_of_flir_files_is_fused(tmp_path, flir):
    out = tmp_path / "out"
    planned = ddfm_run("fuse", flir, "-o", out, "--dry-run")
    assert f"FLIR_1: {flir / 'FLIR_1.jpg'}\n" in planned.stdout and not out.exists()
    assert "other.jpg" in planned.stdout and "2 pairs, 1 file left out\n" in planned.stdout
    for options, words in (
        ((), "2 fused"),
        ((), "2 skipped"),
        (("--celsius", 20, 40), "2 fused"),  # the range is among what a result depends on
        (("--celsius", 20, 40), "2 skipped"),
    ):
        result = ddfm_run("fuse", flir, "-o", out, *FAST, *options)
        assert result.exit_code == 0 and words in result.stderr, result.stderr
    alone = ddfm_run("fuse", flir / "FLIR_1.jpg", "-o", tmp_path / "x.png", *FAST, *options)
    assert alone.exit_code == 0
    assert (tmp_path / "x.png").read_bytes() == (out / "FLIR_1.png").read_bytes()


def test_files_of_folders_are_read_as_single_images_are(tmp_path, flir):
    """Temperatures, not their rendering, with photographs; and specified levels."""
    photos, rng = tmp_path / "photos", np.random.default_rng(1)
    photos.mkdir()
    for k in range(2):
        Image.fromarray(rng.integers(0, 256, (12, 16), np.uint8)).save(photos / f"FLIR_{k}.png")
    for k, options in enumerate(((), ("--celsius", 20, 40), ("--range-b", 0, 100))):
        out, alone = tmp_path / f"out{k}", tmp_path / f"alone{k}.png"
        result = ddfm_run("fuse", flir, photos, "-o", out, *FAST, *options)
        assert result.exit_code == 0 and "2 fused" in result.stderr, result.stderr
        ddfm_run("fuse", flir / "FLIR_1.jpg", photos / "FLIR_1.png", "-o", alone, *FAST, *options)
        assert (out / "FLIR_1.png").read_bytes() == alone.read_bytes()
    assert len({(tmp_path / f"alone{k}.png").read_bytes() for k in range(3)}) == 3
    result = ddfm_run("fuse", photos, photos, "-o", tmp_path / "none", "--pattern", "{}.png:{}.png")
    refused(result, "a pair with itself")


def test_a_single_image_of_no_flir_camera_is_refused(tmp_path, flir):
    out = tmp_path / "out.png"
    other, file = flir / "other.jpg", flir / "FLIR_0.jpg"
    refused(ddfm_run("fuse", other, "-o", out), "other.jpg", "it is one image; pass two")
    refused(ddfm_run("fuse", tmp_path / "none.jpg", "-o", out), "there is no such file")
    two = ("fuse", other, other, "-o", out)
    refused(ddfm_run(*two, "--celsius", 1, 2), "none is a radiometric file")
    refused(
        ddfm_run("fuse", file, other, "-o", out, "--grid", "thermal"),
        "a single radiometric file",
    )
    refused(ddfm_run("fuse", file, "-o", out, "--celsius", 2, 1), "in degrees Celsius, LOW < HIGH")
    both = ("--celsius", 1, 2, "--percentiles", 1, 99)
    refused(ddfm_run("fuse", file, "-o", out, *both), "both choose the range; give one")
    refused(ddfm_run("fuse", file, "-o", out, "--grid", "thermall"), "did you mean thermal")
    refused(ddfm_run("fuse", file, "-o", out, "--pattern", "x"), "is for folders")
    folder = tmp_path / "empty"
    folder.mkdir()
    for where in (folder, flir):
        refused(ddfm_run("fuse", where, "-o", where), "sources are read from")
    refused(ddfm_run("fuse", folder, "-o", tmp_path / "x"), "no file of", "{}_T.JPG:{}_V.JPG")
    refused(ddfm_run("fuse", flir, "-o", tmp_path / "x", "--pattern", "x"), "for two folders")
    refused(ddfm_run("fuse", flir, "-o", tmp_path / "x", "--grid", "thermall"), "did you mean")
    assert not out.exists() and not (tmp_path / "x").exists()


@pytest.fixture
def volumes(tmp_path) -> tuple[Path, Path]:
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(0)
    for name, affine in (("mri", np.diag([1.0, 1, 4, 1])), ("ct", np.diag([2.0, 2, 2, 1]))):
        values = rng.integers(-1000 if name == "ct" else 0, 2000, (8, 9, 5)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / f"{name}.nii.gz")
    return tmp_path / "mri.nii.gz", tmp_path / "ct.nii.gz"


def test_volumes_are_fused(tmp_path, volumes):
    import nibabel

    out, look = tmp_path / "fused.nii.gz", tmp_path / "look.png"
    result = ddfm_run("volume", *volumes, "-o", out, *FAST, "--montage", look, "-q")
    assert (result.exit_code, result.output) == (0, "")
    image = nibabel.load(out)
    assert image.shape == (8, 9, 5) and np.asarray(image.dataobj).max() > 1000
    np.testing.assert_allclose(image.affine, np.diag([1, 1, 4, 1]))
    with Image.open(look) as image:
        assert image.width == 5 * (8 + 2)
    ddfm_run("volume", *volumes, "-o", out, *FAST, "--montage", look, "--axis", "sagittal", "-q")
    with Image.open(look) as image:
        assert image.width == 8 * (9 + 2)  # eight slices, from the front to the back


def test_options_of_volumes_are_applied(tmp_path, volumes):
    def values(*options):
        out = tmp_path / "x.nrrd"
        result = ddfm_run("volume", *volumes, "-o", out, *FAST, *options)
        assert result.exit_code == 0, result.stderr
        return nrrd.read(str(out))[0]

    nrrd = pytest.importorskip("nrrd")
    plain = values()
    assert (values("--task", "medical") == plain).all()
    for options in (
        ("--window-b", "bone"),
        ("--window-a", "900/100"),
        ("--percentiles", "20", "60"),
        ("--axis", "coronal"),
        ("--seed", "1"),
    ):
        assert (values(*options) != plain).any(), options
    assert values("--colormap-b", "ice").shape == (3, 8, 9, 5)


def test_volumes_are_read_from_and_written_to_dicom(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from dicom_files import dicom_series

    exam = tmp_path / "exam"
    planes = np.random.default_rng(0).integers(0, 900, (3, 6, 7), np.int16)
    for number in (3, 7):
        dicom_series(exam / str(number), planes, SeriesNumber=number, PatientName="Doe^Jane")
    refused(ddfm_run("volume", exam, exam, "-o", tmp_path / "out", *FAST), "--series-a")
    both = "volume", exam / "3", exam / "7", *FAST
    for line in (
        ["-o", exam / "7" / "out"],
        ["-o", exam / "3" / "out.nii"],
        ["-o", tmp_path / "out", "--montage", exam / "3" / "look.png"],
    ):
        refused(ddfm_run(*both, *line), "sources are read from", "name a separate folder")
    for name, options in (("one", []), ("two", ["--keep-identity"])):
        series = ["--series-a", 3, "--series-b", 7, *options]
        result = ddfm_run("volume", exam, exam, "-o", tmp_path / name, *FAST, *series)
        assert result.exit_code == 0, result.stderr
    names = [pydicom.dcmread(tmp_path / n / "0002.dcm").PatientName for n in ("one", "two")]
    assert names == ["Anonymous", "Doe^Jane"]
    in_nifti = ddfm_run(*both, "-o", tmp_path / "out.nii", "--keep-identity")
    refused(in_nifti, "--keep-identity is for DICOM, which")


def test_bad_volumes_are_refused(tmp_path, volumes):
    mri, _ = volumes
    run = ["volume", *volumes, *FAST, "-o"]
    (tmp_path / "x.png").write_bytes(b"x")
    refused(ddfm_run(*run, tmp_path / "x.png"), "unknown output suffix '.png'")
    refused(ddfm_run(*run, tmp_path / "no" / "x.nii"), "there is no folder")
    refused(ddfm_run(*run, tmp_path / "x.nii", "--window-b", "bon"), "did you mean bone")
    refused(ddfm_run(*run, tmp_path / "x.nii", "--colormap-b", "hott"), "did you mean hot")
    refused(ddfm_run(*run, tmp_path / "x.nii", "--axis", "3"), "unknown axis '3'")
    refused(ddfm_run(*run, tmp_path / "x.nii", "--series-b", "3"), "--series-b is for DICOM")
    grid = ddfm_run(*run, tmp_path / "x.nii", "--resize", "b")  # the grid is that of A, always
    refused(grid, "No such option")
    refused(ddfm_run("volume", mri, tmp_path / "x.png", "-o", tmp_path / "x.nii"), "not a DICOM")
    refused(ddfm_run("volume", mri, tmp_path / "none", "-o", tmp_path / "x.nii"), "no such file")
