"""Degrades sources, to test their restoration; seeded by the name of the pair, rounded to 8 bits.

A degradation is given as text: KIND=AMOUNT for all sources, KIND-a=AMOUNT for the first one, and
several in turn separated by commas: "scale-a=4,noise-a=10".
"""

from __future__ import annotations

import io
import math
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from ddfm.arguments import a_number
from ddfm.errors import InputError, unknown
from ddfm.imaging.picture import LUMA, Picture, Size
from ddfm.restoration.observation import Observation

__all__ = ["KINDS", "MIXED", "Degradation", "Part", "find_degradation", "inside", "noise_left"]

Pixels = np.ndarray  # (H, W, C), levels from 0 to 255
MIXED = "scale-a=4,stripes-a=4,noise=10"


@dataclass(frozen=True)
class Part:
    """One step of a degradation: its kind, its amount, and its source; None is all sources."""

    kind: str
    amount: float
    source: int | None

    def of(self, k: int) -> bool:
        return self.source in (None, k)


@dataclass(frozen=True)
class Degradation:
    """A degradation of sources, in several steps, and its name."""

    name: str
    parts: tuple[Part, ...]

    def __call__(self, pictures: Sequence[Picture], name: str) -> tuple[Picture, ...]:
        """The sources of the pair of this name, degraded."""
        return tuple(self._degraded(p, name, k) for k, p in enumerate(pictures))

    def of(self, k: int) -> tuple[Part, ...]:
        """The steps that apply to source k."""
        return tuple(part for part in self.parts if part.of(k))

    def amount(self, k: int, kind: str) -> float | None:
        """The amount of one kind for source k; None if it does not occur."""
        return next((part.amount for part in self.of(k) if part.kind == kind), None)

    def observations(self, seen: Sequence[Picture]) -> list[Observation]:
        """All of it that an `Observation` can specify, for each source."""
        amounts = [{part.kind: part.amount for part in self.of(k)} for k in range(len(seen))]
        left = map(noise_left, seen)
        both = zip(amounts, left, strict=True)
        return [Observation(**_observed(some, share)) for some, share in both]

    def check(self, name: str, number: int) -> None:
        """Raises if the set of this name, with this number of sources, lacks one of them."""
        for part in self.parts:
            if part.source is not None and part.source >= number:
                letter, last = ascii_lowercase[part.source], ascii_lowercase[number - 1]
                raise InputError(
                    f"--degrade {self.name}: the set {name} has no source {letter}; its sources "
                    f"are a to {last}"
                )

    def _degraded(self, picture: Picture, name: str, k: int) -> Picture:
        if not self.of(k):
            return picture
        rng = np.random.default_rng([zlib.crc32(os.fsencode(name)), k])
        pixels = 255 * picture.pixels
        for part in self.of(k):
            pixels = KINDS[part.kind](pixels, part.amount, rng)
        rounded = np.rint(np.clip(pixels, 0, 255)) / 255
        return replace(picture, samples=rounded.astype(np.float32))


def find_degradation(text: str) -> Degradation:
    """The degradation that a text specifies, such as "scale-a=4,noise=10" or "mixed"."""
    words = MIXED if text == "mixed" else text
    return Degradation(text, tuple(_part(word.strip()) for word in words.split(",")))


def inside(size: Size, share: float | None) -> tuple[slice, slice]:
    """Rows and columns of a central frame with this share of the area of a picture."""
    rim = 0.0 if share is None else (1 - math.sqrt(share)) / 2
    top, left = (round(rim * n) for n in size)
    return slice(top, size[0] - top), slice(left, size[1] - left)


def _part(word: str) -> Part:
    name, _, amount = word.partition("=")
    kind, _, source = name.partition("-")
    if kind == "mixed":
        raise InputError(f"--degrade {word}: mixed takes no amount and no source; it is {MIXED}")
    if kind not in KINDS:
        raise unknown("degradation (--degrade)", kind, [*KINDS, "mixed"])
    if len(source) > 1 or source not in ascii_lowercase:
        raise InputError(f"--degrade {word}: {kind}-a is for the first source, {kind} for all")
    try:
        number = a_number(kind, float(amount))
    except ValueError:
        number = math.nan
    low, high = LIMITS.get(kind, (0.0, 255.0))
    if not low <= number <= high:
        example = min(4.0, (low + high) / 2)
        raise InputError(
            f"--degrade {word}: {kind} must be a number from {low:g} to {high:g}, as in "
            f"{kind}-a={example:g}"
        )
    return Part(kind, number, ascii_lowercase.index(source) if source else None)


def noise_left(picture: Picture) -> float:
    """The share of independent noise in R, G and B that is left in luminance."""
    return math.hypot(*LUMA) if picture.is_color else 1.0


def _observed(amounts: dict[str, float], share: float) -> dict[str, Any]:
    observed: dict[str, Any] = {}
    for kind, amount in amounts.items():
        if kind == "noise":
            observed["noise"] = share * amount
        elif kind == "poisson":
            observed["noise"] = (kind, share**2 * amount)
        elif kind == "rician":
            observed["noise"] = (kind, amount)
        elif kind == "stripes":
            observed["stripes"] = "columns" if amount else "auto"
        elif kind in ("dead", "frame"):
            observed[kind] = True
        else:
            observed[kind] = int(amount) if kind == "jpeg" else amount
    return observed


def _coarser(x: Pixels, scale: float, rng: np.random.Generator) -> Pixels:
    import torch

    from ddfm.restoration.operators import AreaAverage

    h, w, _ = x.shape
    coarse = max(1, round(h / scale)), max(1, round(w / scale))
    planes = torch.from_numpy(x).permute(2, 0, 1)[:, None]
    return AreaAverage((h, w), coarse).forward(planes)[:, 0].permute(1, 2, 0).numpy()


def _noisy(x: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    return x + sigma * rng.standard_normal(x.shape, np.float32)


def _magnitude(x: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    real, imaginary = sigma * rng.standard_normal((2, *x.shape), np.float32)
    return np.hypot(x + real, imaginary)


def _photons(x: Pixels, gain: float, rng: np.random.Generator) -> Pixels:
    return gain * rng.poisson(x / gain)


def _striped(x: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    return x + sigma * rng.standard_normal((1, x.shape[1], 1), np.float32)


def _blurred(x: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    return ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="reflect")


def _compressed(x: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    buffer = io.BytesIO()
    array = np.rint(np.clip(x, 0, 255)).astype(np.uint8)
    image = Image.fromarray(array if array.shape[2] == 3 else array[..., 0])
    image.save(buffer, "JPEG", quality=int(quality))
    return np.asarray(Image.open(buffer), np.float32).reshape(x.shape)


def _with_dead(x: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    dead = rng.random(x.shape[:2]) < share
    return np.where(dead[..., None], 255.0 * rng.integers(0, 2, (*x.shape[:2], 1)), x)


def _framed(x: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    y = np.zeros_like(x)
    within = inside((x.shape[0], x.shape[1]), share)
    y[within] = x[within]
    return y


KINDS: dict[str, Callable[[Pixels, float, np.random.Generator], Pixels]] = {
    "noise": _noisy,  # standard deviation, in grey levels
    "rician": _magnitude,  # standard deviation of both parts, in grey levels
    "poisson": _photons,  # grey levels of one photon
    "scale": _coarser,  # pixels that become one, along each side
    "blur": _blurred,  # standard deviation of a Gaussian, in pixels
    "stripes": _striped,  # standard deviation of the offsets of columns, in grey levels
    "dead": _with_dead,  # share of the pixels
    "frame": _framed,  # share of the area that is left
    "jpeg": _compressed,  # quality, 1 to 100
}
LIMITS = {
    "scale": (1.0, 64.0),
    "blur": (0.01, 50.0),
    "poisson": (0.01, 255.0),
    "dead": (0.0, 1.0),
    "frame": (0.05, 1.0),
    "jpeg": (1.0, 100.0),
}
