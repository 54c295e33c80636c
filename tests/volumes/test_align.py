"""A volume whose header is wrong: a warning, or a correction."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from command_line import FAST, ddfm_run
from ddfm.errors import DdfmError, DdfmWarning
from ddfm.registration.space_files import read_space_transform
from ddfm.volumes.align import aligned, placed
from ddfm.volumes.files import write_volume
from ddfm.volumes.volume import Volume

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])


@pytest.fixture(scope="module")
def pair():
    """Two contrasts of one object, the second with a header that is off by 20 mm."""
    field = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((30, 28, 24)), 3)
    z = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in field.shape), indexing="ij"))
    labels = ((field > 0) + 2 * (field > field.std()) + 1) * ((z**2).sum(0) < 0.8)
    wrong = AFFINE.copy()
    wrong[:3, 3] = (12.0, -16.0, 0.0)
    first = Volume(np.choose(labels, [0.0, 60, 100, 30, 80]), AFFINE, "A")
    return first, Volume(np.choose(labels, [0.0, 90, 20, 70, 50]), wrong, "B")


def test_a_wrong_header_causes_a_warning(pair):
    first, second = pair
    with pytest.warns(DdfmWarning, match=r"B seems to be 20 mm off A .*--align rigid"):
        left, about = aligned(second, first)
    assert left is second and not about["applied"]


def test_frames_of_reference_that_differ_are_told_unless_the_images_agree(pair, recwarn):
    """DICOM PS3.3, C.7.4.1: only positions of one frame of reference belong together."""
    dataset = pytest.importorskip("pydicom").dataset.Dataset

    def of(volume, number):
        header = dataset()
        header.FrameOfReferenceUID = f"1.2.{number}"
        return replace(volume, source=header)

    first, second = pair
    noise = replace(first, values=np.random.default_rng(1).standard_normal(first.shape), name="C")
    with pytest.warns(DdfmWarning, match="C and A have different frames of reference"):
        aligned(of(noise, 2), of(first, 1))
    recwarn.clear()
    aligned(of(noise, 1), of(first, 1))
    aligned(noise, of(first, 1))
    aligned(of(replace(second, affine=AFFINE), 2), of(first, 1))  # in place, by its levels
    assert [str(one.message) for one in recwarn] == []


def test_a_wrong_header_is_corrected_without_changing_voxels(pair):
    first, second = pair
    right, about = aligned(second, first, "rigid")
    assert about["applied"] and np.abs(right.affine - AFFINE).max() < 1.0
    assert right.values is second.values


def test_the_command_tells_how_far_a_volume_was_off(pair, tmp_path):
    files = [tmp_path / f"{volume.name}.nii.gz" for volume in pair]
    for volume, file in zip(pair, files, strict=True):
        write_volume(file, replace(volume, values=volume.values.astype(np.float32)))
    result = ddfm_run("volume", *files, "-o", tmp_path / "f.nii", *FAST, "--align", "rigid")
    assert result.exit_code == 0
    line = next(line for line in result.stderr.splitlines() if "aligned to" in line)
    start, off = line.removesuffix(" mm").rsplit(" ", 1)
    assert start == f"{files[1]}: aligned to {files[0]}; it was off by"
    assert float(off) == pytest.approx(20, abs=1)


def test_a_transform_that_was_not_applied_is_not_saved(pair, tmp_path):
    noise = np.random.default_rng(1).standard_normal(pair[1].shape)
    files = [tmp_path / f"{volume.name}.nii.gz" for volume in pair]
    for file, values in zip(files, (pair[0].values, noise), strict=True):
        write_volume(file, replace(pair[0], values=values.astype(np.float32)))
    saved = tmp_path / "t.tfm"
    out = ["-o", tmp_path / "f.nii", "--align", "rigid", "--save-transform", saved]
    result = ddfm_run("volume", *files, *out, *FAST)
    assert result.exit_code == 0 and "could not be aligned" in result.stderr
    np.testing.assert_array_equal(read_space_transform(saved), np.eye(4))


def test_an_unknown_way_to_align_is_refused(pair):
    with pytest.raises(DdfmError, match="similarity"):
        aligned(pair[1], pair[0], "similarity")


def test_a_given_motion_is_used(pair):
    """12 mm to the right and 16 back, from the first volume to the second's stated position."""
    first, second = pair
    motion = np.eye(4)
    motion[:3, 3] = (12.0, -16.0, 0.0)
    right, about = placed(second, first, motion)
    assert np.allclose(right.affine, AFFINE) and about["applied"] and about["off"] == 20


def test_a_motion_of_the_wrong_direction_causes_a_warning(pair, recwarn):
    first, second = pair
    motion = np.eye(4)
    motion[:3, 3] = (12.0, -16.0, 0.0)
    placed(second, first, motion)
    assert not recwarn.list
    with pytest.warns(DdfmWarning, match=r"B seems to be (39|40|41) mm off A .* not the inverse"):
        wrong, about = placed(second, first, np.linalg.inv(motion))
    assert about["applied"] and np.allclose(wrong.affine[:3, 3], (24, -32, 0))  # used as it is
    motion[:3, 3] *= 30
    with pytest.raises(DdfmError, match=r"B and A do not overlap where the transform .* inverse\?"):
        placed(second, first, motion)


def test_volumes_that_do_not_overlap_are_refused_with_advice_that_works(pair):
    first, second = pair
    header = second.affine.copy()
    header[:3, 3] += (0.0, 700.0, 0.0)
    far = replace(second, affine=header)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DdfmError, match=r"B and A do not overlap .*\(--align rigid\)"):
            aligned(far, first)
        right, about = aligned(far, first, "rigid")
    assert about["applied"] and np.abs(right.affine - AFFINE).max() < 1.0
    noise = np.random.default_rng(1).standard_normal(second.shape)
    with pytest.raises(DdfmError, match="do not overlap .* could not be aligned reliably"):
        aligned(replace(far, values=noise), first, "rigid")
