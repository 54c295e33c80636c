"""The examples for clusters call `ddfm` correctly."""

import os
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from command_line import FAST, ddfm_run
from ddfm.cli.fuse import fuse
from ddfm.storage.manifest import Shard
from places import ROOT


def pairs(folder, number=12):
    for side in ("infrared", "visible"):
        (folder / side).mkdir()
        for k in range(number):
            pixels = np.random.default_rng(k).integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / side / f"{k}.png")


@pytest.fixture
def bash():
    found = shutil.which("bash")
    if found is None:
        pytest.skip("there is no bash")
    return found


def as_slurm(bash, folder, index, **environment):
    """The script as the index-th of two, with a `ddfm` that prints its arguments."""
    (folder / "bin").mkdir(exist_ok=True)
    shown = folder / "bin" / "ddfm"
    shown.write_text(f'#!{bash}\nprintf "%s\\n" "$@"\n')
    shown.chmod(0o755)
    environment |= {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "SLURM_ARRAY_TASK_ID": str(index),
        "SLURM_ARRAY_TASK_COUNT": "2",
        "SLURM_ARRAY_TASK_MIN": "1",
    }
    script = [bash, ROOT / "examples" / "slurm.sh"]
    return subprocess.run(script, env=environment, capture_output=True, text=True, check=False)


def test_the_shares_of_a_slurm_array_are_all_pairs(bash, tmp_path, monkeypatch):
    pairs(tmp_path)
    folders = {"A": str(tmp_path / "infrared"), "B": str(tmp_path / "visible")}
    done = []
    for index in (1, 2):
        run = as_slurm(bash, tmp_path, index, **folders, OUT=str(tmp_path / "fused"))
        assert run.returncode == 0, run.stderr
        for name, value in (("ID", str(index)), ("COUNT", "2"), ("MIN", "1")):
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
        result = ddfm_run(*run.stdout.splitlines(), *FAST)
        assert result.exit_code == 0, result.stderr
        done.append({path.name for path in (tmp_path / "fused").glob("*.png")})
    assert done[0] < done[1] == {f"{k}.png" for k in range(12)}
    merged = ddfm_run("merge", tmp_path / "fused")
    assert merged.exit_code == 0, merged.stderr


def test_the_slurm_script_names_a_missing_variable(bash, tmp_path):
    run = as_slurm(bash, tmp_path, 1, A="a", B="b")
    assert run.returncode != 0
    assert "OUT: is where to" in run.stderr


def test_the_kubernetes_job_is_indexed_with_one_pod_per_shard(monkeypatch):
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((ROOT / "examples" / "kubernetes.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["backoffLimitPerIndex"] > 0
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # else there is no limit per index
    (container,) = pod["containers"]
    command, *arguments = container["args"]
    assert command == "fuse"
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    context = fuse.make_context("fuse", list(arguments))
    assert context.params["shard"] == Shard(1, spec["completions"])
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}


def test_the_image_runs_as_an_unprivileged_user():
    text = (ROOT / "Dockerfile").read_text()
    user = next(line for line in text.splitlines() if line.startswith("USER "))
    assert user == "USER 10001:10001"
    assert text.index(user) < text.index("ENTRYPOINT")
    copied = [
        word
        for line in text.splitlines()
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
    ]
    kept = (ROOT / ".dockerignore").read_text()
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in kept
