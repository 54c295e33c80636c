"""How much later one video begins than another, by the motion in both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from command_line import ddfm_run
from ddfm.video.motion import find_delay
from ddfm.video.timing import lead_of
from film_files import write_film

av = pytest.importorskip("av")

H, W = 24, 32
LENGTH = 20  # seconds that are filmed


def path_of(seed: int) -> np.ndarray:
    """How a camera held by hand moves, in pixels, a thousand times a second for half a minute."""
    steps = np.random.default_rng(seed).normal(size=(30_000, 2))
    moved = ndimage.gaussian_filter1d(steps, 200, axis=0)
    return 4 * moved / moved.std()


def filmed(path: Path, way: np.ndarray, begin: float, rate: float, sign: int) -> Path:
    """A video of a scene by a camera on its way, from a time on; other sensors invert the scene."""
    rng = np.random.default_rng(0)
    view = ndimage.gaussian_filter(rng.normal(size=(80, 90)), 2)
    view = 128 + sign * 90 * view / np.abs(view).max()
    frames = []
    for time in begin + np.arange(round(LENGTH * rate)) / rate:
        (row, y), (column, x) = ((int(p), p % 1) for p in way[int(1000 * time)] + 25)
        seen = view[row : row + H + 1, column : column + W + 1]
        seen = (1 - y) * seen[:-1] + y * seen[1:]
        seen = (1 - x) * seen[:, :-1] + x * seen[:, 1:] + rng.normal(0, 2, (H, W))
        frames.append(np.uint8(np.clip(seen, 0, 255)))
    return write_film(path, frames, rate)


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("films")
    way = path_of(0)
    a = filmed(folder / "a.mkv", way, 3.0, 9, sign=1)
    return a, filmed(folder / "b.mkv", way, 4.6, 25, sign=-1)


def test_the_delay_is_found_by_the_motion(films):
    found = find_delay(*films)
    assert found.sure and found.seconds == pytest.approx(1.6, abs=0.05)
    back = find_delay(*films[::-1])
    assert back.sure and back.seconds == pytest.approx(-1.6, abs=0.05)


def test_the_delay_counts_from_the_beginning_of_a_recording_not_from_its_first_key_frame(
    films, tmp_path
):
    whole = filmed(tmp_path / "whole.mp4", path_of(0), 4.6, 25, sign=-1)
    cut = tmp_path / "cut.mkv"
    with av.open(str(whole)) as film, av.open(str(cut), "w") as out:
        stream = out.add_stream_from_template(film.streams.video[0])
        for number, packet in enumerate(film.demux(video=0)):
            if packet.size and number >= 25:
                packet.stream = stream
                out.mux(packet)
    assert lead_of(cut) > 5  # a key frame each 250 frames
    found = find_delay(films[0], cut)
    assert found.sure and found.seconds == pytest.approx(2.6, abs=0.09)  # B-frames have gone, too
    back = find_delay(cut, films[0])
    assert back.sure and back.seconds == pytest.approx(-2.6, abs=0.09)


def test_nothing_is_found_where_nothing_agrees(films, tmp_path):
    assert not find_delay(films[0], filmed(tmp_path / "x.mkv", path_of(9), 4.6, 25, -1)).sure
    still = write_film(tmp_path / "still.mkv", [np.full((H, W), 90, np.uint8)] * 250)
    assert not find_delay(films[0], still).sure and not find_delay(still, still).sure


def test_repeated_motion_has_no_delay(tmp_path):
    """A fan turns at the same speed in both films, whenever these begin."""
    turns = [60 + 60 * (np.sin(2 * np.pi * k / 25) > 0) * np.ones((H, W)) for k in range(500)]
    a, b = (write_film(tmp_path / f"{begin}.mkv", np.uint8(turns[begin:])) for begin in (0, 7))
    assert not find_delay(a, b).sure


def test_a_short_film_has_too_little_motion(films, tmp_path):
    short = write_film(tmp_path / "short.mkv", [np.full((H, W), 9 * k, np.uint8) for k in range(9)])
    assert not find_delay(films[0], short).sure


def test_the_command_warns_of_a_delay_and_uses_it_if_asked(films, tmp_path):
    fast = ["--prior", "gaussian", "--steps", "1", "--device", "cpu", "--as-is", "--rate", "1"]
    said = ddfm_run("film", *films, "-o", tmp_path / "a", *fast).stderr
    assert "b.mkv begins 1.6" in said and "by the motion in both; --delay 1." in said
    done = ddfm_run("film", *films, "-o", tmp_path / "b", *fast, "--delay", "auto")
    assert done.exit_code == 0 and f"b.mkv begins 1.6 s after {films[0]}" in done.stderr
    assert len(list((tmp_path / "b").glob("*.png"))) == 19
