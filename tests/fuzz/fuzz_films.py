"""Small films to damage."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from ddfm.imaging.picture import to_array
from ddfm.video.files import VideoReader

__all__ = ["film_files"]

Made = tuple[str, str, bytes, Callable[[Path], None]]

KINDS = [
    (".mkv", "ffv1", "bgr0"),
    (".webm", "libvpx", "yuv420p"),
    (".mp4", "libx264", "yuv420p"),
    (".mov", "mjpeg", "yuvj420p"),
    (".avi", "mpeg4", "yuv420p"),
    (".avi", "png", "rgb24"),
    (".ts", "mpeg2video", "yuv420p"),
]


def film_files() -> Iterator[Made]:
    """Name, suffix, content and reader."""
    try:
        import av
    except ImportError:
        return
    rng = np.random.default_rng(0)
    for suffix, codec, layout in KINDS:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / f"a{suffix}"
            with av.open(str(path), "w") as container:
                stream = container.add_stream(codec, rate=25)
                stream.width, stream.height, stream.pix_fmt = 32, 16, layout
                for _ in range(4):
                    array = rng.integers(0, 256, (16, 32, 3), np.uint8)
                    frame = av.VideoFrame.from_ndarray(array, "rgb24")
                    if layout == "yuvj420p":
                        frame = frame.reformat(format="yuvj420p", dst_color_range="JPEG")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            yield f"video {codec}", suffix, path.read_bytes(), read_film


def read_film(path: Path) -> None:
    for picture in islice(VideoReader(path), 20):
        assert picture.pixels.dtype == np.float32 and picture.pixels.size
        assert picture.pixels.min() >= 0 and picture.pixels.max() <= 1
        to_array(picture.pixels, picture)
