"""Repeats a result: the settings in its record, and what differs from when it was made.

A record is in a file, and files come from anybody. So its settings are checked as those of a caller
are, and only names that ddfm gives to priors are believed: a path, or a file to fetch, is for the
user to say.
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
from ddfm.imaging.metadata.record import Record
from ddfm.imaging.opening import Opening
from ddfm.pipeline.records import read_record
from ddfm.priors.entries import ENTRIES
from ddfm.restoration.observation import Observation, plain_observations
from ddfm.video.formats import is_video

__all__ = ["changes", "existing_record", "how", "keywords", "opening"]

OTHERS = ("volume", "film")  # keys of what was said of those
_MADE_BY = {
    "ddfm": "the version of ddfm",
    "weights": "the weights of the prior",
    "head": "the weights of dmfuse",
    "device": "the kind of device",
}


@by_annotation
def existing_record(path: str | os.PathLike[str], kind: str = "picture") -> Record:
    """The record in a file, or an error where it has none.

    Args:
        kind: what the file must hold: "picture", "volume" or "film".
    """
    path = Path(path)
    record = read_record(path)
    if record is None:
        raise InputError(
            f"{path} does not say what made it: ddfm did not, or an early version of it, or its "
            "metadata were stripped"
        )
    holds = next((other for other in OTHERS if other in record.opening), "picture")
    if holds == "film" and not (path.is_dir() or is_video(path)):
        raise InputError(
            f"{path} is a frame of a film, and depends on those before it; ddfm film --like, with "
            "its folder, makes all of them again"
        )
    if holds != kind:
        raise InputError(f"{path} is a {holds}, and was not made as a {kind} is")
    return record


def how(record: Record, kind: str) -> dict[str, Any]:
    """The settings of a volume or a film beside those of a `Fuser`; they may be anybody's."""
    said = record.opening.get(kind)
    if not isinstance(said, dict):
        raise InputError(f"the record does not say how the {kind} was made")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in said.items()}


def keywords(
    record: Record, prior: str | None = None, observations: Sequence[Any] = ()
) -> dict[str, Any]:
    """The keywords of a `Fuser` that does the same.

    Args:
        prior: what the caller names, where the record's is not to be used.
        observations: what the caller says of each source, which goes before what the record says.
    """
    known = {field.name for field in fields(FusionConfig)}
    said = {name: value for name, value in record.settings.items() if name in known}
    if said.get("clean", 0) is None:
        said["clean"] = math.inf  # which JSON does not have
    said["observations"] = _together(FusionConfig(**said).observations, observations)
    named = prior or record.settings.get("prior")
    if prior is None and named not in list(ENTRIES):  # a stranger may have said a list
        raise InputError(
            f"the record's prior, {named!r}, is no name that ddfm knows; say where it is (--prior)"
        )
    return said | {"prior": named, "dtype": str(record.settings.get("dtype", "auto"))}


def _together(recorded: Sequence[Any], given: Sequence[Any]) -> list[dict[str, Any]]:
    """The observations of both; a record does not know where its files lie."""
    done = []
    for k, (old, new) in enumerate(zip_longest(plain_observations(recorded), given)):
        before, now = Observation.of(old).plain(), Observation.of(new).plain()
        for name in ("mask", "blur"):
            if isinstance(before.get(name), str) and name not in now:
                raise InputError(
                    f"the record's {name} of source {k + 1} is a file, {before[name]!r}; say where "
                    f"it is (--{name}-{chr(ord('a') + k)})"
                )
        done.append(before | now)
    return done


def opening(record: Record) -> Opening:
    """How the sources were read."""
    said = {field.name for field in fields(Opening)} & set(record.opening)
    values = {name: record.opening[name] for name in said}
    ranges = values.get("ranges", ())
    if not isinstance(ranges, list | tuple):
        raise InputError("the record's ranges are no list")
    values["ranges"] = tuple(tuple(r) if isinstance(r, list) else r for r in ranges)
    return Opening(**values)


def changes(before: Record, now: Record, name: str) -> list[str]:
    """A line for each thing that differs from when the picture of this name was made."""
    lines = [
        f"{what} is not that of {name}: {_short(before.settings, key)} there, "
        f"{_short(now.settings, key)} here"
        for key, what in _MADE_BY.items()
        if before.settings.get(key) != now.settings.get(key)
    ]
    if len(before.sources) != len(now.sources):
        lines.append(f"{name} has {len(before.sources)} sources, and not {len(now.sources)}")
    for (old, sha256), (new, found) in zip(before.sources, now.sources, strict=False):
        if sha256 is None or found is None:
            lines.append(f"nobody can tell whether {new} is the {old} that {name} was made of")
        elif sha256 != found:
            lines.append(f"{new} is not the {old} that {name} was made of: its sha256 is another")
    return lines


def _short(settings: Mapping[str, Any], key: str) -> str:
    return str(settings.get(key, "none"))[:12]
