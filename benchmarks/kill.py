"""Kills runs over folders, films, volumes and sets repeatedly, and checks what remains.

    python benchmarks/kill.py --kills 20
    python benchmarks/kill.py mkv volume --kills 50 --seed 7

A run over small random pictures is killed (SIGKILL) at random moments and restarted, until it has
been killed the given number of times; then it may finish. After every kill each picture under a
final name is compared with that of an undisturbed run. At the end exactly the same files must
exist, hidden ones included, equal byte for byte except for the seconds in tables, with one line of
a manifest for each: nothing partial, nothing missing, nothing left over, nothing done twice.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import signal
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

import ddfm
from ddfm.bench import bench, configured, find_dataset
from ddfm.bench.degrade import find_degradation
from ddfm.pipeline.films import fuse_sequence
from ddfm.pipeline.folders import fuse_folders
from ddfm.pipeline.slices import kept_slices
from ddfm.pipeline.volumes import fuse_volumes
from ddfm.storage.manifest import NAME

__all__ = ["KINDS", "kill", "make_sources"]

SETTINGS = {"likelihood": "paper", "steps": 2, "device": "cpu"}
PICTURES = {".png", ".jpg", ".mkv", ".gz"}  # other files contain times
FAULTS = ("partial", "missing", "left over", "twice")


def folder(sources: Path, place: Path, fuser: ddfm.Fuser) -> None:
    """A folder of pairs."""
    fuse_folders(sources / "ir", sources / "vi", place / "out", fuser, progress=False)


def film(sources: Path, place: Path, fuser: ddfm.Fuser) -> None:
    """A film, written as a folder of frames."""
    fuse_sequence(sources / "ir", sources / "vi", place / "out", fuser, progress=False)


def mkv(sources: Path, place: Path, fuser: ddfm.Fuser) -> None:
    """A film, written as a video, which starts from the beginning each time."""
    fuse_sequence(sources / "ir", sources / "vi", place / "out.mkv", fuser, progress=False)


def volume(sources: Path, place: Path, fuser: ddfm.Fuser) -> None:
    """Two volumes, slice by slice."""
    out = place / "out.nii.gz"
    a, b = (np.load(sources / name) for name in ("a.npy", "b.npy"))
    with kept_slices(out) as kept:
        fuse_volumes(a, b, fuser, axis=0, keep=kept, progress=False).save(out)


def whole_bench(sources: Path, place: Path, fuser: ddfm.Fuser) -> None:
    """A benchmark with noise."""
    method = configured("gaussian", SETTINGS | {"prior": "gaussian"})
    bench(
        [find_dataset(sources)],
        [method],
        place / "out",
        degrade=[find_degradation("noise=15")],
        progress=False,
    )


KINDS: dict[str, Callable[[Path, Path, ddfm.Fuser], None]] = {
    "folder": folder,
    "film": film,
    "mkv": mkv,
    "volume": volume,
    "bench": whole_bench,
}


def kill(kind: str, root: Path, count: int = 40, kills: int = 20, seed: int = 0) -> dict[str, int]:
    """Counts of kills, runs and faults for one kind of run, in its own folder below `root`."""
    root = root / kind
    sources, undisturbed, place = (root / name for name in ("sources", "undisturbed", "killed"))
    undisturbed.mkdir(parents=True)
    place.mkdir()
    make_sources(sources, count)
    _run(kind, sources, undisturbed)
    begin = time.process_time()  # a busy machine takes longer now, and perhaps not later
    _run(kind, sources, _fresh(root / "again"))
    seconds = time.process_time() - begin
    whole = _pictures(undisturbed)
    # A video starts from the beginning each time; all others make progress with each run.
    longest = seconds if kind == "mkv" else 1.2 * seconds / kills
    rng = random.Random(seed)
    counts = dict.fromkeys(("kills", "runs", *FAULTS), 0)
    while counts["kills"] < kills and counts["runs"] < 3 * kills:
        counts["runs"] += 1
        counts["kills"] += _killed_after(rng.uniform(0, longest), kind, sources, place)
        for name, data in _pictures(place).items():
            counts["partial"] += data != whole.get(name)
    _run(kind, sources, place)
    left = _pictures(place)
    counts["partial"] += sum(data != whole.get(name) for name, data in left.items())
    counts["missing"] = len(_names(undisturbed) - _names(place))
    counts["left over"] = len(_names(place) - _names(undisturbed))
    counts["twice"] = sum(map(_lines_too_many, place.rglob(NAME)))
    return counts


def make_sources(root: Path, count: int, size: tuple[int, int] = (64, 48)) -> None:
    """Two folders of random grey images, and two volumes with the same number of slices."""
    rng = np.random.default_rng(0)
    for folder, name in (("ir", "a"), ("vi", "b")):
        (root / folder).mkdir(parents=True)
        values = rng.integers(0, 256, (count, *size), np.uint8)
        for k, image in enumerate(values):
            Image.fromarray(image).save(root / folder / f"{k:03d}.png")
        np.save(root / f"{name}.npy", values.astype(np.float32))


def _fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _names(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def _pictures(place: Path) -> dict[str, bytes]:
    """The files under final names that are the same after every run."""
    files = [p for p in place.rglob("*") if p.suffix in PICTURES and p.is_file()]
    hidden = [any(n.startswith(".") for n in p.relative_to(place).parts) for p in files]
    found = [path for path, out in zip(files, hidden, strict=True) if not out]
    return {str(path.relative_to(place)): path.read_bytes() for path in found}


def _lines_too_many(manifest: Path) -> int:
    done = [json.loads(line)["output"] for line in manifest.read_text().splitlines()]
    pictures = [name for name in done if Path(name).suffix in PICTURES]
    return len(pictures) - len(set(pictures))


def _killed_after(seconds: float, kind: str, sources: Path, place: Path) -> bool:
    """Starts a run, kills it after this many seconds, and returns whether it was still running."""
    # One process imports torch, and every run is forked from it, without threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ddfm.bench", "ddfm.pipeline.films", "ddfm.pipeline.volumes"])
    ready, here = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(kind, sources, place, here))
    process.start()
    if not ready.poll(300):
        raise TimeoutError("the run does not begin")
    time.sleep(seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _run(kind: str, sources: Path, place: Path, here: Connection | None = None) -> None:
    fuser = ddfm.Fuser("gaussian", **SETTINGS)
    if here is not None:
        here.send("ready")
    KINDS[kind](sources, place, fuser)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="default: all")
    parser.add_argument("--count", type=int, default=40, help="pairs, frames, or slices")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory() as root:
        for kind in args.kinds or KINDS:
            counts = kill(kind, Path(root), args.count, args.kills, args.seed)
            print(f"{kind}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
            faults += sum(counts[name] for name in FAULTS)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
