"""Prepares volumes for fusion: on one grid, scaled from black to white, coloured, in order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ddfm.arguments import check_percentiles, number, one_of
from ddfm.errors import InputError
from ddfm.imaging.colormaps import COLORMAPS, colored
from ddfm.progress import stage
from ddfm.registration.space import SPACE_MODELS
from ddfm.registration.space_files import checked_motion, read_space_transform
from ddfm.restoration.volume_sharpening import sharpened
from ddfm.volumes.align import aligned, placed
from ddfm.volumes.files import read_volume
from ddfm.volumes.frame import continued
from ddfm.volumes.intensity import GREY, Window, find_window, is_ct, scaled, scaled_by
from ddfm.volumes.montage import Scale
from ddfm.volumes.resample import inside_of, resampled
from ddfm.volumes.tilt import squared
from ddfm.volumes.volume import Origin, Volume, check_axis

__all__ = ["Ready", "VolumeOptions", "found_motion", "made_ready"]

ACTIVITY = ("PT", "NM")  # DICOM modalities: PET, SPECT
WIDEST = 100.0  # widest point spread function, in millimetres

Limits = tuple[float, float]


@dataclass(frozen=True)
class VolumeOptions:
    """The arguments of `fuse_volumes` about its volumes; windows and colormaps are one of each."""

    axis: int | str | None
    windows: tuple[str | Window | None, ...]
    percentiles: Limits
    colormaps: tuple[str | None, ...]
    fwhm_b: float | None
    align: str
    motion: np.ndarray | None
    together: int

    def __post_init__(self) -> None:
        check_axis(self.axis)
        for window in self.windows:
            if window is not None:
                find_window(window)
        for colormap in self.colormaps:
            if colormap is not None:
                one_of("colour map", colormap, (*COLORMAPS, GREY))
        check_percentiles(self.percentiles)
        one_of("way to align volumes", self.align, SPACE_MODELS)
        if self.fwhm_b is not None:
            fwhm_b = number("fwhm_b (--fwhm-b)", self.fwhm_b, 0, WIDEST)
            object.__setattr__(self, "fwhm_b", fwhm_b)

    def plain(self) -> dict[str, Any]:
        """By the names of the arguments of `fuse_volumes`, ready for JSON."""
        (window_a, window_b, *more_windows) = self.windows
        (colormap_a, colormap_b, *more_colormaps) = self.colormaps
        return {
            "axis": self.axis,
            "window_a": window_a,
            "window_b": window_b,
            "percentiles": self.percentiles,
            "colormap_a": colormap_a,
            "colormap_b": colormap_b,
            "fwhm_b": self.fwhm_b,
            "more_windows": more_windows,
            "more_colormaps": more_colormaps,
            "align": self.align,
            "transform": None if self.motion is None else self.motion.tolist(),
            "together": self.together,
        }

    def of_each(self, count: int) -> tuple[list[str | Window | None], list[str | None]]:
        """Windows and colormaps of `count` volumes, filled up with None."""
        for kind, given in (("window", self.windows), ("colormap", self.colormaps)):
            if len(given) > count:
                raise InputError(
                    f"more_{kind}s (--{kind}-c) are for the third volume and those after it: there "
                    f"are {count - 2} of them, not {len(given) - 2}"
                )
        windows = [*self.windows, *[None] * (count - len(self.windows))]
        return windows, [*self.colormaps, *[None] * (count - len(self.colormaps))]


@dataclass(frozen=True, eq=False)
class Ready:
    """Volumes that can be fused slice by slice.

    Attributes:
        volumes: the volumes as read, aligned to the first.
        sources: the same on the grid of the first, scaled from 0 to 1, in their colours.
        known: the sources, continued by the others outside their field of view.
        insides: where each source lies within its field of view; None is everywhere.
        limits: the values that are black and white in each.
        scaled_by: how these values were determined.
        scales: limits and colours, for a montage.
        order: the indices of the volumes in the order in which fusers expect them.
        found: how each volume after the first was aligned.
    """

    volumes: tuple[Volume, ...]
    sources: tuple[Volume, ...]
    known: tuple[Volume, ...]
    insides: tuple[np.ndarray | None, ...]
    limits: tuple[Limits, ...]
    scaled_by: tuple[str, ...]
    scales: tuple[Scale, ...]
    order: list[int]
    found: list[Any]

    @property
    def first(self) -> Volume:
        return self.volumes[0]

    @property
    def ordered(self) -> list[Volume]:
        """The volumes to fuse, in the order that fusers expect."""
        return [self.known[k] for k in self.order]

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The DICOM files of all volumes, with their aligned positions."""
        first, *others = self.volumes
        moved = (replace(o, affine=other.affine) for other in others for o in other.origins)
        return (*first.origins, *moved)

    def about(self, options: VolumeOptions) -> dict[str, Any]:
        """Entries for the settings of a result, in the order in which the volumes are fused."""
        return {
            "align": options.align,
            "alignment": self.found,
            "order": self.order,
            **({} if options.fwhm_b is None else {"fwhm_b": options.fwhm_b}),
            "sources": [self.sources[k].name for k in self.order],
            "black_and_white": [list(self.limits[k]) for k in self.order],
            "scaled_by": [self.scaled_by[k] for k in self.order],
        }


def made_ready(given: Sequence[Any], options: VolumeOptions) -> Ready:
    """Reads and prepares volumes, from anything that `read_volume` takes."""
    windows, wanted = options.of_each(len(given))
    first, *rest = (_read(source, number) for number, source in enumerate(given, 1))
    _check_grey((first, *rest), windows, wanted)
    maps = list(map(_map_of, (first, *rest), wanted))
    first, inside = squared(first)
    others, found = [], []
    for volume in rest:
        other, about = _placed(volume, first, options)
        others.append(other)
        found.append(about)
    volumes = (first, *others)
    sources: list[Volume] = []
    limits = []
    for k, volume in enumerate(volumes):
        # Scale before resampling, so that percentiles are those of the volume, not of its frame.
        values, limit = scaled(volume, windows[k], options.percentiles)
        levels = _with(volume, values)
        if k == 1 and options.fwhm_b is not None:
            stage(f"undoing the resolution of {volume.name}")
            levels = sharpened(levels, first, options.fwhm_b, sources[0].grey)
        else:
            if k:
                stage(f"resampling {volume.name}")
            levels = resampled(levels, first, outside=0.0)
        sources.append(_in_colors(levels, maps[k]))
        limits.append(limit)
    insides = [inside, *(inside_of(other, first) for other in others)]
    if any(one is not None for one in insides):
        stage("continuing volumes beyond their borders")
    known = continued([source.values for source in sources], insides, first.spacing)
    by_window = zip(volumes, windows, strict=True)
    return Ready(
        volumes,
        tuple(sources),
        tuple(map(_with, sources, known)),
        tuple(insides),
        tuple(limits),
        tuple(scaled_by(volume, window, options.percentiles) for volume, window in by_window),
        tuple((*limit, None if m == GREY else m) for limit, m in zip(limits, maps, strict=True)),
        _order(volumes, maps),
        found,
    )


def _check_grey(
    volumes: Sequence[Volume],
    windows: Sequence[str | Window | None],
    maps: Sequence[str | None],
) -> None:
    """Raise if a volume in colour is given a window or colours, which it would not take."""
    for k, volume in enumerate(volumes):
        letter = "abc"[min(k, 2)]
        for kind, given in (("window", windows[k]), ("colormap", maps[k])):
            if volume.is_color and given is not None:
                raise InputError(
                    f"{volume.name} is in colour, so it takes no {kind} (--{kind}-{letter})"
                )


def found_motion(transform: Any, align: str, more: int) -> np.ndarray | None:
    """The given transform of the second volume as a matrix, or None."""
    if transform is None:
        return None
    if align != "none":
        raise InputError(
            "align (--align) finds a transform and transform (--transform) reads one; use only one"
        )
    if more:
        raise InputError("transform (--transform) is only for two volumes")
    if isinstance(transform, str | os.PathLike):
        return read_space_transform(transform)
    return checked_motion(transform)


def _placed(other: Volume, first: Volume, options: VolumeOptions) -> tuple[Volume, Any]:
    """A volume aligned to the first one, and how it was aligned."""
    stage(f"comparing the positions of {other.name} and {first.name}")
    if options.motion is None:
        return aligned(other, first, options.align)
    return placed(other, first, options.motion)


def _read(source: Any, number: int) -> Volume:
    if isinstance(source, str | os.PathLike):
        return read_volume(source)
    names = {1: "the first volume", 2: "the second volume"}
    return read_volume(source, name=names.get(number, f"volume {number}"))


def _with(volume: Volume, values: np.ndarray) -> Volume:
    return Volume(values, volume.affine, volume.name, volume.modality)


def _in_colors(volume: Volume, colormap: str) -> Volume:
    if volume.is_color or colormap == GREY:
        return volume
    return _with(volume, colored(volume.values, colormap))


def _map_of(volume: Volume, colormap: str | None) -> str:
    if colormap is not None:
        return colormap
    # White means anatomy in the MRI, and this map does not end in it.
    return "ember" if volume.modality in ACTIVITY else GREY


def _order(volumes: Sequence[Volume], maps: Sequence[str]) -> list[int]:
    """The order that fusers expect: images of function or bone first, of soft tissue last."""
    ranks = list(map(_rank, volumes, maps))
    return sorted(range(len(volumes)), key=lambda k: (ranks[k], k), reverse=True)


def _rank(volume: Volume, colormap: str) -> int:
    if volume.is_color or colormap != GREY:
        return 2
    return 1 if is_ct(volume) else 0
