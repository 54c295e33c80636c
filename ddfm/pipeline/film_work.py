"""How the frames of two films are fused, in order: each may need what came before it."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from ddfm.arguments import plain_options
from ddfm.errors import InputError
from ddfm.fuser import Fuser
from ddfm.fusing.checks import check_attribution
from ddfm.imaging.levels import with_levels
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import grey, read_any
from ddfm.imaging.thermal.renderings import without_false_colors
from ddfm.pipeline.film_files import Film
from ddfm.pipeline.film_parts import RUN_IN
from ddfm.pipeline.runner import Item, Made
from ddfm.progress import stage
from ddfm.restoration.corrections import summed_up
from ddfm.restoration.observation import observation_of_each
from ddfm.result import Chosen, Fusion
from ddfm.storage.lines import Entry
from ddfm.video.denoising import CommonScale, TemporalDenoiser

__all__ = ["FilmWork", "read_frames"]

_NUMBER = re.compile(r"[\d.]+")
ALL = 0.0, 100.0  # percentiles that become black and white: the whole range
FOLLOW = 0.1  # weight of a frame in the tone curve that the next one gets


class FilmWork:
    """Fuses frames in order, and keeps what a frame needs from those before it."""

    def __init__(
        self,
        fuser: Fuser,
        temporal_denoising: bool,
        warm: bool,
        asked: Mapping[str, Any] | None = None,
        reading: Mapping[str, Any] | None = None,
        timing: Mapping[str, Any] | None = None,
    ) -> None:
        if warm and not fuser.has_warm_start:
            raise InputError(
                "a warm start (--warm) needs likelihood default, or a timestep to start at "
                "(--start)"
            )
        self.reading = {} if reading is None else dict(reading)
        given = {k: v for k, v in (timing or {}).items() if v is not None} | self.reading
        self.of_film = {"temporal_denoising": temporal_denoising, "warm": warm} | given
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
        return read_frames(*item.given, **self.reading)

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
        begin, run_in = film.part.begin, math.ceil(RUN_IN * film.repeated)
        self._run_in(islice(frames, begin), begin, run_in)
        return islice(frames, film.count)

    def _run_in(self, frames: Iterable[Item], count: int, run_in: int) -> None:
        """Looks at all frames before a part, so that the part begins as in the whole film.

        The first frame decides the task; the last `run_in` determine denoising and the tone curve;
        those in between only the scale of the levels.
        """
        stage("looking at the frames before")
        for k, frame in enumerate(frames):
            pair = self.load(frame)
            if k == 0 or k >= count - run_in:
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
        with self._warned_of_once():
            pair = without_false_colors(pair, by_brightness=True)
        return [scale(frame) for scale, frame in zip(self.scales, pair, strict=True)]

    def _follow(self, task: str, chosen: Chosen) -> None:
        """Gives the next frame the task of the first, and a tone curve moved towards this one."""
        free = {k: v for k, v in chosen.items() if k not in self.given}
        if self.begun:
            task, now = self.fuser.config.task, self.fuser.config.options
            free = plain_options({k: _towards(now[k], v) for k, v in free.items()})
        self.begun = True
        self.fuser = self.fuser.with_config(task=task, options=self.given | free, look=False)


def read_frames(
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


def _as_large_as_they_are(fuser: Fuser) -> Fuser:
    """A fuser that does not look for earlier enlargements, and hence not for blur, nor for motion.

    If one were found in some frames only, the film would flicker.

    Scales that were given remain.
    """
    given = observation_of_each(fuser.config.observations, 2)
    scaled = [one if one.scale is not None else replace(one, scale=1.0) for one in given]
    return fuser.with_config(observations=[one.plain() for one in scaled], moving="keep")
