"""ddfm train-dmfuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ddfm.cli.options import device_option, quiet_option, reading_options
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
    help="The folder for weights, checkpoints, sample sheets and the learning curve; a run that "
    "was interrupted there continues.",
)
@click.option(
    "--prior",
    metavar="NAME|PATH",
    default="default",
    show_default=True,
    help="The prior whose features the head reads (see `ddfm priors list`).",
)
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights of a head of the same design, to start from.",
)
@click.option(
    "--loss",
    metavar="NAME",
    help="What the head learns: distilled (the results of the default likelihood) or published "
    "(the loss of the paper).  [default: distilled]",
)
@click.option(
    "--t",
    metavar="5,50,100",
    help="Timesteps whose features are used, separated by commas.  [default: 5]",
)
@click.option(
    "--noise",
    metavar="NAME",
    help="The noise that is added before the features are computed: fixed (the same for all "
    "images) or random (as published).  [default: fixed]",
)
@click.option("--no-attention", is_flag=True, help="Leave out the criss-cross attention.")
@click.option(
    "--plain", is_flag=True, help="Use learned convolutions in place of the features of the prior."
)
@click.option(
    "--output",
    metavar="NAME",
    help="How the head makes the image: blend (of the sources, with a correction) or tanh (as "
    "published).  [default: blend]",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="Number of training steps.  [default: 1800]",
)
@click.option(
    "--batch", type=click.IntRange(1), metavar="NUMBER", help="Crops per step.  [default: 3]"
)
@click.option(
    "--crops",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="Number of crops to train on, whose features are computed once.  [default: 640]",
)
@click.option(
    "--size",
    type=click.IntRange(32),
    metavar="NUMBER",
    help="Side of a crop in pixels, at least 32.  [default: 160]",
)
@click.option("--lr", type=float, metavar="NUMBER", help="Learning rate.  [default: 0.001]")
@click.option(
    "--seed",
    type=int,
    metavar="NUMBER",
    help="Seed of everything random in the training.  [default: 0]",
)
@click.option(
    "--cache",
    type=OutputPath(),
    metavar="DIR",
    help="The folder where the features are kept, which several runs can share.  [default: "
    "features in the folder of --out]",
)
@click.option(
    "--subfolders",
    metavar="A,B",
    help="Names of the two subfolders.  [default: ir,vi or another known pair]",
)
@device_option
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
    """Train the head of DMFuse on the registered pairs of a FOLDER, or continue a killed run.

    FOLDER holds two subfolders with files of the same names: ir and vi, or those that --subfolders
    names. The prior is not changed. First, the features of the prior and the results of the default
    likelihood, which the head learns to reproduce, are computed for all crops and kept. The
    defaults are those of the head that comes with ddfm. The last line printed is the path of the
    weights.

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
            "--t takes timesteps separated by commas, such as 5,50,100"
        ) from None
