"""What the command line does without torch: helps, refuses, and prepares its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from film_files import write_film

DATA = Path(__file__).parents[2] / "examples" / "data"
A, B, C = (str(DATA / name) for name in ("brain_t1.png", "brain_pd.png", "olinda_visible.png"))

RUN = """
import sys
from ddfm.cli import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *sorted({"torch", "scipy"} & set(sys.modules)))
"""


def run(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, *arguments]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_WAIT", "MALLOC_"))}
    how = {"cwd": cwd, "env": env | environment}
    return subprocess.run(command, capture_output=True, text=True, **how)


REFUSED = {
    "unknown output suffix": ["fuse", A, B, "-o", "out.xyz"],
    "there is no folder": ["fuse", A, B, "-o", "nowhere/out.png"],
    "it is a source itself": ["fuse", A, B, "-o", A],
    "no such file": ["fuse", A, "nothing.png", "-o", "out.png"],
    "not an image": ["fuse", A, __file__, "-o", "out.png"],
    "has 181 x 217 pixels": ["fuse", A, C, "-o", "out.png"],
    "unknown task": ["fuse", A, B, "-o", "out.png", "--task", "x"],
    "unknown likelihood": ["fuse", A, B, "-o", "out.png", "--likelihood", "x"],
    "unknown sampler": ["fuse", A, B, "-o", "out.png", "--sampler", "x"],
    "cannot read steps": ["fuse", A, B, "-o", "out.png", "--steps", "1,x"],
    "unknown dtype": ["fuse", A, B, "-o", "out.png", "--dtype", "x"],
    "unknown prior": ["fuse", A, B, "-o", "out.png", "--prior", "x"],
    "cannot read the weights x.pt": ["fuse", A, B, "-o", "out.png", "--prior", "x.pt"],
    "at least 128 pixels": ["fuse", A, B, "-o", "out.png", "--tile", "5"],
    "from -1 to 1": ["fuse", A, B, "-o", "out.png", "--balance", "2"],
    "one source": ["fuse", "-", "-", "-o", "out.png"],
    "the seed must be": ["fuse", A, B, "-o", "out.png", "--seed", "-1"],
    "there is no device 'gpu' here": ["fuse", A, B, "-o", "out.png", "--device", "gpu"],
    "head (--head) is for method dmfuse": ["fuse", A, B, "-o", "out.png", "--head", "x"],
    "cannot read x.pt": ["fuse", A, B, "-o", "out.png", "--method", "dmfuse", "--head", "x.pt"],
    "0.001 to 1000": ["film", A, B, "-o", "out.mp4", "--rate", "0"],
    "has no frame rate": ["film", ".", ".", "-o", "out", "--rate", "9"],
    "unknown audio": ["film", A, B, "-o", "out.mp4", "--audio", "x"],
    "is for two videos": ["film", str(DATA), str(DATA), "-o", "out.mp4", "--audio", "a"],
    "there is no device 'cpux' here": ["film", A, B, "-o", "out.mp4", "--device", "cpux"],
    "unknown way to resize": ["film", A, B, "-o", "out.mp4", "--resize", "x"],
    "there is no device 'cpuy' here": ["bench", str(DATA), "--out", "out", "--device", "cpuy"],
    "unknown method": ["volume", A, B, "-o", "out.nii", "--method", "x"],
}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_commands_are_refused_without_torch(words, tmp_path):
    done = run(*REFUSED[words], cwd=tmp_path)  # in which no output exists
    assert done.returncode == 2 and words in done.stderr
    assert done.stdout.strip() == "loaded:"


@pytest.mark.parametrize("command", ["fuse", "film", "volume", "metrics", "bench", "train-prior"])
def test_help_loads_neither_torch_nor_scipy(command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stdout.strip().splitlines()[-1] == "loaded:"


def test_priors_are_listed_without_torch():
    assert run("priors", "list").stdout.strip().splitlines()[-1] == "loaded:"
    assert run("priors", "show", "openai-256").stdout.strip().splitlines()[-1] == "loaded:"


def test_only_pictures_and_volumes_are_described_with_torch(tmp_path):
    write_film(tmp_path / "a.mkv", [np.zeros((8, 8), np.uint8)])
    for path, code in ((tmp_path, 0), (tmp_path / "a.mkv", 0), (Path(__file__), 2)):
        done = run("info", str(path))
        assert done.returncode == code
        assert "torch" not in done.stdout.splitlines()[-1]


WAITING = """
import os, sys
from ddfm.cli import main
try:
    main(["--version"])
finally:
    print(os.environ.get("OMP_WAIT_POLICY"), os.environ.get("KMP_BLOCKTIME"))
"""


@pytest.mark.parametrize(
    ("first", "environment", "expected"),
    [
        ("", {}, "PASSIVE 0"),
        ("", {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"),
        ("", {"KMP_BLOCKTIME": "200"}, "None 200"),
        ("import sys; sys.modules['torch'] = sys\n", {}, "None None"),
    ],
    ids=["alone", "as the user says", "as the user says to Intel's", "in another program"],
)
def test_idle_threads_sleep_unless_the_environment_decides(first, environment, expected):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_WAIT", "KMP_", "GOMP_"))}
    command = [sys.executable, "-c", first + WAITING]
    done = subprocess.run(command, capture_output=True, text=True, env=env | environment)
    assert done.stdout.splitlines()[-1] == expected


def test_importing_ddfm_changes_no_environment():
    code = (
        "import os; before = dict(os.environ); import ddfm.cli, ddfm; print(before == os.environ)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True"


def test_a_folder_with_a_file_is_refused_only_by_some_commands(tmp_path):
    """Volumes may be a folder of DICOM and a file; films have their own message."""
    (tmp_path / "series").mkdir()
    (tmp_path / "a.nii").write_bytes(b"")
    pair = str(tmp_path / "series"), str(tmp_path / "a.nii")
    assert "is a folder, not an image" not in run("volume", *pair, "-o", "x.nii").stderr
    assert "is a folder, not an image" not in run("film", *pair, "-o", "x.mp4").stderr
    assert "is a folder, not an image" in run("fuse", *pair, "-o", "x.png").stderr
