"""Files and folders appear whole under their final name, or not at all.

Until then they lie beside it under a temporary name, `.partial-...-HOST-...`, and are locked while
the run lives that writes them. What a killed run has left is cleared by the next that writes the
same file: if the run was on this host and its lock is gone, or, where locks or hosts do not tell,
if nothing was done to it for a day.

This is the door of all writers: what they replace is a file of ours, or nothing (the rule stands in
`ddfm.storage.ours`). Outside of this room nobody opens a file to write to it, moves one or removes
one, but at the temporary paths that are given out here.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import tempfile
import time
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ddfm.errors import disk_explained
from ddfm.storage.ours import being_written, check_folder, check_ours

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "atomic_folder",
    "atomic_path",
    "claimed",
    "discard_all",
    "lock",
    "open_where_it_lies",
]

PREFIX = ".partial-"
ABANDONED = 24 * 3600  # seconds after which a temporary file belongs to nobody


@contextmanager
def atomic_path(
    path: str | os.PathLike[str], prefix: str | None = None, known: Collection[str] = ()
) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffixes, moved onto it when the block succeeds.

    Args:
        prefix: of the temporary name, for a caller who clears those of killed runs.
        known: the sha256 of contents that may be replaced though nothing in them says so.
    """
    path = Path(path)
    if path in being_written:  # whoever made that path moves it
        yield path
        return
    check_ours(path, known)
    with disk_explained(f"write {path}"):
        if prefix is None:
            prefix = _prefix_of(path)
            _clear(path.parent, prefix)
        handle, temporary = _locked_file(path, prefix)
    being_written.add(temporary)
    try:
        with disk_explained(f"write {path}"):
            yield temporary
            _give_mode(temporary, 0o666)
            check_ours(path, known)  # which may have changed since
            os.replace(temporary, path)
    finally:
        being_written.discard(temporary)
        with suppress(FileNotFoundError):
            temporary.unlink()
        if handle is not None:
            os.close(handle)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The same for a folder, in place of nothing, or of a folder with files of ours alone."""
    path = Path(path)
    check_folder(path)
    with disk_explained(f"write {path}"):
        prefix = _prefix_of(path)
        _clear(path.parent, prefix)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{prefix}{_host()}-"))
        handle = None if fcntl is None else os.open(temporary, os.O_RDONLY)
    being_written.add(temporary)
    try:
        if handle is not None:
            lock(handle)
        with disk_explained(f"write {path}"):
            yield temporary
            _give_mode(temporary, 0o777)
            _replace_folder(temporary, path)
    finally:
        being_written.discard(temporary)
        shutil.rmtree(temporary, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def lock(handle: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Locks an open file: True if it is ours, False if it is another's, None if there are no locks.

    Some network file systems have none, others have them for the processes of one host only.
    """
    if fcntl is None:
        return None
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def open_where_it_lies(path: Path, flags: int = 0) -> int:
    """A file that is written where it lies, made where there is none; never what a link leads to.

    What else may be there, such as a pipe, is not waited for.
    """
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    with disk_explained(f"write {path}"):
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)


@contextmanager
def claimed(temporary: Path) -> Iterator[bool]:
    """Whether the run that wrote this has ended. Nobody else claims it while the block lasts."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        try:
            handle = os.open(temporary, os.O_RDWR | flags)  # network file systems lock no others
        except IsADirectoryError:
            handle = os.open(temporary, os.O_RDONLY | flags)
    except OSError:  # gone, a link, or not for us to change
        yield False
        return
    try:
        ours = f"-{_host()}-" in temporary.name
        locked = lock(handle)
        old = time.time() - os.fstat(handle).st_mtime > ABANDONED
        yield locked is not False and (old or (ours and locked is True))
    finally:
        os.close(handle)


def _clear(folder: Path, prefix: str) -> None:
    """Removes what killed runs have left under such names."""
    for path in sorted(folder.glob(f"{prefix}*")):
        with suppress(OSError):
            kind = path.lstat().st_mode
            with claimed(path) as abandoned:
                if abandoned and stat.S_ISREG(kind):
                    path.unlink()
                elif abandoned and stat.S_ISDIR(kind):
                    shutil.rmtree(path, ignore_errors=True)


def _locked_file(path: Path, prefix: str) -> tuple[int | None, Path]:
    """A new temporary file for this path, and the open file that holds its lock."""
    while True:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f"{prefix}{_host()}-", suffix="".join(path.suffixes[-2:])
        )
        if fcntl is None:  # Windows does not move what is open
            os.close(handle)
            return None, Path(name)
        lock(handle, wait=True)
        if os.path.lexists(name):  # else another run took it for abandoned, before it was locked
            return handle, Path(name)
        os.close(handle)


def _prefix_of(path: Path) -> str:
    """The same for all temporary names of one path, and for hardly any other."""
    return f"{PREFIX}{zlib.crc32(os.fsencode(path.name)):08x}-"


def _host() -> str:
    return re.sub("[^A-Za-z0-9]", "_", socket.gethostname())[:32]


def _give_mode(temporary: Path, mode: int) -> None:
    """What is made as temporary is private; it gets the mode that anything new would have."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, mode & ~mask)


def _replace_folder(temporary: Path, path: Path) -> None:
    check_folder(path)
    if not path.is_dir() or not any(path.iterdir()):
        os.replace(temporary, path)
        return
    # No system call exchanges two folders everywhere; so for a moment there is none.
    old = temporary.with_name(f"{temporary.name}-old")
    path.rename(old)
    temporary.rename(path)
    for each in list(old.iterdir()):
        check_ours(each)
        each.unlink()
    old.rmdir()


def discard_all() -> None:
    """Removes all that is half written, for a process that is told to end."""
    for path in list(being_written):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
