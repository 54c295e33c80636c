"""What the prior, and each parameter of the default likelihood, contributes.

    python benchmarks/ablation.py FOLDER... [--pairs N] [--split NAME] [--noise SIGMA]

Folders are sets as for `ddfm bench`, which determine the task. For the sets that splits.toml lists,
only the pairs on which settings may be chosen are used, unless --split says otherwise.

Without --noise: the six metrics of the published tables, and for infrared and visible what is kept
of targets and lights, with a row for each parameter of docs/algorithm.md. With --noise: how close
the fusion of noisy sources comes to the fusion of clean ones, in PSNR and SSIM, also without the
prior in the loop (lam), where it only removes the noise of the sources beforehand.
"""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
from torch import Tensor
from tqdm import tqdm

from ddfm import Fuser
from ddfm.bench.datasets import find_dataset
from ddfm.config import FusionConfig
from ddfm.likelihood import EvidenceLikelihood, gradients
from ddfm.metrics import IN_PAPERS, evaluate, psnr, ssim
from ddfm.metrics.contrast import COUNTED_BY
from ddfm.metrics.pooling import pooled
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.schedule import alpha_sigma, alphas_bar
from pairs import Pair, print_table, some_pairs, with_noise

OF_THINGS = ("targets_kept", "targets_lost", "lights_kept", "lights_lost")  # infrared and visible
WITHOUT: dict[str, dict[str, Any]] = {  # a parameter: what removes its effect
    "alpha: levels have almost no weight": {"alpha": 1e-4},
    "kappa: regions mix the levels of all sources": {"kappa": 0.0},
    "beta: no preference for brightness": {"beta": 0.0},
    "width: regions limited by contours alone": {"width": 20.0},
    "edge: no contours, and strong edges keep their weight": {"edge": 1.0},
    "p: gradients expected equally from all sources": {"p": 0.0},
    "phi: also texture of a darker source": {"phi": 0.0},
    "full: also texture of the others within white": {"full": 0.0},
    "learn: labels keep their prior probabilities (no EM)": {"learn": 1e-6},
    "faint: no faint texture of the other sources": {"faint": 0.0},
    "theta: no targets": {"theta": 0.0},
    "spread, gains: no tone": {"gains": (1.0, 1.0)},
}
GRAIN = "grain counts like texture"
BEFORE = "lam: the prior removes noise before the loop, and has no part in it"


def no_prior() -> FunctionPrior:
    """Treats every image as clean, so that only the likelihood has an effect."""
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
    """Only effects that this task has can be removed."""
    parameters = signature(EvidenceLikelihood).parameters
    usual: dict[str, Any] = {k: p.default for k, p in parameters.items()}
    usual |= FusionConfig().resolved(task).options
    return {
        name: Fuser(task=task, options=options)
        for name, options in WITHOUT.items()
        if all(usual.get(option, value) != value for option, value in options.items())
    }


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--pairs",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    help="Pairs of each folder, evenly spaced.",
)
@click.option(
    "--split",
    type=click.Choice(["choose", "report", "all"]),
    default="choose",
    show_default=True,
    help="Which pairs of a set that splits.toml lists.",
)
@click.option("--noise", type=float, help="Standard deviation in grey levels, on both sources.")
def main(folders: tuple[Path, ...], pairs: int, split: str, noise: float | None) -> None:
    """Print the ablation tables of docs/benchmark.md."""
    for folder in folders:
        dataset = find_dataset(folder)
        sources = some_pairs(dataset, pairs, split)
        if noise is None:
            fusers = priors(dataset.task) | likelihoods(dataset.task)
            columns = IN_PAPERS + (OF_THINGS if dataset.task == "ir-visible" else ())
            rows = {n: metrics_of(f, sources, n, columns) for n, f in fusers.items()}
            with patch.object(gradients, "LEFT", 1.0):
                rows[GRAIN] = metrics_of(fusers["default"], sources, GRAIN, columns)
            print_table(f"{folder.name}, {len(sources)} pairs", columns, rows)
        else:
            fusers = priors(dataset.task)
            fusers[BEFORE] = Fuser(task=dataset.task, options={"lam": 0.0})
            rows = {n: _robustness(f, sources, noise, n) for n, f in fusers.items()}
            print_table(f"{folder.name}, noise {noise:g}", ("PSNR", "SSIM"), rows)


def metrics_of(
    fuser: Fuser,
    sources: list[Pair],
    name: str,
    columns: tuple[str, ...] = IN_PAPERS,
) -> np.ndarray:
    """Means over the pairs; for targets and lights, over all that the pairs contain."""
    counts = {COUNTED_BY[column] for column in columns if column in COUNTED_BY}
    rows = []
    for pair in tqdm(sources, desc=name, leave=False):
        fused = fuser(*pair, progress=False).image
        rows.append(evaluate(fused, *pair, metrics=[*columns, *counts]))
    row = pooled(rows)
    return np.array([row[column] for column in columns])


def _robustness(fuser: Fuser, sources: list[Pair], noise: float, name: str) -> np.ndarray:
    rows = []
    for seed, pair in enumerate(tqdm(sources, desc=name, leave=False)):
        clean = fuser(*pair, progress=False).image
        fused = fuser(*with_noise(pair, noise, seed), progress=False).image
        # The metrics expect sources; with two equal ones SSIM is doubled, and PSNR unchanged.
        rows.append([psnr(fused, clean, clean), ssim(fused, clean, clean, data_range=255) / 2])
    return np.mean(rows, axis=0)


if __name__ == "__main__":
    main()
