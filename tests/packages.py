"""A package of others, with parts for ddfm."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

__all__ = ["THEIRS", "install"]

THEIRS = "their_parts"  # the name of the package
METRICS = """
import numpy as np

def distance(fused, *sources):
    return sum(np.abs(fused - source).mean() for source in sources)

distance.lower_is_better = True

def level(fused, *sources):
    return fused.mean()

def broken(fused, *sources):
    raise ValueError("no target in sight")
"""
NAMES = """[ddfm.metrics]
their-distance = their_parts:distance
their-level = their_parts:level
their-broken = their_parts:broken
"""


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str = METRICS) -> None:
    """Installs it into a folder from which Python imports, until the end of the test."""
    about = folder / f"{THEIRS}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {THEIRS}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(NAMES)
    (folder / f"{THEIRS}.py").write_text(code)
    monkeypatch.delitem(sys.modules, THEIRS, raising=False)
    monkeypatch.syspath_prepend(str(folder))
