"""Files and folders appear whole under their final name, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ddfm.errors import DdfmError

__all__ = ["atomic_folder", "atomic_path"]

PREFIX = ".partial-"


@contextmanager
def atomic_path(path: str | os.PathLike[str], prefix: str = PREFIX) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffixes, moved onto it when the block succeeds."""
    path = Path(path)
    if path.name.startswith(PREFIX):
        prefix = f"{path.stem}-"  # so that whoever finds it sees what it was a part of
    with _explained(path):
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=prefix, suffix="".join(path.suffixes[-2:])
        )
        os.close(handle)
    temporary = Path(name)
    try:
        with _moved_at_the_end(temporary, path, 0o666):
            yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The same for a folder; at `path` is nothing, or an empty folder."""
    path = Path(path)
    with _explained(path):
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=PREFIX))
    try:
        with _moved_at_the_end(temporary, path, 0o777):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _moved_at_the_end(temporary: Path, path: Path, mode: int) -> Iterator[None]:
    """What is made as temporary is private; it gets the mode that anything new would have."""
    with _explained(path):
        yield
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, mode & ~mask)
        os.replace(temporary, path)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DdfmError(f"cannot write {path}: {error.strerror or error}") from None
