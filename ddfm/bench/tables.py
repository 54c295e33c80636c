"""The tables of a benchmark as files.

results.csv          a row for each pair and method
degraded.csv         the same for degraded sources
means.csv            a row for each method and set
tables.md, .tex      the same with fewer columns, a table for each set and each degradation
comparisons.csv      every two methods compared pair by pair, in each metric and set
failures.csv         pairs that failed, and files in no pair
summary.json         the means with all digits
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ddfm.bench.compare import Comparison
from ddfm.bench.datasets import Dataset
from ddfm.bench.degraded import row_name
from ddfm.bench.results import Bench
from ddfm.metrics import METRICS, known_metrics, metrics_of_papers
from ddfm.metrics.tables import PAIRS, Column, Table, as_csv, as_latex, as_markdown, column
from ddfm.storage.noted import write_noted

__all__ = ["TABLES", "after_degradation", "means", "published", "write_tables"]

TABLES = (
    *("results.csv", "degraded.csv", "means.csv", "tables.md", "tables.tex"),
    *("comparisons.csv", "failures.csv", "summary.json"),
)
SECONDS = Column("s / pair", -1)
PUBLISHED_RANGE = 2.0  # the data range of SSIM in publications


def write_tables(
    result: Bench,
    summary: dict[str, dict[str, Any]],
    comparisons: Sequence[Comparison],
    out: Path,
    columns: Sequence[str] | None,
) -> None:
    """Writes all tables into the folder `out`.

    Args:
        result: the benchmark.
        summary, comparisons: of it, by `summarise` and `compare`.
        out: an existing folder.
        columns: the metrics of tables.md and tables.tex; None is those usual in papers, those of
            the task of the set, and those that are not ddfm's.
    """
    tables = [
        means(result, d, summary, columns or [*metrics_of_papers(d.task), *result.own])
        for d in result.datasets
    ]
    tables += [table for d in result.datasets for table in after_degradation(d, summary)]
    write_noted(out / "results.csv", _of_pairs(result))
    write_noted(out / "degraded.csv", _of_degraded(result))
    write_noted(out / "means.csv", _of_means(result, summary))
    write_noted(out / "tables.md", "\n".join(map(as_markdown, tables)))
    write_noted(out / "tables.tex", "\n".join(map(as_latex, tables)))
    write_noted(out / "comparisons.csv", _of_comparisons(comparisons))
    head = ["configuration", "set", "pair", "reason"]
    write_noted(out / "failures.csv", as_csv(head, result.failures))
    write_noted(out / "summary.json", json.dumps(summary, indent=1) + "\n")


def means(
    result: Bench,
    dataset: Dataset,
    summary: dict[str, dict[str, Any]],
    columns: Sequence[str] | None = None,
) -> Table:
    """The means on a set: a row for each method, then published ones; all metrics or `columns`."""
    entries = {m: sets[dataset.name] for m, sets in summary.items() if dataset.name in sets}
    names = result.metrics(dataset) if columns is None else columns
    rows = [
        (method, {PAIRS: e["pairs"], SECONDS.name: e["seconds_per_pair"], **e["metrics"]})
        for method, e in entries.items()
    ]
    quoted = [
        (f"{row['method']} ({row['source']})", {PAIRS: row["pairs"], **_quoted(row, result)})
        for row in published(dataset)
    ]
    heads = [Column(PAIRS), SECONDS, *(column(name, result.own.get(name)) for name in names)]
    return Table(f"{dataset.name}, means", "method", heads, rows, quoted)


def after_degradation(dataset: Dataset, summary: dict[str, dict[str, Any]]) -> list[Table]:
    """A table for each degradation of a set, with a row for each method and way."""
    rows: dict[str, list[tuple[str, dict[str, float | None]]]] = {}
    for method, sets in summary.items():
        for what, found in sets.get(dataset.name, {}).get("degraded", {}).items():
            for way, values in found.items():
                row = dict(values) | {SECONDS.name: values.get("seconds")}
                rows.setdefault(what, []).append((row_name(method, way), row))
    tables = []
    for what, some in rows.items():
        names = dict.fromkeys(name for _, values in some for name in values)
        measured = [n for n in names if n.startswith(("PSNR", "SSIM"))]
        heads = [Column(PAIRS), SECONDS, *(Column(name, 1) for name in measured)]
        heads += [Column("rim")] if "rim" in names else []
        tables.append(Table(f"{dataset.name} after {what}, means", "method", heads, some))
    return tables


def published(dataset: Dataset) -> list[dict[str, Any]]:
    """The rows that papers have published for this set, each with its source."""
    text = resources.files("ddfm.bench").joinpath("published.json").read_text("utf-8")
    return [row for row in json.loads(text)["rows"] if dataset.name in row["sets"]]


def _quoted(row: dict[str, Any], result: Bench) -> dict[str, float]:
    """The published values that may stand beside measured ones: no SSIM of another data range."""
    values = dict(row["metrics"])
    values["SSIM_data_range_2"] = values["SSIM"]
    if result.ssim_range != PUBLISHED_RANGE:
        del values["SSIM"]
    return values


def _of_pairs(result: Bench) -> str:
    names = _all_names(result)
    lines = [
        [r.method, r.dataset, r.pair.name, r.seconds] + [r.metrics.get(name) for name in names]
        for r in result.rows
    ]
    return as_csv(["configuration", "set", "pair", "seconds", *names], lines)


def _of_degraded(result: Bench) -> str:
    found = [
        ([r.method, r.dataset, r.pair.name, what, way], values)
        for r in result.rows
        for what, ways in r.degraded.items()
        for way, values in ways.items()
    ]
    names = list(dict.fromkeys(name for _, values in found for name in values))
    head = ["configuration", "set", "pair", "degraded", "way", *names]
    return as_csv(head, ([*who, *map(values.get, names)] for who, values in found))


def _of_means(result: Bench, summary: dict[str, dict[str, Any]]) -> str:
    names = _all_names(result)
    lines = [
        [method, dataset, entry["pairs"], entry["seconds_per_pair"]]
        + [entry["metrics"].get(name) for name in names]
        for method, sets in summary.items()
        for dataset, entry in sets.items()
    ]
    return as_csv(["configuration", "set", "pairs", "seconds", *names], lines)


def _of_comparisons(comparisons: Sequence[Comparison]) -> str:
    head = ["set", "metric", "a", "b", "pairs", "median of a - b", "better", "p", "p (Holm)"]
    lines = [
        [c.dataset, c.metric, c.a, c.b, c.pairs, c.difference, c.better, c.p, c.corrected]
        for c in comparisons
    ]
    return as_csv(head, lines)


def _all_names(result: Bench) -> list[str]:
    used = {name for dataset in result.datasets for name in known_metrics(task=dataset.task)}
    return [*(name for name in METRICS if name in used), *result.own]
