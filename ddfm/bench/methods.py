"""What fuses: settings of `Fuser`, cheap baselines, and results that others have made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ddfm.bench.baselines import BASELINES
from ddfm.config import FusionConfig
from ddfm.errors import InputError, StorageError, unknown
from ddfm.imaging.pairing import image_files
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

Fuse = Callable[..., Picture]  # of two pictures, or more

KEYWORDS = ("prior", "device", "dtype", "head", *(each.name for each in fields(FusionConfig)))


@dataclass(frozen=True)
class ByFuser:
    """What a `Fuser` makes of pictures; it is loaded once there is something to fuse."""

    load: Callable[[], Fuser]

    @property
    def fuser(self) -> Fuser:
        return self.load()

    def __call__(self, *pictures: Picture) -> Picture:
        return self.fuser(*pictures, progress=False).picture


def warm_up(fuse: Fuse) -> None:
    """Loads all that it fuses with, that the seconds of the first pair are like those of others."""
    if isinstance(fuse, ByFuser):
        fuse.load()
    else:
        import ddfm.imaging.inherited  # noqa: F401  # loads torch


@dataclass
class Method:
    """Something that has a row in the table.

    Attributes:
        kind: "ddfm", "baseline" or "folder".
        make: for a task and a number of sources, what fuses them, and with which settings.
        folder: where the results lie that others have made.
    """

    name: str
    kind: str
    make: Callable[[str, int], tuple[Fuse, dict[str, Any]]] | None = None
    folder: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)  # by set, as they were used

    def files(self) -> list[Path]:
        """All files that others have made."""
        return [p for p in self.folder.rglob("*") if p.is_file()] if self.folder else []

    def result(self, dataset: str, name: str) -> Path:
        """The file in which another method's result of a pair is."""
        if self.folder is None:
            raise InputError(f"{self.name} has no folder of results")
        inside = self.folder / dataset
        folder = inside if inside.is_dir() else self.folder
        for path in image_files(folder):
            if path.stem == name:
                return path
        raise InputError(f"{folder} holds no result called {name}")


def configured(name: str, settings: dict[str, Any]) -> Method:
    """`Fuser` with these keywords. A task given there goes before that of the set."""
    for key in settings:
        if key not in KEYWORDS:
            raise unknown(f"setting (configuration {name})", key, KEYWORDS)
    given: dict[str, Any] = {"look": False} | dict(settings)  # sets are taken as they are

    @cache
    def prior() -> Any:
        """Where every fuser wants it, so that none of them needs a copy."""
        from ddfm.priors import load_prior

        where = {"device": given.get("device", "auto"), "dtype": given.get("dtype", "auto")}
        return load_prior(given.get("prior", "default"), **where)

    def make(task: str, number: int) -> tuple[Fuse, dict[str, Any]]:
        said = {"task": task} | given
        unloaded = Unloaded(said)
        unloaded.check_number(number)
        task = unloaded.config.usual_task
        load = cache(lambda: Unloaded(said | {"prior": prior()}).load())
        settings = unloaded.settings(task) or load().settings(task)
        return ByFuser(load), settings | {"task": unloaded.config.task}

    if given.get("task") == "auto":
        del given["task"]
    return Method(name, "ddfm", make)


def read_configs(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a TOML file: keywords of `Fuser` by the name of the configuration."""
    tables = toml_table(path)
    if not tables or not all(isinstance(table, dict) for table in tables.values()):
        raise InputError(f"{path}: give a table per configuration, such as [fast] steps = 3")
    return tables


def from_folder(name: str, folder: Path) -> Method:
    """Results of another method: FOLDER/SET/PAIR.png, or FOLDER/PAIR.png."""
    if not folder.is_dir():
        raise StorageError(f"there is no folder {folder} with the results of {name}")
    return Method(name, "folder", folder=folder)


def baseline(name: str) -> Method:
    """A baseline by its name in `BASELINES`: on luminance, with colour as all results have it."""
    if name not in BASELINES:
        raise unknown("baseline", name, BASELINES)

    def fuse(*pictures: Picture) -> Picture:
        from ddfm.imaging.inherited import in_color  # loads torch

        fused = BASELINES[name](*(grey(picture).astype(float) for picture in pictures))
        return in_color(np.clip(fused, 0, 1).astype(np.float32), pictures)

    return Method(name, "baseline", lambda task, number: (fuse, {"baseline": name}))
