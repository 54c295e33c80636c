"""Classical methods that restore a degraded source before it is fused, for comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from ddfm.bench.degrade import Degradation, inside, noise_left
from ddfm.imaging.picture import Picture
from ddfm.imaging.sizes import resized
from ddfm.imaging.sources import grey
from ddfm.numerics.filters import smooth
from ddfm.numerics.noise_level import noise_level
from ddfm.numerics.poisson import adjoint, grad
from ddfm.restoration.colors import with_luminance
from ddfm.restoration.least_squares import conjugate_gradients
from ddfm.restoration.operators import AreaAverage, Chain, GaussianBlur, Operator

__all__ = ["classical", "restored_by"]

Plane = np.ndarray  # (H, W), levels from 0 to 255


@dataclass(frozen=True)
class Source:
    """A degraded source.

    Attributes:
        y: its luminance.
        size: the size before the degradation.
        what: the degradation.
        k: the index of the source.
        beside: the luminance of another source, of this size.
        share: the share of the noise in its channels that is left in luminance.
    """

    y: Plane
    size: tuple[int, int]
    what: Degradation
    k: int
    beside: Plane
    share: float

    def amount(self, kind: str) -> float | None:
        return self.what.amount(self.k, kind)

    @property
    def noise(self) -> float:
        """The standard deviation of the noise in luminance, in levels of 255."""
        photons = (self.amount("poisson") or 0.0) * float(self.y.mean())
        return self.share * (self.amount("noise") or self.amount("rician") or photons**0.5)


Method = Callable[[Source], Plane]


def classical(what: Degradation) -> list[str]:
    """The names of the methods that undo one of the steps of a degradation."""
    kinds = {part.kind for part in what.parts}
    return [name for name, (of, _) in METHODS.items() if kinds & set(of)]


def restored_by(
    name: str, what: Degradation, seen: tuple[Picture, ...], sizes: list[tuple[int, int]]
) -> tuple[Picture, ...]:
    """All sources restored by one method; those it is not for are only enlarged bicubically."""
    of, method = METHODS[name]
    done = []
    for k, (picture, size) in enumerate(zip(seen, sizes, strict=True)):
        wide = resized(picture, size)
        if any(part.kind in of for part in what.of(k)):
            beside = 255 * grey(resized(seen[k - 1], size)).astype(float)
            y = 255 * grey(picture).astype(float)
            plane = _as_wide(method(Source(y, size, what, k, beside, noise_left(picture))), size)
            rounded = np.rint(np.clip(plane, 0, 255)).astype(np.float32) / 255
            wide = with_luminance(wide, rounded)
        done.append(wide)
    return tuple(done)


def _linear(source: Source) -> Plane:
    return _plane(F.interpolate(_tensor(source.y), source.size, mode="bilinear"))


def _bicubic(source: Source) -> Plane:
    return _as_wide(source.y, source.size)


def _back_projection(source: Source) -> Plane:
    """Irani and Peleg 1991: adds the enlarged difference between y and the averaged estimate."""
    low = _tensor(source.y)
    average = AreaAverage(source.size, source.y.shape)
    x = _enlarged(low, source.size)
    for _ in range(20):
        x = x + _enlarged(low - average.forward(x), source.size)
    return _plane(x)


def _variation(grain: float) -> Method:
    """Total variation of pixels, or, with a grain, of their neighbourhoods (sTV)."""

    def solved(source: Source) -> Plane:
        y, blur = source.y, source.amount("blur")
        parts: list[Operator] = (
            [] if y.shape == source.size else [AreaAverage(source.size, y.shape)]
        )
        parts += [] if blur is None else [GaussianBlur(blur)]
        operator, low = Chain(tuple(parts)), _tensor(y)
        x = _enlarged(low, source.size)
        # Determined by experiment: proportional to the noise, and 0.04 times that for a blur.
        lam = 2 / 255 * source.noise * (1.0 if blur is None else 0.04) * y.size / x.numel()
        lam = max(lam, 3e-4)
        for _ in range(6):
            right, below = grad(x)
            energy = right.square() + below.square()
            energy = smooth(energy, grain) if grain else energy
            weight = lam * (energy + 0.02**2).rsqrt()

            def applied(x: torch.Tensor, weight: torch.Tensor = weight) -> torch.Tensor:
                edges = adjoint(*(weight * part for part in grad(x)))
                return operator.adjoint(operator.forward(x)) + edges

            x = conjugate_gradients(applied, operator.adjoint(low), x, 15)
        return _plane(x)

    return solved


def _wiener(source: Source) -> Plane:
    """The Wiener filter, with estimated noise and a spectrum that falls like that of pictures."""
    blur = source.amount("blur") or 0.0
    wide = np.pad(source.y, 32, mode="symmetric")
    fy, fx = np.meshgrid(*(np.fft.fftfreq(n) for n in wide.shape), indexing="ij")
    square = fy**2 + fx**2
    gain = np.exp(-2 * (np.pi * blur) ** 2 * square)
    noise = noise_level(_tensor(source.y)) ** 2
    waves = np.fft.fft2(wide) * gain / (gain**2 + noise * square * 4e4)
    return np.fft.ifft2(waves).real[32:-32, 32:-32]


def _row_median(source: Source) -> Plane:
    """Subtracts the medians of columns, except for their smooth part."""
    medians = np.median(source.y, axis=0)
    return source.y - (medians - ndimage.median_filter(medians, 15, mode="reflect"))


def _median(source: Source) -> Plane:
    return ndimage.median_filter(source.y, 3)


def _copied(source: Source) -> Plane:
    """Fills the surroundings of the frame with the other source."""
    within = inside(source.size, source.amount("frame"))
    x = source.beside.copy()
    x[within] = _as_wide(source.y, source.size)[within]
    return x


def _bm3d(source: Source) -> Plane:
    import bm3d

    return 255 * bm3d.bm3d(source.y / 255, source.noise / 255)


def _has_bm3d() -> bool:
    from importlib.util import find_spec

    return find_spec("bm3d") is not None


def _as_wide(plane: Plane, size: tuple[int, int]) -> Plane:
    """The plane at this size, enlarged bicubically if needed."""
    return plane if plane.shape == size else _plane(_enlarged(_tensor(plane), size))


def _enlarged(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(x, size, mode="bicubic", antialias=True)


def _tensor(plane: Plane) -> torch.Tensor:
    return torch.from_numpy(plane.astype(np.float32) / 127.5 - 1)[None, None]


def _plane(x: torch.Tensor) -> Plane:
    return (x[0, 0].double().numpy() + 1) * 127.5


RANDOM = ("noise", "rician", "poisson")
METHODS: dict[str, tuple[tuple[str, ...], Method]] = {
    "bilinear": (("scale",), _linear),
    "bicubic": (("scale",), _bicubic),
    "back-projection": (("scale",), _back_projection),
    "TV": (("scale", "blur", *RANDOM), _variation(0.0)),
    "sTV": (("scale",), _variation(1.0)),
    "Wiener": (("blur",), _wiener),
    "row median": (("stripes",), _row_median),
    "median": (("dead",), _median),
    "copied in": (("frame",), _copied),
} | ({"BM3D": (RANDOM, _bm3d)} if _has_bm3d() else {})
