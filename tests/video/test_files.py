"""Video files: what they hold survives, and files that are no videos are refused."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import numpy as np
import pytest

from ddfm.errors import DdfmError
from ddfm.video import files
from ddfm.video.files import VideoReader
from film_files import noisy, scene, two_films, write_film

av = pytest.importorskip("av")


@pytest.fixture
def videos(tmp_path) -> tuple[Path, Path]:
    return two_films(tmp_path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(13, 17), (13, 17, 3), (1, 1)])
def test_mkv_is_lossless(tmp_path, dtype, shape):
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    frames = [rng.integers(0, top, shape, dtype, endpoint=True) for _ in range(5)]
    video = VideoReader(write_film(tmp_path / "x.mkv", frames, 30000 / 1001))
    assert video.rate == pytest.approx(29.97, abs=1e-3)
    pictures = list(video)
    assert len(pictures) == 5
    for picture, frame in zip(pictures, frames, strict=True):
        assert picture.dtype == dtype
        assert np.array_equal(
            np.rint(picture.pixels * top).astype(dtype).squeeze(), frame.squeeze()
        )


def test_mkv_takes_colour_that_appears_later(tmp_path):
    grey, color = np.full((8, 8), 90, np.uint8), np.full((8, 8, 3), (200, 30, 40), np.uint8)
    pictures = list(VideoReader(write_film(tmp_path / "x.mkv", [grey, color, grey])))
    assert [p.is_color for p in pictures] == [False, True, False]
    assert np.array_equal(np.rint(pictures[1].pixels * 255), color)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_h264_keeps_levels_and_colours(tmp_path, suffix):
    colors = [(200, 30, 40), (20, 220, 60), (30, 40, 210), (250, 250, 250), (3, 3, 3)]
    frames = [np.full((33, 41, 3), color, np.uint8) for color in colors]
    video = VideoReader(write_film(tmp_path / f"x{suffix}", frames, 12.5))
    pictures = list(video)
    assert video.rate == 12.5 and video.count == len(pictures) == 5
    for picture, color in zip(pictures, colors, strict=True):
        assert picture.size == (34, 42)  # H.264 has even sides
        assert np.abs(255 * picture.pixels - color).max() < 4
    assert [p.is_color for p in pictures] == [True] * 3 + [False] * 2


def test_h264_is_the_same_on_any_processor(tmp_path, monkeypatch):
    """Also without its special instructions, whose rounding depends on the place in memory."""
    frames = [noisy(scene(k, 60, 180), k) for k in range(6)]
    usual = write_film(tmp_path / "usual.mp4", frames).read_bytes()
    plain = files.H264["x264-params"] + ":asm=0"
    monkeypatch.setattr(files, "H264", files.H264 | {"x264-params": plain})
    assert write_film(tmp_path / "plain.mp4", frames).read_bytes() == usual


def test_videos_state_their_colour_matrix(tmp_path):
    """The matrix from RGB to YCbCr is in the file, since players would guess it from the size."""
    path = write_film(tmp_path / "x.mp4", [np.full((16, 16, 3), (200, 30, 40), np.uint8)])
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (1, 1)


def test_a_film_in_portrait_format_is_read_upright(tmp_path):
    """By the matrix of its track (ISO 14496-12, tkhd); this one turns the picture to the right."""
    frame = np.zeros((16, 32), np.uint8)
    frame[:8, :16] = 200  # top left
    path = write_film(tmp_path / "x.mp4", [frame])
    data = bytearray(path.read_bytes())
    one = 1 << 16
    unit = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    at = data.index(unit, data.index(b"tkhd"))
    data[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 16 * one, 0, 1 << 30)
    path.write_bytes(data)
    (picture,) = VideoReader(path)
    assert picture.size == (32, 16)
    turned = 255 * picture.pixels[..., 0]
    assert turned[:14, 10:].min() > 180 and turned[18:].max() < 20 and turned[:, :6].max() < 20


def test_a_list_of_other_files_is_not_followed(tmp_path, videos):
    """FFmpeg would open what a playlist names."""
    playlist = tmp_path / "list.mp4"
    segment = videos[1].name
    playlist.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{segment}\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(DdfmError, match="is not a video"):
        VideoReader(playlist)
    playlist.write_text(f"ffconcat version 1.0\nfile {segment}\n")
    with pytest.raises(DdfmError, match="is not a video"):
        VideoReader(playlist)


def test_damaged_videos_end_in_one_line_or_in_fewer_frames(tmp_path, videos):
    rng = np.random.default_rng(0)
    for path in videos:
        data = path.read_bytes()
        for _ in range(30):
            changed = bytearray(data)
            for at in rng.integers(0, len(data), 8):
                changed[at] = rng.integers(256)
            bad = tmp_path / f"bad{path.suffix}"
            bad.write_bytes(changed)
            try:
                assert len(list(VideoReader(bad))) <= 10
            except DdfmError as error:
                assert "\n" not in str(error) and str(bad) in str(error)


def test_a_full_disk_is_reported_without_the_temporary_name():
    with pytest.raises(DdfmError) as caught, files.writing_explained(Path("f.mkv")):
        raise OSError(errno.ENOSPC, "No space left on device", "/films/.partial-1.mkv")
    assert str(caught.value) == "cannot write f.mkv: No space left on device"


def test_frames_of_a_video_have_one_size(tmp_path):
    with pytest.raises(DdfmError, match="frame 1 has 8 x 9 pixels, and those before it 8 x 8"):
        write_film(tmp_path / "x.mkv", [np.zeros((8, 8), np.uint8), np.zeros((9, 8), np.uint8)])
