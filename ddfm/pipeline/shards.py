"""One folder of results, made by many processes: which of them does what, and what came of it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ddfm.errors import InputError
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import NAME, Manifest, Shard, is_manifest, shard_of

__all__ = ["Merged", "find_shard", "merge_shards"]

# What a cluster tells the processes of one job.
SLURM, SLURM_COUNT = "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"
KUBERNETES = "JOB_COMPLETION_INDEX"


def find_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """The part of the work that is meant.

    Args:
        text: "3/8", the third of eight; "auto/8", where Slurm or Kubernetes says which of eight
            this is; or "auto", where Slurm says how many there are, too.
        environment: in which they say it.
    """
    index, slash, count = text.partition("/")
    if index == "auto":
        place = _place(environment)
        count = count if slash else environment.get(SLURM_COUNT, "")
        if place is None or not count:
            raise InputError(
                f"--shard {text}: {SLURM} and {SLURM_COUNT}, or {KUBERNETES}, are not set; say "
                "which of how many this is, such as 3/8, or how many there are, such as auto/8"
            )
        index = str(place + 1)
    if not (index.isdecimal() and count.isdecimal()) or not 1 <= int(index) <= int(count):
        raise InputError(f"--shard is which of how many, from 1/8 to 8/8, or auto, not {text!r}")
    return Shard(int(index), int(count))


def _place(environment: Mapping[str, str]) -> int | None:
    """Which process of its job this one is, from 0 on."""
    try:
        if SLURM in environment:
            first = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
            step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
            return (int(environment[SLURM]) - first) // max(1, step)
        return int(environment[KUBERNETES])
    except KeyError:
        return None
    except ValueError:
        raise InputError(f"{SLURM} and {KUBERNETES} are whole numbers") from None


@dataclass(frozen=True)
class Merged:
    """What is in a folder whose manifests were made one.

    Attributes:
        results: how many files are there as they were made.
        missing: names of files that are not.
        silent: shards that have left no manifest though others of their number have; while there
            are such, the manifests stay as they are.
        cut: of parts of a film that are not whole, what is there.
    """

    results: int
    missing: list[str]
    silent: list[Shard]
    cut: list[str]

    @property
    def ok(self) -> bool:
        return not (self.missing or self.silent or self.cut)

    def __str__(self) -> str:
        lines = [f"{name}: is not there as it was made" for name in self.missing]
        lines += [f"shard {s.index} of {s.count}: has not begun" for s in self.silent]
        lines += self.cut
        if self.silent:
            lines.append("nothing was merged: run what has not begun, and merge then")
        return "\n".join([*lines, f"{self.results} results, {len(self.missing)} missing"])


def merge_shards(out: str | os.PathLike[str], *, verify: bool = False) -> Merged:
    """Makes one manifest of those of all shards, if all have begun, and looks at what they made.

    Args:
        verify: whether to compare what is in the files, where sizes and times would do.
    """
    out = Path(out)
    names = [path.name for path in out.iterdir() if is_manifest(path.name)] if out.is_dir() else []
    if not names:
        raise InputError(f"{out} has no {NAME}, nor any of a shard: nothing was made there by ddfm")
    silent = _silent(out, names)
    with Manifest(out) as manifest:
        if not silent:
            manifest.merge()
        results, missing = 0, []
        ranges: Counter[tuple[int, int]] = Counter()  # of the frames of a film, where they say so
        for entry in manifest.entries.newest():
            if manifest.is_there(entry, verify=verify):
                results += 1
            else:
                missing.append(entry["output"])
            ranges.update(filter(None, [_frames_of(entry)]))
        return Merged(results, sorted(missing), silent, _cut(ranges))


def _silent(out: Path, names: list[str]) -> list[Shard]:
    """Which shards have not begun; of those that began before an earlier merge, nothing is left."""
    if NAME in names and (out / NAME).stat().st_size:
        return []
    there = defaultdict(set)
    for shard in filter(None, map(shard_of, names)):
        there[shard.count].add(shard)
    return [
        shard
        for count, shards in sorted(there.items())
        for shard in (Shard(k, count) for k in range(1, count + 1))
        if shard not in shards
    ]


def _cut(ranges: Mapping[tuple[int, int], int]) -> list[str]:
    """Which parts of a film have not all of the frames that they are of."""
    return [
        f"frames {first} to {last}: only {count} are there"
        for (first, last), count in sorted(ranges.items())
        if count <= last - first
    ]


def _frames_of(entry: Entry) -> tuple[int, int] | None:
    """Of which frames of a film this is one, where its line says so."""
    match entry.get("settings"):
        case {"frames": [int(first), int(last)]}:
            return first, last
    return None
