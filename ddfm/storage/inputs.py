"""Reads files safely: checks that they exist, are files, and are not longer than they claim."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

from ddfm.errors import InputError, StorageError, disk_explained, one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "BoundedFile",
    "existing_file",
    "json_object",
    "read_text",
    "read_to_the_end",
    "toml_table",
    "with_home",
]

MOST_TEXT = 64 * 2**20  # largest file of settings, in bytes
PIECE = 2**20  # bytes read at a time
SLACK = 2**20  # bytes that may follow what a header announces


class BoundedFile(io.BufferedReader):
    """A file opened for reading that never allocates more memory than it has bytes.

    Formats state the lengths of their parts, and a damaged file may state four gigabytes. Python
    would allocate all of it before it finds that the file is shorter.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        raw = io.FileIO(path)
        self.length = os.fstat(raw.fileno()).st_size
        super().__init__(raw)

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return super().read()
        return super().read(min(size, max(self.length - self.tell(), 0)))


def existing_file(path: str | os.PathLike[str]) -> Path:
    """The path of an existing file; raises an error that names what is there instead.

    Pipes and devices are refused before they are opened: reading them may never end.
    """
    path = Path(path)
    with disk_explained(f"read {path}"):
        if path.is_dir():
            raise StorageError(f"cannot read {path}: it is a folder, not a file")
        if not path.exists():
            raise StorageError(f"cannot read {path}: there is no such file")
        if not path.is_file():
            raise StorageError(f"cannot read {path}: it is not a regular file")
    return path


def with_home(path: str | os.PathLike[str]) -> Path:
    """The path, with a leading `~` or `~name` replaced by the home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"cannot find the home folder that {path} begins with") from None


def read_text(path: str | os.PathLike[str], *, any_encoding: bool = False) -> str:
    """A small text file in UTF-8, with or without the mark with which editors on Windows begin it.

    With `any_encoding`, it may be in UTF-16, and characters that are in neither are replaced.
    """
    path = existing_file(path)
    with disk_explained(f"read {path}"):
        if path.stat().st_size > MOST_TEXT:
            raise InputError(f"cannot read {path}: it is too large for a file of settings")
        if any_encoding:
            data = path.read_bytes()
            wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            return data.decode("utf-16" if wide else "utf-8-sig", "replace")
        try:
            return path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise StorageError(f"cannot read {path}: it is not a text file in UTF-8") from None


def json_object(text: str, where: str) -> dict[str, Any]:
    """The object in a JSON text. Numbers that are not JSON, such as NaN, are refused."""
    try:
        content = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise InputError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise InputError(f"{where} must be a JSON object, of names and values")
    return content


def toml_table(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a TOML file."""
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{path} is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {one_line(error)}") from None


def read_to_the_end(stream: gzip.GzipFile | BinaryIO, name: str) -> None:
    """Read the rest of a packed stream, as its checksum is only compared at its end.

    Little may follow what was read before; an endless stream is refused.
    """
    left = SLACK
    while data := stream.read(PIECE):
        left -= len(data)
        if left < 0:
            raise InputError(f"{name} was refused: it unpacks to more than its header states")


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")
