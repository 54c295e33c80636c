"""A truncated film is refused, not read as a shorter one."""

from __future__ import annotations

import numpy as np
import pytest

from ddfm.errors import DdfmError
from ddfm.video.files import VideoReader

av = pytest.importorskip("av")

KINDS = [
    ("a.mkv", "ffv1", "bgr0"),
    ("a.webm", "libvpx", "yuv420p"),
    ("a.mp4", "libx264", "yuv420p"),
    ("fast.mp4", "libx264", "yuv420p"),
    ("a.mov", "libx264", "yuv420p"),
    ("a.avi", "mpeg4", "yuv420p"),
    ("a.flv", "flv1", "yuv420p"),
    ("a.wmv", "wmv2", "yuv420p"),
    ("a.mxf", "mpeg2video", "yuv420p"),
]


def film(path, codec: str, layout: str, frames: int = 8) -> bytes:
    rng = np.random.default_rng(0)
    options = {"movflags": "faststart"} if path.name.startswith("fast") else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, layout
        for _ in range(frames):
            array = rng.integers(0, 256, (32, 48, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(array, "rgb24").reformat(format=layout)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize("name, codec, layout", KINDS)
def test_a_truncated_film_is_refused_before_any_frame(tmp_path, name, codec, layout):
    data = film(tmp_path / name, codec, layout)
    assert len(list(VideoReader(tmp_path / name))) == 8
    for part in np.linspace(0.2, 0.999, 12):
        (tmp_path / name).write_bytes(data[: int(part * len(data))])
        with pytest.raises(DdfmError, match="is truncated|is not a video, or damaged"):
            VideoReader(tmp_path / name)


def test_a_film_that_is_written_live_has_no_length_and_is_read(tmp_path):
    path = tmp_path / "a.mkv"
    data = film(path, "ffv1", "bgr0")
    at = data.index(b"\x18\x53\x80\x67") + 4
    unknown = b"\x01" + b"\xff" * 7
    assert data[at] == 1  # eight bytes say how long the segment is
    path.write_bytes(data[:at] + unknown + data[at + 8 :])
    assert len(list(VideoReader(path))) == 8
