"""A few hundred damaged files; `benchmarks/fuzz_files.py` makes them by the thousand."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its limits are those of Linux")

sys.path.insert(0, str(FOLDER))  # its worker processes look for it there as well
if sys.platform == "linux":
    fuzz_files = importlib.import_module("fuzz_files")


def test_the_originals_are_sound(tmp_path):
    originals = fuzz_files.originals()
    assert {one.suffix for one in originals} >= {".png", ".tif", ".jpg", ".webp", ".bmp", ".jp2"}
    for one in originals:
        path = tmp_path / f"a{one.suffix}"
        path.write_bytes(one.data)
        assert fuzz_files.outcome(one, path) == "picture", one.name


def test_damaged_files_end_in_a_picture_or_one_error():
    report = fuzz_files.fuzz(seed=0, cases=300)
    assert report.failures == {}
    assert report.cases == 300
    assert report.outcomes["picture"] > 20 and report.outcomes["refused"] > 100


def test_the_fuzzer_notices(tmp_path):
    def read(path: Path) -> None:
        raise ValueError("a bug")

    bad = fuzz_files.Original("bad", ".png", b"123", read)
    assert "ValueError: a bug" in fuzz_files.outcome(bad, tmp_path / "a.png")
