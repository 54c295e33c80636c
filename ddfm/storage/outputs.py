"""Where results go: what can be known of a place before any work is done for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from ddfm.errors import DdfmError, InputError, StorageError
from ddfm.storage.ours import check_no_source, check_ours, protecting

__all__ = ["check_apart", "check_writable", "keep_sources"]


def keep_sources(outputs: Iterable[object], sources: Iterable[object]) -> None:
    """Raise if one of the outputs is one of the sources, by whatever names, links or paths.

    Args:
        outputs, sources: paths of files or folders; what is no path, or not there, is ignored.
    """
    with protecting(*sources):
        for output in outputs:
            check_no_source(output)


def check_apart(
    out: str | os.PathLike[str], *folders: str | os.PathLike[str], deep: bool = False
) -> None:
    """Raise if results in the folder `out` would be sources of a later run.

    Args:
        folders: from which sources are read.
        deep: whether those in their subfolders are read as well.
    """
    place = Path(out).resolve()
    for folder in folders:
        sources = Path(folder).resolve()
        if place == sources or (deep and sources in place.parents):
            raise InputError(
                f"{out}: sources are read from {folder}, and another run would take these results "
                "for sources; name a folder of their own"
            )


def check_writable(path: Path, *, folder: bool = False, known: Collection[str] = ()) -> None:
    """Raise unless a file, or a folder, can be made at this path, which is tried.

    Args:
        known: as for `check_ours`.
    """
    try:
        if path.is_dir() and not folder:
            raise StorageError(f"cannot write {path}: it is a folder")
        if not path.parent.is_dir():
            raise StorageError(f"cannot write {path}: there is no folder {path.parent}")
        if not (folder and path.is_dir()):
            check_ours(path, known)
        tempfile.TemporaryFile(dir=path.parent).close()
    except DdfmError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            f"cannot write {path}: no file can be made in {path.parent} ({reason})"
        ) from None
