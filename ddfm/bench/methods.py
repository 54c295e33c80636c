"""The methods to compare: settings of `Fuser`, simple baselines, and results made elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ddfm.arguments import check_known, one_of
from ddfm.bench.baselines import BASELINES
from ddfm.config import FusionConfig
from ddfm.errors import InputError, StorageError
from ddfm.imaging.pairing import result_of, results_in
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import grey
from ddfm.pipeline.unloaded import Unloaded
from ddfm.storage.inputs import toml_table

if TYPE_CHECKING:
    from ddfm.fuser import Fuser

__all__ = [
    "ByFuser",
    "Method",
    "baseline",
    "configured",
    "from_folder",
    "read_configs",
    "warm_up",
]

Fuse = Callable[..., Picture]  # takes two or more pictures

KEYWORDS = ("prior", "device", "dtype", "head", *(each.name for each in fields(FusionConfig)))


@dataclass(frozen=True)
class ByFuser:
    """Fuses pictures with a `Fuser`, which is loaded when it is first needed."""

    load: Callable[[], Fuser]

    @property
    def fuser(self) -> Fuser:
        return self.load()

    def __call__(self, *pictures: Picture) -> Picture:
        return self.fuser(*pictures, progress=False).picture


def warm_up(fuse: Fuse) -> None:
    """Loads everything needed, so that the first pair takes no longer than the others."""
    if isinstance(fuse, ByFuser):
        fuse.load()
    else:
        import ddfm.imaging.inherited  # noqa: F401  # loads torch


@dataclass
class Method:
    """A method, with a row in the tables.

    Attributes:
        name: the name of the row.
        kind: "ddfm", "baseline" or "folder".
        make: returns, for a task and a number of sources, what fuses them, and the settings.
        folder: the folder with results made elsewhere.
        settings: the settings that were used, by set.
    """

    name: str
    kind: str
    make: Callable[[str, int], tuple[Fuse, dict[str, Any]]] | None = None
    folder: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def files(self) -> list[Path]:
        """All files of results made elsewhere."""
        return [p for p in self.folder.rglob("*") if p.is_file()] if self.folder else []

    def results(self, dataset: str) -> Callable[[str], Path]:
        """Finds results of a set made elsewhere by the names of pairs; lists their folder once."""
        folder = self.results_of(dataset)
        return partial(result_of, results=results_in(folder), folder=folder)

    def results_of(self, dataset: str) -> Path:
        """The folder with the results made elsewhere of a set: its own, or that of all sets."""
        if self.folder is None:
            raise InputError(f"{self.name} has no folder of results")
        inside = self.folder / dataset
        return inside if inside.is_dir() else self.folder


def configured(name: str, settings: dict[str, Any]) -> Method:
    """`Fuser` with these keywords; a task among them overrides that of the set."""
    check_known(f"setting (configuration {name})", settings, KEYWORDS)
    given: dict[str, Any] = {"look": False} | dict(settings)  # misalignment is not checked

    @cache
    def prior() -> Any:
        """The prior, loaded once on its device, so that fusers share it."""
        from ddfm.priors import load_prior

        where = {"device": given.get("device", "auto"), "dtype": given.get("dtype", "auto")}
        return load_prior(given.get("prior", "default"), **where)

    def make(task: str, number: int) -> tuple[Fuse, dict[str, Any]]:
        keywords = {"task": task} | given
        unloaded = Unloaded(keywords)
        unloaded.check_number(number)
        task = unloaded.config.usual_task
        load = cache(lambda: Unloaded(keywords | {"prior": prior()}).load())
        settings = unloaded.settings(task) or load().settings(task)
        return ByFuser(load), settings | {"task": unloaded.config.task}

    if given.get("task") == "auto":
        del given["task"]
    return Method(name, "ddfm", make)


def read_configs(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a TOML file: keywords of `Fuser` by the name of the configuration."""
    tables = toml_table(path)
    if not tables or not all(isinstance(table, dict) for table in tables.values()):
        raise InputError(f"{path}: give one table per configuration, such as [fast] steps = 3")
    return tables


def from_folder(name: str, folder: Path) -> Method:
    """A method made elsewhere, with results FOLDER/SET/PAIR.png or FOLDER/PAIR.png."""
    if not folder.is_dir():
        raise StorageError(f"there is no folder {folder} with the results of {name}")
    return Method(name, "folder", folder=folder)


def baseline(name: str) -> Method:
    """A baseline of `BASELINES`, on luminance; colour is added as in all results."""
    one_of("baseline", name, BASELINES)

    def fuse(*pictures: Picture) -> Picture:
        from ddfm.imaging.inherited import in_color  # loads torch

        fused = BASELINES[name](*(grey(picture).astype(float) for picture in pictures))
        return in_color(np.clip(fused, 0, 1).astype(np.float32), pictures)

    return Method(name, "baseline", lambda task, number: (fuse, {"baseline": name}))
