"""Fuses and measures every pair of every set with every method; skips what is done.

    DIR/fused/METHOD/SET/PAIR.png            results, with a manifest of settings and metrics
    DIR/degraded/WHAT/METHOD/SET/PAIR.png    results of degraded sources, see `degraded`
    DIR/report.html, sheets/, plots/, and the tables of `ddfm.bench.tables`

Metrics are those of 8-bit grey images, means are over pairs, and SSIM has data range 2 by default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddfm.arguments import positive
from ddfm.bench.compare import compare
from ddfm.bench.datasets import Dataset
from ddfm.bench.degrade import Degradation
from ddfm.bench.degraded import Clean, DegradedWork, row_name, ways
from ddfm.bench.methods import Fuse, Method
from ddfm.bench.pairs import CleanWork, Measure, fuse_pairs, metrics_of
from ddfm.bench.plots import plot_names, write_plots
from ddfm.bench.report import write_report
from ddfm.bench.results import Bench, Row, summarise
from ddfm.bench.sheets import write_sheets
from ddfm.bench.tables import TABLES, write_tables
from ddfm.errors import DdfmError, InputError, printable, why_failed
from ddfm.imaging.pairing import Pair, results_in
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import read_sources
from ddfm.metrics import as_grey, found_metrics
from ddfm.metrics.own import Own
from ddfm.progress import lines_where_no_bar_is, progress_bar
from ddfm.storage.files import make_folder
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import Shard
from ddfm.storage.noted import check_noted
from ddfm.storage.ours import check_no_source, check_ours, protecting
from ddfm.storage.outputs import check_apart

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["bench"]

REPORT = "report.html"


def bench(
    datasets: Sequence[Dataset],
    methods: Sequence[Method],
    out: Path,
    *,
    ssim_range: float = 2.0,
    degrade: Sequence[Degradation] = (),
    classical: bool = False,
    columns: Sequence[str] | None = None,
    also_metrics: Sequence[str | Callable[..., Any]] = (),
    verify: bool = False,
    shard: Shard | None = None,
    progress: bool | None = None,
    lines: bool = False,
) -> Bench:
    """Runs all methods on all sets, and writes tables, report, plots and contact sheets into `out`.

    Args:
        datasets: the sets of pairs.
        methods: the methods to compare.
        out: the folder for everything that is written.
        ssim_range: the data range of SSIM.
        degrade: degradations of the sources, after which they are fused as well.
        classical: whether degraded sources are also fused after classical restoration.
        columns: the metrics of the tables for papers; None is those usual in papers, and
            `also_metrics`.
        also_metrics: more metrics: functions `(fused, *sources) -> float` of grey arrays (H, W),
            or names of those that other packages provide. They are measured anew in each run.
        verify: whether to compare the contents of files, not just sizes and times, to recognise
            finished work.
        shard: the part of the pairs that this process fuses and measures while others do the rest;
            a run without it then finds everything done, and writes the report.
        progress: whether to show a progress bar; None shows one on a terminal.
        lines: whether to print a line for each finished pair where there is no terminal.
    """
    own = {name: one for name, one in found_metrics(also_metrics).items() if one is not None}
    columns = columns and _columns(columns, own)
    positive("ssim_range (--ssim-range)", ssim_range)
    _check_names("set", [d.name for d in datasets])
    _check_names("method", [m.name for m in methods])
    for method in methods:
        if method.folder is not None:
            _check_of_one_set(method, datasets)
    degradations = tuple({one.name: one for one in degrade}.values())  # without repetitions
    for what in degradations:
        for dataset in datasets:
            what.check(dataset.name, len(dataset.subfolders))
    if shard is not None:
        datasets = [_part(dataset, shard) for dataset in datasets]
        methods = [method for method in methods if method.make is not None]
    result = Bench(list(datasets), list(methods), ssim_range, degradations, classical, own)
    for dataset in datasets:
        result.failures += [("", dataset.name, n, why) for n, why in dataset.problems.items()]
    sources = [path for dataset in datasets for pair in dataset.pairs for path in pair.files]
    others = [file for method in methods for file in method.files()]
    check_apart(out, *sorted({source.parent for source in sources}))
    with protecting(*sources, *others):
        running = _Run(result, out, _made(result), verify, shard)
        running.check_outputs()
        draw = lines_where_no_bar_is if lines else progress_bar
        with draw(progress, total=running.total, unit="pair") as bar:
            running.all_sets(bar)
        if shard is None:
            _write_all(result, out, columns)
    return result


def _columns(names: Sequence[str], own: Mapping[str, Own]) -> list[str]:
    """The columns of the tables for papers, which must be measured."""
    found = found_metrics([own.get(name, name) for name in names])
    if other := [name for name, one in found.items() if one is not None and name not in own]:
        raise InputError(f"the column {other[0]} is not measured; name it in --also-metrics, too")
    return list(found)


def _write_all(result: Bench, out: Path, columns: Sequence[str] | None) -> None:
    """Writes tables, report, plots and contact sheets."""
    summary, comparisons = summarise(result), compare(result)
    write_tables(result, summary, comparisons, out, columns)
    write_report(result, summary, comparisons, out / REPORT)
    write_plots(result, out / "plots")
    write_sheets(result, out / "sheets")


def _part(dataset: Dataset, shard: Shard) -> Dataset:
    return replace(dataset, pairs=list(shard.part(dataset.pairs)))


def _made(result: Bench) -> dict[tuple[str, str], Fuse]:
    """What fuses, by method and set; made first, so that wrong settings fail before any work."""
    made: dict[tuple[str, str], Fuse] = {}
    for method in result.methods:
        for dataset in result.datasets:
            if method.make is None:
                continue
            number = len(dataset.subfolders)
            fuse, method.settings[dataset.name] = method.make(dataset.task, number)
            made[method.name, dataset.name] = fuse
    return made


@dataclass(frozen=True)
class _Run:
    """Runs a benchmark: values go into `result`, fused images into folders below `out`."""

    result: Bench
    out: Path
    made: dict[tuple[str, str], Fuse]
    verify: bool
    shard: Shard | None

    @property
    def total(self) -> int:
        """How many fusions and measurements there are in all, for the progress bar."""
        pairs = sum(len(dataset.pairs) for dataset in self.result.datasets)
        return pairs * sum(1 + len(self._rows(method)) for method in self.result.methods)

    def check_outputs(self) -> None:
        """Raise if an output would replace a source, or a file that ddfm did not write."""
        make_folder(self.out)
        for name in (*TABLES, REPORT):
            check_noted(self.out / name)
        for dataset in self.result.datasets:
            for name in plot_names(dataset, self.result):
                check_noted(self.out / "plots" / dataset.name / name)
        for method in self.result.methods:
            for dataset in self.result.datasets:
                check_ours(self.out / "sheets" / method.name / f"{dataset.name}.jpg")
                rows = self._rows(method)
                degraded = [self._folder(what, way, method, dataset) for what, way in rows]
                for folder in (self._clean_folder(method, dataset), *degraded):
                    for pair in dataset.pairs:
                        check_no_source(folder / f"{pair.name}.png")

    def all_sets(self, bar: tqdm[Any]) -> None:
        """Runs all methods on all sets."""
        for method in self.result.methods:
            for dataset in self.result.datasets:
                bar.set_description(printable(f"{method.name}, {dataset.name}"))
                fuse = self.made.get((method.name, dataset.name))
                if fuse is None:
                    self._measure_others(method, dataset, bar)
                else:
                    self._fuse_set(method, dataset, fuse, bar)

    def _fuse_set(self, method: Method, dataset: Dataset, fuse: Fuse, bar: tqdm[Any]) -> None:
        """Runs one method on one set: clean sources, then, if they succeed, degraded ones."""
        settings = self._settings(method, dataset)
        work = CleanWork(fuse, settings, Measure(dataset.task, self.result.ssim_range))
        folder = self._clean_folder(method, dataset)
        how = self.verify, bar, self.shard
        entries, failed = fuse_pairs(dataset.pairs, work, folder, *how)
        pairs = [pair for pair in dataset.pairs if pair.name in entries]
        files = {name: (folder / e["output"], e["sha256"]) for name, e in entries.items()}
        clean = Clean(files)
        degraded: dict[str, dict[str, dict[str, dict[str, float]]]] = {p.name: {} for p in pairs}
        for what, way in self._rows(method):
            some = DegradedWork(fuse, settings, what, way, clean)
            place = self._folder(what, way, method, dataset)
            found, failed_too = fuse_pairs(pairs, some, place, *how)
            failed |= failed_too
            for name, entry in found.items():
                degraded[name].setdefault(what.name, {})[way] = _values(entry, place)
        self.result.failures += [(method.name, dataset.name, *why) for why in failed.items()]
        for pair in pairs:
            if pair.name not in failed:
                file, entry = files[pair.name][0], entries[pair.name]
                values = metrics_of(entry) | self._own(method, dataset, pair, file)
                row = Row(
                    method.name,
                    dataset.name,
                    pair,
                    file,
                    entry.get("seconds"),
                    values,
                    degraded[pair.name],
                )
                self.result.rows.append(row)

    def _measure_others(self, method: Method, dataset: Dataset, bar: tqdm[Any]) -> None:
        """Measures results made elsewhere on a set."""
        resize = self._settings(method, dataset)["resize"]
        measure = Measure(dataset.task, self.result.ssim_range)
        find = method.results(dataset.name)
        for pair in dataset.pairs:
            try:
                file = find(pair.name)
                values = measure.values(file, read_sources(pair.files, resize))
                values |= self._own(method, dataset, pair, file)
                self.result.rows.append(Row(method.name, dataset.name, pair, file, None, values))
            except (DdfmError, MemoryError, RuntimeError) as error:
                why = why_failed(error)
                self.result.failures.append((method.name, dataset.name, pair.name, why))
            bar.update()

    def _own(self, method: Method, dataset: Dataset, pair: Pair, file: Path) -> dict[str, float]:
        """The values of metrics that are not ddfm's; NaN, and a failure, if one of them fails.

        No manifest keeps them: their code may have changed since the last run.
        """
        if not self.result.own or self.shard is not None:
            return {}
        sources = read_sources(pair.files, self._settings(method, dataset)["resize"])
        greys = [as_grey(picture) for picture in (read_image(file), *sources)]
        values = {}
        for name, metric in self.result.own.items():
            try:
                values[name] = metric(*greys)
            except InputError as error:
                values[name] = math.nan
                self.result.failures.append((method.name, dataset.name, pair.name, str(error)))
        return values

    def _settings(self, method: Method, dataset: Dataset) -> Entry:
        """The settings of a method; if it has none, sources are resized as for the others."""
        resize = {"resize": self.result.resize_of(dataset.name)}
        return resize | method.settings.get(dataset.name, {})

    def _rows(self, method: Method) -> list[tuple[Degradation, str]]:
        """Each degradation with each way to fuse after it (see `ways`)."""
        if method.make is None:
            return []
        classical = self.result.classical
        both = ((what, ways(what, method, classical)) for what in self.result.degradations)
        return [(what, way) for what, some in both for way in some]

    def _clean_folder(self, method: Method, dataset: Dataset) -> Path:
        return self.out / "fused" / method.name / dataset.name

    def _folder(self, what: Degradation, way: str, method: Method, dataset: Dataset) -> Path:
        name = row_name(method.name, way)
        return self.out / "degraded" / what.name / name / dataset.name


def _values(entry: Entry, folder: Path) -> dict[str, float]:
    """The metrics and seconds of a degraded pair, from its entry."""
    try:
        return metrics_of(entry) | {"seconds": entry["seconds"]}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{folder}: its manifest is damaged; remove this folder") from None


def _check_names(kind: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two {kind}s have the same name, {name}; rename one")
        if not name or name in (".", "..") or "/" in name or "\\" in name:
            raise InputError(
                f"{kind} {name!r}: the name is used for a folder, so it must not be empty or have "
                "slashes"
            )


def _check_of_one_set(method: Method, datasets: Sequence[Dataset]) -> None:
    """Refuses a result made elsewhere that would be measured as that of pairs of two sets."""
    taken: dict[Path, str] = {}
    for dataset in datasets:
        results = results_in(method.results_of(dataset.name))
        for pair in dataset.pairs:
            for file in results.get(pair.name, []):
                first = taken.setdefault(file, dataset.name)
                if first != dataset.name:
                    raise InputError(
                        f"{file} may be a result of {first} or of {dataset.name}, which both have "
                        f"a pair {pair.name}; put the results of each set into a folder of its "
                        f"own, such as {method.folder}/{first}"
                    )
