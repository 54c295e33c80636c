"""Folders with a further file for each pair: maps of uncertainty or attribution, alignment sheets.

Each folder has a manifest of its own. A pair is done when its result and all requested files exist.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddfm.config import FusionConfig
from ddfm.errors import InputError
from ddfm.fusing.checks import check_attribution
from ddfm.imaging.picture import Picture
from ddfm.imaging.reading import is_image
from ddfm.pipeline.beside import Beside, check_sheet
from ddfm.pipeline.runner import FolderSink, Item, Made, check_folder_before, check_outputs
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import Manifest, Shard, has_manifest
from ddfm.storage.outputs import check_apart

if TYPE_CHECKING:
    from ddfm.result import Fusion

__all__ = [
    "SinkWithMaps",
    "check_folder",
    "check_folders_before",
    "check_maps",
    "map_folders",
    "map_savers",
    "opened_folders",
]

RESULTS = "results"  # the key of the folder of the results, among those of the maps

MapSavers = dict[str, Callable[[Path], None]]


def map_folders(beside: Beside) -> dict[str, Path]:
    """The requested folders, by the kind of their files."""
    named = {name: getattr(beside, name) for name in ("uncertainty", "attribution", "sheet")}
    return {name: path for name, path in named.items() if path is not None}


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raises InputError if a new folder has the name of an image file, as for a single pair."""
    if is_image(Path(folder)) and not Path(folder).exists():
        raise InputError(f"{folder} must be a folder, but its name is that of an image file")


def check_maps(beside: Beside, out: Path, sources: Sequence[Any], config: FusionConfig) -> None:
    """Raises InputError if the maps cannot be made, or one of their folders has another use.

    Args:
        out: the folder of the results.
        sources: the folders of the sources.
        config: the settings of the fusions.
    """
    if beside.uncertainty is not None:
        from ddfm.trust.samples import check_samples  # imports torch

        check_samples(beside.samples, needed=True)
    if beside.attribution is not None:
        check_attribution(config)
    if beside.sheet is not None:
        check_sheet(config)
    taken = [out.resolve()]
    for folder in map_folders(beside).values():
        check_folder(folder)
        check_apart(folder, *sources)
        if folder.resolve() in taken:
            raise InputError(
                f"{folder}: the result and the maps of a pair have the same file name; use a "
                "separate folder for each"
            )
        taken.append(folder.resolve())


def check_folders_before(out: Path, beside: Beside, items: Sequence[Item]) -> None:
    """Raise, before anything is written, if a result or a map cannot be written to its folder."""
    for folder in (out, *map_folders(beside).values()):
        check_folder_before(folder, items)


@contextmanager
def opened_folders(
    out: Path,
    beside: Beside,
    items: Sequence[Item],
    settings: Sequence[Mapping[str, Any]],
    *,
    shard: Shard | None,
    verify: bool,
) -> Iterator[SinkWithMaps]:
    """The sink of a run: opens the manifests of the results and of each requested folder of maps.

    Args:
        items: all items of the run.
        settings: the settings with which finished results may have been made.
    """
    folders = {RESULTS: out, **map_folders(beside)}
    # Those with a manifest come first: after an error about files in them, no other gets one.
    names = sorted(folders, key=lambda name: not has_manifest(folders[name]))
    manifests: dict[str, Manifest] = {}
    with ExitStack() as stack:
        for name in names:
            manifests[name] = stack.enter_context(Manifest(folders[name], shard))
            check_outputs(manifests[name], items)
        results = manifests.pop(RESULTS)
        maps = [
            _MapSink(manifests[name], settings, verify, name, beside.samples) for name in manifests
        ]
        yield SinkWithMaps(results, settings, _save, verify, beside=maps)


def map_savers(fusion: Fusion, pictures: Sequence[Picture]) -> MapSavers:
    """Functions that write the maps of a pair, by the kind of their files.

    They keep the deviation of its samples, not the samples, which are large.

    Args:
        fusion: the result, with the maps that were requested.
        pictures: the sources as they were read; empty if no sheet is requested.
    """
    savers: MapSavers = {}
    if fusion.uncertainty is not None:
        savers["uncertainty"] = fusion.uncertainty.deviation.save
    if fusion.attribution is not None:
        savers["attribution"] = fusion.attribution.save
    if pictures:
        bare = replace(fusion, uncertainty=None, attribution=None)
        savers["sheet"] = partial(_save_sheet, bare, pictures)
    return savers


def _save(result: tuple[Fusion, MapSavers], path: Path) -> None:
    fusion, _ = result
    fusion.save(path)


def _save_sheet(fusion: Fusion, pictures: Sequence[Picture], path: Path) -> None:
    Beside(sheet=path).write(fusion, pictures, path)


class SinkWithMaps(FolderSink):
    """Writes results to a folder, and their further files to other folders.

    Args:
        beside: the sinks of the other folders.
    """

    def __init__(self, *args: Any, beside: Sequence[FolderSink]) -> None:
        super().__init__(*args)
        self.beside = beside

    def known(self, item: Item) -> Entry | None:
        entry = super().known(item)
        there = entry is not None and all(sink.known(item) is not None for sink in self.beside)
        return entry if there else None

    def write(self, item: Item, made: Made) -> None:
        for sink in self.beside:
            sink.write(item, made)
        super().write(item, made)


class _MapSink(FolderSink):
    """Writes one kind of map, which the manifest records together with the settings."""

    def __init__(
        self,
        manifest: Manifest,
        settings: Sequence[Mapping[str, Any]],
        verify: bool,
        name: str,
        samples: int,
    ) -> None:
        self.of = {"map": name} | ({"samples": samples} if name == "uncertainty" else {})

        def save(result: tuple[Fusion, MapSavers], path: Path) -> None:
            result[1][name](path)

        super().__init__(manifest, [{**some, **self.of} for some in settings], save, verify)

    def write(self, item: Item, made: Made) -> None:
        settings = made.entry["settings"] | self.of
        super().write(item, replace(made, entry=made.entry | {"settings": settings}))
