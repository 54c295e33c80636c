"""Two films of one scene, fused frame by frame without flicker.

All frames are fused with the same random noise. The sources are denoised over time (see
`ddfm.video.denoising`), since most flicker of a fusion comes from its sources. And the tone curve,
which is estimated for every frame, follows the scene slowly, so that a bright object that comes
into view does not suddenly darken everything else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ddfm.arguments import by_annotation
from ddfm.errors import InputError, warn
from ddfm.fuser import Fuser
from ddfm.imaging.metadata.record import Record
from ddfm.imaging.opening import Opening
from ddfm.pipeline.film_delay import delay_of
from ddfm.pipeline.film_files import Film, check_film, open_film, writing
from ddfm.pipeline.film_maps import FilmMaps
from ddfm.pipeline.film_parts import Part
from ddfm.pipeline.film_work import FilmWork, read_frames
from ddfm.pipeline.rig import aligned_once, common_motion
from ddfm.pipeline.runner import Overlapping, run
from ddfm.pipeline.summary import Outcome, Summary
from ddfm.progress import progress_bar
from ddfm.registration.register import SAMPLE
from ddfm.result import Fusion
from ddfm.storage.manifest import Shard
from ddfm.storage.outputs import keep_sources
from ddfm.video.sound import sound_of

__all__ = ["fuse_frames", "fuse_sequence"]


@by_annotation
def fuse_sequence(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    out: str | os.PathLike[str],
    fuser: Fuser | None = None,
    *,
    pattern: str | None = None,
    rate: float | None = None,
    delay: Any = None,
    temporal_denoising: bool = True,
    warm: bool = False,
    audio: str = "auto",
    range_a: Any = None,
    range_b: Any = None,
    celsius: Any = None,
    verify: bool = False,
    shard: Shard | None = None,
    uncertainty: str | os.PathLike[str] | None = None,
    attribution: str | os.PathLike[str] | None = None,
    samples: int = 16,
    save_transform: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    callback: Callable[[Outcome], object] | None = None,
) -> Summary:
    """Fuses two films, and writes the result as a film. Returns the outcome of each frame.

    Args:
        a, b: video files, or folders of frames, which are paired by name as in `find_pairs`.
        out: .mp4 (or .mov), .mkv (lossless), or, without a suffix, a folder of frames, where an
            interrupted run is resumed.
        fuser: None is `Fuser()`.
        pattern: how frames are named in both folders, such as "ir_{}.png:vis_{}.png".
        rate: frames per second of the result; None is that of the faster video, or 25 for folders.
        delay: how many seconds later than video A video B begins; negative if A does; "auto" finds
            it by the motion in both; None is 0, with a warning if the motion tells otherwise.
        temporal_denoising, warm: as for `fuse_frames`.
        audio: whose sound is kept: "a", "b", "none", or "auto", that of the video that has any.
        range_a, range_b: the values that are black and white in all frames of each film, as
            `levels` of `read_image`; None keeps one scale that follows the content.
        celsius: the temperatures that are black and white in radiometric frames, as of `read_flir`.
        verify: whether to compare the contents of files to recognise finished frames; by default
            their sizes and modification times are compared.
        shard: the part of the frames that this process fuses while others fuse the rest: into the
            folder, or into a video next to `out`, for `merge_film`. See `ddfm.pipeline.film_parts`.
        uncertainty: where to write a film of how far each pixel may be off; `out` must then be a
            video.
        attribution: where to write a film of which source each pixel comes from; `out` must then be
            a video, too.
        samples: how many results the uncertainty is computed from.
        save_transform: where to write the transform that all frames share.
        progress: whether to show a progress bar; None shows one on a terminal.
        callback: is called with the outcome of each frame; if it returns False, `Cancelled` is
            raised. The next run then completes a folder of frames; a video does not appear.
    """
    maps = _maps(uncertainty, attribution, samples)
    keep_sources([out, *maps.files], [a, b])
    check_film(out, rate, Path(a).is_dir())
    sound = sound_of(Path(a), Path(b), audio)
    reading = _reading(range_a, range_b, celsius)
    fuser = Fuser() if fuser is None else fuser
    first = shard is None or shard.index == 1  # the other parts need not say it, too
    delay, found = delay_of(a, b, delay, fuser.config.look and first)
    open_it = partial(open_film, a, b, pattern, rate, delay)
    fuser = _aligned(fuser, open_it)
    if save_transform is not None:
        fuser.save_transform(save_transform)
    film = open_it()
    for note in film.notes:
        warn(note)
    timing = {"rate": rate, "delay": delay or None}
    work = FilmWork(fuser, temporal_denoising, warm, maps.asked, reading, timing)
    if shard is not None:
        if warm or maps.files:
            raise InputError(
                "--warm, --uncertainty and --attribution are only for films without --shard"
            )
        part = Part(shard, film.count)
        film, sound = _part_of(film, part, sound), None
        work.settings |= part.frames
    of_film = work.of_film | {"audio": None if audio == "auto" else audio}
    has_record = Path(out).suffix and not fuser.config.strip
    sink = writing(
        out,
        film,
        work.settings,
        resume=not warm,  # kept frames are rounded, unlike the results that --warm starts from
        verify=verify,
        record=_record(fuser, film, (a, b), of_film, work) if has_record else None,
        maps=maps,
        sound=sound,
    )
    # Iteration ends when one film ends, and with it the progress bar.
    bar = progress_bar(progress, total=film.count, unit="frame")
    with bar, sink as opened:
        frames = work.frames_of(film)
        # Frames may be large, and each one that waits takes memory.
        engine = Overlapping(ahead=1)
        done = run(frames, work, opened, stop=True, bar=bar, engine=engine, callback=callback)
    return replace(done, observed=work.corrected(), aligned=[*found, *common_motion(fuser)])


def _maps(uncertainty: Any, attribution: Any, samples: int) -> FilmMaps:
    std, shares = (None if path is None else Path(path) for path in (uncertainty, attribution))
    return FilmMaps(std, shares, 0 if std is None else samples)


def _reading(range_a: Any, range_b: Any, celsius: Any) -> dict[str, Any]:
    """How frames are read: those of these settings that are given, checked."""
    opening = Opening(ranges=(range_a, range_b), celsius=celsius)
    given = {"range_a": opening.ranges[0], "range_b": opening.ranges[1], "celsius": opening.celsius}
    return {name: value for name, value in given.items() if value is not None}


def _part_of(film: Film, part: Part, sound: Path | None) -> Film:
    """The film with only the frames of a part; warns of the sound that it loses."""
    if sound is not None:
        warn(f"the sound of {sound} is left out, since parts are joined without sound")
    return replace(film, part=part, count=part.end - part.begin)


def _record(
    fuser: Fuser,
    film: Film,
    names: Sequence[str | os.PathLike[str]],
    of_film: dict[str, Any],
    work: FilmWork,
) -> Callable[[], str]:
    """A function for the text of the record, with what was corrected until it is called."""
    settings = fuser.settings(fuser.config.usual_task) | {"task": fuser.config.task}
    settings |= {} if film.part is None else film.part.frames
    opening = {"film": {name: value for name, value in of_film.items() if value is not None}}
    record = Record.of(settings, list(zip(map(str, names), film.digests, strict=True)), opening)
    return lambda: replace(record, observed=work.corrected()).text


def _aligned(fuser: Fuser, open_it: Callable[[], Film]) -> Fuser:
    """A fuser with one transform for all frames: transforms found for each frame would jitter."""
    if fuser.config.align == "none" or fuser.config.transform is not None:
        return fuser
    first = islice(open_it().frames, SAMPLE)
    return aligned_once(fuser, (frame.given for frame in first))


@by_annotation
def fuse_frames(
    pairs: Iterable[tuple[Any, Any]],
    fuser: Fuser | None = None,
    *,
    temporal_denoising: bool = True,
    warm: bool = False,
) -> Iterator[Fusion]:
    """Yields fused frames as their sources come; each may be anything that a `Fuser` takes.

    Args:
        pairs: frames of both films, in order.
        temporal_denoising: whether noise is averaged over time where nothing has changed.
        warm: whether the loop starts from the result of the previous frame. This does not reduce
            flicker (`benchmarks/flicker.py`), exaggerations add up, and an interrupted folder of
            frames starts again from its first. Only for a loop with a warm start.
    """
    work = FilmWork(Fuser() if fuser is None else fuser, temporal_denoising, warm)
    for a, b in pairs:
        yield work.fused(*read_frames(a, b))
