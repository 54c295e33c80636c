"""The pairs of a set, fused by one method, and what is measured of them, kept in a manifest."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ddfm.bench.methods import Fuse
from ddfm.errors import DdfmError, InputError, why_failed
from ddfm.imaging.files import read_image, write_image
from ddfm.imaging.pairing import Pair
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import read_sources
from ddfm.metrics import as_grey, evaluate, psnr, ssim
from ddfm.pipeline.runner import FolderSink, InTurn, Item, Made, check_outputs, run
from ddfm.storage.checksum import KnownFile
from ddfm.storage.manifest import Entry, Manifest, Shard, as_json
from ddfm.version import __version__

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["Measure", "PairWork", "against_clean", "against_sources", "fuse_pairs", "metrics_of"]

Pictures = tuple[Picture, ...]


@dataclass(frozen=True)
class Measure:
    """What is measured of a result, and all that its values depend on beside the pictures."""

    how: Entry
    values: Callable[[Path, Pictures], dict[str, float]]

    def entry(self, file: Path, sources: Pictures) -> Entry:
        """For the manifest. JSON has no infinite PSNR, and no share of no targets."""
        values = self.values(file, sources).items()
        return {
            "measured": self.how,
            "metrics": {name: v if math.isfinite(v) else str(v) for name, v in values},
        }


def metrics_of(entry: Entry) -> dict[str, float]:
    """As `Measure.entry` has put them into a manifest."""
    return {name: float(value) for name, value in entry["metrics"].items()}


def against_sources(task: str, ssim_range: float) -> Measure:
    """All metrics of a fusion, by its sources."""

    def values(file: Path, sources: Pictures) -> dict[str, float]:
        greys = [as_grey(picture) for picture in (read_image(file), *sources)]
        return evaluate(*greys, ssim_range=ssim_range, task=task)

    return Measure({"version": __version__, "task": task, "ssim_range": ssim_range}, values)


def against_clean(clean: Path, digest: str) -> Measure:
    """How near the fusion of noisy sources is to that of clean ones."""

    def values(file: Path, sources: Pictures) -> dict[str, float]:
        fused, target = as_grey(file), as_grey(clean)
        return {
            "PSNR": psnr(fused, target, peak=255),
            "SSIM": ssim(fused, target, data_range=255),
        }

    return Measure({"version": __version__, "clean": digest}, values)


@dataclass(frozen=True)
class PairWork:
    """What one method does with each pair.

    Attributes:
        settings: all that its results depend on beside the sources.
        measure: of each pair's result.
    """

    method: Fuse
    settings: Entry
    measure: Callable[[Pair], Measure]

    def load(self, item: Item) -> Pictures:
        pair, sigma = item.given, self.settings.get("noise", 0.0)
        pictures = read_sources(pair.files, self.settings["resize"])
        if not sigma:
            return pictures
        return tuple(_noisy(picture, sigma, pair.name, k) for k, picture in enumerate(pictures))

    def fuse(self, item: Item, loaded: Pictures) -> Made:
        return Made((item, self.method(*loaded), loaded), {"settings": self.settings})

    def recall(self, item: Item, entry: Entry) -> None:
        """No pair knows of another."""

    def save(self, made: tuple[Item, Picture, Pictures], path: Path) -> Entry:
        item, fused, sources = made
        write_image(path, fused.pixels, replace(fused, range=None), None)
        with suppress(DdfmError):  # what cannot be measured is a result all the same
            return self.measure(item.given).entry(path, sources)
        return {}


def fuse_pairs(
    pairs: Sequence[Pair],
    work: PairWork,
    folder: Path,
    verify: bool,
    bar: tqdm[Any],
    shard: Shard | None = None,
) -> tuple[dict[str, Entry], dict[str, str]]:
    """The line of each pair in the manifest of the folder, and of those that failed, why.

    Metrics are in the lines; what was measured before in the same way is not measured again.
    """
    entries, failed = {}, {}
    items = [Item(f"{p.name}.png", [KnownFile(file) for file in p.files], p) for p in pairs]
    with Manifest(folder, shard) as manifest:
        check_outputs(manifest, items)
        sink = FolderSink(manifest, [work.settings], work.save, verify)
        # Seconds are those of the method alone.
        summary = run(items, work, sink, stop=False, bar=bar, engine=InTurn())
        for item, outcome in zip(items, summary.outcomes, strict=True):
            name = item.given.name
            try:
                if outcome.error:
                    raise InputError(outcome.error)
                entries[name] = _measured(item, work, manifest)
            except (DdfmError, MemoryError, RuntimeError) as error:
                failed[name] = why_failed(error)
    return entries, failed


def _measured(item: Item, work: PairWork, manifest: Manifest) -> Entry:
    """The line of a result; measured once more, if it was measured otherwise."""
    measure, entry = work.measure(item.given), manifest.entries[item.output]
    if entry.get("measured") != as_json(measure.how) or not _is_whole(entry.get("metrics")):
        values = measure.entry(manifest.folder / item.output, work.load(item))
        manifest.note(item.output, values)
    return manifest.entries[item.output]


def _is_whole(metrics: Any) -> bool:
    """Whether these are metrics; a manifest may be damaged."""
    return isinstance(metrics, dict) and all(
        isinstance(v, (float, int, str)) for v in metrics.values()
    )


def _noisy(picture: Picture, sigma: float, name: str, which: int) -> Picture:
    """Noise that depends on the pair's name and the source alone."""
    rng = np.random.default_rng([zlib.crc32(os.fsencode(name)), which])
    noise = rng.standard_normal(picture.samples.shape, np.float32)
    return replace(picture, samples=np.clip(picture.pixels + noise * (sigma / 255), 0, 1))
