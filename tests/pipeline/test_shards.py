"""Many processes fill one folder: completely, nothing twice, as one process would."""

from __future__ import annotations

from pathlib import Path

import pytest

import ddfm
from command_line import ddfm_run
from ddfm.errors import DdfmError
from ddfm.pipeline.folders import fuse_folders
from ddfm.pipeline.shards import find_shard, merge_shards
from ddfm.storage.failures import NAME as FAILED
from ddfm.storage.manifest import NAME, Manifest, Shard
from image_files import folders_of_noise

FAST = ["--prior", "gaussian", "--likelihood", "paper", "--steps", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def fuser() -> ddfm.Fuser:
    return ddfm.Fuser("gaussian", likelihood="paper", steps=1, device="cpu")


@pytest.fixture
def folders(tmp_path) -> tuple[Path, ...]:
    return folders_of_noise(tmp_path, range(9))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("*.png")}


def test_all_shards_together_make_the_results_of_one_run(tmp_path, fuser, folders):
    fuse_folders(*folders, tmp_path / "one", fuser)
    out, done = tmp_path / "many", []
    for k in (3, 1, 2):
        summary = fuse_folders(*folders, out, fuser, shard=Shard(k, 3))
        assert summary.ok and len(summary.pairing.pairs) == len(summary.of("fused"))
        done += [outcome.output.name for outcome in summary.outcomes]
    assert sorted(done) == [f"{k}.png" for k in range(9)]
    assert contents(out) == contents(tmp_path / "one")
    again = fuse_folders(*folders, out, fuser, shard=Shard(1, 2))  # of another number
    assert again.outcomes and len(again.of("skipped")) == len(again.outcomes)


@pytest.mark.parametrize(("work", "count"), [(12, 4), (100, 8), (3, 8), (0, 2)])
def test_parts_of_slices_and_of_a_benchmark_are_of_equal_size(work, count):
    parts = [Shard(k, count).part(range(work)) for k in range(1, count + 1)]
    assert sorted(index for part in parts for index in part) == list(range(work))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_run_without_shard_makes_the_missing_results(tmp_path, fuser, folders):
    out = tmp_path / "out"
    part = fuse_folders(*folders, out, fuser, shard=Shard(1, 3))
    whole = fuse_folders(*folders, out, fuser)
    assert len(whole.of("skipped")) == len(part.of("fused")) > 0
    assert len(whole.of("fused")) == 9 - len(part.outcomes)


def test_merging_names_missing_results(tmp_path, fuser, folders):
    out = tmp_path / "out"
    for k in (1, 2):
        fuse_folders(*folders, out, fuser, shard=Shard(k, 3))
    for _ in range(2):
        merged = merge_shards(out)
        assert merged.silent == [Shard(3, 3)] and not merged.missing and not merged.ok
        assert "not begun of 3 shards: 3\nnothing was merged: run " in str(merged)
    fuse_folders(*folders, out, fuser, shard=Shard(3, 3))
    (out / "0.png").unlink()
    (out / "1.png").write_bytes((out / "1.png").read_bytes()[:-9])
    result = ddfm_run("merge", out)
    assert result.exit_code == 1 and "0.png: is missing, or was changed afterwards" in result.stderr
    assert "7 results, 2 missing, 0 failed" in result.stderr
    assert fuse_folders(*folders, out, fuser).ok
    result = ddfm_run("merge", out, "--verify")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        0,
        "9 results, 0 missing, 0 failed",
    )
    assert "never began are not counted; the command without --shard" in result.stderr
    assert [path.name for path in out.glob("*.jsonl")] == [NAME]
    (out / "0.png").unlink()
    (again,) = (shard for k in (1, 2, 3) if (shard := Shard(k, 3)).has("0.png"))
    fuse_folders(*folders, out, fuser, shard=again)
    assert merge_shards(out).ok  # the others began before


def test_a_split_of_which_all_have_begun_is_the_whole_work(tmp_path, fuser, folders):
    out = tmp_path / "out"
    fuse_folders(*folders, out, fuser, shard=Shard(1, 3))
    fuse_folders(*folders, out, fuser, shard=Shard(1, 2))
    assert merge_shards(out).silent == [Shard(2, 2), Shard(2, 3), Shard(3, 3)]
    fuse_folders(*folders, out, fuser, shard=Shard(2, 2))
    merged = merge_shards(out)
    assert merged.ok and merged.results == 9
    assert [path.name for path in out.glob("*.jsonl")] == [NAME]


def test_merging_joins_the_lists_of_failures(tmp_path, fuser, folders):
    out, bad = tmp_path / "out", {"2": b"no picture", "5": b"", "6": b"nor this"}
    good = {name: (folders[0] / f"{name}.png").read_bytes() for name in bad}
    for name, content in bad.items():
        (folders[0] / f"{name}.png").write_bytes(content)
    reasons = {}
    for k in (1, 2, 3):
        summary = fuse_folders(*folders, out, fuser, shard=Shard(k, 3))
        reasons |= {outcome.output.name: outcome.error for outcome in summary.of("failed")}
    lists = {path.name for path in out.glob("ddfm-failed*")}
    assert lists == {Shard(k, 3).failures for k in (1, 2, 3) if any(map(Shard(k, 3).has, reasons))}
    assert reasons.keys() == {"2.png", "5.png", "6.png"} and len(lists) > 1
    result = ddfm_run("merge", out, "-q")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[:4] == [
        *(f"{name}: failed: {why}" for name, why in sorted(reasons.items())),
        "6 results, 0 missing, 3 failed",
    ]
    assert [path.name for path in out.glob("ddfm-failed*")] == [FAILED]
    (folders[0] / "2.png").write_bytes(good["2"])
    for k in (1, 2):  # of another number
        fuse_folders(*folders, out, fuser, shard=Shard(k, 2))
    assert list(merge_shards(out).failed) == ["5.png", "6.png"]
    for name in ("5", "6"):
        (folders[0] / f"{name}.png").write_bytes(good[name])
    assert fuse_folders(*folders, out, fuser).ok and not list(out.glob("ddfm-failed*"))
    assert merge_shards(out).ok


def test_names_of_any_characters_have_a_shard_and_are_printed_safely(tmp_path, folders):
    assert sum(Shard(k, 3).has("\udcff.png") for k in (1, 2, 3)) == 1  # a byte that is not UTF-8
    name, out = "\x1b[2J.png", tmp_path / "out"
    for folder in folders:
        (folder / name).write_bytes(b"no picture")
    for shard in ("1/2", "2/2"):
        ddfm_run("fuse", *folders, "-o", out, "--prior", "gaussian", "--shard", shard)
    result = ddfm_run("merge", out)
    assert result.exit_code == 1 and "\\x1b[2J.png: failed: " in result.stderr
    assert "\x1b" not in result.stderr


def test_a_failure_with_other_settings_counts_although_there_is_a_result(tmp_path, fuser, folders):
    out, good = tmp_path / "out", (folders[0] / "3.png").read_bytes()
    fuse_folders(*folders, out, fuser)
    (folders[0] / "3.png").write_bytes(b"no picture")
    fuse_folders(*folders, out, fuser)
    merged = merge_shards(out)
    assert (merged.results, merged.missing, list(merged.failed)) == (9, [], ["3.png"])
    (out / "3.png").unlink()
    merged = merge_shards(out)
    assert (merged.results, merged.missing, list(merged.failed)) == (8, [], ["3.png"])
    (folders[0] / "3.png").write_bytes(good)
    assert fuse_folders(*folders, out, fuser).ok and merge_shards(out).ok


def test_merging_leaves_other_folders_and_running_shards_alone(tmp_path, folders):
    with pytest.raises(DdfmError, match="not a folder of results of ddfm"):
        merge_shards(folders[0])
    with pytest.raises(DdfmError, match="there is no folder .*nowhere"):
        merge_shards(tmp_path / "nowhere")
    assert not list(folders[0].glob("*.jsonl")) and not (tmp_path / "nowhere").exists()
    with Manifest(tmp_path, Shard(1, 2)), pytest.raises(DdfmError, match="another run"):
        merge_shards(tmp_path)


def test_the_command_fuses_its_part(tmp_path, folders, monkeypatch):
    out = tmp_path / "out"
    command = ["fuse", *folders, "-o", out, *FAST]
    assert ddfm_run(*command, "--shard", "1/2").exit_code == 0
    some = set(contents(out))
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    plan = ddfm_run(*command, "--shard", "auto/2", "--dry-run")
    assert f"{9 - len(some)} pair" in plan.output
    assert ddfm_run(*command, "--shard", "auto/2").exit_code == 0
    assert 0 < len(some) < len(contents(out)) == 9


SLURM = {
    "SLURM_ARRAY_TASK_ID": "15",
    "SLURM_ARRAY_TASK_MIN": "5",
    "SLURM_ARRAY_TASK_STEP": "5",
    "SLURM_ARRAY_TASK_COUNT": "4",
}


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        ("3/8", {}, (3, 8)),
        ("auto", SLURM, (3, 4)),
        ("auto/4", SLURM, (3, 4)),
        ("auto/9", {"SLURM_ARRAY_TASK_ID": "4"}, (5, 9)),
        ("auto/2", {"JOB_COMPLETION_INDEX": "0"}, (1, 2)),
    ],
)
def test_a_shard_is_given_by_the_caller_or_by_the_cluster(text, environment, shard):
    assert find_shard(text, environment) == Shard(*shard)


@pytest.mark.parametrize(("text", "count"), [("auto", "4"), ("auto/2", "2")])
def test_a_part_of_an_array_is_told_how_to_name_its_part(text, count):
    environment = SLURM | {"SLURM_ARRAY_TASK_ID": "65"}
    words = f"--shard {text}: this process would be part 13 of {count}, .* such as --shard 3/64"
    with pytest.raises(DdfmError, match=words):
        find_shard(text, environment)


@pytest.mark.parametrize("text", ["0/8", "9/8", "3", "3/", "/8", "a/b", "-1/8", "auto", "auto/x"])
def test_invalid_shards_are_refused(text):
    environment = {"JOB_COMPLETION_INDEX": "1"}
    with pytest.raises(DdfmError, match="--shard"):
        find_shard(text, environment)
    with pytest.raises(DdfmError):
        find_shard(text, {"SLURM_ARRAY_TASK_ID": "one"})
