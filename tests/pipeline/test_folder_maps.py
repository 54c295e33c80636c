"""Folders of maps: one for each pair, made with its result, and resumed with it."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

import ddfm
from command_line import ddfm_run, refused
from ddfm.errors import InputError, StorageError
from ddfm.pipeline.folders import fuse_folders
from ddfm.storage.manifest import NAME, Shard
from image_files import folders_of_noise

FOLDERS = "uncertainty", "attribution", "sheets"


@pytest.fixture
def pairs(tmp_path):
    return folders_of_noise(tmp_path, ["a_{}", "b_{}"], (40, 36))


def contents(root):
    files = (p for folder in FOLDERS for p in (root / folder).glob("*.png"))
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in files}


def fused(pairs, root, fuser, **how):
    where = {name: root / name for name in FOLDERS}
    return fuse_folders(*pairs, root / "out", fuser, samples=3, **where, **how)


def test_each_pair_has_the_same_maps_as_alone(tmp_path, pairs, fuser):
    assert len(fused(pairs, tmp_path, fuser).of("fused")) == 2
    files = contents(tmp_path)
    assert files.keys() == {f"{name}/{pair}.png" for name in FOLDERS for pair in "ab"}
    alone = fuser(pairs[0] / "a_ir.png", pairs[1] / "a_vis.png", samples=3, attribution=True)
    alone.uncertainty.save(tmp_path / "std.png")
    alone.attribution.save(tmp_path / "shares.png")
    assert files["uncertainty/a.png"] == (tmp_path / "std.png").read_bytes()
    assert files["attribution/a.png"] == (tmp_path / "shares.png").read_bytes()
    deep = fuse_folders(
        *pairs, tmp_path / "t", fuser, suffix="tif", uncertainty=tmp_path / "u", samples=3
    )
    assert deep.ok
    std = ddfm.read_image(tmp_path / "u" / "a.tif", page=0)
    low, high = std.range or (0, 1)
    found = low + (high - low) * std.pixels[..., 0]
    np.testing.assert_allclose(found, alone.uncertainty.std, atol=1e-6)


def test_missing_maps_are_made_again_and_all_else_is_kept(tmp_path, pairs, fuser):
    fused(pairs, tmp_path, fuser)
    whole = contents(tmp_path)
    assert len(fused(pairs, tmp_path, fuser).of("skipped")) == 2
    (tmp_path / "attribution" / "b.png").unlink()
    again = fused(pairs, tmp_path, fuser)
    assert [o.status for o in again.outcomes] == ["skipped", "fused"]
    assert contents(tmp_path) == whole
    line = json.loads((tmp_path / "uncertainty" / NAME).read_text().splitlines()[0])
    assert (line["settings"]["map"], line["settings"]["samples"]) == ("uncertainty", 3)
    where = {"uncertainty": tmp_path / "uncertainty", "samples": 4}
    assert len(fuse_folders(*pairs, tmp_path / "out", fuser, **where).of("fused")) == 2
    assert len(fuse_folders(*pairs, tmp_path / "out", fuser).of("skipped")) == 2  # without maps


def test_shards_fill_them_together(tmp_path, pairs, fuser):
    for index in (1, 2):
        fused(pairs, tmp_path, fuser, shard=Shard(index, 2))
    assert len(contents(tmp_path)) == 6
    assert len(fused(pairs, tmp_path, fuser).of("skipped")) == 2


def test_results_that_wait_to_be_written_do_not_keep_their_samples(tmp_path, pairs, fuser):
    class Weighing:
        """An engine that fuses without writing, and weighs what would wait to be written."""

        def run(self, items, work, sink):
            for item in items:
                weights.append(len(pickle.dumps(work.fuse(item, work.load(item)))))
                yield item, lambda: None

    weights: list[int] = []
    where = {"uncertainty": tmp_path / "std", "engine": Weighing()}
    for samples in (3, 60):
        fuse_folders(*pairs, tmp_path / "out", fuser, samples=samples, **where)
    assert max(weights) - min(weights) < 40 * 36 * 4  # less than one sample


def test_the_command_line_takes_folders(tmp_path, pairs):
    root = tmp_path
    options = ("--uncertainty", root / "std", "--samples", 3, "--check", root / "sheets")
    line = ("fuse", *pairs, "-o", root / "out", "--prior", "gaussian", "--device", "cpu", *options)
    assert ddfm_run(*line, "-q").exit_code == 0
    assert (root / "std" / "a.png").is_file() and (root / "sheets" / "b.png").is_file()
    refused(ddfm_run(*line, "--attribution", root / "out"), "a separate folder for each")
    refused(ddfm_run(*line, "--attribution", root / "std"), "a separate folder for each")
    one_pass = ("fuse", *pairs, "-o", root / "out", "--method", "dmfuse")
    refused(ddfm_run(*one_pass, "--attribution", root / "of"), "dmfuse has no attribution")


def test_impossible_maps_are_refused_before_any_work(tmp_path, pairs, fuser):
    def fails(words, fuser=fuser, **how):
        with pytest.raises(InputError, match=words):
            fuse_folders(*pairs, tmp_path / "out", fuser, **how)
        assert not (tmp_path / "out").exists()

    for samples in (0, 1, 5000):
        fails("samples must be from 2", uncertainty=tmp_path / "std", samples=samples)
    fails("name is that of an image file", attribution=tmp_path / "map.png")
    unseen = ddfm.Fuser("gaussian", steps=2, device="cpu", look=False)
    fails("look", unseen, sheets=tmp_path / "sheets")


@pytest.mark.parametrize("before", ["nothing", "results", "maps"])
def test_an_error_about_one_folder_leaves_no_manifest_in_another(tmp_path, pairs, fuser, before):
    """Whether they are new, or one of them has results of an earlier run."""
    out, std = tmp_path / "out", tmp_path / "std"
    for folder in {"nothing": [], "results": [out], "maps": [std]}[before]:
        fuse_folders(pairs[0], pairs[1], folder, fuser, suffix="webp")
    there = sorted(tmp_path.glob("*/*"))

    def fails(words, **how):
        with pytest.raises(StorageError, match=words):
            fuse_folders(*pairs, out, fuser, uncertainty=std, samples=3, **how)

    if before != "maps":
        std.touch()
        fails("std is not a folder")
        std.unlink()
        std.symlink_to("nowhere")
        fails("std is not a folder")
        std.unlink()
    std.mkdir(exist_ok=True)
    (std / "a.png").write_bytes(b"mine")
    fails("std/a.png: it exists already")
    (std / "a.png").unlink()
    fails("there is no folder", save_transform=tmp_path / "no" / "rig.json")
    assert sorted(tmp_path.glob("*/*")) == there


def test_one_folder_for_two_outputs_is_refused(tmp_path, pairs, fuser):
    with pytest.raises(InputError, match="name a separate folder"):
        fuse_folders(*pairs, tmp_path / "out", fuser, sheets=pairs[0])
    assert not (tmp_path / "out").exists()
