"""From files through a whole fusion to a file: all that fusion should not change is preserved.

`test_reading.py`, `test_writing.py` and `tests/volumes` test reading and writing separately.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from ddfm import Fuser, fuse_volumes, read_image, write_image
from ddfm.volumes.files import read_volume

QUICK = {"device": "cpu", "likelihood": "paper", "steps": 3}


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    """A fuser that, given two identical sources, returns the same."""
    return Fuser("gaussian", **QUICK)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_16_bit_ramp_stays_a_ramp(tmp_path, fuser, suffix):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    picture = read_image(ramp)
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}{suffix}", picture.pixels, picture)
    out = tmp_path / f"fused{suffix}"
    fuser(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}").save(out)
    fused = read_image(out)
    assert fused.dtype == np.uint16
    assert np.abs(fused.pixels[..., 0] * 65535 - ramp).max() < 1.5


def test_the_default_likelihood_causes_no_banding_of_a_ramp():
    """It changes contrast and adds a little noise, but no steps of 257, as 8 bits would."""
    ramp = np.tile(np.linspace(20000, 24000, 400).astype(np.uint16), (24, 1))
    fused = Fuser("gaussian", device="cpu", steps=2)(ramp, ramp).image[12, 20:-20].astype(int)
    assert len(np.unique(fused)) > 0.9 * len(fused)
    assert (fused % 257 == 0).mean() < 0.05
    assert np.abs(np.diff(fused)).max() < 257


@pytest.mark.parametrize(
    ("suffix", "depth"), [(".png", np.uint8), (".jpg", np.uint8), (".tif", np.uint16)]
)
def test_size_depth_orientation_and_profile_are_preserved(tmp_path, fuser, suffix, depth):
    """A photograph in portrait format, with a profile, and an upright thermal image."""
    y, x = np.mgrid[:37, :52]
    top = np.iinfo(depth).max
    upright = (np.stack([2 * x, 3 * y, x + y], -1) / 140 * top).astype(depth)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stored = np.rot90(upright)  # Orientation 6 asks for a quarter turn clockwise.
    visible = tmp_path / f"visible{suffix}"
    if depth == np.uint16:
        import tifffile

        extra = [(274, 3, 1, 6, True), (34675, 7, len(profile), profile, True)]
        tifffile.imwrite(visible, stored, photometric="rgb", extratags=extra, metadata=None)
    else:
        exif = Image.Exif()
        exif[274] = 6
        Image.fromarray(stored).save(visible, exif=exif, icc_profile=profile)
    Image.fromarray((4 * y).astype(np.uint8)).save(tmp_path / "thermal.png")
    out = tmp_path / f"fused{suffix}"
    fuser(tmp_path / "thermal.png", visible).save(out)
    fused, source = read_image(out), read_image(visible)
    assert fused.size == (37, 52) and fused.dtype == depth and fused.icc == profile
    with Image.open(out) as image:
        assert image.size == (52, 37)  # as it is stored: nobody has to turn it any more
        assert image.getexif().get(274, 1) == 1
    chroma = [p.pixels[..., 0] - p.pixels[..., 2] for p in (fused, source)]
    assert np.corrcoef(*(c.ravel() for c in chroma))[0, 1] > 0.9  # each at its place


def head(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.integers(0, 90, shape), axis=0).astype(np.int16)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
def test_affine_and_spacing_of_volumes_are_preserved(tmp_path, fuser, suffix):
    nibabel = pytest.importorskip("nibabel")
    pytest.importorskip("nrrd")
    affine = np.array([[0, -1.5, 0.2, 7], [0.9, 0, 0, -8], [0, 0.1, 4, 9], [0, 0, 0, 1.0]])
    image = nibabel.Nifti1Image(head((9, 8, 4)), affine)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "mri.nii.gz")
    nibabel.save(nibabel.Nifti1Image(head((11, 8, 7), 1), affine), tmp_path / "ct.nii.gz")
    out = tmp_path / f"fused{suffix}"
    fuse_volumes(tmp_path / "mri.nii.gz", tmp_path / "ct.nii.gz", fuser).save(out)
    back = read_volume(out)
    np.testing.assert_allclose(back.affine, affine, atol=1e-5)
    np.testing.assert_allclose(back.spacing, np.linalg.norm(affine[:3, :3], axis=0), rtol=1e-5)
    assert back.shape == (9, 8, 4)
    if suffix != ".nrrd":
        written = nibabel.load(out)
        assert written.get_data_dtype() == np.uint16
        assert written.header.get_xyzt_units() == ("mm", "sec")
        np.testing.assert_allclose(written.header.get_zooms(), back.spacing, rtol=1e-5)


def test_a_16_bit_ramp_of_voxels_stays_a_ramp(tmp_path, fuser):
    pytest.importorskip("nibabel")
    ramp = np.arange(4096, dtype=np.float32).reshape(16, 16, 16)
    fusion = fuse_volumes(ramp, ramp, fuser, percentiles=(0, 100), axis=2)
    # Black is the lowest value above background, so the first voxel is black as well.
    expected = np.clip((ramp - 1) / 4094, 0, 1) * 65535
    assert np.abs(fusion.values - expected).max() < 1.5
    fusion.save(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").values, fusion.values)


def test_position_orientation_and_spacing_of_dicom_are_preserved(tmp_path, fuser):
    pydicom = pytest.importorskip("pydicom")
    from dicom_files import dicom_series

    turned = [0.6, 0.8, 0, 0, 0, -1]
    normal = np.cross(turned[:3], turned[3:])
    positions = np.array([7, -8, 9]) + 2.5 * np.arange(4)[:, None] * normal
    more = {"ImageOrientationPatient": turned, "PixelSpacing": [0.5, 0.75]}
    stored = np.moveaxis(head((9, 8, 4)), 2, 0)
    series = [dicom_series(tmp_path / n, stored + k, positions, **more) for k, n in enumerate("ab")]
    fuse_volumes(*series, fuser).save(tmp_path / "fused")
    slices = [pydicom.dcmread(file) for file in sorted((tmp_path / "fused").iterdir())]
    for one, position in zip(slices, positions, strict=True):
        np.testing.assert_allclose(one.ImagePositionPatient, position, atol=1e-6)
        np.testing.assert_allclose(one.ImageOrientationPatient, turned, atol=1e-6)
        np.testing.assert_allclose(one.PixelSpacing, [0.5, 0.75])
        assert one.SpacingBetweenSlices == pytest.approx(2.5)
        assert (one.Rows, one.Columns, one.BitsStored) == (9, 8, 16)
