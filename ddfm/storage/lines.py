"""Lines of JSON in files, indexed by the file name in each, and read on demand.

A million lines are more than a gigabyte, and four times that as objects. So only the position of a
line is kept in memory; its content is read again on demand.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

__all__ = ["Entry", "Lines", "append", "entry_of", "time_in"]

LONGEST = 255  # longest name of a file, in bytes
# How lines written by ddfm begin. Other lines have to be parsed.
_USUAL = re.compile(
    rb'\{"output": "([^"\\/\x00-\x1f\x80-\xff]+)", "sha256": "[0-9a-f]{64}", "size": \d+, '
    rb'"mtime_ns": \d+[,}]'
)
_FILE = 1 << 48  # a place is the number of a file times this, plus the offset in it

Entry = dict[str, Any]


class Lines(Mapping[str, Entry]):
    """The newest line of each name, in several files that only grow.

    Args:
        opened: opens a file of lines for reading, unbuffered.
        is_there: whether the result of a line is there as it was made.
    """

    def __init__(
        self, opened: Callable[[Path], BinaryIO], is_there: Callable[[Entry], bool]
    ) -> None:
        self._opened, self._is_there = opened, is_there
        self._files: list[Path] = []
        # The places of the lines of each name; that of the valid one is first.
        self._places: dict[str, tuple[int, ...]] = {}
        self._reading: tuple[int, BinaryIO] | None = None  # the file that was read last
        self._keeps_open = True
        self._lock = Lock()  # results are looked up while others are written

    def learn(self, path: Path) -> None:
        """Indexes all lines of a file; the newest of a name is valid. Cut-off lines are ignored.

        In a file the last one is newest. Of several files, it is the one whose result is there,
        since the clocks of machines differ; if that does not decide, the one with the later time.
        """
        place = self._number(path) * _FILE
        with self._opened(path) as raw, io.BufferedReader(raw, 1 << 20) as file:  # type: ignore[type-var]
            file.seek(0)
            for line in file:
                if line.endswith(b"\n"):
                    self._learn_line(line, place)
                place += len(line)

    def add(self, output: str, path: Path, offset: int) -> None:
        """Indexes a line that was appended to a file, as the valid one, without comparing times."""
        place = self._number(path) * _FILE + offset
        self._places[output] = (place, *self._places.get(output, ()))

    def every(self, output: str) -> Iterator[Entry]:
        """All lines of a name, the valid one first."""
        for place in self._places.get(output, ()):
            entry = self._read(place)
            if entry is not None and entry["output"] == output:
                yield entry

    def close(self) -> None:
        """Leaves no file open. Lines can still be read, which then takes longer."""
        with self._lock:
            self._release()
            self._keeps_open = False

    def __getitem__(self, output: str) -> Entry:
        for entry in self.every(output):
            return entry
        raise KeyError(output)

    def __iter__(self) -> Iterator[str]:
        return (entry["output"] for entry in self.newest())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def newest(self) -> Iterator[Entry]:
        """The valid line of each name, each read once."""
        for output in list(self._places):
            yield from (entry for entry in [self.get(output)] if entry is not None)

    def _learn_line(self, line: bytes, place: int) -> None:
        usual = _USUAL.match(line)
        if usual is not None and line.endswith(b"}\n"):
            output = usual[1].decode()
        else:
            entry = entry_of(line)
            if entry is None:
                return
            output = entry["output"]
        known = self._places.get(output)
        if known is None:
            self._places[output] = (place,)
        # In one file the later line is newer, even if the clock was set back in between.
        elif place // _FILE == known[0] // _FILE or self._is_newer(line, output):
            self._places[output] = (place, *known)
        else:
            self._places[output] = (known[0], place, *known[1:])

    def _is_newer(self, line: bytes, output: str) -> bool:
        """Whether this line is newer than the valid one, which is of another file."""
        new, old = entry_of(line), self.get(output)
        if new is None or old is None:
            return old is None
        there = self._is_there(new)
        return there if there != self._is_there(old) else time_in(new) >= time_in(old)

    def _number(self, path: Path) -> int:
        if path not in self._files:
            self._files.append(path)
        return self._files.index(path)

    def _read(self, place: int) -> Entry | None:
        number, offset = divmod(place, _FILE)
        with self._lock:
            if self._reading is None or self._reading[0] != number:
                self._release()
                raw = self._opened(self._files[number])
                self._reading = number, io.BufferedReader(raw, 1 << 14)  # type: ignore[type-var]
            file = self._reading[1]
            file.seek(offset)
            line = file.readline()
            if not self._keeps_open:
                self._release()
        return entry_of(line)

    def _release(self) -> None:
        if self._reading is not None:
            self._reading[1].close()
        self._reading = None


def entry_of(line: bytes) -> Entry | None:
    """The entry in a line; None if it is not of a manifest, or names a file outside its folder."""
    with suppress(ValueError, RecursionError):
        entry = json.loads(line)
        name = entry.get("output") if isinstance(entry, dict) else None
        if isinstance(name, str) and 0 < len(os.fsencode(name)) <= LONGEST:
            return entry if name == Path(name).name else None
    return None


def append(file: BinaryIO, lines: bytes) -> None:
    """Appends lines to a file that is open without a buffer, all or none, down to the disk.

    A line that was cut off before stays a line of its own.
    """
    length = file.seek(0, os.SEEK_END)
    if length:
        file.seek(length - 1)
        lines = lines if file.read(1) == b"\n" else b"\n" + lines
    try:
        while lines:  # a disk or a limit that leaves room for a part of them refuses the rest
            lines = lines[file.write(lines) :]
    except OSError:
        file.truncate(length)
        raise
    os.fsync(file.fileno())


def time_in(entry: Entry, key: str = "mtime_ns") -> int:
    """A time in nanoseconds, by default when its file was written; 0 if this is not recorded."""
    time = entry.get(key)
    return time if isinstance(time, int) else 0
