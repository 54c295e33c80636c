"""Crops of registered pairs, with features and targets that are computed once and kept on disk.

The prior is frozen and takes as long as the head, and so does the target. So the crops are chosen
once, at random scales, mirrored or not, with levels changed as cameras differ. Features and targets
are kept in half precision, one file per timestep and scale. They are computed again only if pairs,
crops, noise, prior or ddfm have changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.dmfuse.features import device_of, noise_like, read_features
from ddfm.errors import DdfmError, InputError
from ddfm.imaging.pairing import Pair
from ddfm.imaging.sources import grey, read_sources
from ddfm.priors.prior import Prior
from ddfm.progress import progress_bar
from ddfm.storage.atomic import atomic_path
from ddfm.storage.files import make_folder, remove, write_json
from ddfm.storage.inputs import json_object, read_text
from ddfm.storage.ours import MARK
from ddfm.training.dmfuse_loss import target
from ddfm.training.photographs import warn_of_small
from ddfm.version import __version__

__all__ = ["Crops", "FeatureCache", "choose_crops", "other_levels", "targets_of"]

AT_ONCE = 8  # crops that go through the prior together
KNOTS = 6  # number of knots of the curves that change levels


class Crops:
    """Registered crops (N, 2, size, size) in [0, 1]: infrared and visible."""

    def __init__(self, planes: Tensor) -> None:
        self.planes = planes

    def __len__(self) -> int:
        return len(self.planes)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.planes.contiguous().numpy().data).hexdigest()

    def at(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Infrared and visible of some crops, (B, 1, size, size) each."""
        i, v = self.planes[torch.as_tensor(index)].split(1, dim=1)
        return i, v


def choose_crops(
    pairs: Sequence[Pair], count: int, size: int, seed: int, progress: bool | None
) -> Crops:
    """Random crops, equally many of each pair, half of them mirrored."""
    planes, small = [], []
    bar = progress_bar(progress, pairs, desc="reading pairs", leave=True)
    for number, pair in enumerate(bar):
        share = count // len(pairs) + (number < count % len(pairs))
        if not share:
            continue
        whole = _read(pair)
        if min(whole.shape[-2:]) < size:
            small.append(pair.name)
            continue
        rng = np.random.default_rng([seed, number])
        planes += [_crop(whole, size, rng) for _ in range(share)]
    if not planes:
        raise InputError(
            f"no pair has at least {size} x {size} pixels, the size of crops to train on"
        )
    warn_of_small("pairs", small, len(pairs), size)
    return Crops(torch.stack(planes))


def _read(pair: Pair) -> Tensor:
    a, b = read_sources(pair.files)
    return torch.from_numpy(np.stack([grey(a), grey(b)]))


def _crop(whole: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """A square part of any size, from a detail to the whole height, resized, with other levels."""
    most = min(whole.shape[-2:])
    side = round(size * (most / size) ** rng.uniform(-0.3, 1))
    top, left = (int(rng.integers(length - side + 1)) for length in whole.shape[-2:])
    crop = whole[None, :, top : top + side, left : left + side]
    crop = F.interpolate(crop, (size, size), mode="bilinear", antialias=True)[0]
    crop = torch.stack([other_levels(x, rng) for x in crop])
    return crop.flip(-1) if rng.random() < 0.5 else crop


def other_levels(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Levels in [0, 1] as another camera, time or weather might give them, in the same order.

    Few sets of pairs contain cold next to warm roads, nights and bright skies. A power makes the
    whole image darker or brighter; then a curve is applied, fully or in part, which is linear
    between knots that rise by random steps.
    """
    steps = rng.exponential(size=KNOTS - 1)
    low, high = 0.4 * rng.random() ** 2, 1 - 0.4 * rng.random() ** 2
    curve = low + (high - low) * np.append(0, steps.cumsum() / steps.sum())
    followed = rng.random()
    knots = np.linspace(0, 1, KNOTS)
    powered = x.numpy() ** np.exp(rng.uniform(-0.8, 1))
    values = np.interp(powered, knots, followed * curve + (1 - followed) * knots)
    return torch.from_numpy(values).to(x)


class Kept:
    """Arrays computed from all crops: read from a folder, or computed and written there first."""

    def __init__(self, folder: Path, crops: Crops, progress: bool | None) -> None:
        self.folder, self.crops, self.progress = folder, crops, progress
        make_folder(folder)

    def arrays(
        self, name: str, of: dict[str, Any], compute: Callable[[int, Tensor], list[Tensor]]
    ) -> list[np.ndarray]:
        """The arrays of this name, with one row per crop.

        Args:
            name: the name of their files.
            of: what else they depend on; if it has changed, they are computed again.
            compute: takes the index of the first of some crops, and the crops (B, 2, size, size).
        """
        note = self.folder / f"{name}.json"
        of = of | {"crops": self.crops.sha256}
        if _read_note(note).get("of") != of:
            remove(note)
            count = self._compute(name, compute)
            # Written last: files without a note are incomplete.
            write_json(note, {"of": of, "arrays": count})
        files = [self._file(name, k) for k in range(_read_note(note)["arrays"])]
        return [np.load(file, mmap_mode="r") for file in files]

    def _file(self, name: str, number: int) -> Path:
        return self.folder / f"{name}-{number}.npy"

    def _compute(self, name: str, compute: Callable[[int, Tensor], list[Tensor]]) -> int:
        files: list[BinaryIO] = []
        steps = range(0, len(self.crops), AT_ONCE)
        with ExitStack() as all_files:
            for first in progress_bar(self.progress, steps, desc=name, leave=True):
                made = compute(first, self.crops.planes[first : first + AT_ONCE])
                for number, x in enumerate(made):
                    if number == len(files):
                        shape = (len(self.crops), *x.shape[1:])
                        new = _new_array(self._file(name, number), shape)
                        files.append(all_files.enter_context(new))
                    files[number].write(x.half().cpu().numpy().astype("<f2").tobytes())
        return len(files)


def targets_of(folder: Path, crops: Crops, loss: str, progress: bool | None) -> np.ndarray:
    """The target of each crop, which the head learns to produce, in half precision."""
    make = target(loss)

    def compute(_: int, some: Tensor) -> list[Tensor]:
        return [make(*some.split(1, dim=1))]

    of = {"ddfm": __version__}
    (targets,) = Kept(folder, crops, progress).arrays(f"targets-{loss}", of, compute)
    return targets


class FeatureCache:
    """Features of crops at any timestep, kept on disk."""

    def __init__(
        self,
        folder: Path,
        prior: Prior,
        crops: Crops,
        noise: str,
        seed: int,
        progress: bool | None,
    ) -> None:
        self.kept = Kept(folder / noise, crops, progress)
        self.prior, self.noise, self.seed = prior, noise, seed
        self._maps: dict[int, list[np.ndarray]] = {}

    def batch(self, index: Sequence[int], timesteps: Sequence[int]) -> tuple[list[Tensor], ...]:
        """Features of both sources of some crops, timesteps concatenated, finest scale first."""
        maps = [self._at(t) for t in timesteps]
        both = []
        for source in (0, 1):
            scales = zip(*([m[index, source] for m in at_t] for at_t in maps), strict=True)
            both.append([torch.from_numpy(np.concatenate(s, axis=1)).float() for s in scales])
        return tuple(both)

    def _at(self, t: int) -> list[np.ndarray]:
        if t not in self._maps:
            of = {
                "prior": self.prior.fingerprint or self.prior.name,
                "noise": self.noise,
                "seed": self.seed if self.noise == "random" else None,
            }
            self._maps[t] = self.kept.arrays(
                f"features-t{t}", of, lambda first, some: self._features(t, first, some)
            )
        return self._maps[t]

    def _features(self, t: int, first: int, some: Tensor) -> list[Tensor]:
        x = (2 * some - 1).flatten(0, 1)[:, None].to(device_of(self.prior))
        # Each source of each crop has its own noise at each t.
        numbers = range(2 * first, 2 * first + len(x))
        noise = noise_like(x, self.noise, [_seed(self.seed, t, n) for n in numbers])
        features = read_features(self.prior, x, (t,), (noise,))
        return [f.unflatten(0, (-1, 2)) for f in features]


@contextmanager
def _new_array(path: Path, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """A file of an array, to which its rows are written; after them, it holds the mark of ddfm.

    It is not mapped into memory, where a full disk would kill the process without a message.
    """
    about = {"descr": "<f2", "fortran_order": False, "shape": shape}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, about)
        yield file
        np.save(file, np.array(MARK.encode()))


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _read_note(note: Path) -> dict[str, Any]:
    """The note next to arrays, of what they were computed from; empty if there is none."""
    with suppress(DdfmError):
        return json_object(read_text(note), "")
    return {}
