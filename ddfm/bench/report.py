"""The report: one page with images, tables, plots and settings, which needs no other file."""

from __future__ import annotations

import base64
import html
import io
import json
import platform
import re
from collections import defaultdict
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ddfm.bench.compare import Comparison
from ddfm.bench.datasets import Dataset
from ddfm.bench.plots import plots
from ddfm.bench.results import Bench, Row
from ddfm.bench.tables import after_degradation, means, published
from ddfm.imaging.picture import eight_bit
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import read_sources
from ddfm.metrics.tables import Table
from ddfm.storage.noted import write_noted
from ddfm.version import __version__

__all__ = ["write_report"]

CHANCE = 0.05  # corrected p-values below it are reported
WEBP_QUALITY = 92  # at full size, a page of all sets still opens in a browser


def write_report(
    result: Bench, summary: dict[str, dict[str, Any]], comparisons: Sequence[Comparison], path: Path
) -> None:
    """Writes the report; takes what `summarise` and `compare` return."""
    parts = [_failures(result), _viewer(result)]
    for dataset in result.datasets:
        parts.append(f"<h2>{_text(dataset.name)}</h2>")
        parts.append(_table(dataset, summary, result))
        parts.append(_differences(dataset, comparisons))
        parts += [_degraded(table) for table in after_degradation(dataset, summary)]
        parts.append(_plots(dataset, result))
    parts.append(_settings(result))
    filled = {"body": "\n".join(parts), "pictures": _script(_pictures(result))}
    template = resources.files("ddfm.bench").joinpath("report.html").read_text("utf-8")
    # In one pass, so that no name of a pair is taken for a placeholder.
    page = re.sub(r"\{\{(\w+)\}\}", lambda place: filled[place[1]], template)
    write_noted(path, page)


def _table(dataset: Dataset, summary: dict[str, dict[str, Any]], result: Bench) -> str:
    """Means over pairs, the best measured ones in bold; below them, published values."""
    table = means(result, dataset, summary)
    return (
        f"<p>Task: {_text(dataset.task)}. Values are means over pairs; those of targets and lights "
        "are over all targets and lights of the set. SSIM has data range "
        f"{result.ssim_range:g}. Bold is the best value, underlined the second best, among "
        "the rows with most pairs. Click a column head to sort. Published rows (in italics) "
        f"are quoted from papers, for the full test set.</p>{_sortable(table, published(dataset))}"
    )


def _sortable(table: Table, printed: Sequence[dict[str, Any]] = ()) -> str:
    """A table as HTML; its `quoted` rows, whose names are in `printed`, come last."""
    heads = "".join(f"<th>{_text(c.name)} {c.arrow}</th>" for c in table.columns)
    lines = [f"<tr><th>{_text(name)}</th>" for name, _ in table.rows]
    lines += [
        f"<tr class=published><th title='{_text(row['source'])}'>{_text(row['method'])}"
        f"<small>{_text(row['source'])}</small></th>"
        for row in printed
    ]
    for c in table.columns:
        places = table.places(c) + [0] * len(table.quoted)
        values = [row.get(c.name) for _, row in (*table.rows, *table.quoted)]
        for k, (value, text) in enumerate(zip(values, table.shown(c), strict=True)):
            lines[k] += _cell(value, text, places[k])
    return (
        "<div class=wide><table class=sortable><thead><tr><th>method</th>"
        f"{heads}</tr></thead><tbody>{''.join(f'{line}</tr>' for line in lines)}</tbody></table>"
        "</div>"
    )


def _differences(dataset: Dataset, comparisons: Sequence[Comparison]) -> str:
    """The differences between methods that are statistically significant."""
    clear: dict[str, list[str]] = defaultdict(list)
    for c in comparisons:
        if c.dataset == dataset.name and c.corrected < CHANCE and c.better:
            other = c.b if c.better == c.a else c.a
            clear[c.metric].append(f"{c.better} better than {other} (p = {c.corrected:.2g})")
    if not clear:
        return ""
    lines = "".join(
        f"<tr><th>{_text(metric)}</th><td>{_text('; '.join(some))}</td></tr>"
        for metric, some in clear.items()
    )
    return (
        "<details><summary>Significant differences</summary><p>Wilcoxon's signed-rank test, pair "
        f"by pair; p is below {CHANCE} after Holm's correction for all pairs of methods. All "
        f"comparisons are in comparisons.csv.</p><table class=clear>{lines}</table>"
        "</details>"
    )


def _degraded(table: Table) -> str:
    """How close fusions of degraded sources are to those of clean ones."""
    return (
        f"<h3>{_text(table.caption)}</h3><p>PSNR and SSIM compare the fusion with that of clean "
        "sources by the same method, with the same tone curve; those of a and b compare the "
        "sources, as they were fused, with the clean ones (SSIM has data range 255). In rows with "
        "“told”, the degradation was specified.</p>"
        f"{_sortable(table)}"
    )


def _plots(dataset: Dataset, result: Bench) -> str:
    """The distributions over pairs."""
    return (
        "<details open><summary>Distributions: one dot per pair, a bar at the mean</summary>"
        f"<div class=plots>{''.join(plots(dataset, result).values())}</div></details>"
    )


def _viewer(result: Bench) -> str:
    return (
        "<h2>Images</h2><div id=viewer>"
        "<p><label>pair <select id=pair></select></label> "
        "<label>left <select id=left></select></label> "
        "<label>right <select id=right></select></label> "
        "<label>size <select id=zoom><option value=1>100%<option value=2>200%<option value=4>400%"
        "</select></label></p>"
        "<div class=wide><div id=stage><img id=under alt=right><img id=over alt=left>"
        "<div id=edge></div></div></div>"
        "<p class=hint>Move the pointer over the image to wipe between left and right. Below are "
        "all images of this pair; click one to show it on the right.</p><div id=strip></div></div>"
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
        "torch": metadata.version("torch"),
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
        "<p class=hint>Images on this page are high-quality WebP at full size; the measured files "
        "are in the folder <code>fused</code> next to it.</p>"
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


def _cell(value: float | None, shown: str, place: int) -> str:
    if not shown:
        return "<td data-v=''>–</td>"
    tag = {0: "{}", 1: "<b>{}</b>", 2: "<u>{}</u>"}[place]
    return f"<td data-v='{value}'>{tag.format(shown)}</td>"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _script(value: object) -> str:
    """JSON for a script element, which no name in it can close."""
    return json.dumps(value).replace("<", "\\u003c")
