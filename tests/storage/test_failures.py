"""The list of files that could not be made: valid lines, other runs, damaged and foreign lists."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ddfm.errors import StorageError
from ddfm.storage import failures as module
from ddfm.storage.failures import NAME, Failures, failures_in, join_failures
from ddfm.storage.manifest import Manifest, Shard


def failed(folder: Path) -> dict[str, str]:
    with Manifest(folder) as manifest:
        return {e["output"]: e["error"] for e in failures_in(folder, manifest.entries)}


def test_failures_are_listed_at_once_and_those_of_earlier_runs_go_at_the_end(tmp_path):
    first = Failures(tmp_path)
    first.add("a.png", ["a_ir.png", "a_vis.png"], "no image")
    first.add("b.png", ["b_ir.png", "b_vis.png"], "no memory")
    entry = json.loads((tmp_path / NAME).read_text().splitlines()[0])
    assert entry.pop("time_ns") > 0
    assert entry == {
        "software": "ddfm image fusion",
        "output": "a.png",
        "sources": ["a_ir.png", "a_vis.png"],
        "error": "no image",
        "made_ns": 0,
    }
    second = Failures(tmp_path)  # the first was killed
    second.add("a.png", [], "still no image")
    assert failed(tmp_path) == {"a.png": "still no image", "b.png": "no memory"}
    second.settle()
    assert failed(tmp_path) == {"a.png": "still no image"}
    Failures(tmp_path).settle()
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("ahead", [-(10**13), 0, 10**13])
def test_a_file_that_was_made_later_has_not_failed(tmp_path, monkeypatch, ahead):
    """Whatever the time was on the machine where it failed: hours too early or too late."""
    now = time.time_ns()
    monkeypatch.setattr(module.time, "time_ns", lambda: now + ahead)
    Failures(tmp_path, Shard(1, 2)).add("a.png", [], "no image")
    with Manifest(tmp_path) as manifest, manifest.adding("a.png", {}) as temporary:
        temporary.write_bytes(b"a")
    assert failed(tmp_path) == {}
    with Manifest(tmp_path) as manifest:
        made = manifest.entries["a.png"]
    Failures(tmp_path, Shard(2, 3)).add("a.png", [], "no memory, with other settings", made)
    assert failed(tmp_path) == {"a.png": "no memory, with other settings"}


def test_in_lines_of_older_versions_times_decide(tmp_path):
    with Manifest(tmp_path) as manifest, manifest.adding("a.png", {}) as temporary:
        temporary.write_bytes(b"a")
    now = (tmp_path / "a.png").stat().st_mtime_ns
    for at, there in ((now - 1, {}), (now + 1, {"a.png": "why"})):
        old = {"software": "ddfm image fusion", "output": "a.png", "error": "why", "time_ns": at}
        (tmp_path / NAME).write_text(json.dumps(old) + "\n")
        assert failed(tmp_path) == there


def test_lists_of_shards_are_apart_until_they_are_joined(tmp_path):
    for k in (1, 2):
        Failures(tmp_path, Shard(k, 2)).add(f"{k}.png", [], f"why {k}")
    Failures(tmp_path, Shard(1, 2)).settle()
    assert failed(tmp_path) == {"2.png": "why 2"}
    Failures(tmp_path).add("3.png", [], "why 3")
    with Manifest(tmp_path) as manifest:
        join_failures(tmp_path, failures_in(tmp_path, manifest.entries))
    assert [path.name for path in tmp_path.glob("ddfm-failed*")] == [NAME]
    assert failed(tmp_path) == {"2.png": "why 2", "3.png": "why 3"}
    Failures(tmp_path, Shard(1, 2)).add("4.png", [], "why 4")
    Failures(tmp_path).settle()  # a run without shards attempts all files
    assert not list(tmp_path.glob("ddfm-failed*"))


def test_a_line_that_was_cut_off_is_ignored_and_harms_no_other(tmp_path):
    for name in ("a.png", "b.png"):
        Failures(tmp_path).add(name, [], "no image")
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-9])
    Failures(tmp_path).add("c.png", [], "no image")
    assert list(failed(tmp_path)) == ["a.png", "c.png"]
    with path.open("a") as file:
        file.write(
            '{"output": "../x.png", "error": "a file elsewhere"}\n[1]\n{"output": "d.png"}\n'
        )
    assert list(failed(tmp_path)) == ["a.png", "c.png"]


def test_a_list_of_others_is_refused_and_stays(tmp_path):
    path = tmp_path / NAME
    path.write_text("what failed in my life\n")
    with pytest.raises(StorageError, match="nothing in it shows that ddfm wrote it"):
        Failures(tmp_path).check()
    shard = Failures(tmp_path, Shard(1, 2))  # does not touch it
    shard.check()
    shard.settle()
    assert path.read_text() == "what failed in my life\n"


def test_a_line_that_finds_no_room_is_written_at_the_end(tmp_path, monkeypatch):
    def full(file, lines):
        raise OSError(28, "No space left on device")

    failures = Failures(tmp_path)
    failures.add("a.png", [], "no image")
    with monkeypatch.context() as patch:
        patch.setattr(module, "append", full)
        failures.add("b.png", [], "no room")
    assert list(failed(tmp_path)) == ["a.png"]
    failures.settle()
    assert list(failed(tmp_path)) == ["a.png", "b.png"]
