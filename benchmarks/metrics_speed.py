"""The median processor time of all metrics of a pair, and of each metric alone, on one core.

python benchmarks/metrics_speed.py [--size 640x480] [--repeats 15]
"""

from __future__ import annotations

import os

# Before numpy is imported, which then determines its number of threads.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402

from ddfm.metrics import METRICS, evaluate  # noqa: E402


def pair(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Two 8-bit images with detail at all scales, some of it common to both."""
    generator = np.random.default_rng(0)
    layers = [
        sum(gaussian_filter(generator.normal(size=(height, width)), s) * s for s in (1, 4, 16))
        for _ in range(3)
    ]
    images = [layers[0] + layers[1], layers[0] - layers[2]]
    return tuple(np.rint(np.clip(128 + 50 * i / i.std(), 0, 255)).astype(np.uint8) for i in images)


def median_time(action: Callable[[], object], repeats: int) -> float:
    action()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="640x480", metavar="WxH")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    a, b = pair(width, height)
    fused = np.maximum(a, b)

    for name in METRICS:
        seconds = median_time(lambda n=name: evaluate(fused, a, b, metrics=[n]), 3)
        print(f"{name:20s} {seconds * 1000:7.1f} ms")
    seconds = median_time(lambda: evaluate(fused, a, b), arguments.repeats)
    print(f"{'all together':20s} {seconds * 1000:7.1f} ms  ({width}x{height}, median)")


if __name__ == "__main__":
    main()
