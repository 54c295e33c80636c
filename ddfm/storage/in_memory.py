"""Gives bytes and open files a path, for readers that take paths.

Their content is put into a file while it is read, so that formats, budgets and messages are those
of any other file. On Linux, this file is in memory, unless the format is only known by its suffix
(tables of numbers); elsewhere, it is a temporary file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

from ddfm.errors import DdfmError, InputError, StorageError, one_line, short
from ddfm.storage.budget import max_bytes
from ddfm.storage.ours import being_written

__all__ = ["as_path", "has_no_path", "name_of"]

PIECE = 2**20  # bytes read at a time
_NPY = b"\x93NUMPY"  # how .npy files begin, which readers recognise only by the suffix
_BY_SUFFIX = (".npy", ".csv", ".tsv")  # formats that readers recognise only by the suffix
_HAS_MEMORY = hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()


def has_no_path(source: object) -> bool:
    """Whether a source is bytes or an open file."""
    return isinstance(source, bytes | bytearray | memoryview) or callable(
        getattr(source, "read", None)
    )


def name_of(source: object, otherwise: str) -> str:
    """The name for an object without a path: that of the opened file, if any, or `otherwise`."""
    name = getattr(source, "name", None)
    return name if isinstance(name, str) and name else otherwise


@contextmanager
def as_path(source: Any, name: str) -> Iterator[Path]:
    """The path of a file with the content of `source`, while the block lasts.

    Args:
        source: bytes, or an object to read bytes from, from its current position to its end.
        name: how errors call it.
    """
    data = _content(source, name)
    suffix = ".npy" if data.startswith(_NPY) else PurePath(name).suffix[:16]
    made = _in_memory if suffix.lower() not in _BY_SUFFIX and _HAS_MEMORY else _on_disk
    with made(data, suffix, name) as path:
        del data
        try:
            yield path
        except DdfmError as error:
            error.args = (str(error).replace(str(path), name),)
            raise


@contextmanager
def _in_memory(data: bytes, _: str, name: str) -> Iterator[Path]:
    try:
        handle = os.memfd_create("ddfm", os.MFD_CLOEXEC)
    except OSError as error:
        raise StorageError(f"cannot make a file in memory for {name}: {one_line(error)}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        yield Path(f"/proc/self/fd/{handle}")


@contextmanager
def _on_disk(data: bytes, suffix: str, name: str) -> Iterator[Path]:
    try:
        handle, made = tempfile.mkstemp(prefix="ddfm-", suffix=suffix)
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot make a temporary file for {name}: {one_line(error)}") from None
    path = Path(made)
    being_written.add(path)  # removed if the process is asked to end
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        yield path
    finally:
        being_written.discard(path)
        with suppress(OSError):
            path.unlink()


def _content(source: Any, name: str) -> bytes:
    """All bytes of a source, up to the memory that a file may take."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if not has_no_path(source):
        raise InputError(
            f"{name}: a file must be a path, bytes or an open file, not {short(source)}"
        )
    limit, parts, length = max_bytes(), [], 0
    try:
        while part := source.read(PIECE):
            if not isinstance(part, bytes):
                raise InputError(f"{name} is open for text, not for bytes: open it with 'rb'")
            parts.append(part)
            length += len(part)
            if length > limit:
                raise InputError(
                    f"{name} was refused: it is longer than {limit / 1e6:,.0f} MB, the memory that "
                    "a file may take"
                )
    except (OSError, ValueError) as error:
        if isinstance(error, DdfmError):
            raise
        raise StorageError(f"cannot read {name}: {one_line(error)}") from None
    return b"".join(parts)
