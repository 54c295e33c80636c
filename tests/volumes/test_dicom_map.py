"""The uncertainty of a volume as a DICOM parametric map, read back by pydicom and by ddfm."""

from __future__ import annotations

import numpy as np
import pytest

from command_line import FAST, ddfm_run, refused
from ddfm.volumes.files import read_volume

pydicom = pytest.importorskip("pydicom")
from dicom_files import PRIVATE, dicom_series  # noqa: E402

STEP = np.array([0.0, 0.5, 2.0])  # slices that lie obliquely above one another
CLASS = "1.2.840.10008.5.1.4.1.1.30"  # Parametric Map Storage, PS3.6


@pytest.fixture
def exam(tmp_path):
    folders = [tmp_path / name for name in ("mri", "pet")]
    for seed, folder in enumerate(folders):
        values = np.random.default_rng(seed).integers(1, 900, (3, 14, 12), np.uint16)
        dicom_series(folder, values, np.arange(3)[:, None] * STEP, **PRIVATE)
    return folders


def test_it_has_the_position_of_the_series(tmp_path, exam):
    out, std, nifti = (tmp_path / name for name in ("out", "std.dcm", "std.nii"))
    line = ["volume", *exam, "-o", out, *FAST, "-q", "--samples", 3, "--uncertainty"]
    assert ddfm_run(*line, std).exit_code == 0
    assert ddfm_run(*line, nifti).exit_code == 0
    pytest.importorskip("nibabel")
    found, known, fused = (read_volume(path) for path in (std, nifti, out))
    np.testing.assert_allclose(found.affine, fused.affine, atol=1e-4)
    np.testing.assert_allclose(found.affine, known.affine, atol=1e-4)
    assert np.array_equal(found.values, known.values) and found.values.max() > 0
    head = pydicom.dcmread(std)
    assert (head.SOPClassUID, head.NumberOfFrames, head.BitsAllocated) == (CLASS, 3, 32)
    assert head.pixel_array.dtype == np.float32 and "PixelData" not in head
    assert not any(str(name) in str(head) for name in PRIVATE.values() if len(name) > 4)
    assert "SourceImageSequence" not in str(head)
    mapping = head.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    (window,) = head.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    exact = window.get("VOILUTFunction") == "LINEAR_EXACT"
    assert window.WindowWidth >= 1 or exact  # PS3.3 C.11.2.1.2


def test_with_identity_each_frame_refers_to_its_sources(tmp_path, exam):
    out, std = tmp_path / "out", tmp_path / "std.dcm"
    line = ["volume", *exam, "-o", out, *FAST, "-q", "--samples", 2, "--keep-identity"]
    assert ddfm_run(*line, "--uncertainty", std).exit_code == 0
    source = pydicom.dcmread(sorted(exam[0].iterdir())[1])
    head, beside = pydicom.dcmread(std), pydicom.dcmread(sorted(out.iterdir())[1])
    for name in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert head[name].value == beside[name].value
    assert head.SeriesInstanceUID != beside.SeriesInstanceUID
    derived = head.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0]
    referred = {item.ReferencedSOPInstanceUID for item in derived.SourceImageSequence}
    assert source.SOPInstanceUID in referred and len(referred) == 2


def test_a_map_must_be_one_file(tmp_path, exam):
    line = ["volume", *exam, "-o", tmp_path / "out", *FAST, "--uncertainty"]
    refused(ddfm_run(*line, tmp_path / "folder"), "a map is one file")
    refused(ddfm_run("volume", *exam, "-o", tmp_path / "a.dcm", *FAST), "unknown output suffix")
