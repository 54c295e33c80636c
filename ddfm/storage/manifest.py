"""Records what made each file of a folder: `ddfm-manifest.jsonl`, with a line of JSON per file.

    {"output": "0001.png", "sha256": ..., "size": ..., "mtime_ns": ...,
     "sources": [{"name": ..., "sha256": ..., "size": ..., "mtime_ns": ...}, ...],
     "settings": {...}, "seconds": 1.3}

A line is on the disk before its file is moved to its final name. So every file has a line, and a
file without one belongs to somebody else. If the process is killed after the line and before the
move, the next run finds the file under its temporary name, and moves it. A line that was cut off is
ignored. If a file has several lines, the last one is valid.

A folder may be filled by several processes, on several machines: each is a `Shard` with a manifest
of its own, `ddfm-manifest-2-of-8.jsonl`. Each process reads all manifests, of which the newest line
of each file is valid (`ddfm.storage.lines`), and writes to its own. `Manifest.merge` merges them
into one.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from ddfm.errors import DdfmError, StorageError, disk_explained
from ddfm.storage.atomic import NEEDS_CLOSING, atomic_path, claimed, lock, open_in_place
from ddfm.storage.checksum import KnownFile, Source, sha256_of
from ddfm.storage.lines import Entry, Lines, append, entry_of
from ddfm.storage.ours import check_ours, may_overwrite

__all__ = [
    "NAME",
    "Manifest",
    "Shard",
    "as_json",
    "entries_in",
    "has_manifest",
    "is_manifest",
    "keep_others",
    "shard_of",
]

NAME = "ddfm-manifest.jsonl"
OF_SHARD = re.compile(r"ddfm-manifest-([1-9]\d*)-of-([1-9]\d*)\.jsonl")
PREFIX = ".partial-manifest-"  # its own, since other processes write to the folder, too
TOGETHER = 1000  # lines that are merged, and synchronised with the disk, at once
T = TypeVar("T")
BEGIN, BEGINNING = b'{"output": "', 1 << 16  # how lines begin; bytes read to check this


@dataclass(frozen=True)
class Shard:
    """One part of the work: that of process `index`, from 1 to `count`."""

    index: int
    count: int

    def has(self, output: str) -> bool:
        """Whether this process makes the file of this name; each file belongs to exactly one."""
        name = output.encode("utf-8", "surrogatepass")  # names of files may be no UTF-8
        return zlib.crc32(name) % self.count == self.index - 1

    def part(self, work: Sequence[T]) -> Sequence[T]:
        """Its part of a work that all processes know and that a run without shards completes.

        Parts are of equal size, which those by names are not: names with few digits are similar.
        """
        return work[self.index - 1 :: self.count]

    @property
    def manifest(self) -> str:
        return f"ddfm-manifest-{self.index}-of-{self.count}.jsonl"

    @property
    def failures(self) -> str:
        """The name of its list of `ddfm.storage.failures`."""
        return f"ddfm-failed-{self.index}-of-{self.count}.jsonl"


class Manifest:
    """The manifest of a folder; makes the folder if needed, and locks it for this process.

    Args:
        folder: the folder of the results.
        shard: the part of the work that this process does while others do the rest.

    Attributes:
        entries: the valid line of each file, by its name; read from the disk on demand.
    """

    def __init__(self, folder: str | os.PathLike[str], shard: Shard | None = None) -> None:
        self.folder = Path(folder)
        self._open: list[BinaryIO] = []
        self.entries = Lines(_open_ours, self.is_there)
        with disk_explained(f"write {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
        try:
            # Either many shards at a time, or one run without a shard.
            self._path = self.folder / NAME
            self._file = self._opened(self._path, shared=shard is not None)
            if shard is not None:
                self._path = self.folder / shard.manifest
                self._file = self._opened(self._path)
            for path in self._manifests():
                self.entries.learn(path)
            self._finish_moves()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.entries.close()
        for file in self._open:
            file.close()

    def get(self, output: str) -> Entry | None:
        """The entry of a file, if the file exists as it was made."""
        entry = self.entries.get(output)
        return entry if entry is not None and self.is_there(entry) else None

    def is_there(self, entry: Entry, *, verify: bool = False) -> bool:
        """Whether the file of an entry exists as it was made."""
        return _is_there(self.folder, entry, verify=verify)

    def find(
        self,
        output: str,
        sources: Sequence[Source],
        settings: Sequence[Entry],
        *,
        verify: bool = False,
    ) -> Entry | None:
        """The entry of a file that need not be made again: the one rule of continuing runs.

        Args:
            output: the name of the file.
            sources: the sources that it would be made of.
            settings: the settings that it may have been made with, as JSON stores them.
            verify: whether to compare the contents of files, not just sizes and times.
        """
        entry = self.entries.get(output)
        if entry is None or entry.get("settings") not in settings:
            return None
        made_of = entry.get("sources")
        if not isinstance(made_of, list) or len(made_of) != len(sources):
            return None
        for source, note in zip(sources, made_of, strict=True):
            if not source.is_as_noted(note, verify=verify) or note.get("name") != source.name:
                return None
        return entry if self.is_there(entry, verify=verify) else None

    def known(self, output: str) -> set[str]:
        """The SHA-256 of everything that was made here under this name, from all its lines.

        A run that ends between a line and its file leaves the file of an earlier line.
        """
        digests = (entry.get("sha256") for entry in self.entries.every(output))
        return {digest for digest in digests if isinstance(digest, str)}

    @contextmanager
    def adding(self, output: str, entry: Entry) -> Iterator[Path]:
        """A temporary path to write the file to; afterwards its line is added and it is moved."""
        with atomic_path(self.folder / output, PREFIX, self.known(output)) as temporary:
            yield temporary
            self._append({"output": output, **KnownFile(temporary).noted(), **entry})

    def note(self, output: str, more: Entry) -> None:
        """Adds a line for a file that stays as it is."""
        self._append(self.entries[output] | more)

    def merge(self) -> None:
        """Merges the manifests of all shards into this one, and removes them."""
        shards = [path for path in self._manifests() if path.name != NAME]
        opened = [self._opened(path) for path in shards]  # raises if a run is still alive
        main = Lines(_open_ours, self.is_there)
        main.learn(self._path)
        new = (e for e in self.entries.newest() if main.get(e["output"]) != e)
        while some := list(islice(new, TOGETHER)):
            self._append(*some)
        self.entries.close()
        main.close()
        for path, file in zip(shards, opened, strict=True):
            if NEEDS_CLOSING:
                file.close()
            path.unlink()
        self.entries = Lines(_open_ours, self.is_there)
        self.entries.learn(self._path)

    def clear(self) -> None:
        """Removes all listed files, then all manifests, and the folder if it is empty then."""
        for output in self.entries:
            check_ours(self.folder / output, self.known(output))
            (self.folder / output).unlink(missing_ok=True)
        if NEEDS_CLOSING:
            self.__exit__()
        for path in self._manifests():  # last: without a line, a file is not ours
            path.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def _append(self, *entries: Entry) -> None:
        each = [json.dumps(entry).encode() + b"\n" for entry in entries]
        if self._file.seek(0, os.SEEK_END) < len(BEGIN):  # cut off so early, it is not a line
            self._file.truncate(0)
        append(self._file, b"".join(each))
        end = self._file.seek(0, os.SEEK_END)
        for entry, line in zip(reversed(entries), reversed(each), strict=True):
            end -= len(line)
            self.entries.add(entry["output"], self._path, end)

    def _opened(self, path: Path, *, shared: bool = False) -> BinaryIO:
        """Opens and locks a manifest, which is closed together with this one."""
        file = _open_ours(path)
        self._open.append(file)
        if lock(file.fileno(), shared=shared) is False:
            raise StorageError(f"another run is writing to {self.folder}; wait until it ends")
        return file

    def _manifests(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if is_manifest(path.name))

    def _finish_moves(self) -> None:
        """Moves files that a killed run completed but did not move; removes incomplete ones."""
        for path in sorted(self.folder.glob(f"{PREFIX}*")):
            if path.is_symlink() or not path.is_file():
                continue
            with claimed(path) as abandoned, suppress(FileNotFoundError):
                if abandoned:
                    self._finish_move(path)

    def _finish_move(self, path: Path) -> None:
        digest = sha256_of(path)
        same = (e["output"] for e in self.entries.newest() if e.get("sha256") == digest)
        name = next((name for name in same if self.get(name) is None), None)
        if name is not None:
            # Do not replace a file that somebody has changed since.
            with suppress(StorageError):
                with atomic_path(self.folder / name, PREFIX, self.known(name)) as temporary:
                    os.replace(path, temporary)
        path.unlink(missing_ok=True)


def keep_others(folder: Path, outputs: Iterable[str], listed: Container[str] = ()) -> None:
    """Raise if one of these files exists in a folder, and is not listed as made there."""
    for output in () if may_overwrite() else outputs:
        if output not in listed and os.path.lexists(folder / output):
            raise StorageError(
                f"cannot write {folder / output}: it exists already, and {NAME} does not list it; "
                "move it away, name another folder, or allow it (--overwrite)"
            )


def is_manifest(name: str) -> bool:
    """Whether this is the name of a manifest."""
    return name == NAME or shard_of(name) is not None


def has_manifest(folder: Path) -> bool:
    """Whether a folder exists and has a manifest, be it of a shard."""
    return folder.is_dir() and any(map(is_manifest, os.listdir(folder)))


def entries_in(folder: Path) -> Iterator[Entry]:
    """The valid line of each file in the manifests of a folder, which are only read, not locked."""
    lines = Lines(lambda path: path.open("rb", buffering=0), partial(_is_there, folder))
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_manifest(path.name):
            lines.learn(path)
    with closing(lines):
        yield from lines.newest()


def _is_there(folder: Path, entry: Entry, *, verify: bool = False) -> bool:
    return KnownFile(folder / entry["output"]).is_as_noted(entry, verify=verify)


def shard_of(name: str) -> Shard | None:
    """The shard whose manifest has this name, or None."""
    match = OF_SHARD.fullmatch(name)
    return Shard(int(match[1]), int(match[2])) if match else None


def as_json(entry: Mapping[str, Any]) -> Entry:
    """An entry as it is read back from its line."""
    plain: Entry = json.loads(json.dumps(entry))
    return plain


def _open_ours(path: Path) -> BinaryIO:
    """Opens a manifest, made if needed; refuses links, and files not written by ddfm."""
    if path.is_symlink():
        raise _foreign(path, "it is a symbolic link")
    handle = open_in_place(path, os.O_APPEND)
    with disk_explained(f"write {path}"):
        regular = stat.S_ISREG(os.fstat(handle).st_mode)
        beginning = os.read(handle, BEGINNING) if regular else b""
    if not regular or not _is_ours(beginning):
        os.close(handle)
        raise _foreign(
            path, "it is not a manifest of ddfm" if regular else "it is not a regular file"
        )
    return open(handle, "a+b", buffering=0)


def _foreign(path: Path, why: str) -> DdfmError:
    return StorageError(f"cannot use {path}: {why}; move it away, or name another folder")


def _is_ours(beginning: bytes) -> bool:
    """Whether a manifest may begin like this; it may be empty, or cut off in its first line."""
    line, whole, _ = beginning.partition(b"\n")
    if not whole:
        return line.startswith(BEGIN[: len(line)])
    entry = entry_of(line)
    return line.startswith(BEGIN) and (entry is None or isinstance(entry.get("sha256"), str))
