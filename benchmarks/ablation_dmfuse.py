"""What each part of DMFuse contributes: heads that differ in one choice of their training.

    python benchmarks/ablation_dmfuse.py PAIRS FOLDER... --out DIR

The heads are trained on PAIRS (with ir/ and vi/), and measured on the FOLDERs. The table has a row
for each variant, with the mean seconds of a fusion. For heads that use random noise, it also prints
how much the seed changes the result. An interrupted run resumes where it stopped.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np

from ablation import metrics_of
from ddfm import Fuser, load_prior
from ddfm.bench.datasets import find_dataset
from ddfm.metrics import IN_PAPERS, psnr
from ddfm.training.dmfuse import Settings, train_dmfuse
from pairs import print_table, some_pairs

PUBLISHED_TIMESTEPS = (5, 50, 100)
VARIANTS = {
    "full": {},
    "no cross-attention": {"attention": False},
    "no diffusion features (plain convolutions)": {"plain": True},
    "t = 50 instead of 5": {"t": (50,)},
    "t = 5, 50, 100": {"t": PUBLISHED_TIMESTEPS},
    "random noise": {"noise": "random"},
    "tanh instead of a blend": {"output": "tanh"},
    "published loss": {"loss": "published"},
    "all as published": {
        "loss": "published",
        "output": "tanh",
        "noise": "random",
        "t": PUBLISHED_TIMESTEPS,
    },
}


@click.command()
@click.argument("pairs_folder", type=click.Path(exists=True, path_type=Path))
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Heads and features.")
@click.option("--steps", default=600, show_default=True, help="Steps of training of each variant.")
@click.option("--crops", default=256, show_default=True)
@click.option("--size", default=96, show_default=True, help="Side of a crop.")
@click.option("--batch", default=4, show_default=True)
@click.option("--pairs", default=5, show_default=True, help="Pairs of each folder, evenly spaced.")
@click.option("--only", multiple=True, help="Variants to run, by their first words.")
def main(
    pairs_folder: Path,
    folders: tuple[Path, ...],
    out: Path,
    steps: int,
    crops: int,
    size: int,
    batch: int,
    pairs: int,
    only: tuple[str, ...],
) -> None:
    """Print the ablation tables of docs/dmfuse.md."""
    prior = load_prior("default")
    training = find_dataset(pairs_folder).pairs
    heads = {}
    for number, (name, changed) in enumerate(VARIANTS.items()):
        if only and not name.startswith(only):
            continue
        settings = Settings(steps=steps, crops=crops, size=size, batch=batch, **changed)
        folder = out / f"variant-{number}"
        heads[name] = train_dmfuse(training, folder, prior, settings, cache=out / "features")
    for folder in folders:
        sources = some_pairs(find_dataset(folder), pairs)
        rows = {name: _measured(head, sources, name) for name, head in heads.items()}
        print_table(f"{folder.name}, {len(sources)} pairs", (*IN_PAPERS, "seconds"), rows)
        for name in (name for name in heads if VARIANTS[name].get("noise") == "random"):
            click.echo(f"\n{name}: PSNR between two seeds {_between_seeds(heads[name], sources)}")


def _measured(head: Path, sources: list, name: str) -> np.ndarray:
    fuser = Fuser(task="ir-visible", method="dmfuse", head=head)
    metrics = metrics_of(fuser, sources, name)
    began = time.perf_counter()
    fuser(*sources[0], progress=False)
    return np.append(metrics, time.perf_counter() - began)


def _between_seeds(head: Path, sources: list) -> str:
    images = [
        [
            Fuser(task="ir-visible", method="dmfuse", head=head, seed=seed)(*pair, progress=False)
            for pair in sources
        ]
        for seed in (1, 2)
    ]
    values = [psnr(a.image, b.image, b.image) for a, b in zip(*images, strict=True)]
    return f"{np.mean(values):.1f} dB"


if __name__ == "__main__":
    main()
