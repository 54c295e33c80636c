"""Two or more volumes of one patient, fused slice by slice.

All volumes are resampled to the grid of the first. They are scaled as whole volumes, all slices are
fused with the same random noise, and the contrast and weights that the likelihood estimates are the
same for all slices: only the anatomy changes from slice to slice.

The volume is written once it is complete. Its slices may be kept in a folder as they are made, so
that an interrupted run can be continued (see `kept_slices`), and many processes can share the work:
each fuses a shard of the slices, and a run without a shard then finds them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np

from ddfm.arguments import by_annotation
from ddfm.errors import InputError
from ddfm.fuser import Fuser
from ddfm.imaging.metadata.record import Record
from ddfm.pipeline.runner import run
from ddfm.pipeline.slices import SliceWork, keeping
from ddfm.pipeline.summary import Outcome
from ddfm.pipeline.volume_sources import Ready, VolumeOptions, found_motion, made_ready
from ddfm.progress import progress_bar
from ddfm.restoration.corrections import summed_up
from ddfm.restoration.observation import observation_of_each
from ddfm.storage.checksum import sha256_of_all
from ddfm.storage.manifest import Shard
from ddfm.trust.attribution import PRIOR, names_of_planes
from ddfm.volumes import nifti
from ddfm.volumes.files import check_planes_output, write_volume
from ddfm.volumes.intensity import PERCENTILES, Window
from ddfm.volumes.montage import Scale, montage
from ddfm.volumes.volume import Volume, find_axis

__all__ = ["VolumeFusion", "fuse_volumes"]


@dataclass(frozen=True, eq=False)
class VolumeAttribution:
    """Shares of a fused volume's levels and gradients; see `Attribution`, slice by slice.

    Attributes:
        names: what each plane holds: levels of a, b, ... and of the prior, gradients of the same,
            and what is unsupported. Sources are in the caller's order.
        values: (I, J, K, N) float32, on the grid of the result.
    """

    names: tuple[str, ...]
    values: np.ndarray = field(repr=False)
    result: Volume = field(repr=False)

    @classmethod
    def of(cls, shares: np.ndarray, order: Sequence[int], result: Volume) -> VolumeAttribution:
        """From shares in the order of fusion; `order` has the caller's indices of the sources."""
        count = len(order) + 1
        # Where each source of the caller's order is, and the prior after them.
        place = [*np.argsort(order), len(order)]
        planes = [*place, *(count + k for k in place), 2 * count]
        names = names_of_planes([*ascii_lowercase[: len(order)], PRIOR])
        return cls(tuple(names), shares[..., planes], result)

    @by_annotation
    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes .nii or .nii.gz; a comment in its header names the planes on the fourth axis."""
        path = Path(path)
        check_planes_output(path)
        nifti.write_planes(path, self.names, self.values, self.result)


@dataclass(frozen=True, eq=False, repr=False)
class VolumeFusion:
    """A fused volume, and what made it.

    Attributes:
        volume: the result, on the grid of the first volume. Grey levels are from 0 to 65535,
            colours from 0 to 1; neither is in the unit of a source.
        settings: everything the result depends on except the sources, ready for JSON. Its
            "sources", "observations", "observed", and the a and b of "color", are in the order of
            fusion; "order" holds their indices in the caller's order, counted from 0.
        sources: the volumes as they were fused, on the grid of the first, from 0 to 1, in the
            caller's order.
        scales: for each of them, the values that were black and white, and the colours in between.
        uncertainty: the standard deviation of the levels, from 0 to 1, if samples were requested;
            see `Fusion.uncertainty`.
        attribution: which source its levels and gradients come from, if requested.
        record: how it was made, as its file records it, unless it was stripped.
    """

    volume: Volume
    settings: dict[str, Any]
    sources: tuple[Volume, ...]
    scales: tuple[Scale, ...] = ()
    uncertainty: Volume | None = None
    attribution: VolumeAttribution | None = None
    record: Record | None = None

    def __repr__(self) -> str:
        sources = " + ".join(source.name for source in self.sources)
        return f"VolumeFusion({self.volume.form}, of {sources})"

    @property
    def values(self) -> np.ndarray:
        """(I, J, K) uint16, or (I, J, K, 3) uint8."""
        return self.volume.stored()

    @by_annotation
    def save(self, path: str | os.PathLike[str], *, keep_identity: bool = False) -> None:
        """Writes .nii, .nii.gz, .nrrd, or a folder with a DICOM series; see `write_volume`."""
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
    percentiles: tuple[float, float] = PERCENTILES,
    colormap_a: str | None = None,
    colormap_b: str | None = None,
    fwhm_b: float | None = None,
    more_windows: Sequence[str | Window | None] = (),
    more_colormaps: Sequence[str | None] = (),
    align: str = "none",
    transform: Any = None,
    together: int = 1,
    keep: str | os.PathLike[str] | None = None,
    verify: bool = False,
    samples: int = 0,
    attribution: bool = False,
    shard: Shard | None = None,
    progress: bool | None = None,
    callback: Callable[[Outcome], object] | None = None,
) -> VolumeFusion:
    """Fuses registered volumes on the grid of the first.

    Args:
        a, b: anything that `read_volume` takes: paths, arrays with their affines, ...
        more: third volumes, fourth volumes, ...
        fuser: what fuses the slices; None is `Fuser(task="medical")`.
        axis: which slices are fused: "axial", "coronal", "sagittal", or the index (0, 1, 2) along
            which they are stacked. None takes those of the best resolution.
        window_a, window_b: for CT, the window whose ends become black and white: a name ("brain",
            "bone", "soft-tissue", "lung", ...), "LEVEL/WIDTH" (or "40,80"), or such a pair of
            numbers. None is "soft-tissue" for CT, and percentiles for everything else.
        percentiles: the percentiles of the values above background that become black and white.
        colormap_a, colormap_b: the colours of an activity: "ember", "hot", "ice", "green", or
            "none" for grey. None is "ember" for DICOM of PET and SPECT, grey for everything else.
        fwhm_b: the blur of the second volume, as full width at half maximum in millimetres, which
            is undone on the grid of the first; 0 is only that of its voxels. None interpolates.
        more_windows, more_colormaps: the same for `more`, in order; missing ones are None.
        align: "none" trusts the positions in the files, and warns if they are clearly wrong;
            "rigid" or "affine" corrects those of all but the first by mutual information.
        transform: of the second volume, if it is known: a matrix (4, 4) from points of the first
            volume to those of the second, in millimetres (RAS), or a file that
            `read_space_transform` takes. It is used as it is; a warning tells if it is clearly
            wrong.
        together: how many slices go through the network at once; more are faster on a GPU.
        keep: a folder where slices are kept as they are made, so that an interrupted run can be
            continued; None keeps none.
        verify: whether to compare the contents of kept slices to recognise them; by default their
            sizes and modification times are compared.
        samples: how many results of each slice the `uncertainty` is computed from; 16 are enough, 0
            computes none. Slices then go through the network one by one.
        attribution: whether to compute which source the levels and gradients come from; slices then
            also go through the network one by one.
        shard: the part of the slices that this process fuses and keeps while others fuse the rest.
            The returned volume lacks the other slices.
        progress: whether to show a progress bar; None shows one on a terminal.
        callback: is called with the outcome of each slice, or of each group that goes together; if
            it returns False, `Cancelled` is raised, and with `keep` the next run continues from
            there.
    """
    options = VolumeOptions(
        axis,
        (window_a, window_b, *more_windows),
        percentiles,
        (colormap_a, colormap_b, *more_colormaps),
        fwhm_b,
        align,
        found_motion(transform, align, len(more)),
        together,
    )
    ready = made_ready([a, b, *more], options)
    asked = (Fuser(task="medical") if fuser is None else fuser).with_config(look=False)
    work = SliceWork(
        _in_order(asked, ready.order),
        ready.ordered,
        [ready.insides[k] for k in ready.order],
        axis=find_axis(ready.first, axis),
        together=together,
        kept=None if keep is None else Path(keep),
        samples=samples,
        attribution=attribution,
        shard=shard,
    )
    bar = progress_bar(progress, total=sum(map(len, work.mine())), unit="slice")
    with bar, keeping(work, verify) as sink:
        run(work.items(), work, sink, stop=True, bar=bar, callback=callback)
    return _result(work, asked, ready, options)


def _result(work: SliceWork, asked: Fuser, ready: Ready, options: VolumeOptions) -> VolumeFusion:
    """The fused slices as a volume, with its maps and its record."""
    observed = summed_up(work.observed, "slices")
    of_caller = [observed[ready.order.index(k)] for k in range(len(observed))]
    # The settings of the caller, with the options that were estimated for all slices.
    asked = asked.with_config(options=work.fuser.config.options)
    record = _record(asked, ready.volumes, options, of_caller)
    settings = work.fuser.settings(work.fuser.config.usual_task) | {"axis": work.axis}
    settings |= {"observed": observed} if observed else {}
    fused = Volume(
        work.volume(),
        ready.first.affine,
        "the fused volume",
        source=ready.first.source,
        burned_in=any(volume.burned_in for volume in ready.volumes),
        origins=ready.origins,
        record=None if asked.config.strip else record.text,
    )
    std, shares = work.std(), work.shares()
    return VolumeFusion(
        fused,
        settings | ready.about(options),
        ready.sources,
        ready.scales,
        None if std is None else replace(fused, values=std, name="the uncertainty"),
        None if shares is None else VolumeAttribution.of(shares, ready.order, fused),
        record,
    )


def _record(
    fuser: Fuser, volumes: Sequence[Volume], options: VolumeOptions, observed: Sequence[Any]
) -> Record:
    """The record; it names sources a, b, ..., since names of files may be those of patients."""
    digests = [sha256_of_all(volume.files) if volume.files else None for volume in volumes]
    sources = list(zip(ascii_lowercase, digests, strict=False))
    plain = options.plain() | {"series_a": volumes[0].series, "series_b": volumes[1].series}
    numbers = [volume.number for volume in volumes]
    plain["numbers"] = numbers if any(number is not None for number in numbers) else None
    opening = {"volume": {name: value for name, value in plain.items() if value is not None}}
    return Record.of(fuser.settings(fuser.config.usual_task), sources, opening, observed)


def _in_order(fuser: Fuser, order: Sequence[int]) -> Fuser:
    """A fuser whose settings for single sources, given for the caller's order, fit this one."""
    given = observation_of_each(fuser.config.observations, len(order))
    fuser = fuser.with_config(observations=[given[k].plain() for k in order])
    color = fuser.config.color
    if len(order) > 2 and color in ("a", "b"):
        raise InputError(
            "color a or b (--color) is only for two volumes; use auto or grey for more"
        )
    if order == [1, 0]:
        other = {"a": "b", "b": "a"}.get(color, color)
        return fuser.with_config(color=other, balance=0 - fuser.config.balance)
    return fuser
