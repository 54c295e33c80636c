"""The examples run, and say what they wrote."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from places import ROOT


@pytest.mark.parametrize("example", ["fuse_pair", "brain", "custom_prior", "volumes", "folder"])
def test_examples_run(example, tmp_path, monkeypatch, capsys):
    import runpy

    if example == "volumes":
        pytest.importorskip("nibabel")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / f"{example}.py"))
    results = tmp_path / "pairs" / "fused" if example == "folder" else tmp_path
    written = {path.name: Image.open(path) for path in results.glob("*.png")}
    assert written and all(np.ptp(np.asarray(image)) > 50 for image in written.values())
    said = capsys.readouterr().out
    if example == "folder":
        assert "first run: 3 fused" in said and "second run: 3 skipped" in said
    assert all(name in said for name in written)
