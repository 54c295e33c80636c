"""Fuses the pairs of a set by one method, and keeps what is measured in a manifest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ddfm.bench.methods import Fuse, warm_up
from ddfm.errors import DdfmError, InputError, why_failed
from ddfm.imaging.pairing import Pair
from ddfm.imaging.picture import Picture
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import read_sources
from ddfm.imaging.writing import write_image
from ddfm.metrics import as_grey, evaluate
from ddfm.pipeline.runner import FolderSink, InTurn, Item, Made, Work, check_outputs, run
from ddfm.storage.checksum import KnownFile
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import Manifest, Shard, as_json
from ddfm.version import __version__

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["CleanWork", "Measure", "as_metrics", "fuse_pairs", "metrics_of"]

Pictures = tuple[Picture, ...]


@dataclass(frozen=True)
class Measure:
    """Measures a result by all metrics, against its sources."""

    task: str
    ssim_range: float

    @property
    def how(self) -> Entry:
        """Everything that the values depend on but the result and its sources."""
        return {"version": __version__, "task": self.task, "ssim_range": self.ssim_range}

    def values(self, file: Path, sources: Pictures) -> dict[str, float]:
        greys = [as_grey(picture) for picture in (read_image(file), *sources)]
        return evaluate(*greys, ssim_range=self.ssim_range, task=self.task)

    def entry(self, file: Path, sources: Pictures) -> Entry:
        """The measured values, for the manifest."""
        return {"measured": self.how} | as_metrics(self.values(file, sources))


def as_metrics(values: dict[str, float]) -> Entry:
    """Metrics for a manifest. JSON has neither an infinite PSNR nor NaN, so these become text."""
    finite = {name: v if math.isfinite(v) else str(v) for name, v in values.items()}
    return {"metrics": finite}


def metrics_of(entry: Entry) -> dict[str, float]:
    """The metrics in an entry that `as_metrics` made."""
    return {name: float(value) for name, value in entry["metrics"].items()}


@dataclass(frozen=True)
class CleanWork(Work):
    """How one method fuses each pair, as it is.

    Attributes:
        method: what fuses.
        settings: everything its results depend on, except the sources.
        measure: what is measured of a result.
    """

    method: Fuse
    settings: Entry
    measure: Measure

    def load(self, item: Item) -> Pictures:
        warm_up(self.method)
        return self.sources(item)

    def sources(self, item: Item) -> Pictures:
        return read_sources(item.given.files, self.settings["resize"])

    def fuse(self, item: Item, loaded: Pictures) -> Made:
        return Made((self.method(*loaded), loaded), {"settings": self.settings})

    def noted(self, pairs: Sequence[Pair]) -> list[Entry]:
        return [self.settings]

    def save(self, made: tuple[Picture, Pictures], path: Path) -> Entry:
        fused, sources = made
        write_image(path, fused.pixels, replace(fused, range=None), None)
        with suppress(DdfmError):  # a result that cannot be measured is still a result
            return self.measure.entry(path, sources)
        return {}

    def found(self, item: Item, manifest: Manifest) -> Entry:
        """The entry of a result, which is measured again if it was measured differently."""
        entry, how = manifest.entries[item.output], self.measure.how
        if entry.get("measured") != as_json(how) or not _is_whole(entry.get("metrics")):
            values = self.measure.entry(manifest.folder / item.output, self.sources(item))
            manifest.note(item.output, values)
        return manifest.entries[item.output]


class MeasuredWork(Work, Protocol):
    """A work whose results are measured when they are saved."""

    def noted(self, pairs: Sequence[Pair]) -> list[Entry]:
        """The settings that existing results of these pairs may have."""

    def save(self, made: Any, path: Path) -> Entry:
        """Writes a result; returns what to add to its entry."""

    def found(self, item: Item, manifest: Manifest) -> Entry:
        """The entry of an existing result."""


def fuse_pairs(
    pairs: Sequence[Pair],
    work: MeasuredWork,
    folder: Path,
    verify: bool,
    bar: tqdm[Any],
    shard: Shard | None,
) -> tuple[dict[str, Entry], dict[str, str]]:
    """Fuses pairs. Returns their entries in the manifest, and the reasons why others failed.

    The entries hold the metrics; what was measured before in the same way is not measured again.
    """
    entries, failed = {}, {}
    items = [Item(f"{p.name}.png", [KnownFile(file) for file in p.files], p) for p in pairs]
    with Manifest(folder, shard) as manifest:
        check_outputs(manifest, items)
        sink = FolderSink(manifest, work.noted(pairs), work.save, verify)
        # One thing at a time, so that seconds are those of the method alone.
        summary = run(items, work, sink, stop=False, bar=bar, engine=InTurn())
        for item, outcome in zip(items, summary.outcomes, strict=True):
            name = item.given.name
            try:
                if outcome.error:
                    raise InputError(outcome.error)
                entries[name] = work.found(item, manifest)
            except (DdfmError, MemoryError, RuntimeError) as error:
                failed[name] = why_failed(error)
    return entries, failed


def _is_whole(metrics: Any) -> bool:
    """Whether these are valid metrics; a manifest may be damaged."""
    return isinstance(metrics, dict) and all(
        isinstance(v, (float, int, str)) for v in metrics.values()
    )
