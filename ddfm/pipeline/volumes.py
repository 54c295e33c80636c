"""Volumes of one patient, two or more, fused slice by slice.

The others are brought onto the grid of the first. All are scaled as whole volumes, every
slice gets the same noise, and the contrast, and weights, that the likelihood would choose for each
slice are chosen for all of them at once: nothing but the anatomy changes from slice to slice.

The volume appears when it is whole. Its slices may be kept in a folder as they are made, so that
an interrupted run goes on where it was (see `kept_slices`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.arguments import by_annotation, number
from ddfm.errors import InputError
from ddfm.fuser import Fuser
from ddfm.imaging.colormaps import colored
from ddfm.pipeline.runner import run
from ddfm.pipeline.slices import SliceWork, keeping, kept_slices
from ddfm.progress import progress_bar, stage
from ddfm.restoration.volume import sharpened
from ddfm.volumes.align import aligned
from ddfm.volumes.files import read_volume, write_volume
from ddfm.volumes.intensity import CT_WINDOW, GREY, Window, is_ct, scaled
from ddfm.volumes.montage import Scale, montage
from ddfm.volumes.resample import resampled
from ddfm.volumes.volume import Volume, find_axis

__all__ = ["VolumeFusion", "fuse_volumes", "kept_slices"]

ACTIVITY = ("PT", "NM")  # DICOM's words for PET and for SPECT
WIDEST = 100.0  # millimetres of a point spread function


@dataclass(frozen=True, eq=False)
class VolumeFusion:
    """A fused volume, and what made it.

    Attributes:
        volume: on the grid of the first volume. Grey levels are from 0 to 65535, colours from 0
            to 1; neither is in the unit of a source.
        settings: all that the result depends on beside the sources, ready for JSON. Its "sources"
            are in the order in which they were fused, and so is what "color" calls a and b.
        sources: as they were fused, on the grid of the first, from 0 to 1, in the caller's order.
        scales: of each of them, what was black, what was white, and the colours in between.
        uncertainty: the standard deviation of the levels, from 0 to 1, if samples were asked for;
            see `Fusion.uncertainty`.
    """

    volume: Volume
    settings: dict[str, Any]
    sources: tuple[Volume, ...] = field(repr=False)
    scales: tuple[Scale, ...] = ()
    uncertainty: Volume | None = field(default=None, repr=False)

    @property
    def values(self) -> np.ndarray:
        """(I, J, K) uint16, or (I, J, K, 3) uint8."""
        return self.volume.stored()

    @by_annotation
    def save(self, path: str | os.PathLike[str], *, keep_identity: bool = False) -> None:
        """Writes .nii, .nii.gz, .nrrd, or a folder for a series of DICOM; see `write_volume`."""
        write_volume(path, self.volume, keep_identity=keep_identity)

    @by_annotation
    def montage(
        self, path: str | os.PathLike[str], *, axis: int | str | None = None, count: int = 8
    ) -> None:
        """Writes an image of some slices: the sources above with their scales, the result below."""
        volumes = [*self.sources, self.volume]
        montage(volumes, path, axis=axis, count=count, scales=self.scales)


@by_annotation
def fuse_volumes(
    a: Any,
    b: Any,
    fuser: Fuser | None = None,
    *,
    more: Sequence[Any] = (),
    axis: int | str | None = None,
    window_a: str | Window | None = None,
    window_b: str | Window | None = None,
    percentiles: tuple[float, float] = (0.5, 99.5),
    colormap_a: str | None = None,
    colormap_b: str | None = None,
    fwhm_b: float | None = None,
    align: str = "none",
    together: int = 1,
    keep: str | os.PathLike[str] | None = None,
    verify: bool = False,
    samples: int = 0,
    progress: bool | None = None,
) -> VolumeFusion:
    """Fuses volumes, registered with one another, on the grid of the first.

    Args:
        a, b: whatever `read_volume` takes: paths, arrays with their affines, ...
        more: third volumes, fourth volumes, ..., whose windows and colours are found out.
        fuser: what fuses the slices; None is `Fuser(task="medical")`.
        axis: the slices to fuse: "axial", "coronal", "sagittal", or the index (0, 1, 2) along
            which they are stacked. None takes those of the best resolution.
        window_a, window_b: for CT, what is black and what is white: a name ("brain", "bone",
            "soft-tissue", "lung", ...), "LEVEL/WIDTH" ("40,80", too), or such a pair of
            numbers. None is "soft-tissue" for CT, and percentiles for everything else.
        percentiles: of the values above background, what is black and what is white.
        colormap_a, colormap_b: the colours of an activity: "hot", "ember", "ice", "green", or
            "none" for grey. None is "hot" for DICOM of PET and SPECT, grey for everything else.
        fwhm_b: resolution of the second volume, full width at half maximum in millimetres, which is
            undone on the grid of the first; 0 is that of its voxels. None interpolates.
        align: "none" believes what all say of the patient's space, and warns where that is surely
            wrong; "rigid" or "affine" corrects the others by mutual information.
        together: how many slices go through the network at once, which makes a GPU faster.
        keep: a folder that slices are kept in as they are made, and an interrupted run goes on
            from; None keeps none.
        verify: whether kept slices are known by what is in their files, where sizes and times of
            their last change would do.
        samples: of each slice, for the `uncertainty` of the result; 16 will do, 0 is for none.
            Slices then go through the network one by one.
        progress: a bar; None shows one on a terminal.
    """
    if fwhm_b is not None:
        number("fwhm_b (--fwhm-b)", fwhm_b, 0, WIDEST)
    first, others, found = _read(a, "the first volume"), [], []
    for place, source in enumerate((b, *more), 2):
        name = "the second volume" if place == 2 else f"volume {place}"
        other, transform = aligned(_read(source, name), first, align)
        others.append(other)
        found.append(transform)
    volumes = [first, *others]
    axis = find_axis(first, axis)
    unsaid = [None] * len(more)
    windows, maps = [window_a, window_b, *unsaid], [colormap_a, colormap_b, *unsaid]
    sources, limits = [], []
    for volume, window, colormap in zip(volumes, windows, maps, strict=True):
        # Before it is resampled, so that percentiles are of the volume itself, not of its frame.
        values, limit = scaled(volume, window, percentiles)
        scaled_volume = _with(volume, values)
        if volume is others[0] and fwhm_b is not None:
            stage(f"undoing the resolution of {volume.name}")
            scaled_volume = sharpened(scaled_volume, first, fwhm_b, _levels(sources[0]))
        else:
            scaled_volume = resampled(scaled_volume, first, outside=0.0)
        sources.append(_in_colors(scaled_volume, colormap))
        limits.append(list(limit))
    fuser = (Fuser(task="medical") if fuser is None else fuser).with_config(look=False)
    # Fusers expect the image of function, or of bone, first, and that of soft tissue last.
    ranks = [_rank(volume, colormap) for volume, colormap in zip(volumes, maps, strict=True)]
    order = sorted(range(len(volumes)), key=lambda k: (ranks[k], k), reverse=True)
    fuser = _in_order(fuser, order)
    kept = None if keep is None else Path(keep)
    work = SliceWork(fuser, [sources[k] for k in order], axis, together, kept, samples)
    bar = progress_bar(progress, total=len(work.busy), unit="slice")
    with bar, keeping(work, verify) as sink:
        run(work.items(), work, sink, stop=True, bar=bar)
    settings = work.fuser.settings(work.fuser.config.usual_task) | {
        "axis": axis,
        "align": align,
        "alignment": found,
        **({} if fwhm_b is None else {"fwhm_b": fwhm_b}),
        "sources": [sources[k].name for k in order],
        "black_and_white": [limits[k] for k in order],
        "scaled_by": [_scaled_by(volumes[k], windows[k], percentiles) for k in order],
    }
    fused = Volume(
        work.volume(),
        first.affine,
        "the fused volume",
        source=first.source,
        burned_in=any(volume.burned_in for volume in volumes),
        origins=(
            *first.origins,
            *(replace(o, affine=other.affine) for other in others for o in other.origins),
        ),
    )
    scales = []
    for volume, colormap, (low, high) in zip(volumes, maps, limits, strict=True):
        name = _map_of(volume, colormap)
        scales.append((low, high, None if name == GREY else name))
    std, name = work.std(), "the uncertainty"
    sure = None if std is None else Volume(std, first.affine, name, source=first.source)
    return VolumeFusion(fused, settings, tuple(sources), tuple(scales), sure)


def _in_order(fuser: Fuser, order: Sequence[int]) -> Fuser:
    """The caller's a and b, and what is between them, for sources that come in this order."""
    config = fuser.config
    if len(order) == 2:
        color = config.color
        if order[0] == 1:
            other = {"a": "b", "b": "a"}.get(color, color)
            return fuser.with_config(color=other, balance=0 - config.balance)
        return fuser
    if config.color in ("a", "b"):
        raise InputError("color a or b (--color) is for two volumes; auto or grey for more")
    return fuser


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


def _read(source: Any, name: str) -> Volume:
    return read_volume(source, name=None if isinstance(source, (str, os.PathLike)) else name)


def _with(volume: Volume, values: np.ndarray) -> Volume:
    return Volume(values, volume.affine, volume.name, volume.modality)


def _levels(volume: Volume) -> np.ndarray:
    return volume.values.mean(3) if volume.is_color else volume.values


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
