"""Fuse and measure: every method on every pair of every set, whatever was done before skipped.

    DIR/fused/METHOD/SET/PAIR.png            results, with a manifest of settings and metrics
    DIR/noise-SIGMA/METHOD/SET/PAIR.png      results of noisy sources
    DIR/report.html, sheets/, plots/, and the tables of `ddfm.bench.tables`

Metrics are those of 8-bit grey images, means are over pairs, and SSIM has data range 2 unless told
otherwise. The noise test adds Gaussian noise of SIGMA grey levels, the same for every method and
run, to all sources, and measures how far their fusion is from that of the clean ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddfm.arguments import positive
from ddfm.bench.datasets import Dataset
from ddfm.bench.methods import Fuse, Method
from ddfm.bench.pairs import PairWork, against_clean, against_sources, fuse_pairs, metrics_of
from ddfm.bench.plots import write_plots
from ddfm.bench.report import write_report
from ddfm.bench.results import Bench, Row, level
from ddfm.bench.sheets import write_sheets
from ddfm.bench.tables import write_tables
from ddfm.errors import DdfmError, why_failed
from ddfm.imaging.sources import read_sources
from ddfm.metrics import known_metrics
from ddfm.progress import progress_bar
from ddfm.storage.manifest import Entry

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["bench"]


def bench(
    datasets: Sequence[Dataset],
    methods: Sequence[Method],
    out: Path,
    *,
    ssim_range: float = 2.0,
    noise: Sequence[float] = (),
    columns: Sequence[str] | None = None,
    verify: bool = False,
    progress: bool | None = None,
) -> Bench:
    """Runs all methods on all sets, and writes tables, report, plots and contact sheets into `out`.

    Args:
        columns: the metrics of the tables for papers.
        verify: whether what was done before is known by what is in the files, where their sizes and
            the times of their last change would do.
    """
    columns = columns and known_metrics(columns)
    positive("ssim_range (--ssim-range)", ssim_range)
    _check_names("set", [d.name for d in datasets])
    _check_names("method", [m.name for m in methods])
    result = Bench(list(datasets), list(methods), ssim_range, tuple(noise))
    for dataset in datasets:
        result.failures += [("", dataset.name, n, why) for n, why in dataset.problems.items()]
    made = _made(result)
    _make_folder(out)
    pairs = sum(len(d.pairs) for d in datasets)
    total = pairs * sum(1 if method.make is None else 1 + len(noise) for method in methods)
    with progress_bar(progress, total=total, unit="pair") as bar:
        for method in methods:
            for dataset in datasets:
                bar.set_description(f"{method.name}, {dataset.name}")
                fuse = made.get((method.name, dataset.name))
                if fuse is None:
                    _measure_others(method, dataset, result, bar)
                else:
                    _run_set(method, dataset, fuse, result, out, verify, bar)
    write_tables(result, out, columns)
    write_report(result, out / "report.html")
    write_plots(result, out / "plots")
    write_sheets(result, out / "sheets")
    return result


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


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DdfmError(f"cannot make the folder {out}: {error.strerror or error}") from None


def _run_set(
    method: Method,
    dataset: Dataset,
    fuse: Fuse,
    result: Bench,
    out: Path,
    verify: bool,
    bar: tqdm[Any],
) -> None:
    """One method on one set; with noise, too, whatever was possible without."""
    settings, place = _settings(method, dataset, result), Path(method.name) / dataset.name
    measure = against_sources(dataset.task, result.ssim_range)
    work = PairWork(fuse, settings, lambda pair: measure)
    folder = out / "fused" / place
    entries, failed = fuse_pairs(dataset.pairs, work, folder, verify, bar)
    pairs = [pair for pair in dataset.pairs if pair.name in entries]
    clean = {name: (folder / e["output"], e["sha256"]) for name, e in entries.items()}
    noise: dict[str, dict[str, dict[str, float]]] = {pair.name: {} for pair in pairs}
    for sigma in result.noise:
        noisy = settings | {"noise": sigma}
        work = PairWork(fuse, noisy, lambda pair: against_clean(*clean[pair.name]))
        folder = out / f"noise-{level(sigma)}" / place
        of_noise, failed_too = fuse_pairs(pairs, work, folder, verify, bar)
        failed |= failed_too
        for name, entry in of_noise.items():
            noise[name][level(sigma)] = metrics_of(entry)
    result.failures += [(method.name, dataset.name, *why) for why in failed.items()]
    for pair in pairs:
        if pair.name not in failed:
            file, entry = clean[pair.name][0], entries[pair.name]
            row = method.name, dataset.name, pair, file, entry.get("seconds"), metrics_of(entry)
            result.rows.append(Row(*row, noise[pair.name]))


def _measure_others(method: Method, dataset: Dataset, result: Bench, bar: tqdm[Any]) -> None:
    """What somebody else's method has made of a set."""
    resize = _settings(method, dataset, result)["resize"]
    measure = against_sources(dataset.task, result.ssim_range)
    for pair in dataset.pairs:
        try:
            file = method.result(dataset.name, pair.name)
            values = measure.values(file, read_sources(pair.files, resize))
            result.rows.append(Row(method.name, dataset.name, pair, file, None, values))
        except (DdfmError, MemoryError, RuntimeError) as error:
            result.failures.append((method.name, dataset.name, pair.name, why_failed(error)))
        bar.update()


def _settings(method: Method, dataset: Dataset, result: Bench) -> Entry:
    """A baseline, or somebody else, takes sources of the size that those beside it take."""
    return {"resize": result.resize_of(dataset.name)} | method.settings.get(dataset.name, {})


def _check_names(kind: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DdfmError(f"two of one name: {kind} {name}; rename one")
        if not name or name in (".", "..") or "/" in name or "\\" in name:
            raise DdfmError(f"{kind} {name!r}: a name becomes a folder, so it has no slashes")
