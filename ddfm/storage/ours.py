"""The rule of all writers: never replace a source, or a file that ddfm did not write.

A file is recognised as ours by a mark inside it, if its format has a place for one: the software of
a picture, the description of a volume, the comment of a film, a key of JSON. The mark is the same
in all files and runs. Formats without such a place (BMP), and files of others, are replaced only
within `overwriting`; a source is not replaced even then, not even by another name or link.
"""

from __future__ import annotations

import os
import stat
import threading
import zlib
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from ddfm.errors import StorageError
from ddfm.progress import holding
from ddfm.storage.checksum import sha256_of

__all__ = [
    "JSON_MARK",
    "MARK",
    "being_written",
    "check_folder",
    "check_no_source",
    "check_ours",
    "check_replaced",
    "is_ours",
    "may_overwrite",
    "overwriting",
    "protecting",
]

MARK = "ddfm image fusion"
JSON_MARK = {"software": MARK}
# In text, which may mention ddfm for any reason, the mark alone would not be enough.
_IN_JSON = f'"software": "{MARK}"'
_IN_TEXT = {".json": _IN_JSON, ".jsonl": _IN_JSON, ".sha256": f"# {MARK}\n"}
_WINDOW = 1 << 20  # bytes searched at either end; colour profiles may precede the mark
_UNPACKED = 1 << 12  # bytes unpacked of a compressed file

being_written: set[Path] = set()  # temporary paths of this process
_lock = threading.Lock()
_sources: dict[object, list[str]] = {}
_overwrite: ContextVar[bool] = ContextVar("overwrite", default=False)


def overwriting(allowed: bool = True) -> AbstractContextManager[None]:
    """Within this block, this thread may also replace files of others, but no sources."""
    return holding(_overwrite, allowed)


def may_overwrite() -> bool:
    """Whether this thread is within a block of `overwriting`."""
    return _overwrite.get()


@contextmanager
def protecting(*sources: object) -> Iterator[None]:
    """Within this block, this process never writes to these files, not even by other names.

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
    """Raise if this path is a source of any running work."""
    with _lock:
        names = list(_sources.get(_identity(path), ()))
    if names:
        same = "a source itself" if str(path) in names else f"the source {names[0]}"
        raise StorageError(
            f"cannot write {path}: it is {same}; name another output, or leave it out of the "
            "sources"
        )


def check_ours(path: Path, known: Collection[str] = ()) -> None:
    """Raise unless the path is free, or is a file of ours that is not a source.

    Args:
        known: the SHA-256 of contents that are ours although they have no mark.
    """
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):  # nothing is there, or the path is impossible
        return
    if path in being_written:
        return
    check_no_source(path)
    link = stat.S_ISLNK(mode)
    if not link and not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise StorageError(f"cannot write {path}: it is {what}; name another output")
    if may_overwrite() or (not link and is_ours(path, known)):
        return
    why = (
        "it is a link" if link else "it exists already, and nothing in it shows that ddfm wrote it"
    )
    raise StorageError(
        f"cannot write {path}: {why}; name another output, or allow it "
        "(--overwrite, in Python ddfm.overwriting())"
    )


def check_folder(path: Path, written: Collection[str] | None = None) -> None:
    """Raise unless the path is free, or is a folder that may be replaced as a whole.

    Args:
        written: the names of the files to be written, if they are known; see `check_replaced`.
    """
    if path.is_dir() and not path.is_symlink():
        check_no_source(path)
        for each in path.iterdir():
            check_replaced(each, written)
    else:
        check_ours(path)


def check_replaced(path: Path, written: Collection[str] | None) -> None:
    """Raise if a file would be lost when its folder is replaced by one with files of these names.

    Files of ours may be. Those of others, within `overwriting`, only if there is a new file of the
    same name; None does not check that.
    """
    check_ours(path)
    if not may_overwrite() or written is None or path.name in written:
        return
    if path.is_symlink() or not is_ours(path):
        raise StorageError(
            f"cannot replace the folder {path.parent}: {path.name} in it is not from ddfm, and "
            "would be removed; move it, or name another output"
        )


def is_ours(path: Path, known: Collection[str] = ()) -> bool:
    """Whether a file has the mark of ddfm in it, or one of these SHA-256."""
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
    """What identifies a file, which may have many names; None if there is no file."""
    if not isinstance(path, (str, os.PathLike)):
        return None
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    # Some network file systems have no inode numbers.
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)
