"""Progress bars."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ddfm.progress import counting_parts, ended_by, part_done, stage


def test_a_bar_takes_no_semaphore_that_a_signal_would_leak():
    code = (
        "import sys\nfrom ddfm.progress import progress_bar\n"
        "with progress_bar(True, total=2) as bar:\n    bar.update(1)\n"
        "print('multiprocessing.synchronize' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "False\n")
    assert "1/2" in done.stderr or "50%" in done.stderr or "0/2" in done.stderr


def test_a_check_is_asked_at_each_stage_and_part_and_may_end_the_work():
    asked, parts = [], []

    def check():
        asked.append(1)
        if len(asked) == 3:
            raise KeyError("enough")

    with ended_by(check), counting_parts(lambda number, of: parts.append((number, of))):
        stage("reading")
        part_done(1, 2)
        with pytest.raises(KeyError, match="enough"):
            part_done(2, 2)
    stage("nobody asks")
    assert (len(asked), parts) == (3, [(1, 2)])
