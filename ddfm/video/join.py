"""Joins videos to one, without decoding or encoding frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ddfm.errors import InputError
from ddfm.storage.atomic import atomic_path
from ddfm.video.files import comment, new_video, open_whole, stream_like, writing_explained

__all__ = ["join_videos"]


def join_videos(parts: Sequence[Path], out: Path, record: str | None = None) -> int:
    """Join videos written by `VideoWriter`, of one rate and size; return the number of frames.

    Args:
        parts: the videos, in order.
        out: the video to write.
        record: how it was made, for its comment.
    """
    with atomic_path(out) as temporary, writing_explained(out):
        with new_video(temporary, comment(record)) as film:
            return _joined(parts, film)


def _joined(parts: Sequence[Path], film: Any) -> int:
    delay = max(map(_delay, parts))
    stream, done, form = None, 0, None
    for path in parts:
        with open_whole(path) as part:
            of_part = part.streams.video[0]
            if stream is None:
                form = _form(of_part)
                stream = stream_like(film, of_part)
            if _form(of_part) != form:
                raise InputError(f"{path} differs from {parts[0]} in size, rate or coding")
            before, late = done, None
            for packet in _packets(part):
                # Times are whole numbers of frames, which the container may have rounded.
                unit = packet.time_base * of_part.average_rate
                pts, dts = round(packet.pts * unit), round(packet.dts * unit)
                late = -delay - dts if late is None else late
                packet.pts, packet.dts, packet.duration = before + pts, before + dts + late, 1
                packet.time_base, packet.stream = 1 / of_part.average_rate, stream
                film.mux(packet)
                done += 1
    return done


def _packets(film: Any) -> Iterator[Any]:
    """The coded frames, without the empty packet at the end, which is for decoders."""
    return (packet for packet in film.demux(film.streams.video[0]) if packet.size)


def _delay(path: Path) -> int:
    """How many frames a decoder delays the first one that is shown."""
    with open_whole(path) as film:
        rate = film.streams.video[0].average_rate
        return max(
            (-round(p.dts * p.time_base * rate) for p in islice(_packets(film), 1)), default=0
        )


def _form(stream: Any) -> tuple[Any, ...]:
    """The properties that videos must have in common to be joined."""
    coding = stream.codec_context
    return (
        coding.name, coding.extradata, coding.pix_fmt, stream.width, stream.height,
        stream.average_rate,
    )  # fmt: skip
