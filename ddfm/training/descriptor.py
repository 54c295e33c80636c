r"""Trains the network that describes images for alignment, on registered pairs of two sensors.

    python -m ddfm.training.descriptor RoadScene_train/ --out pretrained/descriptor.safetensors

A sample is a part of a pair at one of the sizes that `align` works at. Both sides are degraded
independently, as by another sensor, another exposure or bad light; the second side is shifted by a
few pixels, rotated and sheared a little. For each tile t, the network's descriptions give a surface
S_t of likeness over small shifts, as in `align`; the network learns to make the true shift d_t the
most likely one:

    maximise   log sum_o P(o) prod_t p_t(d_t + o),   p_t = softmax of a S_t

Registered pairs are themselves misaligned by about a pixel. So all tiles of a sample may have a
common offset o, with a Gaussian probability P. In a quarter of the samples both sides are the same
image, without any offset, for stacks of one camera.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from ddfm.imaging.pairing import find_pairs
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import grey
from ddfm.registration.descriptor import Descriptor
from ddfm.registration.refine import BORDER, centred, likeness, tiled
from ddfm.registration.structure import Pyramid, shrunk
from ddfm.registration.transform import Transform
from ddfm.storage.files import write_weights

__all__ = ["Samples", "loss", "main"]

WINDOW = (64, 128)  # height and width of a sample, in pixels
# Longer side of the image in pixels, tiles of the window, and probability: as in
# `ddfm.registration.align`.
LEVELS = ((128, (3, 7), 0.4), (256, (2, 5), 0.35), (512, (1, 3), 0.25))
REACH = 8  # largest shift of the surfaces, in pixels
SHIFT, SHEAR = 6.0, 0.035  # largest shift of the second side in pixels; deviation of its shear
TURN = 8.0  # largest rotation of both sides, in degrees
TWO_SENSORS = 0.75  # share of samples whose sides come from two sensors
LOOSE = {True: 1.3, False: 0.15}  # common offset of pairs of two sensors, and of one, in pixels
OFFSETS = 3  # standard deviations within which the common offset is searched
ASIDE, FIRST = 14, 5  # one pair in 14, from the sixth on, is kept aside for measuring
MEASURED = 96  # number of samples of pairs kept aside
SHARPNESS = 20.0  # initial value of `a`


@dataclass(frozen=True)
class Sample:
    """Parts of two images (H, W), where each is valid, and the true shifts of tiles (N, 2)."""

    sides: tuple[Tensor, Tensor]
    seen: tuple[Tensor, Tensor]
    off: Tensor
    tiles: tuple[int, int]
    loose: float


class Samples:
    """Draws random samples from pairs of grey images."""

    def __init__(self, pairs: Sequence[Sequence[np.ndarray]], seed: int) -> None:
        self.pairs = [[Pyramid(torch.from_numpy(side)) for side in pair] for pair in pairs]
        self.rng = np.random.default_rng(seed)

    def draw(self) -> Sample:
        rng = self.rng
        sides = list(self.pairs[rng.integers(len(self.pairs))])
        two = rng.random() < TWO_SENSORS
        rng.shuffle(sides)
        a, b = sides if two else sides[:1] * 2
        longest, tiles, _ = LEVELS[rng.choice(len(LEVELS), p=[chance for *_, chance in LEVELS])]
        zoom = min(longest / max(a.size) * float(np.exp(rng.uniform(-0.3, 0.3))), 1.15)
        place, move = self._place(a.size, zoom), self._move()
        fixed, inside = a.warped(place, WINDOW)
        resize = Transform.framed(b.size, a.size).matrix
        moving, inside_too = b.warped(move @ place @ resize, WINDOW)
        y, x = (
            (np.arange(n) + 0.5) * side / n - 0.5 for n, side in zip(tiles, WINDOW, strict=True)
        )
        centres = np.stack([*np.meshgrid(x, y), np.ones(tiles)], -1).reshape(-1, 3)
        return Sample(
            (spoilt(fixed, rng), spoilt(moving, rng)),
            (shrunk(inside, BORDER, beyond=0.0), shrunk(inside_too, BORDER, beyond=0.0)),
            torch.from_numpy((centres @ move.T - centres)[:, :2]).float(),
            tiles,
            LOOSE[two] * zoom,
        )

    def _place(self, size: tuple[int, int], zoom: float) -> np.ndarray:
        """A random map from an image to a window on it, mirrored or not, rotated a little."""
        window, whole = np.array(WINDOW[::-1]), np.array(size[::-1])
        angle = np.deg2rad(self.rng.uniform(-TURN, TURN))
        cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]]) * [self.rng.choice([-1, 1]), 1]
        spare = np.maximum(0, whole - window / zoom) / 2
        centre = (whole - 1) / 2 + self.rng.uniform(-spare, spare)
        return _about(linear, centre, (window - 1) / 2)

    def _move(self) -> np.ndarray:
        middle = (np.array(WINDOW[::-1]) - 1) / 2
        linear = np.eye(2) + self.rng.normal(0, SHEAR, (2, 2))
        return _about(linear, middle, middle + self.rng.uniform(-SHIFT, SHIFT, 2))


def _about(linear: np.ndarray, centre: np.ndarray, to: np.ndarray) -> np.ndarray:
    """A linear map about a centre, which is moved to the place `to`."""
    matrix = np.eye(3)
    matrix[:2] = np.c_[linear, to - linear @ centre]
    return matrix


def spoilt(image: Tensor, rng: np.random.Generator) -> Tensor:
    """The image as another sensor, another exposure, or bad light would show it."""
    x = image.numpy()
    chance = rng.random(8)
    if chance[0] < 0.3:
        x = 1 - x
    if chance[1] < 0.5:
        x = x.clip(0, 1) ** np.exp(rng.uniform(-0.8, 0.8))
    if chance[2] < 0.2:  # clipped, as by under- or overexposure
        low, high = rng.uniform(0, 0.35), rng.uniform(0.65, 1)
        x = (x.clip(low, high) - low) / (high - low)
    if chance[3] < 0.25:  # unevenly lit
        lit = rng.uniform(0.2, 1.0, (3, 5))
        x = x * ndimage.zoom(lit, np.array(x.shape) / lit.shape, order=1)
    if chance[4] < 0.2:  # coarse
        few = F.avg_pool2d(torch.from_numpy(np.float32(x))[None, None], int(rng.integers(2, 5)))
        x = F.interpolate(few, x.shape, mode="bilinear")[0, 0].numpy()
    elif chance[4] < 0.5:
        x = ndimage.gaussian_filter(x, rng.uniform(0.3, 1.8), mode="nearest")
    if chance[5] < 0.25:  # night
        x = x * rng.uniform(0.05, 0.5)
    if chance[6] < 0.5:
        noise = rng.uniform(0, 0.04) * min(1.0, 3 * float(x.std()) + 0.1)
        x = x + rng.normal(0, noise, x.shape)
    if chance[7] < 0.1:  # stripes
        x = x + rng.normal(0, rng.uniform(0, 0.03), (1, x.shape[1]))
    return torch.from_numpy(np.float32(np.round(np.clip(x, 0, 1) * 255) / 255))


def loss(described: Tensor, sample: Sample, sharpness: Tensor) -> Tensor:
    """The negative log-likelihood of the truth, per tile, for descriptions (2, C, H, W)."""
    tiles, (a, b) = sample.tiles, sample.seen
    size = (-(-WINDOW[0] // tiles[0]), -(-WINDOW[1] // tiles[1]))
    fixed = tiled(centred(described[0], a), tiles, size, 0)
    moving = tiled(centred(described[1], b), tiles, size, REACH)
    n = 2 * REACH + 1
    surfaces = sharpness * likeness(fixed, moving, REACH).reshape(-1, n * n)
    log_p = torch.log_softmax(surfaces, 1).reshape(-1, 1, n, n)
    seen = tiled((a * b)[None], tiles, size, 0).mean((0, 3, 4)).flatten() > 0.5
    steps = torch.arange(-OFFSETS, OFFSETS + 1.0)
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    at = (sample.off[:, None, None] + sample.loose * offsets) / REACH
    there = F.grid_sample(log_p, at, padding_mode="border", align_corners=True)[:, 0]
    prior = torch.log_softmax(-(offsets**2).sum(-1).flatten() / 2, 0)
    together = prior + (there * seen[:, None, None]).sum(0).flatten()
    return -torch.logsumexp(together, 0) / seen.sum().clamp(min=1)


class Training:
    """A network with its optimiser."""

    def __init__(self, rate: float) -> None:
        self.network = Descriptor()
        self.sharpness = nn.Parameter(torch.tensor(math.log(SHARPNESS)))
        self.parameters = [*self.network.parameters(), self.sharpness]
        self.optimizer = torch.optim.AdamW(self.parameters, rate, weight_decay=1e-4)
        self.most = rate

    def loss(self, samples: Sequence[Sample]) -> Tensor:
        sides = torch.stack([side for sample in samples for side in sample.sides])[:, None]
        described = self.network(sides).unflatten(0, (-1, 2))
        losses = [
            loss(of, s, self.sharpness.exp()) for of, s in zip(described, samples, strict=True)
        ]
        return torch.stack(losses).mean()

    def step(self, samples: Sequence[Sample], rate: float) -> float:
        """One step, at this share of the largest learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.most * rate
        value = self.loss(samples)
        self.optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return float(value.detach())

    def keep(self, path: Path) -> None:
        weights = {name: w.half().contiguous() for name, w in self.network.state_dict().items()}
        write_weights(path, weights, {})


def main() -> int:
    """Trains for some minutes on one thread, and writes the weights each minute.

    If the loss is not finite, it ends, and the weights written before stay.
    """
    how = _arguments()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    pairs = _pairs_in(how.folder)
    samples = Samples([pair for k, pair in enumerate(pairs) if k % ASIDE != FIRST], 0)
    aside = Samples(pairs[FIRST::ASIDE], 1)
    measured = [aside.draw() for _ in range(MEASURED)]
    training = Training(how.rate)
    losses: list[float] = []
    began = printed = time.monotonic()
    while (share := (time.monotonic() - began) / (60 * how.minutes)) < 1:
        warm = min(1.0, (len(losses) + 1) / 100)
        rate = warm * 0.5 * (1 + math.cos(math.pi * share))
        losses.append(training.step([samples.draw() for _ in range(how.batch)], rate))
        if not math.isfinite(losses[-1]):
            raise SystemExit(
                "training diverged: the loss is not finite (NaN or infinity) at step "
                f"{len(losses)}; lower the learning rate (--rate)"
            )
        if time.monotonic() - printed > 60:
            _report(training, losses, measured)
            training.keep(how.out)
            printed = time.monotonic()
    training.keep(how.out)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "folder", type=Path, help="with subfolders ir and vi, whose files are paired by name"
    )
    parser.add_argument("--out", type=Path, required=True, help="the file for the weights")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=3e-3)
    return parser.parse_args()


def _pairs_in(folder: Path) -> list[list[np.ndarray]]:
    """The luminance of both pictures of each pair."""
    files = find_pairs(folder / "ir", folder / "vi").pairs
    return [[grey(read_image(file)).astype(np.float32) for file in pair.files] for pair in files]


def _report(training: Training, losses: list[float], measured: list[Sample]) -> None:
    with torch.no_grad():
        value = float(training.loss(measured))
    print(f"{len(losses)} steps: {np.mean(losses[-50:]):.3f}, aside {value:.3f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
