"""How commands end in unusual circumstances: one line, the right exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import Result
from PIL import Image

from command_line import FAST, ddfm_run, heeding, refused
from ddfm.errors import printable
from image_files import noise

SIZE = (44, 44)
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX alone")


@pytest.fixture
def pair(tmp_path) -> list[Path]:
    return [noise(tmp_path / "in" / f"{name}.png", k, SIZE) for k, name in enumerate("ab")]


def shell(line: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of shell in which "$@" is ddfm with its arguments."""
    command = ["sh", "-c", line, "sh", sys.executable, "-m", "ddfm", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
        preexec_fn=heeding,
    )


@posix
@pytest.mark.parametrize(("closed", "options"), [("<&- >&-", []), ("2>&-", ["-v", "--preview"])])
def test_closed_standard_streams_do_not_change_the_result(pair, tmp_path, closed, options):
    """Otherwise, the file of the result could get the number of standard output."""
    line = f'"$@" {closed}'
    done = shell(line, "fuse", *pair, "-o", tmp_path / "f.png", *FAST, *options)
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(tmp_path / "f.png") as written:
        assert written.size == (44, 44)


SWALLOWS = """
import os, signal, time
try:
    for number in {numbers}:
        os.kill(os.getpid(), number)
    time.sleep(30)
except BaseException:
    pass
raise ImportError("this is not torch")
"""


@posix
@pytest.mark.parametrize(
    ("numbers", "code", "printed"),
    [
        ([signal.SIGTERM], 143, ""),
        ([signal.SIGHUP], 129, ""),
        ([signal.SIGINT], 130, "ddfm: error: interrupted\n"),
        ([signal.SIGINT, signal.SIGINT], 130, "ddfm: error: interrupted\n"),
    ],
)
def test_a_signal_ends_even_an_import_that_catches_all_exceptions(
    pair, tmp_path, numbers, code, printed
):
    """Such as torch, or a module in its place."""
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "torch.py").write_text(SWALLOWS.format(numbers=[int(number) for number in numbers]))
    path = os.pathsep.join([str(fake), *filter(None, sys.path)])
    done = shell('exec "$@"', "fuse", *pair, "-o", tmp_path / "f.png", *FAST, PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (code, printed)


@posix
def test_a_benchmark_takes_names_that_are_not_unicode(tmp_path):
    name = os.fsdecode(b"\xff\x1b[31m.png")
    for seed, folder in enumerate(("ir", "vi")):
        noise(tmp_path / "set" / folder / name, seed, SIZE)
    out = tmp_path / "out"
    degrade = ("--degrade", "noise=9")
    result = ddfm_run("bench", tmp_path / "set", "--out", out, "--prior", "gaussian", *degrade)
    assert result.exit_code == 0, result.output
    assert (out / "fused" / "default" / "set" / name).is_file()
    for table in ("results.csv", "report.html"):
        assert "\\udcff" in (out / table).read_text(encoding="utf-8")
    refused(ddfm_run("fuse", tmp_path / "set" / "ir" / f"{name}x", "-o", "x"), "\\xff\\x1b[31m")


def test_control_characters_in_names_are_escaped():
    assert printable("a\x1b[31m\x07\x9b\u202e\u2028b") == "a\\x1b[31m\\x07\\x9b\\u202e\\u2028b"
    assert printable("Wärmebild 熱.png\ttwo\nlines") == "Wärmebild 熱.png\ttwo\nlines"


@pytest.mark.parametrize("rate", ["0.0001", "0", "-1", "1001", "nan", "inf"])
def test_impossible_frame_rates_are_refused(tmp_path, rate):
    pytest.importorskip("av")
    folders = [noise(tmp_path / name / "1.png", 0, SIZE).parent for name in ("ir", "vi")]
    run = ["film", *folders, "-o", tmp_path / "f.mkv", "--rate", rate, *FAST]
    refused(ddfm_run(*run), "0.001 to 1000")


def test_unknown_home_folders_are_refused(pair, tmp_path, monkeypatch):
    run = ["fuse", *pair, "-o", tmp_path / "f.png", *FAST, "--prior", "~nosuch/x"]
    refused(ddfm_run(*run), "home folder that ~nosuch/x begins with")
    monkeypatch.setenv("DDFM_CACHE", "~nosuch")
    refused(ddfm_run("priors", "get", "openai-256"), "home folder that ~nosuch begins with")
    assert not Path("~nosuch").exists()


@pytest.mark.parametrize("kind", ["empty", "foreign", "of another program"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, kind):
    import torch

    photographs = noise(tmp_path / "photographs" / "1.png", 0, (300, 300)).parent
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    checkpoint.parent.mkdir()
    if kind == "of another program":
        torch.save({"epoch": 3, "model": {}}, checkpoint)
    else:
        checkpoint.write_bytes(b"" if kind == "empty" else b"my notes")
    before = checkpoint.read_bytes()
    run = ["train-prior", photographs, "--out", checkpoint.parent, "--steps", 1, "--device", "cpu"]
    refused(ddfm_run(*run), "cannot write", "checkpoint.pt: it exists already")
    refused(ddfm_run(*run, "--overwrite"), "cannot continue from", "checkpoint.pt")
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("command", ["train-prior", "train-dmfuse"])
def test_invalid_seeds_are_refused(tmp_path, command):
    for folder in ("ir", "vi"):
        noise(tmp_path / folder / "1.png", 0, SIZE)
    run = [command, tmp_path, "--out", tmp_path.parent / "run", "--seed", -1]
    refused(ddfm_run(*run), "seed must be a whole number from 0")


@posix
def test_errors_of_a_real_process(pair, out, tmp_path):
    done = shell('"$@"', "fuse", tmp_path / "nowhere.png", pair[1], "-o", out)
    refused(done, "cannot read", "nowhere.png: there is no such file")


def ending(error: BaseException, pair, out, monkeypatch) -> Result:
    def fail(*arguments, **kwargs):
        raise error

    monkeypatch.setattr("ddfm.fuser.Fuser.__call__", fail)
    return ddfm_run("fuse", *pair, "-o", out, *FAST)


def test_an_interruption_ends_with_130(pair, out, monkeypatch):
    result = ending(KeyboardInterrupt(), pair, out, monkeypatch)
    assert result.exit_code == 130 and result.stderr.strip().endswith("ddfm: error: interrupted")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "numpy"],
)
def test_out_of_memory_names_a_remedy(error, pair, out, monkeypatch):
    refused(ending(error, pair, out, monkeypatch), "not enough memory", "--tile")


def test_torch_raises_the_error_that_is_recognised():
    """An allocation that always fails: nobody has 2^60 bytes."""
    from ddfm.errors import is_out_of_memory

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58)
    assert is_out_of_memory(caught.value) and not is_out_of_memory(RuntimeError("shapes differ"))


def test_bugs_of_ddfm_are_not_reported_as_user_errors(pair, out, monkeypatch):
    result = ending(RuntimeError("shapes differ"), pair, out, monkeypatch)
    assert isinstance(result.exception, RuntimeError) and "ddfm: error" not in result.output


@posix
def test_a_closed_pipe_causes_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)  # as `| head -0` would
    command = [sys.executable, "-m", "ddfm", "priors", "list"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.stderr, done.returncode) == ("", 141)
