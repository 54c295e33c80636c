#!/usr/bin/env python3
"""Whether the delay between two films is found by the motion in them (`ddfm film --delay auto`).

    python benchmarks/delay.py RoadScene [--pairs 8] [--split report] [--seconds 12 30]

Films are made from real pairs: the infrared camera takes 9 frames a second, the visible one 30, and
begins up to three seconds earlier or later. "By hand": both cameras shake together. "On a stand":
two people walk by at a changing pace. Each infrared film is also compared with a visible one of
other motion. An error is the difference from the true delay.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from scipy import ndimage

from ddfm.bench.datasets import find_dataset
from ddfm.imaging.picture import from_array
from ddfm.video.files import VideoWriter
from ddfm.video.motion import find_delay
from pairs import Pair, some_pairs

H, W = 192, 256  # pixels of the films
UNIT = 240  # steps of the motion in a second
RATES = 9, 30
LATEST = 3.0  # seconds
NOISE = 4  # grey levels

Frame = Callable[[np.ndarray, int, int], np.ndarray]  # view, camera and step give a frame


def wandering(rng: np.random.Generator, steps: int, seconds: float) -> np.ndarray:
    """A random way in both directions that changes within this time; its deviation is 1."""
    way = ndimage.gaussian_filter1d(rng.normal(size=(steps, 2)), seconds * UNIT, axis=0)
    return way / way.std()


def by_hand(rng: np.random.Generator, steps: int) -> Frame:
    way = 4 * wandering(rng, steps, 0.25) + 8 * wandering(rng, steps, 2)

    def frame(view: np.ndarray, camera: int, step: int) -> np.ndarray:
        middle = (np.array(view.shape) - (H, W)) / 2
        (y, row), (x, column) = (divmod(place, 1) for place in middle + way[step])
        y, x = np.clip([y, x], 0, np.array(view.shape) - (H + 1, W + 1)).astype(int)
        seen = view[y : y + H + 1, x : x + W + 1].astype(np.float32)
        seen = (1 - row) * seen[:-1] + row * seen[1:]
        return (1 - column) * seen[:, :-1] + column * seen[:, 1:]

    return frame


def on_a_stand(rng: np.random.Generator, steps: int) -> Frame:
    walks = [np.cumsum(30 / UNIT * np.abs(wandering(rng, steps, 1.5)[:, 0])) for _ in range(2)]
    clothes = rng.uniform(20, 120, (60, 24)).astype(np.float32)
    people = np.full((60, 24), 230, np.float32), clothes  # as each camera sees them

    def frame(view: np.ndarray, camera: int, step: int) -> np.ndarray:
        y, x = (np.array(view.shape) - (H, W)) // 2
        seen = view[y : y + H, x : x + W].astype(np.float32)
        for k, walk in enumerate(walks):
            left = int(walk[step]) % (W + 24) - 24
            a, b = max(left, 0), min(left + 24, W)
            seen[60 + 20 * k : 120 + 20 * k, a:b] = people[camera][:, a - left : b - left]
        return seen

    return frame


def film(path: Path, view: np.ndarray, camera: int, frame: Frame, begin: float, length: float):
    """A video of one camera, of the motion from `begin` on."""
    rng = np.random.default_rng(camera)
    with VideoWriter(path, path, RATES[camera]) as video:
        for k in range(round(length * RATES[camera])):
            seen = frame(view, camera, int(UNIT * (begin + k / RATES[camera])))
            seen = np.clip(seen + rng.normal(0, NOISE, seen.shape), 0, 255)
            video.write(from_array(seen.round().astype(np.uint8)), str(k))
        video.finish()
    return path


def found(pair: Pair, kind: Callable, seed: int, length: float, folder: Path) -> tuple:
    """The error of the delay and whether it was sure; whether another film was sure, too."""
    rng = np.random.default_rng(seed)
    delay, steps = rng.uniform(-LATEST, LATEST), int(UNIT * (length + 3 * LATEST))
    motion, other = kind(rng, steps), kind(rng, steps)
    a = film(folder / "a.mkv", pair[0], 0, motion, LATEST, length)
    b = film(folder / "b.mkv", pair[1], 1, motion, LATEST + delay, length)
    c = film(folder / "c.mkv", pair[1], 1, other, LATEST + delay, length)
    right = find_delay(a, b)
    return abs(right.seconds - delay), right.sure, find_delay(a, c).sure


@click.command(help=__doc__.split("\n")[0])
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--pairs", default=8, help="How many pairs.")
@click.option("--split", default="report", type=click.Choice(["choose", "report", "all"]))
@click.option("--seconds", multiple=True, type=float, default=[12, 30], help="Lengths of films.")
def main(folder: Path, pairs: int, split: str, seconds: tuple[float, ...]) -> None:
    some = some_pairs(find_dataset(folder), 10 * pairs, split)
    some = [pair for pair in some if min(pair[0].shape[0] - H, pair[0].shape[1] - W) > 48][:pairs]
    click.echo("| cameras | s | sure | median error, s | largest | sure of other motion |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        for kind in (by_hand, on_a_stand):
            for length in seconds:
                rows = [
                    found(pair, kind, k, length, Path(temporary)) for k, pair in enumerate(some)
                ]
                errors = [error for error, sure, _ in rows if sure]
                click.echo(
                    f"| {kind.__name__.replace('_', ' ')} | {length:g} | {len(errors)} of "
                    f"{len(rows)} | {np.median(errors):.2f} | {max(errors):.2f} | "
                    f"{sum(wrong for *_, wrong in rows)} |"
                )


if __name__ == "__main__":
    main()
