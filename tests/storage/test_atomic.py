"""Leftovers of a killed run are removed by the next, and nothing else is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from ddfm.storage.atomic import atomic_folder, atomic_path

pytest.importorskip("fcntl")

WRITERS = {"file": atomic_path, "folder": atomic_folder}


def begin(kind: str, path: Path, here: Connection) -> None:
    """Begins to write, and never finishes."""
    with WRITERS[kind](path) as temporary:
        (temporary / "half" if kind == "folder" else temporary).write_bytes(b"half")
        here.send(temporary.name)
        signal.pause()


@pytest.fixture
def writer():
    """Starts a process that writes; returns it with its temporary path."""
    processes = []

    def started(kind: str, path: Path):
        context = multiprocessing.get_context("forkserver")
        there, here = context.Pipe(duplex=False)
        process = context.Process(target=begin, args=(kind, path, here))
        process.start()
        processes.append(process)
        assert there.poll(60)
        return process, there.recv()

    yield started
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.parametrize("kind", WRITERS)
def test_leftovers_of_killed_runs_are_removed_and_those_of_running_ones_are_not(
    tmp_path, writer, kind
):
    path = tmp_path / "x.mkv"
    killed, name = writer(kind, path)
    _, living = writer(kind, path)
    _, of_another = writer(kind, tmp_path / "y.mkv")
    assert {p.name for p in tmp_path.iterdir()} == {name, living, of_another}
    killed.kill()
    killed.join()
    with WRITERS[kind](path):
        assert not (tmp_path / name).exists()
    assert {p.name for p in tmp_path.iterdir()} == {path.name, living, of_another}


def test_leftovers_of_other_hosts_are_removed_when_they_are_old(tmp_path):
    with atomic_path(tmp_path / "x.png") as temporary:
        prefix = temporary.name[: len(".partial-12345678-")]
    theirs = tmp_path / f"{prefix}another_host-123.png"
    theirs.write_bytes(b"half")
    (tmp_path / "x.png").unlink()
    with atomic_path(tmp_path / "x.png"):
        assert theirs.exists()
    os.utime(theirs, (1, 1))
    (tmp_path / "x.png").unlink()
    with atomic_path(tmp_path / "x.png"):
        assert not theirs.exists()


def test_temporary_files_are_written_in_place(tmp_path):
    with atomic_path(tmp_path / "x.png") as outer:
        with atomic_path(outer) as inner:
            assert inner == outer
            inner.write_bytes(b"x")
        assert outer.read_bytes() == b"x"
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x.png": b"x"}


def test_threads_that_write_at_once_leave_the_mask_of_permissions(tmp_path, monkeypatch):
    real = os.umask
    before = real(0o027)

    def slow(mask: int) -> int:
        found = real(mask)
        time.sleep(0.01)  # so that other threads have their turn
        return found

    def write(path: Path) -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"data")

    monkeypatch.setattr(os, "umask", slow)
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(write, [tmp_path / f"{k}.png" for k in range(4)]))
    finally:
        after = real(before)
    assert after == 0o027
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}
