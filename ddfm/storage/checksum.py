"""Checksums of files, to recognise them and to notice changes."""

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
    """The SHA-256 of the content of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with disk_explained(f"read {path}"), open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_all(paths: Sequence[str | os.PathLike[str]]) -> str:
    """The SHA-256 of one file; of several files, that of their digests, sorted, one per line."""
    return digest_of(list(map(sha256_of, paths)))


def digest_of(digests: Sequence[str]) -> str:
    """`sha256_of_all` of files, from their own digests."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(digests)).encode()).hexdigest()


class Source(Protocol):
    """Something that a result is made of, and that a manifest can recognise."""

    name: str

    def noted(self) -> dict[str, Any]:
        """What a manifest notes of it, ready for JSON."""

    def is_as_noted(self, note: Any, *, verify: bool = False) -> bool:
        """Whether this matches a note, which may come from a damaged file."""


class KnownFile:
    """A file, recognised by size, time of last change, and content, each determined once.

    Equal sizes and times count as equal contents, unless contents are to be verified.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = self.path.name

    def noted(self) -> dict[str, Any]:
        size, time = self._size_and_time  # before the content: a later change is then noticed
        return {"sha256": self._sha256, "size": size, "mtime_ns": time}

    def is_as_noted(self, note: Any, *, verify: bool = False) -> bool:
        if not isinstance(note, dict) or not self.path.is_file():
            return False
        size, time = self._size_and_time
        if note.get("size") != size:
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
    """Data in memory, recognised by its content."""

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
