"""Where results go to: what can be known of a place before any work is done for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ddfm.errors import DdfmError

__all__ = ["check_writable", "keep_sources"]


def keep_sources(outputs: Iterable[object], sources: Iterable[object]) -> None:
    """Raise if one of the outputs is one of the sources, by whatever names, links or paths.

    Args:
        outputs, sources: paths of files or folders; what is no path, or is not there, is passed by.
    """
    taken = {_identity(source): source for source in sources}
    for output in outputs:
        identity = _identity(output)
        if identity is not None and identity in taken:
            source = taken[identity]
            same = "a source itself" if str(output) == str(source) else f"the source {source}"
            raise DdfmError(f"cannot write {output}: it is {same}; name another output")


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Raise unless a file, or a folder, can appear at this path. It tries: nobody else can tell."""
    try:
        if path.is_dir() and not folder:
            raise DdfmError(f"cannot write {path}: it is a folder")
        if not path.parent.is_dir():
            raise DdfmError(f"cannot write {path}: there is no folder {path.parent}")
        tempfile.TemporaryFile(dir=path.parent).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DdfmError(
            f"cannot write {path}: no file can be made in {path.parent} ({reason})"
        ) from None


def _identity(path: object) -> object:
    """What the file system calls a file, whose names may be many; None where there is no file."""
    if not isinstance(path, (str, os.PathLike)):
        return None
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    # Some file systems of networks do not number their files.
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)
