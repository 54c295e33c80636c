"""The cost and benefit of each `--quality`: a row for each, and one for more passes.

    python benchmarks/quality.py FOLDER... [--pairs N] [--noise SIGMA] [--crop SIDE]

Folders are sets as for `ddfm bench`; for those that splits.toml lists, only the pairs on which
settings may be chosen are used. Columns for clean pairs are the six metrics of the published
tables, and the mean difference from the result of many passes, in grey levels. Columns for noise on
both sources are how close the fused picture comes to that of the clean pair by many passes, in dB.
Seconds are processor seconds of one pair, with everything loaded.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from ddfm import Fuser
from ddfm.bench.datasets import find_dataset
from ddfm.config import QUALITIES
from ddfm.metrics import IN_PAPERS, evaluate, psnr
from pairs import Pair, print_table, some_pairs, with_noise

MANY = 12  # passes
ROW = (*IN_PAPERS, "from many", "s", "PSNR, noisy", "s, noisy")


def timed(fuser: Fuser, pair: Pair) -> tuple[np.ndarray, float]:
    begin = time.process_time()
    return fuser(*pair, progress=False).image, time.process_time() - begin


def rows_of(fusers: dict[str, Fuser], pair: Pair, noise: float, seed: int) -> dict[str, list]:
    """A row of figures for each quality, of one pair."""
    clean = {name: timed(fuser, pair) for name, fuser in fusers.items()}
    *_, (best, _) = clean.values()
    noisy = {n: timed(f, with_noise(pair, noise, seed)) for n, f in fusers.items()}
    rows = {}
    for name, (fused, seconds) in clean.items():
        figures = evaluate(fused, *pair, metrics=IN_PAPERS)
        away = float(np.abs(fused.astype(float) - best).mean())
        # The metric expects two sources, and averages over them.
        near = psnr(noisy[name][0], best, best, peak=255)
        rows[name] = [*(figures[c] for c in IN_PAPERS), away, seconds, near, noisy[name][1]]
    return rows


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--pairs", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--noise", type=float, default=15.0, show_default=True, help="In grey levels.")
@click.option("--crop", type=int, help="Side of the middle part used.  [default: all]")
def main(folders: tuple[Path, ...], pairs: int, noise: float, crop: int | None) -> None:
    for folder in folders:
        dataset = find_dataset(folder)
        fusers = {name: Fuser(task=dataset.task, quality=name) for name in QUALITIES}
        fusers[f"{MANY} passes"] = Fuser(task=dataset.task, steps=MANY)
        found = []
        for seed, pair in enumerate(tqdm(some_pairs(dataset, pairs, "choose"))):
            middle = [plane if crop is None else _middle(plane, crop) for plane in pair]
            found.append(rows_of(fusers, middle, noise, seed))
        means = {name: np.mean([rows[name] for rows in found], axis=0) for name in fusers}
        print_table(f"{folder.name}, {len(found)} pairs", ROW, means)


def _middle(plane: np.ndarray, side: int) -> np.ndarray:
    top, left = (max(0, (n - side) // 2) for n in plane.shape)
    return plane[top : top + side, left : left + side]


if __name__ == "__main__":
    main()
