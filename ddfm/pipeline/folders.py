"""Folders of pairs, or of more images of each scene: each is fused as it would be alone.

A pair that fails does not stop the others, and an interrupted run can be continued. A file that
the manifest in that folder does not list is never replaced. `ddfm.pipeline.folder_pairs` decides
which files are a pair, `ddfm.pipeline.pair_work` how it is fused, `ddfm.pipeline.runner` what runs
at the same time, `ddfm.storage.manifest` which results survive when the run is killed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddfm.arguments import by_annotation
from ddfm.errors import DdfmError, InputError, StorageError, warn
from ddfm.imaging.opening import Opening
from ddfm.imaging.pairing import Pair, Pairing
from ddfm.imaging.picture import Picture
from ddfm.pipeline.beside import Beside
from ddfm.pipeline.folder_maps import (
    SinkWithMaps,
    check_folder,
    check_folders_before,
    check_maps,
    map_folders,
    opened_folders,
)
from ddfm.pipeline.folder_pairs import names_of_results, pairs_in_files, pairs_of_folders
from ddfm.pipeline.pair_work import PairWork, possible_settings, recorded_transform
from ddfm.pipeline.runner import Engine, Item, run
from ddfm.pipeline.summary import Outcome, Summary
from ddfm.pipeline.unloaded import Unloaded
from ddfm.progress import progress_bar
from ddfm.storage.checksum import KnownFile
from ddfm.storage.failures import Failures
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import Shard, has_manifest
from ddfm.storage.outputs import check_apart, check_writable

if TYPE_CHECKING:
    from ddfm.fuser import Fuser

__all__ = ["fuse_flir", "fuse_folders"]


@by_annotation
def fuse_folders(
    dir_a: str | os.PathLike[str],
    dir_b: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    fuser: Fuser | Unloaded | None = None,
    *,
    more: Sequence[str | os.PathLike[str]] = (),
    opening: Opening | None = None,
    pattern: str | None = None,
    suffix: str | None = None,
    dry_run: bool = False,
    verify: bool = False,
    shard: Shard | None = None,
    save_transform: str | os.PathLike[str] | None = None,
    uncertainty: str | os.PathLike[str] | None = None,
    attribution: str | os.PathLike[str] | None = None,
    samples: int = 16,
    sheets: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    callback: Callable[[Outcome], object] | None = None,
    engine: Engine | None = None,
) -> Summary:
    """Fuses the pairs of two folders. A pair that fails does not stop the others.

    Pairs that failed are listed in `ddfm-failed.jsonl` among the results.

    Args:
        dir_a, dir_b: the folders; with a pattern they may be one and the same. For files that hold
            both images each, `dir_b` is None; see `fuse_flir`.
        more: folders of third images, fourth images, ..., each with one image for every pair.
        out: the folder for the results, which is made if needed. Each result is named after what
            the names of its pair have in common.
        fuser: what fuses; None is `Fuser()`.
        opening: how the files are read; what it leaves open is detected.
        pattern: how the images of each folder are named, such as "{}_thermal.png:{}_rgb.jpg".
        suffix: the suffix of the results; None is ".png", or ".tif" for pairs of TIFF files.
        dry_run: whether to return the plan and do nothing.
        verify: whether to compare the contents of files to recognise finished work; by default
            their sizes and modification times are compared.
        shard: the part of the pairs that this process fuses while others fuse the rest.
        save_transform: where to write the transforms that all pairs share (align="once").
        uncertainty, attribution: folders for maps of how far each pixel may be off, and of which
            source it comes from: one file per pair, with the name of its result, as numbers if
            that is a .tif, else as an image.
        samples: the number of results that the uncertainty is computed from.
        sheets: a folder for images that show the alignment of each pair, named as its result.
        progress: whether to show a progress bar; None shows one on a terminal.
        callback: is called with each `Outcome`, in the calling thread; if it returns False, the run
            ends (`ddfm.Cancelled`), and the next run continues from there.
        engine: where the work is done; see `ddfm.pipeline.runner`.
    """
    folders = (dir_a, *more) if dir_b is None else (dir_a, dir_b, *more)
    check_folder(out)
    check_apart(out, *folders)
    if dir_b is None and (more or pattern is not None):
        raise InputError("more and pattern are for pairs of two folders, not for one folder")
    pairing = pairs_in_files(dir_a) if dir_b is None else pairs_of_folders(folders, pattern)
    fuser = fuser or Unloaded({})
    fuser.check_number(max(2, len(folders)))
    beside = _maps(uncertainty, attribution, sheets, samples)
    check_maps(beside, Path(out), folders, fuser.config)
    everything = _Run(
        pairing=pairing,
        out=Path(out),
        opening=opening or Opening(),
        beside=beside,
        suffix=suffix,
        shard=shard,
        verify=verify,
        save_transform=None if save_transform is None else Path(save_transform),
        progress=progress,
        callback=callback,
        engine=engine,
    )
    return everything.planned() if dry_run else everything.fused(fuser)


@by_annotation
def fuse_flir(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    fuser: Fuser | Unloaded | None = None,
    **how: Any,
) -> Summary:
    """Fuses the thermal image and the photograph in each radiometric JPEG of a folder.

    Args:
        folder, out: the folders. Each result is named after its file; other files are skipped.
        fuser: what fuses; None is `Fuser()`.
        how: keywords of `read_flir`, such as celsius=(15, 40), which gives the same temperature
            the same level in all results; and the other keywords of `fuse_folders`.
    """
    reading = {f.name: how.pop(f.name) for f in fields(Opening) if f.name in how}
    return fuse_folders(folder, None, out, fuser, opening=Opening(**reading), **how)


def _maps(
    uncertainty: str | os.PathLike[str] | None,
    attribution: str | os.PathLike[str] | None,
    sheets: str | os.PathLike[str] | None,
    samples: int,
) -> Beside:
    """The requested folders of maps."""
    return Beside(
        uncertainty=None if uncertainty is None else Path(uncertainty),
        attribution=None if attribution is None else Path(attribution),
        sheet=None if sheets is None else Path(sheets),
        samples=0 if uncertainty is None else samples,
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One run over folders, as set by `fuse_folders`.

    Attributes:
        pairing: the pairs of all shards.
        beside: the folders of maps.
    """

    pairing: Pairing
    out: Path
    opening: Opening
    beside: Beside
    suffix: str | None
    shard: Shard | None
    verify: bool
    save_transform: Path | None
    progress: bool | None
    callback: Callable[[Outcome], object] | None
    engine: Engine | None

    @cached_property
    def names(self) -> dict[Pair, str]:
        """The pairs of this shard, with the names of their results."""
        return names_of_results(self.pairing.pairs, self.suffix, self.shard)

    @cached_property
    def items(self) -> list[Item]:
        """The results to make."""
        return [
            Item(name, [KnownFile(path) for path in pair.files], (pair, self.out / name))
            for pair, name in self.names.items()
        ]

    @cached_property
    def failures(self) -> Failures:
        """The list of the pairs that fail."""
        return Failures(self.out, self.shard)

    def planned(self) -> Summary:
        """What would be done."""
        return self._complete([Outcome(self.out / name, "planned") for name in self.names.values()])

    def fused(self, fuser: Fuser | Unloaded) -> Summary:
        """Fuses all pairs that are not done; loads the fuser only if there are any."""
        begin = time.monotonic()
        self._check()
        fuser = fuser.with_config(transform=self._transform(fuser))
        if isinstance(fuser, Unloaded):
            if (skipped := self._done_before(fuser)) is not None:
                return self._complete(skipped, time.monotonic() - begin)
            fuser = fuser.load()
        fuser = self._aligned(fuser)
        summary = self._fused(fuser)
        from ddfm.pipeline.rig import common_motion

        done = self._complete(summary.outcomes, summary.seconds)
        return replace(done, aligned=common_motion(fuser))

    def _check(self) -> None:
        """Raises, before anything is written, if something cannot be written."""
        check_folders_before(self.out, self.beside, self.items)
        self.failures.check()
        if self.save_transform is not None:
            check_writable(self.save_transform)

    def _done_before(self, fuser: Unloaded) -> list[Outcome] | None:
        """The outcomes of a finished folder; None if work is left, or may be."""
        begun = all(map(has_manifest, (self.out, *map_folders(self.beside).values())))
        if not begun or self.verify or self.callback is not None or self.save_transform is not None:
            return None
        settings = possible_settings(fuser, self.opening)
        if settings is None or fuser.config.finds_common:
            return None
        with self._opened(settings) as sink:
            if any(sink.known(item) is None for item in self.items):
                return None
            self._settle()
            return [Outcome(sink.path(item), "skipped") for item in self.items]

    def _transform(self, fuser: Fuser | Unloaded) -> Any:
        """The given transform, or the one that all pairs share if earlier results tell it."""
        settings = possible_settings(fuser, self.opening) if fuser.config.finds_common else None
        if settings is None:
            return fuser.config.transform
        pairs = {pair.name: len(pair.files) for pair in self.pairing.pairs}  # of all shards
        return recorded_transform(self.out, settings, pairs)

    def _aligned(self, fuser: Fuser) -> Fuser:
        """The fuser, with the transform that all pairs share if it aligns them once."""
        fuser = fuser.with_config(transform=self._transform(fuser))  # known for all once loaded
        if fuser.config.finds_common:
            from ddfm.pipeline.rig import aligned_once, spread

            number = max(2, len(self.pairing.pairs[0].files))
            sample = spread(self.pairing.pairs)  # of all shards, which find the same transform
            fuser = aligned_once(fuser, self._readable(sample), number)
        if self.save_transform is not None:
            fuser.save_transform(self.save_transform)
        return fuser

    def _readable(self, pairs: Sequence[Pair]) -> Iterator[tuple[Picture, ...]]:
        """The pictures of those pairs that can be read; the others fail when it is their turn."""
        for pair in pairs:
            with suppress(DdfmError):
                yield self.opening.pictures(pair.files)

    def _fused(self, fuser: Fuser) -> Summary:
        """Fuses the pairs that are not done, and keeps a list of those that fail."""
        work = PairWork(fuser, self.opening, self.beside)
        settings = possible_settings(fuser, self.opening) or []
        bar = progress_bar(self.progress, total=len(self.items), unit="pair")
        with self._opened(settings) as sink, bar:
            summary = run(
                self.items,
                work,
                sink,
                stop=False,
                bar=bar,
                engine=self.engine,
                callback=partial(self._noted, sink.manifest.entries),
            )
            self._settle()
        return summary

    def _opened(self, settings: list[Entry]) -> AbstractContextManager[SinkWithMaps]:
        """The folders of results and maps, locked for this run."""
        return opened_folders(
            self.out, self.beside, self.items, settings, shard=self.shard, verify=self.verify
        )

    def _noted(self, made: Mapping[str, Entry], outcome: Outcome) -> object:
        """Lists a pair that failed, then calls the callback of the user."""
        if outcome.status == "failed":
            name = outcome.output.name
            self.failures.add(name, self._sources[name], outcome.error, made.get(name))
        return None if self.callback is None else self.callback(outcome)

    @cached_property
    def _sources(self) -> dict[str, list[str]]:
        """The names of the sources of each result."""
        return {item.output: [source.name for source in item.sources] for item in self.items}

    def _settle(self) -> None:
        """Completes the list of failures; a full disk must not hide how the run ended."""
        try:
            self.failures.settle()
        except StorageError as error:
            warn(f"{error}; the pairs that failed are not listed")

    def _complete(self, outcomes: Sequence[Outcome], seconds: float = 0.0) -> Summary:
        """The summary of this shard, in the order of names."""
        in_order = sorted(outcomes, key=lambda outcome: outcome.output.stem)
        return Summary(in_order, seconds, replace(self.pairing, pairs=list(self.names)))
