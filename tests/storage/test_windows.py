"""Windows: open files are neither moved nor removed, and there are no locks; imitated on Linux."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ddfm.errors import DownloadError
from ddfm.storage import atomic, manifest, part
from ddfm.storage.manifest import NAME, Manifest, Shard
from ddfm.storage.part import Part

OPEN = Path("/proc/self/fd")
pytestmark = pytest.mark.skipif(not OPEN.is_dir(), reason="nothing tells which files are open")


@pytest.fixture(autouse=True)
def windows(monkeypatch):
    def refuses_open_files(function):
        def refusing(*paths, **options):
            is_open = {os.path.realpath(each) for each in OPEN.iterdir()}
            for path in paths:
                if os.path.realpath(path) in is_open:
                    raise PermissionError(13, "used by another process", str(path))
            return function(*paths, **options)

        return refusing

    monkeypatch.setattr(atomic, "fcntl", None)
    for module in (atomic, manifest, part):
        monkeypatch.setattr(module, "NEEDS_CLOSING", True)
    monkeypatch.setattr(os, "replace", refuses_open_files(os.replace))
    monkeypatch.setattr(Path, "unlink", refuses_open_files(Path.unlink))


def add(manifest: Manifest, name: str) -> None:
    with manifest.adding(name, {}) as temporary:
        temporary.write_bytes(name.encode())


def test_shards_are_merged(tmp_path):
    for k in (1, 2):
        with Manifest(tmp_path, Shard(k, 2)) as shard:
            add(shard, f"{k}.png")
    with Manifest(tmp_path) as manifest:
        manifest.merge()
        assert manifest.get("1.png") and manifest.get("2.png")
    assert {path.name for path in tmp_path.iterdir()} == {NAME, "1.png", "2.png"}


def test_a_folder_is_cleared(tmp_path):
    with Manifest(tmp_path / "out") as manifest:
        add(manifest, "1.png")
        manifest.clear()
    assert not (tmp_path / "out").exists()


def test_what_a_killed_run_has_left_stops_no_later_run(tmp_path):
    left = tmp_path / f".partial-manifest-{atomic._host()}-killed.png"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    with Manifest(tmp_path) as manifest:
        add(manifest, "1.png")
    assert {path.name for path in tmp_path.iterdir()} == {NAME, "1.png"}


def test_a_download_that_fails_at_its_beginning_says_why(tmp_path):
    with pytest.raises(DownloadError, match="no network"), Part(tmp_path / "a.pt"):
        raise DownloadError("no network")
    assert not list(tmp_path.iterdir())
