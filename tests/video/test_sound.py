"""Sound in a fused film, and films that do not match exactly."""

from __future__ import annotations

import warnings
from fractions import Fraction
from heapq import merge
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import ddfm
from command_line import QUICK, ddfm_run
from ddfm.errors import DdfmError, DdfmWarning
from ddfm.pipeline.films import fuse_sequence
from ddfm.storage.atomic import discard_all
from ddfm.video.files import VideoWriter
from ddfm.video.sound import complete

av = pytest.importorskip("av")

SAMPLES = 8000  # a second


@pytest.fixture(scope="module")
def fuser() -> ddfm.Fuser:
    return ddfm.Fuser("gaussian", steps=2, device="cpu")


def film(path: Path, tone: float | None, frames=8, rate=8, sound_codec="pcm_s16le", then=0) -> Path:
    """A film with a tone of a given frequency, half as long again as its pictures.

    With `then`, the tone has that frequency from the middle of the pictures on.
    """
    with av.open(str(path), "w") as out:
        pictures = out.add_stream("ffv1", rate=rate)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "gray"
        sound = None
        if tone is not None:
            sound = out.add_stream(sound_codec, rate=SAMPLES, layout="mono")
        y, x = np.mgrid[:48, :64]
        for k in range(frames):
            plane = np.uint8(127 + 60 * np.sin((x + k) / 9) + 50 * np.cos(y / 6))
            frame = av.VideoFrame.from_ndarray(plane, format="gray")
            out.mux(pictures.encode(frame))
        out.mux(pictures.encode(None))
        if sound is not None:
            count = int(1.5 * SAMPLES * frames / rate)
            time = np.arange(count) / SAMPLES
            tones = np.where(time < frames / rate / 2, tone, then or tone)
            wave = 9000 * np.sin(2 * np.pi * tones * time)
            for begin in range(0, count, 1000):
                some = wave[None, begin : begin + 1000].astype(np.int16)
                frame = av.AudioFrame.from_ndarray(some, "s16", "mono")
                frame.sample_rate, frame.pts = SAMPLES, begin
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("frames", [1, 3, 8])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("rate", [8, Fraction(30000, 1001)])
def test_a_completed_video_declares_its_rate(tmp_path, frames, suffix, rate):
    """In MKV, frames had no durations, and the rate of films of three frames was unknown."""
    silent = film(tmp_path / "x.mkv", None, frames, rate)
    if suffix == ".mp4":
        silent = tmp_path / "x.mp4"
        with VideoWriter(silent, silent, float(rate)) as video:
            for _ in range(frames):
                video.write(ddfm.read_image(np.zeros((48, 64), np.uint8)), "")
            video.finish()
    complete(silent, silent, "a comment", None)
    with av.open(str(silent)) as found:
        pictures = found.streams.video[0]
        assert float(pictures.average_rate) == pytest.approx(float(rate), rel=1e-3)
        unit = pictures.time_base
        lengths = [float(p.duration * unit) for p in found.demux(pictures) if p.size]
        assert found.metadata.get("comment", found.metadata.get("COMMENT")) == "a comment"
    assert lengths == pytest.approx([1 / float(rate)] * frames, abs=1e-3)


def heard(path: Path) -> tuple[float, float] | None:
    """The loudest frequency of a film's sound and its duration; None if it is silent."""
    with av.open(str(path)) as film:
        if not film.streams.audio:
            return None
        wave = np.concatenate([f.to_ndarray().ravel() for f in film.decode(audio=0)])
    loudest = np.abs(np.fft.rfft(wave)).argmax() * SAMPLES / len(wave)
    return float(loudest), len(wave) / SAMPLES


@pytest.fixture
def films(tmp_path):
    return film(tmp_path / "a.mkv", 440), film(tmp_path / "b.mkv", 1000)


@pytest.mark.parametrize("audio, tone", [("auto", 1000), ("a", 440), ("b", 1000), ("none", None)])
def test_the_source_of_the_sound_can_be_chosen(tmp_path, fuser, films, audio, tone):
    out = tmp_path / "out.mkv"
    fuse_sequence(*films, out, fuser, audio=audio, progress=False)
    found = heard(out)
    if tone is None:
        assert found is None
    else:
        assert found[0] == pytest.approx(tone, abs=8)
        assert found[1] == pytest.approx(1, abs=0.55)  # by packets of the source, which is longer
    with av.open(str(out)) as made:
        assert sum(1 for _ in made.decode(video=0)) == 8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mkv", "b.mkv", "out.mkv"]


def test_the_only_sound_is_kept(tmp_path, fuser):
    a, b = film(tmp_path / "a.mkv", 440), film(tmp_path / "b.mkv", None)
    fuse_sequence(a, b, tmp_path / "out.mkv", fuser, progress=False)
    assert heard(tmp_path / "out.mkv")[0] == pytest.approx(440, abs=8)
    with pytest.raises(DdfmError, match=r"b\.mkv has no sound that audio=b"):
        fuse_sequence(a, b, tmp_path / "x.mkv", fuser, audio="b", progress=False)
    with pytest.raises(DdfmError, match="unknown audio 'c'"):
        fuse_sequence(a, b, tmp_path / "x.mkv", fuser, audio="c", progress=False)


def test_sound_that_is_left_out_causes_a_warning(tmp_path, fuser, films):
    a = film(tmp_path / "law.avi", 440, sound_codec="pcm_alaw")
    with pytest.warns(DdfmWarning, match=".mp4 cannot hold the sound of .*pcm_alaw"):
        fuse_sequence(a, films[1], tmp_path / "a.mp4", fuser, audio="a", progress=False)
    assert heard(tmp_path / "a.mp4") is None
    with pytest.warns(DdfmWarning, match="left out, since the output is a folder"):
        fuse_sequence(*films, tmp_path / "frames", fuser, progress=False)


def test_films_that_do_not_match_exactly_cause_a_warning(tmp_path, fuser):
    a = film(tmp_path / "a.mkv", None, frames=6)
    b = film(tmp_path / "b.mkv", None, frames=8)
    with pytest.warns(DdfmWarning, match=r"b\.mkv continues after 0\.75 s, where .*a\.mkv ends"):
        fuse_sequence(a, b, tmp_path / "out.mkv", fuser, progress=False)
    slow = film(tmp_path / "slow.mkv", None, frames=6, rate=Fraction(15, 2))
    with pytest.warns(DdfmWarning, match=r"a\.mkv has 8 frames per second and .*slow\.mkv 7\.5; "):
        fuse_sequence(a, slow, tmp_path / "out2.mkv", fuser, progress=False)
    same = film(tmp_path / "same.mkv", None, frames=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fuse_sequence(a, same, tmp_path / "out3.mkv", fuser, progress=False)


@pytest.mark.parametrize(("delay", "tone"), [(0, 440), (2, 1000)])
def test_the_sound_begins_with_the_pictures(tmp_path, fuser, delay, tone):
    a = film(tmp_path / "a.mkv", 440, frames=32, then=1000)
    b = film(tmp_path / "b.mkv", None, frames=16)
    out = tmp_path / "out.mkv"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DdfmWarning)  # a continues without the delay
        fuse_sequence(a, b, out, fuser, delay=delay, progress=False)
    frequency, seconds = heard(out)
    assert frequency == pytest.approx(tone, abs=8) and seconds == pytest.approx(2, abs=0.55)


def test_the_command_keeps_the_sound(tmp_path, films):
    out = tmp_path / "out.mkv"
    result = ddfm_run("film", *films, "-o", out, "--audio", "a", *QUICK, "-q")
    assert result.exit_code == 0, result.output
    assert heard(out)[0] == pytest.approx(440, abs=8)


def test_a_process_that_is_ended_leaves_no_half_completed_film(tmp_path, monkeypatch):
    silent = film(tmp_path / "x.mkv", None)

    def ended(*streams, key):
        yield from islice(merge(*streams, key=key), 3)
        assert len(list(tmp_path.iterdir())) == 2
        discard_all()
        assert list(tmp_path.iterdir()) == [silent]
        raise KeyboardInterrupt

    monkeypatch.setattr("ddfm.video.sound.merge", ended)
    with pytest.raises(KeyboardInterrupt):
        complete(silent, silent, "a comment", None)
