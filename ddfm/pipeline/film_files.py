"""Films in files: folders of frames, and videos (see `ddfm.video.files`).

A folder of results has a manifest (see `ddfm.storage.manifest`), and an interrupted film goes on
where it was: a frame is kept if it and all before it were made with these settings from these
sources, since each depends on those before it. A video appears when it is whole, or not at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count as counting
from pathlib import Path
from typing import Any, Protocol

from ddfm.errors import DdfmError, unknown
from ddfm.imaging.pairing import find_pairs
from ddfm.result import Fusion
from ddfm.storage.atomic import atomic_path
from ddfm.storage.checksum import sha256_of
from ddfm.storage.manifest import NAME, Entry, Manifest
from ddfm.storage.outputs import keep_sources
from ddfm.video.files import RATE, VideoReader, VideoWriter, check_video
from ddfm.video.formats import WRITTEN

__all__ = ["Film", "Frame", "check_film", "open_film", "writing"]


@dataclass(frozen=True)
class Frame:
    """One frame of both films.

    Attributes:
        name: what its result is called.
        a, b: paths or pictures.
        sources: tells what it is made from, as a manifest has it.
    """

    name: str
    a: Any
    b: Any
    sources: Callable[[], list[Entry]]


@dataclass(frozen=True)
class Film:
    """Two films of one scene, to be read once.

    Attributes:
        frames: in their order.
        rate: frames per second.
        count: about how many there are, where that is known.
        names: of all frames, where these are known.
    """

    frames: Iterable[Frame]
    rate: float
    count: int | None
    names: frozenset[str] | None = None


class Writer(Protocol):
    """Where the results go to, frame by frame."""

    def kept(self, frame: Frame) -> Entry | None:
        """What made this frame's result, if it is there already and is what it would become."""

    def write(self, frame: Frame, fusion: Fusion) -> None: ...


def open_film(
    a: str | os.PathLike[str], b: str | os.PathLike[str], pattern: str | None = None
) -> Film:
    """The frames of two folders, paired by name, or of two videos, one after the other."""
    a, b = Path(a), Path(b)
    if a.is_dir() != b.is_dir():
        folder, other = (a, b) if a.is_dir() else (b, a)
        raise DdfmError(
            f"{folder} is a folder and {other} is not; both are folders, or both videos"
        )
    if a.is_dir():
        return _folders(a, b, pattern)
    if pattern is not None:
        raise DdfmError("a pattern tells frames of two folders apart; videos need none")
    return _videos(a, b)


def check_film(out: str | os.PathLike[str]) -> None:
    """Raise what `writing` would raise about this path, before the work is done."""
    out = Path(out)
    suffix = out.suffix.lower()
    if suffix and suffix not in WRITTEN:
        raise unknown("output suffix", suffix, [*WRITTEN, "none (a folder for frames)"])
    if suffix:
        check_video(out)
    elif out.exists() and not out.is_dir():
        raise DdfmError(f"cannot write {out}: it is a file; without a suffix, a folder is meant")
    elif out.is_dir() and not (out / NAME).exists() and any(out.iterdir()):
        raise _other_film(out, next(out.iterdir()).name)


@contextmanager
def writing(
    out: str | os.PathLike[str], film: Film, settings: Entry, rate: float | None = None
) -> Iterator[Writer]:
    """Takes the results of a film, made with these settings. A video appears when it is whole."""
    out = Path(out)
    check_film(out)
    if rate is not None and not out.suffix:
        raise DdfmError(f"{out} becomes a folder of frames, which has no rate; leave it out")
    rate = film.rate if rate is None else rate
    if not 0.001 <= rate <= 1000:
        raise DdfmError(f"a film has from 0.001 to 1000 frames per second, not {rate:g}")
    if out.suffix:
        with atomic_path(out) as temporary, VideoWriter(temporary, out, rate) as video:
            yield _ToVideo(video)
            video.finish()
        return
    if film.names is not None:  # of frames that are files
        frames = list(film.frames)
        sources = (path for frame in frames for path in (frame.a, frame.b))
        keep_sources((out / f"{frame.name}.png" for frame in frames), sources)
    with Manifest(out) as manifest:
        yield _ToFolder(manifest, settings, film.names)


class _ToVideo:
    def __init__(self, video: VideoWriter) -> None:
        self.video = video

    def kept(self, frame: Frame) -> Entry | None:
        return None

    def write(self, frame: Frame, fusion: Fusion) -> None:
        self.video.write(fusion.picture, frame.name)


class _ToFolder:
    def __init__(self, manifest: Manifest, settings: Entry, names: frozenset[str] | None) -> None:
        self.manifest, self.settings = manifest, settings
        self.unbroken = True  # all frames so far were there already
        for path in sorted(manifest.folder.iterdir()):
            known = path.name in manifest.entries and (names is None or path.stem in names)
            if not known and path.name != NAME and not path.name.startswith("."):
                raise _other_film(manifest.folder, path.name)

    def kept(self, frame: Frame) -> Entry | None:
        entry = self.manifest.get(f"{frame.name}.png") if self.unbroken else None
        same = entry is not None and entry.get("film") == self.settings
        whole = same and "task" in entry and isinstance(entry.get("chosen"), dict)
        self.unbroken = whole and entry.get("sources") == frame.sources()
        return entry if self.unbroken else None

    def write(self, frame: Frame, fusion: Fusion) -> None:
        entry = {
            "sources": frame.sources(),
            "film": self.settings,
            "task": fusion.settings["task"],
            "chosen": fusion.chosen,
        }
        with self.manifest.adding(f"{frame.name}.png", entry) as temporary:
            fusion.save(temporary)


def _other_film(out: Path, name: str) -> DdfmError:
    return DdfmError(
        f"cannot write {out}: it holds {name}, which is not of this film; "
        "name a folder that is empty, or not there"
    )


def _folders(a: Path, b: Path, pattern: str | None) -> Film:
    pairing = find_pairs(a, b, pattern=pattern)
    left = [*sum(pairing.ambiguous.values(), []), *pairing.unpaired]
    if left or not pairing.pairs:
        which = (
            f"{len(left)} frames have no clear partner, the first is {left[0]}"
            if left
            else f"there are no frames in {a}"
        )
        raise DdfmError(f"{which}; a pattern such as 'ir_{{}}.png:vis_{{}}.png' tells who is whose")
    pairs = sorted(pairing.pairs, key=lambda pair: _natural(pair.name))
    frames = [Frame(p.name, *p.files, lambda p=p: _entries(*p.files)) for p in pairs]
    return Film(frames, RATE, len(frames), frozenset(frame.name for frame in frames))


def _videos(a: Path, b: Path) -> Film:
    films = VideoReader(a), VideoReader(b)
    rates = [film.rate for film in films]
    if abs(rates[0] - rates[1]) > 0.01 * max(rates):
        raise DdfmError(
            f"{a} has {rates[0]:g} frames per second and {b} {rates[1]:g}; "
            "bring them to one rate first"
        )
    counts = [film.count for film in films if film.count]
    sources = cache(lambda: _entries(a, b))  # a video is long to read
    # Cameras that were stopped by hand differ by some frames at the end.
    pairs = zip(counting(1), *films, strict=False)
    frames = (Frame(f"{k:06d}", first, second, sources) for k, first, second in pairs)
    return Film(frames, rates[0], min(counts, default=None))


def _entries(a: Path, b: Path) -> list[Entry]:
    return [{"name": path.name, "sha256": sha256_of(path)} for path in (a, b)]


def _natural(name: str) -> list[tuple[int, str]]:
    """Frame 2 comes before frame 10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]
