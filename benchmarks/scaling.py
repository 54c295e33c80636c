"""Pairs per second with one process and with several: shards, and the engine dask.

    python -m benchmarks.scaling [--pairs 64] [--side 128] [--workers 1,2,4] [--no-dask]

Pairs are random and without noise, so each costs the same; the folders are in memory if /dev/shm
exists. Each row is a way to share the pairs. Rates are measured from the first result to the last,
so loading (some seconds for each process) does not count: nobody starts a process for 64 pairs. On
a machine with other work, compare the processor seconds per pair, which are the cost of a pair.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from PIL import Image


def make(root: Path, pairs: int, side: int) -> None:
    """Smooth pictures, without noise to remove."""
    rng = np.random.default_rng(0)
    for word in ("ir", "vi"):
        (root / word).mkdir()
        for k in range(pairs):
            small = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8), np.uint8))
            large = small.resize((side, side), Image.Resampling.BICUBIC)
            large.save(root / word / f"{k:05d}.png")


def measured(root: Path, name: str, commands: list[list[str]]) -> None:
    """Run commands in parallel, and print a row."""
    out = root / "out"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    each = [sys.executable, "-m", "ddfm", "fuse", str(root / "ir"), str(root / "vi")]
    how = ["-o", str(out), "-q", "--device", "cpu"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    running = [subprocess.Popen([*each, *how, *command], env=env) for command in commands]
    if any(process.wait() for process in running):
        raise SystemExit(f"{name} failed")
    whole = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    work = sum(getattr(after, key) - getattr(before, key) for key in ("ru_utime", "ru_stime"))
    times = sorted(path.stat().st_mtime for path in out.glob("*.png"))
    seconds = times[-1] - times[0]
    rate, cost = (len(times) - 1) / seconds, work / len(times)
    print(f"| {name} | {rate:.2f} | {whole:.0f} | {cost:.2f} |", flush=True)
    for path in [*out.iterdir()]:
        path.unlink()
    out.rmdir()


@click.command()
@click.option("--pairs", default=64, show_default=True)
@click.option("--side", default=128, show_default=True, help="Side of each picture, in pixels.")
@click.option("--workers", default="1,2,4", show_default=True)
@click.option("--dask/--no-dask", default=True, show_default=True)
def main(pairs: int, side: int, workers: str, dask: bool) -> None:
    """Print the table of docs/many_machines.md."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(dir=memory) as place:
        root = Path(place)
        make(root, pairs, side)
        load = os.getloadavg()[0]
        print(f"{pairs} pairs of {side} x {side}, {os.cpu_count()} processors, load {load:.0f}\n")
        print("| | pairs a second | seconds in all | processor seconds a pair |")
        print("| --- | --- | --- | --- |", flush=True)
        measured(root, "one process", [[]])
        for count in map(int, workers.split(",")):
            shards = [["--shard", f"{k}/{count}"] for k in range(1, count + 1)]
            measured(root, f"{count} shards", shards)
        if dask:
            measured(root, "dask, a worker per processor", [["--engine", "dask"]])


if __name__ == "__main__":
    main()
