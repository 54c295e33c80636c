"""One page with everything in it: pictures, tables, plots, settings. No server, no other file."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import platform
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ddfm.bench.datasets import Dataset
from ddfm.bench.run import NOISE_METRICS, Bench, Row, summarise
from ddfm.imaging.files import read_image
from ddfm.imaging.picture import eight_bit
from ddfm.imaging.sources import read_sources
from ddfm.metrics import LOWER_IS_BETTER, METRICS
from ddfm.storage.atomic import atomic_path
from ddfm.version import __version__

__all__ = ["write_report"]

COLORS = ("#0b6bcb", "#d1480f", "#2e7d32", "#7b3fa0", "#a8811a", "#c2185b", "#00838f", "#5d4037")
WEBP_QUALITY = 92  # full size, and a page of all sets that a browser still opens


def write_report(result: Bench, path: Path) -> None:
    """Writes the page."""
    summary = summarise(result)
    parts = [_failures(result), _viewer(result)]
    for dataset in result.datasets:
        parts.append(f"<h2>{_text(dataset.name)}</h2>")
        parts.append(_table(dataset, summary, result))
        parts.append(_noise(dataset, summary))
        parts.append(_plots(dataset, result))
    parts.append(_settings(result))
    template = resources.files("ddfm.bench").joinpath("report.html").read_text("utf-8")
    with atomic_path(path) as temporary:
        temporary.write_text(
            template.replace("{{body}}", "\n".join(parts)).replace(
                "{{pictures}}", _script(_pictures(result))
            ),
            encoding="utf-8",
        )


def _table(dataset: Dataset, summary: dict[str, dict[str, Any]], result: Bench) -> str:
    """Means over pairs, the best of those measured here in bold; below them what is published."""
    entries = {m: sets[dataset.name] for m, sets in summary.items() if dataset.name in sets}
    best = {name: _best(name, [e["metrics"][name] for e in entries.values()]) for name in METRICS}
    head = "".join(f"<th>{name} {'↓' if name in LOWER_IS_BETTER else '↑'}</th>" for name in METRICS)
    lines = []
    for method, entry in entries.items():
        cells = [_cell(entry["pairs"], "d"), _cell(entry["seconds_per_pair"])]
        cells += [
            _cell(v, best=v is not None and v == best[k]) for k, v in entry["metrics"].items()
        ]
        lines.append(f"<tr><th>{_text(method)}</th>{''.join(cells)}</tr>")
    for row in _published():
        if dataset.name in row["sets"]:
            values = [_cell(row["metrics"].get(name), ".2f") for name in METRICS]
            lines.append(
                f"<tr class=published><th title='{_text(row['source'])}'>{_text(row['method'])}"
                f"<small>{_text(row['source'])}</small></th>"
                f"{_cell(row['pairs'], 'd')}{_cell(None)}{''.join(values)}</tr>"
            )
    return (
        f"<p>{_text(dataset.task)}; means over pairs. SSIM with data range {result.ssim_range:g}. "
        "A click on a head sorts; published rows (in italics) are of the full test set, as printed."
        "</p><div class=wide><table class=sortable><thead><tr><th>method</th><th>pairs</th>"
        f"<th>s / pair ↓</th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _noise(dataset: Dataset, summary: dict[str, dict[str, Any]]) -> str:
    lines = []
    for method, sets in summary.items():
        for level, values in sets.get(dataset.name, {}).get("noise", {}).items():
            cells = "".join(_cell(values[name]) for name in NOISE_METRICS)
            lines.append(f"<tr><th>{_text(method)}</th><td>{level}</td>{cells}</tr>")
    if not lines:
        return ""
    return (
        "<h3>Noise</h3><p>How close the fusion of noisy sources comes to that of clean ones, by "
        "the same method (SSIM with data range 255).</p><table class=sortable><thead><tr>"
        "<th>method</th><th>sigma</th><th>PSNR ↑</th><th>SSIM ↑</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _plots(dataset: Dataset, result: Bench) -> str:
    """How the pairs are spread, a plot for each metric and one for time."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in result.rows:
        if row.dataset == dataset.name:
            rows[row.method].append(row)
    seconds = {m: [(r.pair.name, r.seconds) for r in some] for m, some in rows.items()}
    plots = [_plot("seconds per pair", seconds)]
    for name in METRICS:
        values = {m: [(r.pair.name, r.metrics.get(name)) for r in some] for m, some in rows.items()}
        plots.append(_plot(name, values))
    return (
        "<details open><summary>Distributions: a dot per pair, a bar at the mean</summary>"
        f"<div class=plots>{''.join(plots)}</div></details>"
    )


def _plot(title: str, values: dict[str, list[tuple[str, float | None]]]) -> str:
    left, width, line = 120, 360, 16
    finite = {
        m: [(pair, v) for pair, v in some if v is not None and math.isfinite(v)]
        for m, some in values.items()
    }
    every = [v for some in finite.values() for _, v in some]
    if not every:
        return ""
    low, high = min(every), max(every)
    span = (high - low) or 1.0
    height = 22 + line * len(finite) + 16

    def x(value: float) -> float:
        return left + 6 + (value - low) / span * (width - left - 14)

    parts = [f"<text x=4 y=14 class=title>{_text(title)}</text>"]
    for k, (method, some) in enumerate(finite.items()):
        y, color = 22 + line * k + line / 2, COLORS[k % len(COLORS)]
        short = method if len(method) <= 18 else method[:17] + "…"
        parts.append(f"<text x={left - 4} y={y + 4:g} text-anchor=end>{_text(short)}</text>")
        parts.append(f"<path d='M{left} {y}H{width}' stroke='#8884'/>")
        for pair, v in some:
            label = f"<title>{_text(pair)}: {v:.4g}</title>"
            parts.append(f"<circle cx={x(v):.1f} cy={y} r=3 fill='{color}'>{label}</circle>")
        if some:
            mean = x(float(np.mean([v for _, v in some])))
            parts.append(f"<path d='M{mean:.1f} {y - 7}v14' stroke='{color}' stroke-width=2 />")
    parts.append(f"<text x={left} y={height - 3}>{low:.4g}</text>")
    parts.append(f"<text x={width - 2} y={height - 3} text-anchor=end>{high:.4g}</text>")
    return f"<svg viewBox='0 0 {width} {height}' width={width}>{''.join(parts)}</svg>"


def _viewer(result: Bench) -> str:
    return (
        "<h2>Pictures</h2><div id=viewer>"
        "<p><label>pair <select id=pair></select></label> "
        "<label>left <select id=left></select></label> "
        "<label>right <select id=right></select></label> "
        "<label>size <select id=zoom><option value=1>100%<option value=2>200%<option value=4>400%"
        "</select></label></p>"
        "<div class=wide><div id=stage><img id=under alt=right><img id=over alt=left>"
        "<div id=edge></div></div></div>"
        "<p class=hint>Move over the picture to wipe between left and right. Below: all of this "
        "pair; a click puts one on the right.</p><div id=strip></div></div>"
        if result.rows
        else ""
    )


def _pictures(result: Bench) -> list[dict[str, Any]]:
    """Each pair with its sources and results, encoded for the page."""
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in result.rows:
        rows[row.dataset, row.pair.name].append(row)
    subfolders = {d.name: d.subfolders for d in result.datasets}
    pictures = []
    for (dataset, name), some in rows.items():
        pair = some[0].pair
        sources = read_sources(pair.files, result.resize_of(dataset))
        images = dict(zip(subfolders[dataset], map(_encoded, map(eight_bit, sources)), strict=True))
        images |= {row.method: _encoded(eight_bit(read_image(row.file))) for row in some}
        pictures.append({"name": f"{dataset} / {name}", "images": images})
    return pictures


def _encoded(array: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "WEBP", quality=WEBP_QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _settings(result: Bench) -> str:
    used = {m.name: m.settings or {"results from": str(m.folder)} for m in result.methods}
    versions = {
        "ddfm": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    lines = "".join(f"<tr><th>{k}</th><td>{_text(v)}</td></tr>" for k, v in versions.items())
    blocks = "".join(
        f"<details><summary>{_text(name)}</summary>"
        f"<pre>{_text(json.dumps(settings, indent=1))}</pre></details>"
        for name, settings in used.items()
    )
    return (
        f"<h2>Settings</h2>{blocks}<h2>Versions</h2><table>{lines}</table>"
        "<p class=hint>Pictures on this page are WebP of high quality at full size; the files "
        "measured lie in the folder <code>fused</code> beside it.</p>"
    )


def _failures(result: Bench) -> str:
    if not result.failures:
        return ""
    lines = "".join(
        f"<tr>{''.join(f'<td>{_text(part)}</td>' for part in failure)}</tr>"
        for failure in result.failures
    )
    return (
        f"<h2>Failed, or in no pair: {len(result.failures)}</h2>"
        "<table class=failed><thead><tr><th>method</th>"
        f"<th>set</th><th>pair</th><th>reason</th></tr></thead><tbody>{lines}</tbody></table>"
    )


def _best(name: str, values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    if len(numbers) < 2:
        return None
    return min(numbers) if name in LOWER_IS_BETTER else max(numbers)


def _cell(value: float | None, form: str = ".4g", best: bool = False) -> str:
    if value is None:
        return "<td data-v=''>–</td>"
    shown = format(value, form)
    return f"<td data-v='{value}'>{f'<b>{shown}</b>' if best else shown}</td>"


def _published() -> Sequence[dict[str, Any]]:
    text = resources.files("ddfm.bench").joinpath("published.json").read_text("utf-8")
    return json.loads(text)["rows"]


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _script(value: object) -> str:
    """JSON that no name in it can break out of."""
    return json.dumps(value).replace("<", "\\u003c")
