"""Benchmarks: folders of pairs in; a table of results, a summary and one page to look at out.

`datasets` finds the pairs, and `methods` says what fuses them, `baselines` among others; `pairs`
fuses and measures; `degraded` does so of sources that `degrade` has spoilt, and that `first`
restores as others would; and `run` fills the tables of `results`, from which `tables`, `report` and
`sheets` write what they are called.
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
