"""Pairs of data sets as several benchmarks use them: in grey, evenly spaced, by splits.toml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from ddfm.bench.datasets import Dataset
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import grey
from ddfm.storage.inputs import toml_table

__all__ = ["Pair", "grey_plane", "print_table", "some_pairs", "splits", "with_noise"]

Pair = list[np.ndarray]  # (H, W) uint8 each


def splits() -> dict[str, dict[str, list[str]]]:
    """For each set, the names of the pairs to "choose" settings on, and to "report" figures of."""
    return toml_table(Path(__file__).with_name("splits.toml"))


def some_pairs(dataset: Dataset, count: int, split: str = "all") -> list[Pair]:
    """Grey levels of evenly spaced pairs, of those on one side of the split."""
    names = splits().get(dataset.name, {}).get(split)
    pairs = [p for p in dataset.pairs if names is None or p.files[0].stem in names]
    some = pairs[:: max(1, len(pairs) // count)][:count]
    return [[grey_plane(file) for file in pair.files] for pair in some]


def grey_plane(path: Path) -> np.ndarray:
    return np.rint(grey(read_image(path)) * 255).astype(np.uint8)


def with_noise(pair: Pair, sigma: float, seed: int) -> Pair:
    """Both sources with noise of this many grey levels."""
    rng = np.random.default_rng(seed)
    noisy = (np.clip(plane + rng.normal(0, sigma, plane.shape), 0, 255) for plane in pair)
    return [plane.round().astype(np.uint8) for plane in noisy]


def print_table(title: str, columns: Sequence[str], rows: Mapping[str, np.ndarray]) -> None:
    click.echo(f"\n| {title} | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for name, values in rows.items():
        click.echo(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |")
