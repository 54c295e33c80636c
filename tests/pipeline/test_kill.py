"""Runs that are killed at random moments and started again have the same result."""

from __future__ import annotations

import signal

import pytest

from kill import FAULTS, KINDS, kill


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize("kind", KINDS)
def test_runs_killed_at_random_moments_have_the_same_result(tmp_path, kind):
    if kind == "mkv":
        pytest.importorskip("av")
    if kind == "volume":
        pytest.importorskip("nibabel")
    counts = kill(kind, tmp_path, count=12, kills=4)
    assert counts["runs"] >= counts["kills"] >= 2
    assert {name: counts[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
