"""Films: no flicker, levels that all frames share, and files that are complete or absent."""

from __future__ import annotations

import json
import math
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ddfm
from command_line import QUICK, ddfm_run, refused
from ddfm.errors import DdfmError, DdfmWarning, InputError
from ddfm.imaging.colormaps import colored
from ddfm.imaging.picture import from_array
from ddfm.pipeline.film_delay import delay_of
from ddfm.pipeline.film_files import Film, check_rate
from ddfm.pipeline.film_parts import Part
from ddfm.pipeline.film_work import FilmWork
from ddfm.pipeline.films import fuse_frames, fuse_sequence
from ddfm.storage.manifest import NAME, Shard
from ddfm.video.files import VideoReader
from film_files import W, noisy, rms, scene, two_films, write_film
from flir_files import flir_jpeg, kelvin_to_raw, raw_to_kelvin
from scenes import rounded


def levels(fusion: ddfm.Fusion) -> np.ndarray:
    return 255 * fusion.picture.pixels[..., 0].astype(np.float64)


# --- no flicker ---------------------------------------------------------------------------------


def test_frames_of_a_still_film_are_all_the_same(fuser):
    """The sampler draws the same noise, and nothing accumulates from frame to frame."""
    pair = rounded(scene(0)), rounded(scene(1))
    alone = fuser(*pair).picture.pixels
    for fusion in fuse_frames([pair] * 4, fuser):
        np.testing.assert_allclose(fusion.picture.pixels, alone, atol=1e-6)


def test_frames_are_not_checked_for_earlier_enlargement():
    """An earlier enlargement might be detected in some frames only, and the film would flicker."""
    coarse = np.random.default_rng(0).integers(0, 255, (60, 80), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(coarse).resize((160, 120), Image.Resampling.BILINEAR))
    other = np.random.default_rng(1).integers(0, 255, (120, 160), dtype=np.uint8)
    alone = ddfm.Fuser("gaussian", task="ir-visible", device="cpu", look=False)
    with pytest.warns(DdfmWarning, match="was enlarged by a factor of 2 "):
        alone(wide, other)
    (frame,) = fuse_frames([(wide, other)], alone)  # a warning would be an error here
    assert not any("enlarged" in one for one in frame.settings.get("observed", ()))


def test_a_noisy_still_film_flickers_less_than_frames_fused_alone(fuser):
    pairs = [(noisy(scene(0), 2 * k), noisy(scene(1), 2 * k + 1)) for k in range(10)]

    def flicker(fusions) -> float:
        return rms(np.diff([levels(f) for f in list(fusions)[4:]], axis=0))

    alone = flicker(fuser(*pair) for pair in pairs)
    assert flicker(fuse_frames(pairs, fuser, temporal_denoising=False)) < 1.02 * alone
    assert flicker(fuse_frames(pairs, fuser)) < alone / 3


def test_a_bright_object_that_appears_darkens_nothing_at_once(fuser):
    """Levels are spread less when something very bright takes up part of the range."""
    before = rounded(scene(0, 120, 200)), rounded(scene(1, 100, 190))
    after = before[0].copy(), before[1]
    after[0][:, : W // 8] = 255
    corner = (slice(None), slice(-W // 4, None))

    def change(one: ddfm.Fusion, other: ddfm.Fusion) -> float:
        return abs(np.mean(levels(one)[corner] - levels(other)[corner]))

    film = list(fuse_frames([before, *[after] * 25], fuser))
    at_once = change(fuser(*after), fuser(*before))
    assert at_once > 10
    assert change(film[1], film[0]) < at_once / 3
    assert max(change(*some) for some in zip(film[2:], film[1:-1], strict=True)) < at_once / 5
    # ... and in the end they have come near.
    assert change(film[-1], fuser(*after)) < at_once / 5


def test_options_of_the_caller_are_kept(fuser):
    pair = rounded(scene(0)), rounded(scene(1))
    given = ddfm.Fuser("gaussian", steps=2, device="cpu", options={"curve": (-1, 0.9)})
    options = [f.settings["options"] for f in fuse_frames([pair] * 3, given)]
    assert [o["curve"] for o in options] == [[-1, 0.9]] * 3
    assert given.config.options == {"curve": (-1, 0.9)}


def test_the_task_is_that_of_the_first_frame(fuser):
    grey, color = rounded(scene(0)), np.dstack([rounded(scene(k)) for k in range(3)])
    tasks = [f.settings["task"] for f in fuse_frames([(grey, color), (color, color)], fuser)]
    assert tasks == ["ir-visible"] * 2 and fuser.config.task == "auto"


def test_a_warm_start_is_refused_where_it_has_no_effect(monkeypatch):
    pairs = [(np.full((8, 8), 0.2), np.full((8, 8), 0.6))]
    pure = {"likelihood": "paper", "steps": 1, "device": "cpu"}
    with pytest.raises(DdfmError, match="warm start .* needs"):
        next(fuse_frames(pairs, ddfm.Fuser("gaussian", **pure), warm=True))
    assert list(fuse_frames(pairs, ddfm.Fuser("gaussian", start=50, **pure), warm=True))
    monkeypatch.setattr("ddfm.fuser.DMFuse", lambda prior, head: torch.nn.Identity())
    dmfuse = ddfm.Fuser("gaussian", method="dmfuse", device="cpu")
    with pytest.raises(DdfmError, match="warm start"):
        next(fuse_frames(pairs, dmfuse, warm=True))


def test_a_warm_start_begins_with_the_frame_before():
    pairs = [(rounded(scene(k)), rounded(scene(k + 5))) for k in range(2)]
    fuser = ddfm.Fuser("gaussian", likelihood="paper", start=50, steps=2, device="cpu")
    cold, warm = (list(fuse_frames(pairs, fuser, warm=w)) for w in (False, True))
    assert np.array_equal(levels(cold[0]), levels(warm[0]))
    assert rms(levels(cold[1]) - levels(warm[1])) > 1e-3


# --- levels -------------------------------------------------------------------------------------


def test_black_stays_black_after_long_averaging(fuser):
    """Noise at black is clipped: averaging reduces it, but its mean stays too bright."""
    clean = scene()
    clean[:, : W // 2] = 0
    frames = [noisy(clean, k) for k in range(12)]
    fused = [levels(fusion) for fusion in fuse_frames([(f, f) for f in frames], fuser)]
    black = [float(one[:, : W // 2 - 8].mean()) for one in fused]
    assert np.mean([f[:, : W // 2].mean() for f in frames]) > 3, "the noise of 8 is clipped"
    assert max(black) == black[0] and black[-1] < 3


def test_a_warning_about_every_frame_is_issued_once(tmp_path, fuser):
    """A film of a thousand frames would warn a thousand times of its different shape."""
    frames = []
    for k in range(4):
        frames.append((tmp_path / f"ir_{k}.png", tmp_path / f"vis_{k}.png"))
        for path, size in zip(frames[-1], ((16, 24), (16, 16)), strict=True):
            Image.fromarray(noisy(scene(), k)).resize(size).save(path)
    with pytest.warns(DdfmWarning) as caught:
        list(fuse_frames(frames, fuser.with_config(resize="b")))
    (warning,) = [str(one.message) for one in caught if "stretched by 1.5" in str(one.message)]
    assert "ir_0.png: 16 x 24 pixels become 16 x 16" in warning


def test_frames_of_a_thermal_camera_are_its_temperatures(tmp_path, fuser):
    """Not the rendering, and hot objects are not clipped by the range of their own frame."""
    pytest.importorskip("flyr")
    pairs = []
    for k, hottest in enumerate((20, 60, 20)):
        degrees = scene(0, 10, 20)
        degrees[:10, :10] = hottest
        raw = np.rint(kelvin_to_raw(degrees + 273.15)).astype(np.uint16)
        thermal, table = tmp_path / f"{k}.jpg", tmp_path / f"{k}.npy"
        thermal.write_bytes(flir_jpeg(raw, None, spare=4))
        np.save(table, raw_to_kelvin(raw) - 273.15)
        pairs.append((thermal, table))
    visible = rounded(scene(1))
    of_files, of_degrees = (
        [levels(f) for f in fuse_frames([(pair[k], visible) for pair in pairs], fuser)]
        for k in (0, 1)
    )
    for ours, expected in zip(of_files, of_degrees, strict=True):
        assert np.abs(ours - expected).max() < 1


@pytest.fixture
def thermal_folders(tmp_path) -> tuple[Path, Path]:
    """Two radiometric frames, one with something hot in a corner, and photographs."""
    pytest.importorskip("flyr")
    thermal, visible = tmp_path / "thermal", tmp_path / "visible"
    thermal.mkdir()
    visible.mkdir()
    for k, hottest in enumerate((20, 60)):
        degrees = scene(0, 10, 20)
        degrees[:10, :10] = hottest
        raw = np.rint(kelvin_to_raw(degrees + 273.15)).astype(np.uint16)
        (thermal / f"{k}.jpg").write_bytes(flir_jpeg(raw, None, spare=4))
        Image.fromarray(rounded(scene(1))).save(visible / f"{k}.png")
    return thermal, visible


def test_given_levels_apply_to_all_frames(tmp_path, fuser, thermal_folders):
    """Of all files by their values, of radiometric ones by their temperatures."""

    def frames(**how) -> list[np.ndarray]:
        out = tmp_path / next(iter(how))
        fuse_sequence(*thermal_folders, out, fuser, temporal_denoising=False, **how)
        return [np.asarray(Image.open(file)).astype(float) for file in sorted(out.glob("*.png"))]

    first, second = frames(celsius=(10, 20))
    cool = np.ones(first.shape, bool)
    cool[:16, :16] = False
    assert np.abs(first - second)[cool].max() < 0.02 * np.ptp(first)  # whatever is hot beside it
    same, _ = frames(range_a=(10, 20))
    assert np.abs(first - same).max() < 0.02 * np.ptp(first)


@pytest.mark.parametrize(
    ("levels", "same", "other"),
    [
        ({"celsius": (10, 20)}, {"celsius": (10, 20)}, {"celsius": (10, 30)}),
        (
            {"range_a": (10, 20)},
            {"range_a": np.array([10, 20], np.float32)},
            {"range_a": (10, 30)},
        ),
    ],
)
def test_frames_are_kept_if_their_levels_are_the_same(
    tmp_path, fuser, thermal_folders, levels, same, other
):
    run = partial(fuse_sequence, *thermal_folders, tmp_path / "out", fuser)
    assert len(run(**levels).of("fused")) == 2
    assert len(run(**same).of("skipped")) == 2
    assert len(run(**other).of("fused")) == 2


def test_levels_that_do_not_fit_the_frames_are_refused(tmp_path, fuser, thermal_folders):
    visible = thermal_folders[1]
    photographs = visible, shutil.copytree(visible, tmp_path / "other")
    with pytest.raises(DdfmError, match="celsius"):
        fuse_sequence(*photographs, tmp_path / "no", fuser, celsius=(10, 20))
    with pytest.raises(DdfmError, match="LOW"):
        fuse_sequence(*photographs, tmp_path / "no", fuser, range_a=(3, 2))


def test_frames_of_small_range_are_spread_alike_with_one_warning(fuser):
    frames = [(np.rint(7000 + scene(0, 0, 300 + k)).astype(np.uint16), scene(1)) for k in (0, 9)]
    with pytest.warns(DdfmWarning, match="a small part of 16 bits") as caught:
        first, second = (levels(fusion) for fusion in fuse_frames(frames, fuser))
    assert sum("a small part" in str(one.message) for one in caught) == 1
    assert np.ptp(first) > 100 and rms(first - second) < 10


# --- folders ------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Six frames; 2 comes before 10."""
    for seed, word in enumerate(("ir", "vis")):
        (tmp_path / word).mkdir()
        for k, number in enumerate((1, 2, 3, 10, 11, 20)):
            frame = noisy(scene(seed), 10 * seed + k)[:20, :24]
            Image.fromarray(frame).save(tmp_path / word / f"{word}_{number}.png")
    return tmp_path / "ir", tmp_path / "vis"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != NAME}


class Counting:
    """Counts the fusions of a fuser, and stops it at a given number."""

    def __init__(self, monkeypatch, stop: int | None = None) -> None:
        self.count, call = 0, ddfm.Fuser.__call__

        def counted(fuser, *args, **kwargs):
            if self.count == stop:
                raise KeyboardInterrupt
            self.count += 1
            return call(fuser, *args, **kwargs)

        monkeypatch.setattr(ddfm.Fuser, "__call__", counted)


def test_frames_are_fused_in_the_order_of_their_numbers(tmp_path, fuser, folders):
    names = ["1", "2", "3", "10", "11", "20"]
    assert len(fuse_sequence(*folders, tmp_path / "out", fuser).outcomes) == 6
    paths = [tuple(d / f"{d.name}_{name}.png" for d in folders) for name in names]
    for name, fusion in zip(names, fuse_frames(paths, fuser), strict=True):
        assert np.array_equal(Image.open(tmp_path / "out" / f"{name}.png"), fusion.image)


def test_an_interrupted_folder_continues_with_the_same_result(
    tmp_path, fuser, folders, monkeypatch
):
    fuse_sequence(*folders, tmp_path / "whole", fuser)
    for stops in (0, 1, 4):
        out = tmp_path / f"stopped after {stops}"
        with monkeypatch.context() as patch:
            Counting(patch, stops)
            with pytest.raises(KeyboardInterrupt):
                fuse_sequence(*folders, out, fuser)
        assert len(contents(out)) == stops
        with monkeypatch.context() as patch:
            counting = Counting(patch)
            assert len(fuse_sequence(*folders, out, fuser).outcomes) == 6
            assert counting.count == 6 - stops
        assert contents(out) == contents(tmp_path / "whole")


def test_a_changed_frame_and_all_after_it_are_fused_again(tmp_path, fuser, folders, monkeypatch):
    out = tmp_path / "out"
    fuse_sequence(*folders, out, fuser)
    before = contents(out)
    Image.fromarray(noisy(scene(7), 7)[:20, :24]).save(folders[0] / "ir_10.png")
    counting = Counting(monkeypatch)
    fuse_sequence(*folders, out, fuser)
    after = contents(out)
    assert counting.count == 3
    assert [name for name in sorted(before) if before[name] != after[name]] == [
        "10.png", "11.png", "20.png",
    ]  # fmt: skip


def test_other_settings_fuse_all_frames_again(tmp_path, fuser, folders, monkeypatch):
    out = tmp_path / "out"
    fuse_sequence(*folders, out, fuser)
    counting = Counting(monkeypatch)
    for k, kwargs in enumerate(
        ({}, {"temporal_denoising": False}, {"temporal_denoising": False}, {"warm": True})
    ):
        fuse_sequence(*folders, out, fuser, **kwargs)
        assert counting.count == (0, 6, 6, 12)[k]


def test_a_frame_whose_levels_were_not_noted_is_fused_again(tmp_path, fuser, folders, monkeypatch):
    out = tmp_path / "out"
    fuse_sequence(*folders, out, fuser)
    before = contents(out)
    manifest = out / "ddfm-manifest.jsonl"
    entries = [json.loads(line) for line in manifest.read_text().splitlines()]
    for damaged in ({"chosen": None}, {"chosen": [1]}):
        entries[2] |= damaged
        manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        with monkeypatch.context() as patch:
            counting = Counting(patch)
            fuse_sequence(*folders, out, fuser)
        assert counting.count == 4 and contents(out) == before
    entries[0] |= {"chosen": {"curve": "dark"}}
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    with pytest.raises(DdfmError, match="the option curve must be"):
        fuse_sequence(*folders, out, fuser)


def test_frames_of_another_film_are_not_mixed_with_these(tmp_path, fuser, folders):
    out = tmp_path / "out"
    out.mkdir()
    (out / "note.txt").write_text("mine")
    with pytest.raises(DdfmError, match="holds note.txt, which does not belong to this film"):
        fuse_sequence(*folders, out, fuser)
    (out / "note.txt").rename(out / ".note")  # as file managers leave them
    refused(ddfm_run("film", *folders, "-o", tmp_path, *QUICK), "which does not belong")
    assert ddfm_run("film", *folders, "-o", out, *QUICK).exit_code == 0
    (folders[0] / "ir_20.png").unlink()
    (folders[1] / "vis_20.png").unlink()
    with pytest.raises(DdfmError, match="holds 20.png, which does not belong to this film"):
        fuse_sequence(*folders, out, fuser)
    (out / "20.png").unlink()
    assert len(fuse_sequence(*folders, out, fuser).outcomes) == 5


def test_bad_folders_are_refused(tmp_path, fuser, folders):
    def fails(words: str, a=folders[0], b=folders[1], out="out", **kwargs) -> None:
        with pytest.raises(DdfmError, match=words) as caught:
            fuse_sequence(a, b, tmp_path / out, fuser, **kwargs)
        assert "\n" not in str(caught.value)

    fails("there is no such file", b=tmp_path / "none.mp4", a=tmp_path / "nor this.mp4")
    fails("is a folder and .*a.mp4 is not", b=tmp_path / "a.mp4")
    fails("cannot read the pattern", pattern="x")
    fails("unknown output suffix '.gif'", out="x.gif")
    (folders[0] / "ir_4.png").write_bytes(b"")
    fails("1 frames have no clear partner, the first is .*ir_4.png")
    (folders[0] / "ir_4.png").unlink()
    (tmp_path / "file").write_bytes(b"")
    fails("it is a file", out="file")
    empty, also = tmp_path / "empty", tmp_path / "empty too"
    empty.mkdir()
    also.mkdir()
    fails("there are no frames in .*empty", a=empty, b=also)
    assert not (tmp_path / "out").exists()
    (folders[1] / "vis_3.png").write_bytes(b"no picture")
    fails("vis_3.png is not an image")
    assert set(contents(tmp_path / "out")) == {"1.png", "2.png"}


# --- videos -------------------------------------------------------------------------------------


@pytest.fixture
def videos(tmp_path, av) -> tuple[Path, Path]:
    return two_films(tmp_path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_two_videos_are_fused(tmp_path, fuser, videos, suffix):
    out = tmp_path / f"fused{suffix}"
    assert len(fuse_sequence(*videos, out, fuser).outcomes) == 4
    fused, sources = VideoReader(out), [list(VideoReader(path)) for path in videos]
    assert fused.rate == 25
    expected = fuse_frames(zip(*sources, strict=True), fuser)
    tolerance = 12 if suffix == ".mp4" else 0
    for picture, fusion in zip(fused, expected, strict=True):
        assert np.abs(np.rint(picture.pixels.squeeze() * 255) - fusion.image).max() <= tolerance


def test_the_shorter_video_ends_the_film(tmp_path, fuser, videos):
    frames = [np.full((20, 24), 9 * k, np.uint8) for k in range(9)]
    longer = write_film(tmp_path / "long.mp4", frames)
    with pytest.warns(DdfmWarning, match="long.mp4 continues after 0.16 s, where .*ir.mkv ends"):
        summary = fuse_sequence(videos[0], longer, tmp_path / "x.mkv", fuser)
    assert len(summary.outcomes) == 4


def test_videos_are_fused_into_a_folder_that_can_be_continued(tmp_path, fuser, videos, monkeypatch):
    fuse_sequence(*videos, tmp_path / "whole", fuser)
    with monkeypatch.context() as patch:
        Counting(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            fuse_sequence(*videos, tmp_path / "out", fuser)
    counting = Counting(monkeypatch)
    fuse_sequence(*videos, tmp_path / "out", fuser)
    assert counting.count == 2
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert sorted(contents(tmp_path / "out"))[0] == "000001.png"


def test_a_video_appears_complete_or_not_at_all(tmp_path, fuser, videos, monkeypatch):
    folder = tmp_path / "out"
    folder.mkdir()
    Counting(monkeypatch, 2)
    for suffix in (".mp4", ".mkv"):
        with pytest.raises(KeyboardInterrupt):
            fuse_sequence(*videos, folder / f"x{suffix}", fuser)
        assert list(folder.iterdir()) == []


def test_bad_videos_are_refused(tmp_path, fuser, videos, av):
    ir, vis = videos
    out = tmp_path / "new" / "x.mp4"
    out.parent.mkdir()

    def fails(words: str, a=ir, b=vis, out=out, **kwargs) -> None:
        with pytest.raises(DdfmError, match=words) as caught:
            fuse_sequence(a, b, out, fuser, **kwargs)
        assert "\n" not in str(caught.value)
        assert list((tmp_path / "new").iterdir()) == []

    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video at all")
    fails("bad.mp4 is not a video, or damaged", b=bad)
    Image.new("L", (24, 20)).save(tmp_path / "picture.png")
    fails("picture.png is not a video, but an image", a=tmp_path / "picture.png")
    bad.write_bytes(vis.read_bytes()[: vis.stat().st_size // 2])
    fails("bad.mp4", b=bad)
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame(format="s16", layout="mono", samples=800)
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    fails("sound.mkv has no video in it", a=tmp_path / "sound.mkv")
    other = write_film(tmp_path / "other.mkv", [np.zeros((9, 9), np.uint8)] * 4)
    fails("9 x 9 pixels and .*24 x 20", a=other)
    fails("leave it out for videos", pattern="{}:{}")
    fails("0.001 to 1000 frames per second", rate=0)
    fails("samples must be from 2", uncertainty=out.parent / "std.mp4", samples=0)
    fails("there is no folder", out=tmp_path / "none" / "x.mp4")
    (tmp_path / "folder.mp4").mkdir()
    fails("it is a folder", out=tmp_path / "folder.mp4")


@pytest.mark.parametrize("rate", ["9", [9], None, math.nan, 1001])
def test_a_rate_from_a_damaged_record_is_refused(rate):
    with pytest.raises(DdfmError, match="the frame rate must be"):
        check_rate(rate)


def test_a_missing_package_names_its_extra(tmp_path, fuser, folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DdfmError, match=r"ddfm\[video\]"):
        fuse_sequence(*folders, tmp_path / "x.mp4", fuser)


# --- the command line ---------------------------------------------------------------------------


def test_the_command_writes_what_the_library_makes(tmp_path, fuser, folders):
    fuse_sequence(*folders, tmp_path / "expected", fuser)
    result = ddfm_run("film", *folders, "-o", tmp_path / "out", *QUICK, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")
    fuse_sequence(*folders, tmp_path / "plain", fuser, temporal_denoising=False)
    pattern = "ir_{}.png:vis_{}.png"
    options = ["--no-temporal-denoising", "--pattern", pattern]
    assert ddfm_run("film", *folders, "-o", tmp_path / "out", *QUICK, *options).exit_code == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")
    assert json.loads((tmp_path / "out" / NAME).read_text().splitlines()[-1])["settings"]["seed"]


def test_both_commands_take_videos(tmp_path, videos):
    film, fuse = tmp_path / "film.mkv", tmp_path / "fuse.mkv"
    assert ddfm_run("film", *videos, "-o", film, *QUICK).exit_code == 0
    assert ddfm_run("fuse", *videos, "-o", fuse, *QUICK).exit_code == 0
    for one, other in zip(VideoReader(film), VideoReader(fuse), strict=True):
        assert np.array_equal(one.pixels, other.pixels)
    assert ddfm_run("film", *videos, "-o", film, *QUICK, "--rate", 50).exit_code == 0
    assert VideoReader(film).rate == 50 and len(list(VideoReader(film))) == 8


def test_a_quiet_command_prints_no_warning(tmp_path, videos):
    short = write_film(tmp_path / "short.mkv", [np.zeros((20, 24), np.uint8)] * 2)
    result = ddfm_run("film", videos[0], short, "-o", tmp_path / "x.mkv", *QUICK)
    assert "continues after 0.08 s" in result.stderr
    result = ddfm_run("film", videos[0], short, "-o", tmp_path / "x.mkv", *QUICK, "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_command_fails_in_one_line(tmp_path, folders, videos):
    def refuses(*arguments: object, words: str) -> None:
        refused(ddfm_run(*arguments), words)

    out = tmp_path / "x.mp4"
    refuses("film", *folders, "-o", tmp_path / "x.avi", words="unknown output suffix '.avi'")
    refuses("film", folders[0], videos[1], "-o", out, words="two folders or two videos")
    refuses("film", *folders, "-o", folders[0], words="it is a source itself")
    refuses("film", *folders, "-o", tmp_path, words="which does not belong to this film")
    refuses("film", *folders, "-o", tmp_path / "new", "--rate", 9, words="has no frame rate")
    for option in (["--save-steps", tmp_path], ["--json"], ["--metadata-from", "a"]):
        refuses("fuse", *videos, "-o", out, *option, words=f"{option[0]} is for images, not for")
    still = tmp_path / "still.png"
    Image.new("L", (16, 12)).save(still)
    for sources in (videos[:1], [*videos, videos[0]], [still, videos[0]], [videos[0], still]):
        refuses("fuse", *sources, "-o", out, words="with one other film; give two")
    assert not out.exists()


def test_an_interrupt_ends_with_130_and_leaves_no_video(tmp_path, folders, av, monkeypatch):
    Counting(monkeypatch, 3)
    out = tmp_path / "out"
    out.mkdir()
    result = ddfm_run("film", *folders, "-o", out / "x.mp4", *QUICK)
    assert (result.exit_code, result.stderr.strip()) == (130, "ddfm: error: interrupted")
    assert list(out.iterdir()) == []


def test_levels_of_false_colours_are_the_same_in_all_frames(fuser):
    """Beside a hot object that comes into view, too."""
    muted = np.random.default_rng(0).integers(90, 166, (6, 8, 3), np.uint8)
    photograph = muted.repeat(8, 0).repeat(8, 1)
    before = scene(0, 30, 180) / 255
    after = before.copy()
    after[:16, :16] = 1
    frames = [np.rint(255 * colored(values, "iron")).astype(np.uint8) for values in (before, after)]
    work = FilmWork(fuser, temporal_denoising=False, warm=False)
    with pytest.warns(DdfmWarning, match="in false colours") as said:
        seen = [work._seen(from_array(f), from_array(photograph))[0] for f in frames]
    assert len(said) == 1 and not seen[0].is_color
    assert np.array_equal(seen[0].pixels[16:], seen[1].pixels[16:])


def test_a_damaged_frame_leaves_those_before_it(tmp_path, fuser, av, monkeypatch):
    """Although the motion of the whole film is looked at first."""

    def damaged(*files: Path) -> None:
        raise InputError("frame 3 is damaged")

    monkeypatch.setattr("ddfm.pipeline.film_delay.find_delay", damaged)
    assert delay_of(tmp_path / "a.mkv", tmp_path / "b.mkv", None) == (0, [])
    with pytest.raises(DdfmError, match="frame 3"):
        delay_of(tmp_path / "a.mkv", tmp_path / "b.mkv", "auto")
    assert delay_of(tmp_path / "a.mkv", tmp_path / "b.mkv", 0) == (0, [])


def test_a_part_begins_earlier_where_frames_are_repeated(tmp_path, fuser, monkeypatch):
    seen = []
    monkeypatch.setattr(FilmWork, "load", lambda self, item: (item, item))
    monkeypatch.setattr(FilmWork, "fused", lambda self, *pair: seen.append(pair[0]))
    monkeypatch.setattr(FilmWork, "_scaled", lambda self, *pair: None)
    part = Part(Shard(2, 2), 1000)
    film = Film(range(1000), 30, 500, part=part, repeated=10 / 3)
    FilmWork(fuser, False, False).frames_of(film)
    assert seen == [0, *range(500 - 167, 500)]
