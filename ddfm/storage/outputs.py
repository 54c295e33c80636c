"""Where results go to: what can be known of a place before any work is done for it."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from ddfm.errors import DdfmError, StorageError
from ddfm.storage.ours import check_no_source, check_ours, protecting

__all__ = ["check_writable", "keep_sources"]


def keep_sources(outputs: Iterable[object], sources: Iterable[object]) -> None:
    """Raise if one of the outputs is one of the sources, by whatever names, links or paths.

    Args:
        outputs, sources: paths of files or folders; what is no path, or is not there, is passed by.
    """
    with protecting(*sources):
        for output in outputs:
            check_no_source(output)


def check_writable(path: Path, *, folder: bool = False, known: Collection[str] = ()) -> None:
    """Raise unless a file, or a folder, may appear at this path. It tries: nobody else can tell.

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
