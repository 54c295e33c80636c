"""A partly downloaded file: NAME.part, and NAME.part.json, which says what it is a part of.

Alone of all files it is written where it lies, to go on after an interruption. So it has to be ours
beyond doubt: a file without links to it whose note says so, or an empty one.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ddfm.errors import DdfmError, DownloadError, StorageError
from ddfm.storage.atomic import lock, open_where_it_lies
from ddfm.storage.files import make_folder, write_json
from ddfm.storage.inputs import json_object, read_text
from ddfm.storage.ours import JSON_MARK, check_ours

__all__ = ["Part"]


class Part:
    """The part of a file, for one process at a time; a context that leaves no empty one behind.

    Attributes:
        path: where it lies.
        file: it, open to read and to write.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")

    def __enter__(self) -> Part:
        make_folder(self.target.parent)
        if self.path.is_symlink() or (os.path.lexists(self.path) and not self.path.is_file()):
            check_ours(self.path)  # which says what it is
        self.file = open(open_where_it_lies(self.path), "r+b", buffering=0)
        try:
            self._check()
        except DdfmError:
            self.file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self.length and self.path.is_file():
            self.path.unlink()
            self._remove_note()
        self.file.close()

    @property
    def length(self) -> int:
        """Bytes that are there."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def version(self) -> dict[str, Any] | None:
        """What was said to `begin` it, if it has begun."""
        try:
            told = json_object(read_text(self._note), "")
        except DdfmError:
            return None
        return told if JSON_MARK.items() <= told.items() else None

    def begin(self, version: dict[str, Any]) -> None:
        """Notes what is to come."""
        write_json(self._note, version)

    def go_on_after(self, length: int) -> None:
        """What comes next belongs behind so many bytes."""
        self.file.seek(length)
        self.file.truncate()

    def write(self, data: bytes) -> None:
        """Adds to it; a disk that is filling up takes less than it is given."""
        while data:
            data = data[self.file.write(data) :]

    def discard(self) -> None:
        """Empties it, which keeps the lock on it."""
        self.file.truncate(0)
        self._remove_note()

    def finish(self, known: Collection[str] = ()) -> None:
        """It is whole: it gets its name. `known` is as for `atomic_path`."""
        check_ours(self.target, known)
        if os.name == "nt":  # where nothing is moved that is open
            self.file.close()
        os.replace(self.path, self.target)
        self._remove_note()

    def _check(self) -> None:
        if lock(self.file.fileno()) is False:
            raise DownloadError(f"{self.path} is being downloaded by another process")
        found = os.fstat(self.file.fileno())
        if found.st_nlink > 1 or (found.st_size and self.version is None):
            raise StorageError(
                f"cannot write {self.path}: it is there already, and nothing says what it is a "
                "part of; move it away"
            )

    def _remove_note(self) -> None:
        if self.version is not None:
            self._note.unlink()
