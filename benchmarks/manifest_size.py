"""The cost of a folder with very many results: to open its manifest, to resume, to merge shards.

    python -m benchmarks.manifest_size [--pairs 1000000] [--shards 8] [--folder DIR]

No picture is fused: sources and results are names of a few tiny files, and the lines of the
manifest have the length of real ones. What remains is the driver of a run, and the file system.
Each row is a separate process, without the time and memory to import torch.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from PIL import Image

from ddfm.fuser import Fuser
from ddfm.imaging.opening import Opening
from ddfm.pipeline.beside import Beside
from ddfm.pipeline.folders import fuse_folders
from ddfm.pipeline.pair_work import PairWork
from ddfm.pipeline.shards import merge_shards
from ddfm.storage.checksum import KnownFile
from ddfm.storage.manifest import Manifest, Shard, as_json

LINKS = 50_000  # names of one file; ext4 allows 65,000
ROUNDED = {"source_noise": [0.01234, 0.02345]}
ALIGNMENT = {
    "source": 0, "offset": [0.01, 0.0], "off": 0.01, "sure": True, "applied": False,
    "transform": {
        "format": "ddfm transform 1", "model": "shift", "moving": [480, 640], "fixed": [480, 640],
        "matrix": [[1.0, 0.0, 0.0062262117], [0.0, 1.0, 0.0022401084], [0.0, 0.0, 1.0]],
    },
}  # fmt: skip


def make(root: Path, pairs: int, shards: int) -> None:
    """Folders of sources and of results, and the manifests of all shards."""
    out = root / "out"
    for folder in (root / "ir", root / "vi", out):
        folder.mkdir()
        for k in range(pairs):
            first = folder / f"{k - k % LINKS:07d}.png"
            if k % LINKS == 0:
                Image.fromarray(np.full((4, 4), (k // LINKS) % 256, np.uint8)).save(first)
            else:
                os.link(first, folder / f"{k:07d}.png")
    settings = as_json(PairWork(fuser(), Opening(), Beside()).settings("ir-visible"))
    noted: dict[str, dict[str, object]] = {}
    parts = [Shard(k + 1, shards) for k in range(shards)]
    with ExitStack() as stack:
        files = [stack.enter_context(open(out / part.manifest, "w")) for part in parts]
        for k in range(pairs):
            name, first = f"{k:07d}.png", f"{k - k % LINKS:07d}.png"
            if first == name:
                noted = {e: KnownFile(root / e / name).noted() for e in ("ir", "vi", "out")}
            sources = [{"name": name} | noted[each] for each in ("ir", "vi")]
            entry = {"output": name, **noted["out"], "sources": sources, "settings": settings}
            entry |= ROUNDED | {"alignment": [ALIGNMENT], "observed": [{}, {}], "seconds": 0.1234}
            line = json.dumps(entry) + "\n"
            next(f for f, part in zip(files, parts, strict=True) if part.has(name)).write(line)


def memory() -> float:
    """The peak memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuser() -> Fuser:
    return Fuser("gaussian", likelihood="paper", steps=1, device="cpu")


def opening(root: Path) -> str:
    with Manifest(root / "out") as manifest:
        return "one is there" if manifest.get("0000000.png") else "none is there"


def resuming(root: Path) -> str:
    return str(fuse_folders(root / "ir", root / "vi", root / "out", fuser())).rsplit("\n")[-1]


def merging(root: Path) -> str:
    return str(merge_shards(root / "out")).rsplit("\n")[-1]


STEPS: dict[str, Callable[[Path], str]] = {
    "open the manifests of the shards": opening,
    "merge": merging,
    "open the merged manifest": opening,
    "a run that finds all done": resuming,
}


@click.command()
@click.option("--pairs", default=1_000_000, show_default=True)
@click.option("--shards", default=8, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="On the file system to measure.")
@click.option("--step", hidden=True)
def main(pairs: int, shards: int, folder: Path | None, step: str | None) -> None:
    if step is not None:
        assert folder is not None
        began, before = time.process_time(), memory()
        result = STEPS[step](folder)
        seconds = time.process_time() - began
        print(f"| {step} | {seconds:.1f} | {memory() - before:.0f} | {result} |", flush=True)
        return
    with TemporaryDirectory(dir=folder) as place:
        began = time.monotonic()
        make(Path(place), pairs, shards)
        size = sum(path.stat().st_size for path in Path(place, "out").glob("*.jsonl"))
        print(
            f"{pairs} pairs, {size / 1e6:.0f} MB of lines, made in {time.monotonic() - began:.0f} s"
        )
        print("| | processor seconds | MB of memory | |\n| --- | --- | --- | --- |", flush=True)
        for name in STEPS:
            how = ["--folder", place, "--step", name]
            subprocess.run([sys.executable, "-m", "benchmarks.manifest_size", *how], check=True)


if __name__ == "__main__":
    main()
