"""Benchmarks: folders of pairs in; a table of results, a summary and one page to look at out.

`ddfm.bench.datasets` finds the pairs, `ddfm.bench.methods` says what fuses them, `ddfm.bench.run`
fuses and measures, and `ddfm.bench.report` draws the page.
"""

from __future__ import annotations

from ddfm.bench.datasets import Dataset, find_dataset
from ddfm.bench.methods import BASELINES, Method, baseline, configured, from_folder, read_configs
from ddfm.bench.run import Bench, bench

__all__ = [
    "BASELINES",
    "Bench",
    "Dataset",
    "Method",
    "baseline",
    "bench",
    "configured",
    "find_dataset",
    "from_folder",
    "read_configs",
]
