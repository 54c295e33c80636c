"""Volumes as their slices are fused: on one grid, from black to white, in colours and in order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ddfm.arguments import number
from ddfm.errors import InputError
from ddfm.imaging.colormaps import colored
from ddfm.progress import stage
from ddfm.registration.space_files import checked_motion, read_space_transform
from ddfm.restoration.volume import sharpened
from ddfm.volumes.align import aligned, placed
from ddfm.volumes.files import read_volume
from ddfm.volumes.frame import continued
from ddfm.volumes.intensity import CT_WINDOW, GREY, Window, is_ct, scaled
from ddfm.volumes.montage import Scale
from ddfm.volumes.resample import inside_of, resampled
from ddfm.volumes.tilt import squared
from ddfm.volumes.volume import Origin, Volume

__all__ = ["Ready", "Said", "found_motion", "made_ready"]

ACTIVITY = ("PT", "NM")  # DICOM's words for PET and for SPECT
WIDEST = 100.0  # millimetres of a point spread function

Limits = tuple[float, float]


@dataclass(frozen=True)
class Said:
    """What a caller says of volumes; windows and colours are of each, in their order.

    See `fuse_volumes`, whose arguments these are.
    """

    axis: int | str | None
    windows: tuple[str | Window | None, ...]
    percentiles: Limits
    colormaps: tuple[str | None, ...]
    fwhm_b: float | None
    align: str
    motion: np.ndarray | None
    together: int

    def __post_init__(self) -> None:
        if self.fwhm_b is not None:
            fwhm_b = number("fwhm_b (--fwhm-b)", self.fwhm_b, 0, WIDEST)
            object.__setattr__(self, "fwhm_b", fwhm_b)

    def plain(self) -> dict[str, Any]:
        """By the names that `fuse_volumes` knows, ready for JSON."""
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
        """A window and a colour for each of so many volumes."""
        for kind, said in (("windows", self.windows), ("colormaps", self.colormaps)):
            if len(said) > count:
                raise InputError(
                    f"more_{kind} are for the third volume and those after it: {count - 2} of "
                    f"them, and not {len(said) - 2}"
                )
        windows = [*self.windows, *[None] * (count - len(self.windows))]
        return windows, [*self.colormaps, *[None] * (count - len(self.colormaps))]


@dataclass(frozen=True, eq=False)
class Ready:
    """Volumes that can be fused slice by slice.

    Attributes:
        volumes: as they were read, and laid on the first.
        sources: of them, on the grid of the first, from 0 to 1, in their colours.
        known: the sources, continued by the others where they do not reach.
        insides: where they do; None is everywhere.
        limits: what is black and what is white in each, and `scaled_by`, how that was found.
        scales: the same with colours, for a montage.
        order: in which fusers expect them, of the caller's order.
        found: how each but the first was laid.
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
        """What is fused."""
        return [self.known[k] for k in self.order]

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The files of all, and where these lie."""
        first, *others = self.volumes
        moved = (replace(o, affine=other.affine) for other in others for o in other.origins)
        return (*first.origins, *moved)

    def about(self, said: Said) -> dict[str, Any]:
        """For the settings of a result; of each in the order in which they are fused."""
        return {
            "align": said.align,
            "alignment": self.found,
            "order": self.order,
            **({} if said.fwhm_b is None else {"fwhm_b": said.fwhm_b}),
            "sources": [self.sources[k].name for k in self.order],
            "black_and_white": [list(self.limits[k]) for k in self.order],
            "scaled_by": [self.scaled_by[k] for k in self.order],
        }


def made_ready(given: Sequence[Any], said: Said) -> Ready:
    """Volumes from whatever `read_volume` takes."""
    first, inside = squared(_read(given[0], 1))
    others, found = [], []
    for k, source in enumerate(given[1:], 2):
        other, about = _laid(_read(source, k), first, said)
        others.append(other)
        found.append(about)
    volumes = (first, *others)
    windows, maps = said.of_each(len(volumes))
    sources: list[Volume] = []
    limits = []
    for volume, window, colormap in zip(volumes, windows, maps, strict=True):
        # Before it is resampled, so that percentiles are of the volume itself, not of its frame.
        values, limit = scaled(volume, window, said.percentiles)
        levels = _with(volume, values)
        if volume is others[0] and said.fwhm_b is not None:
            stage(f"undoing the resolution of {volume.name}")
            levels = sharpened(levels, first, said.fwhm_b, sources[0].grey)
        else:
            levels = resampled(levels, first, outside=0.0)
        sources.append(_in_colors(levels, colormap))
        limits.append(limit)
    insides = [inside, *(inside_of(other, first) for other in others)]
    known = continued([source.values for source in sources], insides)
    # Fusers expect the image of function, or of bone, first, and that of soft tissue last.
    ranks = [_rank(volume, colormap) for volume, colormap in zip(volumes, maps, strict=True)]
    by_window = zip(volumes, windows, strict=True)
    return Ready(
        volumes,
        tuple(sources),
        tuple(_with(source, values) for source, values in zip(sources, known, strict=True)),
        tuple(insides),
        tuple(limits),
        tuple(_scaled_by(volume, window, said.percentiles) for volume, window in by_window),
        tuple(map(_scale, volumes, maps, limits)),
        sorted(range(len(volumes)), key=lambda k: (ranks[k], k), reverse=True),
        found,
    )


def found_motion(transform: Any, align: str, more: int) -> np.ndarray | None:
    """What was said of how the second volume lies."""
    if transform is None:
        return None
    if align != "none":
        raise InputError(
            "align (--align) finds a transform, and transform (--transform) gives one; use either"
        )
    if more:
        raise InputError("transform (--transform) is for two volumes")
    if isinstance(transform, str | os.PathLike):
        return read_space_transform(transform)
    return checked_motion(transform)


def _laid(other: Volume, first: Volume, said: Said) -> tuple[Volume, Any]:
    """A volume as it lies on the first one, and how that was found."""
    if said.motion is None:
        return aligned(other, first, said.align)
    return placed(other, first, said.motion)


def _scale(volume: Volume, colormap: str | None, limits: Limits) -> Scale:
    name = _map_of(volume, colormap)
    return (*limits, None if name == GREY else name)


def _scaled_by(
    volume: Volume, window: str | Window | None, percentiles: tuple[float, float]
) -> str:
    """How black and white were found."""
    if volume.is_color:
        return "its colours"
    if window is None and is_ct(volume):
        window = CT_WINDOW
    if window is not None:
        return f"window {window}" if isinstance(window, str) else "window {:g}/{:g}".format(*window)
    return "percentiles {:g} and {:g}".format(*percentiles)


def _read(source: Any, number: int) -> Volume:
    if isinstance(source, str | os.PathLike):
        return read_volume(source)
    names = {1: "the first volume", 2: "the second volume"}
    return read_volume(source, name=names.get(number, f"volume {number}"))


def _with(volume: Volume, values: np.ndarray) -> Volume:
    return Volume(values, volume.affine, volume.name, volume.modality)


def _in_colors(volume: Volume, colormap: str | None) -> Volume:
    if volume.is_color or _map_of(volume, colormap) == GREY:
        return volume
    return _with(volume, colored(volume.values, _map_of(volume, colormap)))


def _map_of(volume: Volume, colormap: str | None) -> str:
    if colormap is not None:
        return colormap
    return "hot" if volume.modality in ACTIVITY else GREY


def _rank(volume: Volume, colormap: str | None) -> int:
    if volume.is_color or _map_of(volume, colormap) != GREY:
        return 2
    return 1 if is_ct(volume) else 0
