"""Crops of registered pairs, and the prior's features of them, computed once and kept on disk.

The prior is frozen and costs many times what the head does, so the crops are chosen once, mirrored
or not, and their features are kept in half precision, a file for each timestep and scale. They
are made again only where pairs, crops, noise or prior have changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddfm.dmfuse.features import device_of, noise_like, read_features
from ddfm.errors import InputError
from ddfm.imaging.pairing import Pair
from ddfm.imaging.sources import grey, read_sources
from ddfm.priors.prior import Prior
from ddfm.progress import progress_bar
from ddfm.storage.atomic import atomic_path
from ddfm.storage.files import make_folder, remove, write_json
from ddfm.storage.ours import MARK
from ddfm.training.dmfuse_loss import levels

__all__ = ["Crops", "FeatureCache", "choose_crops"]

AT_ONCE = 8  # crops that go through the prior together


class Crops:
    """Registered crops (N, 3, size, size) in [0, 1]: infrared, visible, and the level to aim at."""

    def __init__(self, planes: Tensor) -> None:
        self.planes = planes

    def __len__(self) -> int:
        return len(self.planes)

    @property
    def sha256(self) -> str:
        """Of both sources."""
        return hashlib.sha256(self.planes[:, :2].contiguous().numpy().data).hexdigest()

    def at(self, index: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Infrared, visible and level of some crops, (B, 1, size, size) each."""
        i, v, u = self.planes[torch.as_tensor(index)].split(1, dim=1)
        return i, v, u


def choose_crops(
    pairs: Sequence[Pair], count: int, size: int, seed: int, kind: str, progress: bool | None = None
) -> Crops:
    """As many crops of each pair as of any other, at random places, half of them mirrored.

    Args:
        kind: the loss, which says what level to aim at.
    """
    planes = []
    bar = progress_bar(progress, pairs, desc="reading pairs", leave=True)
    for number, pair in enumerate(bar):
        share = count // len(pairs) + (number < count % len(pairs))
        whole = _read(pair) if share else torch.zeros(2, 0, 0)
        if min(whole.shape[-2:]) < size:
            continue
        i, v = whole.split(1)
        whole = torch.cat([whole, levels(i[None], v[None], kind)[0]])
        rng = np.random.default_rng([seed, number])
        planes += [_crop(whole, size, rng) for _ in range(share)]
    if not planes:
        raise InputError(f"no pair has {size} x {size} pixels to train on")
    return Crops(torch.stack(planes))


def _read(pair: Pair) -> Tensor:
    a, b = read_sources(pair.files)
    return torch.from_numpy(np.stack([grey(a), grey(b)]))


def _crop(whole: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    top, left = (int(rng.integers(side - size + 1)) for side in whole.shape[-2:])
    crop = whole[:, top : top + size, left : left + size]
    return crop.flip(-1) if rng.random() < 0.5 else crop.clone()


class FeatureCache:
    """Features of crops at any timestep, read from a folder, or computed into it first."""

    def __init__(
        self,
        folder: Path,
        prior: Prior,
        crops: Crops,
        noise: str,
        seed: int,
        progress: bool | None = None,
    ) -> None:
        self.folder, self.prior, self.crops = folder / noise, prior, crops
        self.noise, self.seed, self.progress = noise, seed, progress
        self._maps: dict[int, list[np.ndarray]] = {}
        self._of = {
            "prior": prior.fingerprint or prior.name,
            "crops": crops.sha256,
            "noise": noise,
            "seed": seed if noise == "random" else None,
        }
        make_folder(self.folder)

    def batch(self, index: Sequence[int], timesteps: Sequence[int]) -> tuple[list[Tensor], ...]:
        """Features of both sources of some crops, timesteps side by side, finest scale first."""
        maps = [self._at(t) for t in timesteps]
        both = []
        for source in (0, 1):
            scales = zip(*([m[index, source] for m in at_t] for at_t in maps), strict=True)
            both.append([torch.from_numpy(np.concatenate(s, axis=1)).float() for s in scales])
        return tuple(both)

    def _at(self, t: int) -> list[np.ndarray]:
        if t not in self._maps:
            note = self.folder / f"t{t}.json"
            if _read_note(note).get("of") != self._of:
                self._compute(t, note)
            files = sorted(self.folder.glob(f"t{t}-scale*.npy"))
            files = files[: _read_note(note)["scales"]]
            self._maps[t] = [np.load(file, mmap_mode="r") for file in files]
        return self._maps[t]

    def _compute(self, t: int, note: Path) -> None:
        """The note is written last: files without one are not whole."""
        remove(note)
        device = device_of(self.prior)
        maps: list[np.ndarray] = []
        steps = range(0, len(self.crops), AT_ONCE)
        desc = f"features at t = {t}"
        with ExitStack() as files:
            for first in progress_bar(self.progress, steps, desc=desc, leave=True):
                some = self.crops.planes[first : first + AT_ONCE, :2]
                x = (2 * some - 1).flatten(0, 1)[:, None].to(device)
                # A number of its own for each source of each crop, at each t.
                numbers = range(2 * first, 2 * first + len(x))
                noise = noise_like(x, self.noise, [_seed(self.seed, t, n) for n in numbers])
                features = read_features(self.prior, x, (t,), (noise,))
                for scale, f in enumerate(features):
                    f = f.unflatten(0, (-1, 2)).half().cpu().numpy()
                    if scale == len(maps):
                        file = self.folder / f"t{t}-scale{scale}.npy"
                        shape = (len(self.crops), *f.shape[1:])
                        maps.append(files.enter_context(_new_array(file, shape)))
                    maps[scale][first : first + AT_ONCE] = f
        write_json(note, {"of": self._of, "scales": len(maps)})


@contextmanager
def _new_array(path: Path, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """An array on disk, to be filled. Behind it lies another, which says whose the file is."""
    with atomic_path(path) as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", dtype=np.float16, shape=shape)
        yield array
        array.flush()
        with open(temporary, "ab") as file:
            np.save(file, np.array(MARK.encode()))


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _read_note(note: Path) -> dict[str, Any]:
    """What features were computed of; nothing where there is no such note."""
    with suppress(OSError, ValueError):
        told = json.loads(note.read_text())
        if isinstance(told, dict):
            return told
    return {}
