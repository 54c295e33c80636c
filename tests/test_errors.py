"""Errors that a caller can catch: one class for all, and the usual ones of Python."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import ddfm
from ddfm import errors
from ddfm.errors import missing_extra, quoted


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        (ddfm.InputError, ValueError),
        (ddfm.StorageError, OSError),
        (ddfm.DownloadError, OSError),
        (ddfm.MissingExtra, ImportError),
    ],
)
def test_errors_have_the_usual_classes_of_python(kind, also):
    assert issubclass(kind, ddfm.DdfmError) and issubclass(kind, also)
    assert issubclass(kind, ddfm.HostError) == (also is not ValueError)


def test_errors_are_raised_with_the_right_class(tmp_path):
    with pytest.raises(ValueError, match="unknown likelihood"):
        ddfm.Fuser("gaussian", likelihood="papr")
    with pytest.raises(OSError, match=r"cannot read .*nowhere.png: there is no such file$"):
        ddfm.read_image(tmp_path / "nowhere.png")
    (tmp_path / "mine.png").write_bytes(b"mine")
    picture = ddfm.read_image(np.zeros((4, 4), np.uint8))
    with pytest.raises(OSError, match="mine.png: it exists already"):
        ddfm.write_image(tmp_path / "mine.png", picture.pixels, picture)
    with pytest.raises(ValueError, match="is not an image"):
        ddfm.read_image(tmp_path / "mine.png")


def test_errors_can_be_pickled():
    """Otherwise a pool of processes in which one is raised waits forever."""
    for error in (
        ddfm.StorageError("cannot write x"),
        ddfm.InputError("no"),
        ddfm.DownloadError(""),
        missing_extra("av", "video", "a video", ModuleNotFoundError()),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


def test_a_library_that_is_installed_but_broken_is_not_called_missing():
    absent = missing_extra("av", "video", "a video", ModuleNotFoundError("No module named 'av'"))
    assert str(absent) == "a video needs the package av: pip install 'ddfm[video]'"
    broken = missing_extra("av", "video", "a video", ImportError("DLL load failed"))
    assert "installed but cannot be imported (DLL load failed): pip install -" in str(broken)


def test_a_warning_names_the_line_of_the_caller():
    counts = np.linspace(0, 250, 256).reshape(16, 16)
    with pytest.warns(ddfm.DdfmWarning, match="uint8") as seen:
        ddfm.fuse(counts, counts)
    assert {one.filename for one in seen} == {__file__}


def test_hints_can_be_typed_into_the_shells_of_windows(monkeypatch):
    assert quoted("my photo.png") == "'my photo.png'"
    monkeypatch.setattr(errors, "_WINDOWS", True)
    assert quoted(r"C:\warm\a.png") == r"C:\warm\a.png"
    assert quoted(r"C:\my photos\a&b.png") == r'"C:\my photos\a&b.png"'
    absent = missing_extra("av", "video", "a video", ModuleNotFoundError())
    assert str(absent).endswith('pip install "ddfm[video]"')
