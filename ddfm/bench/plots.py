"""Plots of a benchmark as SVG: the distribution over pairs of each metric and of the seconds."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ddfm.bench.datasets import Dataset
from ddfm.bench.results import Bench, Row
from ddfm.metrics import COUNTS, pooled
from ddfm.storage.noted import write_noted

__all__ = ["plot_names", "plots", "write_plots"]

COLORS = ("#0b6bcb", "#d1480f", "#2e7d32", "#7b3fa0", "#a8811a", "#c2185b", "#00838f", "#5d4037")
LEFT, WIDTH, TOP, LINE, BOTTOM = 120, 360, 22, 16, 16  # layout, in pixels
LONGEST = 18  # characters shown of the name of a method


class Spread(NamedTuple):
    """The values of one method in one metric: by pair, and their mean."""

    pairs: dict[str, float]
    mean: float


def write_plots(result: Bench, folder: Path) -> None:
    """Writes folder/SET/METRIC.svg."""
    for dataset in result.datasets:
        for name, svg in plots(dataset, result).items():
            write_noted(folder / dataset.name / f"{name}.svg", svg)


def plot_names(dataset: Dataset, result: Bench) -> list[str]:
    """The names of all files that may be written for a set."""
    return [f"{name}.svg" for name in _shown(dataset, result)]


def _shown(dataset: Dataset, result: Bench) -> list[str]:
    return ["seconds", *(name for name in result.metrics(dataset) if name not in COUNTS)]


def plots(dataset: Dataset, result: Bench) -> dict[str, str]:
    """The plots of a set as SVG, by metric; metrics without any value are left out."""
    rows = {method.name: result.of(method, dataset) for method in result.methods}
    drawn = {}
    for name in _shown(dataset, result):
        spreads = {method: _spread(name, some) for method, some in rows.items()}
        if any(spread.pairs for spread in spreads.values()):
            drawn[name] = _plot(name, spreads)
    return drawn


def _spread(name: str, rows: list[Row]) -> Spread:
    each = [r.metrics | ({} if r.seconds is None else {"seconds": r.seconds}) for r in rows]
    values = {
        row.pair.name: values[name]
        for row, values in zip(rows, each, strict=True)
        if math.isfinite(values.get(name, math.nan))
    }
    return Spread(values, pooled(each).get(name, math.nan))


def _plot(title: str, spreads: Mapping[str, Spread]) -> str:
    """One line per method, with a dot per pair and a bar at the mean."""
    every = [value for spread in spreads.values() for value in spread.pairs.values()]
    low, high = min(every), max(every)
    span = (high - low) or 1.0
    height = TOP + LINE * len(spreads) + BOTTOM

    def x(value: float) -> float:
        return LEFT + 6 + (value - low) / span * (WIDTH - LEFT - 14)

    parts = [_words(4, 14, title, "title")]
    for k, (method, spread) in enumerate(spreads.items()):
        y, color = TOP + LINE * k + LINE / 2, COLORS[k % len(COLORS)]
        short = method if len(method) <= LONGEST else method[: LONGEST - 1] + "…"
        parts.append(_words(LEFT - 4, y + 4, short, "end"))
        parts.append(f'<path d="M{LEFT} {y:g}H{WIDTH}" stroke="#8884"/>')
        for pair, value in spread.pairs.items():
            label = f"<title>{html.escape(pair)}: {value:.4g}</title>"
            parts.append(f'<circle cx="{x(value):.1f}" cy="{y:g}" r="3" fill="{color}">{label}'
                         "</circle>")  # fmt: skip
        if low <= spread.mean <= high:
            mark = f"M{x(spread.mean):.1f} {y - 7:g}v14"
            parts.append(f'<path d="{mark}" stroke="{color}" stroke-width="2"/>')
    parts.append(_words(LEFT, height - 3, f"{low:.4g}"))
    parts.append(_words(WIDTH - 2, height - 3, f"{high:.4g}", "end"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" font-family="sans-serif" font-size="11">{"".join(parts)}</svg>'
    )


def _words(x: float, y: float, text: str, kind: str = "start") -> str:
    style = 'font-weight="600"' if kind == "title" else f'text-anchor="{kind}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{html.escape(text)}</text>'
