"""Two films of one scene, fused frame by frame without flicker.

All frames are fused with the same random noise. The sources are denoised over time (see
`ddfm.video.denoising`), since most flicker of a fusion comes from its sources. And the tone curve,
which is estimated for every frame, follows the scene slowly, so that a bright object that comes
into view does not suddenly darken everything else.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.arguments import by_annotation, plain_options
from ddfm.errors import DdfmWarning, InputError
from ddfm.fuser import Fuser
from ddfm.fusing.checks import check_attribution
from ddfm.imaging.levels import with_levels
from ddfm.imaging.metadata.record import Record
from ddfm.imaging.opening import Opening
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import grey, read_any
from ddfm.pipeline.film_files import Film, check_film, open_film, writing
from ddfm.pipeline.film_maps import FilmMaps
from ddfm.pipeline.film_parts import RUN_IN, Part
from ddfm.pipeline.rig import aligned_once
from ddfm.pipeline.runner import Item, Made, Overlapping, run
from ddfm.pipeline.summary import Outcome, Summary
from ddfm.progress import progress_bar, stage
from ddfm.registration.pictures import SAMPLE
from ddfm.restoration.corrections import summed_up
from ddfm.restoration.observation import observation_of_each
from ddfm.result import Chosen, Fusion
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import Shard
from ddfm.storage.outputs import keep_sources
from ddfm.video.denoising import CommonScale, TemporalDenoiser
from ddfm.video.join import count_frames
from ddfm.video.sound import sound_of

__all__ = ["fuse_frames", "fuse_sequence"]

_NUMBER = re.compile(r"[\d.]+")
ALL = 0.0, 100.0  # percentiles that become black and white: the whole range
FOLLOW = 0.1  # weight of a frame in the tone curve that the next one gets


@by_annotation
def fuse_sequence(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    out: str | os.PathLike[str],
    fuser: Fuser | None = None,
    *,
    pattern: str | None = None,
    rate: float | None = None,
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
        rate: frames per second of the result; None is that of the sources, or 25 for folders.
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
    check_film(out, rate)
    sound = sound_of(Path(a), Path(b), audio)
    reading = _reading(range_a, range_b, celsius)
    fuser = Fuser() if fuser is None else fuser
    if fuser.config.align != "none" and fuser.config.transform is None:
        fuser = _aligned(fuser, a, b, pattern)
    if save_transform is not None:
        fuser.save_transform(save_transform)
    film = open_film(a, b, pattern)
    work = _FilmWork(fuser, temporal_denoising, warm, maps.asked, reading)
    if shard is not None:
        if warm or maps.files:
            raise InputError(
                "--warm, --uncertainty and --attribution are only for films without --shard"
            )
        if sound is not None:
            word = f"the sound of {sound} is left out, since parts are joined without sound"
            warnings.warn(word, DdfmWarning, stacklevel=3)
            sound = None
        part = Part(shard, _exact_count(film, a, b))
        film = replace(film, part=part, count=part.end - part.begin)
        work.settings |= part.frames
    of_film = work.of_film | {"rate": rate, "audio": None if audio == "auto" else audio}
    has_record = Path(out).suffix and not fuser.config.strip
    record = _record(fuser, film, (a, b), of_film) if has_record else None
    sink = writing(
        out,
        film,
        work.settings,
        rate,
        resume=not warm,  # kept frames are rounded, unlike the results that --warm starts from
        verify=verify,
        record=_text_of(record, work),
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
    return replace(done, observed=work.corrected())


def _maps(uncertainty: Any, attribution: Any, samples: int) -> FilmMaps:
    std, shares = (None if path is None else Path(path) for path in (uncertainty, attribution))
    return FilmMaps(std, shares, 0 if std is None else samples)


def _reading(range_a: Any, range_b: Any, celsius: Any) -> dict[str, Any]:
    """How frames are read: those of these settings that are given, checked."""
    opening = Opening(ranges=(range_a, range_b), celsius=celsius)
    given = {"range_a": opening.ranges[0], "range_b": opening.ranges[1], "celsius": opening.celsius}
    return {name: value for name, value in given.items() if value is not None}


def _exact_count(film: Film, a: str | os.PathLike[str], b: str | os.PathLike[str]) -> int:
    """The exact number of frames; the number in the header of a video is an estimate."""
    if film.outputs is not None:
        return len(film.outputs)
    return min(count_frames(Path(a)), count_frames(Path(b)))


def _record(
    fuser: Fuser, film: Film, names: Sequence[str | os.PathLike[str]], of_film: dict[str, Any]
) -> Record:
    settings = fuser.settings(fuser.config.usual_task) | {"task": fuser.config.task}
    settings |= {} if film.part is None else film.part.frames
    opening = {"film": {name: value for name, value in of_film.items() if value is not None}}
    return Record.of(settings, list(zip(map(str, names), film.digests, strict=True)), opening)


def _text_of(record: Record | None, work: _FilmWork) -> Callable[[], str] | None:
    """A function for the text of the record, with what was corrected until it is called."""
    if record is None:
        return None
    return lambda: replace(record, observed=work.corrected()).text


def _aligned(
    fuser: Fuser, a: str | os.PathLike[str], b: str | os.PathLike[str], pattern: str | None
) -> Fuser:
    """A fuser with one transform for all frames: transforms found for each frame would jitter."""
    first = islice(open_film(a, b, pattern).frames, SAMPLE)
    return aligned_once(fuser, (frame.given for frame in first))


def _as_large_as_they_are(fuser: Fuser) -> Fuser:
    """A fuser that does not look for earlier enlargements, and hence not for blur.

    If one were found in some frames only, the film would flicker.

    Scales that were given remain.
    """
    given = observation_of_each(fuser.config.observations, 2)
    scaled = [one if one.scale is not None else replace(one, scale=1.0) for one in given]
    return fuser.with_config(observations=[one.plain() for one in scaled])


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
    work = _FilmWork(Fuser() if fuser is None else fuser, temporal_denoising, warm)
    for a, b in pairs:
        yield work.fused(*_frames(a, b))


class _FilmWork:
    """Fuses frames in order, and keeps what a frame needs from those before it."""

    def __init__(
        self,
        fuser: Fuser,
        temporal_denoising: bool,
        warm: bool,
        asked: Mapping[str, Any] | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        if warm and not fuser.has_warm_start:
            raise InputError(
                "a warm start (--warm) needs likelihood default, or a timestep to start at "
                "(--start)"
            )
        self.reading = {} if reading is None else dict(reading)
        self.of_film = {"temporal_denoising": temporal_denoising, "warm": warm} | self.reading
        self.settings: Entry = fuser.settings(fuser.config.usual_task) | self.of_film
        self.settings["task"] = fuser.config.task
        self.fuser, self.given = _as_large_as_they_are(fuser), dict(fuser.config.options)
        self.asked = {} if asked is None else asked  # the maps of each frame
        if self.asked.get("attribution"):
            check_attribution(fuser.config)
        self.warm = warm
        self.scales = CommonScale(), CommonScale()
        self.denoisers = (TemporalDenoiser(), TemporalDenoiser()) if temporal_denoising else None
        self.begun, self.heard = False, set[str]()
        self.guess: np.ndarray | None = None
        self.observed: list[Any] = []  # what was detected in the sources of each frame

    def load(self, item: Item) -> tuple[Picture, Picture]:
        return _frames(*item.given, **self.reading)

    def fuse(self, item: Item, loaded: tuple[Picture, Picture]) -> Made:
        fusion = self.fused(*loaded)
        observed = fusion.settings.get("observed", [])
        self.observed.append(observed)
        found = {"task": fusion.settings["task"], "chosen": fusion.chosen, "observed": observed}
        return Made(fusion, {"settings": self.settings, **found})

    def corrected(self) -> list[dict[str, Any]]:
        """What was detected and corrected in each source, over all frames so far."""
        return summed_up(self.observed, "frames")

    def recall(self, item: Item, entry: Entry) -> None:
        self._seen(*self.load(item))
        self.observed.append(entry.get("observed", []))
        self._follow(entry["task"], plain_options(entry["chosen"]))

    def frames_of(self, film: Film) -> Iterator[Item]:
        """The frames to fuse; those before a part are looked at first."""
        frames = iter(film.frames)
        if film.part is None:
            return frames
        self._run_in(islice(frames, film.part.begin), film.part.begin)
        return islice(frames, film.count)

    def _run_in(self, frames: Iterable[Item], count: int) -> None:
        """Looks at all frames before a part, so that the part begins as in the whole film.

        The first frame decides the task; the last `RUN_IN` determine denoising and the tone curve;
        those in between only the scale of the levels.
        """
        stage("looking at the frames before")
        for k, frame in enumerate(frames):
            pair = self.load(frame)
            if k == 0 or k >= count - RUN_IN:
                self.fused(*pair)
            else:
                self._scaled(*pair)

    def fused(self, a: Picture, b: Picture) -> Fusion:
        pair = self._seen(a, b)
        with self._warned_of_once():
            fusion = self.fuser(*pair, progress=False, first_guess=self.guess, **self.asked)
        self._follow(fusion.settings["task"], fusion.chosen)
        if self.warm:
            self.guess = grey(fusion.picture)
        return replace(fusion, opening=fusion.opening | {"film": self.of_film})

    @contextmanager
    def _warned_of_once(self) -> Iterator[None]:
        """Issues each warning once, although frames repeat it with other numbers."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for one in caught:
            text = _NUMBER.sub("", str(one.message))
            if text not in self.heard:
                self.heard.add(text)
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)

    def _seen(self, *pair: Picture) -> list[Picture]:
        """Both frames, on the common scale and denoised."""
        scaled = self._scaled(*pair)
        if self.denoisers is None:
            return scaled
        return [denoise(frame) for denoise, frame in zip(self.denoisers, scaled, strict=True)]

    def _scaled(self, *pair: Picture) -> list[Picture]:
        return [scale(frame) for scale, frame in zip(self.scales, pair, strict=True)]

    def _follow(self, task: str, chosen: Chosen) -> None:
        """Gives the next frame the task of the first, and a tone curve moved towards this one."""
        free = {k: v for k, v in chosen.items() if k not in self.given}
        if self.begun:
            task, now = self.fuser.config.task, self.fuser.config.options
            free = plain_options({k: _towards(now[k], v) for k, v in free.items()})
        self.begun = True
        self.fuser = self.fuser.with_config(task=task, options=self.given | free, look=False)


def _frames(
    a: Any, b: Any, *, range_a: Any = None, range_b: Any = None, celsius: Any = None
) -> tuple[Picture, Picture]:
    """Reads a pair of frames; of a radiometric file its whole range, for a common scale."""
    how = {"percentiles": ALL} if celsius is None else {"celsius": celsius}
    first, second = (read_any(frame, "a frame", **how) for frame in (a, b))
    if celsius is not None and not (first.unit or second.unit):
        raise InputError(
            f"{first.name} and {second.name}: celsius (--celsius) is for frames that are "
            "radiometric files; range_a and range_b (--range-a, --range-b) are for all frames"
        )
    return _in_range(first, range_a), _in_range(second, range_b)


def _in_range(frame: Picture, levels: Any) -> Picture:
    """The frame with these levels at black and white; "auto" is left to the common scale."""
    return frame if levels in (None, "auto") else with_levels(frame, levels)


def _towards(now: Any, then: Any) -> np.ndarray:
    return np.array(now) + FOLLOW * (np.array(then) - now)
