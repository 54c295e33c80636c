"""Films in files: folders of frames, and videos (see `ddfm.video.files`).

An interrupted folder is continued: since each frame depends on those before it, a frame is kept if
it and all frames before it are what they would be now. A video appears once it is complete, or not
at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ddfm.arguments import a_number
from ddfm.errors import InputError, StorageError, unknown, warn
from ddfm.imaging.pairing import find_pairs, natural
from ddfm.pipeline.film_maps import FilmMaps
from ddfm.pipeline.film_parts import Part
from ddfm.pipeline.runner import FolderSink, Item, Made, Sink
from ddfm.storage.atomic import atomic_path
from ddfm.storage.checksum import KnownFile, sha256_of_all
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import NAME, Manifest, is_manifest
from ddfm.storage.outputs import keep_sources
from ddfm.video.files import (
    RATE,
    VideoReader,
    VideoWriter,
    check_video,
    comment,
    left_out,
    taken_otherwise,
)
from ddfm.video.formats import WRITTEN
from ddfm.video.sound import complete
from ddfm.video.timing import Timing, at_rate, in_seconds, timing_of

if TYPE_CHECKING:
    from ddfm.result import Fusion

__all__ = ["Film", "check_film", "check_rate", "open_film", "writing"]

SAME = 1e-3  # relative difference of rates that are called equal


@dataclass(frozen=True)
class Film:
    """Two films of one scene, which can be iterated once.

    Attributes:
        frames: in order; each is given a pair of paths or of pictures, one from each film.
        rate: frames per second of the result.
        count: the number of frames.
        outputs: the names of all results, if known.
        files: the files that each of the two films is read from.
        part: the frames that this process fuses while others fuse the rest; None is all frames.
        skipped: the seconds of each video that precede the first frame of the result.
        notes: how the timing of the two differs, and what else the user should know.
        repeated: how often the result shows each frame of the slower video, at least 1.
    """

    frames: Iterable[Item]
    rate: float
    count: int
    outputs: frozenset[str] | None = None
    files: tuple[Sequence[Path], Sequence[Path]] = ((), ())
    part: Part | None = None
    skipped: tuple[float, float] = (0.0, 0.0)
    notes: tuple[str, ...] = ()
    repeated: float = 1.0

    @cached_property
    def digests(self) -> list[str]:
        """The SHA-256 of each of the two films; see `sha256_of_all`."""
        return list(map(sha256_of_all, self.files))


def open_film(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    pattern: str | None = None,
    rate: float | None = None,
    delay: float = 0.0,
) -> Film:
    """The frames of two folders, paired by name, or of two videos, paired in time.

    Args:
        a, b: the films.
        pattern: how the frames of folders are named.
        rate: frames per second of the result; None is that of the faster video, or `RATE`.
        delay: how many seconds later than video A video B begins.
    """
    a, b = Path(a), Path(b)
    if a.is_dir() != b.is_dir():
        folder, other = (a, b) if a.is_dir() else (b, a)
        raise InputError(f"{folder} is a folder and {other} is not; give two folders or two videos")
    if a.is_dir():
        return _folders(a, b, pattern, RATE if rate is None else rate)
    if pattern is not None:
        raise InputError(
            "a pattern is for pairing the frames of two folders; leave it out for videos"
        )
    return _videos(a, b, rate, delay)


def check_film(
    out: str | os.PathLike[str], rate: float | None = None, folders: bool = False
) -> None:
    """Raise, before any work is done, the errors that `writing` would raise about these.

    Args:
        out: the video, or the folder of frames.
        rate: the frame rate that the caller gave.
        folders: whether the sources are folders of frames.
    """
    out = Path(out)
    if rate is not None:
        check_rate(rate)
    suffix = out.suffix.lower()
    if suffix and suffix not in WRITTEN:
        raise unknown("output suffix", suffix, [*WRITTEN, "none (a folder for frames)"])
    if suffix:
        check_video(out)
    elif out.exists() and not out.is_dir():
        raise StorageError(
            f"cannot write {out}: it is a file, and an output without a suffix is a folder"
        )
    elif out.is_dir() and not (out / NAME).exists():
        for path in out.iterdir():
            _check_in_film(path, known=False)
    if rate is not None and folders and not suffix:
        raise InputError(
            f"{out} becomes a folder of frames, which has no frame rate; leave out --rate"
        )


def check_rate(rate: float) -> None:
    """Refuses an impossible frame rate, which may come from the record of any file."""
    if not 0.001 <= a_number("the frame rate", rate) <= 1000:
        raise InputError(
            f"the frame rate must be from 0.001 to 1000 frames per second, not {rate:g}"
        )


@contextmanager
def writing(
    out: str | os.PathLike[str],
    film: Film,
    settings: Entry,
    *,
    resume: bool = True,
    verify: bool = False,
    record: Callable[[], str] | None = None,
    maps: FilmMaps | None = None,
    sound: Path | None = None,
) -> Iterator[Sink]:
    """A sink for the frames of a film with these settings. A video appears once it is complete.

    Args:
        out: the video, or the folder of frames.
        film: the sources.
        settings: what the frames depend on, except the sources.
        resume: whether existing frames are kept.
        verify: see `FolderSink`.
        record: how it was made, for the comment of a video; frames in files have their own. It is
            called before the first frame and after the last one.
        maps: further films to write next to it.
        sound: the video whose sound is kept.
    """
    out = Path(out)
    if film.part is not None and out.suffix:
        note = film.part.note(settings, film.digests)
        out, record = film.part.path(out), _with_note(note, record)
    maps = FilmMaps() if maps is None else maps
    check_film(out)
    maps.check(out)
    check_rate(film.rate)
    if out.suffix:
        sink = _writing_video(out, film, record, maps, sound)
    else:
        sink = _writing_frames(out, film, settings, resume, verify, sound)
    with sink as opened:
        yield opened


def _with_note(note: str, record: Callable[[], str] | None) -> Callable[[], str]:
    """The text of a part of a film: what it is a part of, and how it was made."""
    return lambda: note if record is None else f"{note}\n{record()}"


@contextmanager
def _writing_video(
    out: Path,
    film: Film,
    record: Callable[[], str] | None,
    maps: FilmMaps,
    sound: Path | None,
) -> Iterator[Sink]:
    before = None if record is None else record()
    with atomic_path(out) as temporary:
        with (
            VideoWriter(temporary, out, film.rate, before) as video,
            maps.writing(film.rate, before) as beside,
        ):
            yield _VideoSink(out, video, beside)
            video.finish()
        after = None if record is None else record()
        if sound is not None or after != before:
            _complete(temporary, out, after, sound, film)


@contextmanager
def _writing_frames(
    out: Path, film: Film, settings: Entry, resume: bool, verify: bool, sound: Path | None
) -> Iterator[Sink]:
    if sound is not None:
        warn(f"the sound of {sound} is left out, since the output is a folder of frames")
    if film.outputs is not None:  # the frames are files
        sources = (path for frame in list(film.frames) for path in frame.given)
        keep_sources((out / output for output in film.outputs), sources)
    shard = None if film.part is None else film.part.shard
    there = list(out.iterdir()) if out.is_dir() else []  # before other shards add to it
    with Manifest(out, shard) as manifest:
        _check_other_films(manifest, there, film.outputs)
        sink = _FramesSink(manifest, settings, resume, verify)
        yield sink
        left = sorted(n for n in manifest.entries if n not in sink.names and (out / n).exists())
    if left and film.part is None:
        warn(f"{out} still holds {left[0]} to {left[-1]} of an earlier run, not of this film")


def _complete(
    temporary: Path, out: Path, record: str | None, sound: Path | None, film: Film
) -> None:
    skip = film.skipped[sound is not None and sound in film.files[1]]
    kind = complete(temporary, out, comment(record), sound, skip)
    if kind is not None:
        warn(
            f"{out}: {out.suffix} cannot hold the sound of {sound} ({kind}), so it is left out; "
            "try .mkv"
        )


class _VideoSink:
    def __init__(
        self, out: Path, video: VideoWriter, beside: Callable[[Fusion, str], None]
    ) -> None:
        self.out, self.video, self.beside = out, video, beside

    def path(self, item: Item) -> Path:
        return self.out

    def find(self, item: Item) -> Entry | None:
        return None

    def write(self, item: Item, made: Made) -> None:
        name = Path(item.output).stem
        self.video.write(made.result.picture, name)
        self.beside(made.result, name)


class _FramesSink(FolderSink):
    def __init__(self, manifest: Manifest, settings: Entry, resume: bool, verify: bool) -> None:
        super().__init__(manifest, [settings], lambda fusion, path: fusion.save(path), verify)
        self.unbroken = resume  # whether all frames so far were kept
        self.names: set[str] = set()  # of the frames so far

    def known(self, item: Item) -> Entry | None:
        self.names.add(item.output)
        entry = super().known(item) if self.unbroken else None
        self.unbroken = (
            entry is not None and "task" in entry and isinstance(entry.get("chosen"), dict)
        )
        return entry if self.unbroken else None


def _check_other_films(
    manifest: Manifest, there: Iterable[Path], outputs: frozenset[str] | None
) -> None:
    for path in sorted(there):
        known = path.name in manifest.entries and (outputs is None or path.name in outputs)
        _check_in_film(path, known)


def _check_in_film(path: Path, known: bool) -> None:
    """Raise if a file in the folder of a film is none of its frames; hidden files do not matter."""
    if not known and not is_manifest(path.name) and not path.name.startswith("."):
        raise StorageError(
            f"cannot write {path.parent}: it holds {path.name}, which does not belong to this "
            "film; name an empty or a new folder"
        )


def _folders(a: Path, b: Path, pattern: str | None, rate: float) -> Film:
    pairing = find_pairs(a, b, pattern=pattern)
    left = [*sum(pairing.ambiguous.values(), []), *pairing.unpaired]
    if left or not pairing.pairs:
        which = (
            f"{len(left)} frames have no clear partner, the first is {left[0]}"
            if left
            else f"there are no frames in {a}"
        )
        raise InputError(f"{which}; give a pattern such as 'ir_{{}}.png:vis_{{}}.png' to pair them")
    pairs = sorted(pairing.pairs, key=lambda pair: natural(pair.name))
    frames = [Item(f"{p.name}.png", [KnownFile(path) for path in p.files], p.files) for p in pairs]
    files = [pair.files[0] for pair in pairs], [pair.files[1] for pair in pairs]
    return Film(frames, rate, len(frames), frozenset(frame.output for frame in frames), files)


def _videos(a: Path, b: Path, rate: float | None, delay: float) -> Film:
    paths = a, b
    timings = [timing_of(path) for path in paths]
    delay += timings[1].lead - timings[0].lead
    skipped = max(delay, 0.0), max(-delay, 0.0)
    rates = [timing.rate for timing in timings]
    rate = max(rates) if rate is None else rate
    left = [timing.seconds - skip for timing, skip in zip(timings, skipped, strict=True)]
    counts = [timing.count(rate, skip) for timing, skip in zip(timings, skipped, strict=True)]
    for path, count in zip(paths, counts, strict=True):
        if not count:
            why = "ends before the other video begins; check --delay" if delay else "has no frames"
            raise InputError(f"{path} {why}")
    films = (
        at_rate(in_seconds(VideoReader(path).stamped(), own), own, rate, skip)
        for path, own, skip in zip(paths, rates, skipped, strict=True)
    )
    sources = KnownFile(a), KnownFile(b)  # shared by all frames: reading a video takes long
    pairs = zip(*films, strict=False)  # until one film ends
    frames = (Item(f"{k:06d}.png", sources, pair) for k, pair in enumerate(pairs, 1))
    return Film(
        frames,
        rate,
        min(counts),
        files=([a], [b]),
        skipped=(skipped[0] + timings[0].lead, skipped[1] + timings[1].lead),
        notes=(
            *chain(*map(_gaps, paths, timings)),
            *_differences(paths, rates, left),
            *chain(*map(taken_otherwise, paths)),
            *chain(*map(_left_out, paths)),
        ),
        repeated=max(1.0, rate / min(rates)),
    )


def _gaps(path: Path, timing: Timing) -> Iterator[str]:
    """What is missing at the beginning of a video, or within it."""
    if timing.lead:
        yield (
            f"{path} has no key frame in its first {timing.lead:.3g} s, which cannot be decoded; "
            "the result begins after them"
        )
    if timing.pause:
        when, length = timing.pause
        yield (
            f"{path} has a gap of {length:.4g} s after {when:.4g} s, which counts as none, as "
            "where films were joined; if the camera was away, cut the film there and fuse both "
            "parts"
        )


def _left_out(path: Path) -> Iterator[str]:
    also = " and ".join(left_out(path))
    if also:
        yield f"{path} also holds {also}, which the result does not get"


def _differences(
    paths: Sequence[Path], rates: Sequence[float], left: Sequence[float]
) -> Iterator[str]:
    """How the videos differ in their rates and in the seconds that are left of them."""
    slow, fast = sorted(range(2), key=lambda k: rates[k])
    if rates[fast] > (1 + SAME) * rates[slow]:
        yield (
            f"{paths[fast]} has {rates[fast]:.4g} frames per second and {paths[slow]} "
            f"{rates[slow]:.4g}; frames are paired by their times"
        )
    short, long = sorted(range(2), key=lambda k: left[k])
    if left[long] - left[short] > 0.9 / rates[slow]:
        yield f"{paths[long]} continues after {left[short]:.4g} s, where {paths[short]} ends"
