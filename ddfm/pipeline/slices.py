"""Fuses the slices of volumes on one grid, and keeps them until the fused volume is written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np

from ddfm.errors import InputError
from ddfm.fuser import Fuser
from ddfm.fusing.checks import check_attribution
from ddfm.imaging.picture import Picture
from ddfm.pipeline.runner import FolderSink, Item, Made, Sink, check_outputs
from ddfm.storage.checksum import KnownData
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import Manifest, Shard
from ddfm.storage.ours import MARK
from ddfm.trust.attribution import Attribution
from ddfm.trust.samples import check_samples
from ddfm.volumes.volume import Volume, slices

__all__ = ["SliceWork", "keeping", "kept_slices", "picture_of"]

SAMPLE = 9  # slices from which the contrast of the whole volume is estimated

Groups = list[tuple[Picture, ...]]


class SliceWork:
    """Fuses slices into a volume.

    Args:
        fuser: what fuses the slices.
        sources: the volumes, ready to be fused.
        insides: where each of them is known, (I, J, K); None is everywhere.
        axis: the index along which the slices are stacked.
        together: how many slices go through the network at once.
        kept: the folder where slices are kept, or None.
        samples: how many results the uncertainty is computed from; 0 computes none.
        attribution: whether the shares of the sources are computed.
        shard: the part of the slices to fuse, while other processes fuse the rest.

    Attributes:
        fuser: the fuser in use, whose options are estimated from some slices and hold for all.
        settings: everything a slice depends on except its sources.
        observed: what was detected in the sources of each slice, and corrected.
    """

    def __init__(
        self,
        fuser: Fuser,
        sources: Sequence[Volume],
        insides: Sequence[np.ndarray | None],
        *,
        axis: int,
        together: int,
        kept: Path | None,
        samples: int,
        attribution: bool,
        shard: Shard | None,
    ) -> None:
        self.samples, self.attribution = check_samples(samples), attribution
        self.shard = shard
        if shard is not None and kept is None:
            raise InputError(
                "to fuse a shard of the slices of a volume, give a folder to keep them in (keep)"
            )
        if attribution:
            check_attribution(fuser.config)
        if together < 1:
            raise InputError(f"together (--together) must be 1 or more, not {together}")
        self.grid, self.axis, self.together, self.kept = sources[0], axis, together, kept
        self.stacks = [slices(source.values, self.grid.affine, axis) for source in sources]
        self.frames = [
            None if inside is None else slices(inside, self.grid.affine, axis) for inside in insides
        ]
        # Slices that are black in all sources are not fused: they stay black.
        count = len(self.stacks[0])
        self.busy = [k for k in range(count) if any(stack[k].any() for stack in self.stacks)]
        self.fuser = fuser.with_shared_estimates(self._sample())
        self.settings: Entry = self.fuser.settings(self.fuser.config.usual_task) | {
            "together": together,
            "axis": axis,
            "shape": list(self.grid.shape),
        }
        if samples:
            self.settings["samples"] = samples
        if attribution:
            self.settings["attribution"] = True
        self.observed: list[Any] = []
        self._made: list[np.ndarray] = []  # the fused volume, then the requested maps

    def _sample(self) -> Groups:
        """Some slices at equal distances, or all if there are few."""
        if not self.busy:
            return []
        chosen = {round(k) for k in np.linspace(0, len(self.busy) - 1, SAMPLE)}
        return self._groups([self.busy[k] for k in sorted(chosen)])

    def mine(self) -> list[list[int]]:
        """The slices to fuse in this shard, in groups that go through the network at once."""
        begins = range(0, len(self.busy), self.together)
        groups = [self.busy[begin : begin + self.together] for begin in begins]
        return groups if self.shard is None else list(self.shard.part(groups))

    def items(self) -> Iterator[Item]:
        for some in self.mine():
            sources = [
                KnownData(name, *(np.ascontiguousarray(stack[k]).tobytes() for k in some))
                for name, stack in zip(ascii_lowercase, self.stacks, strict=False)
            ]
            yield Item(f"{some[0]:06d}.npy", sources, some, size=len(some))

    def load(self, item: Item) -> Groups:
        return self._groups(item.given)

    def fuse(self, item: Item, loaded: Groups) -> Made:
        if self.samples or self.attribution:
            wanted = partial(self.fuser, samples=self.samples, attribution=self.attribution)
            fusions = [wanted(*group, progress=False) for group in loaded]
        else:
            fusions = list(self.fuser.stream(loaded, together=self.together, progress=False))
        arrays = [np.stack([_stored(fusion.picture.pixels) for fusion in fusions])]
        stds = [fusion.uncertainty.std for fusion in fusions if fusion.uncertainty is not None]
        found = zip(item.given, (fusion.attribution for fusion in fusions), strict=True)
        maps = [_planes(one.among(self._valid(k))) for k, one in found if one is not None]
        arrays += [np.stack(one, dtype=np.float32) for one in (stds, maps) if one]
        self._put(item.given, arrays)
        observed = [fusion.settings.get("observed", []) for fusion in fusions]
        self.observed += observed
        return Made(arrays, {"settings": self.settings, "observed": observed})

    def recall(self, item: Item, entry: Entry) -> None:
        assert self.kept is not None
        path = self.kept / item.output
        try:
            with open(path, "rb") as file:
                count = 1 + bool(self.samples) + self.attribution
                arrays = [np.load(file, allow_pickle=False) for _ in range(count)]
            self._put(item.given, arrays)
            self.observed += entry.get("observed", [])
        except (OSError, TypeError, ValueError) as error:
            raise InputError(f"cannot continue from {path}: {error}; remove this file") from None

    def volume(self) -> np.ndarray:
        """The fused volume: (I, J, K) uint16, or (I, J, K, 3) float32."""
        return self._made[0] if self._made else np.zeros(self.grid.shape, np.uint16)

    def std(self) -> np.ndarray | None:
        """The uncertainty, if requested: (I, J, K) float32, levels from 0 to 1; 0 where black."""
        if not self.samples:
            return None
        return self._made[1] if self._made else np.zeros(self.grid.shape, np.float32)

    def shares(self) -> np.ndarray | None:
        """The attribution, if requested: (I, J, K, 2 S + 3) float32, of S sources.

        The order of the planes is that of `Attribution`. It is 0 in slices without any content.
        """
        if not self.attribution:
            return None
        count = 2 * len(self.stacks) + 3
        return self._made[-1] if self._made else np.zeros((*self.grid.shape, count), np.float32)

    def _put(self, indices: list[int], arrays: list[np.ndarray]) -> None:
        if not self._made:
            shape = self.grid.shape
            self._made = [np.zeros((*shape, *x.shape[3:]), x.dtype) for x in arrays]
        for volume, planes in zip(self._made, arrays, strict=True):
            slices(volume, self.grid.affine, self.axis)[indices] = planes

    def _valid(self, k: int) -> list[np.ndarray | None]:
        """Where each source is known in slice k."""
        return [None if frame is None else frame[k] for frame in self.frames]

    def _groups(self, indices: Sequence[int]) -> Groups:
        return [tuple(picture_of(stack[k]) for stack in self.stacks) for k in indices]


@contextmanager
def kept_slices(out: str | os.PathLike[str], shard: Shard | None = None) -> Iterator[Path]:
    """A hidden folder next to the volume `out`, for `fuse_volumes`; removed if the block succeeds.

    After an error or a kill, or if only a shard was fused, it stays for a later run to continue.
    """
    out = Path(out)
    folder = out.parent / f".ddfm-slices-{out.name}"
    yield folder
    if shard is None and folder.is_dir():
        with Manifest(folder) as manifest:
            manifest.clear()


@contextmanager
def keeping(work: SliceWork, verify: bool) -> Iterator[Sink]:
    """Keeps the slices in the folder of the work, if it has one."""
    if work.kept is None:
        yield _NoSink()
        return
    with Manifest(work.kept, work.shard) as manifest:
        check_outputs(manifest, list(work.items()))
        try:
            yield FolderSink(manifest, [work.settings], _save, verify)
        finally:
            if not manifest.entries and work.shard is None:
                manifest.clear()


class _NoSink:
    """Keeps no slices."""

    def path(self, item: Item) -> Path:
        return Path(item.output)

    def find(self, item: Item) -> Entry | None:
        return None

    def write(self, item: Item, made: Made) -> None:
        pass


def _save(arrays: list[np.ndarray], temporary: Path) -> None:
    """Writes slices and their maps, then the mark by which ddfm recognises its files."""
    with open(temporary, "wb") as file:
        for array in arrays:
            np.save(file, array, allow_pickle=False)
        np.save(file, np.array(MARK.encode()))


def _planes(of: Attribution) -> np.ndarray:
    """(H, W, 2 S + 3), of S sources: shares of levels, of gradients, and what is unsupported."""
    return np.moveaxis(np.stack([plane for _, plane in of.planes()]), 0, -1)


def _stored(pixels: np.ndarray) -> np.ndarray:
    """Grey as 16-bit integers, as volumes are stored; colours unchanged."""
    return pixels if pixels.shape[2] == 3 else np.rint(pixels[..., 0] * 65535).astype(np.uint16)


def picture_of(plane: np.ndarray) -> Picture:
    """A slice (H, W) or (H, W, 3) with levels from 0 to 1."""
    pixels = plane if plane.ndim == 3 else plane[..., None]
    return Picture(np.ascontiguousarray(pixels, np.float32), dtype=np.dtype(np.float32))
