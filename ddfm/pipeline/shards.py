"""One folder of results made by many processes: who does what, what is missing, what failed."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ddfm.errors import InputError, StorageError
from ddfm.storage.failures import failures_in, join_failures
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import NAME, Manifest, Shard, is_manifest, shard_of

__all__ = ["Merged", "find_shard", "merge_shards"]

# Environment variables by which a cluster numbers the processes of a job.
SLURM, SLURM_COUNT = "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"
KUBERNETES = "JOB_COMPLETION_INDEX"


def find_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """The part of the work that a text specifies.

    Args:
        text: "3/8", the third of eight; "auto/8", one of eight, whose number Slurm or Kubernetes
            sets; or "auto", if Slurm sets both.
        environment: the environment variables.
    """
    index, slash, count = text.partition("/")
    if index == "auto":
        place = _place(environment)
        count = count if slash else environment.get(SLURM_COUNT, "")
        if place is None or not count:
            raise InputError(
                f"--shard {text}: {SLURM} and {SLURM_COUNT}, or {KUBERNETES}, are not set; give "
                "the part and the number of parts, such as 3/8, or the number of parts, such as "
                "auto/8"
            )
        index = str(place + 1)
        tasks = environment.get(SLURM_COUNT, count)  # numbers of an array need not begin at 0
        if count.isdecimal() and (place >= int(count) or tasks != count):
            raise InputError(
                f"--shard {text}: this process would be part {index} of {count}, in a job of "
                f"other tasks than these parts; give the part and the number of all parts, such "
                "as --shard 3/64"
            )
    if not (index.isdecimal() and count.isdecimal()) or not 1 <= int(index) <= int(count):
        raise InputError(
            "--shard must be a part and the number of parts, such as 1/8 to 8/8, or auto, not "
            f"{text!r}"
        )
    return Shard(int(index), int(count))


def _place(environment: Mapping[str, str]) -> int | None:
    """The index of this process in its job, counted from 0; None if it has none."""
    try:
        if SLURM in environment:
            first = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
            step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
            return (int(environment[SLURM]) - first) // max(1, step)
        return int(environment[KUBERNETES])
    except KeyError:
        return None
    except ValueError:
        raise InputError(f"{SLURM} and {KUBERNETES} must be whole numbers") from None


@dataclass(frozen=True)
class Merged:
    """The outcome of merging the manifests of a folder.

    Attributes:
        results: how many files exist as they were made.
        missing: names of files that do not.
        failed: why the last attempt to make a file failed, by its name; such a file is not counted
            as missing, and exists if an earlier attempt made it.
        silent: shards without a manifest, although others of the same split have one; as long as
            there are any, nothing is merged.
        cut: a line for each part of a film that is incomplete.
        film: whether the files are frames of a film that was fused in parts.
    """

    results: int
    missing: list[str]
    failed: dict[str, str]
    silent: list[Shard]
    cut: list[str]
    film: bool = False

    @property
    def ok(self) -> bool:
        return not (self.missing or self.failed or self.silent or self.cut)

    def __str__(self) -> str:
        lines = [f"{name}: is missing, or was changed afterwards" for name in self.missing]
        lines += [f"{name}: failed: {why}" for name, why in self.failed.items()]
        for count, some in groupby(self.silent, lambda shard: shard.count):
            lines.append(f"not begun of {count} shards: {', '.join(str(s.index) for s in some)}")
        lines += self.cut
        if self.silent:
            lines.append("nothing was merged: run these shards first, then merge")
        counts = f"{self.results} results, {len(self.missing)} missing, {len(self.failed)} failed"
        return "\n".join([*lines, counts])


def merge_shards(out: str | os.PathLike[str], *, verify: bool = False) -> Merged:
    """Merges the manifests and lists of failures of all shards, and checks their results.

    If a shard has not begun, nothing is merged.

    Args:
        out: the folder of results.
        verify: whether to compare the contents of files, not just sizes and times.
    """
    out = Path(out)
    if not out.is_dir():
        raise StorageError(f"there is no folder {out}")
    names = [path.name for path in out.iterdir() if is_manifest(path.name)]
    if not names:
        raise InputError(
            f"{out} has no {NAME}, nor that of a shard: it is not a folder of results of ddfm"
        )
    with Manifest(out) as manifest:
        silent = _silent(out, _begun(manifest, names))
        failures = failures_in(out, manifest.entries)
        if not silent:
            manifest.merge()
            join_failures(out, failures)
        failed = {entry["output"]: entry["error"] for entry in failures}
        results, missing = 0, []
        ranges: Counter[tuple[int, int] | None] = Counter()  # frames found in each range of a film
        for entry in manifest.entries.newest():
            if manifest.is_there(entry, verify=verify):
                results += 1
            elif entry["output"] not in failed:
                missing.append(entry["output"])
            ranges[_frames_of(entry)] += 1
        return Merged(results, sorted(missing), failed, silent, *_of_film(ranges))


def _begun(manifest: Manifest, names: list[str]) -> list[str]:
    """The manifests that show that their shard has begun.

    Of a film, these are those with lines: every part has frames, and one that was killed while it
    fused the frames before its own has a manifest without lines. Of folders, a shard may have no
    pair to fuse.
    """
    first = next(manifest.entries.newest(), None)
    if first is None or _frames_of(first) is None:
        return names
    return [name for name in names if (manifest.folder / name).stat().st_size]


def _silent(out: Path, names: list[str]) -> list[Shard]:
    """Which shards have not begun.

    None if all of one split have, which is the whole work, whatever others were begun before; and
    none if manifests were merged before, as this hides it.
    """
    if NAME in names and (out / NAME).stat().st_size:
        return []
    there = defaultdict(set)
    for shard in filter(None, map(shard_of, names)):
        there[shard.count].add(shard)
    if any(len(shards) == count for count, shards in there.items()):
        return []
    return [
        shard
        for count, shards in sorted(there.items())
        for shard in (Shard(k, count) for k in range(1, count + 1))
        if shard not in shards
    ]


def _of_film(found: Mapping[tuple[int, int] | None, int]) -> tuple[list[str], bool]:
    """What is missing in the parts of a film, and whether there are any.

    Args:
        found: how many frames there are of each range, and under None how many of no range, which a
            run without shards made.
    """
    ranges = {frames: count for frames, count in found.items() if frames is not None}
    return _cut(ranges) + ([] if None in found else _gaps(ranges)), bool(ranges)


def _gaps(ranges: Collection[tuple[int, int]]) -> list[str]:
    """A line for the frames before and between these ranges, which no part has made."""
    lines, end = [], 0
    for first, last in sorted(ranges):
        if first > end + 1:
            lines.append(f"frames {end + 1} to {first - 1}: none exist")
        end = max(end, last)
    return lines


def _cut(ranges: Mapping[tuple[int, int], int]) -> list[str]:
    """A line for each part of a film that lacks some of its frames."""
    return [
        f"frames {first} to {last}: only {count} exist"
        for (first, last), count in sorted(ranges.items())
        if count <= last - first
    ]


def _frames_of(entry: Entry) -> tuple[int, int] | None:
    """The range of frames of a film that this frame was fused with, or None."""
    match entry.get("settings"):
        case {"frames": [int(first), int(last)]}:
            return first, last
    return None
