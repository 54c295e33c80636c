"""The service as a process: what it prints, and how it ends."""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from command_line import ddfm_run, heeding, refused
from ddfm.storage.budget import PIXELS, max_pixels
from serve_load import form, status_of

pytest.importorskip("uvicorn")
posix = pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")


def health(port: int):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as answer:
        return json.load(answer)


def started(*options: str) -> tuple[subprocess.Popen, str, int]:
    """A service that answers, its address, and its port."""
    command = [sys.executable, "-m", "ddfm", "serve", "--prior", "gaussian", "--device", "cpu"]
    command += ["--port", "0", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    how = {"start_new_session": True, "preexec_fn": heeding if os.name == "posix" else None}
    service = subprocess.Popen(command, **pipes, text=True, **how)
    address = service.stdout.readline().split()[0]
    port = int(address.rstrip("/").rpartition(":")[2])
    end = time.monotonic() + 60
    while time.monotonic() < end and service.poll() is None:
        try:
            assert health(port)["prior"] == "gaussian"
            return service, address, port
        except urllib.error.URLError:
            time.sleep(0.1)
    service.kill()
    raise TimeoutError("the service does not answer")


@contextmanager
def asked(port: int) -> Iterator[list[int]]:
    """While a request is fused; afterwards the list has the status of its answer."""
    answers: list[int] = []
    body, kind = form(700)
    asking = threading.Thread(target=lambda: answers.append(status_of(body, kind, port)))
    asking.start()
    while not health(port)["taken"] and not answers:
        pass
    yield answers
    asking.join(60)


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_it_prints_its_address_and_finishes_accepted_requests(name):
    number = getattr(signal, name)
    service, address, port = started()
    with service:
        with asked(port) as answers:
            service.send_signal(number)
        assert service.wait(60) == 128 + number
        assert service.stderr.read() == ""
        assert (address, service.stdout.read()) == (f"http://127.0.0.1:{port}/", "")
    assert answers == [200]


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_several_workers_end_as_one_does(name):
    """By the signal that ends them; uvicorn itself returns as if all were done."""
    number = getattr(signal, name)
    service, _, port = started("--workers", "2")
    with service:
        with asked(port) as answers:
            os.killpg(service.pid, number)  # as a terminal does
        assert service.wait(60) == 128 + number
        assert service.stderr.read() == ""
    assert answers == [200]
    with pytest.raises(urllib.error.URLError):
        health(port)


def test_workers_that_do_not_start_are_an_error(monkeypatch):
    class Ended:
        def __init__(self, _, sockets):
            sockets[0].close()

        def run(self):
            """Returns when the workers have given up."""

    monkeypatch.setattr("uvicorn.supervisors.Multiprocess", Ended)
    done = ddfm_run("serve", "--prior", "gaussian", "--workers", "2", "--port", "0")
    line = "ddfm: error: the workers of the service do not start\n"
    assert (done.exit_code, done.stderr) == (2, line)


def test_bad_settings_are_refused_before_it_listens():
    refused(ddfm_run("serve", "--seconds", "0"), "numbers above 0")
    refused(ddfm_run("serve", "--prior", "defualt"), "did you mean default")
    refused(ddfm_run("serve", "--device", "abacus"), "abacus")
    refused(ddfm_run("serve", "--dtype", "half"), "unknown dtype 'half'")
    for value in ("nan", "inf", "0"):
        refused(ddfm_run("serve", "--max-upload", value), "--max-upload must be a finite number")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        refused(ddfm_run("serve", "--port", port), f"listens on port {port} of 127.0.0.1")


def test_a_prior_that_cannot_be_loaded_ends_it_also_with_several_workers(tmp_path):
    """Each worker would fail, and be started again."""
    (tmp_path / "a.pt").write_bytes(b"no weights")
    command = [sys.executable, "-m", "ddfm", "serve", "--workers", "2", "--port", "0"]
    command += ["--prior", str(tmp_path / "a.pt"), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    refused(done, "a.pt is not a checkpoint, or is damaged")


@pytest.mark.parametrize(
    ("given", "environment", "limit"),
    [([], "", 50e6), ([], "70", 70e6), (["--max-megapixels", "90"], "70", 90e6)],
)
def test_pictures_are_limited_to_fewer_pixels_than_elsewhere(
    monkeypatch, given, environment, limit
):
    """One that takes minutes would hold up all other requests."""
    found = []
    monkeypatch.setenv(PIXELS, environment)
    module = importlib.import_module("ddfm.cli.serve")  # the name is that of the command, too
    monkeypatch.setattr(module, "_run", lambda *_: found.append(max_pixels()))
    assert ddfm_run("serve", "--port", "0", "--prior", "gaussian", *given).exit_code == 0
    assert found == [limit]
    assert os.environ[PIXELS] == environment
