"""Checks of where results go, before any work is done."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ddfm.errors import DdfmError, InputError, StorageError
from ddfm.storage.ours import check_no_source, check_ours, protecting

__all__ = ["check_apart", "check_folder_writable", "check_writable", "keep_sources"]


def keep_sources(outputs: Iterable[object], sources: Iterable[object]) -> None:
    """Raise if an output is also a source, even by another name, link or path.

    Args:
        outputs, sources: paths of files or folders; other objects and missing files are ignored.
    """
    with protecting(*sources):
        for output in outputs:
            check_no_source(output)


def check_apart(
    out: str | os.PathLike[str], *folders: str | os.PathLike[str], deep: bool = False
) -> None:
    """Raise if results in the folder `out` would be read as sources by a later run.

    Args:
        out: the folder for results.
        folders: the folders that sources are read from.
        deep: whether their subfolders are read as well.
    """
    place = Path(out).resolve()
    for folder in folders:
        sources = Path(folder).resolve()
        if place == sources or (deep and sources in place.parents):
            raise InputError(
                f"{out}: sources are read from {folder}, and another run would read the results as "
                "sources; name a separate folder for them"
            )


def check_writable(path: Path, *, folder: bool = False, known: Collection[str] = ()) -> None:
    """Raise unless a file, or a folder, can be made at this path; tries to make one there.

    Args:
        path: the file or folder to make.
        folder: whether it is a folder, which may exist.
        known: as for `check_ours`.
    """
    with _refusing(path, path.parent):
        if path.is_dir() and not folder:
            raise StorageError(f"cannot write {path}: it is a folder")
        if not path.parent.is_dir():
            raise StorageError(f"cannot write {path}: there is no folder {path.parent}")
        if not (folder and path.is_dir()):
            check_ours(path, known)
        tempfile.TemporaryFile(dir=path.parent).close()


def check_folder_writable(folder: Path) -> None:
    """Raise unless files can be made in this folder, which need not exist yet; leaves nothing."""
    there = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), Path())
    with _refusing(folder, there):
        if not there.is_dir():
            raise StorageError(f"cannot write into the folder {folder}: {there} is not a folder")
        tempfile.TemporaryFile(dir=there).close()


@contextmanager
def _refusing(path: Path, folder: Path) -> Iterator[None]:
    """Explains that a path cannot be written because no file can be made in its folder."""
    try:
        yield
    except DdfmError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            f"cannot write {path}: no file can be made in {folder} ({reason})"
        ) from None
