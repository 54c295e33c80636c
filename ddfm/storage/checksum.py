"""The content of a file in a few digits: to know it again, and to see that it has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ddfm.errors import disk_explained

__all__ = ["KnownData", "KnownFile", "Source", "digest_of", "sha256_of", "sha256_of_all"]

CHUNK = 1 << 20


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with disk_explained(f"read {path}"), open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_all(paths: Sequence[str | os.PathLike[str]]) -> str:
    """Of one file its own; of several that of their digests, sorted, a line each."""
    return digest_of(list(map(sha256_of, paths)))


def digest_of(digests: Sequence[str]) -> str:
    """`sha256_of_all` of files whose own are known."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(digests)).encode()).hexdigest()


class Source(Protocol):
    """What something is made of, and how a manifest knows it again."""

    name: str

    def noted(self) -> dict[str, Any]:
        """What to keep, ready for JSON."""

    def is_as_noted(self, note: Any, *, verify: bool = False) -> bool:
        """Whether this is what the note was made of, which may come from a damaged file."""


class KnownFile:
    """A file by its size, the time of its last change, and its content, each looked up once.

    Equal sizes and times are taken for equal contents, unless these are to be verified.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = self.path.name

    def noted(self) -> dict[str, Any]:
        size, time = self._size_and_time  # before its content: a change meanwhile is seen later
        return {"sha256": self._sha256, "size": size, "mtime_ns": time}

    def is_as_noted(self, note: Any, *, verify: bool = False) -> bool:
        if not isinstance(note, dict) or not self.path.is_file():
            return False
        size, time = self._size_and_time
        if note.get("size", size) != size:
            return False
        if not verify and note.get("mtime_ns") == time:
            return True
        return self._sha256 == note.get("sha256")

    @cached_property
    def _size_and_time(self) -> tuple[int, int]:
        with disk_explained(f"read {self.path}"):
            found = self.path.stat()
        return found.st_size, found.st_mtime_ns

    @cached_property
    def _sha256(self) -> str:
        return sha256_of(self.path)


class KnownData:
    """What is in memory, by its content."""

    def __init__(self, name: str, *parts: bytes | memoryview) -> None:
        self.name = name
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        self._sha256 = digest.hexdigest()

    def noted(self) -> dict[str, Any]:
        return {"sha256": self._sha256}

    def is_as_noted(self, note: Any, *, verify: bool = False) -> bool:
        return isinstance(note, dict) and note.get("sha256") == self._sha256
