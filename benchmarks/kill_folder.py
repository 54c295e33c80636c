"""Kills a run over a folder, again and again, and looks at what is left.

    python benchmarks/kill_folder.py --pairs 40 --kills 20

A run over small random pairs is killed (SIGKILL) at random moments and begun anew, until it has
been killed so often; then it may end. After every kill each file under a final name is compared
with that of a run that nobody disturbed; at the end all of them are, and the manifest must have
one line for each: nothing partial, nothing missing, nothing done twice.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import signal
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

import ddfm
from ddfm.pipeline.folders import fuse_folders
from ddfm.storage.manifest import NAME

__all__ = ["kill_folder", "make_pairs"]


def kill_folder(root: Path, pairs: int = 40, kills: int = 20, seed: int = 0) -> dict[str, int]:
    """How often each thing happened, in a folder of its own below `root`."""
    a, b = make_pairs(root, pairs)
    begin = time.monotonic()
    _run(a, b, root / "whole")
    seconds = time.monotonic() - begin
    whole = _contents(root / "whole")
    rng, out = random.Random(seed), root / "killed"
    counts = {"kills": 0, "runs": 0, "partial": 0, "missing": 0, "twice": 0, "different": 0}
    while counts["kills"] < kills and counts["runs"] < 3 * kills:
        counts["runs"] += 1
        counts["kills"] += _killed_after(rng.uniform(0, 1.2 * seconds / kills), a, b, out)
        for name, data in _contents(out).items():
            counts["partial"] += data != whole.get(name)
    _run(a, b, out)
    left = _contents(out)
    done = [json.loads(line)["output"] for line in (out / NAME).read_text().splitlines()]
    counts["missing"] = len(whole.keys() - left.keys()) + len(whole.keys() - set(done))
    counts["twice"] = len(done) - len(set(done))
    counts["different"] = sum(left[name] != whole.get(name) for name in left)
    return counts


def make_pairs(root: Path, count: int, size: tuple[int, int] = (64, 48)) -> tuple[Path, Path]:
    """Two folders of random grey images."""
    rng = np.random.default_rng(0)
    folders = root / "ir", root / "vis"
    for folder, word in zip(folders, ("ir", "vis"), strict=True):
        folder.mkdir()
        for k in range(count):
            image = rng.integers(0, 256, size, np.uint8)
            Image.fromarray(image).save(folder / f"{k:03d}_{word}.png")
    return folders


def _contents(folder: Path) -> dict[str, bytes]:
    """What lies there under a final name. The manifest has times in it, and is no such file."""
    if not folder.is_dir():
        return {}
    files = [p for p in folder.iterdir() if p.name != NAME and not p.name.startswith(".")]
    return {path.name: path.read_bytes() for path in files}


def _killed_after(seconds: float, a: Path, b: Path, out: Path) -> bool:
    """Begins a run, kills it after so many seconds of work, and says whether that was needed."""
    # One process imports torch, and every run is a fork of it; none of them inherits threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ddfm.pipeline.folders"])
    ready, here = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(a, b, out, here))
    process.start()
    if not ready.poll(300):
        raise TimeoutError("the run does not begin")
    time.sleep(seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _run(a: Path, b: Path, out: Path, here: Connection | None = None) -> None:
    fuser = ddfm.Fuser("gaussian", likelihood="paper", steps=2, device="cpu")
    if here is not None:
        here.send("ready")
    fuse_folders(a, b, out, fuser, progress=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        counts = kill_folder(Path(root), args.pairs, args.kills, args.seed)
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    if any(counts[name] for name in ("partial", "missing", "twice", "different")):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
