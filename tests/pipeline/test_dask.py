"""The engine of many processes: the same bytes, and a pair that kills its worker fails alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from command_line import FAST, ddfm_run, heeding, refused
from ddfm.errors import HostError
from ddfm.fuser import Fuser
from ddfm.pipeline.dask_engine import OnDask
from ddfm.pipeline.folders import fuse_folders
from ddfm.storage.failures import NAME as FAILED
from image_files import folders_of_noise

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what Dask calls
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def folders(tmp_path) -> tuple[Path, ...]:
    return folders_of_noise(tmp_path, range(7), (24, 30))


def fuser() -> Fuser:
    return Fuser("gaussian", likelihood="paper", steps=2, device="cpu")


def test_folders_have_the_same_bytes_as_without_dask(tmp_path, folders, cluster):
    address = cluster.scheduler.address
    (folders[0] / "3.png").write_bytes(b"no picture")
    here = fuse_folders(*folders, tmp_path / "here", fuser())
    there = fuse_folders(*folders, tmp_path / "there", fuser(), engine=OnDask(address))
    statuses = [(one.output.name, one.status, one.error) for one in there.outcomes]
    assert statuses == [(one.output.name, one.status, one.error) for one in here.outcomes]
    assert sum(status == "failed" for _, status, _ in statuses) == 1
    for path in (tmp_path / "here").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes()
    lists = [(tmp_path / place / FAILED).read_text() for place in ("here", "there")]
    first, second = (json.loads(text) for text in lists)
    assert first["output"] == "3.png" and first | {"time_ns": 0} == second | {"time_ns": 0}
    again = fuse_folders(*folders, tmp_path / "there", fuser(), engine=OnDask(address))
    assert len(again.of("skipped")) == 6 and len(again.of("failed")) == 1
    # Whoever made it, one manifest knows it.
    assert len(fuse_folders(*folders, tmp_path / "there", fuser()).of("skipped")) == 6


def test_a_pair_that_kills_its_worker_fails_alone(tmp_path, folders, cluster):
    Image.fromarray(np.full((24, 30), 255, np.uint8)).save(folders[0] / "2.png")

    class Deadly(Fuser):
        """A fuser whose worker dies on the pair that is white everywhere."""

        def registered(self, sources):
            if sources[0].pixels.min() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().registered(sources)

    deadly = Deadly("gaussian", likelihood="paper", steps=2, device="cpu")
    engine = OnDask(cluster.scheduler.address)
    summary = fuse_folders(*folders, tmp_path / "out", deadly, engine=engine)
    (failed,) = summary.of("failed")
    assert failed.output.name == "2.png" and "have died" in failed.error
    assert len(summary.of("fused")) == 6


def test_its_own_cluster_takes_free_ports(tmp_path, folders, cluster):
    with warnings.catch_warnings():  # the other cluster has Dask's usual ports
        warnings.simplefilter("error", UserWarning)
        summary = fuse_folders(*folders, tmp_path / "out", fuser(), engine=OnDask(workers=1))
    assert len(summary.of("fused")) == 7


@pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")
def test_an_interrupt_is_one_line_and_leaves_complete_files(tmp_path):
    folders = folders_of_noise(tmp_path, range(60), (24, 30))
    command = [sys.executable, "-m", "ddfm", "fuse", *folders, "-o", tmp_path / "out", *FAST]
    how = {"stderr": subprocess.PIPE, "text": True, "preexec_fn": heeding}
    with subprocess.Popen([*command, "--engine", "dask"], **how) as run:
        while run.poll() is None and not list(tmp_path.glob("out/*.png")):
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
        assert run.stderr.read() == "ddfm: error: interrupted\n"
    assert not list(tmp_path.glob("out/.*")) and not (tmp_path / "out" / "59.png").exists()


def test_without_sched_getaffinity_there_is_a_worker_for_each_processor(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS and Windows
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    started = mock.Mock(side_effect=OSError("no more"))
    monkeypatch.setattr(distributed, "LocalCluster", started)
    with pytest.raises(HostError, match="no Dask cluster at this machine"):
        list(OnDask().run([], mock.Mock(), mock.Mock()))
    assert started.call_args.kwargs["n_workers"] == 3


class Alone:
    """A scheduler process without workers."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0"]
        command += ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(self.file)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    @property
    def address(self) -> str:
        while self.process.poll() is None:
            with suppress(FileNotFoundError, json.JSONDecodeError):  # not yet, or half of it
                return json.loads(self.file.read_text())["address"]
            time.sleep(0.1)
        raise AssertionError("the scheduler has ended")


def test_a_cluster_that_is_lost_ends_the_run_with_one_line(tmp_path, folders):
    scheduler = Alone(tmp_path)
    command = [sys.executable, "-m", "ddfm", "fuse", *folders, "-o", tmp_path / "out", *FAST]
    quick = os.environ | {
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",  # to connect again
        "DASK_DISTRIBUTED__CLIENT__HEARTBEAT": "1ms",  # so that one is on its way in any case
    }
    pipes = {"stderr": subprocess.PIPE, "text": True, "env": quick}
    try:
        with subprocess.Popen([*command, "--scheduler", scheduler.address], **pipes) as run:
            waiting = run.stderr.readline()
            scheduler.process.kill()
            lines = run.stderr.read().splitlines()  # none of Dask, whose own has a traceback
        assert "has no workers yet; waiting for the first" in waiting
        assert len(lines) == 1 and "the connection to the Dask cluster was lost" in lines[0]
        assert run.returncode == 2
    finally:
        scheduler.process.kill()
        scheduler.process.wait()


def test_a_missing_cluster_is_reported(tmp_path, folders):
    command = ("fuse", *folders, "-o", tmp_path / "out", *FAST)
    refused(ddfm_run(*command, "--scheduler", "nowhere"), "there is no Dask cluster at nowhere")
    refused(ddfm_run(*command, "--engine", "dusk"), "did you mean dask")
    a, b = folders[0] / "0.png", folders[1] / "0.png"
    refused(ddfm_run("fuse", a, b, "-o", tmp_path / "x.png", "--engine", "dask"), "for folders")
