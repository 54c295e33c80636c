"""Completes the video of a result: its comment, and the sound of a source. Nothing is encoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from heapq import merge
from pathlib import Path
from typing import Any

from ddfm.arguments import one_of
from ddfm.errors import InputError
from ddfm.storage.inputs import existing_file
from ddfm.storage.ours import being_written
from ddfm.video.files import new_video, open_video, stream_like, writing_explained

__all__ = ["complete", "sound_of"]

WHOSE = ("auto", "a", "b", "none")


def sound_of(a: Path, b: Path, audio: str) -> Path | None:
    """The video whose sound is kept; None if none is.

    Args:
        a, b: the source videos, or folders of frames, which have no sound.
        audio: "a", "b", "none", or "auto", the one that has sound. If both have, that is the
            second, which is usually from the visible camera.
    """
    one_of("audio", audio, WHOSE)
    if a.is_dir() or b.is_dir():
        if audio in ("a", "b"):
            raise InputError(f"{a} and {b}: audio={audio} (--audio {audio}) is for two videos")
        return None
    if audio == "none":
        return None
    if audio != "auto":
        path = a if audio == "a" else b
        if not _has_sound(path):
            raise InputError(f"{path} has no sound that audio={audio} (--audio {audio}) could keep")
        return path
    return next((path for path in (b, a) if _has_sound(path)), None)


def complete(
    video: Path, path: Path, comment: str, source: Path | None, skip: float = 0.0
) -> str | None:
    """Replace the comment of a silent video, and add the sound of a source to it.

    The sound ends where the pictures end.

    Args:
        video: the silent video, which is replaced.
        path: the final path of the video, for messages.
        comment: the text in its metadata.
        source: the video with sound; None adds none.
        skip: the seconds of the source that precede the first picture of the result.

    Returns:
        None, or the codec of the sound if the format cannot hold it, so that it is left out.
    """
    temporary = video.with_name(f"{video.stem}-complete{video.suffix}")
    lacking = None
    being_written.add(temporary)  # removed if the process is asked to end
    try:
        with writing_explained(path):
            with ExitStack() as stack:
                silent = stack.enter_context(open_video(video))
                out = stack.enter_context(new_video(temporary, comment))
                streams = [_pictures(silent, stream_like(out, silent.streams.video[0]))]
                if source is not None:
                    given = stack.enter_context(open_video(source))
                    track = given.streams.audio[0]
                    kind = str(track.codec_context.name)
                    if kind in out.supported_codecs:
                        length = float(silent.duration or 0) / 1e6
                        copied = out.add_stream_from_template(track)
                        streams.append(_sounds(given, track, copied, skip, length))
                    else:
                        lacking = kind
                for _, packet in merge(*streams, key=lambda timed: timed[0]):
                    out.mux(packet)
            temporary.replace(video)
    finally:
        being_written.discard(temporary)
        temporary.unlink(missing_ok=True)
    return lacking


def _pictures(film: Any, stream: Any) -> Iterator[tuple[float, Any]]:
    for packet in film.demux(film.streams.video[0]):
        if packet.dts is not None:  # the last packet is empty
            time = float(packet.dts * packet.time_base)
            packet.stream = stream
            yield time, packet


def _sounds(
    film: Any, track: Any, stream: Any, skip: float, length: float
) -> Iterator[tuple[float, Any]]:
    """Packets of sound, from the time of the film's picture with which the result begins."""
    seen = film.streams.video[0]
    first = float((seen.start_time or 0) * seen.time_base) + skip
    late = round(first / track.time_base)
    for packet in film.demux(track):
        if packet.pts is None or packet.dts is None:
            continue
        time = float(packet.pts * packet.time_base) - first
        if time >= length:
            return
        if time >= 0:
            packet.pts, packet.dts = packet.pts - late, packet.dts - late
            packet.stream = stream
            yield time, packet


def _has_sound(path: Path) -> bool:
    with open_video(existing_file(path)) as film:
        return bool(film.streams.audio)
