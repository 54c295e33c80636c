"""Folders: resumed, skipped, and the same bytes after interruptions."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddfm
from ddfm.errors import DdfmError, DdfmWarning, StorageError
from ddfm.pipeline import folder_maps
from ddfm.pipeline.folders import fuse_folders
from ddfm.pipeline.runner import UNWRITTEN
from ddfm.pipeline.summary import Outcome, Summary
from ddfm.storage.checksum import sha256_of
from ddfm.storage.failures import NAME as FAILED
from ddfm.storage.manifest import NAME
from image_files import folders_of_noise, geotiff


@pytest.fixture(scope="module")
def fuser() -> ddfm.Fuser:
    return ddfm.Fuser("gaussian", likelihood="paper", steps=2, device="cpu")


def make_pairs(root: Path, count: int) -> tuple[Path, ...]:
    return folders_of_noise(root, [f"{k:03d}_{{}}" for k in range(count)], (24, 20))


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder without manifest and list of failures, which hold times."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in (NAME, FAILED)}


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def test_each_pair_is_fused_as_it_is_alone(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 3)
    seen = []
    summary = fuse_folders(ir, vis, tmp_path / "out", fuser, callback=seen.append)
    assert summary.ok and [o.status for o in summary.outcomes] == ["fused"] * 3
    assert sorted(str(o) for o in seen) == sorted(map(str, summary.outcomes))
    for k in range(3):
        alone = fuser(ir / f"{k:03d}_ir.png", vis / f"{k:03d}_vis.png").image
        assert (np.asarray(Image.open(tmp_path / "out" / f"{k:03d}.png")) == alone).all()


def test_three_folders_are_fused_as_three_files_are(tmp_path):
    fuser = ddfm.Fuser("gaussian", steps=2, device="cpu")
    near, far = make_pairs(tmp_path, 2)
    middle = tmp_path / "middle"
    middle.mkdir()
    for k in range(2):
        Image.new("L", (20, 24), 80 + 50 * k).save(middle / f"{k:03d}.png")
    out = tmp_path / "out"
    assert len(fuse_folders(near, middle, out, fuser, more=[far]).of("fused")) == 2
    files = near / "001_ir.png", middle / "001.png", far / "001_vis.png"
    assert (np.asarray(Image.open(out / "001.png")) == fuser(*files).image).all()
    sources = next(entry["sources"] for entry in lines(out) if entry["output"] == "001.png")
    assert [source["sha256"] for source in sources] == list(map(sha256_of, files))
    Image.new("L", (20, 24), 9).save(middle / "000.png")
    summary = fuse_folders(near, middle, out, fuser, more=[far])
    assert [outcome.status for outcome in summary.outcomes] == ["fused", "skipped"]


def test_the_manifest_records_how_each_file_was_made(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 2)
    out = tmp_path / "deep" / "out"
    fuse_folders(ir, vis, out, fuser)
    entries = {entry["output"]: entry for entry in lines(out)}
    assert set(entries) == {"000.png", "001.png"}
    entry = entries["001.png"]
    assert entry["sha256"] == sha256_of(out / "001.png")
    for source, path in zip(
        entry["sources"], (ir / "001_ir.png", vis / "001_vis.png"), strict=True
    ):
        assert source == {
            "name": path.name,
            "sha256": sha256_of(path),
            "size": path.stat().st_size,
            "mtime_ns": path.stat().st_mtime_ns,
        }
    assert entry["mtime_ns"] == (out / "001.png").stat().st_mtime_ns
    assert entry["seconds"] > 0
    assert fuser.settings("ir-visible").items() <= entry["settings"].items()


def test_finished_pairs_are_skipped(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 3)
    out = tmp_path / "out"
    fuse_folders(ir, vis, out, fuser)
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    summary = fuse_folders(ir, vis, out, fuser)
    assert [o.status for o in summary.outcomes] == ["skipped"] * 3
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before


def test_changed_pairs_are_fused_again(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 4)
    out = tmp_path / "out"
    fuse_folders(ir, vis, out, fuser)
    wanted = contents(out)
    (out / "000.png").unlink()
    (out / "001.png").write_bytes(wanted["001.png"][:-20])  # what is still known as ours
    Image.new("L", (20, 24), 99).save(vis / "002_vis.png")
    summary = fuse_folders(ir, vis, out, fuser)
    assert [o.status for o in summary.outcomes] == ["fused", "fused", "fused", "skipped"]
    now = contents(out)
    assert now.pop("002.png") != wanted.pop("002.png") and now == wanted


def test_changes_of_equal_size_and_time_are_noticed_with_verify(tmp_path, fuser):
    """Of equal size, and dated back."""
    ir, vis = make_pairs(tmp_path, 2)
    out = tmp_path / "out"
    fuse_folders(ir, vis, out, fuser)
    path = out / "001.png"
    before, times = path.read_bytes(), path.stat()
    path.write_bytes(before[:-5] + b"?" + before[-4:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert len(fuse_folders(ir, vis, out, fuser).of("skipped")) == 2
    summary = fuse_folders(ir, vis, out, fuser, verify=True)
    assert [o.status for o in summary.outcomes] == ["skipped", "fused"]
    assert path.read_bytes() == before


def test_a_result_rewritten_by_others_is_not_replaced(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 2)
    out = tmp_path / "out"
    fuse_folders(ir, vis, out, fuser)
    wanted = contents(out)
    (out / "001.png").write_bytes(b"retouched")
    summary = fuse_folders(ir, vis, out, fuser)
    assert [o.status for o in summary.outcomes] == ["skipped", "failed"]
    assert "nothing in it shows that ddfm wrote it" in summary.outcomes[1].error
    assert contents(out) == wanted | {"001.png": b"retouched"}
    with ddfm.overwriting():  # which threads of the runner hear of
        assert len(fuse_folders(ir, vis, out, fuser).of("fused")) == 1
    assert contents(out) == wanted


def test_other_settings_fuse_all_pairs_again(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 1)
    out = tmp_path / "out"
    fuse_folders(ir, vis, out, fuser)
    other = ddfm.Fuser("gaussian", likelihood="paper", steps=3, device="cpu")
    assert fuse_folders(ir, vis, out, other).outcomes[0].status == "fused"
    assert fuse_folders(ir, vis, out, other).outcomes[0].status == "skipped"
    assert fuse_folders(ir, vis, out, fuser).outcomes[0].status == "fused"


def test_a_changed_mask_fuses_all_pairs_again(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 1)
    mask = tmp_path / "mask.png"
    masked = fuser.with_config(observations=[{"mask": str(mask)}, None])

    def status(columns: int) -> str:
        Image.fromarray(np.uint8(255) * (np.indices((24, 20))[1] < columns)).save(mask)
        return fuse_folders(ir, vis, tmp_path / "out", masked).outcomes[0].status

    assert [status(columns) for columns in (9, 9, 15)] == ["fused", "skipped", "fused"]


def test_one_bad_pair_does_not_stop_the_rest(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 4)
    (ir / "001_ir.png").write_bytes(b"not a picture")
    Image.new("L", (7, 7)).save(vis / "002_vis.png")
    (vis / "only.png").write_bytes(b"")
    summary = fuse_folders(ir, vis, tmp_path / "out", fuser)
    assert [o.status for o in summary.outcomes] == ["fused", "failed", "failed", "fused"]
    assert not summary.ok
    text = str(summary)
    assert "001_ir.png is not an image" in text and "20 x 24 pixels" in text
    assert f"unpaired: {vis / 'only.png'}" in text
    assert "2 fused, 2 failed, 1 file without a partner" in text
    assert set(contents(tmp_path / "out")) == {"000.png", "003.png"}


def failed(folder: Path) -> list[dict]:
    path = folder / FAILED
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_failed_pairs_are_listed_until_they_succeed(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 4)
    out, good = tmp_path / "out", (ir / "001_ir.png").read_bytes()
    (ir / "001_ir.png").write_bytes(b"not a picture")
    Image.new("L", (7, 7)).save(vis / "002_vis.png")
    summary = fuse_folders(ir, vis, out, fuser)
    first, second = failed(out)
    assert (first["output"], first["error"]) == ("001.png", summary.outcomes[1].error)
    assert second["sources"] == ["002_ir.png", "002_vis.png"]
    (ir / "001_ir.png").write_bytes(good)
    fuse_folders(ir, vis, out, fuser)
    assert [entry["output"] for entry in failed(out)] == ["002.png"]
    (ir / "002_ir.png").unlink()
    assert fuse_folders(ir, vis, out, fuser).ok
    assert not (out / FAILED).exists()


def test_a_run_that_ends_early_forgets_no_failure(tmp_path, fuser):
    """Neither its own, nor those of pairs that it did not reach."""
    ir, vis = make_pairs(tmp_path, 12)
    for k in (1, 11):
        (ir / f"{k:03d}_ir.png").write_bytes(b"not a picture")
    out = tmp_path / "out"
    fuse_folders(ir, vis, out, fuser)
    (ir / "000_ir.png").write_bytes(b"not a picture either")
    with pytest.raises(ddfm.Cancelled):
        fuse_folders(ir, vis, out, fuser, callback=lambda outcome: outcome.status == "failed")
    assert {entry["output"] for entry in failed(out)} == {"000.png", "001.png", "011.png"}


def test_a_full_disk_hides_no_outcome(tmp_path, fuser, monkeypatch):
    ir, vis = make_pairs(tmp_path, 2)
    (ir / "001_ir.png").write_bytes(b"not a picture")

    def full(*_: object) -> None:
        raise StorageError("cannot write the list: No space left on device")

    monkeypatch.setattr("ddfm.storage.failures.write_bytes", full)
    with pytest.warns(DdfmWarning, match="No space left on device; the pairs that failed are not"):
        summary = fuse_folders(ir, vis, tmp_path / "out", fuser)
    assert [outcome.status for outcome in summary.outcomes] == ["fused", "failed"]


def test_all_results_that_could_not_be_written_are_listed(tmp_path, fuser, monkeypatch):
    """Also the last one, at which the run ends."""
    ir, vis = make_pairs(tmp_path, UNWRITTEN + 2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_maps, "_save", full)
    with pytest.raises(StorageError, match=f"{UNWRITTEN} results in a row"):
        fuse_folders(ir, vis, tmp_path / "out", fuser)
    assert [entry["output"] for entry in failed(tmp_path / "out")] == [
        f"{k:03d}.png" for k in range(UNWRITTEN)
    ]


def test_a_list_of_failures_by_others_is_refused_before_anything_is_written(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 1)
    out = tmp_path / "out"
    out.mkdir()
    (out / FAILED).write_text("mine")
    with pytest.raises(StorageError, match=FAILED):
        fuse_folders(ir, vis, out, fuser)
    assert [path.name for path in out.iterdir()] == [FAILED]


def test_a_dry_run_does_nothing(tmp_path):
    ir, vis = make_pairs(tmp_path, 2)
    summary = fuse_folders(ir, vis, tmp_path / "out", dry_run=True)
    assert [o.status for o in summary.outcomes] == ["planned"] * 2
    assert [o.output.name for o in summary.outcomes] == ["000.png", "001.png"]
    assert "2 pairs" in str(summary.pairing)
    assert not (tmp_path / "out").exists()


def test_formats_follow_the_sources_or_the_option(tmp_path, fuser):
    for folder, values in ((tmp_path / "a", 1000), (tmp_path / "b", 3000)):
        folder.mkdir()
        for name in ("x.tif", "y.png"):
            Image.fromarray(np.full((9, 9), values, np.uint16)).save(folder / name)
    fuse_folders(tmp_path / "a", tmp_path / "b", tmp_path / "out", fuser)
    assert set(contents(tmp_path / "out")) == {"x.tif", "y.png"}
    assert ddfm.read_image(tmp_path / "out" / "x.tif").dtype == np.uint16
    fuse_folders(tmp_path / "a", tmp_path / "b", tmp_path / "webp", fuser, suffix="webp")
    assert set(contents(tmp_path / "webp")) == {"x.webp", "y.webp"}
    with pytest.raises(DdfmError, match="unknown output suffix"):
        fuse_folders(tmp_path / "a", tmp_path / "b", tmp_path / "wep", fuser, suffix=".wep")


def test_bad_folders_are_refused(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 2)
    with pytest.raises(DdfmError, match="pattern are for pairs of two folders"):
        fuse_folders(ir, None, tmp_path / "out", fuser, pattern="{}.png")
    with pytest.raises(DdfmError, match="sources are read from .*; name a separate folder"):
        fuse_folders(ir, vis, ir / ".." / "ir", fuser)
    other = tmp_path / "other"
    other.mkdir()
    for folders in ((ir, other), (other, ir)):
        with pytest.raises(DdfmError, match="other holds no image, so there is no pair"):
            fuse_folders(*folders, tmp_path / "out", fuser)
    Image.new("L", (9, 9)).save(other / "unlike.png")
    with pytest.raises(DdfmError, match="no image of .*/ir has a partner in .*/other by its name"):
        fuse_folders(ir, other, tmp_path / "out", fuser)
    for pattern, why in (
        ("{}_ir.png:{}_photo.png", r"of 2 files that fit it, such as .*000_ir.png, no two have"),
        ("{}.bmp:{}.jpg", "no file fits it"),
        ("*{}r.png:*{}s.png", "ambiguous, i: .*000_ir.png, .*001_ir.png"),
    ):
        with pytest.raises(DdfmError, match=f"makes no pair: {why}"):
            fuse_folders(ir, vis, tmp_path / "out", fuser, pattern=pattern)
    with pytest.raises(DdfmError, match="cannot write"):
        fuse_folders(ir, vis, ir / "000_ir.png", fuser)
    assert not (tmp_path / "out").exists()


def test_results_may_be_in_a_folder_among_the_sources(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 2)
    assert len(fuse_folders(ir, vis, ir / "out", fuser).of("fused")) == 2
    again = fuse_folders(ir, vis, ir / "out", fuser)
    assert len(again.of("skipped")) == 2 and "partner" not in str(again)


def test_files_of_others_are_not_replaced(tmp_path, fuser):
    ir, vis = make_pairs(tmp_path, 3)
    out = tmp_path / "out"
    out.mkdir()
    (out / "note.txt").write_text("in nobody's way")
    (out / "001.png").write_bytes(b"mine")
    with pytest.raises(DdfmError, match=r"out/001.png: it exists already, .*; move it away, name"):
        fuse_folders(ir, vis, out, fuser)
    assert contents(out) == {"note.txt": b"in nobody's way", "001.png": b"mine"}
    (out / "001.png").unlink()
    (out / "001.png").symlink_to("nowhere.png")
    with pytest.raises(DdfmError, match="it exists already"):
        fuse_folders(ir, vis, out, fuser)
    (out / "001.png").unlink()
    assert fuse_folders(ir, vis, out, fuser).ok
    assert len(fuse_folders(ir, vis, out, fuser).of("skipped")) == 3


def test_a_run_killed_right_after_a_move_is_resumed(tmp_path, fuser, monkeypatch):
    """The file has its line in the manifest by then, and is recognised."""
    ir, vis = make_pairs(tmp_path, 2)
    out, replace = tmp_path / "out", os.replace

    def last(temporary: Path, path: Path) -> None:
        replace(temporary, path)
        if not path.name.startswith("."):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", last)
        fuse_folders(ir, vis, out, fuser)
    done = len(contents(out))
    assert done > 0
    summary = fuse_folders(ir, vis, out, fuser)
    assert [o.status for o in summary.outcomes] == ["skipped"] * done + ["fused"] * (2 - done)


def test_warnings_that_differ_in_a_number_stay_apart():
    """Though the number of the first pair is a part of its offset."""
    outcomes = [
        Outcome(Path("out", f"{k}.png"), "fused", warnings=(f"{k}.png is off by {px} px",))
        for k, px in ((1, 12), (3, 2))
    ]
    assert str(Summary(outcomes)).splitlines()[:-1] == [str(outcome) for outcome in outcomes]


def test_a_warning_about_many_pairs_stands_once_in_the_summary():
    outcomes = [
        Outcome(Path("out", f"{k}.png"), "fused", warnings=(f"MRI/{k}.png seems medical",))
        for k in range(6)
    ]
    outcomes[3] = Outcome(Path("out", "3.png"), "failed", "damaged")
    outcomes[5] = replace(outcomes[5], warnings=("too dark",))
    assert str(Summary(outcomes)).splitlines()[:-1] == [
        f"{Path('out', '0.png')}: fused: MRI/0.png seems medical (likewise 1.png, 2.png, 4.png)",
        f"{Path('out', '3.png')}: failed: damaged",
        f"{Path('out', '5.png')}: fused: too dark",
    ]
    of_each = [one.get("warnings") for one in Summary(outcomes).plain()["outcomes"]]
    assert of_each[1] == ["MRI/1.png seems medical"] and of_each[3] is None


def test_transparency_that_the_format_lacks_is_warned_of_once(tmp_path, fuser, recwarn):
    folders = make_pairs(tmp_path, 3)
    for path in folders[1].iterdir():
        clear = Image.open(path)
        clear.putalpha(Image.linear_gradient("L").resize(clear.size))
        clear.save(path)
    summary = fuse_folders(*folders, tmp_path / "out", fuser, suffix="jpg")
    (line,) = (line for line in str(summary).splitlines() if "no transparency" in line)
    assert line.endswith("(likewise 001.jpg, 002.jpg)") and not list(recwarn)


def test_coordinates_that_the_format_lacks_are_warned_of_once(tmp_path, fuser, recwarn):
    folders = make_pairs(tmp_path, 3)
    for path in list(folders[1].iterdir()):
        geotiff(path.with_suffix(".tif"), np.asarray(Image.open(path)))
        path.unlink()
    summary = fuse_folders(*folders, tmp_path / "out", fuser, suffix="png")
    (line,) = (line for line in str(summary).splitlines() if "cannot hold coordinates" in line)
    assert line.endswith("(likewise 001.png, 002.png)") and not list(recwarn)
    assert "kept" not in str(summary)
    kept = str(fuse_folders(*folders, tmp_path / "out", fuser, suffix="tif"))
    assert "coordinates (in 000.tif, 001.tif, 002.tif)" in kept and "cannot hold" not in kept


def test_the_summary_names_results_with_personal_metadata():
    names = ("a.png", "b.png", "c.png", "d.png", "e.png")
    outcomes = [
        Outcome(Path("out", name), "fused", kept=kept)
        for name, kept in zip(names, [("Artist",)] * 4 + [("GPS position",)], strict=True)
    ]
    summary = Summary(outcomes)
    assert str(summary).splitlines()[0] == (
        "kept from the sources: Artist (in a.png, b.png, c.png and 1 more), GPS position (in "
        "e.png); strip=True (--strip) leaves it out"
    )
    assert [one["kept"] for one in summary.plain()["outcomes"]] == [
        *[["Artist"]] * 4,
        ["GPS position"],
    ]
