"""What is known of a fuser before it is loaded."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import ddfm
from ddfm.numerics import device
from ddfm.numerics.device import fast_dtype, found_without_torch
from ddfm.pipeline.folders import fuse_folders
from ddfm.pipeline.unloaded import Unloaded

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.is_available(), reason="known on Linux without a GPU"
)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"task": "medical", "dtype": "float32"},
        {"task": "multi-focus", "balance": 0.5, "device": "cpu"},
        {"quality": "fast", "steps": 2, "options": {"lam": 0.1}},
    ],
)
def test_its_settings_are_those_of_the_fuser(settings):
    task = settings.get("task", "ir-visible")
    assert Unloaded(settings).settings(task) == ddfm.Fuser(**settings).settings(task)


@pytest.mark.parametrize(
    "settings",
    [{"prior": "gaussian"}, {"method": "dmfuse"}, {"likelihood": "paper"}, {"device": "cuda"}],
)
def test_settings_that_need_the_fuser_are_none(settings):
    assert Unloaded(settings).settings("ir-visible") is None


def test_if_there_may_be_a_gpu_torch_is_imported(monkeypatch):
    fast = str(fast_dtype(torch.device("cpu"))).removeprefix("torch.")
    assert found_without_torch("auto", "auto") == (fast, "cpu")
    monkeypatch.setattr(device, "GPUS", ("null",))
    assert found_without_torch("auto", "auto") is None
    assert found_without_torch("cpu", "float32") == ("float32", "cpu")


def test_a_finished_folder_and_a_dry_run_import_neither_torch_nor_scipy(tmp_path):
    for folder, level in (("ir", 60), ("vis", 120)):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((12, 16), level, np.uint8)).save(tmp_path / folder / "x.png")
    folders = tmp_path / "ir", tmp_path / "vis", tmp_path / "out"
    code = (
        "import sys, ddfm; summary = ddfm.fuse_folders(*sys.argv[1:4], dry_run=len(sys.argv) > 4); "
        "print(summary.outcomes[0].status, {'torch', 'scipy'} & set(sys.modules))"
    )

    def printed(*more: str) -> str:
        command = [sys.executable, "-c", code, *map(str, folders), *more]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert printed("plan") == "planned set()\n" and not folders[2].exists()
    assert fuse_folders(*folders).of("fused")
    assert printed() == "skipped set()\n"
    Image.fromarray(np.full((12, 16), 90, np.uint8)).save(folders[0] / "x.png")
    assert fuse_folders(*folders).of("fused")  # of another source
