"""Lists the files of a folder that could not be made, and why: `ddfm-failed.jsonl`.

    {"software": "ddfm image fusion", "output": "0007.png", "sources": ["0007_ir.png", ...],
     "error": "...", "time_ns": ..., "made_ns": 0}

The list is beside the manifest, and that of a shard is called `ddfm-failed-2-of-8.jsonl`. A line is
added when a file fails, so it is kept if the run is killed. At the end of a run, lines of earlier
runs are removed, and the list itself if nothing failed. Of several lines for a file, the newest is
valid, unless the file was made after it: then the time in its manifest is no more `made_ns`, which
is 0 if the file had never been made. (Lines of older versions lack this; their time decides,
although the clocks of machines differ.)
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from ddfm.errors import StorageError, disk_explained
from ddfm.storage.atomic import open_in_place
from ddfm.storage.files import remove, write_bytes
from ddfm.storage.lines import Entry, append, entry_of, time_in
from ddfm.storage.manifest import Shard
from ddfm.storage.ours import JSON_MARK, check_ours

__all__ = ["NAME", "Failures", "failures_in", "join_failures"]

NAME = "ddfm-failed.jsonl"
_NAMES = re.compile(r"ddfm-failed(-[1-9]\d*-of-[1-9]\d*)?\.jsonl")


class Failures:
    """The list of one run, or of one of its shards; the caller locks its manifest.

    Args:
        folder: the folder of the results, which need not exist yet.
        shard: the part of the work that this process does while others do the rest.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self._folder, self._whole = folder, shard is None
        self._path = folder / (NAME if shard is None else shard.failures)
        self._entries: list[Entry] = []

    def check(self) -> None:
        """Raises, before any work is done, if a list to be replaced was not written by ddfm."""
        for path in _lists(self._folder) if self._whole else [self._path]:
            check_ours(path)

    def add(
        self, output: str, sources: Sequence[str], error: str, made: Entry | None = None
    ) -> None:
        """Adds a file that failed. If the disk is full, the line is written by `settle`.

        Args:
            made: the file's line in the manifest, if an earlier run has made it.
        """
        entry = {"output": output, "sources": list(sources), "error": error}
        times = {"time_ns": time.time_ns(), "made_ns": time_in(made or {})}
        self._entries.append(entry | times)
        with suppress(StorageError):
            _add(self._path, _line(self._entries[-1]))

    def settle(self) -> None:
        """Leaves only the failures of this run; after one without shards, also in other lists."""
        _write(self._path, self._entries)
        if self._whole:
            _remove_those_of_shards(self._folder)


def failures_in(folder: Path, made: Mapping[str, Entry]) -> list[Entry]:
    """The valid line of each file that failed, by its name; from the lists of all shards.

    Args:
        made: the lines of the manifest.
    """
    failed_at = partial(time_in, key="time_ns")
    newest: dict[str, Entry] = {}
    for path in _lists(folder):
        check_ours(path)
        with disk_explained(f"read {path}"):
            lines = path.read_bytes().splitlines()
        for entry in map(entry_of, lines):
            if entry is not None and isinstance(entry.get("error"), str):
                output = entry["output"]
                newest[output] = max(entry, newest.get(output, entry), key=failed_at)
    failed = (entry for _, entry in sorted(newest.items()))
    return [each for each in failed if not _made_since(each, made.get(each["output"], {}))]


def _made_since(failure: Entry, made: Entry) -> bool:
    """Whether a file was made after it failed, given its line in the manifest."""
    if "made_ns" in failure:
        return time_in(made) != time_in(failure, "made_ns")
    return time_in(made) > time_in(failure, "time_ns")


def join_failures(folder: Path, entries: Sequence[Entry]) -> None:
    """Replaces the lists of all shards by one with these entries; the folder must be locked."""
    _write(folder / NAME, entries)
    _remove_those_of_shards(folder)


def _lists(folder: Path) -> list[Path]:
    names = os.listdir(folder) if folder.is_dir() else []
    return [folder / name for name in sorted(names) if _NAMES.fullmatch(name)]


def _remove_those_of_shards(folder: Path) -> None:
    for path in _lists(folder):
        if path.name != NAME:
            remove(path)


def _write(path: Path, entries: Sequence[Entry]) -> None:
    if entries:
        write_bytes(path, b"".join(map(_line, entries)))
    else:
        remove(path)


def _add(path: Path, line: bytes) -> None:
    """Appends a line to a list; the first line appears complete, since its mark makes it ours."""
    if not os.path.lexists(path):
        write_bytes(path, line)
        return
    check_ours(path)
    with (
        disk_explained(f"write {path}"),
        open(open_in_place(path, os.O_APPEND), "a+b", buffering=0) as file,
    ):
        append(file, line)


def _line(entry: Entry) -> bytes:
    return json.dumps(JSON_MARK | entry).encode() + b"\n"
