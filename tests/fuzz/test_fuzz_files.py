"""A few hundred damaged files; `fuzz_files.py` makes them by the thousand."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from places import ROOT

FOLDER = ROOT / "tests" / "fuzz"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its limits are those of Linux")

sys.path.insert(0, str(FOLDER))  # its worker processes look for it there as well
if sys.platform == "linux":
    fuzz_files = importlib.import_module("fuzz_files")


def test_the_originals_are_valid(tmp_path):
    originals = fuzz_files.originals()
    assert {one.suffix for one in originals} >= {".png", ".tif", ".jpg", ".webp", ".bmp", ".jp2"}
    for one in originals:
        path = one.write(tmp_path)
        assert fuzz_files.outcome(one, path) == "result", one.name


@pytest.mark.parametrize(
    ("library", "suffixes"),
    [("nibabel", {".nii", ".nii.gz"}), ("nrrd", {".nrrd"}), ("pydicom", {".dcm", ".series"})],
)
def test_volumes_are_among_them(library, suffixes):
    pytest.importorskip(library)
    assert suffixes <= {one.suffix for one in fuzz_files.originals()}


def test_damaged_files_end_in_a_result_or_one_error():
    report = fuzz_files.fuzz(seed=0, cases=500)
    assert report.failures == {}
    assert report.cases == 500
    assert report.outcomes["result"] > 20 and report.outcomes["refused"] > 100


def test_the_fuzzer_notices_failures(tmp_path):
    def read(path: Path) -> None:
        raise ValueError("a bug")

    bad = fuzz_files.Original("bad", ".png", b"123", read)
    assert "ValueError: a bug" in fuzz_files.outcome(bad, tmp_path / "a.png")
