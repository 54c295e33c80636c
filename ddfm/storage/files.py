"""Writes complete files in one call, and removes files of ddfm."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ddfm.errors import StorageError, disk_explained
from ddfm.storage.atomic import atomic_path
from ddfm.storage.ours import JSON_MARK, check_ours

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "encoded",
    "make_folder",
    "remove",
    "write_bytes",
    "write_json",
    "write_text",
    "write_weights",
]


def write_bytes(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Writes a file with these bytes."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a file with this text."""
    write_bytes(path, encoded(text))


def encoded(text: str) -> bytes:
    """Text in UTF-8; escapes what is not Unicode, as in some file names."""
    return text.encode("utf-8", "backslashreplace")


def write_json(path: str | os.PathLike[str], entries: Mapping[str, object]) -> None:
    """Writes a JSON file with these entries, and one that marks it as written by ddfm."""
    write_text(path, json.dumps(JSON_MARK | dict(entries), indent=1) + "\n")


def write_weights(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes a safetensors file."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, metadata=JSON_MARK | dict(metadata))
        _sort_metadata(temporary)


def _sort_metadata(temporary: Path) -> None:
    """Sorts the metadata, whose order is random, so that the same weights give the same file."""
    with open(temporary, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length, "sorting adds no characters"
        file.seek(8)
        file.write(text.ljust(length))


def make_folder(path: str | os.PathLike[str]) -> None:
    """Makes a folder and its parents, if they do not exist."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise StorageError(f"cannot make the folder {path}: {why}") from None


def remove(path: Path) -> None:
    """Removes a file that ddfm wrote, if it exists."""
    check_ours(path)
    with disk_explained(f"remove {path}"):
        path.unlink(missing_ok=True)
