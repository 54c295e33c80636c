"""Peak memory and time of one fused pair, by its size: the command line in a process of its own.

    python benchmarks/memory_time.py [--sizes 640x480 1920x1080 3840x2160] [-- --tile 512 ...]

Pairs are the example pair, enlarged. What follows `--` is handed to `ddfm fuse`. Time is that by
the clock, with the start of Python and both files in it: on a busy machine it says little, while
memory (the largest resident set that the process ever had) is the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from enlarged import enlarged_pair, size_of

SIZES = ["640x480", "1920x1080", "3840x2160"]


def measure(size: tuple[int, int], arguments: list[str]) -> tuple[float, float]:
    """Peak memory in GB and time in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = folder / "infrared.png", folder / "visible.png"
        for image, path in zip(enlarged_pair(size), sources, strict=True):
            image.save(path)
        command = [sys.executable, "-m", "ddfm", "fuse", *map(str, sources)]
        begin = time.perf_counter()
        process = subprocess.Popen([*command, "-o", str(folder / "fused.png"), *arguments])
        _, status, usage = os.wait4(process.pid, 0)  # of this process alone
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"ddfm fuse ended with {process.returncode}")
        return usage.ru_maxrss * 1024 / 1e9, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WxH")
    parser.add_argument("arguments", nargs="*", help="further arguments of `ddfm fuse`")
    options = parser.parse_args()
    print("| pair | peak memory | time |\n| --- | --- | --- |")
    for text in options.sizes:
        memory, seconds = measure(size_of(text), options.arguments)
        print(f"| {text.replace('x', ' x ')} | {memory:.2f} GB | {seconds:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
