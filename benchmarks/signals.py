"""Signals at random moments, for all commands, from the first instant on.

    python benchmarks/signals.py [--signals 300] [--seed 0] [--only film-mkv,folders]

Every command is run once undisturbed. Then it is started repeatedly, and SIGKILL, SIGTERM, SIGINT
or SIGHUP arrives at a random moment, possibly during its start; previous results are kept. After
every signal: the exit code is the right one, no traceback was printed, no source has changed, files
under a final name are as in the undisturbed run, and (except after SIGKILL) no partial file is
left. After every tenth signal the command may finish: then all files exist, equal byte for byte,
and no others. Files that contain times (manifests, tables of the benchmark) or new identifiers
(DICOM) are not compared.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from kill import make_sources as make_pairs

__all__ = ["COMMANDS", "Command", "try_command"]

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FAST = ["--prior", "gaussian", "--likelihood", "paper", "--steps", "2", "--device", "cpu"]
IN_A_ROW = 10  # signals before a run may finish
COMPARED = (".png", ".jpg", ".mkv", ".mp4", ".gz", ".nrrd", ".safetensors", ".npy")
DDFM = ["-m", "ddfm"]
# A small network, and no samples, which would take minutes.
SMALL_TRAINING = """
import ddfm.training.train_prior as training
training.SHIPPED = training.ResidualUNetConfig(stem=4, widths=(8, 8), depths=(1, 1))
training.sample_sheet = lambda *a, **k: None
from ddfm.__main__ import run
run()
"""


@dataclass(frozen=True)
class Command:
    """A command, given the folder of the sources and that of the results."""

    arguments: Callable[[Path, Path], list[object]]
    program: tuple[str, ...] = tuple(DDFM)

    def start(self, given: Path, out: Path) -> subprocess.Popen[str]:
        line = [sys.executable, *self.program, *map(str, self.arguments(given, out))]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


COMMANDS = {
    "fuse": Command(
        lambda given, out: [
            "fuse", given / "ir/000.png", given / "vi/000.png", "-o", out / "f.png", *FAST,
            "--save-steps", out / "steps",
        ]
    ),
    "folders": Command(
        lambda given, out: ["fuse", given / "ir", given / "vi", "-o", out / "fused", *FAST]
    ),
    "film-mkv": Command(
        lambda given, out: ["film", given / "ir", given / "vi", "-o", out / "f.mkv", *FAST]
    ),
    "film-mp4": Command(
        lambda given, out: ["film", given / "ir", given / "vi", "-o", out / "f.mp4", *FAST]
    ),
    "film-frames": Command(
        lambda given, out: ["film", given / "ir", given / "vi", "-o", out / "frames", *FAST]
    ),
    "volume": Command(
        lambda given, out: [
            "volume", given / "a.nii.gz", given / "b.nii.gz", "-o", out / "f.nii.gz",
            "--montage", out / "m.png", *FAST,
        ]
    ),
    "volume-dicom": Command(
        lambda given, out: [
            "volume", given / "a.nii.gz", given / "b.nii.gz", "-o", out / "series", *FAST
        ]
    ),
    "metrics": Command(
        lambda given, out: [
            "metrics", given / "ir/000.png", given / "ir/001.png", given / "vi/000.png"
        ]
    ),
    "bench": Command(
        lambda given, out: [
            "bench", given, "--subfolders", "ir,vi", "--out", out / "bench", "--device", "cpu",
            "--degrade", "noise=20", "--prior", "gaussian", "--steps", "2",
        ]
    ),
    "priors": Command(lambda given, out: ["priors", "list"]),
    "train-prior": Command(
        lambda given, out: [
            "train-prior", given / "photographs", "--out", out / "run", "--steps", "20",
            "--batch", "1", "--device", "cpu",
        ],
        ("-c", SMALL_TRAINING),
    ),
    "train-dmfuse": Command(
        lambda given, out: [
            "train-dmfuse", given, "--subfolders", "ir,vi", "--out", out / "run", "--steps", "4",
            "--batch", "1", "--crops", "2", "--size", "32", "--device", "cpu",
        ]
    ),
}  # fmt: skip


def make_sources(given: Path) -> None:
    """Small pairs, volumes and photographs."""
    import nibabel

    make_pairs(given, 6)
    rng = np.random.default_rng(0)
    for name in "ab":
        values = rng.integers(1, 900, (24, 24, 8), np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), given / f"{name}.nii.gz")
    (given / "photographs").mkdir()
    for k in range(2):
        image = rng.integers(0, 256, (150, 150), np.uint8)
        Image.fromarray(image).save(given / "photographs" / f"{k}.png")


def try_command(
    name: str, given: Path, root: Path, signals: int, rng: random.Random
) -> Counter[str]:
    """Counts of events for one command; those that begin with `bad` must not happen."""
    command, counts = COMMANDS[name], Counter[str]()
    before, whole, out = _contents(given), root / "whole", root / "disturbed"
    whole.mkdir(parents=True)
    began = time.monotonic()
    _wait(command.start(given, whole), name)
    seconds = time.monotonic() - began
    wanted = _compared(whole)
    for number in range(signals):
        if number % IN_A_ROW == 0:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
        kind = SIGNALS[number % len(SIGNALS)]
        killed = _leftovers(out)  # of runs that could not clean up
        process = command.start(given, out)
        time.sleep(rng.uniform(0, 1.05 * seconds))
        process.send_signal(kind)
        _, output = process.communicate(timeout=300)
        counts.update(_faults(name, process.returncode, kind, output))
        left = _compared(out)
        counts["bad: a source changed"] += _contents(given) != before
        halves = [f for f in left if left[f] != wanted.get(f)]
        counts["bad: half a file"] += bool(halves)
        untidy = kind != signal.SIGKILL and bool(_leftovers(out) - killed)
        counts["bad: leftovers after a signal"] += untidy
        if number % IN_A_ROW == IN_A_ROW - 1 or number == signals - 1:
            _wait(command.start(given, out), name)
            ended = _compared(out)
            others = [f for f in ended.keys() | wanted.keys() if ended.get(f) != wanted.get(f)]
            others += set(_names(out)) ^ set(_names(whole))
            counts["bad: another end"] += bool(others)
            halves += others
        if halves or (untidy and _leftovers(out)):
            print(f"{name}, {kind.name}: {halves} {_leftovers(out)}", file=sys.stderr, flush=True)
    return counts


def _faults(name: str, code: int, kind: signal.Signals, output: str) -> Counter[str]:
    counts = Counter({f"{kind.name}": 1})
    if code == 0:
        counts["had ended before"] += 1
    elif code not in (-kind, 128 + kind):
        python = "init_import_site" in output or "site.py" in output
        # Python itself was still starting, and ddfm had not begun.
        kind_of = "Python was starting" if python else "bad: exit code"
        counts[kind_of] += 1
    if "Traceback" in output and "site" not in output:
        counts["bad: traceback"] += 1
    if any(key.startswith("bad") for key in counts):
        print(f"{name}: {kind.name}, exit code {code}\n{output[-1500:]}", file=sys.stderr)
    return counts


def _wait(process: subprocess.Popen[str], name: str) -> None:
    _, output = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(f"{name} ends with {process.returncode}: {output}")


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _compared(folder: Path) -> dict[str, bytes]:
    """The files under final names that are the same in every run."""
    return {
        name: data
        for name, data in _contents(folder).items()
        if name.endswith(COMPARED)
        and not name.endswith("curve.png")
        and not any(part.startswith(".") for part in Path(name).parts)  # files in progress
    }


def _names(folder: Path) -> list[str]:
    return sorted(_contents(folder))


def _leftovers(folder: Path) -> set[Path]:
    return set(folder.rglob(".partial-*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--signals", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="names of commands, separated by commas")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(COMMANDS)
    rng, total = random.Random(args.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "given"
        given.mkdir()
        make_sources(given)
        for k, name in enumerate(names):
            share = args.signals // len(names) + (k < args.signals % len(names))
            counts = try_command(name, given, Path(folder) / name, share, rng)
            total += counts
            print(name, ", ".join(f"{k} {n}" for k, n in sorted(counts.items()) if n), flush=True)
    print("all", ", ".join(f"{k} {n}" for k, n in sorted(total.items()) if n))
    if any(key.startswith("bad") and n for key, n in total.items()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
