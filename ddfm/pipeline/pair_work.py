"""How a pair of folders is loaded and fused, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddfm.config import TASKS
from ddfm.imaging.opening import Opening
from ddfm.imaging.picture import Picture
from ddfm.imaging.writing import check_output, held_by
from ddfm.pipeline.beside import Beside
from ddfm.pipeline.folder_maps import map_savers
from ddfm.pipeline.runner import Item, Made, Work
from ddfm.pipeline.unloaded import Unloaded
from ddfm.restoration.corrections import KINDS, corrected
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import as_json, entries_in

if TYPE_CHECKING:
    from ddfm.fuser import Fuser
    from ddfm.result import Fusion

__all__ = ["PairWork", "possible_settings", "recorded_transform"]


@dataclass(frozen=True)
class PairWork(Work):
    """Loads and fuses pairs, or stacks of more images, each independently.

    Attributes:
        fuser: what fuses.
        opening: how the files are read.
        beside: which maps to make.
    """

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
        fusion = self._fused(loaded)
        settings = self.settings(fusion.settings["task"])
        savers = map_savers(fusion, loaded if self.beside.sheet is not None else ())
        picture, lost = held_by(item.given[1], fusion.picture)
        bare = replace(fusion, picture=picture, uncertainty=None, attribution=None)
        return Made(
            (bare, savers),
            {"settings": settings} | _found(fusion, settings),
            fusion.warnings + lost,
            bare.kept,
            _corrected(fusion, settings),
        )

    def _fused(self, loaded: Sequence[Picture]) -> Fusion:
        """The result with its maps, and without its sources, which are not written.

        Its warnings are in the summary.
        """
        beside = self.beside
        shares = beside.attribution is not None
        (fusion,) = self.fuser.stream(
            [loaded], progress=False, samples=beside.samples, attribution=shares
        )
        return replace(fusion, opening=self.opening.plain(), sources=())


def possible_settings(fuser: Fuser | Unloaded, opening: Opening) -> list[Entry] | None:
    """The settings for each task that "auto" can resolve to; None if the fuser must be loaded."""
    task = fuser.config.task
    found = [fuser.settings(task) for task in (TASKS if task == "auto" else (task,))]
    some = [_settings(each, opening) for each in found if each is not None]
    return some if len(some) == len(found) else None


def recorded_transform(folder: Path, settings: Sequence[Entry], pairs: Mapping[str, int]) -> Any:
    """The transform that results in a folder share, from its manifests; None if they have none.

    Args:
        settings: the settings that these results may have, without the transform.
        pairs: the number of files of each result, by the result's name without suffix. Other
            results, which may be of another camera, do not count.
    """
    without = [as_json(some) | {"transform": None} for some in settings]
    for entry in entries_in(folder):
        found, sources = entry.get("settings"), entry.get("sources")
        if not isinstance(found, dict) or not isinstance(sources, list):
            continue
        number = pairs.get(Path(entry["output"]).stem)
        if found | {"transform": None} in without and len(sources) == number:
            return found.get("transform")
    return None


def _settings(of_fuser: Entry, opening: Opening) -> Entry:
    plain = opening.plain()
    return of_fuser | ({"opening": plain} if plain else {})


def _found(fusion: Fusion, settings: Entry) -> Entry:
    """What was found in the sources of a pair; the rest is in the manifest anyway."""
    known = (*settings, "sources", "sha256")
    return {name: value for name, value in fusion.settings.items() if name not in known}


def _corrected(fusion: Fusion, settings: Entry) -> tuple[str, ...]:
    """What was corrected in any source, each kind once."""
    by_source = corrected(fusion.settings.get("observed", ()), settings.get("observations"))
    return tuple(dict.fromkeys(KINDS[kind] for each in by_source for kind in each))
