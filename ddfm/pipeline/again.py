"""Repeats a result: finds the settings in its record, and what has changed since it was made.

A record comes from a file, which anybody may have written. So its settings are checked like those
of a caller, and of priors only names known to ddfm are accepted: a path, or a file to download,
must come from the user.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ddfm.arguments import by_annotation
from ddfm.config import FusionConfig
from ddfm.errors import InputError
from ddfm.extensions import brought
from ddfm.imaging.metadata.record import Record
from ddfm.imaging.opening import Opening
from ddfm.pipeline.records import read_record
from ddfm.priors.entries import ENTRIES
from ddfm.restoration.observation import Observation, plain_observations
from ddfm.video.formats import is_video

__all__ = ["changes", "existing_record", "how", "keywords", "opening"]

OTHERS = ("volume", "film")  # keys of a record with the further settings of these kinds
_MADE_BY = {
    "ddfm": "the version of ddfm",
    "weights": "the weights of the prior",
    "head": "the weights of dmfuse",
    "files": "the mask or kernel",
    "device": "the kind of device",
}


@by_annotation
def existing_record(path: str | os.PathLike[str], kind: str = "picture") -> Record:
    """The record in a file; raises if it has none.

    Args:
        kind: what the file must hold: "picture", "volume" or "film".
    """
    path = Path(path)
    record = read_record(path)
    if record is None:
        raise InputError(
            f"{path} has no record of how it was made: it is not from ddfm, or from an early "
            "version, or its metadata were stripped"
        )
    holds = next((other for other in OTHERS if other in record.opening), "picture")
    if holds == "film" and not (path.is_dir() or is_video(path)):
        raise InputError(
            f"{path} is a frame of a film, which depends on the frames before it; use ddfm film "
            "--like with its folder to make all of them again"
        )
    if holds != kind:
        raise InputError(f"{path} was made as a {holds}, not as a {kind}")
    return record


def how(record: Record, kind: str) -> dict[str, Any]:
    """The further settings of a volume or a film, as unchecked as the file they come from."""
    found = record.opening.get(kind)
    if not isinstance(found, dict):
        raise InputError(f"the record does not contain the settings of the {kind}")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}


def keywords(
    record: Record, prior: str | None = None, observations: Sequence[Any] = ()
) -> dict[str, Any]:
    """The keywords of a `Fuser` that fuses as recorded.

    Args:
        prior: the prior to use in place of the recorded one.
        observations: what the caller knows of each source, which overrides the record.
    """
    known = {field.name for field in fields(FusionConfig)}
    recorded = {name: value for name, value in record.settings.items() if name in known}
    if recorded.get("clean", 0) is None:
        recorded["clean"] = math.inf  # JSON has no infinity
    recorded["observations"] = _together(FusionConfig(**recorded).observations, observations)
    named = prior or record.settings.get("prior")
    # The record may hold anything, even a list.
    if prior is None and named not in [*ENTRIES, *brought("prior")]:
        raise InputError(
            f"the record's prior, {named!r}, is not a name that ddfm knows; specify it with --prior"
        )
    return recorded | {"prior": named, "dtype": str(record.settings.get("dtype", "auto"))}


def _together(recorded: Sequence[Any], given: Sequence[Any]) -> list[dict[str, Any]]:
    """The recorded observations, updated by the given ones; recorded files must be given again."""
    done = []
    for k, (old, new) in enumerate(zip_longest(plain_observations(recorded), given)):
        before, now = Observation.of(old).plain(), Observation.of(new).plain()
        for name in ("mask", "blur"):
            if isinstance(before.get(name), str) and name not in now:
                raise InputError(
                    f"the record's {name} of source {k + 1} is a file, {before[name]!r}; specify "
                    f"its path with --{name}-{chr(ord('a') + k)}"
                )
        done.append(before | now)
    return done


def opening(record: Record) -> Opening:
    """How the sources were read, as recorded."""
    names = {field.name for field in fields(Opening)} & set(record.opening)
    values = {name: record.opening[name] for name in names}
    ranges = values.get("ranges", ())
    if not isinstance(ranges, list | tuple):
        raise InputError("the record's ranges are not a list")
    values["ranges"] = tuple(tuple(r) if isinstance(r, list) else r for r in ranges)
    return Opening(**values)


def changes(before: Record, now: Record, name: str) -> list[str]:
    """A line for each difference between this run and the one that made the result `name`."""
    lines = [
        f"{what} differs from that of {name}: {_short(before.settings, key)} there, "
        f"{_short(now.settings, key)} here"
        for key, what in _MADE_BY.items()
        if key in before.settings and before.settings[key] != now.settings.get(key)
    ]
    if len(before.sources) != len(now.sources):
        lines.append(f"{name} was made of {len(before.sources)} sources, not {len(now.sources)}")
    for (old, sha256), (new, found) in zip(before.sources, now.sources, strict=False):
        if sha256 is None or found is None:
            lines.append(f"it is unknown whether {new} is the {old} that {name} was made of")
        elif sha256 != found:
            lines.append(f"{new} is not the {old} that {name} was made of: its sha256 differs")
    return lines


def _short(settings: Mapping[str, Any], key: str) -> str:
    return str(settings.get(key, "none"))[:12]
