"""ddfm train-dmfuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ddfm.cli.options import quiet_option, reading_options
from ddfm.cli.writing import OutputPath, WritingCommand, say

__all__ = ["train_dmfuse"]


@click.command(
    "train-dmfuse",
    cls=WritingCommand,
    short_help="Train the head of DMFuse on a folder of pairs.",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=OutputPath(),
    metavar="DIR",
    help="Weights, checkpoints, sheets, the learning curve; a run found there goes on.",
)
@click.option("--prior", default="default", show_default=True, help="Whose features to read.")
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights to start from, of a head of the same kind.",
)
@click.option("--loss", metavar="NAME", help="distilled or published.  [default: distilled]")
@click.option("--t", metavar="5,50,100", help="Timesteps of the features.  [default: 5]")
@click.option(
    "--noise",
    metavar="NAME",
    help="fixed (one pattern for all) or random (as published).  [default: fixed]",
)
@click.option("--no-attention", is_flag=True, help="Leave the criss-cross attention out.")
@click.option("--plain", is_flag=True, help="Learned convolutions in place of the features.")
@click.option(
    "--output",
    metavar="NAME",
    help="blend (of the sources, corrected) or tanh (as published).  [default: blend]",
)
@click.option(
    "--steps", type=click.IntRange(1), metavar="NUMBER", help="Steps of training.  [default: 1800]"
)
@click.option(
    "--batch", type=click.IntRange(1), metavar="NUMBER", help="Crops in a step.  [default: 3]"
)
@click.option(
    "--crops",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="Crops whose features are kept.  [default: 640]",
)
@click.option(
    "--size",
    type=click.IntRange(32),
    metavar="NUMBER",
    help="Side of a crop in pixels.  [default: 160]",
)
@click.option("--lr", type=float, metavar="NUMBER", help="Learning rate.  [default: 0.001]")
@click.option(
    "--seed", type=int, metavar="NUMBER", help="Of everything random in the training.  [default: 0]"
)
@click.option(
    "--cache",
    type=OutputPath(),
    metavar="DIR",
    help="Where the features are kept, for several runs.  [default: DIR/features]",
)
@click.option("--subfolders", metavar="A,B", help="Names of the subfolders, if not known.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, ..., or auto.")
@reading_options
@quiet_option
def train_dmfuse(
    folder: Path,
    out: Path,
    prior: str,
    t: str | None,
    no_attention: bool,
    init: Path | None,
    cache: Path | None,
    subfolders: str | None,
    device: str,
    quiet: bool,
    **settings: Any,
) -> None:
    """Train the head of DMFuse on the registered pairs of a FOLDER, or go on with a killed run.

    FOLDER holds two subfolders of equally named files: ir and vi, or others by --subfolders. The
    prior stays as it is. What the default likelihood makes of all crops, which the head is to
    learn, and the prior's features of them are computed first, and kept. Defaults are those of the
    head that comes with ddfm. The last line printed is the file of the weights.

    \b
    Examples:
      ddfm train-dmfuse pairs/ --out run/
      ddfm train-dmfuse pairs/ --out published/ --loss published --t 5,50,100 --noise random
      ddfm fuse ir.png vis.png -o fused.png --method dmfuse --head run/dmfuse.safetensors
    """
    from ddfm.bench.datasets import find_dataset
    from ddfm.cli.bench import folder_names
    from ddfm.numerics.device import find_device
    from ddfm.priors import load_prior
    from ddfm.training.dmfuse import Settings
    from ddfm.training.dmfuse import train_dmfuse as train

    given: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    if t is not None:
        given["t"] = _timesteps(t)
    pairs = find_dataset(folder, folder_names(subfolders, only_two=True)).pairs
    weights = train(
        pairs,
        out,
        load_prior(prior),
        Settings(**given, attention=not no_attention),
        init=init,
        cache=cache,
        device=find_device(device),
        progress=False if quiet else None,
    )
    say(weights)


def _timesteps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(
            "--t takes timesteps with commas between, such as 5,50,100"
        ) from None
