"""Fuses degraded sources, and measures how close the results are to those of clean sources.

    DIR/degraded/WHAT/METHOD/SET/PAIR.png             without further information
    DIR/degraded/WHAT/METHOD, told/SET/PAIR.png       with the degradation specified
    DIR/degraded/WHAT/BICUBIC, METHOD/SET/PAIR.png    restored by a classical method first

Measures are PSNR and SSIM (with data range 255) of the result against the fusion of the clean pair,
with the same tone curve, and of each source, as it was fused, against the clean source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np

from ddfm.bench.degrade import Degradation, inside
from ddfm.bench.methods import ByFuser, Fuse, Method
from ddfm.bench.pairs import Pictures, as_metrics
from ddfm.imaging.pairing import Pair
from ddfm.imaging.picture import Picture
from ddfm.imaging.sizes import resized
from ddfm.imaging.sources import read_sources
from ddfm.imaging.writing import write_image
from ddfm.metrics import as_grey, psnr, ssim
from ddfm.pipeline.runner import Item, Made, Work
from ddfm.restoration.observation import AS_IT_IS
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import Manifest
from ddfm.version import __version__

if TYPE_CHECKING:
    from ddfm.fuser import Fuser

__all__ = ["Clean", "DegradedWork", "row_name", "ways"]

AS_SEEN, TOLD = "", "told"  # without, and with information about the degradation
BESIDE = 3  # distance in pixels of the lines that a frame's border is compared with


def ways(what: Degradation, method: Method, baselines: bool) -> list[str]:
    """The rows of a method: without information, with it, and after classical restoration."""
    if method.kind != "ddfm":
        return [AS_SEEN]
    if not baselines:
        return [AS_SEEN, TOLD]
    from ddfm.bench.classical import classical  # imports torch

    return [AS_SEEN, TOLD, *classical(what)]


def row_name(method: str, way: str) -> str:
    """The name of a row, and of its folder."""
    if way == AS_SEEN:
        return method
    return f"{method}, {way}" if way == TOLD else f"{way}, {method}"


@dataclass(frozen=True)
class Clean:
    """The fusions of clean pairs by one method: files with digests, and tone curves, by pair."""

    files: dict[str, tuple[Path, str]]
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)

    def curve(self, fuser: Fuser, pictures: Pictures, name: str) -> dict[str, Any]:
        """The tone curve of a clean pair, as options; computed on demand."""
        if name not in self.curves:
            self.curves[name] = dict(fuser(*pictures, progress=False).chosen)
        return self.curves[name]


@dataclass(frozen=True)
class DegradedWork(Work):
    """How one method fuses each pair after one degradation, in one way (see `ways`)."""

    method: Fuse
    settings: Entry
    what: Degradation
    way: str
    clean: Clean

    def load(self, item: Item) -> tuple[Pictures, Pictures, dict[str, Any]]:
        pair: Pair = item.given
        pictures = read_sources(pair.files, self.settings["resize"])
        own = self.method.fuser if isinstance(self.method, ByFuser) else None
        curve = {} if own is None else self.clean.curve(own, pictures, pair.name)
        return pictures, self.what(pictures, pair.name), curve

    def fuse(self, item: Item, loaded: tuple[Pictures, Pictures, dict[str, Any]]) -> Made:
        clean, seen, curve = loaded
        sizes = [picture.size for picture in clean]
        sources: Sequence[Picture] = ()
        if isinstance(self.method, ByFuser):
            fuser = self.method.fuser
            held = fuser.with_config(options=dict(fuser.config.options) | curve)
            if self.way == TOLD:
                held = held.with_config(observations=self.what.observations(seen))
            elif self.way != AS_SEEN:
                from ddfm.bench.classical import restored_by

                seen = restored_by(self.way, self.what, seen, sizes)
                held = held.with_config(observations=[AS_IT_IS] * len(seen))
            fusion = held(*seen, progress=False)
            fused, sources = fusion.picture, fusion.sources
        else:
            alike = zip(seen, sizes, strict=True)
            fused = self.method(*(resized(p, size) for p, size in alike))
        made = item, fused, sources or seen, clean
        return Made(made, {"settings": self._noted(item.given)})

    def save(self, made: tuple[Item, Picture, Pictures, Pictures], path: Path) -> Entry:
        item, fused, sources, clean = made
        write_image(path, fused.pixels, replace(fused, range=None), None)
        return as_metrics(dict(self._values(item, fused, sources, clean)))

    def noted(self, pairs: Sequence[Pair]) -> list[Entry]:
        return list(map(self._noted, pairs))

    def found(self, item: Item, manifest: Manifest) -> Entry:
        return manifest.entries[item.output]

    def _noted(self, pair: Pair) -> Entry:
        digest = self.clean.files[pair.name][1]
        about = {"degraded": self.what.name, "way": self.way, "measured": __version__}
        return self.settings | about | {"clean": digest}

    def _values(
        self, item: Item, fused: Picture, sources: Pictures, clean: Pictures
    ) -> Iterator[tuple[str, float]]:
        share = self.what.amount(0, "frame")
        within = inside(fused.size, share)
        for k, letter in enumerate(ascii_lowercase[: len(clean)]):
            if self.what.of(k) and sources[k].size == clean[k].size:
                x, y = (as_grey(p).pixels[within] for p in (sources[k], clean[k]))
                yield f"PSNR {letter}", psnr(x, y, peak=255)
                yield f"SSIM {letter}", ssim(x, y, data_range=255)
        x, y = as_grey(fused).pixels, as_grey(self.clean.files[item.given.name][0]).pixels
        yield "PSNR", psnr(x[within], y[within], peak=255)
        yield "SSIM", ssim(x[within], y[within], data_range=255)
        if share is not None:
            yield "rim", _rim(x, within) - _rim(y, within)


def _rim(plane: np.ndarray, frame: tuple[slice, slice]) -> float:
    """How much larger the steps across the border of a frame are than those next to it."""
    on, before, after = (_jumps(plane, frame, shift) for shift in (0, -BESIDE, BESIDE))
    return on - (before + after) / 2


def _jumps(plane: np.ndarray, frame: tuple[slice, slice], shift: int) -> float:
    """The mean step across four lines, moved by `shift` pixels from the sides of the frame."""
    rows, columns = frame
    x = plane.astype(float)
    across = [x[rows, k] - x[rows, k - 1] for k in (columns.start + shift, columns.stop - shift)]
    across += [x[k, columns] - x[k - 1, columns] for k in (rows.start + shift, rows.stop - shift)]
    return float(np.abs(np.concatenate(across)).mean())
