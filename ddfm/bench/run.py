"""Fuse and measure: every method on every pair of every set, whatever was done before skipped.

    DIR/fused/METHOD/SET/PAIR.png            results, with a manifest of settings and metrics
    DIR/noise-SIGMA/METHOD/SET/PAIR.png      results of noisy sources
    DIR/report.html, sheets/, plots/, and the tables of `ddfm.bench.tables`

Metrics are those of 8-bit grey images, means are over pairs, and SSIM has data range 2 unless told
otherwise. The noise test adds Gaussian noise of SIGMA grey levels, the same for every method and
run, to all sources, and measures how far their fusion is from that of the clean ones.
"""

from __future__ import annotations

import json
import math
import os
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ddfm.arguments import positive
from ddfm.bench.datasets import Dataset
from ddfm.bench.methods import Fuse, Method
from ddfm.bench.plots import plot_names, write_plots
from ddfm.bench.report import write_report
from ddfm.bench.results import Bench, Row, level
from ddfm.bench.sheets import write_sheets
from ddfm.bench.tables import TABLES, write_tables
from ddfm.errors import DdfmError, InputError, printable, why_failed
from ddfm.imaging.files import read_image, write_image
from ddfm.imaging.pairing import Pair
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import read_sources
from ddfm.metrics import as_grey, evaluate, known_metrics, psnr, ssim
from ddfm.storage.files import make_folder
from ddfm.storage.manifest import Manifest, sources_entry
from ddfm.storage.noted import check_noted
from ddfm.storage.ours import check_no_source, check_ours, protecting
from ddfm.version import __version__

__all__ = ["bench"]

REPORT = "report.html"


def bench(
    datasets: Sequence[Dataset],
    methods: Sequence[Method],
    out: Path,
    *,
    ssim_range: float = 2.0,
    noise: Sequence[float] = (),
    columns: Sequence[str] | None = None,
    progress: bool | None = None,
) -> Bench:
    """Runs all methods on all sets, and writes tables, report, plots and contact sheets into `out`.

    Args:
        columns: the metrics of the tables for papers.
    """
    columns = columns and known_metrics(columns)
    positive("ssim_range (--ssim-range)", ssim_range)
    _check_names("set", [d.name for d in datasets])
    _check_names("method", [m.name for m in methods])
    levels = tuple({level(sigma): sigma for sigma in noise}.values())  # each once
    result = Bench(list(datasets), list(methods), ssim_range, levels)
    for dataset in datasets:
        result.failures += [("", dataset.name, n, why) for n, why in dataset.problems.items()]
    sources = [path for dataset in datasets for pair in dataset.pairs for path in pair.files]
    others = [file for method in methods for file in method.files()]
    with protecting(*sources, *others):
        made = _made(result)
        _check_outputs(result, out)
        _run(result, made, out, progress)
        write_tables(result, out, columns)
        write_report(result, out / REPORT)
        write_plots(result, out / "plots")
        write_sheets(result, out / "sheets")
    return result


def _check_outputs(result: Bench, out: Path) -> None:
    """Raise where a file of the run would replace a source, or somebody else's."""
    make_folder(out)
    for name in (*TABLES, REPORT):
        check_noted(out / name)
    for dataset in result.datasets:
        for name in plot_names(dataset):
            check_noted(out / "plots" / dataset.name / name)
    for method in result.methods:
        for dataset in result.datasets:
            check_ours(out / "sheets" / method.name / f"{dataset.name}.jpg")
            for folder in [_folder(out, sigma, method, dataset) for sigma in (0.0, *result.noise)]:
                for pair in dataset.pairs:
                    check_no_source(folder / f"{pair.name}.png")


def _run(
    result: Bench, made: dict[tuple[str, str], Fuse], out: Path, progress: bool | None
) -> None:
    """All methods on all sets."""
    methods, datasets = result.methods, result.datasets
    total = len(methods) * sum(len(d.pairs) for d in datasets)
    disable = None if progress is None else not progress
    with tqdm(total=total, unit="pair", disable=disable, leave=False) as bar:
        for method in methods:
            for dataset in datasets:
                bar.set_description(printable(f"{method.name}, {dataset.name}"))
                _run_set(method, dataset, out, result, made.get((method.name, dataset.name)), bar)


def _made(result: Bench) -> dict[tuple[str, str], Fuse]:
    """What fuses, by method and set: all of it first, so that a wrong setting costs no work."""
    made: dict[tuple[str, str], Fuse] = {}
    for method in result.methods:
        for dataset in result.datasets:
            if method.make is None:
                continue
            number = len(dataset.subfolders)
            fuse, method.settings[dataset.name] = method.make(dataset.task, number)
            made[method.name, dataset.name] = fuse
    return made


def _folder(out: Path, sigma: float, method: Method, dataset: Dataset) -> Path:
    """Where results are, of clean sources, or of noisy ones."""
    return out / (f"noise-{level(sigma)}" if sigma else "fused") / method.name / dataset.name


def _run_set(
    method: Method, dataset: Dataset, out: Path, result: Bench, fuse: Fuse | None, bar: tqdm
) -> None:
    # A baseline, or somebody else, takes sources of the size that those beside it take.
    settings = {"resize": result.resize_of(dataset.name)} | method.settings.get(dataset.name, {})
    with ExitStack() as opened:
        manifests: dict[float, Manifest] = {}
        for sigma in (0.0, *result.noise) if fuse is not None else ():
            manifest = Manifest(_folder(out, sigma, method, dataset))
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
    measure = _against_sources(pictures, dataset.task, result.ssim_range)
    if fuse is None:
        file = method.result(dataset.name, pair.name)
        return Row(method.name, dataset.name, pair, file, None, measure.values(file))
    entry = _fused(manifests[0.0], pair, pictures, fuse, settings, measure)
    file = manifests[0.0].folder / entry["output"]
    row = Row(method.name, dataset.name, pair, file, entry["seconds"], _metrics(entry))
    clean = _against_clean(file, entry["sha256"])
    for sigma in result.noise:
        noisy = tuple(_noisy(picture, sigma, pair.name, k) for k, picture in enumerate(pictures))
        with_noise = settings | {"noise": sigma}
        row.noise[level(sigma)] = _metrics(
            _fused(manifests[sigma], pair, noisy, fuse, with_noise, clean)
        )
    return row


@dataclass(frozen=True)
class Measure:
    """What is measured of a result, and all that its values depend on beside the pictures."""

    how: dict[str, Any]
    values: Callable[[Path], dict[str, float]]

    def entry(self, file: Path) -> dict[str, Any]:
        """For the manifest. JSON has no infinite PSNR, and no share of no targets."""
        values = self.values(file).items()
        return {
            "measured": self.how,
            "metrics": {name: v if math.isfinite(v) else str(v) for name, v in values},
        }


def _metrics(entry: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in entry["metrics"].items()}


def _against_sources(pictures: tuple[Picture, ...], task: str, ssim_range: float) -> Measure:
    def values(file: Path) -> dict[str, float]:
        greys = [as_grey(picture) for picture in (read_image(file), *pictures)]
        return evaluate(*greys, ssim_range=ssim_range, task=task)

    return Measure({"version": __version__, "task": task, "ssim_range": ssim_range}, values)


def _against_clean(clean: Path, digest: str) -> Measure:
    """How near the fusion of noisy sources is to that of clean ones."""

    def values(file: Path) -> dict[str, float]:
        fused, target = as_grey(file), as_grey(clean)
        return {
            "PSNR": psnr(fused, target, peak=255),
            "SSIM": ssim(fused, target, data_range=255),
        }

    return Measure({"version": __version__, "clean": digest}, values)


def _fused(
    manifest: Manifest,
    pair: Pair,
    pictures: tuple[Picture, ...],
    fuse: Fuse,
    settings: dict[str, Any],
    measure: Measure,
) -> dict[str, Any]:
    """The line of the result in the manifest: its seconds and metrics, of now or an earlier run."""
    output = f"{pair.name}.png"
    wanted = json.loads(json.dumps({"sources": sources_entry(pair.files), "settings": settings}))
    entry = manifest.get(output)
    if entry is None or {key: entry.get(key) for key in wanted} != wanted:
        begin = time.perf_counter()
        fused = fuse(*pictures)
        entry = wanted | {"seconds": round(time.perf_counter() - begin, 4)}
        with manifest.adding(output, entry) as temporary:
            write_image(temporary, fused.pixels, replace(fused, range=None), None)
            with suppress(DdfmError):  # what cannot be measured is a result all the same
                entry |= measure.entry(temporary)
        entry = manifest.entries[output]
    if entry.get("measured") != measure.how:
        entry = entry | measure.entry(manifest.folder / output)
    return entry


def _noisy(picture: Picture, sigma: float, name: str, which: int) -> Picture:
    """Noise that depends on the pair's name and the source alone."""
    rng = np.random.default_rng([zlib.crc32(os.fsencode(name)), which])
    noise = rng.standard_normal(picture.pixels.shape, np.float32)
    return replace(picture, pixels=np.clip(picture.pixels + noise * (sigma / 255), 0, 1))


def _check_names(kind: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two of one name: {kind} {name}; rename one")
        if not name or name in (".", "..") or "/" in name or "\\" in name:
            raise InputError(f"{kind} {name!r}: a name becomes a folder, so it has no slashes")
