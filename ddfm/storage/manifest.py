"""What made each file of a folder: `ddfm-manifest.jsonl` beside them, a line of JSON per file.

    {"output": "0001.png", "sha256": ..., "sources": [{"name": ..., "sha256": ...}, ...],
     "settings": {...}, "seconds": 1.3}

A line is on the disk before its file is moved to its final name. So every file has a line, and one
that has none is somebody else's. A line may be without its file for a moment, and when that moment
is the last of the process, the next one finds the file under its temporary name, and moves it. A
line that was cut off is forgotten. When one file has several lines, the last one holds.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ddfm.errors import DdfmError
from ddfm.storage.atomic import atomic_path
from ddfm.storage.checksum import sha256_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["NAME", "Manifest", "sources_entry"]

NAME = "ddfm-manifest.jsonl"
LONGEST = 255  # bytes of a file's name
PREFIX = ".partial-manifest-"  # others write here too, and what they have begun is not ours

Entry = dict[str, Any]


def sources_entry(files: Iterable[Path]) -> list[Entry]:
    """What a line says of the sources: their names, and what is in them."""
    return [{"name": path.name, "sha256": sha256_of(path)} for path in files]


class Manifest:
    """The manifest of a folder, which it makes where there is none. One process at a time.

    Attributes:
        entries: the line of each file, by the file's name.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        path = self.folder / NAME
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b", buffering=0)
        except OSError as error:
            raise DdfmError(f"cannot write {path}: {error.strerror or error}") from None
        try:
            self._lock()
            self._file.seek(0)
            data = self._file.read()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                self._file.truncate(whole)
            entries = map(_entry, data[:whole].splitlines())
            self.entries = {entry["output"]: entry for entry in entries if entry is not None}
            self._finish_moves()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, output: str) -> Entry | None:
        """What made a file, if it is there as it was made."""
        entry = self.entries.get(output)
        path = self.folder / output
        whole = entry is not None and path.is_file() and sha256_of(path) == entry.get("sha256")
        return entry if whole else None

    def keep_others(self, outputs: Iterable[str]) -> None:
        """Raise if one of these is there already, and no line says that it was made here."""
        for output in outputs:
            if output not in self.entries and os.path.lexists(self.folder / output):
                raise DdfmError(
                    f"cannot write {self.folder / output}: it is there already, and {NAME} does "
                    "not know it; move it away, or name another folder"
                )

    def known(self, output: str) -> tuple[str, ...]:
        """The sha256 of what was made here under this name."""
        digest = self.entries.get(output, {}).get("sha256")
        return (digest,) if isinstance(digest, str) else ()

    @contextmanager
    def adding(self, output: str, entry: Entry) -> Iterator[Path]:
        """A temporary path to write the file to; then its line, then the file are in place."""
        with atomic_path(self.folder / output, PREFIX, self.known(output)) as temporary:
            yield temporary
            entry = {"output": output, "sha256": sha256_of(temporary)} | entry
            self._append(json.dumps(entry).encode() + b"\n")
        self.entries[output] = entry

    def _append(self, line: bytes) -> None:
        length = self._file.seek(0, os.SEEK_END)
        if self._file.write(line) != len(line):  # how a disk says that it is filling up
            self._file.truncate(length)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        if fcntl is None:
            return
        with suppress(OSError):  # some network file systems have no locks
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DdfmError(f"another run is writing to {self.folder}; wait for it") from None

    def _finish_moves(self) -> None:
        """Files that a killed run had written, but not moved; what it had not written is waste."""
        for path in list(self.folder.glob(f"{PREFIX}*")):
            if path.is_symlink() or not path.is_file():
                continue
            digest = sha256_of(path)
            same = (name for name, e in self.entries.items() if e.get("sha256") == digest)
            name = next((name for name in same if self.get(name) is None), None)
            if name is None:
                path.unlink(missing_ok=True)
            else:
                with atomic_path(self.folder / name, PREFIX) as temporary:
                    os.replace(path, temporary)


def _entry(line: bytes) -> Entry | None:
    """None for what is no line of a manifest, or names a file outside of its folder."""
    with suppress(ValueError, RecursionError):
        entry = json.loads(line)
        name = entry.get("output") if isinstance(entry, dict) else None
        possible = isinstance(name, str) and name and len(os.fsencode(name)) <= LONGEST
        if possible and name == Path(name).name:
            return entry
    return None
