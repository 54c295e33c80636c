"""Fuse and measure: every method on every pair of every set, whatever was done before skipped.

    DIR/fused/METHOD/SET/PAIR.png            results, with a manifest of settings and metrics
    DIR/noise-SIGMA/METHOD/SET/PAIR.png      results of noisy sources
    DIR/results.csv, summary.json, failures.csv, report.html

Metrics are those of 8-bit grey images, means are over pairs, and SSIM has data range 2 unless told
otherwise. The noise test adds Gaussian noise of SIGMA grey levels, the same for every method and
run, to all sources, and measures how far their fusion is from that of the clean ones.
"""

from __future__ import annotations

import csv
import json
import math
import time
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ddfm.bench.datasets import Dataset
from ddfm.bench.methods import Fuse, Method
from ddfm.errors import DdfmError, why_failed
from ddfm.imaging.files import read_image, write_image
from ddfm.imaging.pairing import Pair
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import read_sources
from ddfm.metrics import METRICS, as_grey, evaluate, psnr, ssim
from ddfm.storage.atomic import atomic_path
from ddfm.storage.manifest import Manifest, sources_entry

__all__ = ["Bench", "Row", "bench", "summarise"]

NOISE_METRICS = ("PSNR", "SSIM")


@dataclass(frozen=True)
class Row:
    """A pair as one method fused it; `noise` has PSNR and SSIM by standard deviation."""

    method: str
    dataset: str
    pair: Pair
    file: Path
    seconds: float | None
    metrics: dict[str, float]
    noise: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class Bench:
    """All results, and what failed: (method, set, pair, reason).

    Files that are in no pair are there too, with an empty name for the method.
    """

    datasets: list[Dataset]
    methods: list[Method]
    ssim_range: float
    noise: tuple[float, ...]
    rows: list[Row] = field(default_factory=list)
    failures: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every pair could be fused and measured. Files in no pair are no pair."""
        return not any(method for method, *_ in self.failures)

    def of(self, method: Method, dataset: Dataset) -> list[Row]:
        """What one method made of one set."""
        return [r for r in self.rows if (r.method, r.dataset) == (method.name, dataset.name)]

    def resize_of(self, dataset: str) -> str:
        """How the sources of a set were brought to one size."""
        used = (m.settings.get(dataset, {}).get("resize", "error") for m in self.methods)
        return next((resize for resize in used if resize != "error"), "error")


def bench(
    datasets: Sequence[Dataset],
    methods: Sequence[Method],
    out: Path,
    *,
    ssim_range: float = 2.0,
    noise: Sequence[float] = (),
    progress: bool | None = None,
) -> Bench:
    """Runs all methods on all sets, and writes tables, report and contact sheets into `out`."""
    from ddfm.bench.report import write_report
    from ddfm.bench.sheets import write_sheets

    _check_names("set", [d.name for d in datasets])
    _check_names("method", [m.name for m in methods])
    result = Bench(list(datasets), list(methods), ssim_range, tuple(noise))
    for dataset in datasets:
        result.failures += [("", dataset.name, n, why) for n, why in dataset.problems.items()]
    made = _made(result)
    _make_folder(out)
    total = len(methods) * sum(len(d.pairs) for d in datasets)
    disable = None if progress is None else not progress
    with tqdm(total=total, unit="pair", disable=disable, leave=False) as bar:
        for method in methods:
            for dataset in datasets:
                bar.set_description(f"{method.name}, {dataset.name}")
                _run_set(method, dataset, out, result, made.get((method.name, dataset.name)), bar)
    _write_tables(result, out)
    write_report(result, out / "report.html")
    write_sheets(result, out / "sheets")
    return result


def summarise(result: Bench) -> dict[str, dict[str, Any]]:
    """{method: {set: {"pairs": n, "seconds_per_pair": s, "metrics": {name: mean}}}}."""
    summary: dict[str, dict[str, Any]] = {m.name: {} for m in result.methods}
    for method in result.methods:
        for dataset in result.datasets:
            rows = result.of(method, dataset)
            if not rows:
                continue
            entry: dict[str, Any] = {
                "pairs": len(rows),
                "seconds_per_pair": _mean([r.seconds for r in rows]),
                "metrics": {name: _mean([r.metrics.get(name) for r in rows]) for name in METRICS},
            }
            noisy = {
                level: {
                    name: _mean([r.noise[level][name] for r in rows if level in r.noise])
                    for name in NOISE_METRICS
                }
                for level in map(_level, result.noise)
                if any(level in r.noise for r in rows)
            }
            summary[method.name][dataset.name] = entry | ({"noise": noisy} if noisy else {})
    return summary


def _made(result: Bench) -> dict[tuple[str, str], Fuse]:
    """What fuses, by method and set: all of it first, so that a wrong setting costs no work."""
    made: dict[tuple[str, str], Fuse] = {}
    for method in result.methods:
        for dataset in result.datasets if method.make is not None else ():
            number = len(dataset.subfolders)
            fuse, method.settings[dataset.name] = method.make(dataset.task, number)
            made[method.name, dataset.name] = fuse
    return made


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DdfmError(f"cannot make the folder {out}: {error.strerror or error}") from None


def _run_set(
    method: Method, dataset: Dataset, out: Path, result: Bench, fuse: Fuse | None, bar: tqdm
) -> None:
    # A baseline, or somebody else, takes sources of the size that those beside it take.
    settings = {"resize": result.resize_of(dataset.name)} | method.settings.get(dataset.name, {})
    with ExitStack() as opened:
        manifests: dict[float, Manifest] = {}
        for sigma in (0.0, *result.noise) if fuse is not None else ():
            kind = f"noise-{_level(sigma)}" if sigma else "fused"
            manifest = Manifest(out / kind / method.name / dataset.name)
            manifests[sigma] = opened.enter_context(manifest)
        for pair in dataset.pairs:
            try:
                row = _run_pair(method, dataset, pair, result, fuse, settings, manifests)
                result.rows.append(row)
            except (DdfmError, MemoryError, RuntimeError) as error:
                why = why_failed(error)
                result.failures.append((method.name, dataset.name, pair.name, why))
            bar.update()


def _run_pair(
    method: Method,
    dataset: Dataset,
    pair: Pair,
    result: Bench,
    fuse: Fuse | None,
    settings: dict[str, Any],
    manifests: dict[float, Manifest],
) -> Row:
    """One result: somebody else's file, or fused here, with its entry in a manifest by noise."""
    pictures = read_sources(pair.files, settings["resize"])
    seconds = None
    if fuse is None:
        file = method.result(dataset.name, pair.name)
    else:
        file, seconds = _fused(manifests[0.0], pair, pictures, fuse, settings)
    greys = [as_grey(picture) for picture in (read_image(file), *pictures)]
    values = evaluate(*greys, ssim_range=result.ssim_range)
    row = Row(method.name, dataset.name, pair, file, seconds, values)
    for sigma in result.noise if fuse is not None else ():
        noisy = tuple(_noisy(picture, sigma, pair.name, k) for k, picture in enumerate(pictures))
        file, _ = _fused(manifests[sigma], pair, noisy, fuse, settings | {"noise": sigma})
        other = as_grey(file)
        row.noise[_level(sigma)] = {
            "PSNR": psnr(other, greys[0], peak=255),
            "SSIM": ssim(other, greys[0], data_range=255),
        }
    return row


def _fused(
    manifest: Manifest,
    pair: Pair,
    pictures: tuple[Picture, ...],
    fuse: Fuse,
    settings: dict[str, Any],
) -> tuple[Path, float]:
    """The file of the result and the seconds it took, now or in an earlier run."""
    output = f"{pair.name}.png"
    wanted = json.loads(json.dumps({"sources": sources_entry(pair.files), "settings": settings}))
    entry = manifest.get(output)
    if entry is None or {key: entry.get(key) for key in wanted} != wanted:
        begin = time.perf_counter()
        fused = fuse(*pictures)
        entry = wanted | {"seconds": round(time.perf_counter() - begin, 4)}
        with manifest.adding(output, entry) as temporary:
            write_image(temporary, fused.pixels, replace(fused, range=None), None)
    return manifest.folder / output, entry["seconds"]


def _noisy(picture: Picture, sigma: float, name: str, which: int) -> Picture:
    """Noise that depends on the pair's name and the source alone."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), which])
    noise = rng.standard_normal(picture.pixels.shape, np.float32)
    return replace(picture, pixels=np.clip(picture.pixels + noise * (sigma / 255), 0, 1))


def _check_names(kind: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DdfmError(f"two of one name: {kind} {name}; rename one")
        if not name or name in (".", "..") or "/" in name or "\\" in name:
            raise DdfmError(f"{kind} {name!r}: a name becomes a folder, so it has no slashes")


def _level(sigma: float) -> str:
    return f"{sigma:g}"


def _mean(values: Sequence[float | None]) -> float | None:
    """None where JSON has no number for it."""
    numbers = [value for value in values if value is not None]
    mean = float(np.mean(numbers)) if numbers else math.nan
    return mean if math.isfinite(mean) else None


def _write_tables(result: Bench, out: Path) -> None:
    noise = [(_level(s), name) for s in result.noise for name in NOISE_METRICS]
    head = ["configuration", "set", "pair", "seconds", *METRICS]
    lines = [
        [r.method, r.dataset, r.pair.name, "" if r.seconds is None else r.seconds]
        + [r.metrics.get(name, "") for name in METRICS]  # SCD is of two sources
        + [r.noise.get(level, {}).get(name, "") for level, name in noise]
        for r in result.rows
    ]
    _write_csv(out / "results.csv", head + [f"noise {s}: {name}" for s, name in noise], lines)
    _write_csv(out / "failures.csv", ["configuration", "set", "pair", "reason"], result.failures)
    with atomic_path(out / "summary.json") as temporary:
        temporary.write_text(json.dumps(summarise(result), indent=1) + "\n", encoding="utf-8")


def _write_csv(path: Path, head: Sequence[str], lines: Sequence[Sequence[Any]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(lines)
