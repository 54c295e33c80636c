"""When the frames of a video are shown, and which of them belong to the times of a fused film.

Two cameras rarely have the same frame rate, and that of a phone varies. So frames are not counted:
frame k of a fused film shows the frames of both videos that are nearest to the time k / rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import TypeVar

from ddfm.video.files import RATE, VideoReader, open_whole

__all__ = ["Timing", "at_rate", "in_seconds", "lead_of", "timing_of"]

GAP = 60.0  # seconds; a longer pause between two frames, and a step back, is a damaged time stamp
TOO_HIGH = 1.1  # a declared rate this much higher than the measured one is not that of the frames
SAME = 1e-6  # seconds

Frame = TypeVar("Frame")


@dataclass(frozen=True)
class Timing:
    """The mean frame rate of a video, and its length in seconds.

    Attributes:
        rate: frames per second.
        seconds: the length, from the first frame that can be decoded on.
        lead: see `lead_of`.
        pause: when the first pause begins that counts as the usual step, and how long it is.
    """

    rate: float
    seconds: float
    lead: float = 0.0
    pause: tuple[float, float] | None = None

    def count(self, rate: float, skip: float = 0.0) -> int:
        """How many frames `at_rate` yields, if time stamps are sound."""
        last = self.seconds - skip - _late(self.rate, rate) + SAME
        return max(0, 1 + math.floor(last * rate))


def timing_of(path: Path) -> Timing:
    """The timing of a video, from the time stamps of its coded frames; at most one is decoded.

    Some programs declare a rate that is that of their clock.
    """
    with open_whole(path) as film:
        stream = film.streams.video[0]
        declared = float(stream.average_rate or 0)
        packets = [packet for packet in film.demux(stream) if packet.size]
        # Those before the cut of a film that was shortened without encoding are not shown.
        stamps = [packet.pts for packet in packets if not packet.is_discard]
        known = [(float(stamp * stream.time_base), None) for stamp in stamps if stamp is not None]
    rate, lead = declared or RATE, lead_of(path)
    if len(known) < max(2, len(stamps)):
        return Timing(rate, len(stamps) / rate - lead, lead)
    known.sort()
    *_, (last, _) = in_seconds(known, rate)
    measured = (len(known) - 1) / last
    rate = declared if 0 < declared <= TOO_HIGH * measured else measured
    return Timing(rate, last + 1 / rate - lead, lead, _pause([time for time, _ in known]))


def _pause(times: list[float]) -> tuple[float, float] | None:
    steps = ((then - times[0], now - then) for then, now in pairwise(times))
    return next((step for step in steps if step[1] > GAP), None)


def lead_of(path: Path) -> float:
    """Seconds from the beginning of a video to its first frame that can be decoded.

    A recording of a running stream may begin between two key frames; the frames before the next key
    frame then cannot be decoded.
    """
    with open_whole(path) as film:
        stream = film.streams.video[0]
        begin = float((stream.start_time or 0) * stream.time_base)
        shown = (packet for packet in film.demux(stream) if packet.size and not packet.is_discard)
        first = next(shown, None)
        if first is None or first.is_keyframe:
            return 0.0
    with closing(VideoReader(path).stamped()) as frames:
        time, _ = next(frames, (None, None))
    lead = 0.0 if time is None else time - begin
    return lead if 0 < lead <= GAP else 0.0


def in_seconds(
    frames: Iterable[tuple[float | None, Frame]], rate: float
) -> Iterator[tuple[float, Frame]]:
    """Frames with the seconds since the first one; time stamps may be missing or damaged."""
    now, before = 0.0, None
    for number, (stamp, frame) in enumerate(frames):
        step = 0.0 if stamp is None or before is None else stamp - before
        if number:
            now += step if 0 < step <= GAP else 1 / rate
        before = stamp
        yield now, frame


def at_rate(
    frames: Iterable[tuple[float, Frame]], own: float, rate: float, skip: float = 0.0
) -> Iterator[Frame]:
    """The frames that are nearest to the times of another rate, until the last one has ended.

    Args:
        frames: with the times at which they begin, in seconds.
        own: their mean rate.
        rate: how many frames a second to yield; some may be repeated, or left out.
        skip: the time of the first one.
    """
    rest = iter(frames)
    now, following = next(rest, None), next(rest, None)
    if now is None:
        return
    for k in count():
        time = skip + k / rate
        while following is not None and following[0] - time <= time - now[0] + SAME:
            now, following = following, next(rest, None)
        if following is None and time > now[0] + 1 / own - _late(own, rate) + SAME:
            return
        yield now[1]


def _late(own: float, rate: float) -> float:
    """Seconds before the end from which on no frame begins, since time stamps are rounded."""
    return 0.5 / max(own, rate)
