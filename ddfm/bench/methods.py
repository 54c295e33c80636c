"""What fuses: settings of `Fuser`, cheap baselines, and results that others have made.

The baselines see luminance and get their colour as every result of ddfm does:

- average and maximum, pixel by pixel;
- laplacian-pyramid: the largest coefficient of each level, the mean of the last
  (Burt and Adelson, The Laplacian pyramid as a compact image code, IEEE Trans. Commun. 31, 1983);
- guided-filter: base and detail layers under weights of saliency, smoothed along the edges of
  each source (Li, Kang and Hu, Image fusion with guided filtering, IEEE TIP 22, 2013).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter, laplace, uniform_filter

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
    "BASELINES",
    "ByFuser",
    "Method",
    "baseline",
    "configured",
    "from_folder",
    "read_configs",
]

Array = np.ndarray
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
        """The file that somebody else's method has made of a pair."""
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
    """A baseline by its name in `BASELINES`."""
    if name not in BASELINES:
        raise unknown("baseline", name, BASELINES)

    def fuse(*pictures: Picture) -> Picture:
        from ddfm.imaging.inherited import in_color  # loads torch

        fused = BASELINES[name](*(grey(picture).astype(float) for picture in pictures))
        return in_color(np.clip(fused, 0, 1).astype(np.float32), pictures)

    return Method(name, "baseline", lambda task, number: (fuse, {"baseline": name}))


def average(*sources: Array) -> Array:
    """The mean, pixel by pixel."""
    return np.mean(sources, axis=0)


def maximum(*sources: Array) -> Array:
    """The brightest, pixel by pixel."""
    return np.max(sources, axis=0)


def laplacian_pyramid(*sources: Array, levels: int = 4) -> Array:
    """The largest coefficient of each level, the mean of the coarsest."""
    bands = []
    for _ in range(levels):
        if min(sources[0].shape) < 4:
            break
        small = [gaussian_filter(x, 1.0)[::2, ::2] for x in sources]
        details = [x - _enlarged(s, x.shape) for x, s in zip(sources, small, strict=True)]
        largest = np.argmax(np.abs(details), axis=0)
        bands.append(np.take_along_axis(np.stack(details), largest[None], axis=0)[0])
        sources = tuple(small)
    fused = average(*sources)
    for detail in reversed(bands):
        fused = _enlarged(fused, detail.shape) + detail
    return fused


def guided_filter(*sources: Array) -> Array:
    """Two layers, each weighted by where a source is the most salient one."""
    most = np.argmax([gaussian_filter(abs(laplace(x)), 5.0) for x in sources], axis=0)
    bases = [uniform_filter(x, 31) for x in sources]
    details = [x - base for x, base in zip(sources, bases, strict=True)]
    fused = np.zeros_like(sources[0])
    for layers, radius, epsilon in ((bases, 45, 0.3), (details, 7, 1e-6)):
        masks = [(most == k).astype(float) for k in range(len(sources))]
        smoothed = [_guided(x, m, radius, epsilon) for x, m in zip(sources, masks, strict=True)]
        weights = np.clip(smoothed, 0, 1)
        fused += (weights * layers).sum(axis=0) / (weights.sum(axis=0) + 1e-12)
    return fused


BASELINES: dict[str, Callable[..., Array]] = {
    "average": average,
    "maximum": maximum,
    "laplacian-pyramid": laplacian_pyramid,
    "guided-filter": guided_filter,
}


def _enlarged(x: Array, shape: tuple[int, ...]) -> Array:
    return gaussian_filter(x.repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]], 1.0)


def _guided(guide: Array, x: Array, radius: int, epsilon: float) -> Array:
    """x, smoothed but for the edges of the guide (He, Sun and Tang, TPAMI 35, 2013)."""

    def mean(image: Array) -> Array:
        return uniform_filter(image, 2 * radius + 1)

    mean_guide, mean_x = mean(guide), mean(x)
    slope = (mean(guide * x) - mean_guide * mean_x) / (mean(guide**2) - mean_guide**2 + epsilon)
    return mean(slope) * guide + mean(mean_x - slope * mean_guide)
