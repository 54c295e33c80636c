"""The upper limit of the entropy (EN) of a fused image if the background of all sources is black.

    python benchmarks/entropy_bound.py FOLDER...

If a share b of the pixels is black in every source and stays so, and the other pixels use all 255
levels evenly, then EN = H(b) + (1 - b) log2 255, where H is the binary entropy. A higher EN means
grain or haze in the background.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from ddfm.bench.datasets import find_dataset
from pairs import grey_plane


def black_share(*files: Path) -> float:
    planes = [grey_plane(file) for file in files]
    return float(np.mean(np.max(planes, axis=0) == 0))


def bound(b: float) -> float:
    coin = -sum(p * np.log2(p) for p in (b, 1 - b) if p > 0)
    return float(coin + (1 - b) * np.log2(255))


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(folders: tuple[Path, ...]) -> None:
    """Print the mean limit of each folder, and of all pairs together."""
    everything: list[float] = []
    for folder in folders:
        shares = [black_share(*pair.files) for pair in find_dataset(folder).pairs]
        everything += shares
        mean = np.mean([bound(b) for b in shares])
        print(f"{folder.name}: {np.mean(shares):.0%} black, EN at most {mean:.2f}")
    print(f"together: EN at most {np.mean([bound(b) for b in everything]):.2f}")


if __name__ == "__main__":
    main()
