"""Folders of pairs, or of more images of each scene: each is fused as it would be alone.

A pair that fails does not stop the others, and an interrupted run can be continued. A file that
the manifest in that folder does not list is never replaced. `ddfm.imaging.pairing` decides
which files are a pair, `ddfm.pipeline.runner` what runs at the same time, `ddfm.storage.manifest`
which results survive when the run is killed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddfm.arguments import by_annotation
from ddfm.config import TASKS
from ddfm.errors import InputError
from ddfm.imaging.formats.flir import has_photograph, is_flir
from ddfm.imaging.opening import Opening
from ddfm.imaging.pairing import Pair, Pairing, both_in_one, find_pairs, image_files, other_files
from ddfm.imaging.picture import Picture
from ddfm.imaging.writing import check_output, output_suffix
from ddfm.pipeline.beside import Beside
from ddfm.pipeline.folder_maps import (
    SinkWithMaps,
    check_folder,
    check_maps,
    map_folders,
    map_sinks,
)
from ddfm.pipeline.runner import (
    Engine,
    Item,
    Made,
    Work,
    check_outputs,
    run,
)
from ddfm.pipeline.summary import Outcome, Summary
from ddfm.pipeline.unloaded import Unloaded
from ddfm.progress import progress_bar
from ddfm.restoration.corrections import KINDS, corrected
from ddfm.storage.checksum import KnownFile
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import Manifest, Shard, is_manifest
from ddfm.storage.outputs import check_apart

if TYPE_CHECKING:
    from ddfm.fuser import Fuser
    from ddfm.result import Fusion

__all__ = ["fuse_flir", "fuse_folders"]

NO_FLIR = "no radiometric data of a FLIR camera in it"
NO_PHOTOGRAPH = "no photograph in it; put the photographs into a second folder"


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
        save_transform: where to write the transform that all pairs share (align="once").
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
    if dir_b is None:
        if more or pattern is not None:
            raise InputError("more and pattern are for pairs of two folders, not for one folder")
        pairing = _radiometric_pairs(dir_a)
    else:
        pairing = _pairs(folders, pattern)
    fuser = fuser or Unloaded({})
    fuser.check_number(max(2, len(folders)))
    std, shares, shown = (
        None if f is None else Path(f) for f in (uncertainty, attribution, sheets)
    )
    count = 0 if std is None else samples
    beside = Beside(sheet=shown, uncertainty=std, attribution=shares, samples=count)
    check_maps(beside, Path(out), folders, fuser.config)
    how = _How(suffix, dry_run, verify, shard, save_transform, beside, progress, callback, engine)
    return _fuse_all(pairing, Path(out), fuser, opening or Opening(), how)


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


def _pairs(folders: Sequence[str | os.PathLike[str]], pattern: str | None) -> Pairing:
    """The pairs of two or more folders; raises if there are none."""
    pairing = find_pairs(*folders, pattern=pattern)
    if not pairing.pairs:
        others = " and ".join(str(folder) for folder in folders[1:])
        raise InputError(
            f"no image of {folders[0]} has a partner in {others} by its name; give a pattern such "
            "as '{}_thermal.png:{}_rgb.jpg' to pair them"
            + "".join(f"; {line}" for line in pairing.leftovers() if line.startswith("left out"))
        )
    return pairing


def _radiometric_pairs(folder: str | os.PathLike[str]) -> Pairing:
    """The files of a folder that hold both images each; raises if there are none."""
    why = {path: _why_no_pair(path) for path in image_files(folder)}
    others = {path: reason for path, reason in why.items() if reason} | other_files(folder)
    pairing = replace(both_in_one(path for path in why if not why[path]), others=others)
    if not pairing.pairs:
        what = "radiometric data of a FLIR camera in it"
        if NO_PHOTOGRAPH in why.values():
            what = "a photograph next to its temperatures"
        raise InputError(
            f"no file of {folder} has {what}; for other images, give two folders, or the same "
            "folder twice with a pattern such as '{}_T.JPG:{}_V.JPG' (DJI)"
        )
    return pairing


def _why_no_pair(path: Path) -> str:
    """Why a file does not hold a pair; empty if it does."""
    if not is_flir(path):
        return NO_FLIR
    return "" if has_photograph(path) else NO_PHOTOGRAPH


@dataclass(frozen=True)
class _How:
    """The settings of a run, as given to `fuse_folders`."""

    suffix: str | None
    dry_run: bool
    verify: bool
    shard: Shard | None
    save_transform: str | os.PathLike[str] | None
    beside: Beside
    progress: bool | None
    callback: Callable[[Outcome], object] | None
    engine: Engine | None


@dataclass(frozen=True)
class _PairWork(Work):
    """Loads and fuses pairs, each independently."""

    fuser: Fuser
    opening: Opening
    beside: Beside

    def settings(self, task: str) -> Entry:
        """Everything a result of this task depends on except its sources."""
        return _settings(self.fuser.settings(task), self.opening)

    def load(self, item: Item) -> tuple[Picture, ...]:
        pair, path = item.given
        pictures = self.opening.pictures(pair.files)
        if len({picture.size for picture in pictures}) == 1:  # else they are refused, or resized
            check_output(path, pictures[0].size)
        return pictures

    def fuse(self, item: Item, loaded: tuple[Picture, ...]) -> Made:
        # Its warnings are in the summary.
        beside = self.beside
        shares = beside.attribution is not None
        (fusion,) = self.fuser.stream(
            [loaded], progress=False, samples=beside.samples, attribution=shares
        )
        fusion = replace(fusion, opening=self.opening.plain())
        settings = self.settings(fusion.settings["task"])
        known = (*settings, "sources", "sha256")  # in the manifest anyway
        found = {k: v for k, v in fusion.settings.items() if k not in known}
        fusion = replace(fusion, sources=())  # frees memory; they are not written
        by_source = corrected(fusion.settings.get("observed", ()), settings.get("observations"))
        kinds = tuple(dict.fromkeys(KINDS[kind] for each in by_source for kind in each))
        result = fusion, loaded if beside.sheet is not None else ()
        return Made(result, {"settings": settings, **found}, fusion.warnings, fusion.kept, kinds)


def _settings(of_fuser: Entry, opening: Opening) -> Entry:
    plain = opening.plain()
    return of_fuser | ({"opening": plain} if plain else {})


def _possible_settings(fuser: Fuser | Unloaded, opening: Opening) -> list[Entry] | None:
    """The settings for each task that "auto" can resolve to; None if the fuser must be loaded."""
    task = fuser.config.task
    found = [fuser.settings(task) for task in (TASKS if task == "auto" else (task,))]
    some = [_settings(each, opening) for each in found if each is not None]
    return some if len(some) == len(found) else None


def _planned(pairing: Pairing, outputs: dict[Pair, str], out: Path) -> Summary:
    planned = [Outcome(out / output, "planned") for output in outputs.values()]
    return Summary(planned, pairing=pairing)


def _fuse_all(
    pairing: Pairing, out: Path, fuser: Fuser | Unloaded, opening: Opening, how: _How
) -> Summary:
    of_all_shards = pairing.pairs
    pairing, outputs = _planned_outputs(pairing, how.suffix, how.shard)
    if how.dry_run:
        return _planned(pairing, outputs, out)
    items = [
        Item(output, [KnownFile(path) for path in pair.files], (pair, out / output))
        for pair, output in outputs.items()
    ]
    if isinstance(fuser, Unloaded):
        done = _done_before(items, out, fuser, opening, how)
        if done is not None:
            return _in_order(done, pairing)
        fuser = fuser.load()
    if fuser.config.align == "once":
        from ddfm.pipeline.rig import aligned_once, spread

        sample = spread(of_all_shards)  # so that all shards find the same transform
        fuser = aligned_once(fuser, (opening.pictures(pair.files) for pair in sample))
    if how.save_transform is not None:
        fuser.save_transform(how.save_transform)
    bar = progress_bar(how.progress, total=len(outputs), unit="pair")
    with Manifest(out, how.shard) as manifest, bar:
        check_outputs(manifest, items)
        new = (name for name in outputs.values() if not os.path.lexists(out / name))
        for name in {Path(name).suffix: name for name in new}.values():
            check_output(out / name)  # one file of each format
        settings = _possible_settings(fuser, opening) or []
        with map_sinks(how.beside, settings, how.shard, how.verify, items) as sinks:
            sink = SinkWithMaps(manifest, settings, _save, how.verify, beside=sinks)
            work = _PairWork(fuser, opening, how.beside)
            summary = run(
                items, work, sink, stop=False, bar=bar, engine=how.engine, callback=how.callback
            )
    return _in_order(summary, pairing)


def _done_before(
    items: list[Item], out: Path, fuser: Unloaded, opening: Opening, how: _How
) -> Summary | None:
    """The summary of a finished folder; None if work is left, or may be."""
    begin = time.monotonic()
    folders = [out, *map_folders(how.beside).values()]
    begun = all(f.is_dir() and any(map(is_manifest, os.listdir(f))) for f in folders)
    if not begun or how.verify or how.callback is not None or fuser.config.align == "once":
        return None
    settings = _possible_settings(fuser, opening)
    if settings is None:
        return None
    with Manifest(out, how.shard) as manifest:
        with map_sinks(how.beside, settings, how.shard, False, items) as sinks:
            sink = SinkWithMaps(manifest, settings, _save, beside=sinks)
            if any(sink.known(item) is None for item in items):
                return None
            skipped = [Outcome(sink.path(item), "skipped") for item in items]
    return Summary(skipped, time.monotonic() - begin)


def _in_order(summary: Summary, pairing: Pairing) -> Summary:
    outcomes = sorted(summary.outcomes, key=lambda outcome: outcome.output.stem)
    return replace(summary, outcomes=outcomes, pairing=pairing)


def _save(result: tuple[Fusion, tuple[Picture, ...]], path: Path) -> None:
    fusion, _ = result
    fusion.save(path)


def _planned_outputs(
    pairing: Pairing, suffix: str | None, shard: Shard | None
) -> tuple[Pairing, dict[Pair, str]]:
    """The pairs of this shard, and the names of their results."""
    outputs = {pair: pair.name + _suffix(pair, suffix) for pair in pairing.pairs}
    if shard is not None:
        outputs = {pair: name for pair, name in outputs.items() if shard.has(name)}
    return replace(pairing, pairs=list(outputs)), outputs


def _suffix(pair: Pair, suffix: str | None) -> str:
    if suffix is not None:
        return output_suffix(suffix)
    tiffs = all(path.suffix.lower() in (".tif", ".tiff") for path in pair.files)
    return ".tif" if tiffs else ".png"
