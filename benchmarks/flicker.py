"""How much a fused film flickers, compared with frames that are fused independently.

    python benchmarks/flicker.py [SEQUENCE...] [--frames N]

A SEQUENCE is a folder with frames of one scene in ir/ and vi/. Without one, a film is made from the
example pair: a still scene with new noise in every frame, and a hot disc that passes through it.
Columns, in grey levels of 255:

flicker     root mean square of the change from one frame to the next, where the scene is still
            (everywhere, for a SEQUENCE), from the fifth frame on
wandering   the same for the median of all still pixels
error       for what moves, and for where it was in the last three frames: the difference from the
            result of the same method on sources without noise. Trails would show here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from scipy import ndimage
from tqdm import tqdm

from ddfm import Fuser, Fusion, read_image
from ddfm.errors import DdfmError
from ddfm.imaging.pairing import find_pairs
from ddfm.imaging.sources import grey
from ddfm.pipeline.films import fuse_frames

DATA = Path(__file__).parents[1] / "examples" / "data"
SIZE = (64, 96)
NOISE = 8.0  # standard deviation, in grey levels, in both cameras
ENTERS, SPEED, RADIUS = 4, 9, 11  # of the disc: first frame; pixels per frame; pixels
SETTLED = 4  # frames after which flicker is measured

Pair = tuple[np.ndarray, np.ndarray]
Frames = list[Pair]


@dataclass
class Film:
    name: str
    frames: Frames
    clean: Frames | None = None
    disc: np.ndarray | None = None  # where it is, in every frame


Method = Callable[[Frames, bool], Iterator[Fusion]]


def alone(frames: Frames, denoised: bool) -> Iterator[Fusion]:
    fuser = Fuser()
    return (fuser(*pair, progress=False) for pair in frames)


def alone_with_own_noise(frames: Frames, denoised: bool) -> Iterator[Fusion]:
    fuser = Fuser()
    for seed, pair in enumerate(frames):
        yield fuser.with_config(seed=seed)(*pair, progress=False)


def film(frames: Frames, denoised: bool) -> Iterator[Fusion]:
    return fuse_frames(frames, temporal_denoising=denoised)


def film_not_denoised(frames: Frames, denoised: bool) -> Iterator[Fusion]:
    return fuse_frames(frames, temporal_denoising=False)


def warm_film(frames: Frames, denoised: bool) -> Iterator[Fusion]:
    return fuse_frames(frames, temporal_denoising=denoised, warm=True)


METHODS: dict[str, Method] = {
    "each frame by itself, with noise of its own": alone_with_own_noise,
    "each frame by itself (`ddfm fuse`)": alone,
    "`ddfm film --no-temporal-denoising`": film_not_denoised,
    "`ddfm film`": film,
    "`ddfm film --warm`": warm_film,
}


@click.command()
@click.argument("sequences", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--frames", default=10, show_default=True, help="Maximum number for each film.")
def main(sequences: tuple[Path, ...], frames: int) -> None:
    """Print the table of docs/films.md."""
    for sequence in [read_film(folder, frames) for folder in sequences] or [made_film(frames)]:
        click.echo(f"\n| {sequence.name} | flicker | wandering | error |\n|{' --- |' * 4}")
        for name, method in METHODS.items():
            fused = run(method, sequence.frames, True, name)
            values = [*flicker(fused, sequence), error(fused, sequence, method, name)]
            cells = " | ".join("" if value is None else f"{value:.2f}" for value in values)
            click.echo(f"| {name} | {cells} |")


def flicker(fused: np.ndarray, sequence: Film) -> tuple[float, float]:
    still = np.ones(fused.shape, bool)
    if sequence.disc is not None:
        still = ~ndimage.binary_dilation(sequence.disc, np.ones((1, 9, 9)))
    changes, levels = [], []
    for k in range(SETTLED + 1, len(fused)):
        both = still[k] & still[k - 1]
        changes.append(np.mean((fused[k] - fused[k - 1])[both] ** 2))
        levels.append((np.median(fused[k][both]) - np.median(fused[k - 1][both])) ** 2)
    return float(np.sqrt(np.mean(changes))), float(np.sqrt(np.mean(levels)))


def error(fused: np.ndarray, sequence: Film, method: Method, name: str) -> float | None:
    if sequence.clean is None:
        return None
    truth = run(method, sequence.clean, False, f"{name}, clean")
    disc = sequence.disc
    lately = np.stack([disc[max(k - 3, 0) : k + 1].any(axis=0) for k in range(len(fused))])
    return float(np.sqrt(np.mean((fused - truth)[lately] ** 2)))


def run(method: Method, frames: Frames, denoised: bool, name: str) -> np.ndarray:
    """Luminance of all results, (N, H, W), from 0 to 255."""
    bar = tqdm(method(frames, denoised), desc=name, total=len(frames), leave=False)
    return 255 * np.stack([grey(fusion.picture) for fusion in bar])


def read_film(folder: Path, count: int) -> Film:
    pairs = find_pairs(folder / "ir", folder / "vi").pairs[:count]
    if len(pairs) < SETTLED + 2:
        raise DdfmError(f"{folder} holds {len(pairs)} pairs of frames, which are too few")
    return Film(folder.name, [tuple(map(read_image, pair.files)) for pair in pairs])


def made_film(count: int) -> Film:
    rng = np.random.default_rng(0)
    names = ("olinda_infrared.png", "olinda_visible.png")
    still = [255.0 * grey(read_image(DATA / name))[: SIZE[0], : SIZE[1]] for name in names]
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    clean, noisy, discs = [], [], []
    for k in range(count):
        disc = np.hypot(rows - SIZE[0] / 2, columns + RADIUS - SPEED * (k - ENTERS)) < RADIUS
        pair = [np.where(disc, (250.0, 90.0)[n], plane) for n, plane in enumerate(still)]
        discs.append(disc)
        clean.append(tuple(map(eight_bit, pair)))
        noisy.append(tuple(eight_bit(p + rng.normal(0, NOISE, SIZE)) for p in pair))
    return Film(f"noise of {NOISE:g} grey levels", noisy, clean, np.stack(discs))


def eight_bit(plane: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(plane), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
