"""The rule of all writers: what is a source, or was not written by ddfm, is never written over.

A file is known as ours by a mark inside it, where its format has a place for one: the software of a
picture, the description of a volume, the comment of a film, a key of JSON. The mark is the same in
all files and in all runs. What has no such place (BMP), and what others have made, is replaced only
`overwriting`; and a source not even then, whatever it is called, by whatever link it is reached.
"""

from __future__ import annotations

import os
import stat
import threading
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from ddfm.errors import StorageError
from ddfm.storage.checksum import sha256_of

__all__ = [
    "JSON_MARK",
    "MARK",
    "being_written",
    "check_folder",
    "check_no_source",
    "check_ours",
    "may_overwrite",
    "overwriting",
    "protecting",
]

MARK = "ddfm image fusion"
JSON_MARK = {"software": MARK}
# In text, where anyone may write about us, the mark alone would say too little.
_IN_TEXT = {".json": f'"software": "{MARK}"', ".sha256": f"# {MARK}\n"}
_WINDOW = 1 << 20  # bytes at either end of a file; profiles of colour may come before the mark
_UNPACKED = 1 << 12  # bytes of what is compressed

being_written: set[Path] = set()  # temporary paths of this process
_lock = threading.Lock()
_sources: dict[object, list[str]] = {}
_overwrite: ContextVar[bool] = ContextVar("overwrite", default=False)


@contextmanager
def overwriting(allowed: bool = True) -> Iterator[None]:
    """Within this, files of others may be replaced as well, by this thread. Sources may not."""
    token = _overwrite.set(allowed)
    try:
        yield
    finally:
        _overwrite.reset(token)


def may_overwrite() -> bool:
    """Whether this thread is within `overwriting`."""
    return _overwrite.get()


@contextmanager
def protecting(*sources: object) -> Iterator[None]:
    """Within this, nothing of this process writes to these files, by whatever names.

    Args:
        sources: paths of files or folders; entries that are not existing paths are ignored.
    """
    found = [(identity, str(source)) for source in sources if (identity := _identity(source))]
    with _lock:
        for identity, name in found:
            _sources.setdefault(identity, []).append(name)
    try:
        yield
    finally:
        with _lock:
            for identity, name in found:
                _sources[identity].remove(name)
                if not _sources[identity]:
                    del _sources[identity]


def check_no_source(path: object) -> None:
    """Raise if this is a source of anything that is being done."""
    with _lock:
        names = list(_sources.get(_identity(path), ()))
    if names:
        same = "a source itself" if str(path) in names else f"the source {names[0]}"
        raise StorageError(f"cannot write {path}: it is {same}; name another output")


def check_ours(path: Path, known: Collection[str] = ()) -> None:
    """Raise unless there is nothing at this path, or a file of ours that is no source.

    Args:
        known: the sha256 of contents that are ours though nothing in them says so.
    """
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):  # nothing is there, or nothing can be
        return
    if path in being_written:
        return
    check_no_source(path)
    link = stat.S_ISLNK(mode)
    if not link and not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise StorageError(f"cannot write {path}: it is {what}; name another output")
    if may_overwrite() or (not link and _is_ours(path, known)):
        return
    why = "it is a link" if link else "it is there already, and nothing in it says ddfm wrote it"
    raise StorageError(
        f"cannot write {path}: {why}; name another output, or allow it "
        "(--overwrite, in Python ddfm.overwriting())"
    )


def check_folder(path: Path) -> None:
    """Raise unless there is nothing at this path, or a folder with files of ours alone."""
    if path.is_dir() and not path.is_symlink():
        check_no_source(path)
        for each in path.iterdir():
            check_ours(each)
    else:
        check_ours(path)


def _is_ours(path: Path, known: Collection[str]) -> bool:
    mark = _IN_TEXT.get(path.suffix.lower(), MARK).encode()
    try:
        with open(path, "rb") as file:
            ends = file.read(_WINDOW)
            if ends.startswith(b"\x1f\x8b"):
                with suppress(zlib.error):
                    ends += zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(ends, _UNPACKED)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _WINDOW))
            ends += file.read(_WINDOW)
    except OSError:
        return False
    return mark in ends or (bool(known) and sha256_of(path) in known)


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
