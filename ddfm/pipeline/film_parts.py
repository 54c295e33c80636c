"""One film fused by many processes: each fuses a range of its frames, and the parts are joined.

A frame depends on those before it, through denoising and levels, and less on those longer ago. So a
part also fuses the `RUN_IN` frames before its own, without keeping them; earlier frames have half a
percent of the influence. Where a source repeats frames, which tell nothing new, there are more.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ddfm.errors import InputError
from ddfm.imaging.metadata.record import Record
from ddfm.restoration.corrections import summed_up
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import Shard
from ddfm.storage.ours import MARK
from ddfm.video.formats import WRITTEN

__all__ = ["RUN_IN", "Joined", "Part", "is_film", "merge_film"]

RUN_IN = 50  # frames; each adds a tenth, so earlier ones keep a share of 0.9^50 = 0.005
_COMMENT = re.compile(rf"{MARK}\npart ([1-9]\d*) of ([1-9]\d*) of film ([0-9a-f]{{16}})")


@dataclass(frozen=True)
class Part:
    """The frames of a film that one process fuses.

    Attributes:
        shard: which part, of how many.
        film: the number of frames of the whole film.
    """

    shard: Shard
    film: int

    def __post_init__(self) -> None:
        if self.film < self.shard.count:
            raise InputError(
                f"a film of {self.film} frames cannot be split into {self.shard.count} parts"
            )

    @property
    def begin(self) -> int:
        """The index of its first frame, counted from 0."""
        return (self.shard.index - 1) * self.film // self.shard.count

    @property
    def end(self) -> int:
        """The index after its last frame."""
        return self.shard.index * self.film // self.shard.count

    def path(self, out: Path) -> Path:
        """The video that this part of a video is written to."""
        return _path(self.shard, out)

    def note(self, settings: Entry, sources: Sequence[str]) -> str:
        """The comment of this part.

        It has a digest, the same in all parts with these settings and these sources, which are
        given by their SHA-256.
        """
        alike = {name: value for name, value in settings.items() if name not in self.frames}
        text = json.dumps([alike, self.film, list(sources)], sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return f"part {self.shard.index} of {self.shard.count} of film {digest}"

    @property
    def frames(self) -> Entry:
        """The setting that names its first and its last frame, counted from 1."""
        return {"frames": [self.begin + 1, self.end]}


@dataclass(frozen=True)
class Joined:
    """The outcome of joining parts: no video is written if some are missing."""

    frames: int
    missing: list[str]

    @property
    def ok(self) -> bool:
        return not self.missing

    def __str__(self) -> str:
        lines = [f"{name}: is missing" for name in self.missing]
        what = f"{self.frames} frames joined" if self.ok else "nothing was joined"
        return "\n".join([*lines, what])


def is_film(out: str | os.PathLike[str]) -> bool:
    """Whether the name is that of a video which ddfm can write."""
    return Path(out).suffix.lower() in WRITTEN


def merge_film(out: str | os.PathLike[str]) -> Joined:
    """Joins the parts of a video if none is missing. The parts are kept."""
    from ddfm.video.join import join_videos

    out = Path(out)
    parts = _parts(out)
    missing = [path.name for path in parts if not path.exists()]
    if missing:
        return Joined(0, missing)
    _check_alike(parts)
    return Joined(join_videos(parts, out, _record_of(parts)), [])


def _path(shard: Shard, out: Path) -> Path:
    return out.with_name(f"{out.stem}.part-{shard.index}-of-{shard.count}{out.suffix}")


def _parts(out: Path) -> list[Path]:
    """The paths of all parts that the film should have, in order."""
    form = re.compile(rf"{re.escape(out.stem)}\.part-\d+-of-([1-9]\d*){re.escape(out.suffix)}")
    names = [path.name for path in out.parent.iterdir()] if out.parent.is_dir() else []
    counts = {int(match[1]) for match in map(form.fullmatch, names) if match}
    if len(counts) != 1:
        some = f"no parts such as {_path(Shard(1, 2), out).name}"
        which = f"parts of {len(counts)} different splits" if counts else some
        raise InputError(f"next to {out} there are {which}; ddfm film --shard makes them")
    (count,) = counts
    if count > len(names) + 1_000:
        raise InputError(f"{out} should have {count} parts, but at most {len(names)} exist")
    return [_path(Shard(k, count), out) for k in range(1, count + 1)]


def _record_of(parts: list[Path]) -> str | None:
    """The record of the joined film, from those of its parts; None if these have none."""
    from ddfm.video.files import record_in

    texts = {path: record_in(path) for path in parts}
    records = [Record.from_text(text, str(path)) for path, text in texts.items() if text]
    if len(records) < len(parts):
        return None
    first = records[0]
    settings = {name: value for name, value in first.settings.items() if name != "frames"}
    observed = summed_up((record.observed for record in records), "parts")
    return replace(first, settings=settings | {"parts": len(parts)}, observed=observed).text


def _check_alike(parts: list[Path]) -> None:
    from ddfm.video.files import comment_of

    films: dict[Any, Path] = {}
    for number, path in enumerate(parts, 1):
        match = _COMMENT.match(comment_of(path))
        if match is None or (int(match[1]), int(match[2])) != (number, len(parts)):
            raise InputError(f"{path} is not marked by ddfm as part {number} of {len(parts)}")
        films.setdefault(match[3], path)
    if len(films) > 1:
        one, other = list(films.values())[:2]
        raise InputError(
            f"{one} and {other} are of different films, or were fused with different settings"
        )
