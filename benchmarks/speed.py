"""How fast ddfm is, compared with alternatives, and by size and number of threads.

    python benchmarks/speed.py [--before CHECKOUT_OR_WHEEL] [--size 640x480] [--no-authors]
    python benchmarks/speed.py --noise 15 ...
    python benchmarks/speed.py --megapixels 0.1 0.3 1 4 24 [--coarse 10] [--before ...]
    python benchmarks/speed.py --threads 1 2

Each line is measured in its own processes, one line after the other, for several rounds, so that
other work on the machine affects all of them. Figures are medians. Seconds are elapsed time,
processor seconds are those of all threads together. On a busy machine the latter are more
meaningful, and ratios are computed from them. Peak memory is the largest resident set of the
process. The pair is the example pair, mirrored at its borders to the given size; with `--coarse N`,
the infrared picture is N times smaller than that.

"As published" is the 552M network that the authors of DDFM use, with random weights and 100 calls
per pair. One call on 256 x 256 pixels is timed, and scaled by pixels and calls. This favours it,
because the cost of attention grows with the square of the pixels. Arguments after `--` are passed
to `ddfm fuse`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from mirrored import mirrored_pair, size_of, with_noise

HERE = Path(__file__).parents[1]

Pairs = Callable[[tuple[int, int]], list[Path]]  # writes the pair of a size

# Code timed within a process prints seconds and processor seconds, each for one turn.
TIMED = """
import sys, time, torch
from PIL import Image
pair = [Image.open(path) for path in sys.argv[2:4]]
def timed(turn, times, scale=1.0):
    with torch.no_grad():
        turn()
        clock, work = time.perf_counter(), time.process_time()
        for _ in range(times):
            turn()
    clock, work = time.perf_counter() - clock, time.process_time() - work
    print("seconds", scale * clock / times, scale * work / times)
"""
FUSER = """
from ddfm import Fuser
fuser = Fuser(dtype=sys.argv[1])
timed(lambda: fuser(*pair, progress=False), 2)
"""
CALL = """
from ddfm import load_prior
width, height = pair[0].size
prior = load_prior("default", dtype=sys.argv[1])
x = torch.randn(1, 1, *(-(-side // 16) * 16 for side in (height, width)))
timed(lambda: prior(x, torch.tensor([60])), 3)
"""
BASELINE = """
from ddfm.bench.baselines import BASELINES
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import grey
planes = [grey(read_image(image)) for image in pair]
timed(lambda: BASELINES[sys.argv[1]](*planes), 3)
"""
AUTHORS = """
from ddfm.priors.unet import UNet, UNetConfig
network = UNet(UNetConfig()).eval()
x = torch.randn(1, 3, 256, 256)
width, height = pair[0].size
timed(lambda: network(x, torch.tensor([60])), 1, 100 * width * height / 256**2)
"""


@dataclass(frozen=True)
class Contestant:
    """A line of a table: a command, and the folder that contains its ddfm.

    Attributes:
        group: lines of a group are compared with its first one.
        inside: whether the command prints its own seconds; otherwise the whole process counts.
    """

    group: str
    name: str
    command: tuple[str, ...]
    package: Path = HERE
    inside: bool = False
    threads: int | None = None

    def run(self) -> tuple[float, float, float]:
        """Seconds, processor seconds, and peak memory in GB."""
        environment = os.environ | {"PYTHONPATH": str(self.package)}
        if self.threads is not None:
            environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads))
        with tempfile.TemporaryDirectory() as folder, (Path(folder) / "out").open("w+") as out:
            begin = time.perf_counter()
            process = subprocess.Popen(self.command, env=environment, cwd=folder, stdout=out)
            _, status, usage = os.wait4(process.pid, 0)  # of this process alone
            seconds, work = time.perf_counter() - begin, usage.ru_utime + usage.ru_stime
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{self.name} ended with {process.returncode}")
            if self.inside:
                out.seek(0)
                seconds, work = map(float, out.read().split("seconds")[-1].split())
        kilobytes = usage.ru_maxrss / 1024 if sys.platform == "darwin" else usage.ru_maxrss
        return seconds, work, kilobytes * 1024 / 1e9


def table(contestants: Sequence[Contestant], rounds: int) -> list[str]:
    """Medians over rounds in which all take turns, and ratios to the first of the group."""
    runs = [[contestant.run() for contestant in contestants] for _ in range(rounds)]
    costs = [
        [median(figures) for figures in zip(*own, strict=True)] for own in zip(*runs, strict=True)
    ]
    lines = ["| | | s | processor s | ratio | peak memory |", "| --- " * 6 + "|"]
    first: dict[str, float] = {}
    for contestant, (seconds, work, memory) in zip(contestants, costs, strict=True):
        ratio = work / first.setdefault(contestant.group, work)
        lines.append(
            f"| {contestant.group} | {contestant.name} | {seconds:.2f} | {work:.2f} | "
            f"{ratio:.2f} | {memory:.2f} GB |"
        )
    return lines


def fuse(group: str, name: str, pair: Sequence[Path], *more: str, **how: object) -> Contestant:
    """`ddfm fuse` as a whole process."""
    command = (sys.executable, "-m", "ddfm", "fuse", *map(str, pair), "-o", "fused.png", "-q")
    return Contestant(group, name, (*command, *more), **how)


def inside(
    group: str, name: str, pair: Sequence[Path], code: str, argument: str, package: Path = HERE
) -> Contestant:
    """Code that is timed within a process, with everything loaded."""
    command = (sys.executable, "-c", TIMED + code, argument, *map(str, pair))
    return Contestant(group, name, command, package, inside=True)


def beside_others(
    pair: Sequence[Path], before: Path | None, authors: bool, more: Sequence[str]
) -> list[Contestant]:
    lines = [fuse("from the shell", "ddfm", pair, *more)]
    if before:
        lines.append(fuse("from the shell", "before", pair, *more, package=before))
    for group, code in (("a pair, all loaded", FUSER), ("a call of the network", CALL)):
        dtypes = ("auto", "float32") if code is FUSER else ("bfloat16", "float32")
        lines += [inside(group, f"ddfm, {dtype}", pair, code, dtype) for dtype in dtypes]
        if before:
            lines.append(inside(group, "before, float32", pair, code, "float32", before))
        if code is FUSER:
            names = ("laplacian-pyramid", "guided-filter")
            lines += [inside(group, name, pair, BASELINE, name) for name in names]
            if authors:
                lines.append(inside(group, "as published (scaled)", pair, AUTHORS, ""))
    return lines


def write_pair(paths: Sequence[Path], size: tuple[int, int], sigma: float, coarse: int) -> None:
    """Runs in a process of its own: on Linux, a process starts with the peak of its parent."""
    infrared, visible = mirrored_pair(size)
    if coarse > 1:
        infrared = infrared.reduce(coarse)
    for seed, (image, path) in enumerate(zip((infrared, visible), paths, strict=True)):
        with_noise(image, sigma, seed).save(path)


def by_size(
    sizes: Sequence[tuple[int, int]], pair_of: Pairs, before: Path | None, more: Sequence[str]
) -> list[Contestant]:
    lines = []
    for w, h in sizes:
        pair = pair_of((w, h))
        lines.append(fuse(f"{w} x {h}", "ddfm", pair, *more))
        if before:
            lines.append(fuse(f"{w} x {h}", "before", pair, *more, package=before))
    return lines


def unpacked(path: Path, folder: Path) -> Path:
    """The folder from which the ddfm of a checkout or a wheel can be imported."""
    if path.is_dir():
        return path.resolve()
    with zipfile.ZipFile(path) as wheel:
        wheel.extractall(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="a checkout or a wheel to compare with")
    parser.add_argument("--size", default="640x480", metavar="WxH")
    parser.add_argument("--noise", type=float, default=0.0, help="on both sources, in grey levels")
    parser.add_argument("--coarse", type=int, default=1, help="times the infrared is smaller")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-authors", action="store_true", help="without the 552M network")
    parser.add_argument("--megapixels", type=float, nargs="+", help="cost by size instead")
    parser.add_argument("--threads", type=int, nargs="+", help="cost by threads instead")
    parser.add_argument("arguments", nargs="*", help="further arguments of `ddfm fuse`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def pair_of(size: tuple[int, int]) -> list[Path]:
            paths = [folder / f"{kind}-{size[0]}x{size[1]}.png" for kind in ("ir", "vis")]
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                pool.submit(write_pair, paths, size, options.noise, options.coarse).result()
            return paths

        before = options.before and unpacked(options.before, folder / "before")
        more, size = options.arguments, size_of(options.size)
        if options.megapixels:
            heights = [round((m * 1e6 * 3 / 4) ** 0.5) for m in options.megapixels]
            sizes = [(round(height * 4 / 3), height) for height in heights]
            lines = by_size(sizes, pair_of, before, more)
        elif options.threads:
            pair = pair_of(size)
            lines = [fuse("threads", str(n), pair, *more, threads=n) for n in options.threads]
        else:
            lines = beside_others(pair_of(size), before, not options.no_authors, more)
        print("\n".join(table(lines, options.rounds)))


if __name__ == "__main__":
    main()
