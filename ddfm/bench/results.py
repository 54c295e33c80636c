"""The results of a benchmark and their summary, from which tables, page and sheets are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddfm.bench.datasets import Dataset
from ddfm.bench.degrade import Degradation
from ddfm.bench.methods import Method
from ddfm.imaging.pairing import Pair
from ddfm.metrics import known_metrics, pooled
from ddfm.metrics.own import Own
from ddfm.metrics.pooling import for_json

__all__ = ["Bench", "Row", "summarise"]


@dataclass(frozen=True)
class Row:
    """A pair fused by one method; `degraded` holds values by degradation and way."""

    method: str
    dataset: str
    pair: Pair
    file: Path
    seconds: float | None
    metrics: dict[str, float]
    degraded: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


@dataclass
class Bench:
    """All results, and failures as (method, set, pair, reason).

    Failures include files that are in no pair, with an empty name of the method. `own` holds the
    metrics that are not ddfm's, by name.
    """

    datasets: list[Dataset]
    methods: list[Method]
    ssim_range: float
    degradations: tuple[Degradation, ...]
    classical: bool = False  # whether degraded sources are also fused after classical restoration
    own: Mapping[str, Own] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    failures: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every pair was fused and measured. Files in no pair do not count."""
        return not any(method for method, *_ in self.failures)

    def metrics(self, dataset: Dataset) -> list[str]:
        """The names of all metrics that are measured on a set."""
        return [*known_metrics(task=dataset.task), *self.own]

    def of(self, method: Method, dataset: Dataset) -> list[Row]:
        """The rows of one method on one set."""
        return [r for r in self.rows if (r.method, r.dataset) == (method.name, dataset.name)]

    def resize_of(self, dataset: str) -> str:
        """How the sources of a set were brought to one size."""
        used = (m.settings.get(dataset, {}).get("resize", "auto") for m in self.methods)
        return next((resize for resize in used if resize != "auto"), "auto")


def summarise(result: Bench) -> dict[str, dict[str, Any]]:
    """{method: {set: {"pairs": n, "seconds_per_pair": s, "metrics": {name: mean}}}}.

    Values that JSON cannot hold are None.
    """
    summary: dict[str, dict[str, Any]] = {m.name: {} for m in result.methods}
    for method in result.methods:
        for dataset in result.datasets:
            rows = result.of(method, dataset)
            if rows:
                summary[method.name][dataset.name] = _entry(result, dataset, rows)
    return summary


def _entry(result: Bench, dataset: Dataset, rows: Sequence[Row]) -> dict[str, Any]:
    seconds = [{"s": row.seconds} for row in rows if row.seconds is not None]
    means = for_json(pooled(row.metrics for row in rows))
    degraded = {
        what.name: _ways([row.degraded.get(what.name, {}) for row in rows])
        for what in result.degradations
    }
    degraded = {name: ways for name, ways in degraded.items() if ways}
    return {
        "pairs": len(rows),
        "seconds_per_pair": for_json(pooled(seconds)).get("s"),
        "metrics": {name: means.get(name) for name in result.metrics(dataset)},
    } | ({"degraded": degraded} if degraded else {})


def _ways(of_pairs: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float | None]]:
    """The means over pairs, for each way."""
    names = dict.fromkeys(way for ways in of_pairs for way in ways)
    return {
        way: {"pairs": len(some)} | for_json(pooled(some))
        for way in names
        if (some := [ways[way] for ways in of_pairs if way in ways])
    }
