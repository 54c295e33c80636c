"""Makes files and folders appear complete under their final name, or not at all.

Until then, a file has a temporary name in the same folder, `.partial-...-HOST-...`, and is locked
while the run that writes it lives. What a killed run has left is removed by the next run
that writes the same file: if the killed run was on this host and its lock is gone, or, where the
host or the lock is unknown, if it was not modified for a day.

All writers go through this module: they replace nothing but files written by ddfm (see
`ddfm.storage.ours` for the rule). No code outside this room opens a file for writing, moves or
removes one, except at the temporary paths that it gets from here.
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
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock

from ddfm.errors import disk_explained
from ddfm.storage.ours import being_written, check_folder, check_ours, check_replaced

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "NEEDS_CLOSING",
    "atomic_folder",
    "atomic_path",
    "claimed",
    "discard_all",
    "lock",
    "open_in_place",
]

NEEDS_CLOSING = fcntl is None  # Windows neither moves nor removes open files
PREFIX = ".partial-"
# It can be read only by setting it. Two threads at once would leave it at 0 for the whole process.
_READING_MASK = Lock()
ABANDONED = 24 * 3600  # seconds without a change after which a temporary file is abandoned


@contextmanager
def atomic_path(
    path: str | os.PathLike[str], prefix: str | None = None, known: Collection[str] = ()
) -> Iterator[Path]:
    """A temporary path next to `path`, with its suffixes, moved onto it when the block succeeds.

    Args:
        path: the file to write.
        prefix: the prefix of the temporary name, for callers that clear those of killed runs.
        known: the SHA-256 of contents that may be replaced although they have no mark of ddfm.
    """
    path = Path(path)
    if path in being_written:  # it is temporary itself; its owner moves it
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
            check_ours(path, known)  # again: it may have changed since
            os.replace(temporary, path)
    finally:
        being_written.discard(temporary)
        with suppress(FileNotFoundError):
            temporary.unlink()
        if handle is not None:
            os.close(handle)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The same for a folder, which may replace another one; see `check_replaced` for its files."""
    path = Path(path)
    check_folder(path)
    with disk_explained(f"write {path}"):
        prefix = _prefix_of(path)
        _clear(path.parent, prefix)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{prefix}{_host()}-"))
        handle = None if NEEDS_CLOSING else os.open(temporary, os.O_RDONLY)
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
    """Locks an open file: True if that succeeds, False if another holds it, None without locks.

    Some network file systems have no locks; others only among the processes of one host.
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


def open_in_place(path: Path, flags: int = 0) -> int:
    """Opens a file to write to it in place, and makes it if needed; does not follow links.

    It does not wait for anything else that may be there, such as a pipe.
    """
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    with disk_explained(f"write {path}"):
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)


@contextmanager
def claimed(temporary: Path) -> Iterator[bool]:
    """Whether the run that wrote this has ended; no other run claims it while the block lasts."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        try:
            # Network file systems lock only files that were opened for writing.
            handle = os.open(temporary, os.O_RDWR | flags)
        except IsADirectoryError:
            handle = os.open(temporary, os.O_RDONLY | flags)
    except OSError:  # gone, a link, or not writable for us
        yield False
        return
    with ExitStack() as stack:
        stack.callback(os.close, handle)
        ours = f"-{_host()}-" in temporary.name
        locked = lock(handle)
        old = time.time() - os.fstat(handle).st_mtime > ABANDONED
        if NEEDS_CLOSING:
            stack.close()
        yield locked is not False and (old or (ours and locked is True))


def _clear(folder: Path, prefix: str) -> None:
    """Removes what killed runs have left under names with this prefix."""
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
        if NEEDS_CLOSING:
            os.close(handle)
            return None, Path(name)
        lock(handle, wait=True)
        if os.path.lexists(name):  # else another run removed it before it was locked
            return handle, Path(name)
        os.close(handle)


def _prefix_of(path: Path) -> str:
    """The prefix of all temporary names of one path, and of hardly any other path."""
    return f"{PREFIX}{zlib.crc32(os.fsencode(path.name)):08x}-"


def _host() -> str:
    return re.sub("[^A-Za-z0-9]", "_", socket.gethostname())[:32]


def _give_mode(temporary: Path, mode: int) -> None:
    """Gives a temporary file, which is private, the permissions of any new file."""
    with _READING_MASK:
        mask = os.umask(0)
        os.umask(mask)
    os.chmod(temporary, mode & ~mask)


def _replace_folder(temporary: Path, path: Path) -> None:
    written = {each.name for each in temporary.iterdir()}
    check_folder(path, written)
    if not path.is_dir() or not any(path.iterdir()):
        os.replace(temporary, path)
        return
    # No portable system call exchanges two folders, so for a moment neither exists.
    old = temporary.with_name(f"{temporary.name}-old")
    path.rename(old)
    temporary.rename(path)
    for each in list(old.iterdir()):
        check_replaced(each, written)
        each.unlink()
    old.rmdir()


def discard_all() -> None:
    """Removes all half-written files, when the process is asked to end."""
    for path in list(being_written):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
