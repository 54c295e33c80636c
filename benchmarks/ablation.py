"""What the prior, and each choice of the default likelihood, brings.

    python benchmarks/ablation.py FOLDER... [--pairs N] [--noise SIGMA]

Folders are sets as `ddfm bench` takes them, and the task is that of the set.

Without --noise: the six metrics of the published tables, a row a variant. With it: how close the
fusion of noisy sources comes to the fusion of clean ones, in PSNR and SSIM.
"""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import click
import numpy as np
from torch import Tensor
from tqdm import tqdm

from ddfm import Fuser
from ddfm.bench.datasets import Dataset, find_dataset
from ddfm.config import FusionConfig
from ddfm.imaging.files import read_image
from ddfm.imaging.sources import grey
from ddfm.likelihood import EvidenceLikelihood
from ddfm.metrics import evaluate, psnr, ssim
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.schedule import alpha_sigma, alphas_bar

COLUMNS = ("EN", "SD", "MI", "VIF", "Qabf", "SSIM")
WITHOUT = {  # a choice of the likelihood: the option that takes it back
    "no E-step (labels keep their priors)": {"learn": 0.0, "room": 0.0},
    "levels weigh the same in all pairs": {"rivalry": 0.0},
    "texture of the darker, too": {"follow": 0.0},
    "all gradients give way alike": {"ease": 0.0},
    "no faint texture beside the chosen": {"faint": 0.0},
    "no heed of white and black": {"room": 0.0},
    "no restored energy": {"restore": 0.0, "detail": 1.0},
    "no hot targets": {"hot": 0.0},
    "regions without contours": {"contour": 0.0, "width": 0.22},
    "nothing of the brighter level": {"light": 0.0},
    "levels not evened out": {"even": 0.0},
    "levels neither evened out nor spread": {"even": 0.0, "gains": (1.0, 1.0)},
    "levels only (no gradients)": {"alpha": 1e4},
}


def no_prior() -> FunctionPrior:
    """Takes every image for clean: what is left is the likelihood."""
    abar = alphas_bar("linear")

    def unscaled(x: Tensor, t: Tensor) -> Tensor:
        return x / alpha_sigma(abar, t, x)[0]

    return FunctionPrior(unscaled, abar, kind="x0", channels=1, name="none")


def priors(task: str) -> dict[str, Fuser]:
    return {
        "no prior": Fuser(no_prior(), task=task, options={"lam": 0.0}),
        "Gaussian prior": Fuser(GaussianPrior(), task=task),
        "default": Fuser(task=task),
    }


def likelihoods(task: str) -> dict[str, Fuser]:
    """Only what this task has at all can be taken back."""
    own = signature(EvidenceLikelihood).parameters
    usual = {name: own[name].default for options in WITHOUT.values() for name in options}
    usual |= FusionConfig().resolved(task).options
    return {
        name: Fuser(task=task, options=options)
        for name, options in WITHOUT.items()
        if all(usual[option] != value for option, value in options.items())
    }


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--pairs",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    help="Pairs of each folder, evenly chosen.",
)
@click.option("--noise", type=float, help="Standard deviation in grey levels, on both sources.")
def main(folders: tuple[Path, ...], pairs: int, noise: float | None) -> None:
    """The tables of docs/benchmark.md that tell what brings what."""
    for folder in folders:
        dataset = find_dataset(folder)
        sources = some_pairs(dataset, pairs)
        if noise is None:
            fusers = priors(dataset.task) | likelihoods(dataset.task)
            rows = {n: metrics_of(f, sources, n) for n, f in fusers.items()}
            print_table(f"{folder.name}, {len(sources)} pairs", COLUMNS, rows)
        else:
            rows = {n: _robustness(f, sources, noise, n) for n, f in priors(dataset.task).items()}
            print_table(f"{folder.name}, noise {noise:g}", ("PSNR", "SSIM"), rows)


def some_pairs(dataset: Dataset, count: int) -> list[list[np.ndarray]]:
    """Grey levels of pairs evenly chosen."""
    pairs = dataset.pairs
    some = pairs[:: max(1, len(pairs) // count)][:count]
    return [[grey_plane(file) for file in pair.files] for pair in some]


def grey_plane(path: Path) -> np.ndarray:
    return np.rint(grey(read_image(path)) * 255).astype(np.uint8)


def metrics_of(fuser: Fuser, sources: list, name: str) -> np.ndarray:
    rows = []
    for pair in tqdm(sources, desc=name, leave=False):
        values = evaluate(fuser(*pair, progress=False).image, *pair, metrics=COLUMNS)
        rows.append([values[column] for column in COLUMNS])
    return np.mean(rows, axis=0)


def _robustness(fuser: Fuser, sources: list, noise: float, name: str) -> np.ndarray:
    rows = []
    for seed, pair in enumerate(tqdm(sources, desc=name, leave=False)):
        rng = np.random.default_rng(seed)
        noisy = [np.clip(s + rng.normal(0, noise, s.shape), 0, 255).round() for s in pair]
        clean = fuser(*pair, progress=False).image
        fused = fuser(*(s.astype(np.uint8) for s in noisy), progress=False).image
        # The metrics take sources; two equal ones give twice (SSIM) or once (PSNR) the value.
        rows.append([psnr(fused, clean, clean), ssim(fused, clean, clean, data_range=255) / 2])
    return np.mean(rows, axis=0)


def print_table(title: str, columns: tuple[str, ...], rows: dict[str, np.ndarray]) -> None:
    click.echo(f"\n| {title} | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for name, values in rows.items():
        click.echo(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |")


if __name__ == "__main__":
    main()
