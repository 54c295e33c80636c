"""Benchmarks: compares methods on folders of pairs, and writes tables, plots and a report.

`datasets` finds the pairs, and `methods` defines what fuses them, such as `baselines`. `pairs`
fuses and measures; `degraded` does the same for sources that `degrade` has degraded, after
classical restoration by `classical`. `run` collects everything in `results`, from which `tables`,
`report`, `plots` and `sheets` write the outputs.
"""

from __future__ import annotations

from ddfm.bench.baselines import BASELINES
from ddfm.bench.datasets import Dataset, find_dataset
from ddfm.bench.degrade import Degradation, find_degradation
from ddfm.bench.methods import Method, baseline, configured, from_folder, read_configs
from ddfm.bench.results import Bench
from ddfm.bench.run import bench

__all__ = [
    "BASELINES",
    "Bench",
    "Dataset",
    "Degradation",
    "Method",
    "baseline",
    "bench",
    "configured",
    "find_dataset",
    "find_degradation",
    "from_folder",
    "read_configs",
]
