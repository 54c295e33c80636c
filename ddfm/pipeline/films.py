"""Two films of one scene, fused frame by frame without flicker.

Every frame gets the same noise. Its sources are steadied (see `ddfm.video.denoising`), since what
flickers in a fusion is mostly what flickers in them. And the tone, which would spread levels anew
for every frame, follows the scene slowly, so that a bright thing that comes into view does not
darken all else at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from tqdm import tqdm

from ddfm.arguments import by_annotation, plain_options
from ddfm.errors import DdfmError
from ddfm.fuser import Fuser, Fusion
from ddfm.imaging.files import read_image
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import grey
from ddfm.pipeline.film_files import open_film, writing
from ddfm.pipeline.rig import SAMPLE, aligned_once
from ddfm.result import Chosen
from ddfm.storage.outputs import keep_sources
from ddfm.video.denoising import OneScale, Steady

__all__ = ["aligned_film", "fuse_frames", "fuse_sequence"]

FOLLOW = 0.1  # how much of what a frame chooses the next one takes over


@by_annotation
def fuse_sequence(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    out: str | os.PathLike[str],
    fuser: Fuser | None = None,
    *,
    pattern: str | None = None,
    rate: float | None = None,
    steady: bool = True,
    warm: bool = False,
    progress: bool | None = None,
) -> int:
    """Fuses two films, and writes the result as a film. Returns how many frames it has.

    Args:
        a, b: video files, or folders of frames, which belong together by name as in `find_pairs`.
        out: .mp4 (or .mov), .mkv (without loss), or, without a suffix, a folder of frames, where
            an interrupted run goes on.
        fuser: None is `Fuser()`.
        pattern: names of frames in both folders, such as "ir_{}.png:vis_{}.png".
        rate: frames per second of the result; None is that of the sources, or 25 for folders.
        steady, warm: as for `fuse_frames`.
        progress: a bar; None shows one on a terminal.
    """
    keep_sources([out], [a, b])
    fuser = Fuser() if fuser is None else fuser
    if fuser.config.align != "none":
        fuser = aligned_film(fuser, a, b, pattern)
    film = open_film(a, b, pattern)
    state = _State(fuser, steady, warm)
    disable = None if progress is None else not progress
    count = 0
    with writing(out, film, state.settings(), rate) as result:
        # The films end when one of them does, and the bar with them.
        frames = tqdm(film.frames, total=film.count, unit="frame", disable=disable, leave=False)
        for frame in frames:
            pair = state.seen(frame.a, frame.b)
            kept = None if warm else result.kept(frame)  # what is kept is not as exact as a guess
            if kept is None:
                result.write(frame, state.fused(pair))
            else:
                state.follow(kept["task"], plain_options(kept["chosen"]))
            count += 1
    return count


def aligned_film(
    fuser: Fuser, a: str | os.PathLike[str], b: str | os.PathLike[str], pattern: str | None = None
) -> Fuser:
    """A fuser with one transform for all frames: what is found anew in each one trembles."""
    first = islice(open_film(a, b, pattern).frames, SAMPLE)
    return aligned_once(fuser, ((frame.a, frame.b) for frame in first))


@by_annotation
def fuse_frames(
    pairs: Iterable[tuple[Any, Any]],
    fuser: Fuser | None = None,
    *,
    steady: bool = True,
    warm: bool = False,
) -> Iterator[Fusion]:
    """Fuses frames as they come; each may be anything that a `Fuser` takes.

    Args:
        pairs: frames of both films, in their order.
        steady: whether noise is averaged over time, where nothing has changed.
        warm: whether the loop begins with the result of the frame before. This makes nothing
            steadier (`benchmarks/flicker.py`), and what a result exaggerates adds up; and a folder
            of frames begins anew when it was interrupted. Only for a loop with a warm start.
    """
    state = _State(Fuser() if fuser is None else fuser, steady, warm)
    for a, b in pairs:
        yield state.fused(state.seen(a, b))


class _State:
    """What a frame knows of those before it."""

    def __init__(self, fuser: Fuser, steady: bool, warm: bool) -> None:
        if warm and not fuser.has_warm_start:
            raise DdfmError(
                "a warm start (--warm) is for a loop that has one: for likelihood default, or "
                "any with a start (--start)"
            )
        self.fuser, self.given = fuser, dict(fuser.config.options)
        self.steady, self.warm = steady, warm
        self.scales = OneScale(), OneScale()
        self.filters = Steady(), Steady()
        self.begun = False
        self.guess: np.ndarray | None = None

    def settings(self) -> dict[str, Any]:
        """All that the results depend on beside the sources, as JSON gives it back."""
        config = self.fuser.config
        settings = self.fuser.settings(config.usual_task)
        settings |= {"task": config.task, "steady": self.steady, "warm": self.warm}
        return json.loads(json.dumps(settings))

    def seen(self, a: Any, b: Any) -> tuple[Picture, Picture]:
        """Both frames as they are to be fused."""
        first, second = (
            scale(read_image(source)) for scale, source in zip(self.scales, (a, b), strict=True)
        )
        return (self.filters[0](first), self.filters[1](second)) if self.steady else (first, second)

    def fused(self, pair: tuple[Picture, Picture]) -> Fusion:
        fusion = self.fuser(*pair, progress=False, first_guess=self.guess)
        self.follow(fusion.settings["task"], fusion.chosen)
        if self.warm:
            self.guess = grey(fusion.picture)
        return fusion

    def follow(self, task: str, chosen: Chosen) -> None:
        """The next frame is to have the first one's task, and nearly the levels of this one."""
        free = {k: v for k, v in chosen.items() if k not in self.given}
        if self.begun:
            now = self.fuser.config.options
            free = plain_options({k: _towards(now[k], v) for k, v in free.items()})
        else:
            self.begun = True
        self.fuser = self.fuser.with_config(task=task, options=self.given | free, look=False)


def _towards(now: Any, then: Any) -> np.ndarray:
    return np.array(now) + FOLLOW * (np.array(then) - now)
