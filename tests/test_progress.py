"""Progress bars."""

from __future__ import annotations

import subprocess
import sys


def test_a_bar_takes_no_semaphore_that_a_signal_would_leak():
    code = (
        "import sys\nfrom ddfm.progress import progress_bar\n"
        "with progress_bar(True, total=2) as bar:\n    bar.update(1)\n"
        "print('multiprocessing.synchronize' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "False\n")
    assert "1/2" in done.stderr or "50%" in done.stderr or "0/2" in done.stderr
