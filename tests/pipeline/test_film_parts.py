"""Films and volumes fused by many processes: complete, nothing twice, as by one process."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddfm
from command_line import QUICK, ddfm_run, refused
from ddfm.errors import DdfmError
from ddfm.pipeline.film_parts import Part, merge_film
from ddfm.pipeline.films import fuse_sequence
from ddfm.pipeline.records import read_record
from ddfm.pipeline.shards import merge_shards
from ddfm.pipeline.volumes import fuse_volumes
from ddfm.storage.manifest import NAME, Manifest, Shard
from ddfm.video.files import VideoReader
from ddfm.video.join import join_videos
from ddfm.video.timing import timing_of
from film_files import write_film

FRAMES = 24


def frames_of(seed: int, count: int = FRAMES) -> list[np.ndarray]:
    """A still scene with noise, half as bright in its first frames."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(60, 200, (4, 5), np.uint8))
    still = np.asarray(small.resize((24, 20), Image.Resampling.BICUBIC), float)
    light = np.clip(0.5 + np.arange(count) / 10, 0, 1)
    noise = rng.normal(0, 4, (count, *still.shape))
    return list(np.clip(np.rint(light[:, None, None] * still + noise), 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("films")
    for seed, word in enumerate(("ir", "vis")):
        (root / word).mkdir()
        for k, frame in enumerate(frames_of(seed)):
            Image.fromarray(frame).save(root / word / f"{k}.png")
    return root / "ir", root / "vis"


def levels(folder: Path) -> np.ndarray:
    files = [folder / f"{k}.png" for k in range(FRAMES)]
    return np.stack([np.asarray(Image.open(file), float) for file in files])


# --- films --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("film", "count"), [(60, 1), (60, 7), (8, 8)])
def test_parts_are_ranges_that_make_up_the_film(film, count):
    parts = [Part(Shard(k, count), film) for k in range(1, count + 1)]
    assert [k for part in parts for k in range(part.begin, part.end)] == list(range(film))
    sizes = [part.end - part.begin for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.fixture(scope="module")
def one(tmp_path_factory, fuser, folders) -> np.ndarray:
    """The result of one process."""
    out = tmp_path_factory.mktemp("one") / "out"
    fuse_sequence(*folders, out, fuser)
    return levels(out)


def test_parts_of_a_film_fill_one_folder_nearly_as_one_process(
    tmp_path, fuser, folders, one, monkeypatch
):
    monkeypatch.setattr("ddfm.pipeline.film_work.RUN_IN", 12)
    out = tmp_path / "many"
    for k in (3, 1, 2):
        summary = fuse_sequence(*folders, out, fuser, shard=Shard(k, 3))
        assert len(summary.of("fused")) == 8
    many = levels(out)
    # The second part has seen all that one process has, and the third all but three frames.
    np.testing.assert_array_equal(many[:16], one[:16])
    np.testing.assert_allclose(many[16:], one[16:], atol=2)
    again = fuse_sequence(*folders, out, fuser, shard=Shard(2, 3))
    assert len(again.of("skipped")) == 8
    merged = merge_shards(out)
    assert merged.ok and merged.results == FRAMES
    assert [path.name for path in out.glob("*.jsonl")] == [NAME]


def test_without_the_frames_before_it_a_part_would_differ(
    tmp_path, fuser, folders, one, monkeypatch
):
    monkeypatch.setattr("ddfm.pipeline.film_work.RUN_IN", 0)
    fuse_sequence(*folders, tmp_path / "many", fuser, shard=Shard(3, 3))
    first = np.asarray(Image.open(tmp_path / "many" / "16.png"), float)
    assert np.abs(first - one[16]).max() > 3


def test_merging_names_missing_frames(tmp_path, fuser, folders, monkeypatch):
    monkeypatch.setattr("ddfm.pipeline.film_work.RUN_IN", 3)
    out, shard = tmp_path / "out", Shard(2, 2)
    fuse_sequence(*folders, out, fuser, shard=Shard(1, 2))
    fuse, count = ddfm.Fuser.__call__, iter(range(1000))

    def stops(*args, **kwargs):
        if next(count) == 1 + 3 + 5:  # the film's first, three before its own, five of its own
            raise KeyboardInterrupt
        return fuse(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ddfm.Fuser, "__call__", stops)
        with pytest.raises(KeyboardInterrupt):
            fuse_sequence(*folders, out, fuser, shard=shard)
    copied = merge_shards(shutil.copytree(out, tmp_path / "copy"))
    assert not copied.ok and "frames 13 to 24: only 5 exist" in str(copied)
    resumed = fuse_sequence(*folders, out, fuser, shard=shard)
    fuse_sequence(*folders, tmp_path / "whole", fuser, shard=shard)
    assert len(resumed.of("fused")) == 7
    undisturbed = list((tmp_path / "whole").glob("*.png"))
    assert len(undisturbed) == 12 and merge_shards(out).ok
    for path in undisturbed:
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_a_part_that_was_killed_before_its_own_frames_has_not_begun(
    tmp_path, fuser, folders, monkeypatch
):
    monkeypatch.setattr("ddfm.pipeline.film_work.RUN_IN", 1)
    out = tmp_path / "out"
    for k in (1, 3):
        fuse_sequence(*folders, out, fuser, shard=Shard(k, 3))
    with monkeypatch.context() as patch:
        patch.setattr(ddfm.Fuser, "__call__", stopped)
        with pytest.raises(KeyboardInterrupt):
            fuse_sequence(*folders, out, fuser, shard=Shard(2, 3))
    merged = merge_shards(out)
    assert not merged.ok and merged.silent == [Shard(2, 3)]
    assert "frames 9 to 16: none exist" in str(merged)
    assert (out / Shard(1, 3).manifest).exists()  # nothing was merged
    result = ddfm_run("merge", out)
    assert result.exit_code == 1 and "without --shard" not in result.stderr  # that fuses it anew
    fuse_sequence(*folders, out, fuser, shard=Shard(2, 3))
    assert merge_shards(out).ok and not (out / Shard(1, 3).manifest).exists()
    # Nothing is left to do, so the part's new manifest stays without lines.
    fuse_sequence(*folders, out, fuser, shard=Shard(2, 3))
    assert merge_shards(out).ok


def test_a_gap_in_a_merged_film_is_named(tmp_path):
    with Manifest(tmp_path) as manifest:
        for k, frames in ((1, [1, 2]), (2, [1, 2]), (5, [5, 6]), (6, [5, 6])):
            with manifest.adding(f"{k}.png", {"settings": {"frames": frames}}) as temporary:
                temporary.write_bytes(b"%d" % k)
    assert merge_shards(tmp_path).cut == ["frames 3 to 4: none exist"]
    with Manifest(tmp_path) as manifest, manifest.adding("3.png", {"settings": {}}) as temporary:
        temporary.write_bytes(b"3")  # by a run of the whole film, which may have made all others
    assert not merge_shards(tmp_path).cut


def stopped(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def shown(path: Path) -> np.ndarray:
    return np.stack([picture.pixels for picture in VideoReader(path)])


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
@pytest.mark.parametrize("rate", [25, 9, 29.97])
def test_a_joined_video_has_the_frames_of_its_parts_at_their_times(tmp_path, av, suffix, rate):
    frames = frames_of(0, 23)
    parts = [
        write_film(tmp_path / f"{k}{suffix}", some, rate)
        for k, some in enumerate((frames[:9], frames[9:10], frames[10:]))
    ]
    out, whole = tmp_path / f"out{suffix}", write_film(tmp_path / f"one{suffix}", frames, rate)
    assert join_videos(parts, out) == timing_of(out).count(rate) == 23
    np.testing.assert_array_equal(shown(out), np.concatenate([shown(part) for part in parts]))
    with av.open(str(out)) as film, av.open(str(whole)) as other:
        times = [[float(f.time) for f in each.decode(video=0)] for each in (film, other)]
        rates = [float(each.streams.video[0].average_rate) for each in (film, other)]
    assert rates[0] == pytest.approx(rates[1], rel=1e-4)
    np.testing.assert_allclose(times[0], times[1], atol=1e-3)


def test_parts_of_different_films_are_not_joined(tmp_path, av):
    parts = [write_film(tmp_path / "1.mkv", frames_of(0, 3))]
    parts.append(write_film(tmp_path / "2.mkv", [frame[:10] for frame in frames_of(0, 3)]))
    with pytest.raises(DdfmError, match=r"2\.mkv differs from .*1\.mkv in size, rate or coding"):
        join_videos(parts, tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


def test_shards_of_a_video_are_joined(tmp_path, av):
    ir, vis = (
        write_film(tmp_path / f"{word}.mkv", frames_of(seed, 7))
        for seed, word in enumerate(("ir", "vis"))
    )
    out = tmp_path / "out.mp4"
    refused(ddfm_run("merge", out), "no parts such as out.part-1-of-2.mp4")
    how = ["film", ir, vis, "-o", out, *QUICK]
    for shard in ("1/3", "3/3"):
        assert ddfm_run(*how, "--shard", shard).exit_code == 0
    result = ddfm_run("merge", out)
    assert result.exit_code == 1 and "out.part-2-of-3.mp4: is missing" in result.stderr
    assert not out.exists()
    ddfm_run(*how, "--shard", "2/3", "--balance", "0.5")
    refused(ddfm_run("merge", out), "of different films, or were fused with different settings")
    other = write_film(tmp_path / "other.mkv", frames_of(2, 7))
    ddfm_run("film", other, vis, "-o", out, *QUICK, "--shard", "2/3")
    refused(ddfm_run("merge", out), "of different films, or were fused with different settings")
    ddfm_run(*how, "--shard", "2/3")
    result = ddfm_run("merge", out)
    assert (result.exit_code, result.stderr) == (0, "7 frames joined\n")
    parts = [shown(tmp_path / f"out.part-{k}-of-3.mp4") for k in (1, 2, 3)]
    np.testing.assert_array_equal(shown(out), np.concatenate(parts))
    assert ddfm_run("merge", out).exit_code == 0  # what is replaced is ours


def test_a_joined_video_tells_how_it_was_made(tmp_path, av):
    """As the film of one process does; each part tells it, too. What is repeated is the film."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:96, :128]
    smooth = 127 + 40 * np.sin(x / 13) + 40 * np.cos(y / 11)
    ir, vis = (
        write_film(
            tmp_path / f"{word}.mkv",
            list(np.rint(smooth + rng.normal(0, 12, (7, 96, 128))).clip(0, 255).astype(np.uint8)),
        )
        for word in ("ir", "vis")
    )
    how = ["film", ir, vis, *QUICK, "--balance", "0.5", "--noise-b", "0", "--no-temporal-denoising"]
    whole, out, again = (tmp_path / f"{name}.mkv" for name in ("whole", "out", "again"))
    assert ddfm_run(*how, "-o", whole).exit_code == 0
    for shard in ("1/2", "2/2"):
        assert ddfm_run(*how, "-o", out, "--shard", shard).exit_code == 0
    assert ddfm_run("merge", out).exit_code == 0
    one, joined = read_record(whole), read_record(out)
    assert joined.settings == one.settings | {"parts": 2}
    assert (joined.sources, joined.opening) == (one.sources, one.opening)
    part = read_record(tmp_path / "out.part-2-of-2.mkv")
    assert part.settings == one.settings | {"frames": [4, 7]}
    (of_one, _), (of_joined, _) = one.observed, joined.observed
    assert of_one["in"] == {"noise": 7} and of_joined["in"] == {"noise": 2}
    assert of_joined["noise"] == pytest.approx(of_one["noise"], rel=0.2)
    assert "removed in 2 of 2 parts (median; --noise-a 0 keeps it)" in ddfm_run("info", out).stdout
    assert ddfm_run("film", "--like", out, ir, vis, "-o", again).exit_code == 0
    np.testing.assert_array_equal(shown(again), shown(whole))
    for file in (whole, out):  # without a record, if none is wanted
        file.unlink()
    for shard in ("1/2", "2/2"):
        ddfm_run(*how, "-o", out, "--shard", shard, "--strip")
    assert ddfm_run("merge", out).exit_code == 0 and read_record(out) is None


def test_impossible_parts_are_refused(tmp_path, folders):
    out = tmp_path / "out"
    refused(ddfm_run("film", *folders, "-o", out, *QUICK, "--shard", "1/99"), "split into 99 parts")
    refused(ddfm_run("film", *folders, "-o", out, *QUICK, "--shard", "9/8"), "--shard must be")
    refused(ddfm_run("film", *folders, "-o", out, *QUICK, "--shard", "1/2", "--warm"), "--warm")
    for k in (1, 2):
        (tmp_path / f"x.part-{k}-of-2.mkv").write_bytes(b"none of ours")
    with pytest.raises(DdfmError, match=r"x\.part-1-of-2\.mkv is not a video"):
        merge_film(tmp_path / "x.mkv")


# --- volumes ------------------------------------------------------------------------------------


def head(seed: int, shape: tuple[int, int, int] = (20, 18, 9)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    return ((grid**2).sum(0) < 0.9) * rng.uniform(300, 800, shape).astype(np.float32)


def test_slices_of_all_shards_become_one_volume(tmp_path, fuser):
    sources, kept = (head(0), head(1)), tmp_path / "kept"
    one = fuse_volumes(*sources, fuser, axis=2)
    for k in (2, 1):
        fuse_volumes(*sources, fuser, axis=2, keep=kept, shard=Shard(k, 2))
    before = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.npy")}
    assert len(before) == np.count_nonzero(sources[0].any((0, 1)))
    many = fuse_volumes(*sources, fuser, axis=2, keep=kept)
    np.testing.assert_array_equal(many.values, one.values)
    assert before == {path.name: path.stat().st_mtime_ns for path in kept.glob("*.npy")}
    with pytest.raises(DdfmError, match="a folder to keep them in"):
        fuse_volumes(*sources, fuser, shard=Shard(1, 2))


def test_shards_of_a_volume_from_the_command_line(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    for k, name in enumerate("ab"):
        nibabel.save(nibabel.Nifti1Image(head(k), np.diag([1, 1, 3, 1])), tmp_path / f"{name}.nii")
    how = ["volume", tmp_path / "a.nii", tmp_path / "b.nii", *QUICK]
    out, one = tmp_path / "out.nii", tmp_path / "one.nii"
    for shard in ("1/2", "2/2"):
        assert ddfm_run(*how, "-o", out, "--shard", shard).exit_code == 0
        assert not out.exists()
    assert ddfm_run(*how, "-o", out).exit_code == ddfm_run(*how, "-o", one).exit_code == 0
    assert out.read_bytes() == one.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii", "b.nii", "one.nii", "out.nii"]
