"""Videos in time: frames that belong together although the rates of cameras differ or vary."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import ddfm
from command_line import QUICK, ddfm_run, refused
from ddfm.errors import DdfmError
from ddfm.pipeline.film_files import open_film
from ddfm.pipeline.films import fuse_sequence
from ddfm.video.files import VideoReader
from ddfm.video.timing import Timing, at_rate, in_seconds, timing_of
from film_files import write_film


@pytest.mark.parametrize("own", [8, 9, 25, 30000 / 1001, 60])
@pytest.mark.parametrize("rate", [5, 9, 25, 30, 50])
@pytest.mark.parametrize("skip", [0, 0.31])
def test_each_frame_is_the_nearest_in_time_until_the_film_ends(own, rate, skip):
    frames = [(k / own, k) for k in range(40)]
    chosen = list(at_rate(frames, own, rate, skip))
    times = skip + np.arange(len(chosen)) / rate
    distances = np.abs(np.arange(40) / own - times[:, None])
    assert np.allclose(distances[range(len(chosen)), chosen], distances.min(axis=1), atol=1e-5)
    assert len(chosen) == Timing(own, 40 / own).count(rate, skip)
    assert 40 / own - 1 / rate < times[-1] + 0.51 / own and times[-1] < 40 / own


@pytest.mark.parametrize("unit", [0.001, 1 / 90_000, 1 / 600])
@pytest.mark.parametrize("rate", [9, 25, 30000 / 1001])
def test_frames_at_a_constant_rate_are_all_used_once_however_times_are_rounded(unit, rate):
    frames = [(round(k / rate / unit) * unit, k) for k in range(2000)]
    assert list(at_rate(frames, rate, rate)) == list(range(2000))


def test_no_frames_give_none():
    assert list(at_rate([], 25, 25)) == []


@pytest.mark.parametrize(
    ("stamps", "seconds"),
    [
        ([5.0, 5.1, 5.3], [0, 0.1, 0.3]),
        ([None, None, None], [0, 0.1, 0.2]),
        ([0.0, 7200.0, 7200.1], [0, 0.1, 0.2]),  # recordings that were joined
        ([3.0, 3.1, 0.0, 0.2], [0, 0.1, 0.2, 0.4]),
        ([2.0, 2.0, 2.2], [0, 0.1, 0.3]),
    ],
)
def test_damaged_time_stamps_count_as_one_frame(stamps, seconds):
    timed = list(in_seconds(zip(stamps, count()), rate=10))
    assert [time for time, _ in timed] == pytest.approx(seconds)
    assert [frame for _, frame in timed] == list(range(len(stamps)))


def levels_at(path: Path, times, av, suffix_rate=1000) -> Path:
    """A video of even frames at these times, whose level is the time in hundredths of a second."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("ffv1", rate=suffix_rate)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "gray"
        for time in times:
            level = np.full((24, 32), round(100 * time), np.uint8)
            frame = av.VideoFrame.from_ndarray(level, format="gray")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    return path


def pairs_of(film) -> list[tuple[float, float]]:
    """The times of the frames that are fused with each other."""
    return [tuple(255 * frame.pixels.mean() / 100 for frame in item.given) for item in film.frames]


def test_two_cameras_of_different_rates_are_paired_in_time(tmp_path, av):
    thermal = levels_at(tmp_path / "thermal.mkv", np.arange(18) / 9, av)
    visible = levels_at(tmp_path / "visible.mkv", np.arange(60) / 30, av)
    film = open_film(thermal, visible)
    pairs = np.array(pairs_of(film))
    assert film.rate == pytest.approx(30, rel=0.01) and len(pairs) == film.count == 60
    assert np.abs(pairs[:, 1] - np.arange(60) / 30).max() < 0.006
    before_the_last = pairs[:, 1] < 17 / 9
    assert np.abs(pairs[:, 0] - pairs[:, 1])[before_the_last].max() < 0.5 / 9 + 0.01
    assert pairs[~before_the_last, 0] == pytest.approx(17 / 9, abs=0.006)


def test_a_rate_that_varies_is_followed(tmp_path, av):
    """A phone records fewer frames in the dark; its film lasts as long nevertheless."""
    steady = levels_at(tmp_path / "steady.mkv", np.arange(40) / 20, av)
    times = np.concatenate([np.arange(20) / 20, 1 + np.arange(10) / 10])
    phone = levels_at(tmp_path / "phone.mkv", times, av)
    assert timing_of(phone).seconds == pytest.approx(2, abs=0.07)
    pairs = np.array(pairs_of(open_film(steady, phone)))
    assert 39 <= len(pairs) <= 40
    assert np.abs(pairs[:, 0] - pairs[:, 1]).max() <= 0.06


def test_a_film_that_was_shortened_without_encoding_has_the_frames_that_are_shown(tmp_path, av):
    """By an edit list (ISO 14496-12): the frames before the cut are in the file for decoding."""
    frames = [np.full((32, 32), 5 * k, np.uint8) for k in range(30)]
    whole = write_film(tmp_path / "whole.mp4", frames, 10)
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as film, av.open(str(cut), "w") as out:
        stream = out.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(video=0):
            if packet.size:
                early = round(1.3 / packet.time_base)
                packet.pts, packet.dts = packet.pts - early, packet.dts - early
                packet.stream = stream
                out.mux(packet)
    shown = [255 * picture.pixels.mean() / 5 for picture in VideoReader(cut)]
    assert shown == pytest.approx(range(13, 30), abs=0.3)
    assert timing_of(cut).seconds == pytest.approx(1.7)
    assert VideoReader(cut).count == 17
    film = open_film(cut, whole)
    assert film.count == 17 and any("continues after 1.7 s" in note for note in film.notes)


def joined_late(path: Path, frames: int, every: int, missing: int, av) -> Path:
    """A recording of a stream of 10 frames a second, without its first packets.

    Every `every`-th frame of the stream is a key frame; levels are as in `levels_at`.
    """
    with av.open(str(path), "w") as film:
        options = {"g": str(every), "bf": "0", "sc_threshold": "0", "crf": "1"}
        stream = film.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "gray"
        stream.codec_context.color_range = 2  # full, by ITU-T H.273
        levels = [np.full((24, 32), 10 * k, np.uint8) for k in range(frames)]
        coded = [stream.encode(av.VideoFrame.from_ndarray(x, format="gray")) for x in levels]
        film.mux([packet for some in [*coded, stream.encode(None)] for packet in some][missing:])
    return path


@pytest.mark.parametrize("late", ["a", "b", "ab"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_a_recording_that_begins_between_key_frames_keeps_its_time(tmp_path, av, suffix, late):
    """What precedes the first key frame cannot be decoded, but is a part of the recording."""
    films = {
        name: joined_late(tmp_path / f"{name}{suffix}", 25, 10, 4, av)
        if name in late
        else levels_at(tmp_path / f"{name}.mkv", np.arange(4, 25) / 10, av)
        for name in "ab"
    }
    film = open_film(*films.values(), rate=10)
    pairs = np.array(pairs_of(film))
    assert pairs[:, 0] == pytest.approx(np.arange(10, 25) / 10, abs=0.02)
    assert pairs[:, 1] == pytest.approx(np.arange(10, 25) / 10, abs=0.02)
    assert film.count == 15 and film.skipped == pytest.approx((0.6, 0.6), abs=0.002)
    told = [note for note in film.notes if "has no key frame in its first 0.6 s" in note]
    assert [str(films[name]) in note for name, note in zip(late, told, strict=True)]
    assert not [note for note in film.notes if "continues" in note]


def test_a_delay_pairs_what_was_recorded_at_the_same_time(tmp_path, av):
    a = levels_at(tmp_path / "a.mkv", np.arange(50) / 25, av)
    b = levels_at(tmp_path / "b.mkv", np.arange(50) / 25, av)
    for delay in (0.6, -0.6):
        film = open_film(a, b, delay=delay)
        pairs = np.array(pairs_of(film))
        assert len(pairs) == film.count == 35
        assert np.allclose(pairs[:, 0] - pairs[:, 1], delay, atol=0.011)
    for delay in (1.99, 2.5):
        with pytest.raises(DdfmError, match=r"a\.mkv ends before the other video begins; check"):
            open_film(a, b, delay=delay)


def test_what_a_video_states_of_its_pixels_and_is_not_followed_is_told(tmp_path, av):
    """By the codes of ITU-T H.273: 16 and 18 are the transfer functions of HDR, 1 is BT.709."""
    for name, shape, curve, told in [
        ("plain.mp4", None, 1, []),
        ("wide.mp4", Fraction(16, 11), 1, ["1.45 times as wide as high"]),
        ("phone.mp4", Fraction(1), 18, [r"in HDR \(HLG\)"]),
        ("both.mp4", Fraction(1, 2), 16, ["0.5 times as wide as high", r"in HDR \(PQ\)"]),
    ]:
        with av.open(str(tmp_path / name), "w") as film:
            stream = film.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
            stream.codec_context.color_trc = curve
            if shape is not None:
                stream.codec_context.sample_aspect_ratio = shape
            film.mux(stream.encode(av.VideoFrame(32, 24, "yuv420p")))
            film.mux(stream.encode(None))
        # Both sources are this film.
        notes = open_film(tmp_path / name, tmp_path / name).notes
        assert len(notes) == 2 * len(told)
        for text, note in zip(2 * told, notes, strict=True):
            assert re.search(text, note)


def test_what_a_video_holds_besides_pictures_and_sound_is_told(tmp_path, av):
    """As the films of a drone, with its telemetry in subtitles or in a track of data."""
    (tmp_path / "x.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nlatitude: 47.1\n\n")
    picture = av.VideoFrame(32, 24, "yuv420p")
    for name, told in [
        ("plain.mkv", []),
        ("text.mkv", ["subtitles and the place of recording"]),
        ("data.ts", ["a track of data"]),
    ]:
        with av.open(str(tmp_path / "x.srt")) as srt, av.open(str(tmp_path / name), "w") as film:
            stream = film.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
            packets = []
            if name == "text.mkv":
                film.metadata["location"] = "+47.1000+008.5000/"
                text = film.add_stream_from_template(srt.streams.subtitles[0])
                packets = [packet for packet in srt.demux() if packet.size]
            if name == "data.ts":
                text, packets = film.add_data_stream("klv"), [av.Packet(b"latitude")]
                packets[0].pts = packets[0].dts = 0
            film.mux([*stream.encode(picture), *stream.encode(None)])
            for packet in packets:
                packet.stream = text
                film.mux(packet)
        notes = open_film(tmp_path / name, tmp_path / "plain.mkv").notes
        assert [note for note in notes if "also holds" in note] == [
            f"{tmp_path / name} also holds {what}, which the result does not get" for what in told
        ]


@pytest.mark.parametrize(("pause", "told"), [(59, False), (90, True)])
def test_a_gap_that_counts_as_none_is_told(tmp_path, av, pause, told):
    times = np.arange(20) / 10 + np.where(np.arange(20) < 8, 0, pause)
    with av.open(str(tmp_path / "a.mkv"), "w") as film:
        stream = film.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "gray"
        for time in times:
            frame = av.VideoFrame(32, 24, "gray")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    notes = open_film(tmp_path / "a.mkv", tmp_path / "a.mkv", rate=10).notes
    assert len(notes) == 2 * told
    assert all(f"a gap of {pause + 0.1:g} s after 0.7 s, which" in note for note in notes)


def test_an_interlaced_video_is_told(tmp_path, av):
    path = tmp_path / "tape.mp4"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=25, options={"x264-params": "interlaced=1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        film.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        film.mux(stream.encode(None))
    plain = write_film(tmp_path / "plain.mkv", [np.zeros((48, 64), np.uint8)], 25)
    assert [n for n in open_film(path, plain).notes if re.search(r"tape\.mp4 is interlaced", n)]
    assert not [n for n in open_film(plain, plain).notes if "interlaced" in n]


def test_a_declared_rate_that_is_that_of_a_clock_is_measured(tmp_path, av):
    path = levels_at(tmp_path / "x.mkv", np.arange(20) / 10, av)
    assert timing_of(path).rate == pytest.approx(10, rel=0.02)


def test_the_rate_of_the_result_can_be_chosen_and_keeps_time(tmp_path, av):
    a, b = (
        write_film(
            tmp_path / f"{n}.mkv", [np.full((24, 32), 4 * k, np.uint8) for k in range(30)], 10
        )
        for n in "ab"
    )
    fuser = ddfm.Fuser("gaussian", steps=2, device="cpu")
    out = tmp_path / "out.mkv"
    assert len(fuse_sequence(a, b, out, fuser, rate=5, progress=False).outcomes) == 15
    assert timing_of(out).seconds == pytest.approx(3, abs=0.01)


def test_frames_of_another_delay_are_made_anew(tmp_path, av):
    a, b = (levels_at(tmp_path / f"{n}.mkv", np.arange(10) / 10, av) for n in "ab")
    out, again = tmp_path / "out", tmp_path / "again"

    def first_frame(*more: object) -> bytes:
        result = ddfm_run("film", a, b, "-o", out, *QUICK, *more)
        assert result.exit_code == 0, result.stderr
        return (out / "000001.png").read_bytes()

    at_once = first_frame()
    assert first_frame("--delay", 0.2) != at_once == first_frame()
    result = ddfm_run("film", a, b, "-o", out, *QUICK, "--delay", 0.2)
    assert "still holds 000009.png to 000010.png of an earlier run" in result.stderr
    (out / "000009.png").unlink()
    (out / "000010.png").unlink()
    result = ddfm_run("film", a, b, "--like", out, "-o", again, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert len(list(again.glob("*.png"))) == 8
    refused(ddfm_run("film", out, again, "-o", tmp_path / "x", "--delay", 1), "is for videos")
