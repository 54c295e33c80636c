"""Degraded pairs, restored and fused, beside what a careful user would do first.

    python benchmarks/restoration.py DATA --split report --out table.md

DATA holds sets as `ddfm bench` takes them (TNO/ir, TNO/vi, ...). Each pair's first source, or both,
are degraded, seeded by the pair's name, rounded to 8 bits, and fused; so are latents by classical
methods. Means over pairs of PSNR and SSIM: of the restored first source against the clean one, and
of the result against the fusion of the clean pair, with the curve of that fusion's tone. "auto" is
ddfm with nothing said, "said" with the degradation told. `benchmarks/splits.toml` names the pairs.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage

from ddfm import Fuser, Observation
from ddfm.imaging.files import read_image
from ddfm.imaging.sources import grey
from ddfm.metrics import psnr, ssim
from ddfm.numerics.filters import smooth
from ddfm.numerics.noise_level import noise_level
from ddfm.numerics.poisson import adjoint, grad
from ddfm.restoration.latent import conjugate_gradients
from ddfm.restoration.operators import AreaAverage, Chain, GaussianBlur, Operator

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

SETS = {"TNO": 2, "RoadScene": 3, "MSRS": 1}  # pairs of each
FOLDERS = ("ir", "vi")
MULTIPLE = 8  # sides are cut to multiples of it

Plane = np.ndarray  # (H, W), levels from 0 to 255
Baseline = Callable[[Plane, Plane, Any], Plane]


@dataclass(frozen=True)
class Degradation:
    """What is done to a pair.

    Attributes:
        first, second: what is done to each source; None is nothing.
        said: what is told of each to "said".
        baselines: what a careful user would do to the first source, by name.
        rim: width of a frame around the first source, as a share of each side.
    """

    first: Callable[[Plane, np.random.Generator], Plane]
    said: list[Observation | None]
    second: Callable[[Plane, np.random.Generator], Plane] | None = None
    baselines: dict[str, Baseline] = field(default_factory=dict)
    rim: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", choices=("choose", "report"), default="report")
    parser.add_argument("--degrade", nargs="+", choices=DEGRADATIONS, default=list(DEGRADATIONS))
    parser.add_argument("--sources-only", action="store_true", help="fuse nothing, which is quick")
    parser.add_argument("--out", type=Path, help="write the table there, too")
    parser.add_argument("--pictures", type=Path, help="a folder for sources and results")
    how = parser.parse_args()
    torch.set_num_threads(1)
    fuser = Fuser(device="cpu", look=False)
    pairs = list(_pairs(how.data, how.split))
    clean = {} if how.sources_only else {name: fuser(*pair) for name, pair in pairs}
    head = "| degradation | method | source PSNR | SSIM | fused PSNR | SSIM | rim | s |"
    lines = [f"{len(pairs)} pairs: {', '.join(name for name, _ in pairs)}", "", head]
    lines += ["| --- " * 8 + "|"]
    print("\n".join(lines), flush=True)
    for name in how.degrade:
        for line in _rows(name, DEGRADATIONS[name], pairs, clean, fuser, how.pictures):
            print(line, flush=True)
            lines.append(line)
    if how.out:
        how.out.write_text("\n".join(lines) + "\n")
    return 0


def _pairs(data: Path, split: str) -> Iterator[tuple[str, tuple[Plane, Plane]]]:
    splits = tomllib.loads((Path(__file__).parent / "splits.toml").read_text())
    for name, count in SETS.items():
        stems = splits[name][split]
        for stem in stems[:: max(1, len(stems) // count)][:count]:
            planes = []
            for folder in FOLDERS:
                (file,) = (data / name / folder).glob(f"{stem}.*")
                plane = np.rint(255 * grey(read_image(file)))
                h, w = (n // MULTIPLE * MULTIPLE for n in plane.shape)
                planes.append(plane[:h, :w].astype(np.uint8))
            yield f"{name}/{stem}", (planes[0], planes[1])


def _rows(
    name: str,
    degradation: Degradation,
    pairs: list[tuple[str, tuple[Plane, Plane]]],
    clean: dict[str, Any],
    fuser: Fuser,
    pictures: Path | None,
) -> Iterator[str]:
    methods = [*degradation.baselines, "auto", "said"]
    values: dict[str, list[list[float]]] = {method: [] for method in methods}
    for pair, (a, b) in pairs:
        rng = np.random.default_rng(zlib.crc32(pair.encode()))
        y = _rounded(degradation.first(a.astype(float), rng))
        v = b if degradation.second is None else _rounded(degradation.second(b.astype(float), rng))
        held = fuser
        if clean:
            held = fuser.with_config(options={"curve": clean[pair].chosen["curve"]})
        for method in methods:
            begin = time.process_time()
            if method in degradation.baselines:
                x = _rounded(degradation.baselines[method](y.astype(float), v, degradation))
                fusion = _as_it_is(held)(x, v) if clean else None
            else:
                said = degradation.said if method == "said" else None
                told = held.with_config(observations=said)
                fusion = told(y, v) if clean else None
                restored = told.registered((y, v)).pictures if fusion is None else fusion.sources
                x = np.rint(255 * restored[0].pixels[..., 0])
            seconds = time.process_time() - begin
            inside = _inside(a.shape, degradation.rim)
            row = [*_near(x, a, inside), np.nan, np.nan, np.nan, seconds]
            if fusion is not None:
                target = clean[pair].image
                row[2:4] = _near(fusion.image, target, inside)
                row[4] = _rim(fusion.image, b, degradation.rim)
            values[method].append(row)
            if pictures is not None and fusion is not None:
                stem = f"{name}_{pair.replace('/', '_')}_{method}"
                pictures.mkdir(parents=True, exist_ok=True)
                sheet = np.hstack([_rounded(x), fusion.image, target])
                Image.fromarray(sheet).save(pictures / f"{stem.replace(' ', '-')}.png")
    for method in methods:
        means = np.mean(values[method], axis=0)
        numbers = [f"{n:.{d}f}" for n, d in zip(means, (2, 4, 2, 4, 1, 1), strict=True)]
        numbers = ["-" if number == "nan" else number for number in numbers]
        yield f"| {name} | {method} | " + " | ".join(numbers) + " |"


def _as_it_is(fuser: Fuser) -> Fuser:
    """Sources are taken as the baseline has made them, noise included where it has left any."""
    nothing = Observation(stripes="none", dead=False, frame=False)
    return fuser.with_config(observations=[nothing, nothing])


def _near(x: Plane, target: Plane, inside: tuple[slice, slice]) -> tuple[float, float]:
    x, target = x[inside].astype(float), target[inside].astype(float)
    return psnr(x, target, peak=255), ssim(x, target, data_range=255)


def _inside(shape: tuple[int, ...], rim: float) -> tuple[slice, slice]:
    top, left = (round(rim * n) for n in shape)
    return slice(top, shape[0] - top), slice(left, shape[1] - left)


def _rim(fused: Plane, photograph: Plane, rim: float) -> float:
    """How much more levels jump along the frame than those of the photograph do there."""
    if not rim:
        return np.nan
    rows, columns = _inside(fused.shape, rim)
    jumps = []
    for plane in (fused.astype(float), photograph.astype(float)):
        across = [plane[rows, k] - plane[rows, k - 1] for k in (columns.start, columns.stop)]
        across += [plane[k, columns] - plane[k - 1, columns] for k in (rows.start, rows.stop)]
        jumps.append(np.abs(np.concatenate(across)).mean())
    return float(jumps[0] - jumps[1])


# --- degradations -------------------------------------------------------------------------------


def _rounded(plane: Plane) -> Plane:
    return np.rint(np.clip(plane, 0, 255)).astype(np.uint8)


def _coarser(scale: int) -> Callable[[Plane, np.random.Generator], Plane]:
    def coarser(x: Plane, rng: np.random.Generator) -> Plane:
        h, w = x.shape
        return x.reshape(h // scale, scale, w // scale, scale).mean((1, 3))

    return coarser


def _noisy(sigma: float) -> Callable[[Plane, np.random.Generator], Plane]:
    return lambda x, rng: x + sigma * rng.standard_normal(x.shape)


def _striped(sigma: float) -> Callable[[Plane, np.random.Generator], Plane]:
    return lambda x, rng: x + sigma * rng.standard_normal((1, x.shape[1]))


def _blurred(sigma: float) -> Callable[[Plane, np.random.Generator], Plane]:
    return lambda x, rng: ndimage.gaussian_filter(x, sigma, mode="reflect")


def _jpeg(quality: int) -> Callable[[Plane, np.random.Generator], Plane]:
    def compressed(x: Plane, rng: np.random.Generator) -> Plane:
        buffer = io.BytesIO()
        Image.fromarray(_rounded(x)).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer), float)

    return compressed


def _dead(share: float) -> Callable[[Plane, np.random.Generator], Plane]:
    def with_dead(x: Plane, rng: np.random.Generator) -> Plane:
        return np.where(rng.random(x.shape) < share, 255.0 * rng.integers(0, 2, x.shape), x)

    return with_dead


def _framed(share: float) -> Callable[[Plane, np.random.Generator], Plane]:
    def framed(x: Plane, rng: np.random.Generator) -> Plane:
        inside = _inside(x.shape, share)
        y = np.zeros_like(x)
        y[inside] = x[inside]
        return y

    return framed


def _in_turn(*parts: Callable[[Plane, np.random.Generator], Plane]) -> Any:
    def degraded(x: Plane, rng: np.random.Generator) -> Plane:
        for part in parts:
            x = part(x, rng)
        return x

    return degraded


# --- what a careful user does first -------------------------------------------------------------


def _as_it_came(y: Plane, v: Plane, d: Degradation) -> Plane:
    return y


def _bicubic(y: Plane, v: Plane, d: Degradation) -> Plane:
    return _planes(F.interpolate(_tensor(y), v.shape, mode="bicubic", antialias=True))


def _back_projection(y: Plane, v: Plane, d: Degradation) -> Plane:
    """Irani and Peleg 1991: what the average of the estimate leaves of y, enlarged and added."""
    average, low = AreaAverage(v.shape, y.shape), _tensor(y)
    x = _tensor(_bicubic(y, v, d))
    for _ in range(20):
        rest = low - average.forward(x)
        x = x + F.interpolate(rest, v.shape, mode="bicubic", antialias=True)
    return _planes(x)


def _variation(lam: float, blur: float = 0.0, grain: float = 0.0) -> Baseline:
    """Total variation, of pixels or, with a grain, of their surroundings (sTV)."""

    def solved(y: Plane, v: Plane, d: Degradation) -> Plane:
        parts: list[Operator] = [AreaAverage(v.shape, y.shape)] if y.shape != v.shape else []
        parts += [GaussianBlur(blur)] if blur else []
        operator, low, x = Chain(tuple(parts)), _tensor(y), _tensor(_bicubic(y, v, d))
        for _ in range(6):
            energy = sum(part.square() for part in grad(x))
            energy = smooth(energy, grain) if grain else energy
            weight = lam * (energy + 0.02**2).rsqrt()

            def applied(x: torch.Tensor, weight: torch.Tensor = weight) -> torch.Tensor:
                edges = adjoint(*(weight * part for part in grad(x)))
                return operator.adjoint(operator.forward(x)) + edges

            x = conjugate_gradients(applied, operator.adjoint(low), x, 15)
        return _planes(x)

    return solved


def _wiener(blur: float, share: float) -> Baseline:
    """Wiener's filter, with the noise found and a spectrum that falls as that of pictures."""

    def filtered(y: Plane, v: Plane, d: Degradation) -> Plane:
        wide = np.pad(y, 32, mode="symmetric")
        fy, fx = np.meshgrid(*(np.fft.fftfreq(n) for n in wide.shape), indexing="ij")
        square = fy**2 + fx**2
        gain = np.exp(-2 * (np.pi * blur) ** 2 * square)
        noise = float(noise_level(_tensor(y))) ** 2
        waves = np.fft.fft2(wide) * gain / (gain**2 + share * noise * square * 4e4)
        return np.fft.ifft2(waves).real[32:-32, 32:-32]

    return filtered


def _row_median(y: Plane, v: Plane, d: Degradation) -> Plane:
    """Medians of columns, without what is smooth of them."""
    medians = np.median(y, axis=0)
    return y - (medians - ndimage.median_filter(medians, 15, mode="reflect"))


def _median(y: Plane, v: Plane, d: Degradation) -> Plane:
    return ndimage.median_filter(y, 3)


def _copied(y: Plane, v: Plane, d: Degradation) -> Plane:
    """The photograph around the frame."""
    inside = _inside(y.shape, d.rim)
    x = v.astype(float)
    x[inside] = y[inside]
    return x


def _tensor(plane: Plane) -> torch.Tensor:
    return torch.from_numpy(plane.astype(np.float32) / 127.5 - 1)[None, None]


def _planes(x: torch.Tensor) -> Plane:
    return (x[0, 0].double().numpy() + 1) * 127.5


ENLARGED = {"bicubic": _bicubic, "back-projection": _back_projection}
RIM = 0.082  # on each side, which leaves 70 % of the picture
MIXED = Observation(noise=10, stripes="columns")
DEGRADATIONS = {
    "scale 4": Degradation(
        _coarser(4),
        [Observation(scale=4), None],
        baselines=ENLARGED | {"sTV": _variation(3e-4, grain=1.0)},
    ),
    "scale 8": Degradation(
        _coarser(8),
        [Observation(scale=8), None],
        baselines=ENLARGED | {"sTV": _variation(3e-4, grain=1.0)},
    ),
    "scale 4, noise 10": Degradation(
        _in_turn(_coarser(4), _noisy(10)),
        [Observation(scale=4, noise=10), None],
        baselines=ENLARGED | {"TV": _variation(5e-3), "sTV": _variation(5e-3, grain=1.0)},
    ),
    "blur 1.5, noise 2": Degradation(
        _in_turn(_blurred(1.5), _noisy(2)),
        [Observation(blur=1.5, noise=2), None],
        baselines={
            "as it came": _as_it_came,
            "Wiener": _wiener(1.5, 1.0),
            "TV": _variation(6e-4, 1.5),
        },
    ),
    "stripes 6": Degradation(
        _striped(6),
        [Observation(stripes="columns"), None],
        baselines={"as it came": _as_it_came, "row median": _row_median},
    ),
    "stripes 2": Degradation(
        _striped(2),
        [Observation(stripes="columns"), None],
        baselines={"as it came": _as_it_came, "row median": _row_median},
    ),
    "no stripes": Degradation(lambda x, rng: x, [Observation(stripes="columns"), None]),
    "frame": Degradation(
        _framed(RIM),
        [Observation(frame=True), None],
        baselines={"black": _as_it_came, "photograph": _copied},
        rim=RIM,
    ),
    "noise 15": Degradation(
        _noisy(15),
        [Observation(noise=15), Observation(noise=15)],
        _noisy(15),
        {"as it came": _as_it_came},
    ),
    "noise 25": Degradation(
        _noisy(25),
        [Observation(noise=25), Observation(noise=25)],
        _noisy(25),
        {"as it came": _as_it_came},
    ),
    "jpeg 30": Degradation(
        _jpeg(30), [Observation(jpeg=30), None], baselines={"as it came": _as_it_came}
    ),
    "dead 0.1 %": Degradation(
        _dead(0.001),
        [Observation(dead=True), None],
        baselines={"as it came": _as_it_came, "median": _median},
    ),
    "mixed": Degradation(
        _in_turn(_coarser(4), _striped(4), _noisy(10)),
        [MIXED, Observation(noise=10)],
        _noisy(10),
        ENLARGED | {"TV": _variation(5e-3)},
    ),
}


if __name__ == "__main__":
    sys.exit(main())
