"""The tables of a benchmark as files: a row for each pair, and the means."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddfm.bench.results import NOISE_METRICS, Bench, level, summarise
from ddfm.metrics import METRICS, known_metrics
from ddfm.storage.atomic import atomic_path

__all__ = ["write_tables"]


def write_tables(result: Bench, out: Path) -> None:
    """Writes results.csv, failures.csv and summary.json into `out`."""
    noise = [(level(s), name) for s in result.noise for name in NOISE_METRICS]
    used = {name for dataset in result.datasets for name in known_metrics(task=dataset.task)}
    names = [name for name in METRICS if name in used]
    head = ["configuration", "set", "pair", "seconds", *names]
    lines = [
        [r.method, r.dataset, r.pair.name, _number(r.seconds)]
        + [_number(r.metrics.get(name)) for name in names]
        + [_number(r.noise.get(sigma, {}).get(name)) for sigma, name in noise]
        for r in result.rows
    ]
    _write_csv(out / "results.csv", head + [f"noise {s}: {name}" for s, name in noise], lines)
    _write_csv(out / "failures.csv", ["configuration", "set", "pair", "reason"], result.failures)
    with atomic_path(out / "summary.json") as temporary:
        temporary.write_text(json.dumps(summarise(result), indent=1) + "\n", encoding="utf-8")


def _number(value: float | None) -> float | str:
    """Empty where there is none: SCD is of two sources, and some pairs have no targets."""
    return "" if value is None or math.isnan(value) else value


def _write_csv(path: Path, head: Sequence[str], lines: Sequence[Sequence[Any]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(lines)
