"""A partly downloaded file: NAME.part, with NAME.part.json, which notes what it is a part of.

Unlike all other files, it is written in place, so that an interrupted download can be continued. So
it must certainly be ours: a file without further links that has a note, or an empty file.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ddfm.errors import DdfmError, DownloadError, StorageError
from ddfm.storage.atomic import NEEDS_CLOSING, lock, open_in_place
from ddfm.storage.files import make_folder, write_json
from ddfm.storage.inputs import json_object, read_text
from ddfm.storage.ours import JSON_MARK, check_ours

__all__ = ["Part"]


class Part:
    """A partly downloaded file, for one process at a time; removed at the end if it is empty.

    Attributes:
        target: the path of the complete file.
        path: the path of the part.
        file: the part, open for reading and writing.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")

    def __enter__(self) -> Part:
        make_folder(self.target.parent)
        if self.path.is_symlink() or (os.path.lexists(self.path) and not self.path.is_file()):
            check_ours(self.path)  # raises, and says what it is
        self.file = open(open_in_place(self.path), "r+b", buffering=0)
        try:
            self._check()
        except DdfmError:
            self.file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self.length and self.path.is_file():
            if NEEDS_CLOSING:
                self.file.close()
            self.path.unlink()
            self._remove_note()
        self.file.close()

    @property
    def length(self) -> int:
        """The number of bytes downloaded so far."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def version(self) -> dict[str, Any] | None:
        """The version that was passed to `begin`, or None."""
        try:
            noted = json_object(read_text(self._note), "")
        except DdfmError:
            return None
        return noted if JSON_MARK.items() <= noted.items() else None

    def begin(self, version: dict[str, Any]) -> None:
        """Notes which version of the file is downloaded."""
        write_json(self._note, version)

    def go_on_after(self, length: int) -> None:
        """Keeps this many bytes, and continues after them."""
        self.file.seek(length)
        self.file.truncate()

    def write(self, data: bytes) -> None:
        """Appends data; a disk that is almost full may take less at a time."""
        while data:
            data = data[self.file.write(data) :]

    def discard(self) -> None:
        """Empties the part, but keeps it locked."""
        self.file.truncate(0)
        self._remove_note()

    def finish(self, known: Collection[str] = ()) -> None:
        """Moves the complete file to its final name. `known` is as for `atomic_path`."""
        check_ours(self.target, known)
        if NEEDS_CLOSING:
            self.file.close()
        os.replace(self.path, self.target)
        self._remove_note()

    def _check(self) -> None:
        if lock(self.file.fileno()) is False:
            raise DownloadError(f"{self.path} is being downloaded by another process")
        found = os.fstat(self.file.fileno())
        if found.st_nlink > 1 or (found.st_size and self.version is None):
            raise StorageError(
                f"cannot write {self.path}: it exists already, and no note says what it is a "
                "part of; move it away"
            )

    def _remove_note(self) -> None:
        if self.version is not None:
            self._note.unlink()
