"""The benchmark of signals detects faults."""

from __future__ import annotations

import random
import signal
import sys

import pytest

import signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


def test_a_correct_command_has_no_faults(tmp_path):
    (tmp_path / "given").mkdir()
    counts = signals.try_command(
        "priors", tmp_path / "given", tmp_path / "out", 3, random.Random(0)
    )
    assert counts["SIGKILL"] == counts["SIGTERM"] == counts["SIGINT"] == 1
    assert not any(count for name, count in counts.items() if name.startswith("bad"))


@pytest.mark.parametrize(
    ("code", "printed", "seen"),
    [
        (143, "", []),
        (-signal.SIGTERM, "", []),
        (0, "", []),
        (1, "", ["bad: exit code"]),
        (143, "Traceback (most recent call last):\n  ddfm", ["bad: traceback"]),
        (1, "Fatal Python error: init_import_site\nTraceback", []),
    ],
)
def test_faults_are_detected(code, printed, seen):
    counts = signals._faults("fuse", code, signal.SIGTERM, printed)
    assert [name for name in counts if name.startswith("bad")] == seen
