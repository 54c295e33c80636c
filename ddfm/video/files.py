"""Reads and writes videos with PyAV.

Reads the first video stream of MP4, MOV, MKV, WebM, AVI, MPEG and others, turned upright, at 8
bits, or at 16 if it has more than 8. Frames without colour are grey.

Writes .mp4 and .mov as H.264 of high quality, where an odd side is made even by repeating the last
row or column, and .mkv as lossless FFV1 of 8 or 16 bits.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import count as counting
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.errors import DdfmError, InputError, StorageError, missing_extra, one_line
from ddfm.imaging.metadata.record import is_record
from ddfm.imaging.picture import LUMA, Picture, from_array, in_rgb, to_array
from ddfm.imaging.reading import is_image
from ddfm.imaging.unreadable import explained
from ddfm.storage.budget import ask_pixels, max_bytes, max_pixels
from ddfm.storage.inputs import existing_file
from ddfm.storage.ours import MARK
from ddfm.storage.outputs import check_writable
from ddfm.video.formats import READ
from ddfm.video.whole import check_whole

__all__ = [
    "RATE",
    "VideoReader",
    "VideoWriter",
    "check_video",
    "comment",
    "comment_of",
    "import_av",
    "left_out",
    "new_video",
    "open_video",
    "open_whole",
    "record_in",
    "stream_like",
    "taken_otherwise",
    "writing_explained",
]

RATE = 25.0  # frames per second if none are given
FRAME_BYTES = 32  # bytes per pixel: decoded, as 16-bit RGB, as float64 for grey, as float32
# Without the last, x264 would round as the processor and even the place in memory suggest.
H264 = {"crf": "14", "x264-params": "cpu-independent=1"}
SQUARE = 0.02  # most by which the sides of pixels may differ without a warning
HDR = {16: "PQ", 18: "HLG"}  # transfer functions of ITU-R BT.2100, by their codes in ITU-T H.273
PLACES = {"location", "com.apple.quicktime.location.iso6709"}
COLORED = 12 / 255  # least difference of channels that is colour, not an artefact of compression


class VideoReader:
    """A video to read once, frame by frame."""

    def __init__(self, path: Path) -> None:
        self.path = existing_file(path)
        self.colored = False
        with explained(str(path)):
            check_whole(self.path)
            # A frame may be larger than the header states; the decoder checks before it allocates.
            most = min(max_pixels(), max_bytes(self.path.stat().st_size) / FRAME_BYTES, 2**31 - 1)
            limits = {"max_pixels": f"{most:.0f}"}
            self.most = most / 1e6
        self.container = open_video(path, limits)
        self.stream = self.container.streams.video[0]
        if self.stream.codec_context is None:
            raise InputError(f"{path} is damaged, or a video of an unknown codec")
        with explained(str(path)):
            self.stream.thread_type = "AUTO"
            self.stream.codec_context.options = limits
            self.rate = float(self.stream.average_rate or RATE)
            # Not all formats have the number of frames, and that of a film that was shortened
            # without encoding includes those before the cut; an estimate does for a progress bar.
            held = self.stream.frames
            shown = round((self.container.duration or 0) / 1e6 * self.rate)
            self.exact = held > 0 and not 0 < shown < held - 1
            self.count = (held if self.exact else shown or held) or None
            ask_pixels(self.stream.width, self.stream.height, str(path))

    def __iter__(self) -> Iterator[Picture]:
        return (picture for _, picture in self.stamped())

    def stamped(self) -> Generator[tuple[float | None, Picture], None, None]:
        """The frames with their time stamps in seconds, as far as these are known."""
        for number, frame in enumerate(self._decoded(), 1):
            with explained(f"{self.path} frame {number}"):
                picture = from_array(self._array(frame), f"{self.path} frame {number}")
            yield frame.time, picture

    def thumbnails(self, size: tuple[int, int]) -> Iterator[tuple[float | None, np.ndarray]]:
        """Small grey frames of this width and height, with their time stamps."""
        width, height = size
        for number, frame in enumerate(self._decoded(), 1):
            with explained(f"{self.path} frame {number}"):
                small = frame.reformat(width, height, "gray16le").to_ndarray()
            yield frame.time, small.astype(np.float32)

    def _decoded(self) -> Generator[Any, None, None]:
        with self.container:
            frames = self.container.decode(self.stream)
            for number in counting(1):
                with explained(f"{self.path} frame {number}"):
                    frame = self._next(frames, number)
                if frame is None:
                    return
                yield frame

    def _next(self, frames: Iterator[Any], number: int) -> Any:
        try:
            return next(frames, None)
        except import_av().ArgumentError:
            raise InputError(
                f"{self.path} frame {number} is damaged, or has more than {self.most:g} megapixels"
            ) from None

    def _array(self, frame: Any) -> np.ndarray:
        deep = frame.format.components[0].bits > 8
        turns = round((getattr(frame, "rotation", 0) or 0) / 90)
        if frame.format.name.startswith("gray"):
            return np.rot90(frame.to_ndarray(format="gray16le" if deep else "gray"), turns)
        layout = "rgb48le" if deep else "rgb24"
        # Older versions of PyAV ignore a film's matrix and range unless one of them is requested.
        array = frame.reformat(format=layout, dst_color_range="JPEG").to_ndarray()
        # A film is grey until its first frame in colour; from then on, all frames have colour.
        top = np.iinfo(array.dtype).max
        self.colored = self.colored or int(np.ptp(array, axis=2).max()) > COLORED * top
        if not self.colored:
            array = np.rint(array @ np.array(LUMA)).astype(array.dtype)
        return np.rot90(array, turns)


class VideoWriter:
    """A video to write, frame by frame, at a temporary path; a context manager that closes it.

    Args:
        temporary: the path to write to.
        path: the final path, for messages and the format.
        rate: frames per second.
        record: the record of how the video was made, stored in its comment.
    """

    def __init__(self, temporary: Path, path: Path, rate: float, record: str | None = None) -> None:
        self.path, self.rate = path, Fraction(rate).limit_denominator(1001)
        self.lossless = path.suffix.lower() == ".mkv"
        self.frames = 0
        self.stream: Any = None
        with self._explained():
            self.container = new_video(temporary, comment(record))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._explained():
                self.container.close()
        except DdfmError:
            if kind is None:  # otherwise the first error is more precise
                raise

    def write(self, picture: Picture, name: str) -> None:
        deep = self.lossless and picture.dtype.itemsize > 1
        depth = np.dtype(np.uint16 if deep else np.uint8)
        # Later frames may have colour.
        array = in_rgb(to_array(picture.pixels, replace(picture, dtype=depth, range=None)))
        if not self.lossless:
            h, w = array.shape[:2]
            array = np.pad(array, ((0, h % 2), (0, w % 2), (0, 0)), mode="edge")
        size = array.shape[:2]
        if self.stream is None:
            self._begin(size, deep)
        elif (self.stream.height, self.stream.width) != size:
            raise InputError(
                f"{self.path}: frame {name} has {size[1]} x {size[0]} pixels, and those before it "
                f"{self.stream.width} x {self.stream.height}; all frames must have one size"
            )
        layout = "rgb48le" if deep else "rgb24"
        with self._explained():
            frame = import_av().VideoFrame.from_ndarray(np.ascontiguousarray(array), format=layout)
            self._encode(self._converted(frame))

    def finish(self) -> None:
        """Flush the encoder after the last frame."""
        if self.stream is None:
            raise InputError(f"cannot write {self.path}: there are no frames")
        with self._explained():
            self._encode(None)

    def _begin(self, size: tuple[int, int], deep: bool) -> None:
        codec = "ffv1" if self.lossless else "libx264"
        with self._explained():
            self.stream = self.container.add_stream(codec, rate=self.rate)
        self.stream.height, self.stream.width = size
        if self.lossless:
            self.stream.pix_fmt = "gbrp16le" if deep else "bgr0"
            return
        self.stream.pix_fmt = "yuv420p"
        self.stream.options = H264
        # BT.709 of limited range, marked as such; otherwise players guess it from the frame size.
        context = self.stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1

    def _converted(self, frame: Any) -> Any:
        if self.lossless:
            frame = frame.reformat(format=self.stream.pix_fmt)
        else:
            frame = frame.reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
        frame.pts, frame.time_base = self.frames, 1 / self.rate
        self.frames += 1
        return frame

    def _encode(self, frame: Any) -> None:
        for packet in self.stream.encode(frame):
            self.container.mux(packet)

    def _explained(self) -> AbstractContextManager[None]:
        return writing_explained(self.path)


@contextmanager
def writing_explained(path: Path) -> Iterator[None]:
    """Turns errors of PyAV into a `StorageError` of one line about the video that is written."""
    try:
        yield
    except (import_av().FFmpegError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error  # without the temporary name
        raise StorageError(f"cannot write {path}: {one_line(why)}") from None


def new_video(temporary: Path, comment: str) -> Any:
    """A video to write with PyAV, with a comment; the caller must close it."""
    # Without random numbers in the file, so that it is reproducible.
    exact = {"fflags": "+bitexact"}
    video = import_av().open(str(temporary.absolute()), "w", container_options=exact)
    video.metadata["comment"] = comment
    return video


def stream_like(container: Any, pictures: Any) -> Any:
    """A stream for copies of the packets of another one, which declares the same rate."""
    stream = container.add_stream_from_template(pictures)
    stream.codec_context.framerate = pictures.average_rate
    return stream


def taken_otherwise(path: Path) -> Iterator[str]:
    """What a video states about its pixels that is not followed, in words."""
    film = VideoReader(path)
    shape, curve = film.stream.sample_aspect_ratio or 1, film.stream.codec_context.color_trc
    with closing(film._decoded()) as frames:
        first = next(frames, None)
    if abs(shape - 1) > SQUARE:
        yield (
            f"{path} has pixels {float(shape):.3g} times as wide as high, which are taken as "
            f"squares; ffmpeg -i IN -vf 'scale=iw*sar:ih,setsar=1' OUT.mkv makes them so"
        )
    if curve in HDR:
        yield (
            f"{path} is in HDR ({HDR[curve]}), which is read like other videos: its levels are not "
            "those of the scene, and colours are pale; record without HDR, or convert it first"
        )
    if first is not None and first.interlaced_frame:
        yield (
            f"{path} is interlaced: each frame is of two moments, and what moves has a comb; "
            "ffmpeg -i IN -vf bwdif OUT.mkv separates them"
        )


def left_out(path: Path) -> Iterator[str]:
    """What a video holds besides pictures and sound, in words."""
    with open_whole(path) as film:
        kinds = {stream.type for stream in film.streams if not _is_usual(stream.metadata)}
        names = {name.lower() for name in film.metadata}
    if "subtitle" in kinds:
        yield "subtitles"
    if "data" in kinds:
        yield "a track of data"
    if names & PLACES:
        yield "the place of recording"


def _is_usual(track: dict[str, str]) -> bool:
    """Whether a track has time codes, or what a phone knew, as nearly all films of its kind."""
    return "timecode" in track or track.get("handler_name") == "Core Media Metadata"


def comment(record: str | None) -> str:
    """The comment of a video by ddfm, with the record of how it was made."""
    return MARK if record is None else f"{MARK}\n{record}"


def record_in(path: Path) -> str | None:
    """The text of the record of how a film was made, if its comment has one."""
    mark, *lines = comment_of(path).split("\n")
    return next((line for line in lines if is_record(line)), None) if mark == MARK else None


def comment_of(path: Path) -> str:
    """The comment in a video's metadata, or an empty text."""
    with open_whole(path) as film:
        about = {name.lower(): text for name, text in film.metadata.items()}
        return str(about.get("comment", ""))


def check_video(path: Path) -> None:
    """Raise what a `VideoWriter` would raise about this path, before any work is done."""
    check_writable(path)
    import_av()


def open_video(path: Path, options: dict[str, str] | None = None) -> Any:
    """Open a video with PyAV; the caller must close it."""
    av = import_av()
    options = {"format_whitelist": ",".join(READ)} | (options or {})
    try:
        # FFmpeg would take what precedes a colon in a relative path for a protocol.
        film = av.open(str(path.absolute()), options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        if is_image(path):
            raise InputError(
                f"{path} is not a video, but an image; convert an animation to a video first, as "
                "by ffmpeg -i IN.gif OUT.mkv"
            ) from None
        raise InputError(
            f"{path} is not a video, or damaged (known: MP4, MOV, MKV, WebM, AVI, MPEG): "
            f"{one_line(error)}"
        ) from None
    if not film.streams.video:
        film.close()
        raise InputError(f"{path} has no video in it")
    return film


def open_whole(path: Path) -> Any:
    """Open a video like `open_video`; raises if the file is truncated."""
    with explained(str(path)):
        check_whole(existing_file(path))
    return open_video(path)


def import_av() -> Any:
    """Import PyAV; if it is missing, the error explains how to install it."""
    try:
        import av
    except ImportError as error:
        raise missing_extra("av", "video", "a video", error) from None
    return av
