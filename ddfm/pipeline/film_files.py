"""Films in files: folders of frames, and videos (see `ddfm.video.files`).

An interrupted folder is continued: since each frame depends on those before it, a frame is kept if
it and all frames before it are what they would be now. A video appears once it is complete, or not
at all.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count as counting
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddfm.arguments import a_number
from ddfm.errors import DdfmWarning, InputError, StorageError, unknown
from ddfm.imaging.pairing import find_pairs, natural
from ddfm.pipeline.film_maps import FilmMaps
from ddfm.pipeline.film_parts import Part
from ddfm.pipeline.runner import FolderSink, Item, Made, Sink
from ddfm.storage.atomic import atomic_path
from ddfm.storage.checksum import KnownFile, sha256_of_all
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import NAME, Manifest, is_manifest
from ddfm.storage.outputs import keep_sources
from ddfm.video.files import RATE, VideoReader, VideoWriter, check_video, comment
from ddfm.video.formats import WRITTEN
from ddfm.video.sound import complete

if TYPE_CHECKING:
    from ddfm.result import Fusion

__all__ = ["Film", "check_film", "check_rate", "open_film", "writing"]


SAME = 1e-4  # relative difference of equal rates: one frame in six minutes


@dataclass(frozen=True)
class Film:
    """Two films of one scene, which can be iterated once.

    Attributes:
        frames: in order; each is given a pair of paths or of pictures, one from each film.
        rate: frames per second.
        count: the approximate number of frames, if known.
        outputs: the names of all results, if known.
        files: the files that each of the two films is read from.
        part: the frames that this process fuses while others fuse the rest; None is all frames.
    """

    frames: Iterable[Item]
    rate: float
    count: int | None
    outputs: frozenset[str] | None = None
    files: tuple[Sequence[Path], Sequence[Path]] = ((), ())
    part: Part | None = None

    @cached_property
    def digests(self) -> list[str]:
        """The SHA-256 of each of the two films; see `sha256_of_all`."""
        return list(map(sha256_of_all, self.files))


def open_film(a: str | os.PathLike[str], b: str | os.PathLike[str], pattern: str | None) -> Film:
    """The frames of two folders, paired by name, or of two videos, paired in order."""
    a, b = Path(a), Path(b)
    if a.is_dir() != b.is_dir():
        folder, other = (a, b) if a.is_dir() else (b, a)
        raise InputError(f"{folder} is a folder and {other} is not; give two folders or two videos")
    if a.is_dir():
        return _folders(a, b, pattern)
    if pattern is not None:
        raise InputError(
            "a pattern is for pairing the frames of two folders; leave it out for videos"
        )
    return _videos(a, b)


def check_film(out: str | os.PathLike[str], rate: float | None = None) -> None:
    """Raise, before any work is done, the errors that `writing` would raise about these.

    Args:
        out: the video, or the folder of frames.
        rate: the frame rate that the caller gave.
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
    if rate is not None and not suffix:
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
    rate: float | None = None,
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
        rate: frames per second; None is that of the sources.
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
    check_film(out, rate)
    maps.check(out)
    rate = film.rate if rate is None else rate
    check_rate(rate)
    if out.suffix:
        sink = _writing_video(out, film, rate, record, maps, sound)
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
    rate: float,
    record: Callable[[], str] | None,
    maps: FilmMaps,
    sound: Path | None,
) -> Iterator[Sink]:
    before = None if record is None else record()
    with atomic_path(out) as temporary:
        with (
            VideoWriter(temporary, out, rate, before) as video,
            maps.writing(rate, before) as beside,
        ):
            yield _VideoSink(out, video, beside)
            video.finish()
        after = None if record is None else record()
        if sound is not None and not _keeps_time(sound, film.rate, rate):
            sound = None
        if sound is not None or after != before:
            _complete(temporary, out, after, sound)


@contextmanager
def _writing_frames(
    out: Path, film: Film, settings: Entry, resume: bool, verify: bool, sound: Path | None
) -> Iterator[Sink]:
    if sound is not None:
        _say(f"the sound of {sound} is left out, since the output is a folder of frames")
    if film.outputs is not None:  # the frames are files
        sources = (path for frame in list(film.frames) for path in frame.given)
        keep_sources((out / output for output in film.outputs), sources)
    shard = None if film.part is None else film.part.shard
    there = list(out.iterdir()) if out.is_dir() else []  # before other shards add to it
    with Manifest(out, shard) as manifest:
        _check_other_films(manifest, there, film.outputs)
        yield _FramesSink(manifest, settings, resume, verify)


def _complete(temporary: Path, out: Path, record: str | None, sound: Path | None) -> None:
    kind = complete(temporary, out, comment(record), sound)
    if kind is not None:
        _say(
            f"{out}: {out.suffix} cannot hold the sound of {sound} ({kind}), so it is left out; "
            "try .mkv"
        )


def _keeps_time(sound: Path, rate: float, wanted: float) -> bool:
    if abs(rate - wanted) <= SAME * rate:
        return True
    _say(f"the sound of {sound} is left out, since that video runs at {rate:g} frames per second")
    return False


def _say(word: str) -> None:
    warnings.warn(word, DdfmWarning, stacklevel=3)


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
        super().__init__(manifest, [settings], _save, verify)
        self.unbroken = resume  # whether all frames so far were kept

    def known(self, item: Item) -> Entry | None:
        entry = super().known(item) if self.unbroken else None
        self.unbroken = (
            entry is not None and "task" in entry and isinstance(entry.get("chosen"), dict)
        )
        return entry if self.unbroken else None


def _save(fusion: Fusion, path: Path) -> None:
    fusion.save(path)


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


def _folders(a: Path, b: Path, pattern: str | None) -> Film:
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
    return Film(frames, RATE, len(frames), frozenset(frame.output for frame in frames), files)


def _videos(a: Path, b: Path) -> Film:
    films = VideoReader(a), VideoReader(b)
    rates = [film.rate for film in films]
    if abs(rates[0] - rates[1]) > 0.01 * max(rates):
        raise InputError(
            f"{a} has {rates[0]:g} frames per second and {b} {rates[1]:g}; "
            "convert them to the same rate first"
        )
    if abs(rates[0] - rates[1]) > SAME * max(rates):
        _say(
            f"{a} has {rates[0]:g} frames per second and {b} {rates[1]:g}; frames are paired by "
            "their numbers, at the rate of the first"
        )
    counts = [film.count for film in films if film.count]
    sources = KnownFile(a), KnownFile(b)  # shared by all frames: reading a video takes long
    pairs = _as_long_as_both(films)
    frames = (Item(f"{k:06d}.png", sources, (first, second)) for k, first, second in pairs)
    return Film(frames, rates[0], min(counts, default=None), files=([a], [b]))


def _as_long_as_both(films: tuple[VideoReader, VideoReader]) -> Iterator[tuple[int, Any, Any]]:
    """Numbered pairs of frames, until one film ends; stopped by hand, cameras end differently."""
    first, second = map(iter, films)
    for number in counting(1):
        pair = next(first, None), next(second, None)
        if None in pair:
            if pair != (None, None):
                longer, shorter = films if pair[1] is None else films[::-1]
                _say(f"{longer.path} continues after frame {number - 1}, where {shorter.path} ends")
            return
        yield number, *pair
