"""Adds the sound of a source to the video of a result. Neither is encoded again."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from pathlib import Path
from typing import Any

from ddfm.arguments import one_of
from ddfm.errors import InputError, StorageError, one_line
from ddfm.storage.inputs import existing_file
from ddfm.video.files import EXACT, import_av, open_video

__all__ = ["add_sound", "sound_of"]

WHOSE = ("auto", "a", "b", "none")


def sound_of(a: Path, b: Path, audio: str) -> Path | None:
    """The video whose sound is kept; None if none is.

    Args:
        a, b: the source videos.
        audio: "a", "b", "none", or "auto", the one that has sound. If both have, that is the
            second, which is usually from the visible camera.
    """
    one_of("audio", audio, WHOSE)
    if audio == "none" or a.is_dir():
        return None
    if audio != "auto":
        path = a if audio == "a" else b
        if not _has_sound(path):
            raise InputError(f"{path} has no sound that audio={audio} (--audio {audio}) could keep")
        return path
    return next((path for path in (b, a) if _has_sound(path)), None)


def add_sound(video: Path, source: Path, path: Path) -> str | None:
    """Add the sound of a source to a silent video, up to the length of its pictures.

    Args:
        video: the silent video, which is replaced.
        source: the video with sound.
        path: the final path of the video, for messages.

    Returns:
        None, or the codec of the sound if the format cannot hold it; then nothing is changed.
    """
    av = import_av()
    temporary = video.with_name(f"{video.stem}-sound{video.suffix}")
    try:
        with open_video(source) as given, open_video(video) as silent:
            track, kind = given.streams.audio[0], given.streams.audio[0].codec_context.name
            with av.open(str(temporary.absolute()), "w", container_options=EXACT) as out:
                if kind not in out.supported_codecs:
                    return str(kind)
                out.metadata.update(silent.metadata)
                pictures = out.add_stream_from_template(silent.streams.video[0])
                sound = out.add_stream_from_template(track)
                length = float(silent.duration or 0) / 1e6
                streams = _pictures(silent, pictures), _sounds(given, track, sound, length)
                for _, packet in merge(*streams, key=lambda timed: timed[0]):
                    out.mux(packet)
        temporary.replace(video)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise StorageError(f"cannot write {path}: {one_line(error)}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return None


def _pictures(film: Any, stream: Any) -> Iterator[tuple[float, Any]]:
    for packet in film.demux(film.streams.video[0]):
        if packet.dts is not None:  # the last packet is empty
            time = float(packet.dts * packet.time_base)
            packet.stream = stream
            yield time, packet


def _sounds(film: Any, track: Any, stream: Any, length: float) -> Iterator[tuple[float, Any]]:
    """Packets of sound, from the time of the film's first picture, with which the result begins."""
    seen = film.streams.video[0]
    first = float((seen.start_time or 0) * seen.time_base)
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
